"""The next request in a wait's scope, and all within it, against a search through all of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from polltape.operations.governed import NEVER, Requests, rows_after

KEYS = st.integers(0, 3) | st.sampled_from([2**40, 2**41])
ASKED = st.lists(st.tuples(KEYS, st.integers(0, 40), st.integers(0, 40)), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(key, row), no two of one row, in any order."""
    starts = draw(st.lists(st.integers(0, 30), unique=True, max_size=12))
    return [(draw(KEYS), start) for start in starts]


def columns(sent: list[tuple[int, int]]) -> Requests:
    keys, starts = ([pair[place] for pair in sent] for place in (0, 1))
    return Requests(np.array(keys, np.int64), np.array(starts, np.int64))


@given(requests(), ASKED)
def test_the_next_request_is_the_first_of_its_key(
    sent: list[tuple[int, int]], asked: list[tuple[int, int, int]]
) -> None:
    key, since = np.array([ask[0] for ask in asked], np.int64), np.array([ask[1] for ask in asked], np.int64)
    expected = [
        min((start for name, start in sent if name == key and start >= since), default=NEVER) for key, since, _ in asked
    ]
    assert columns(sent).next(key, since).tolist() == expected


@given(requests(), ASKED)
def test_all_requests_between_two_rows(sent: list[tuple[int, int]], asked: list[tuple[int, int, int]]) -> None:
    key = np.array([ask[0] for ask in asked], np.int64)
    since, until = (np.array([ask[place] for ask in asked], np.int64) for place in (1, 2))
    which, row = columns(sent).between(key, since, until)
    expected = [
        (place, start)
        for place, (key_, since_, until_) in enumerate(asked)
        for name, start in sorted(sent, key=lambda pair: pair[1])
        if name == key_ and since_ <= start < until_
    ]
    assert list(zip(which.tolist(), row.tolist(), strict=True)) == expected


def test_numbers_of_half_the_size_are_reckoned_with_in_full() -> None:
    key, row = (np.array(numbers, np.int32) for numbers in ([70_000, 70_001], [100_000, 5]))
    sent = Requests(key, row)
    assert sent.next(key, np.zeros(2, np.int64)).tolist() == [100_000, 5]
    assert [each.tolist() for each in sent.between(key, row, row + 1)] == [[0, 1], [100_000, 5]]


@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(-2, 12), max_size=4))
def test_the_first_start_after_an_instant(instants: list[int], asked: list[int]) -> None:
    start_us = sorted(instants)
    exchanges = pa.table({"start_us": pa.array(start_us, pa.int64())})
    found = rows_after(exchanges, np.array(asked, np.int64))
    assert found.tolist() == [
        next((row for row, us in enumerate(start_us) if us > ask), len(start_us)) for ask in asked
    ]
