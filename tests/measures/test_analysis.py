"""The analysis of whole captures: what is selected, what was seen, and that no order matters."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from polltape.capture.reading import Capture, read_exchanges
from polltape.errors import InputError
from polltape.exchange import Body, Coverage, Exchange, to_table
from polltape.measures.analysis import Selection, analyse
from polltape.report import render

T0 = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
Make = Callable[..., Any]


def checkout(token: str) -> str:
    return f"/admin/api/2024-04/checkouts/{token}.json"


@pytest.fixture
def busy(entry: Make) -> list[Any]:
    """Two checkouts of two clients on two hosts, one finished, one given up."""
    one, two = checkout("tokenone1"), checkout("tokentwo2")
    return [
        entry(0, "PUT", one, 202, hint="1", sent="{}"),
        entry(0.4, "GET", one, 202, hint="1"),
        entry(2, "GET", one, 200),
        entry(10, "PUT", two, 202, hint="1", sent="{}", client="b", host="other.example"),
        entry(11.2, "GET", two, 202, hint="2.0", client="b", host="other.example"),
        entry(12, "GET", "/elsewhere", 404),
        entry(90, "GET", "/elsewhere", 404),
    ]


def test_the_order_of_rows_and_files_changes_nothing(busy: list[Any], captured: Make) -> None:
    whole = captured(busy)
    exchanges = list(read_exchanges(whole))
    expected = render(analyse(whole), "json")
    for seed in range(3):
        shuffled = random.Random(seed).sample(exchanges, len(exchanges))
        assert render(analyse(replace(whole, table=to_table(shuffled))), "json") == expected


def test_bodies_that_could_not_be_read_are_told(busy: list[Any], captured: Make) -> None:
    whole = captured(busy)
    unparsed, deep, image = (Body(wire_size=9, not_stored=why) for why in ("unparsed", "too-deep", "type"))
    rows = [replace(row, request_body=Body(), response_body=Body()) for row in read_exchanges(whole)]
    rows[0] = replace(rows[0], response_body=unparsed)
    rows[1] = replace(rows[1], request_body=deep, response_body=unparsed)
    rows[2] = replace(rows[2], response_body=image)
    told = "3 bodies could not be read (2 unparsed, 1 too-deep): status and headers alone tell what those exchanges are"
    assert analyse(replace(whole, table=to_table(rows))).warnings == (told,)
    other_host = Selection(host="other.example")
    assert analyse(replace(whole, table=to_table(rows)), selection=other_host).warnings == ()


def test_every_row_of_many_files_and_row_groups_keeps_its_place(
    busy: list[Any], captured: Make, tmp_path: Path
) -> None:
    """Instants are read apart from the rest of a row and must come back to it."""
    whole = captured(busy)
    exchanges = list(read_exchanges(whole))
    rows = [
        replace(row, exchange_id=f"{copy:03}-{row.exchange_id}", client=f"{copy:03}-{row.client}")
        for copy in range(300)
        for row in exchanges
    ]
    files = []
    for number, start in enumerate(range(0, len(rows), 500)):
        files.append(tmp_path / f"{number}.parquet")
        pq.write_table(to_table(rows[start : start + 500]), files[-1], row_group_size=7)
    found = analyse(Capture(tuple(files), None, whole.coverage, 0, (), ())).timeline
    expected = {
        row.exchange_id: (row.method, row.path, round(row.request_started_at.timestamp() * 1e6)) for row in rows
    }
    assert len(found) > len(rows) // 2
    for row in found.itertuples():
        method, path, start_us = expected[row.exchange_id]
        assert (row.method, row.start_us) == (method, start_us)
        assert row.url.endswith(path)


def test_the_same_exchange_in_a_file_and_in_the_table_counts_once(
    busy: list[Any], captured: Make, tmp_path: Path
) -> None:
    whole = captured(busy)
    pq.write_table(whole.table, tmp_path / "copy.parquet")
    twice = replace(whole, files=(tmp_path / "copy.parquet",))
    assert analyse(twice).exchanges == len(busy)


@pytest.mark.parametrize(
    ("selection", "exchanges", "operations"),
    [
        (Selection(), 7, 2),
        (Selection(host="OTHER.example"), 2, 1),
        (Selection(since=T0 + timedelta(seconds=5)), 4, 1),
        (Selection(until=T0 + timedelta(seconds=5)), 3, 1),
        (Selection(since=T0 + timedelta(seconds=500)), 0, 0),
        (Selection(endpoint="PUT /admin"), 5, 2),
        (Selection(endpoint="/elsewhere"), 2, 0),
        (Selection(endpoint="/nothing"), 0, 0),
    ],
)
def test_a_selection_takes_whole_operations(
    busy: list[Any], analysed: Make, selection: Selection, exchanges: int, operations: int
) -> None:
    analysis = analysed(busy, selection=selection)
    assert (analysis.exchanges, len(analysis.operations)) == (exchanges, operations)


def test_a_token_selects_its_operation(busy: list[Any], analysed: Make) -> None:
    key = str(analysed(busy).operations["key"][0])
    token = key.split("|")[-1]
    analysis = analysed(busy, selection=Selection(tokens=(token,)))
    assert list(analysis.operations["key"]) == [key]
    assert analysis.exchanges == 3


def test_what_happened_between_two_sessions_was_not_seen(busy: list[Any], captured: Make) -> None:
    """The second operation's last exchange is near the end of a session: nobody knows that it was given up."""
    whole: Capture = captured(busy)
    seen = [
        Coverage("one", T0, T0 + timedelta(seconds=20)),
        Coverage("two", T0 + timedelta(seconds=60), T0 + timedelta(seconds=200)),
    ]
    outcomes = {True: "abandoned", False: "pending"}
    for joined, outcome in outcomes.items():
        coverage = (replace(seen[0], ended_at=T0 + timedelta(seconds=60)), seen[1]) if joined else tuple(seen)
        analysis = analyse(replace(whole, coverage=coverage))
        assert list(analysis.operations["outcome"]) == ["completed", outcome]


def stepped(exchange: Exchange, step_s: float, after: datetime) -> Exchange:
    """The exchange as a recorder saw it whose wall clock was set ``after`` that instant."""
    columns = {}
    for name in ("request_started", "response_started", "response_ended"):
        instant = getattr(exchange, f"{name}_at")
        columns[f"{name}_mono_ns"] = round((instant - T0).total_seconds() * 1e9) + 10**15
        columns[f"{name}_at"] = instant + timedelta(seconds=step_s if instant >= after else 0.0)
    return replace(exchange, session_id="s", **columns)


@pytest.mark.parametrize("step_s", [-3600.0, 7.0])
def test_a_step_of_the_wall_clock_is_said_and_changes_no_duration(
    busy: list[Any], captured: Make, step_s: float
) -> None:
    whole = captured(busy)
    plain = analyse(whole)
    moved = [stepped(e, step_s, T0 + timedelta(seconds=0.45)) for e in read_exchanges(whole)]
    analysis = analyse(replace(whole, table=to_table(moved)))
    columns = ["id", "duration_s", "lower_s", "upper_s", "observed_s", "outcome", "polls"]
    assert analysis.operations[columns].equals(plain.operations[columns])
    assert analysis.waits["waited_s"].equals(plain.waits["waited_s"])
    (warning,) = [text for text in analysis.warnings if "clock was set" in text]
    assert f"{step_s:+.3f} s" in warning


def test_a_parquet_file_damaged_behind_its_footer_is_one_line(busy: list[Any], captured: Make, tmp_path: Path) -> None:
    whole = captured(busy)
    path = tmp_path / "damaged.parquet"
    pq.write_table(whole.table, path, compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[4:400] = bytes(396)
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        analyse(replace(whole, table=None, files=(path,)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("short", [MemoryError(), duckdb.OutOfMemoryException("could not allocate")])
def test_too_little_memory_is_one_line_that_says_what_to_do(
    short: Exception, busy: list[Any], captured: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(*_given: object) -> None:
        raise short

    monkeypatch.setattr("polltape.measures.analysis.waits", waits)
    with pytest.raises(InputError, match="too much to measure at once") as caught:
        analyse(captured(busy))
    assert len(str(caught.value).splitlines()) == 1
    assert "--since" in str(caught.value.hint)


def test_without_steps_all_else_is_the_same(busy: list[Any], captured: Make) -> None:
    capture = captured(busy)
    without, whole = analyse(capture, steps=False), analyse(capture)
    assert render(without, "json") == render(whole, "json")
    assert list(without.timeline.columns) == list(whole.timeline.columns)
    assert len(without.timeline) == 0 < len(whole.timeline)


def test_many_pieces_are_one_whole(busy: list[Any], captured: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = captured(busy)
    whole = render(analyse(capture), "json")
    for place in ("sightings.PART_ROWS", "waits.AT_ONCE", "governed.AT_ONCE"):
        monkeypatch.setattr(f"polltape.operations.{place}", 2)
    assert render(analyse(capture), "json") == whole
