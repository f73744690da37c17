"""The analysis as one HTML file: no network, no script, light and dark, small enough to open.

Everything recorded goes through jinja2's autoescape, or is text of an SVG element.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from polltape.errors import UsageError
from polltape.measures.codes import CODES
from polltape.measures.words import clock, counted, percent, seconds
from polltape.report import figures, traffic_figures
from polltape.report.as_concise import by_fault
from polltape.report.as_json import session_row
from polltape.report.as_text import (
    QUANTILES,
    by_code,
    client_facts,
    covered,
    duration_facts,
    interval,
    operation_facts,
    quantile_rows,
    rate_facts,
)
from polltape.report.code_pages import page
from polltape.report.names import shell_paths, short_ids
from polltape.report.plain import Row, named, printable, reached, rows, span
from polltape.report.steps import Life, lives_of
from polltape.report.svg import inline
from polltape.report.timeline import summary
from polltape.report.traffic_text import error, most_polled, number, step_cells, under_way, with_steps

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

MAX_SIZE: Final = 1_500_000
"""Bytes; larger reports are slow to open."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many of each there are at most; of what is left out the report says how much."""

    waterfalls: int = 40
    steps: int = 60
    operations: int = 500
    findings: int = 20
    statuses: int = 300
    groups: int = 60

    def times(self, factor: float) -> Budget:
        """So much of everything; nothing goes below one."""
        return Budget(*(max(1, int(getattr(self, name) * factor)) for name in self.__slots__))


def render(analysis: Analysis, max_size: int = MAX_SIZE) -> str:
    """The report; at most ``max_size`` bytes in UTF-8.  Raises UsageError where even the least does not fit."""
    template = _template()
    charts = _charts(analysis)
    budget = Budget().times(max(1.0, max_size / MAX_SIZE))
    while True:
        text: str = template.render(_content(analysis, budget, charts, max_size))
        size = len(text.encode())
        if size <= max_size:
            return text
        smaller = budget.times(0.5)
        if smaller == budget:
            raise UsageError(
                f"the HTML report needs {size} bytes, more than the {max_size} allowed",
                hint="raise --max-size, or select less: --host, --endpoint, --since, --until",
            )
        budget = smaller


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("polltape.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "interval": interval,
        "seconds": seconds,
        "signed": lambda value: seconds(value, signed=True),
        "percent": percent,
        "clock": lambda us: "–" if us is None else clock(us),
        "plain": lambda text: printable("–" if text is None else text),
        "named": lambda row: printable(named(row)),
        "marked": _marked,
        "reached": reached,
        "error": error,
        "number": lambda value: "–" if value is None else number(value),
        "under_way": under_way,
        "step_cells": step_cells,
        "words": lambda text: str(text).replace("_", " "),
    }
    environment.filters |= filters
    return environment.get_template("report.html.j2")


def _marked(text: str) -> Markup:
    """Our own Markdown as far as our pages use it within a paragraph: `code`, *emphasis*."""
    escaped = str(escape(text))
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return Markup(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", escaped))


def _content(analysis: Analysis, budget: Budget, charts: Row, max_size: int) -> Row:
    """Everything that the template shows."""
    codes = by_code(analysis.findings, budget.findings)
    return (
        {
            "analysis": analysis,
            "title": printable(", ".join(analysis.sources)),
            "version": version("polltape"),
            "covered": covered(analysis),
            "span": span(analysis),
            "path": shell_paths(analysis),
            "totals": _totals(analysis),
            "durations": _Cut.of([_duration(row) for row in rows(analysis.durations)], budget.groups),
            "compliance": _Cut.of([_kept(row) for row in rows(analysis.compliance)], budget.groups),
            "findings": [_found(code, count, group) for code, (count, group) in codes.items()],
            "queues": _Cut.of(rows(analysis.queues), budget.groups),
            "throttling": _Cut.of(rows(analysis.throttling), budget.groups),
            "polling": _Cut.of(most_polled(analysis), budget.groups),
            "shares": _Cut.of(with_steps(analysis), budget.groups),
            "statuses": _Cut.of(rows(analysis.statuses), budget.statuses),
            "sessions": _Cut.of([session_row(session) for session in analysis.coverage], budget.groups),
            "quantiles": QUANTILES,
            "max_size": max_size,
        }
        | _operations(analysis, budget)
        | charts
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    """The first rows of a list, and how many there are."""

    shown: list[Any]
    total: int

    @classmethod
    def of(cls, found: list[Any], most: int) -> _Cut:
        return cls(found[:most], len(found))

    @property
    def left(self) -> int:
        return self.total - len(self.shown)


# ---------------------------------------------------------------------------------------------- pieces


def _totals(analysis: Analysis) -> list[tuple[str, str, str]]:
    """The summary: number, what it counts, and what to know about it."""
    faults = by_fault(analysis.findings)
    hidden = sum(count for _, count in analysis.suppressed)
    kept = rows(analysis.compliance)
    early = sum(row["early"] for row in kept)
    rated = early + sum(row["kept"] + row["late"] for row in kept)
    outcomes = Counter(str(outcome).replace("_", " ") for outcome in analysis.operations["outcome"])
    ends = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
    whose = [f"{count} {fault}" for fault, count in faults.items()] + ([f"{hidden} suppressed"] if hidden else [])
    return [
        (str(analysis.exchanges), "exchanges", f"{analysis.skipped} skipped"),
        (str(len(analysis.operations)), "operations", ends or 'nothing was answered "not yet"'),
        (percent((rated - early) / rated) if rated else "–", "of waits not early", f"{counted(rated, 'rated wait')}"),
        (str(len(analysis.findings)), "findings", ", ".join(whose) or "none"),
    ]


def _duration(row: Row) -> Row:
    return {"row": row, "facts": operation_facts(row), "quantiles": quantile_rows(row),
            "more": duration_facts(row) if row["operations"] else []}  # fmt: skip


def _kept(row: Row) -> Row:
    return {"row": row, "rate": rate_facts(row), "clients": client_facts(row)}


def _found(code: str, count: int, group: list[Row]) -> Row:
    explained = page(code)
    return {
        "code": CODES[code],
        "why": explained.sections["Why it matters"],
        "fix": explained.sections["How to fix"],
        "rows": _Cut(group, count),
    }


def _operations(analysis: Analysis, budget: Budget) -> Row:
    short = short_ids(analysis)
    lives = lives_of(analysis, figures.worth_seeing(analysis, budget.waterfalls))
    drawn = {life.operation["id"] for life in lives}
    table = rows(analysis.operations)
    ordered = sorted(table, key=lambda row: row["id"] not in drawn)
    return {
        "operations": _Cut.of(ordered, budget.operations),
        "short": short,
        "drawn": drawn,
        "waterfalls": [_waterfall(life, budget.steps) for life in lives],
    }


def _waterfall(life: Life, most: int) -> Row:
    shown = replace(life, steps=life.steps[:most])
    return {
        "life": shown,
        "summary": summary(life),
        "left": len(life.steps) - len(shown.steps),
        "span": life.span_s,
        "bars": [_bar(life, index) for index in range(len(shown.steps))],
    }


def _bar(life: Life, index: int) -> Row:
    """One request of a waterfall in per mille of the operation's span."""
    step, span = life.steps[index], life.span_s
    start, end = step.start_s / span * 1000, step.end_s / span * 1000
    return {
        "step": step,
        "x": round(start, 1),
        "width": round(max(end - start, 2), 1),
        "promised_x": round(end, 1),
        "promised": round(max(0.0, min(step.asked_s or 0.0, span - step.end_s)) / span * 1000, 1),
    }


def _charts(analysis: Analysis) -> Row:
    """The charts with their table twins; None where there is nothing to draw."""
    groups = figures.groups_of(analysis)
    margins = figures.margin_groups(analysis)
    loaded, most = traffic_figures.loaded(analysis), traffic_figures.MOST_ENDPOINTS
    estimated = len(traffic_figures.estimated(analysis))
    return {
        "estimates": Markup(inline(traffic_figures.estimates(analysis), "estimates", ESTIMATES)) if estimated else None,
        "estimate_rows": traffic_figures.estimate_rows(analysis),
        "pending": Markup(inline(traffic_figures.pending(analysis), "pending", PENDING)) if loaded else None,
        "pending_limit": any(row["threshold"] is not None for row in loaded[:most]),
        "exceptional": any(row["threshold"] is not None for row in rows(analysis.pending_shares)),
        "pending_left": max(0, len(loaded) - most),
        "survival": Markup(inline(figures.survival(analysis), "survival", SURVIVAL)) if groups else None,
        "survival_rows": [(named(row), figures.survival_rows(group)) for row, group in groups[: figures.MOST_PANELS]],
        "survival_left": max(0, len(groups) - figures.MOST_PANELS),
        "margins": Markup(inline(figures.margins(analysis), "margins", MARGINS)) if margins else None,
        "margin_rows": figures.margin_rows(analysis)[: 2 * figures.MOST_PANELS],
        "margins_left": max(0, len(margins) - 2 * figures.MOST_PANELS),
    }


SURVIVAL: Final = "Share of operations still unended against seconds since t0; the table below has the numbers."
MARGINS: Final = "How much earlier or later than asked each request came; the table below has the numbers."
ESTIMATES: Final = "How long the queue took against its first estimate; the table below has the numbers."
PENDING: Final = "Share of writes answered not yet by requests under way; the table above has the numbers."
