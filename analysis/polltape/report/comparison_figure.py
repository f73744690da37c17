"""The picture of a comparison: both captures' survival curves, one panel for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from polltape.measures.durations import survival
from polltape.measures.statistics import SurvivalCurve
from polltape.measures.words import percent, seconds
from polltape.report.figures import (
    CLIENT,
    MOST_PANELS,
    QUIET,
    RISK,
    SERVER,
    WIDTH,
    curve_with_band,
    risk_table,
    styled,
    ticks_to,
)
from polltape.report.plain import Row, printable, rows

if TYPE_CHECKING:
    import pandas as pd

    from polltape.measures.analysis import Analysis
    from polltape.measures.comparison import Comparison

PANEL: Final = 4.4
"""Height of one panel, inches."""
LOOKS: Final = (("A", CLIENT, "-"), ("B", SERVER, "--"))


def figure_of(comparison: Comparison) -> Figure:
    """Share of operations still unended against seconds since t0, both captures in one panel for each group.

    Kaplan-Meier curves of what clients lived, with their 95 % log-log bands, up to the horizon; censored
    operations are ticks; numbers at risk, ended and unended stand underneath, A's and B's apart.  Groups that
    only one capture has are left out; with most operations first.
    """
    both = [row for row in rows(comparison.durations) if row["operations_a"] and row["operations_b"]]
    chosen = sorted(both, key=lambda row: -(row["operations_a"] + row["operations_b"]))[:MOST_PANELS]
    with styled():
        height = max(1.0, PANEL * len(chosen))
        figure = Figure(figsize=(WIDTH, height))
        if not chosen:
            figure.text(0.5, 0.5, "no group is in both captures", ha="center", color=QUIET)
        for index, row in enumerate(chosen):
            base = PANEL * (len(chosen) - 1 - index)
            axes = figure.add_axes((0.15, (base + 1.85) / height, 0.82, 1.95 / height))
            _panel(axes, row, [survival(_group(a, row))[0] for a in (comparison.first, comparison.second)])
        return figure


def _group(analysis: Analysis, row: Row) -> pd.DataFrame:
    table = analysis.operations[~analysis.operations["truncated"].astype(bool)]
    for name in ("protocol", "kind", "host"):
        if row[name] is not None:
            table = table[table[name] == row[name]]
    return table


def _panel(axes: Axes, row: Row, curves: list[SurvivalCurve]) -> None:
    end = max(row["horizon_s"], 0.001)
    for (letter, color, dash), curve in zip(LOOKS, curves, strict=True):
        curve_with_band(axes, curve, end, color, dash, letter)
        censored = (curve.censored > 0) & (curve.times <= end)
        axes.plot(curve.times[censored], curve.survival[censored], "|", color=color, markersize=8)
    axes.axhline(0.5, color=QUIET, linestyle=":", linewidth=0.8)
    axes.set(xlim=(0, end * 1.02), ylim=(0, 1.04), ylabel="still unended")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    ticks = ticks_to(end)
    axes.set_xticks(ticks)
    axes.set_xlabel('seconds since the "not yet" (t0)')
    axes.set_title(_title(row), pad=20)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=8, borderpad=0)
    line = 0
    for (letter, color, _), curve in zip(LOOKS, curves, strict=True):
        for name, counts in zip(RISK, zip(*risk_table(curve, ticks), strict=True), strict=True):
            y = -0.36 - 0.1 * line
            axes.text(-0.045, y, f"{letter} {name}", transform=axes.transAxes, ha="right", fontsize=8, color=color)
            for tick, count in zip(ticks, counts, strict=True):
                axes.text(tick, y, str(count), transform=axes.get_xaxis_transform(), ha="center", fontsize=8)
            line += 1


def _title(row: Row) -> str:
    where = f" on {row['host']}" if row["host"] else ""
    effect = "" if row["difference_s"] is None else f", B − A {seconds(row['difference_s'], signed=True)}"
    return printable(f"{row['kind'] or row['protocol']}{where}{effect}")
