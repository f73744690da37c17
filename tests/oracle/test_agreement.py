"""The program and the oracle, two readings of one text, agree on random histories.

The oracle (oracle.py) was written from the definitions alone; see READINGS.md for what it decided where they
leave room.  Both get the same HAR; everything that the JSON contract defines is compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oracle
import pytest
from histories import histories
from histories_more import carts, everything, jobs, orders, queues, throttles
from hypothesis import HealthCheck, given, settings

from polltape.capture.keys import Key
from polltape.capture.reading import open_capture, read_exchanges
from polltape.capture.redaction import Redactor
from polltape.measures.analysis import analyse
from polltape.protocols import observe
from polltape.report import render

Entries = list[dict[str, Any]]
INDEX = "X-Entry"
KEY = Key(b"0123456789abcdef0123456789abcdef", "test")


def ours(entries: Entries, folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The program's JSON, and the entry that each exchange id came from."""
    numbered = json.loads(json.dumps(entries))
    for number, entry in enumerate(numbered):
        entry["request"]["headers"].append({"name": INDEX, "value": str(number)})
    path = folder / "history.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": numbered}}), encoding="utf-8")
    capture = open_capture([path], redact=Redactor(KEY).redact, observe=observe, key=KEY)
    numbers = {e.exchange_id: int(e.request_header(INDEX) or -1) for e in read_exchanges(capture)}
    return json.loads(render(analyse(capture), "json")), numbers


def rounded(value: Any) -> Any:
    """Durations to a tenth of a microsecond: one side adds seconds, the other microseconds."""
    return round(value, 7) if isinstance(value, float) else value


def named(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(tuple(map(rounded, v)) if isinstance(v := row[n], list) else rounded(v) for n in names)


def ordered(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


STATUSES = ("host", "endpoint", "status", "count", "fault")
OPERATIONS = (
    *("protocol", "kind", "host", "truncated", "submitted_at", "accepted_at", "ended_at", "outcome", "polls"),
    *("statuses", "duration_s", "lower_s", "upper_s", "observed_s"),
)
DURATIONS = (
    *("protocol", "kind", "host", "operations", "completed", "failed", "rejected", "action_required", "superseded"),
    *("abandoned", "pending", "truncated", "at_once", "p50_s", "p50_low_s", "p50_high_s", "p50_lower_s", "p90_s"),
    *("p95_s", "p99_s", "bracket_s"),
)
WAITS = ("source", "raw", "class", "clock", "asked_s", "waited_s", "margin_s", "verdict")
COMPLIANCE = (
    *("protocol", "kind", "host", "kept", "late", "early", "unanswered", "open", "void", "rate", "low", "high"),
    *("operations", "operations_clean", "clients"),
)
JOURNEYS = (
    *("host", "outcome", "truncated", "released_at", "release_s", "result_s", "observed_s"),
    *("eta_s", "eta_error_s", "eta_error_share", "polls", "polls_ignored"),
)
QUEUES = (
    *("host", "journeys", "released", "completed", "truncated", "release_p50_s", "release_p90_s", "result_p50_s"),
    *("result_p90_s", "estimated", "eta_error_p50_s", "eta_off_p50", "eta_wrong", "polls", "polls_ignored"),
)
THROTTLING = (
    *("host", "requests", "throttled", "share", "operations", "ended", "clients", "lost_s", "longest_s"),
    *("again", "early"),
)
POLLING = (
    *("protocol", "kind", "host", "operations", "completed", "polls", "polls_per_completed", "polls_p50"),
    *("polls_max", "requests", "share", "early", "peak_per_s"),
)
WRITES = ("protocol", "host", "endpoint", "writes", "pending", "share", "low", "high")


def compared(
    analysis: dict[str, Any], exchange: Callable[[Any], Any], operation: Callable[[Any], Any]
) -> dict[str, Any]:
    """Every contract row as plain tuples, exchanges and operations named by entries."""
    return {
        "capture": (analysis["capture"]["exchanges"], analysis["capture"]["from"], analysis["capture"]["to"]),
        "statuses": ordered([named(r, *STATUSES) for r in analysis["statuses"]]),
        "operations": [
            (operation(r["id"]), *named(r, *OPERATIONS), tuple(map(exchange, r["exchanges"])))
            for r in analysis["operations"]
        ],
        "durations": ordered([named(r, *DURATIONS) for r in analysis["durations"]]),
        "waits": ordered(
            [
                (exchange(r["exchange"]), exchange(r["next_exchange"]), operation(r["operation"]), *named(r, *WAITS))
                for r in analysis["waits"]
            ]
        ),
        "compliance": ordered([named(r, *COMPLIANCE) for r in analysis["compliance"]]),
        "journeys": [(operation(r["operation"]), *named(r, *JOURNEYS)) for r in analysis["journeys"]],
        "queues": ordered([named(r, *QUEUES) for r in analysis["queues"]]),
        "throttling": ordered([named(r, *THROTTLING) for r in analysis["throttling"]]),
        "polling": ordered([named(r, *POLLING) for r in analysis["polling"]]),
        "pending_shares": ordered([named(r, *WRITES, "threshold", "exception") for r in analysis["pending_shares"]]),
        "under_way": ordered([named(r, *WRITES, "under_way_from", "under_way_to") for r in analysis["under_way"]]),
        "findings": ordered(
            [
                (r["code"], r["fault"], operation(r["operation"]), r["at"], exchange(r["exchanges"][-1]))
                if not r["code"].startswith(("OP001", "OP002", "OP003", "OP007", "CQ003", "ST"))
                else (r["code"], r["fault"], operation(r["operation"]), r["at"])
                for r in analysis["findings"]
            ]
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agreement")


EXAMPLES = int(os.environ.get("POLLTAPE_AGREEMENT_EXAMPLES", "12"))
"""Of each strategy; the search went on for hundreds of each when the two were written."""

quick = settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def agree(entries: Entries, folder: Path) -> None:
    analysis, numbers = ours(entries, folder)
    ids = {number: name for name, number in numbers.items()}
    expected = oracle.analyze(entries, ids=[ids[n] for n in range(len(entries))], protocols=oracle.ALL)
    got = compared(
        analysis, numbers.get, lambda name: None if name is None else (name.split(":")[0], numbers[name.split(":")[1]])
    )
    wanted = compared(expected, lambda index: index, lambda name: None if name is None else tuple(name))
    for part, rows in wanted.items():
        assert got[part] == rows, part


@quick
@given(entries=histories())
def test_checkouts(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=queues())
def test_queues(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=carts())
def test_carts(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=orders())
def test_orders(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=jobs())
def test_jobs(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=throttles())
def test_throttles(entries: Entries, folder: Path) -> None:
    agree(entries, folder)


@quick
@given(entries=everything())
def test_everything_at_once(entries: Entries, folder: Path) -> None:
    agree(entries, folder)
