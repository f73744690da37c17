"""The analysis as text for a terminal: what was read, what came back, how long it took, who kept to what."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from polltape.measures.codes import CODES
from polltape.measures.words import LONGEST_ENDPOINT, clock, counted, percent, seconds, shortened
from polltape.report.as_json import OUTCOMES
from polltape.report.names import shell_paths, short_id
from polltape.report.page import FAULTS, MOST_GROUPS, QUIET, VERDICTS, Page
from polltape.report.places import ticket
from polltape.report.plain import Row, named, reached, rows, span
from polltape.report.traffic_text import sections

if TYPE_CHECKING:
    import pandas as pd

    from polltape.measures.analysis import Analysis

QUANTILES: Final = ("p50", "p90", "p95", "p99")
MOST_STATUSES: Final = 60
"""Rows of statuses; the rest is counted."""


def render(analysis: Analysis, *, width: int = 80, color: bool = False) -> str:
    """The whole analysis as text of that width; colours only where asked for."""
    page = Page(width, color)
    _read(page, analysis)
    _statuses(page, analysis)
    _durations(page, analysis)
    _compliance(page, analysis)
    sections(page, analysis)
    _findings(page, analysis)
    _next(page, analysis)
    return page.text()


# ---------------------------------------------------------------------------------------- what was read


def _read(page: Page, analysis: Analysis) -> None:
    skipped = f", {counted(analysis.skipped, 'entry', 'entries')} skipped" if analysis.skipped else ", none skipped"
    page.line((f"{', '.join(analysis.sources)}", "bold"), indent=0)
    page.line(f"{counted(analysis.exchanges, 'exchange')}{skipped}", indent=0)
    if told := span(analysis):
        page.line(told, indent=0)
    page.line(covered(analysis), indent=0)
    for warning in analysis.warnings:
        page.line((f"note: {warning}", "yellow"), indent=0)


def covered(analysis: Analysis) -> str:
    """For how long somebody was there to see, in one line."""
    if not analysis.coverage:
        return "no recording session: nobody can tell what came after the last exchange"
    total = sum((session.ended_at - session.started_at).total_seconds() for session in analysis.coverage)
    text = f"recorded for {seconds(total)} in {counted(len(analysis.coverage), 'session')}"
    if torn := sum(not session.clean for session in analysis.coverage):
        text += f", {torn} of them cut off"
    if gaps := sum(session.gaps for session in analysis.coverage):
        text += f", {counted(gaps, 'exchange')} known to be missing"
    return text


# --------------------------------------------------------------------------------------------- statuses


def _statuses(page: Page, analysis: Analysis) -> None:
    page.heading("Statuses")
    table = rows(analysis.statuses)
    if not table:
        page.line("none: the capture has no exchange")
    for (host, endpoint), group in groupby(table[:MOST_STATUSES], key=lambda row: (row["host"], row["endpoint"])):
        page.line(shortened(str(endpoint), LONGEST_ENDPOINT), (f"  {host}", QUIET))
        for row in group:
            status = "none" if row["status"] is None else str(row["status"])
            whose = f" ({row['fault']}'s fault)" if row["fault"] else ""
            head = (f"{row['count']:>7} × {status}", FAULTS.get(row["fault"] or "", ""))
            page.hanging(head, f"{row['meaning']}{whose}", indent=2, width=14)
    page.more(len(table) - MOST_STATUSES, "status", "statuses")


# -------------------------------------------------------------------------------------------- durations


def _durations(page: Page, analysis: Analysis) -> None:
    page.heading("Durations", 'from the "not yet" to any end')
    table = rows(analysis.durations)
    if not table:
        page.line('none: no exchange of the capture was answered "not yet" by a protocol that polltape knows')
    for row in table[:MOST_GROUPS]:
        page.line((named(row), "bold"))
        page.facts(operation_facts(row))
        if row["operations"]:
            page.table(["", *(f">{name}" for name in QUANTILES)], quantile_rows(row), indent=4)
            page.facts(duration_facts(row))
    page.more(len(table) - MOST_GROUPS, "group")


def operation_facts(row: Row) -> list[str]:
    """How many operations of a group there are, and how they ended."""
    outcomes = [f"{row[outcome]} {outcome.replace('_', ' ')}" for outcome in OUTCOMES if row[outcome]]
    facts = [counted(row["operations"], "operation") + (f": {', '.join(outcomes)}" if outcomes else "")]
    if row["truncated"]:
        facts.append(f"{row['truncated']} truncated, whose submit is not in the capture")
    if row["at_once"]:
        facts.append(f"{row['at_once']} more ended at once, without a 202")
    return facts


def quantile_rows(row: Row) -> list[list[str]]:
    """The quantiles as the client lived them, and those that bound the server's own time from below."""
    return [
        ["client waited", *(reached(row[f"{name}_s"]) for name in QUANTILES)],
        ["server, at least", *(reached(row[f"{name}_lower_s"]) for name in QUANTILES)],
    ]


def duration_facts(row: Row) -> list[str]:
    """The median's interval and bracket, how far the data goes, and who left before an end.

    Leaving may say something about how long it would have taken; so its shares stand beside every quantile.
    """
    ended = [f"{percent(share)} {outcome.replace('_', ' ')}" for outcome, share in row["shares"].items() if share]
    left = [f"{percent(row[f'{name}_share'])} {name}" for name in ("abandoned", "superseded")]
    return [
        _median_interval(row),
        "no bracket" if row["bracket_s"] is None else f"median bracket {seconds(row['bracket_s'])}",
        f"longest seen {seconds(row['longest_s'])}",
        *_server_median(row),
        f"ended within {seconds(row['horizon_s'])}: {', '.join(ended) or 'none'}",
        f"left before an end: {', '.join(left)}",
    ]


def _median_interval(row: Row) -> str:
    """How far the median may be off; one operation, or all of them ending at once, do not tell."""
    if row["p50_s"] is None:
        return "p50 not reached"
    if row["p50_low_s"] is None:
        return "no 95 % interval of p50"
    return f"95 % interval of p50 {seconds(row['p50_low_s'])} to {reached(row['p50_high_s'])}"


def _server_median(row: Row) -> list[str]:
    """Where Turnbull's estimate has the server's own median; within that gap nothing tells."""
    low, high = row["p50_turnbull_low_s"], row["p50_turnbull_high_s"]
    if low is None:
        return []
    told = f"over {seconds(low)}" if high is None else f"in {seconds(low)} to {seconds(high)}"
    return [f"server's own p50 by Turnbull {told}"]


# ------------------------------------------------------------------------------------------- compliance


def _compliance(page: Page, analysis: Analysis) -> None:
    page.heading("Compliance", "did clients wait as long as they were asked to?")
    table = rows(analysis.compliance)
    if not table:
        page.line("nothing to keep: no response of the capture carried a usable instruction to wait")
    else:
        page.line(("intervals take waits as independent where there are fewer than 10 clients", QUIET))
    for row in table[:MOST_GROUPS]:
        page.line((named(row), "bold"))
        page.facts(rate_facts(row))
        page.table(*verdict_table(row), indent=4)
        page.facts(client_facts(row))
    page.more(len(table) - MOST_GROUPS, "group")


def rate_facts(row: Row) -> list[str]:
    """The rate with its interval, and on how many waits it stands."""
    rated = row["kept"] + row["late"] + row["early"]
    if not rated:
        return ["no rate: no wait had both a deadline within the recording and a request after it"]
    return [f"{percent(row['rate'])} of {counted(rated, 'rated wait')} not early", f"95 % interval {interval(row)}"]


def interval(row: Row) -> str:
    """The interval of the rate that stands: by client where there are enough of them."""
    if row["cluster_low"] is None:
        return f"{percent(row['low'])} to {percent(row['high'])}"
    return f"{percent(row['cluster_low'])} to {percent(row['cluster_high'])} by client"


def verdict_table(row: Row) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Heads and the one row of verdicts."""
    verdicts = ("kept", "late", "early", "unanswered", "open", "void")
    cells = [(str(row[verdict]), VERDICTS.get(verdict, "") if row[verdict] else "") for verdict in verdicts]
    return [f">{verdict}" for verdict in verdicts], [cells]


def client_facts(row: Row) -> list[str]:
    """Whose waits these are, and what being late has cost."""
    facts = [
        f"{counted(row['operations'], 'operation')}, {row['operations_clean']} without an early wait",
        counted(row["clients"], "client"),
    ]
    return [*facts, f"the late ones gave away {seconds(row['late_s'])}"] if row["late"] else facts


# --------------------------------------------------------------------------------------------- findings


def _findings(page: Page, analysis: Analysis) -> None:
    page.heading("Findings")
    groups = by_code(analysis.findings, 1)
    if not groups:
        page.line("none: nothing in this capture breaks a rule that polltape knows")
    for code, (count, [first]) in groups.items():
        style = FAULTS.get(first["fault"], "")
        page.hanging((code, f"bold {style}"), f"{title(code)} ({first['fault']}, {count} ×)", indent=2, width=6)
        page.line(str(first["message"]), indent=9)
        page.line((" · ".join([f"{clock(first['at_us'])} UTC", *ticket(first)]), QUIET), indent=9)
    for suppression, count in analysis.suppressed:
        if count:
            page.line((f"{count} suppressed by {suppression.where}: {suppression.reason}", QUIET))


def by_code(findings: pd.DataFrame, most: int) -> dict[str, tuple[int, list[Row]]]:
    """For each code how many findings there are, and the first of them; codes in the order of the handbook."""
    number, names = findings["code"].factorize()
    where = {code: (number == place).nonzero()[0] for place, code in enumerate(names)}
    return {code: (len(where[code]), rows(findings.iloc[where[code][:most]])) for code in CODES if code in where}


def title(code: str) -> str:
    """A code in one line."""
    return CODES[code].title if code in CODES else ""


def _next(page: Page, analysis: Analysis) -> None:
    page.heading("Next")
    path = shell_paths(analysis)
    table = analysis.findings
    if table.empty:
        page.command(f"polltape show {path}")
        return
    first = min(table["code"].unique(), key=list(CODES).index)
    page.command(f"polltape explain {first}")
    operation = _first_operation(analysis)
    page.command(f"polltape show {path}" + (f" {short_id(analysis, operation)}" if operation else ""))
    page.command(f"polltape analyze {path} --format html --output report.html")


def _first_operation(analysis: Analysis) -> str | None:
    """The operation to look at: the one of the first finding, codes in the order of the handbook."""
    table = analysis.findings[analysis.findings["operation"].notna()].drop_duplicates("code")
    of = dict(zip(table["code"], table["operation"], strict=True))
    return next((str(of[code]) for code in CODES if code in of), None)
