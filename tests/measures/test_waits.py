"""Waits: their scope, the verdict at each border, and which count in the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polltape.measures.analysis import Settings
from polltape.operations.waits import Tolerance

C = "/admin/api/2024-04/checkouts/t1.json"
OTHER = "/admin/api/2024-04/checkouts/t2.json"
LAST = ("GET", "/elsewhere", 200)

Make = Callable[..., Any]


def verdicts(analysis: Any) -> list[str]:
    return list(analysis.waits["verdict"])


@pytest.mark.parametrize(
    ("waited", "verdict"),
    [
        (0.05, "early"),
        (0.5, "early"),
        (0.9899, "early"),
        (0.99, "kept"),
        (1.0, "kept"),
        (2.0, "kept"),
        (2.0001, "late"),
    ],
)
def test_a_delay_is_good_to_ten_milliseconds_and_late_from_twice_on(
    entry: Make, analysed: Make, waited: float, verdict: str
) -> None:
    history = [entry(0, "PUT", C, 202, hint="1", sent="{}"), entry(0.1 + waited, "GET", C, 200), entry(60, *LAST)]
    analysis = analysed(history)
    assert verdicts(analysis) == [verdict]
    assert analysis.waits["waited_s"][0] == pytest.approx(waited)
    codes = {"early": {"RA001"}, "late": {"RA006"}, "kept": set()}[verdict]
    codes = {"RA002"} if waited < 0.1 else codes
    assert set(analysis.findings["code"]) == codes


def test_short_waits_may_take_a_second_longer(entry: Make, analysed: Make) -> None:
    history = [entry(0, "PUT", C, 202, hint="0", sent="{}"), entry(1.1, "GET", C, 200), entry(60, *LAST)]
    assert verdicts(analysed(history)) == ["kept"]


def test_early_needs_both_the_end_and_the_headers(entry: Make, analysed: Make) -> None:
    """A client that schedules on the headers is not called early for a slow body."""
    slow = entry(0, "PUT", C, 202, hint="1", sent="{}", took=0.9, headers_after=0.1)
    history = [slow, entry(1.2, "GET", C, 200), entry(60, *LAST)]
    assert verdicts(analysed(history)) == ["kept"]


@pytest.mark.parametrize(("waited", "verdict"), [(0.999, "early"), (1.0, "kept")])
def test_a_date_is_good_to_a_second(entry: Make, analysed: Make, waited: float, verdict: str) -> None:
    hint = "Mon, 23 Nov 2026 08:00:02 GMT"
    history = [entry(0, "PUT", C, 202, hint=hint, sent="{}"), entry(0.1 + waited, "GET", C, 200), entry(60, *LAST)]
    assert verdicts(analysed(history)) == [verdict]


def test_tolerances_can_be_set(entry: Make, analysed: Make) -> None:
    history = [entry(0, "PUT", C, 202, hint="1", sent="{}"), entry(0.9, "GET", C, 200), entry(60, *LAST)]
    assert verdicts(analysed(history, settings=Settings(tolerance=Tolerance(delay_s=0.3)))) == ["kept"]


def test_without_a_next_poll_the_coverage_decides(entry: Make, analysed: Make) -> None:
    submit = entry(0, "PUT", C, 202, hint="5", sent="{}")
    assert verdicts(analysed([submit, entry(5.0, *LAST, took=0.1)])) == ["open"]  # coverage ends at the deadline
    assert verdicts(analysed([submit, entry(5.0, *LAST, took=0.2)])) == ["unanswered"]


def test_an_operation_that_ended_first_voids_the_wait(entry: Make, analysed: Make) -> None:
    history = [
        entry(0, "PUT", C, 202, sent="{}"),
        entry(1, "GET", C, 202, took=2.5, hint="1"),  # answered when the other has ended it already
        entry(2, "GET", C, 200),
        entry(60, *LAST),
    ]
    assert verdicts(analysed(history)) == ["void"]


def test_a_request_under_way_is_not_governed(entry: Make, analysed: Make) -> None:
    history = [
        entry(0, "PUT", C, 202, sent="{}"),
        entry(1, "GET", C, 202, took=1.0, hint="1"),
        entry(1.5, "GET", C, 202, took=0.1),
        entry(3.0, "GET", C, 200),
        entry(60, *LAST),
    ]
    analysis = analysed(history)
    assert verdicts(analysis) == ["kept"]
    assert analysis.waits["waited_s"][0] == pytest.approx(1.0)


@pytest.mark.parametrize(("after", "path", "waited"), [(0.1, OTHER, 5.0), (0.1001, OTHER, 0.1001), (0.05, C, 0.05)])
def test_a_429_governs_the_host_but_not_what_was_under_way(
    entry: Make, analysed: Make, after: float, path: str, waited: float
) -> None:
    history = [
        entry(0, "PUT", C, 429, hint="2.0", sent="{}"),
        entry(0.1 + after, "PUT", path, 500, sent="{}"),
        entry(5.1, "PUT", C, 500, sent="{}"),
        entry(60, "GET", "/elsewhere", 200, client="b"),
    ]
    analysis = analysed(history)
    assert analysis.waits["waited_s"][0] == pytest.approx(waited)
    assert ("RA007" in set(analysis.findings["code"])) == (path == OTHER and after > 0.1)


def test_another_client_or_host_is_not_governed_by_a_429(entry: Make, analysed: Make) -> None:
    history = [
        entry(0, "PUT", C, 429, hint="2", sent="{}"),
        entry(1, "PUT", C, 500, sent="{}", client="b"),
        entry(1, "PUT", C, 500, sent="{}", host="other.example"),
        entry(60, "GET", "/elsewhere", 200, client="b"),
    ]
    assert verdicts(analysed(history)) == ["unanswered"]


@pytest.mark.parametrize("host", ["shop.example", "shop.example:8443", "[2001:db8::1]", "[::1]:8443"])
def test_a_redirect_governs_the_redirected_request(entry: Make, analysed: Make, host: str) -> None:
    history = [
        entry(0, "POST", "/orders", 303, hint="2", headers=[("Location", "/orders/7?x=1")], host=host),
        entry(1, "GET", "/orders/7", 200, host=host),
        entry(3, "GET", "/orders/7?x=1", 200, host=host),
        entry(60, *LAST),
    ]
    analysis = analysed(history)
    assert list(analysis.waits["waited_s"]) == [pytest.approx(2.9)]
    assert verdicts(analysis) == ["kept"]


def test_an_idle_checkouts_get_governs_the_same_request(entry: Make, analysed: Make) -> None:
    history = [entry(0, "GET", C, 202, hint="1"), entry(0.5, "GET", C, 202), entry(60, *LAST)]
    analysis = analysed(history)
    assert verdicts(analysis) == ["early"]
    assert analysis.waits["operation"].isna().all()
    assert list(analysis.compliance["protocol"].isna()) == [True]


def test_only_waits_whose_deadline_was_seen_are_rated(entry: Make, analysed: Make) -> None:
    """Else early ones would be seen and kept ones not."""
    history = [entry(0, "PUT", C, 202, hint="60", sent="{}"), entry(1, "GET", C, 200), entry(10, *LAST)]
    analysis = analysed(history)
    assert verdicts(analysis) == ["early"]
    assert not analysis.waits["rated"].any()
    assert list(analysis.compliance["early"]) == [0]
    assert analysis.compliance["rate"].isna().all()
    assert "RA002" in set(analysis.findings["code"])


def test_a_date_in_a_foreign_form_is_listed_and_out_of_the_rate(entry: Make, analysed: Make) -> None:
    history = [
        entry(0, "PUT", C, 202, hint="2026-11-23T08:00:05Z", sent="{}"),
        entry(1, "GET", C, 200),
        entry(60, *LAST),
    ]
    analysis = analysed(history)
    assert verdicts(analysis) == ["early"]
    assert not analysis.waits["rated"].any()


def test_a_wait_beyond_all_clocks_is_still_a_wait(entry: Make, analysed: Make) -> None:
    history = [entry(0, "PUT", C, 202, hint="9" * 5000, sent="{}"), entry(1, "GET", C, 200), entry(60, *LAST)]
    assert verdicts(analysed(history)) == ["early"]
