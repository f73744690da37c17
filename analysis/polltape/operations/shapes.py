"""Histories that differ in names and instants only have one shape, and are folded once.

The fold decides by what an observation says (protocol, role, state, …), by which names are equal (keys, requests),
and by which of two events came first.  A group's *shape* is exactly that, as a row of whole numbers: names are
numbered within the group as they come up, events by their order.  Groups of one shape have the same story, so the
first of them is folded (:mod:`polltape.operations.patterns`) and tells it for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.operations.columns import Ints, coded, ints, known, listed, numbered

_SAID: Final = ("protocol", "kind", "role", "reads_as", "state", "truncates", "opens", "address", "itself")
_READING: Final = ("reads_as", "state")


@dataclass(frozen=True)
class Grouped:
    """Observations in the order of groups of linked rows, each by response end.

    ``table``: columns of :class:`~polltape.operations.fold.Seen`, one chunk, with ``row`` instead of the exchange's
    name, and numbers for keys.  ``bounds``: where each group begins, and the end of the last.  ``ids``: the names of
    all exchanges; ``names``: of all keys.
    """

    table: pa.Table
    bounds: Ints
    ids: Any
    names: Any

    def column(self, name: str) -> Any:
        """A column as one array."""
        return self.table[name].chunk(0) if len(self.table) else self.table[name].combine_chunks()

    def ints(self, name: str) -> Ints:
        """A column of whole numbers that is never null."""
        return ints(self.column(name))

    def only(self, groups: Ints) -> Grouped:
        """These groups, in this order."""
        counts = np.diff(self.bounds)[groups]
        rows = ragged(self.bounds[groups], counts)
        return Grouped(self.table.take(rows).combine_chunks(), np.append(0, np.cumsum(counts)), self.ids, self.names)

    @property
    def group(self) -> Ints:
        """The number of each row's group."""
        group: Ints = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
        return group


def ragged(starts: Ints, counts: Ints) -> Ints:
    """For each pair the numbers from ``start`` on, ``count`` of them, one after the other.

    >>> ragged(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Ints = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return numbers


def over[Values: np.ndarray[Any, Any]](ufunc: np.ufunc, values: Values, begins: Ints) -> Values:
    """The function over each run of values; empty where there is none."""
    found: Any = ufunc.reduceat(values, begins) if len(begins) else values[:0]
    return cast("Values", found)


def shapes(grouped: Grouped) -> tuple[Ints, Ints]:
    """The number of each group's shape, and for each shape the first group that has it."""
    lists = [*_names(grouped), _readings(grouped)]
    fixed = [_said(grouped), *_events(grouped), *_requests(grouped), *(np.diff(offsets) for offsets, _ in lists)]
    width = len(fixed)
    sizes = np.full(len(grouped.table), width)
    for offsets, _ in lists:
        sizes = sizes + np.diff(offsets)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    tokens = np.empty(int(ends[-1]), np.int32)
    for place, numbers in enumerate(fixed):
        tokens[begins + place] = numbers
    at = begins + width
    for offsets, numbers in lists:
        counts = np.diff(offsets)
        tokens[ragged(at, counts)] = numbers
        at = at + counts
    bounds = np.append(begins, ends[-1])[grouped.bounds] * tokens.itemsize
    texts = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds.astype(np.int64)), pa.py_buffer(tokens)]
    )
    return _first_seen(texts)


def _first_seen(values: Any) -> tuple[Ints, Ints]:
    """Numbers of equal values, and where each number stands first."""
    coded = values.dictionary_encode()
    numbers = np.asarray(coded.indices.to_numpy(), dtype=np.int64)
    first = np.empty(len(coded.dictionary), np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return numbers, first


def _said(grouped: Grouped) -> Ints:
    """One number for all that an observation says beside its names."""
    return numbered(_status(grouped.column("status")), *(coded(grouped.column(name)) for name in _SAID))


def _status(column: Any) -> Ints:
    """Statuses as far as the fold tells them apart: none, 202, another 2xx, below 400, the rest."""
    status = ints(column, -1)
    kinds = [~known(column), status == 202, (status >= 200) & (status < 300)]
    return np.select([*kinds, status < 400], [0, 1, 2, 3], 4)


def _events(grouped: Grouped) -> tuple[Ints, Ints]:
    """How many ends, and how many starts, of its group come before each row's start."""
    ranks = max(int(grouped.ints("ends").max(initial=0)), int(grouped.ints("starts").max(initial=0))) + 1
    base = grouped.group * ranks
    begins = np.repeat(grouped.bounds[:-1], np.diff(grouped.bounds))
    starts = base + grouped.ints("starts")
    before = np.searchsorted(base + grouped.ints("ends"), starts) - begins
    return before, np.searchsorted(np.sort(starts), starts) - begins


def _requests(grouped: Grouped) -> tuple[Ints, Ints]:
    """Which request lines, and which writes, of a group are equal."""
    line, write = (_local(coded(grouped.column(name)), grouped.group) for name in ("line", "write"))
    return line, np.where(known(grouped.column("write")), write, -1)


def _names(grouped: Grouped) -> list[tuple[Ints, Ints]]:
    """Keys, issued keys and target as numbers within the group; a list is (offsets, values)."""
    lists = [listed(grouped.column("keys")), listed(grouped.column("issued"))]
    names = np.concatenate([ints(values) for _, values in lists])
    target = grouped.column("target")
    all_offsets = [*(offsets for offsets, _ in lists), np.concatenate([[0], np.cumsum(known(target))])]
    names = np.append(names, coded(target.drop_null()) + int(names.max(initial=0)))  # a target equals no key
    group = grouped.group
    groups = np.concatenate([np.repeat(group, np.diff(offsets)) for offsets in all_offsets])
    order = np.argsort(groups, kind="stable")
    numbers = np.empty(len(groups), np.int64)
    numbers[order] = _local(names[order], groups[order])
    ends = np.cumsum([offsets[-1] for offsets in all_offsets])
    return [(offsets, numbers[end - offsets[-1] : end]) for offsets, end in zip(all_offsets, ends, strict=True)]


def _readings(grouped: Grouped) -> tuple[Ints, Ints]:
    offsets, values = listed(grouped.column("readings"))
    return offsets, numbered(*(coded(pc.struct_field(values, name)) for name in _READING))


def _local(numbers: Ints, group: Ints) -> Ints:
    """The numbers anew within each group, in the order in which they come up; groups stand together."""
    if not len(numbers):
        return numbers
    pairs, _ = _first_seen(pa.array(group * (int(numbers.max()) + 1) + numbers))
    first = np.flatnonzero(np.diff(group, prepend=-1))
    return pairs - np.repeat(pairs[first], np.diff(np.append(first, len(group))))
