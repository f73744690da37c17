"""The life cycle on one key: each rule of the fold's table, and what must hold for every history."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.operations.fold import FINAL, Folded, Operation, Seen, fold

A, B = "PUT /c body-a", "PUT /c body-b"
KEY = ("p|shop.example|t",)


class History:
    """Builds exchanges of one key; instants in seconds, ranks from the instants."""

    def __init__(self) -> None:
        self.raw: list[tuple[float, float, dict[str, object]]] = []

    def add(self, start: float, end: float, role: str, status: int | None, state: str | None, **more: object) -> None:
        facts = {"role": role, "status": status, "state": state, "write": None, "asked_s": None, "opens": False}
        facts |= {"keys": KEY, "issued": (), "reads_as": None, "readings": (), "truncates": None, "target": None}
        self.raw.append((start, end, facts | {"line": "PUT /c", "itself": role == "read"} | more))

    def write(self, start: float, end: float, status: int, body: str = A, **more: object) -> None:
        state = {202: "pending", 200: "completed", 422: "rejected"}.get(status)
        self.add(start, end, "write", status, state, write=body, opens=status == 202, **more)

    def read(self, start: float, end: float, status: int | None, state: str | None = "", **more: object) -> None:
        shown = {202: "pending", 200: "completed", 404: "failed"}.get(status or 0) if state == "" else state
        self.add(start, end, "read", status, shown, **more)

    def opening(self, start: float, end: float, status: int) -> None:
        state = {202: "pending", 200: "completed"}.get(status)
        self.add(start, end, "read", status, state, opens=status == 202)

    def seen(self) -> list[Seen]:
        events = []
        for index, (start, end, _) in enumerate(self.raw):
            events += [(start, 1, index, "starts"), (end, 0, index, "ends")]
        ranks = {(index, which): rank for rank, (_, _, index, which) in enumerate(sorted(events))}
        return [
            Seen(
                exchange_id=f"x{index}",
                starts=ranks[index, "starts"],
                ends=ranks[index, "ends"],
                start_us=round(start * 1e6),
                response_start_us=round((start + end) / 2 * 1e6),
                end_us=round(end * 1e6),
                host="shop.example",
                client="c",
                protocol="p",
                kind="k",
                address=False,
                **facts,  # type: ignore[arg-type]
            )
            for index, (start, end, facts) in enumerate(self.raw)
        ]

    def fold(self) -> Folded:
        return fold(self.seen())


def roles(operation: Operation) -> dict[str, str]:
    return {member.seen.exchange_id: member.role for member in operation.members}


@pytest.fixture
def history() -> History:
    return History()


def test_submit_polls_end(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 3, 202)
    history.read(4, 5, 200)
    (operation,) = history.fold().operations
    assert operation.outcome == "completed"
    assert roles(operation) == {"x0": "submit", "x1": "poll", "x2": "poll"}
    assert operation.opened_us == 1_000_000
    assert operation.ended_by is not None
    assert operation.ended_by.exchange_id == "x2"
    assert operation.last_pending_us() == 2_000_000
    assert operation.operation_id == "p:x0"


def test_a_different_write_that_succeeds_supersedes(history: History) -> None:
    history.write(0, 1, 202, A)
    history.write(2, 3, 202, B)
    history.read(4, 5, 200)
    first, second = history.fold().operations
    assert (first.outcome, second.outcome) == ("superseded", "completed")
    assert roles(second) == {"x1": "submit", "x2": "poll"}


def test_a_different_write_that_ends_at_once_supersedes_and_is_counted(history: History) -> None:
    history.write(0, 1, 202, A)
    history.write(2, 3, 200, B)
    folded = history.fold()
    assert [operation.outcome for operation in folded.operations] == ["superseded"]
    assert [seen.exchange_id for seen in folded.at_once] == ["x1"]


@pytest.mark.parametrize("status", [303, 401, 422, 429, 500])
def test_a_different_write_that_fails_leaves_it_open(history: History, status: int) -> None:
    history.write(0, 1, 202, A)
    history.write(2, 3, status, B)
    history.read(4, 5, 200)
    (operation,) = history.fold().operations
    assert operation.outcome == "completed"
    assert roles(operation) == {"x0": "submit", "x2": "poll"}


def test_the_same_write_joins_and_may_end_it(history: History) -> None:
    history.write(0, 1, 202)
    history.write(2, 3, 202)
    history.write(4, 5, 200)
    (operation,) = history.fold().operations
    assert roles(operation) == {"x0": "submit", "x1": "join", "x2": "join"}
    assert operation.outcome == "completed"
    assert operation.polls == 0


def test_the_same_write_under_way_together_joins_the_one_answered_first(history: History) -> None:
    history.write(0, 3, 202)
    history.write(1, 2, 202)
    (operation,) = history.fold().operations
    assert roles(operation) == {"x1": "submit", "x0": "join"}


def test_the_same_write_after_the_end_is_a_new_operation(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 3, 200)
    history.write(4, 5, 202)
    first, second = history.fold().operations
    assert (first.outcome, second.outcome) == ("completed", None)


def test_a_write_of_unknown_body_is_never_the_same(history: History) -> None:
    history.write(0, 1, 202, body=None)  # type: ignore[arg-type]
    history.write(2, 3, 202, body=None)  # type: ignore[arg-type]
    assert len(history.fold().operations) == 2


def test_polls_in_flight_count_and_later_ones_do_not(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 6, 202)  # under way when the end comes
    history.read(3, 4, 200)
    history.read(5, 7, 200)  # starts after the end
    (operation,) = history.fold().operations
    assert roles(operation) == {"x0": "submit", "x1": "poll", "x2": "poll"}
    assert operation.last_pending_us() == 2_000_000


def test_pending_from_the_ends_response_start_on_moves_nothing(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 6, 200)  # response starts at 4
    history.read(5, 5.5, 202)
    folded = history.fold()
    assert folded.operations[0].last_pending_us() == 0
    assert folded.backwards == []


def test_pending_after_the_end_went_backwards(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 3, 200)
    history.read(4, 5, 202)
    folded = history.fold()
    ((seen, operation),) = folded.backwards
    assert (seen.exchange_id, operation.operation_id) == ("x2", "p:x0")
    assert [seen.exchange_id for seen in folded.outside] == ["x2"]


def test_a_final_answer_that_ended_first_wins(history: History) -> None:
    history.write(0, 1, 202)
    history.read(2, 9, 200)
    history.read(3, 4, 404)
    (operation,) = history.fold().operations
    assert operation.outcome == "failed"
    assert operation.polls == 2


def test_a_read_without_operation_opens_nothing(history: History) -> None:
    history.read(0, 1, 202)
    folded = history.fold()
    assert folded.operations == []
    assert [seen.exchange_id for seen in folded.outside] == ["x0"]


def test_an_opening_read_opens_polls_and_ends(history: History) -> None:
    history.opening(0, 1, 202)
    history.opening(2, 3, 200)
    history.opening(4, 5, 200)
    folded = history.fold()
    (operation,) = folded.operations
    assert roles(operation) == {"x0": "submit", "x1": "poll"}
    assert folded.at_once == []


def test_an_opening_read_under_way_with_the_opener_is_its_poll(history: History) -> None:
    history.opening(0, 2, 202)
    history.opening(1, 3, 202)
    (operation,) = history.fold().operations
    assert roles(operation) == {"x0": "submit", "x1": "poll"}


def test_a_read_that_truncates_opens_a_truncated_operation(history: History) -> None:
    history.read(0, 1, 200, "pending", truncates="unwritten")
    history.read(2, 3, 200, "completed")
    (operation,) = history.fold().operations
    assert operation.truncated
    assert operation.opened_us is None
    assert operation.outcome == "completed"
    assert roles(operation) == {"x0": "poll", "x1": "poll"}


def test_a_read_under_way_with_the_truncating_one_belongs_and_may_be_the_first(history: History) -> None:
    history.read(1, 2, 200, "pending", truncates="unwritten")
    history.read(0, 3, 200, "pending", truncates="unwritten")
    (operation,) = history.fold().operations
    assert operation.operation_id == "p:x1"
    assert operation.polls == 2


def test_a_read_after_its_write_is_not_truncated(history: History) -> None:
    history.write(0, 1, 204)
    history.read(2, 3, 200, "pending", truncates="unwritten")
    folded = history.fold()
    assert folded.operations == []
    assert [seen.exchange_id for seen in folded.outside] == ["x1"]


def test_abandonment_needs_coverage_long_enough(history: History) -> None:
    history.write(0, 1, 202, asked_s=5.0)
    (operation,) = history.fold().operations
    assert operation.outcome_seen_until(round(50.9 * 1e6)) == "pending"
    assert operation.outcome_seen_until(51_000_000) == "abandoned"


def test_without_a_usable_wait_thirty_seconds_are_abandonment(history: History) -> None:
    history.write(0, 1, 202)
    (operation,) = history.fold().operations
    assert operation.outcome_seen_until(30_999_999) == "pending"
    assert operation.outcome_seen_until(31_000_000) == "abandoned"


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History()
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, 20))
        end = start + draw(st.integers(1, 6))
        match draw(st.sampled_from(["write", "read", "opening"])):
            case "write":
                history.write(start, end, draw(st.sampled_from([200, 202, 422, 500])), draw(st.sampled_from([A, B])))
            case "read":
                history.read(start, end, draw(st.sampled_from([200, 202, 404, 429])))
            case _:
                history.opening(start, end, draw(st.sampled_from([200, 202, 500])))
    return history


@given(histories())
def test_every_exchange_plays_at_most_one_role(history: History) -> None:
    folded = history.fold()
    names = [member.seen.exchange_id for operation in folded.operations for member in operation.members]
    names += [seen.exchange_id for seen in folded.at_once + folded.outside]
    assert len(names) == len(set(names))


@given(histories())
def test_bounds_hold_for_every_operation(history: History) -> None:
    for operation in history.fold().operations:
        assert operation.opened_us is not None
        end = operation.ended_by
        assert (end is None) == (operation.outcome not in FINAL)
        if end is not None:
            assert operation.opened_us <= end.end_us
            assert end.exchange_id in roles(operation)
        starts = [m.seen.start_us for m in operation.members if m.state == "pending"]
        assert operation.last_pending_us() is None or operation.last_pending_us() in starts


def told(folded: Folded) -> object:
    """What a fold found, in values that can be compared."""
    operations = [(o.operation_id, o.outcome, roles(o), o.issued, o.closed_at) for o in folded.operations]
    after = [(s.exchange_id, o.operation_id) for s, o in folded.backwards + folded.polled_on + folded.stale]
    return operations, after, folded.at_once, folded.outside


@given(histories())
def test_the_order_of_the_rows_changes_nothing(history: History) -> None:
    seen = history.seen()[:5]
    first = told(fold(seen))
    for shuffled in permutations(seen):
        assert told(fold(shuffled)) == first
