"""A simulation of polling policies as text for a terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polltape.measures.whatif import RECORDED
from polltape.measures.words import counted, percent, seconds
from polltape.report.page import MOST_GROUPS, QUIET, Page
from polltape.report.plain import Row, capture_facts, capture_row, json_text, named, rows

if TYPE_CHECKING:
    from polltape.measures.whatif import Simulation

SCHEMA: Final = "polltape.simulation/1"
"""Raised when a key changes its meaning or goes, not for a new one."""
GROUP: Final = ("protocol", "kind", "host")
COLUMNS: Final = ("*policy", ">polls", ">added p50, s", ">added p95, s", ">not early")


def to_json(simulation: Simulation) -> str:
    """The simulation as one indented JSON object; keys as the handbook's page has them."""
    return json_text(document(simulation))


def document(simulation: Simulation) -> dict[str, Any]:
    """What :func:`to_json` prints, as plain Python values."""
    return {
        "schema": SCHEMA,
        "capture": capture_row(simulation.analysis),
        "samples": simulation.samples,
        "seed": simulation.seed,
        "give_up_s": simulation.give_up_s,
        "groups": [
            group | {"policies": [_without_names(row) for row in policies]} for group, policies in grouped(simulation)
        ],
    }


def _without_names(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in GROUP}


def grouped(simulation: Simulation) -> list[tuple[Row, list[Row]]]:
    """Each group with its policies, what was recorded first."""
    policies = rows(simulation.policies)
    return [
        (group, [row for row in policies if all(row[name] == group[name] for name in GROUP)])
        for group in rows(simulation.groups)
    ]


def render(simulation: Simulation, *, width: int = 80, color: bool = False) -> str:
    """The simulation as text of that width; colours only where asked for."""
    page, analysis = Page(width, color), simulation.analysis
    page.line((", ".join(analysis.sources), "bold"), indent=0)
    page.facts(capture_facts(analysis), indent=0)
    page.heading("What if", "polls of an operation; from the server's end to the client's")
    groups = grouped(simulation)
    if not groups:
        page.line('nothing to simulate: no operation whose "not yet" is in the capture')
    for group, policies in groups[:MOST_GROUPS]:
        page.line((named(group), "bold"))
        page.facts(_facts(group))
        leaves = any(row["unended"] > 0 for row in policies)
        columns = [*COLUMNS, ">unended"] if leaves else COLUMNS
        page.table(columns, [line for row in policies for line in _lines(row, leaves)], indent=4)
    page.more(len(groups) - MOST_GROUPS, "group", forms="json")
    if groups:
        page.line(("Under each estimate: the least and the most that the brackets allow.", QUIET))
    return page.text()


def _facts(group: Row) -> list[str]:
    facts = [f"{counted(group['operations'], 'operation')}, {group['ended']} ended"]
    if group["bracket_s"] is not None:
        facts.append(f"median bracket {seconds(group['bracket_s'])}")
    facts.append(f"an answer takes {seconds(group['answer_s'])}")
    if group["unended"] > 0:
        facts.append(f"{percent(group['unended'])} never end in the {seconds(group['horizon_s'])} seen")
    return facts


def _lines(row: Row, leaves: bool) -> list[list[str | tuple[str, str]]]:
    """A policy's estimates, and under them what the brackets allow."""
    estimates: list[str | tuple[str, str]] = [
        (row["policy"], "bold" if row["policy"] == RECORDED else ""),
        _polls(row["polls"]),
        _number(row["added_p50_s"]),
        _number(row["added_p95_s"]),
        percent(row["compliance"]),
    ]
    between = [
        "",
        "" if row["policy"] == RECORDED else f"{_polls(row['polls_low'])}–{_polls(row['polls_high'])}",
        *(f"{_number(row[f'added_{p}_low_s'])}–{_number(row[f'added_{p}_high_s'])}" for p in ("p50", "p95")),
        "",
    ]
    if leaves:
        estimates.append(percent(row["unended"]))
        between.append("")
    return [estimates, [(cell, QUIET) for cell in between]]


def _polls(mean: float) -> str:
    return f"{mean + 1e-9:.1f}"  # 4.25 stays 4.25 on its way through shares


def _number(value: float | None) -> str:
    """Seconds without their unit, which the column has; what no data reaches is ∞."""
    return "∞" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"
