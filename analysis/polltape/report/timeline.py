"""``polltape show``: the operations of a capture as text, or one operation request by request."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Final

from polltape.measures.words import LONGEST_ENDPOINT, clock, counted, seconds, shortened
from polltape.report.names import find_operation, shell_paths, short_ids
from polltape.report.page import FAULTS, OUTCOMES, QUIET, VERDICTS, Page
from polltape.report.places import ticket
from polltape.report.plain import Row, rows
from polltape.report.steps import Life, Step, lives_of

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

Cell = tuple[str, str]

MOST_OPERATIONS: Final = 1000
"""Lines of the list; the rest is counted."""

# ------------------------------------------------------------------------------------ every operation


def operations(analysis: Analysis, *, width: int = 80, color: bool = False) -> str:
    """One line an operation, by the instant of its first request; its name is what ``show`` takes."""
    page = Page(width, color)
    table = rows(analysis.operations)
    if not table:
        page.line('no operation: no exchange was answered "not yet" by a protocol that polltape knows', indent=0)
        return page.text()
    short, codes = short_ids(analysis), _codes(analysis)
    for (host, day), group in groupby(table[:MOST_OPERATIONS], key=lambda row: (row["host"], _day(row))):
        page.line((str(host), "bold"), f"  {day}", indent=0)
        page.table(
            ["operation", "*kind", "UTC", "outcome", ">lasted", ">polls", "*findings"],
            [_operation_row(row, short, codes) for row in group],
            indent=0,
        )
    if (left := len(table) - MOST_OPERATIONS) > 0:
        page.line(f"… and {counted(left, 'operation')} more; all of them:", indent=0)
        page.command(f"polltape analyze {shell_paths(analysis)} --format csv")
    page.heading("Next")
    worst = next((row["id"] for row in table if row["id"] in codes), table[0]["id"])
    page.command(f"polltape show {shell_paths(analysis)} {short[worst]}")
    return page.text()


def _codes(analysis: Analysis) -> dict[str, list[str]]:
    """By operation the codes of the findings that name it, then of those that name only exchanges of it."""
    found: dict[str, list[str]] = defaultdict(list)
    of_exchange: dict[str, list[str]] = defaultdict(list)
    for row in rows(analysis.findings[["operation", "code", "exchanges"]]):
        if row["operation"] is not None:
            found[row["operation"]].append(row["code"])
        else:
            for exchange in row["exchanges"]:
                of_exchange[exchange].append(row["code"])
    if of_exchange:
        for row in rows(analysis.operations[["id", "exchanges"]]):
            more = [code for exchange in row["exchanges"] for code in of_exchange.get(exchange, ())]
            if more:
                found[row["id"]] += more
    return {operation: list(dict.fromkeys(codes)) for operation, codes in found.items()}


def _day(row: Row) -> str:
    return "submit not in the capture" if row["submitted_us"] is None else clock(row["submitted_us"])[:10]


def _operation_row(row: Row, short: dict[str, str], codes: dict[str, list[str]]) -> list[Cell]:
    lasted = row["observed_s"] if row["duration_s"] is None else row["duration_s"]
    still = "> " if row["duration_s"] is None and lasted is not None else ""
    outcome = "truncated" if row["truncated"] else row["outcome"]
    return [
        (short[row["id"]], ""),
        (str(row["kind"] or row["protocol"]), ""),
        ("–" if row["submitted_us"] is None else clock(row["submitted_us"])[11:19], QUIET),
        (outcome.replace("_", " "), OUTCOMES.get(outcome, "")),
        (still + seconds(lasted), ""),
        (str(row["polls"]), ""),
        (" ".join(codes.get(row["id"], ())), "yellow"),
    ]


# --------------------------------------------------------------------------------------- one operation


def render(analysis: Analysis, operation: str, *, width: int = 80, color: bool = False) -> str:
    """One operation's timeline: every request, its answer, and how long the client waited until the next.

    ``operation``: an id or its beginning.  Raises UsageError where that names none or several.
    """
    name = find_operation(analysis, operation)
    life = lives_of(analysis, [name])[0]
    page = Page(width, color)
    page.line((name, "bold"), indent=0)
    for line in summary(life):
        page.line(line, indent=0)
    _steps(page, life, width)
    _findings(page, life)
    return page.text()


def summary(life: Life) -> list[str]:
    """What became of an operation, in a few lines."""
    row = life.operation
    head = f"{row['kind'] or row['protocol']} on {row['host']}, {counted(row['polls'], 'poll')}"
    if row["client"]:
        head += f", client {row['client']}"
    if row["truncated"]:
        return [head, "truncated: its submit is not in the capture, so its durations are unknown"]
    submitted = f"submitted {clock(row['submitted_us'])} UTC, t0 (the end of its answer) "
    lines = [head, submitted + f"{seconds((row['accepted_us'] - row['submitted_us']) / 1e6)} later"]
    outcome = row["outcome"].replace("_", " ")
    if row["duration_s"] is None and not row["polls"]:
        lines.append(f"{outcome}: never polled")
    elif row["duration_s"] is None:
        lines.append(f"{outcome}: no end seen up to {seconds(row['observed_s'])} after t0")
    else:
        lines.append(f"{outcome} {seconds(row['duration_s'])} after t0")
        between = f"more than {seconds(row['lower_s'])} and at most {seconds(row['upper_s'])} after t0"
        if row["upper_s"] is not None:
            lines.append(f"the server got there {between}")
    return lines


def _steps(page: Page, life: Life, width: int) -> None:
    """The table of requests; where the endpoint changes, a line of its own says so."""
    head = ["at", "", "role", "answer", "asked", "waited", "verdict", ""]
    cells = [_cells(step) for step in life.steps]
    widths = [
        max(len(head[column]), *(len(row[column][0]) for row in cells)) for column in range(len(head)) if column != 1
    ]
    bar = max(8, width - sum(widths) - 2 * len(head))
    widths.insert(1, bar)
    head[1] = _scale(life.span_s, bar)
    page.cells([(text, QUIET) for text in head], widths)
    previous = None
    for step, row in zip(life.steps, cells, strict=True):
        endpoint = f"{step.method} {step.endpoint}"
        if endpoint != previous:
            page.line((shortened(endpoint, LONGEST_ENDPOINT), QUIET), indent=1)
            previous = endpoint
        row[1] = (_bar(step, life.span_s, bar), "cyan")
        page.cells(row, widths)
    page.line(("█ request under way   ░ the wait that its answer asked for", QUIET), indent=0)


def _cells(step: Step) -> list[Cell]:
    asked = "–" if step.raw is None else f"{step.raw!r}" if step.asked_s is None else seconds(step.asked_s)
    judged = "" if step.verdict is None else step.verdict
    if step.margin_s is not None:
        judged += f" {seconds(step.margin_s, signed=True)}"
    return [
        (seconds(step.start_s), ""),
        ("", ""),
        (step.role, ""),
        (step.answer[:20], "red" if step.status is None or step.status >= 400 else ""),
        (asked[:12], ""),
        (seconds(step.waited_s), ""),
        (judged, VERDICTS.get(step.verdict or "", "")),
        (" ".join(step.codes), "yellow"),
    ]


def _scale(span_s: float, width: int) -> str:
    end = seconds(span_s)
    return "0".ljust(max(1, width - len(end))) + end


def _bar(step: Step, span_s: float, width: int) -> str:
    def column(at_s: float) -> int:
        return min(width, max(0, round(at_s / span_s * width)))

    start = min(column(step.start_s), width - 1)
    end = max(column(step.end_s), start + 1)
    until = column(step.end_s + min(step.asked_s or 0.0, 1e6))
    return " " * start + "█" * (end - start) + "░" * max(0, until - end)


def _findings(page: Page, life: Life) -> None:
    page.heading("Findings")
    if not life.findings:
        page.line("none in this operation")
    for row in life.findings:
        style = FAULTS.get(row["fault"], "")
        since = seconds((row["at_us"] - life.start_us) / 1e6)
        page.hanging((row["code"], f"bold {style}"), f"at {since}: {row['message']}", indent=2, width=6)
        if told := ticket(row):
            page.line((" · ".join(told), QUIET), indent=9)
    for code in dict.fromkeys(row["code"] for row in life.findings):
        page.command(f"polltape explain {code}")
