"""The server's own time from brackets: Turnbull's estimate (Turnbull 1976), for half-open intervals.

Of each operation only (lower, upper] is known, of an unended one (lower, ∞).  The estimate puts mass on the innermost
intervals, those from a lower end to the next upper end with no other end between; where inside such an interval
the mass lies nothing tells, so a quantile is an interval too.

It is iterative (EM with squared extrapolation: Varadhan & Roland 2008) and, from many different ends on, binned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from polltape.measures.statistics import Floats, Ints

MOST_ENDS: Final = 150
"""Different ends; with more, lower ends are taken down and upper ends up to this many quantiles of them."""
CLOSE: Final = 1e-6
"""How far the log-likelihood may be from its most, for each operation."""
MOST_ROUNDS: Final = 100
_TIE: Final = 1e-5
"""Shares that near to the one asked for count as reached: the masses are only iterated."""


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """The share of operations that end in each innermost interval (lower, upper], ascending; they add up to 1.

    A point has equal ends; the last ``upper_s`` may be infinite.  ``gap``: how far the log-likelihood may be from its
    most, for each operation.
    """

    lower_s: Floats
    upper_s: Floats
    mass: Floats
    gap: float

    def quantile(self, p: float) -> tuple[float, float | None] | None:
        """Between which seconds the p quantile lies, (low, high]; high None where nothing bounds it.

        None without any operation, and where the share that ended is not known to reach p.
        """
        if not self.mass.size:
            return None
        place = min(int(np.searchsorted(np.cumsum(self.mass), p - _TIE)), self.mass.size - 1)
        high = float(self.upper_s[place])
        return float(self.lower_s[place]), (high if math.isfinite(high) else None)


def turnbull(lower_s: Floats, upper_s: Floats) -> Masses:
    """The estimate from brackets in seconds, ``upper_s`` infinite for an unended operation.

    Equal ends are an exact time.  Raises ValueError where an upper end lies below its lower one.
    """
    if (upper_s < lower_s).any():
        raise ValueError("brackets: each upper end must be at or above its lower end")
    if not lower_s.size:
        return Masses(lower_s, upper_s, lower_s, 0.0)
    lower_s, upper_s = _binned(lower_s, upper_s)
    ends = np.unique(np.concatenate([lower_s, upper_s[np.isfinite(upper_s)]]))
    ends = np.append(ends, math.inf)
    # Ends in order: at one instant first the beginning of a point, then closed upper ends, then open lower ends.
    begin = 3 * np.searchsorted(ends, lower_s) + np.where(lower_s == upper_s, 0, 2)
    close = 3 * np.searchsorted(ends, upper_s) + 1
    order = np.unique(np.concatenate([begin, close]))
    inner = np.flatnonzero((order[:-1] % 3 != 1) & (order[1:] % 3 == 1))
    first, last = order[inner], order[inner + 1]
    # Each operation covers a run of innermost intervals; those alike are counted once.
    start, end = np.searchsorted(first, begin), np.searchsorted(last, close, side="right")
    runs, counts = np.unique(start * (inner.size + 1) + end, return_counts=True)
    mass, gap = _iterated(*np.divmod(runs, inner.size + 1), counts, inner.size)
    return Masses(ends[first // 3], ends[last // 3], mass, gap)


def _binned(lower_s: Floats, upper_s: Floats) -> tuple[Floats, Floats]:
    finite = upper_s[np.isfinite(upper_s)]
    ends = np.unique(np.concatenate([lower_s, finite]))
    if ends.size <= MOST_ENDS:
        return lower_s, upper_s
    edges = ends[np.linspace(0, ends.size - 1, MOST_ENDS).round().astype(np.int64)]
    down = edges[np.searchsorted(edges, lower_s, side="right") - 1]
    up = np.append(edges, math.inf)[np.searchsorted(edges, upper_s)]
    return down, up


def _iterated(start: Ints, end: Ints, counts: Ints, size: int) -> tuple[Floats, float]:
    """The masses, and their gap: the largest of the derivatives, which are 1 where there is mass, less 1."""
    total = int(counts.sum())

    def covered(mass: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(mass)])
        return np.maximum(np.asarray(sums[end] - sums[start]), 1e-300)

    def slopes(mass: Floats) -> Floats:
        each = counts / covered(mass)
        change = np.bincount(start, each, size + 1) - np.bincount(end, each, size + 1)
        return np.asarray(np.cumsum(change)[:size] / total)

    def likelihood(mass: Floats) -> float:
        return float((counts * np.log(covered(mass))).sum())

    mass = np.full(size, 1 / size)
    for _ in range(MOST_ROUNDS):
        slope = slopes(mass)
        if slope.max() - 1 <= CLOSE:
            break
        once = mass * slope
        twice = once * slopes(once)
        moved, bent = once - mass, twice - 2 * once + mass
        length = -math.sqrt((moved**2).sum() / max((bent**2).sum(), 1e-300))
        further = np.maximum(mass - 2 * length * moved + length**2 * bent, 0.1 * twice)
        further /= further.sum()
        mass = further if likelihood(further) >= likelihood(twice) else twice
    return mass / mass.sum(), max(float(slopes(mass).max()) - 1, 0.0)
