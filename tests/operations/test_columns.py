"""Columns as arrays: whatever they are made of, against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from polltape.operations.columns import (
    among,
    as_lists,
    coded,
    distinct,
    in_turn,
    joined,
    listed,
    numbered,
    spelled,
    where,
)

TEXTS = st.lists(st.none() | st.sampled_from(["a", "ab", "b", ""]), max_size=8)


def columns(texts: list[str | None]) -> list[Any]:
    """The same texts as an array, as numbers into a dictionary, and in chunks."""
    array: Any = pa.array(texts, pa.string())
    return [array, array.dictionary_encode(), pa.chunked_array([array[:2], array[2:]])]


@given(TEXTS)
def test_equal_texts_have_equal_numbers_and_nothing_has_none(texts: list[str | None]) -> None:
    for column in columns(texts):
        numbers = coded(column).tolist()
        assert [number == 0 for number in numbers] == [text is None for text in texts]
        pairs = {(number, text) for number, text in zip(numbers, texts, strict=True)}
        assert len({number for number, _ in pairs}) == len({text for _, text in pairs}) == len(pairs)


@given(TEXTS)
def test_which_texts_are_meant(texts: list[str | None]) -> None:
    for column in columns(texts):
        assert among(column, ["a", "b"]).tolist() == [text in ("a", "b") for text in texts]
        begins = where(column, lambda values: pc.starts_with(values, "a"))
        assert begins.tolist() == [text is not None and text.startswith("a") for text in texts]
        assert spelled(column).to_pylist() == texts
        assert joined("<", column, ">").to_pylist() == [None if text is None else f"<{text}>" for text in texts]


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**40), max_size=12))
def test_numbers_that_differ(numbers: list[int]) -> None:
    column = np.array(numbers, np.int64)
    first, which = distinct(column)
    _, first_too, which_too = np.unique(column, return_index=True, return_inverse=True)
    assert (first.tolist(), which.tolist()) == (first_too.tolist(), which_too.tolist())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3) | st.just(2**20)), max_size=12))
def test_equal_rows_have_equal_numbers(rows: list[tuple[int, int, int]]) -> None:
    numbers = numbered(*(np.array([row[place] for row in rows], np.int64) for place in range(3))).tolist()
    pairs = set(zip(numbers, rows, strict=True))
    assert len({number for number, _ in pairs}) == len({row for _, row in pairs}) == len(pairs)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), max_size=12))
def test_rows_in_turn(rows: list[tuple[int, str]]) -> None:
    names = pa.chunked_array([pa.array([row[1] for row in rows], pa.string())])
    order = in_turn(np.array([row[0] for row in rows], np.int64), lambda tied: names.take(pa.array(tied)))
    assert [rows[place] for place in order] == sorted(rows)


@given(st.lists(st.none() | st.lists(st.integers(0, 9), max_size=3), max_size=6))
def test_lists_there_and_back(lists: list[list[int] | None]) -> None:
    offsets, values = listed(pa.array(lists, pa.list_(pa.int64())))
    assert as_lists(offsets, values).to_pylist() == [each or [] for each in lists]
