"""A comparison as text for a terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polltape.measures.words import counted, percent, points, seconds
from polltape.report.page import MOST_GROUPS, QUIET, Page
from polltape.report.plain import Row, capture_facts, capture_row, json_text, named, rows

if TYPE_CHECKING:
    from polltape.measures.comparison import Comparison

SCHEMA: Final = "polltape.comparison/1"
"""Raised when a key changes its meaning or goes, not for a new one."""
_CHANGES: Final = {"slower": "red", "worse": "red", "faster": "green", "better": "green"}


def to_json(comparison: Comparison) -> str:
    """The comparison as one indented JSON object; keys as the handbook's page has them."""
    return json_text(document(comparison))


def document(comparison: Comparison) -> dict[str, Any]:
    """What :func:`to_json` prints, as plain Python values."""
    bounds = comparison.bounds
    return {
        "schema": SCHEMA,
        "regressions": comparison.regressions,
        "a": capture_row(comparison.first),
        "b": capture_row(comparison.second),
        "by_host": comparison.by_host,
        "bounds": {"slower_s": bounds.slower_s, "slower_share": bounds.slower_share, "drop": bounds.drop},
        "durations": rows(comparison.durations),
        "compliance": rows(comparison.compliance),
    }


def render(comparison: Comparison, *, width: int = 80, color: bool = False) -> str:
    """The comparison as text of that width; colours only where asked for."""
    page = Page(width, color)
    for letter, analysis in (("A", comparison.first), ("B", comparison.second)):
        page.line((f"{letter}  {', '.join(analysis.sources)}", "bold"), indent=0)
        page.facts(capture_facts(analysis), indent=3)
    if not comparison.by_host:
        page.line(("hosts are not told apart", QUIET), indent=0)
    _times(page, comparison)
    _rates(page, comparison)
    _answer(page, comparison)
    return page.text()


def _times(page: Page, comparison: Comparison) -> None:
    page.heading("Time to an end", "mean of what clients waited, up to a common horizon")
    table = rows(comparison.durations)
    if not table:
        page.line('nothing to compare: no operation whose "not yet" is in a capture')
    for row in table[:MOST_GROUPS]:
        page.line((_named(row), "bold"))
        page.facts(_time_facts(row))
        if row["mean_a_s"] is not None:
            page.table(["", ">A", ">B", ">B − A", "95 % interval"], [_time_cells(row), _server_cells(row)], indent=4)
            page.facts(_test_facts(row))
            _verdict(page, row, f"bound {seconds(row['bound_s'], signed=True)}")
    page.more(len(table) - MOST_GROUPS, "group", forms="json")


def _named(row: Row) -> str:
    return named(row) if row["host"] is not None else str(row["kind"] or row["protocol"] or "outside any operation")


def _time_facts(row: Row) -> list[str]:
    if not (row["operations_a"] and row["operations_b"]):
        only = "A" if row["operations_a"] else "B"
        return [f"only in {only}: {counted(row['operations_a'] or row['operations_b'], 'operation')}"]
    facts = [f"{row['operations_a']} and {counted(row['operations_b'], 'operation')}"]
    if row["mean_a_s"] is None:
        return [*facts, f"a capture does not tell as far as {seconds(row['horizon_s'])}: choose a shorter --horizon"]
    if row["left_a"] or row["left_b"]:
        facts.append(f"left before an end {percent(row['left_a'])} and {percent(row['left_b'])}")
    return [*facts, f"horizon {seconds(row['horizon_s'])}"]


def _time_cells(row: Row) -> list[str]:
    effect = seconds(row["difference_s"], signed=True)
    return ["client waited", seconds(row["mean_a_s"]), seconds(row["mean_b_s"]), effect, _time_interval(row)]


def _time_interval(row: Row) -> str:
    if row["low_s"] is None:
        return "too few to tell"
    return f"{seconds(row['low_s'], signed=True)} to {seconds(row['high_s'], signed=True)}"


def _server_cells(row: Row) -> list[str]:
    """The least that the server took; the most is what the clients waited."""
    least = seconds(row["server_a_low_s"]), seconds(row["server_b_low_s"])
    return ["server, at least", *least, "", row["server"]]


def _test_facts(row: Row) -> list[str]:
    if row["p_value"] is None:
        return [f"{row['units_a']} and {counted(row['units_b'], row['unit'])}: too few for an interval"]
    tested = f"p {_p(row['p_value'])} permuting {row['units_a']} and {counted(row['units_b'], row['unit'])}"
    return [tested, f"{_p(row['p_holm'])} after Holm"]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _rates(page: Page, comparison: Comparison) -> None:
    page.heading("Compliance", "share of rated waits that were not early")
    table = rows(comparison.compliance)
    if not table:
        page.line("nothing to compare: no rated wait in a capture")
    for row in table[:MOST_GROUPS]:
        page.line((_named(row), "bold"))
        if row["difference"] is None:
            only = "A" if row["waits_a"] else "B"
            page.facts([f"only in {only}: {counted(row['waits_a'] or row['waits_b'], 'rated wait')}"])
            continue
        page.facts([f"{row['waits_a']} and {counted(row['waits_b'], 'rated wait')}"])
        interval = f"{points(row['low'])} to {points(row['high'])}"
        cells = ["not early", percent(row["rate_a"]), percent(row["rate_b"]), points(row["difference"]), interval]
        page.table(["", ">A", ">B", ">B − A", "95 % interval"], [cells], indent=4)
        page.facts(_test_facts(row))
        _verdict(page, row, f"bound {points(-row['bound'])}")
    page.more(len(table) - MOST_GROUPS, "group", forms="json")


def _verdict(page: Page, row: Row, bound: str) -> None:
    change = row["change"] or "unclear"
    words: list[str | tuple[str, str]] = [(change, _CHANGES.get(change, ""))]
    if row["regression"]:
        words.append((f", a regression: the whole interval lies beyond the {bound}", "red"))
    page.line(*words, indent=4)


def _answer(page: Page, comparison: Comparison) -> None:
    page.heading("Answer")
    found = comparison.regressions
    if found:
        page.line((counted(found, "regression"), "bold red"), " beyond the bounds, Holm-corrected over all groups")
    else:
        page.line("no regression beyond the bounds")
