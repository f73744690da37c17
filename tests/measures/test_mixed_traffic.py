"""Histories in which rules meet, with every number worked out by hand from the definitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polltape.measures.analysis import Analysis

Make = Callable[..., Any]
CHECKOUT = "/admin/api/2024-04/checkouts/t1.json"
ORDER = "/posnext/orders/o1"
PENDING, PLACED = {"status": "pending"}, {"status": "placed"}
SIGNED = [("x-pch-digest", "aa")]


@pytest.fixture
def told(analysed: Make) -> Make:
    return lambda *entries: analysed(list(entries))


def lives(analysis: Analysis) -> list[tuple[Any, ...]]:
    """Outcome, polls, statuses; then lower, upper, duration and observed in seconds, None where unknown."""
    names = ["lower_s", "upper_s", "duration_s", "observed_s"]
    seconds = analysis.operations[names].astype(object).where(analysis.operations[names].notna(), None)
    statuses = analysis.operations["statuses"].map(list)
    plain = zip(analysis.operations["outcome"], analysis.operations["polls"], statuses, strict=True)
    return [(*row, *found) for row, found in zip(plain, seconds.itertuples(index=False, name=None), strict=True)]


def judged(analysis: Analysis) -> list[tuple[Any, ...]]:
    """Scope, asked, waited and verdict of each wait."""
    waited = [None if value != value else value for value in analysis.waits["waited_s"].astype("float64")]
    return list(zip(analysis.waits["scope"], analysis.waits["asked_s"], waited, analysis.waits["verdict"], strict=True))


def found(analysis: Analysis) -> list[tuple[str, float]]:
    """Code and instant, in seconds since the history's beginning, of each finding."""
    zero = datetime(2026, 11, 23, 8, tzinfo=UTC)
    at = [datetime.fromtimestamp(us / 1e6, UTC) - zero for us in analysis.findings["at_us"]]
    return sorted(zip(analysis.findings["code"], (moment / timedelta(seconds=1) for moment in at), strict=True))


def test_one_client_has_every_kind_of_operation_open_on_one_host(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "PUT", CHECKOUT, 202, hint="1", sent='{"a":1}'),
        entry(
            0.2, "POST", "/posnext/order/submit", 202, sent="{}", body=PENDING, headers=[*SIGNED, ("Location", ORDER)]
        ),
        entry(0.4, "POST", "/jobs", 202, hint="2", headers=[("Location", "/m/1")]),
        entry(0.6, "GET", "/limited", 429, hint="3"),  # until 3.7, for the whole host
        entry(0.75, "GET", ORDER, 200, body=PENDING, headers=SIGNED),  # under way by then
        entry(1.2, "GET", CHECKOUT, 202, hint="1"),
        entry(2.0, "GET", "/m/1", 202, hint="1"),
        entry(2.5, "GET", CHECKOUT, 200),
        entry(3.2, "GET", "/m/1", 200),
        entry(3.69, "GET", ORDER, 200, body=PLACED, headers=SIGNED),  # the deadline less the tolerance
        entry(3.9, "GET", "/limited", 200),
    )
    assert lives(analysis) == [
        ("completed", 2, [202, 202, 200], 1.1, 2.5, 2.5, 2.5),
        ("completed", 2, [202, 200, 200], 0.45, 3.49, 3.49, 3.49),
        ("completed", 2, [202, 202, 200], 1.5, 2.8, 2.8, 2.8),
        ("completed", 1, [429, 200], 0, 3.3, 3.3, 3.3),
    ]
    assert judged(analysis) == [
        ("operation", 1, 1.1, "kept"),
        ("operation", 2, 1.5, "early"),
        ("host", 3, 0.5, "early"),
        ("operation", 1, 1.2, "kept"),
        ("operation", 1, 1.1, "kept"),
    ]
    assert found(analysis) == [("RA001", 1.2), ("RA001", 2.0), *(("RA007", at) for at in (1.2, 2.0, 2.5, 3.2))]


def test_a_poll_in_flight_while_another_write_takes_over(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "PUT", CHECKOUT, 202, hint="1", sent='{"a":1}'),
        entry(1.2, "GET", CHECKOUT, 202, hint="1"),
        entry(2, "PUT", CHECKOUT, 202, hint="1", sent='{"a":2}', took=0.5),
        entry(2.3, "GET", CHECKOUT, 202, hint="1", took=0.4),
        entry(4, "GET", CHECKOUT, 200),
    )
    assert lives(analysis) == [
        ("superseded", 2, [202, 202, 202], 2.2, None, None, 2.6),
        ("completed", 1, [202, 200], 0, 1.6, 1.6, 1.6),
    ]
    assert judged(analysis) == [
        ("operation", 1, 1.1, "kept"),
        ("operation", 1, 1.0, "kept"),
        ("operation", 1, 1.5, "kept"),
        ("operation", 1, None, "void"),
    ]
    assert found(analysis) == []


def test_final_answers_that_race_and_a_pending_one_that_comes_after_them(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "PUT", CHECKOUT, 202, hint="1", sent="{}"),
        entry(1.2, "GET", CHECKOUT, 200, headers_after=0.1, took=1.8),
        entry(1.5, "GET", CHECKOUT, 200, headers_after=0.3, took=0.5),  # its response ends first
        entry(1.6, "GET", CHECKOUT, 202, took=2.4),  # before that response started: it showed pending
    )
    assert lives(analysis) == [("completed", 3, [202, 200, 200, 202], 1.5, 1.7, 1.9, 3.9)]
    assert found(analysis) == [("RA003", 4.0)]
