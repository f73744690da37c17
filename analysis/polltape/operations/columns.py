"""Columns of Arrow as arrays of numpy: arrays know no null, so each says what stands for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Ints = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
"""The same in less room where there are millions; to reckon with, they are made :data:`Ints` first."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def ints(column: Any, null: int = 0) -> Ints:
    """Whole numbers."""
    return np.asarray(numbers(column, null), dtype=np.int64)


def numbers(column: Any, null: int = 0) -> Numbers:
    """The same in the room that they have."""
    found: Numbers = _array(column.fill_null(null) if column.null_count else column)
    return found


def flags(column: Any) -> Flags:
    """Truths; false for null."""
    return np.asarray(_array(column.fill_null(False) if column.null_count else column), dtype=np.bool_)


def known(column: Any) -> Flags:
    """Which values are not null."""
    return np.asarray(_array(column.is_valid()), dtype=np.bool_)


def floats(column: Any) -> Floats:
    """Numbers; NaN for null."""
    return np.asarray(_array(column.cast(pa.float64())), dtype=np.float64)


def _array(column: Any) -> Any:
    """Of one array or several; what has to be copied is."""
    return whole(column).to_numpy(zero_copy_only=False)


def whole(column: Any) -> Any:
    """One array, of one or several; of a column of pandas, too."""
    found = pa.array(column) if isinstance(column, pd.Series) else column
    if not isinstance(found, pa.ChunkedArray):
        return found
    return found.chunk(0) if found.num_chunks == 1 else found.combine_chunks()  # which copies a single one, too


NONE: Final = -1
"""The number of a row that is not there."""


def at(rows: Numbers, missing: Flags | None = None) -> Any:
    """Row numbers as Arrow takes them; null where the row is missing."""
    return pa.array(rows, mask=missing)


def narrow(numbers: Numbers, missing: Flags | None = None) -> Any:
    """Numbers of rows or of kinds, in half the room; null where one is missing."""
    return pa.array(numbers.astype(np.int32), mask=missing)


def called(rows: Numbers, names: Any) -> Any:
    """The names of these rows, null for :data:`NONE`: numbers into the names, which are spelled where one looks."""
    return pa.DictionaryArray.from_arrays(narrow(rows, rows == NONE), names)


def called_by(column: Any) -> Ints:
    """The rows of a column of :func:`called`, and of a pandas column of it; :data:`NONE` for null."""
    return ints(whole(column).indices, NONE)


def small(column: Any) -> Any:
    """The same texts, the numbers into their dictionary no longer than it takes."""
    coded = whole(column)
    if not pa.types.is_dictionary(coded.type):
        return coded
    kind = next(kind for most, kind in _INDICES if len(coded.dictionary) <= most)
    return pa.DictionaryArray.from_arrays(coded.indices.cast(kind), coded.dictionary)


def short(column: Any) -> Any:
    """The same whole numbers, in two bytes each where all of them have room there."""
    try:
        return column.cast(pa.int16())
    except pa.ArrowInvalid:
        return column


_INDICES = ((2**7, pa.int8()), (2**15, pa.int16()), (2**31, pa.int32()))


def spelled(column: Any) -> Any:
    """What the numbers into a dictionary stand for."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def joined(*parts: Any) -> Any:
    """Texts one after the other, row by row, null where one is; a part may be one text for all."""
    columns: list[Any] = [part if isinstance(part, str) else spelled(whole(part)) for part in parts]
    return pc.binary_join_element_wise(*columns, "")


def among(column: Any, words: Iterable[str]) -> Flags:
    """Which texts are one of these; null is none."""
    wanted: Any = pa.array(list(words), pa.string())
    return where(column, lambda texts: pc.is_in(texts, wanted))


def where(column: Any, rule: Callable[[Any], Any]) -> Flags:
    """Which texts a rule of Arrow holds for, asked once for each of a dictionary; false for null."""
    texts = whole(column)
    if not pa.types.is_dictionary(texts.type):
        return flags(rule(texts)) & known(texts)
    held = np.append(flags(rule(texts.dictionary)), False)  # the last by the index -1
    return held[ints(texts.indices, -1)]


def coded(column: Any) -> Numbers:
    """Equal values have equal numbers, from 1; null is 0."""
    if column.null_count == len(column):
        return np.zeros(len(column), np.int32)
    values = whole(column)
    coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    return numbers(coded.indices, -1).astype(np.int32) + np.int32(1)


def numbered(first: Numbers, *others: Numbers) -> Numbers:
    """Equal rows of these columns of numbers have equal numbers, from 1."""
    number = first
    for other in others:
        pairs = number.astype(np.int64)
        pairs *= int(other.max(initial=0)) + 1
        pairs += other
        number = _ranks(pairs) + np.int32(1) if _are_few(pairs) else coded(pa.array(pairs))
    return number


def distinct(numbers: Numbers) -> tuple[Ints, Numbers]:
    """Where each of the numbers that differ stands first, in their order; and which of those each number is.

    >>> first, which = distinct(np.array([7, 3, 7]))
    >>> first.tolist(), which.tolist()
    ([1, 0], [1, 0, 1])
    """
    if not _are_few(numbers):
        return np.unique(numbers, return_index=True, return_inverse=True)[1:]
    which = _ranks(numbers)
    first = np.empty(int(which.max(initial=NONE)) + 1, np.int64)
    first[which[::-1]] = np.arange(len(which) - 1, NONE, -1)
    return first, which


def _are_few(numbers: Numbers) -> bool:
    """Whether a flag for each number that there could be takes less than sorting them or looking them up."""
    return int(numbers.max(initial=0)) < 2 * len(numbers) + 1000


def _ranks(numbers: Numbers) -> Numbers:
    """The place of each number, at least 0, among those that differ, from 0."""
    there = np.zeros(int(numbers.max(initial=0)) + 1, np.bool_)
    there[numbers] = True
    ranks: Numbers = (np.cumsum(there, dtype=np.int32) - np.int32(1))[numbers]
    return ranks


def listed(column: Any) -> tuple[Ints, Any]:
    """Offsets and values of a column of lists; null is an empty one."""
    return np.concatenate([[0], np.cumsum(ints(column.value_lengths()))]), column.flatten()


def in_turn(us: Ints, names: Callable[[Ints], Any]) -> Ints:
    """The rows by their instants; at one instant their names decide, texts that are asked for only then.

    >>> in_turn(np.array([5, 3, 5]), lambda rows: pa.array(["b", "c", "a"]).take(at(rows))).tolist()
    [1, 2, 0]
    """
    order = np.argsort(us, kind="stable")
    same = np.diff(us[order]) == 0
    tied = np.flatnonzero(np.append(False, same) | np.append(same, False)) if len(us) else order
    among = order[tied]
    ranks = ranked(spelled(whole(names(among))))
    order[tied] = among[np.lexsort((ranks, us[among]))]
    return order


def ranked(texts: Any) -> Ints:
    """The place of each text among those that differ, in their order, from 1; unknown ones are last."""
    return np.asarray(pc.rank(texts, sort_keys="ascending", tiebreaker="dense").to_numpy(), dtype=np.int64)


def as_lists(offsets: Ints, values: Any) -> Any:
    """A column of lists: where each begins among the values, and the end of the last."""
    ends: Any = pa.array(offsets, pa.int32())
    return pa.ListArray.from_arrays(ends, values)
