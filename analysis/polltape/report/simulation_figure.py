"""The picture of a simulation: the trade-off between polls sent and latency added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from polltape.measures.whatif import RECORDED
from polltape.measures.words import counted
from polltape.report.figures import CLIENT, MOST_PANELS, QUIET, SERVER, WIDTH, styled
from polltape.report.plain import Row, named, printable
from polltape.report.simulation_text import grouped

if TYPE_CHECKING:
    from polltape.measures.whatif import Simulation

PANEL: Final = 3.6
"""Height of one panel, inches."""
LINE: Final = 0.075
"""Distance of two labels, as a share of the panel."""

LONGEST_NAME: Final = 34
"""Letters of a policy's name for which there is room."""


def figure_of(simulation: Simulation) -> Figure:
    """Added latency at p95 against polls of an operation, one panel for each group, one mark for each policy.

    Thin lines reach from the least to the most that the brackets allow.  A filled mark keeps to the instructions
    in all waits, a hollow one does not; a square is what was recorded.  Policies whose p95 is unknown stand at the
    top.  Groups with most operations come first, the policies' names stand at the right.
    """
    chosen = sorted(grouped(simulation), key=lambda pair: -int(pair[0]["operations"]))[:MOST_PANELS]
    with styled():
        height = max(1.0, PANEL * len(chosen))
        figure = Figure(figsize=(WIDTH, height))
        if not chosen:
            figure.text(0.5, 0.5, "nothing to simulate", ha="center", color=QUIET)
        for index, (group, policies) in enumerate(chosen):
            base = PANEL * (len(chosen) - 1 - index)
            axes = figure.add_axes((0.09, (base + 0.6) / height, 0.6, 2.4 / height))
            axes.set_title(printable(f"{named(group)}, {counted(group['operations'], 'operation')}"), pad=20)
            _panel(axes, policies)
        return figure


def _panel(axes: Axes, policies: list[Row]) -> None:
    known = [row[key] for row in policies for key in ("added_p95_s", "added_p95_high_s") if row[key] is not None]
    top = max(max(known, default=1.0), 0.001) * 1.12
    right = max(row["polls_high"] for row in policies) * 1.08 or 1.0
    axes.set(xlim=(0, right), ylim=(0, top), xlabel="polls of an operation", ylabel="added latency p95, s")
    axes.grid(visible=True, linewidth=0.5)
    axes.set_axisbelow(True)
    for row in policies:
        _mark(axes, row, top)
    _labels(axes, policies, top, right)
    marks = [("obeys every instruction", "o", CLIENT), ("does not", "o", "none"), (RECORDED, "s", "none")]
    handles = [
        Line2D([], [], linestyle="", marker=mark, markerfacecolor=fill, markeredgecolor=_color(mark), label=label)
        for label, mark, fill in marks
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, frameon=False, fontsize=8, borderpad=0
    )


def _color(mark: str) -> str:
    return SERVER if mark == "s" else CLIENT


def _mark(axes: Axes, row: Row, top: float) -> None:
    mark = "s" if row["policy"] == RECORDED else "o"
    color = _color(mark)
    x, y = row["polls"], _height(row["added_p95_s"], top)
    axes.plot([row["polls_low"], row["polls_high"]], [y, y], color=color, linewidth=0.8)
    ends = [_height(row[key], top) for key in ("added_p95_low_s", "added_p95_high_s")]
    axes.plot([x, x], ends, color=color, linewidth=0.8)
    fill = color if row["compliance"] in (None, 1) else "white"
    axes.plot([x], [y], marker=mark, markersize=6, color=color, markerfacecolor=fill, clip_on=False, zorder=3)


def _height(value: float | None, top: float) -> float:
    return top if value is None else float(value)


def _labels(axes: Axes, policies: list[Row], top: float, right: float) -> None:
    """The names in a column at the right, in the order of the marks, each with a line to its own."""
    ordered = sorted(policies, key=lambda row: (_height(row["added_p95_s"], top), -row["polls"]))
    places = spread([_height(row["added_p95_s"], top) / top for row in ordered])
    for row, place in zip(ordered, places, strict=True):
        axes.annotate(
            _short(printable(row["policy"])),
            xy=(row["polls"], _height(row["added_p95_s"], top)),
            xytext=(1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.4, "shrinkB": 4},
        )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def spread(heights: list[float]) -> list[float]:
    """Ascending heights (shares of the panel), moved as little upwards as keeps labels apart, then down into it."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + LINE) if places else height)
    over = max(0.0, places[-1] - 1.0) if places else 0.0
    for index in range(len(places) - 1, -1, -1):
        ceiling = places[index + 1] - LINE if index + 1 < len(places) else places[index] - over
        places[index] = min(places[index], ceiling)
    return places
