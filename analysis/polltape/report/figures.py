"""Pictures of an analysis as matplotlib figures, for PNG and SVG files and for the HTML report.

Every text that was recorded is drawn as it stands (no mathtext), without control characters.  The same
analysis gives the same bytes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from polltape.measures.durations import survival as survival_curves
from polltape.measures.statistics import SurvivalCurve
from polltape.measures.words import counted, percent, seconds
from polltape.report.plain import Row, named, printable, rows
from polltape.report.steps import Life, lives_of

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # "building the font cache", once a machine

INK, QUIET, LINE = "#1b1f24", "#667079", "#d3d9df"
"""Text, secondary text and grid; the HTML report puts the reader's theme in their place."""
CLIENT, SERVER = "#0072b2", "#d17a00"
VERDICTS: Final = {"early": ("#d1495b", "D"), "kept": ("#0072b2", "o"), "late": ("#d17a00", "^")}
"""Colour and mark of each verdict: never told apart by colour alone."""
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "text.parse_math": False,  # a recorded "$" is a "$"
    "svg.hashsalt": "polltape",
    "svg.fonttype": "none",
}
WIDTH: Final = 7.6
"""Inches; 72 points each in SVG."""
PANEL: Final = 3.8
"""Height of a survival panel, inches."""
MOST_PANELS: Final = 6
MOST_MARKS: Final = 300
"""Marks of one verdict in one row of the margin plot; of more, so many are drawn, evenly by rank."""
MOST_OPERATIONS: Final = 20
MOST_STEPS: Final = 60

Group = tuple[Row, pd.DataFrame]


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib as it comes, whatever the user's matplotlibrc says, and our own style."""
    with mpl.rc_context():
        mpl.rcdefaults()
        with mpl.rc_context(STYLE):
            yield


def save(figure: Figure, target: str | Path | BinaryIO, *, form: str | None = None) -> None:
    """Write the figure as PNG or SVG, told by the ending or ``form``; without date and program version."""
    chosen = form or (Path(target).suffix.lstrip(".").lower() if isinstance(target, str | Path) else "svg")
    metadata = {"Date": None, "Creator": None} if chosen == "svg" else {"Software": None}
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a glyph that the font lacks is drawn as a box
        figure.savefig(target, format=chosen, dpi=160, metadata=metadata, transparent=chosen == "svg")


# --------------------------------------------------------------------------------------------- survival


def groups_of(analysis: Analysis) -> list[Group]:
    """The rows of durations with their whole operations, those with most operations first."""
    whole = analysis.operations[~analysis.operations["truncated"].astype(bool)]
    found = []
    for row in rows(analysis.durations):
        mine = whole[
            (whole["protocol"] == row["protocol"]) & (whole["kind"] == row["kind"]) & (whole["host"] == row["host"])
        ]
        if len(mine):
            found.append((row, mine))
    return sorted(found, key=lambda pair: -len(pair[1]))


def survival(analysis: Analysis) -> Figure:
    """Share of operations still unended against seconds since t0, one panel for each kind and host.

    Two Kaplan-Meier curves with their 95 % log-log bands: what the client lived, and (dashed) the last instant
    at which the server was seen not to be done; the server's own time lies between.  Censored operations are
    ticks, the median is a dotted line, numbers at risk stand underneath.
    """
    chosen = groups_of(analysis)[:MOST_PANELS]
    with styled():
        figure = Figure(figsize=(WIDTH, max(1.0, PANEL * len(chosen))))
        for index, (row, group) in enumerate(chosen):
            # From the bottom of the panel: numbers at risk, axes from 1.25 to 3.2 inches, legend, title.
            base, height = PANEL * (len(chosen) - 1 - index), PANEL * len(chosen)
            axes = figure.add_axes((0.13, (base + 1.25) / height, 0.84, 1.95 / height))
            _survival_panel(axes, row, group)
        return figure


def _survival_panel(axes: Axes, row: Row, group: pd.DataFrame) -> None:
    lived, lower = survival_curves(group)
    end = max(float(lived.times[-1]), 0.001)
    curve_with_band(axes, lived, end, CLIENT, "-", "client waited")
    curve_with_band(axes, lower, end, SERVER, "--", "server, at least")
    censored = lived.censored > 0
    axes.plot(lived.times[censored], lived.survival[censored], "|", color=CLIENT, markersize=8, label="unended")
    axes.axhline(0.5, color=QUIET, linestyle=":", linewidth=0.8)
    axes.set(xlim=(0, end * 1.02), ylim=(0, 1.04), ylabel="still unended")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    ticks = ticks_to(end)
    axes.set_xticks(ticks)
    axes.set_xlabel('seconds since the "not yet" (t0)')
    axes.set_title(f"{printable(named(row))}, {counted(len(group), 'operation')}", pad=20)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=8, borderpad=0)
    for line, (name, counts) in enumerate(zip(RISK, zip(*risk_table(lived, ticks), strict=True), strict=True)):
        y = -0.36 - 0.1 * line
        axes.text(-0.045, y, name, transform=axes.transAxes, ha="right", fontsize=8, color=QUIET)
        for tick, count in zip(ticks, counts, strict=True):
            axes.text(tick, y, str(count), transform=axes.get_xaxis_transform(), ha="center", fontsize=8)


def curve_with_band(axes: Axes, curve: SurvivalCurve, end: float, color: str, dash: str, label: str) -> None:
    """A survival curve up to ``end`` as steps with its 95 % log-log band."""
    low, high = curve.band()
    known = int(np.searchsorted(curve.times, end, side="right"))
    times = np.concatenate([[0.0], curve.times[:known], [end]])
    whole = [np.concatenate([[1.0], values[:known]]) for values in (curve.survival, low, high)]
    held = [np.append(values, values[-1]) for values in whole]
    # Steps made by hand: matplotlib's own drop the one before a NaN, and where S = 0 there is no band.
    low_step, high_step = (np.repeat(values, 2)[:-1] for values in held[1:])
    axes.fill_between(np.repeat(times, 2)[1:], low_step, high_step, color=color, alpha=0.15, linewidth=0)
    axes.step(times, held[0], where="post", color=color, linestyle=dash, linewidth=1.6, label=label)


RISK: Final = ("at risk", "ended", "unended")


def risk_table(curve: SurvivalCurve, instants: Sequence[float]) -> list[tuple[int, int, int]]:
    """At each instant how many are at risk, have ended, have left without an end before it; they add up to n."""
    found = []
    for instant in instants:
        before = curve.times < instant
        ended, left = int(curve.events[before].sum()), int(curve.censored[before].sum())
        found.append((int(curve.events.sum() + curve.censored.sum()) - ended - left, ended, left))
    return found


def ticks_to(end: float) -> list[float]:
    """Some seven round instants from 0 to ``end`` seconds."""
    return [float(tick) for tick in MaxNLocator(6).tick_values(0, end) if 0 <= tick <= end * 1.001]


def survival_rows(group: pd.DataFrame) -> list[list[str]]:
    """The table twin of a panel: instant, at risk, ended, unended, share still unended with its band."""
    lived, _ = survival_curves(group)
    low, high = lived.band()
    ticks = ticks_to(max(float(lived.times[-1]), 0.001))
    found = []
    for tick, counts in zip(ticks, risk_table(lived, ticks), strict=True):
        place = int(np.searchsorted(lived.times, tick, side="right")) - 1
        share, ends = (1.0, (1.0, 1.0)) if place < 0 else (float(lived.survival[place]), (low[place], high[place]))
        band = "–" if np.isnan(ends[0]) else f"{percent(float(ends[0]))} to {percent(float(ends[1]))}"
        found.append([seconds(tick), *map(str, counts), percent(share), band])
    return found


# ---------------------------------------------------------------------------------------------- margins


def margin_groups(analysis: Analysis) -> list[tuple[str, pd.DataFrame]]:
    """The waits with a margin by kind and host, most waits first."""
    waits = analysis.waits[analysis.waits["margin_s"].notna()]
    found = []
    for (protocol, kind, host), group in waits.groupby(["protocol", "kind", "host"], dropna=False, sort=True):
        names = {"protocol": protocol, "kind": kind, "host": host}
        known = {name: value if isinstance(value, str) else None for name, value in names.items()}
        found.append((named(known), group))
    return sorted(found, key=lambda pair: -len(pair[1]))


def margins(analysis: Analysis) -> Figure:
    """How much earlier or later than asked each request came: waited − asked, seconds, symmetric log scale."""
    chosen = margin_groups(analysis)[: 2 * MOST_PANELS]
    with styled():
        figure = Figure(figsize=(WIDTH, 1.25 + 0.85 * len(chosen)))
        height = 1.25 + 0.85 * len(chosen)
        axes = figure.add_axes((0.05, 0.62 / height, 0.92, (height - 1.0) / height))
        axes.set_xscale("symlog", linthresh=0.1, linscale=0.6)
        for index, (name, group) in enumerate(chosen):
            _margin_row(axes, len(chosen) - 1 - index, name, group)
        reach = max([1.0, *(float(group["margin_s"].abs().max()) for _, group in chosen)]) * 1.6
        axes.set(xlim=(-reach, reach), ylim=(-0.5, len(chosen) - 0.25), yticks=[], xlabel="waited − asked, seconds")
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
        )
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.text(0.49, 1.03, "◂ early", transform=axes.transAxes, ha="right", color=VERDICTS["early"][0])
        axes.text(0.51, 1.03, "late ▸", transform=axes.transAxes, ha="left")
        _verdict_legend(axes, chosen)
        return figure


def _margin_row(axes: Axes, y: int, name: str, group: pd.DataFrame) -> None:
    early = percent(float((group["margin_s"] < 0).mean()))
    text = f"{printable(name)}: {early} of {counted(len(group), 'wait')} left of zero"
    axes.text(0.0, y + 0.42, text, transform=axes.get_yaxis_transform(), fontsize=8, va="center")
    axes.plot([0, 0], [y - 0.4, y + 0.28], color=INK, linewidth=1.2)
    for verdict, (color, mark) in VERDICTS.items():
        values = np.sort(group.loc[group["verdict"] == verdict, "margin_s"].to_numpy(dtype=float))
        if len(values) > MOST_MARKS:
            values = values[np.linspace(0, len(values) - 1, MOST_MARKS).round().astype(int)]
        spread = (np.arange(len(values)) * 0.618034) % 1 - 0.5  # even, and the same in every run
        axes.plot(values, y - 0.05 + spread * 0.5, mark, color=color, markersize=4, alpha=0.75, markeredgewidth=0)


def _verdict_legend(axes: Axes, chosen: Iterable[tuple[str, pd.DataFrame]]) -> None:
    there = {verdict for _, group in chosen for verdict in group["verdict"]}
    for verdict, (color, mark) in VERDICTS.items():
        if verdict in there:
            axes.plot([], [], mark, color=color, markersize=5, label=verdict)
    if there:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, frameon=False, fontsize=8, borderpad=0)


def margin_rows(analysis: Analysis) -> list[list[str]]:
    """The table twin: group, waits, share left of zero, smallest, median and largest margin."""
    found = []
    for name, group in margin_groups(analysis):
        values = group["margin_s"].astype(float)
        three = (seconds(float(value), signed=True) for value in (values.min(), values.median(), values.max()))
        found.append([name, str(len(group)), percent(float((values < 0).mean())), *three])
    return found


# -------------------------------------------------------------------------------------------- waterfall


def waterfall(analysis: Analysis, operations: Iterable[str] | None = None) -> Figure:
    """Operations request by request: bars are requests in flight, outlines the waits that they promised.

    ``operations``: ids to draw; left out, those with findings first, at most twenty.
    """
    lives = lives_of(analysis, worth_seeing(analysis, MOST_OPERATIONS) if operations is None else operations)
    with styled():
        steps = [min(len(life.steps), MOST_STEPS) for life in lives]
        height = 0.3 + sum(0.75 + 0.2 * count for count in steps)
        figure = Figure(figsize=(WIDTH, max(1.0, height)))
        top = height - 0.1
        for life, count in zip(lives, steps, strict=True):
            tall = 0.2 * count
            axes = figure.add_axes((0.13, (top - 0.3 - tall) / height, 0.72, tall / height))
            _waterfall_panel(axes, life, count)
            top -= 0.75 + tall
        return figure


def _waterfall_panel(axes: Axes, life: Life, count: int) -> None:
    span = life.span_s
    for index, step in enumerate(life.steps[:count]):
        y = count - 1 - index
        width = max(step.end_s - step.start_s, span / 400)
        color = QUIET if step.status is None else CLIENT if step.status < 400 else VERDICTS["early"][0]
        axes.barh(y, width, left=step.start_s, height=0.55, color=color)
        if step.asked_s:
            promised = min(step.asked_s, span - step.end_s)
            axes.barh(y, promised, left=step.end_s, height=0.55, fill=False, edgecolor=QUIET, linewidth=0.8)
        label = f"{step.role} {step.status or 'error'}"
        axes.text(-0.01, y, printable(label)[:18], transform=axes.get_yaxis_transform(), ha="right", va="center",
                  fontsize=7)  # fmt: skip
        if step.margin_s is not None:
            told = f"{step.verdict} {seconds(step.margin_s, signed=True)}"
            color = VERDICTS.get(step.verdict or "", (INK, ""))[0]
            axes.text(1.01, y, told, transform=axes.get_yaxis_transform(), va="center", fontsize=7, color=color)
    axes.set(xlim=(0, span), ylim=(-0.6, count - 0.4), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    outcome = "truncated" if life.operation["truncated"] else life.operation["outcome"].replace("_", " ")
    left = len(life.steps) - count
    title = f"{life.operation['id']}: {life.operation['kind']}, {outcome}" + (f", {left} steps more" if left else "")
    axes.set_title(printable(title), fontsize=8, pad=3)


def worth_seeing(analysis: Analysis, most: int) -> list[str]:
    """At most so many operations: each code in turn gives its next one, then the others, evenly over time."""
    named_by: dict[str, list[str]] = {}
    for code, operation in analysis.findings[["code", "operation"]].itertuples(index=False):
        if isinstance(operation, str):
            named_by.setdefault(code, []).append(operation)
    queues = [list(dict.fromkeys(named_by[code])) for code in sorted(named_by)]
    chosen: dict[str, None] = {}
    for turn in range(max(map(len, queues), default=0)):
        if len(chosen) >= most:
            break
        chosen |= dict.fromkeys(queue[turn] for queue in queues if turn < len(queue))
    others = [name for name in analysis.operations["id"] if name not in chosen]
    free = most - len(chosen)
    if free > 0 and others:
        chosen |= dict.fromkeys(others[:: ceil(len(others) / free)])
    return list(chosen)[:most]
