from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from polltape.capture.coverage import (
    MAX_CLOCKS,
    Sequence,
    Session,
    add_clock,
    coverage_path,
    read_coverage,
    read_session,
    write_session,
)
from polltape.exchange import Coverage

AT = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = 1_000_000


def session(name: str = "s1", **changes: object) -> Session:
    return Session(Coverage(name, AT, AT, **changes))  # type: ignore[arg-type]


def test_a_session_is_kept_whole(tmp_path: Path) -> None:
    one = session(clean=False, filter="~m PUT", gaps=3, source="recorder")
    one.tick(AT + timedelta(seconds=5), 5_000_000_000)
    one.sequence.add(1)
    one.sequence.add(3)
    one.torn = 1
    write_session(tmp_path, one)
    assert read_session(coverage_path(tmp_path, "s1")) == one
    assert [path.name for path in (tmp_path / "_coverage").iterdir()] == ["s1.json"]


def test_all_sessions_of_a_folder_by_start(tmp_path: Path) -> None:
    write_session(tmp_path, session("b"))
    later = session("a")
    later.coverage = Coverage("a", AT + timedelta(1), AT + timedelta(1))
    write_session(tmp_path, later)
    (tmp_path / "_coverage" / "broken.json").write_text("{")
    assert [coverage.session_id for coverage in read_coverage(tmp_path)] == ["b", "a"]
    assert read_coverage(tmp_path / "nothing") == []


def test_clocks_keep_both_sides_of_a_step() -> None:
    clock: list[tuple[int, int]] = []
    for beat in range(10):
        wall = beat * 5 * SECOND - (3600 * SECOND if beat >= 6 else 0)
        add_clock(clock, (beat * 5_000_000_000, wall))
    assert [mono // 5_000_000_000 for mono, _ in clock] == [0, 5, 6, 9]


def test_clocks_are_bounded() -> None:
    clock: list[tuple[int, int]] = []
    for beat in range(3 * MAX_CLOCKS):
        add_clock(clock, (beat, beat % 2 * SECOND))
    assert len(clock) <= MAX_CLOCKS
    assert clock[0] == (0, 0)
    assert clock[-1][0] == 3 * MAX_CLOCKS - 1


@given(st.lists(st.integers(1, 40)), st.integers(0, 50))
def test_missing_numbers_are_counted(numbers: list[int], last: int) -> None:
    sequence = Sequence()
    for number in numbers:
        sequence.add(number)
    assert sequence.missing() == len(set(range(1, max(numbers, default=0))) - set(numbers))
    assert sequence.missing(last) == len(set(range(1, max([*numbers, last]) + 1)) - set(numbers))
