"""One clock, one order, each exchange once: against the plain rules, whatever order the rows come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.operations.instants import Instants, Step, each_once, on_one_clock, ranks

WALL_US = 1_800_000_000_000_000
MONO_NS = 5_000_000_000


def instants(pairs: list[tuple[int, int]]) -> Instants:
    """Of (start, end) pairs; responses started at the end."""
    starts, ends = (np.array([pair[place] for pair in pairs], np.int64) for place in (0, 1))
    return Instants(starts, ends.copy(), ends, np.ones(len(pairs), bool))


PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8)


@given(PAIRS, st.randoms(use_true_random=False))
def test_one_order_of_all_starts_and_ends(pairs: list[tuple[int, int]], random: Any) -> None:
    """At one instant: ends of earlier requests, those that took no time, starts of the others; else ids decide."""
    ids = [f"id-{random.random():.6f}-{place}" for place in range(len(pairs))]
    events = []
    for name, (start, told_end) in zip(ids, pairs, strict=True):
        end = max(start, told_end)
        lasts = end > start
        events += [(start, 2 if lasts else 1, name, False), (end, 0 if lasts else 1, name, True)]
    expected = {(name, is_end): place for place, (_, _, name, is_end) in enumerate(sorted(events))}
    starts, ends = ranks(
        instants(pairs), np.ones(len(pairs), bool), lambda: pa.chunked_array([pa.array(ids, pa.string())])
    )
    assert starts.tolist() == [expected[name, False] for name in ids]
    assert ends.tolist() == [expected[name, True] for name in ids]


def test_ids_are_not_looked_up_where_instants_differ() -> None:
    starts, ends = ranks(instants([(0, 3), (1, 5), (4, 4)]), np.ones(3, bool), lambda: pytest.fail("looked up"))
    assert (starts.tolist(), ends.tolist()) == ([0, 1, 3], [2, 5, 4])


def test_rows_that_do_not_count_have_no_rank() -> None:
    starts, ends = ranks(
        instants([(0, 3), (1, 5), (4, 6)]), np.array([True, False, True]), lambda: pytest.fail("looked up")
    )
    assert (starts.tolist(), ends.tolist()) == ([0, -1, 2], [1, -1, 3])


def test_of_copies_the_first_counts() -> None:
    copies = pa.table({"exchange_id": ["b", "a", "b", "a", "b"], "session_id": ["s", "t", "s", "s", None]})
    at = instants([(start, start + 1) for start in (7, 3, 5, 3, 9)])
    assert each_once(copies, at).tolist() == [False, False, True, True, False]


def read(rows: list[tuple[str | None, int, int | None]]) -> pa.Table:
    """(session, wall start in ms, monotonic start in ms or None); each took 20 ms, the response starting after 10."""
    columns: dict[str, Any] = {"session_id": pa.array([row[0] for row in rows], pa.string())}
    for name, mono, after_ms in (
        ("wall_start_us", "request_started_mono_ns", 0),
        ("wall_response_us", "response_started_mono_ns", 10),
        ("wall_end_us", "response_ended_mono_ns", 20),
    ):
        columns[name] = pa.array([WALL_US + (row[1] + after_ms) * 1000 for row in rows], pa.int64())
        nanoseconds = [None if row[2] is None else MONO_NS + (row[2] + after_ms) * 1_000_000 for row in rows]
        columns[mono] = pa.array(nanoseconds, pa.int64())
    return pa.table(columns)


def on_clock(table: pa.Table) -> tuple[tuple[Step, ...], list[int]]:
    """The steps, and when each row starts, in milliseconds."""
    none: Any = pa.nulls(len(table), pa.int64())
    found = Instants.of(table["wall_start_us"], none, table["wall_response_us"], table["wall_end_us"])
    steps = on_one_clock(found, table)
    return steps, ((found.start_us - WALL_US) // 1000).tolist()


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_a_wall_clock_that_was_set_is_seen_and_undone(order: list[int]) -> None:
    """An hour back before the second row, half a minute forth before the fourth; another session was not touched."""
    rows = [("s", 0, 0), ("s", 1000 - 3_600_000, 1000), ("s", 2000 - 3_600_000, 2000), ("s", 3000 - 3_570_000, 3000)]
    table = pa.concat_tables([read([rows[place] for place in order]), read([("t", 50, 99_000), ("u", 60, None)])])
    steps, starts = on_clock(table.combine_chunks())
    assert starts == [[0, 1000, 2000, 3000][place] for place in order] + [50, 60]
    assert [(step.session, round(step.moved_s)) for step in steps] == [("s", -3600), ("s", 30)]
    assert [step.at_us - WALL_US for step in steps] == [(1000 - 3_600_000) * 1000, (3000 - 3_570_000) * 1000]


def test_small_drifts_are_no_step() -> None:
    table = read([("s", 0, 0), ("s", 1400, 1000), ("s", 2800, 2000)])
    assert on_clock(table) == ((), [0, 1400, 2800])


@given(PAIRS)
def test_nothing_ends_before_it_starts(pairs: list[tuple[int, int]]) -> None:
    columns = instants(pairs).columns()
    assert pc.all(pc.greater_equal(columns["end_us"], columns["start_us"])).as_py() is not False
