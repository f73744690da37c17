"""Groups of one shape are folded once: what comes out is what folding each of them gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.exchange import Coverage
from polltape.operations.covered import Covered
from polltape.operations.fold import Operation, Seen, fold
from polltape.operations.life_tables import LifeTables
from polltape.operations.links import components, linked
from polltape.operations.shapes import Grouped, shapes

TYPES = pa.schema(
    {
        "row": pa.int32(),
        **dict.fromkeys(("starts", "ends", "start_us", "response_start_us", "end_us"), pa.int64()),
        "status": pa.int32(),
        **dict.fromkeys(("line", "write", "target"), pa.string()),
        "asked_s": pa.float64(),
        **dict.fromkeys(("host", "client", "protocol", "kind", "role"), pa.string()),
        **dict.fromkeys(("keys", "issued"), pa.list_(pa.int32())),
        **dict.fromkeys(("reads_as", "state"), pa.string()),
        "readings": pa.list_(pa.struct({"reads_as": pa.string(), "state": pa.string()})),
        "opens": pa.bool_(),
        "truncates": pa.string(),
        **dict.fromkeys(("address", "itself"), pa.bool_()),
    }
)
COVERED = Covered([Coverage("s", datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, 0, 1, tzinfo=UTC))])


@st.composite
def groups(draw: st.DrawFn) -> list[Seen]:
    """A group of rows with two keys, of which one answer may give out the other."""
    count = draw(st.integers(1, 6))
    instants = draw(st.lists(st.integers(0, 40_000_000), min_size=3 * count, max_size=3 * count, unique=True))
    spans = [sorted(instants[3 * n : 3 * n + 3]) for n in range(count)]
    order = sorted(at for span in spans for at in (span[0], span[2]))
    rows = []
    for start, answered, end in sorted(spans, key=lambda span: span[2]):
        role = draw(st.sampled_from(["write", "read", "read", "cancel", "resubmit", "resubmit-bare"]))
        state = draw(st.sampled_from(["pending", "pending", "completed", "failed", "released", None]))
        rows.append(
            Seen(
                exchange_id="",
                starts=order.index(start),
                ends=order.index(end),
                start_us=start,
                response_start_us=draw(st.sampled_from([answered, None])),
                end_us=end,
                status=draw(st.sampled_from([202, 202, 200, 204, 404, 429, None])),
                line=draw(st.sampled_from(["PUT /a", "PUT /b"])),
                write=draw(st.sampled_from(["1", "2", None])),
                target=draw(st.sampled_from(["t", None])) if role.startswith("resubmit") else None,
                asked_s=draw(st.sampled_from([1.0, 9.0, None])),
                host="shop.example",
                client=draw(st.sampled_from(["c", None])),
                protocol=draw(st.sampled_from(["p", "p", "shopify-queue"])),
                kind="k",
                role=role,
                keys=draw(st.sampled_from([["p|a"], ["p|b"], ["p|a", "p|b"]])),
                issued=draw(st.sampled_from([[], [], ["p|b"], ["p|a"]])),
                reads_as=draw(st.sampled_from(["self", "status", None])),
                state=state,
                readings=draw(st.sampled_from([[], [{"reads_as": "status", "state": "unsettled"}]])),
                opens=state == "pending" and draw(st.booleans()),
                truncates=draw(st.sampled_from([None, None, "always", "unwritten"])),
                address=draw(st.booleans()),
                itself=draw(st.booleans()),
            )
        )
    return rows


def renamed(group: list[Seen], number: int) -> list[Seen]:
    """The same story elsewhere: own ids, keys, names and instants."""

    def own(text: str | None) -> Any:
        return None if text is None else f"{text}{number}"

    ranks, later = number * 1000, number * 1_000_003
    return [
        row._replace(
            exchange_id=f"x{number}-{place}",
            starts=row.starts + ranks,
            ends=row.ends + ranks,
            start_us=row.start_us + later,
            response_start_us=None if row.response_start_us is None else row.response_start_us + later,
            end_us=row.end_us + later,
            keys=[own(key) for key in row.keys],
            issued=[own(key) for key in row.issued],
            line=own(row.line),
            write=own(row.write),
            target=own(row.target),
        )
        for place, row in enumerate(group)
    ]


def grouped(several: list[list[Seen]]) -> Grouped:
    rows = [row._asdict() | {"row": place} for place, row in enumerate(row for group in several for row in group)]
    numbers: dict[str, int] = {}
    for row in rows:
        row |= {name: [numbers.setdefault(key, len(numbers)) for key in row[name]] for name in ("keys", "issued")}
    ids, names = (pa.array(texts, pa.string()) for texts in ([row["exchange_id"] for row in rows], list(numbers)))
    bounds = np.append(0, np.cumsum([len(group) for group in several]))
    return Grouped(pa.Table.from_pylist(rows, schema=TYPES).combine_chunks(), bounds, ids, names)


def expected(operation: Operation) -> dict[str, Any]:
    """The row of an operation, told from the fold alone."""
    t0, end, last = operation.opened_us, operation.ended_by, operation.last
    pending_us = operation.last_pending_us()

    def since(us: int | None) -> float | None:
        return None if us is None or t0 is None else max(0, us - t0) / 1e6

    lower = since(t0) if pending_us is None else since(pending_us)
    return {
        "id": operation.operation_id,
        "key": operation.key.split("|", 1)[-1],
        "truncated": operation.truncated,
        "accepted_us": t0,
        "ended_us": None if t0 is None or end is None else end.end_us,
        "outcome": operation.outcome_seen_until(COVERED.until(last.seen.end_us)),
        "polls": operation.polls,
        "statuses": [member.seen.status for member in operation.by_start],
        "exchanges": [member.seen.exchange_id for member in operation.by_start],
        "duration_s": None if end is None else since(end.end_us),
        "lower_s": lower,
        "upper_s": None if end is None else since(end.response_start_us),
        "observed_s": since(last.seen.end_us),
        "closed": operation.closed_at,
        "last_pending": last.state == "pending",
        "asked": any(member.seen.asked_s is not None for member in operation.members),
        "address": any(member.seen.address for member in operation.members),
        "released": operation.released is not None,
    }


@settings(deadline=None, max_examples=40)
@given(st.lists(groups(), min_size=1, max_size=4), st.integers(1, 3))
def test_shapes_tell_what_the_fold_tells(stories: list[list[Seen]], copies: int) -> None:
    told = [story for story in stories for _ in range(copies)]
    several = [renamed(story, number) for number, story in enumerate(told)]
    tables = LifeTables(COVERED)
    tables.add(tables.lived(lambda: grouped(several)))
    folded = [fold(group) for group in several]
    operations = [operation for each in folded for operation in each.operations]
    rows = {seen.exchange_id: row for row, seen in enumerate(seen for group in several for seen in group)}
    numbers = {id(operation): number for number, operation in enumerate(operations)}
    found, places = tables.operations()
    wanted = [expected(operation) for operation in operations]
    by_start = sorted(range(len(wanted)), key=lambda n: (operations[n].by_start[0].seen.start_us, wanted[n]["id"]))
    assert found.select([*wanted[0]] if wanted else []).to_pylist() == [wanted[number] for number in by_start]
    assert [places[number] for number in by_start] == list(range(len(wanted)))
    members = [
        (rows[member.seen.exchange_id], number, member.role, member.state)
        for number, operation in enumerate(operations)
        for member in operation.by_start
    ]
    parts = tables.table("members").select(["row", "number", "role", "state"]).to_pylist()
    assert [tuple(row.values()) for row in parts] == members
    after = [
        (rows[seen.exchange_id], numbers[id(op)], rows[op.ended_by.exchange_id] if op.ended_by else None, what)
        for each in folded
        for what in ("backwards", "polled_on", "stale", "bare")
        for seen, op in getattr(each, what)
    ]
    assert [tuple(row.values()) for row in tables.table("afterwards").to_pylist()] == after
    assert len(tables.table("at_once")) == sum(len(each.at_once) for each in folded)
    idle = [
        (rows[seen.exchange_id], seen.keys[0] not in {key for operation in each.operations for key in operation.types})
        for each in folded
        for seen in each.outside
    ]
    outside = tables.table("outside").to_pylist()
    assert [(row["row"], row["idle"]) for row in outside] == idle


@settings(deadline=None, max_examples=40)
@given(groups(), groups())
def test_names_and_instants_make_no_shape(one: list[Seen], other: list[Seen]) -> None:
    shape, firsts = shapes(grouped([renamed(one, 0), renamed(other, 1), renamed(one, 2)]))
    assert shape[0] == shape[2]
    assert firsts[shape[0]] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"status": 200},
        {"state": "failed"},
        {"keys": ["p|b"]},
        {"write": "2"},
        {"start_us": 500_000, "starts": -1},
        {"truncates": "always"},
    ],
)
def test_what_the_fold_looks_at_makes_a_shape(change: dict[str, Any]) -> None:
    row = Seen(
        *("", 0, 1, 1_000_000, None, 2_000_000, 202, "PUT /a", "1", None, None, "h", None, "p", "k", "write"),
        *(["p|a"], [], None, "pending", [], True, None, False, False),
    )
    later = row._replace(starts=2, ends=3, start_us=3_000_000, end_us=4_000_000)
    shape, _ = shapes(grouped([[row, later], [row, later._replace(**change)]]))
    assert shape[0] != shape[1]


def test_rows_are_linked_by_names_that_were_issued() -> None:
    """The third asks by what the second gave out, which asked by what the first gave out; others share an address."""
    table = pa.table(
        {
            "keys": pa.array([[1], [2, 90], [3, 90], [7, 90], [8, 90]], pa.list_(pa.uint64())),
            "issued": pa.array([[2], [3], None, None, None], pa.list_(pa.uint64())),
            "target": pa.nulls(5, pa.uint64()),
            "opening": [True, False, False, False, False],
            "opens": [True, False, False, False, False],
            "general": [True, True, True, True, False],
        }
    )
    component, part = linked(table)
    assert component[0] == component[1] == component[2]
    assert component[3] != component[0] != component[4]
    assert part.tolist() == [True, True, True, False, True]


def test_components_join_chains_of_any_length() -> None:
    names = np.random.default_rng(1).permutation(50_000)
    assert set(components(names[:-1], names[1:], 50_000).tolist()) == {0}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_components_are_what_edges_connect(edges: list[tuple[int, int]]) -> None:
    connected = {name: {name} for name in range(10)}
    for left, right in edges:
        whole = connected[left] | connected[right]
        connected.update(dict.fromkeys(whole, whole))
    found = components(*(np.array([edge[end] for edge in edges], np.int64) for end in (0, 1)), 10)
    assert found.tolist() == [min(connected[name]) for name in range(10)]
