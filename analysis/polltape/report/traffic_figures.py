"""Pictures of what waiting costs: the queue's estimates against the truth, and "not yet" against the load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from polltape.measures.queue import WRONG_SHARE
from polltape.measures.words import counted, percent, shortened
from polltape.report.figures import CLIENT, INK, MOST_MARKS, QUIET, SERVER, WIDTH, styled
from polltape.report.figures import LINE as GRID
from polltape.report.plain import Row, printable
from polltape.report.traffic_text import under_way, with_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from polltape.measures.analysis import Analysis

MOST_ENDPOINTS: Final = 6
ROW: Final = 0.26
"""Height of one line of the picture of "not yet", inches."""


# ------------------------------------------------------------------------------------------------ queue


def estimated(analysis: Analysis) -> pd.DataFrame:
    """The journeys whose estimate can be checked: ``eta_s``, and ``took_s`` from that answer to the release."""
    if analysis.journeys.empty:
        return pd.DataFrame(columns=["eta_s", "took_s"])
    known = analysis.journeys[analysis.journeys["eta_error_s"].notna()]
    return known.assign(took_s=known["eta_s"] + known["eta_error_s"])[["eta_s", "took_s"]].astype(float)


def estimates(analysis: Analysis) -> Figure:
    """How long the queue took against the first estimate; between the dashed lines it was off by less than half.

    Of many journeys so many marks are drawn, evenly by estimate.
    """
    table = estimated(analysis).sort_values(["eta_s", "took_s"])
    if len(table) > MOST_MARKS:
        table = table.iloc[np.linspace(0, len(table) - 1, MOST_MARKS).round().astype(int)]
    with styled():
        figure = Figure(figsize=(WIDTH, 3.4))
        axes = figure.add_axes((0.1, 0.15, 0.87, 0.73))
        right, top = (max([1.0, *table[name]]) * 1.08 for name in ("eta_s", "took_s"))
        ends = np.array([0.0, right])
        axes.fill_between(
            ends, ends * (1 - WRONG_SHARE), ends * (1 + WRONG_SHARE), color=CLIENT, alpha=0.1, linewidth=0
        )
        for factor, dash in ((1 - WRONG_SHARE, "--"), (1.0, "-"), (1 + WRONG_SHARE, "--")):
            axes.plot(ends, ends * factor, color=QUIET, linestyle=dash, linewidth=0.9)
        axes.plot(table["eta_s"], table["took_s"], "o", color=CLIENT, markersize=4.5, alpha=0.6, markeredgewidth=0)
        axes.set(xlim=(0, right), ylim=(0, top), xlabel="first estimate, seconds", ylabel="queue took, seconds")
        axes.set_title(f"{counted(len(estimated(analysis)), 'journey')} with an estimate and a release")
        return figure


def estimate_rows(analysis: Analysis) -> list[list[str]]:
    """The table twin: estimates by how far they were off, and how many."""
    table = estimated(analysis)
    share = (table["took_s"] - table["eta_s"]) / table["eta_s"].where(table["eta_s"] > 0)
    half, tenth = WRONG_SHARE, 0.1
    groups = {
        "too long by more than half": share < -half,
        "too long by 10 % to half": (share >= -half) & (share < -tenth),
        "right within 10 %": share.abs() <= tenth,
        "too short by 10 % to half": (share > tenth) & (share <= half),
        "too short by more than half": share > half,
        "estimated at 0 s": share.isna(),
    }
    return [[name, str(int(which.sum()))] for name, which in groups.items() if which.any()]


# ---------------------------------------------------------------------------------------------- not yet


def loaded(analysis: Analysis) -> list[Row]:
    """The endpoints of which there is something to compare, those with most writes first."""
    return sorted((row for row in with_steps(analysis) if len(row["steps"]) > 1), key=lambda row: -row["writes"])


def pending(analysis: Analysis) -> Figure:
    """The share of writes answered "not yet" by requests under way, with 95 % Wilson intervals."""
    chosen = loaded(analysis)[:MOST_ENDPOINTS]
    lines = sum(len(row["steps"]) + 1.5 for row in chosen) or 1.0
    height = 0.75 + ROW * lines
    with styled():
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.2, 0.55 / height, 0.77, ROW * lines / height))
        y = lines
        for row in chosen:
            y = _endpoint(axes, row, y)
        axes.set(xlim=(-0.01, 1.01), ylim=(0, lines), yticks=[], xlabel='share of writes answered "not yet"')
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
        axes.spines["left"].set_visible(False)
        return figure


def _endpoint(axes: Axes, row: Row, top: float) -> float:
    """One endpoint's heading and lines below ``top``; gives where they end."""
    across = axes.get_yaxis_transform()
    title = f"{shortened(row['endpoint'], 70)} on {row['host']}"
    axes.text(
        -0.25, top - 0.8, printable(shortened(title, 100)), transform=across, va="center", fontsize=8.5, color=INK
    )
    bottom = top - 1.5 - len(row["steps"])
    for share in np.linspace(0, 1, 6):
        axes.plot([share] * 2, [bottom + 0.3, top - 1.2], color=GRID, linewidth=0.7)
    if row["threshold"] is not None:
        axes.plot([row["threshold"]] * 2, [bottom + 0.3, top - 1.2], color=SERVER, linestyle=":", linewidth=1.4)
    for line, step in enumerate(row["steps"]):
        y = top - 1.6 - line
        label = f"{under_way(step)} under way, {counted(step['writes'], 'write')}"
        axes.text(-0.015, y, label, transform=across, ha="right", va="center", fontsize=8)
        axes.plot([step["low"], step["high"]], [y, y], color=CLIENT, linewidth=1.4)
        axes.plot([step["share"]], [y], "o", color=CLIENT, markersize=5)
    return bottom
