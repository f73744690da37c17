"""What waiting costs, as text: the queue, throttling, polling, and how often a write is answered "not yet".

A section without anything to say is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from polltape.measures.words import LONGEST_ENDPOINT, counted, percent, seconds, shortened
from polltape.report.page import QUIET, Page
from polltape.report.plain import Row, named, reached, rows

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

MOST_GROUPS: Final = 12
"""Hosts, groups or endpoints of a section; the rest is counted."""
NOTES: Final = {
    "Queue": "from the answer that queued a request",
    "Throttling": "429 and 503, and 413 that says when to come back",
    "Polling": "what asking again costs",
    "Not yet": "how often a write was answered so, and with how many requests under way",
}
"""Each section and what it is about."""


def sections(page: Page, analysis: Analysis) -> None:
    """The four sections, each only where it has something to say."""
    _section(page, "Queue", rows(analysis.queues), _queue)
    _section(page, "Throttling", rows(analysis.throttling), _throttled)
    _section(page, "Polling", most_polled(analysis), _polled)
    _section(page, "Not yet", with_steps(analysis), _pending)


def _section(page: Page, name: str, table: list[Row], one: Callable[[Page, Row], None]) -> None:
    if not table:
        return
    page.heading(name, NOTES[name])
    for row in table[:MOST_GROUPS]:
        one(page, row)
    page.more(len(table) - MOST_GROUPS, "row")


# ------------------------------------------------------------------------------------------------ queue


def _queue(page: Page, row: Row) -> None:
    page.line((row["host"], "bold"))
    page.facts(journey_facts(row))
    if row["journeys"]:
        page.table(["", ">p50", ">p90"], journey_quantiles(row), indent=4)
    page.facts(estimate_facts(row))


def journey_facts(row: Row) -> list[str]:
    """How many journeys through a host's queue there are, and how they went."""
    facts = [f"{counted(row['journeys'], 'journey')}: {row['released']} released, {row['completed']} completed"]
    return (
        [*facts, f"{row['truncated']} truncated, whose beginning is not in the capture"] if row["truncated"] else facts
    )


def journey_quantiles(row: Row) -> list[list[str]]:
    """The times to release and to a result."""
    return [
        ["until released", reached(row["release_p50_s"]), reached(row["release_p90_s"])],
        ["until answered", reached(row["result_p50_s"]), reached(row["result_p90_s"])],
    ]


def estimate_facts(row: Row) -> list[str]:
    """What the first estimates were worth, and the polls that came too early."""
    facts = ["no estimate that could be checked"]
    if row["estimated"]:
        off = "" if row["eta_off_p50"] is None else f", off by {percent(row['eta_off_p50'])}"
        facts = [f"first estimate {error(row['eta_error_p50_s'])}{off} (medians of {row['estimated']})"]
        if row["eta_wrong"]:
            facts.append(f"{row['eta_wrong']} off by more than half")
    polls = counted(row["polls"], "poll")
    early = f"{row['polls_ignored']} of {polls} came before pollAfter and were ignored"
    return [*facts, early if row["polls_ignored"] else f"{polls}, none before pollAfter"]


def error(eta_error_s: float) -> str:
    """By how much an estimate was wrong: it is too short where the queue took longer."""
    if not eta_error_s:
        return "right"
    return f"{seconds(abs(eta_error_s))} too {'short' if eta_error_s > 0 else 'long'}"


# ------------------------------------------------------------------------------------------- throttling


def _throttled(page: Page, row: Row) -> None:
    page.line((row["host"], "bold"))
    page.facts(throttling_facts(row))


def throttling_facts(row: Row) -> list[str]:
    """How much a host throttled, and what it cost."""
    facts = [f"{row['throttled']} of {counted(row['requests'], 'request')} throttled: {percent(row['share'])}"]
    if row["operations"]:
        least = "at least " if row["ended"] < row["operations"] else ""
        facts += [
            counted(row["clients"], "client"),
            f"{row['ended']} of {row['operations']} accepted in the end",
            f"{least}{seconds(row['lost_s'])} lost, {seconds(row['longest_s'])} by one request",
        ]
    if row["again"]:
        facts.append(f"{counted(row['again'], 'retry', 'retries')} throttled again")
    if row["early"]:
        facts.append(f"{counted(row['early'], 'request')} sent before the time was over")
    return facts


# ---------------------------------------------------------------------------------------------- polling


def most_polled(analysis: Analysis) -> list[Row]:
    """The groups that polled at all, those that polled most first."""
    return sorted((row for row in rows(analysis.polling) if row["polls"]), key=lambda row: -row["polls"])


def _polled(page: Page, row: Row) -> None:
    page.line((named(row), "bold"))
    page.facts(polling_facts(row))


def polling_facts(row: Row) -> list[str]:
    """How many polls a group made, and how many of them could have been saved."""
    facts = [f"{counted(row['polls'], 'poll')}, {percent(row['share'])} of the host's requests"]
    each = row["polls_per_completed"]
    facts.append("no operation completed" if each is None else f"{number(each)} for each completed operation")
    if row["polls_p50"] is not None:
        facts.append(f"median {number(row['polls_p50'])}, most {row['polls_max']}")
    if row["early"]:
        facts.append(f"{percent(row['early'] / row['polls'])} before the time asked for")
    return [*facts, f"at most {row['peak_per_s']} within one second"]


def number(value: float) -> str:
    """To one digit behind the point, if there is one."""
    return f"{value:.1f}".removesuffix(".0")


# ---------------------------------------------------------------------------------------------- not yet


def with_steps(analysis: Analysis) -> list[Row]:
    """The rows of pending shares, each with those by requests under way as ``steps``."""
    by_endpoint: dict[tuple[str, ...], list[Row]] = {}
    for row in rows(analysis.under_way):
        by_endpoint.setdefault(_endpoint(row), []).append(row)
    return [row | {"steps": by_endpoint.get(_endpoint(row), [])} for row in rows(analysis.pending_shares)]


def _endpoint(row: Row) -> tuple[str, ...]:
    return row["protocol"], row["host"], row["endpoint"]


def _pending(page: Page, row: Row) -> None:
    page.line(shortened(row["endpoint"], LONGEST_ENDPOINT), (f"  {row['host']}", QUIET))
    page.facts(pending_facts(row))
    if len(row["steps"]) > 1:
        page.table([">under way", ">writes", ">not yet", "95 % interval"], map(step_cells, row["steps"]), indent=4)


def pending_facts(row: Row) -> list[str]:
    """The share of an endpoint with its interval, and whether that makes a 202 an exception."""
    facts = [f"{row['pending']} of {counted(row['writes'], 'write')}: {percent(row['share'])}"]
    facts.append(f"95 % interval {percent(row['low'])} to {percent(row['high'])}")
    if row["threshold"] is not None:
        facts.append(exception(row))
    if len(row["steps"]) == 1:
        facts.append(f"always {under_way(row['steps'][0])} under way")
    return facts


def exception(row: Row) -> str:
    """Whether a 202 is the exception that the protocol calls it."""
    limit = f"{percent(row['threshold'])} or less"
    if row["exception"] is None:
        return f"too few to tell whether that is an exception ({limit})"
    return f"an exception ({limit})" if row["exception"] else f"no exception, which would be {limit}"


def under_way(step: Row) -> str:
    """A range of requests under way: ``1``, ``2–3``, ``4–7``."""
    low, high = step["under_way_from"], step["under_way_to"]
    return str(low) if low == high else f"{low}–{high}"


def step_cells(step: Row) -> list[str]:
    """Requests under way, writes, share, interval."""
    interval = f"{percent(step['low'])} to {percent(step['high'])}"
    return [under_way(step), str(step["writes"]), percent(step["share"]), interval]
