"""The estimators behind the numbers: survival curves, competing risks, intervals, tests.

Plain functions of arrays: no tables, no files, no clock.  Durations are seconds, from 0 on.  What the data do
not reach is None, never a guess.  Everything random takes a seed and does not depend on the order of its
input, so that one capture always gives one number.  Input that makes no sense (a negative duration, arrays of
different lengths) is the caller's mistake: ValueError.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Flags = NDArray[np.bool_]
type Causes = Sequence[str | None] | pd.Series[str]

SEED: Final = 20261123
"""The seed of everything random, unless the caller gives another."""

SAMPLES: Final = 2000
"""Bootstrap and permutation samples: a p value of 0.05 then has a standard error of 0.005."""

_CELLS: Final = 4_000_000
"""Samples × units held in memory at a time."""

_EPSILON: Final = float(np.finfo(np.float64).eps)


def _z(level: float) -> float:
    """The normal quantile of a two-sided interval: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"level {level}: must lie between 0 and 1")
    return NormalDist().inv_cdf((1 + level) / 2)


def _seconds(durations: ArrayLike) -> Floats:
    seconds = np.asarray(durations, dtype=np.float64) + 0.0  # no -0.0
    if seconds.ndim != 1 or not np.isfinite(seconds).all() or (seconds < 0).any():
        raise ValueError("durations: must be one row of finite seconds from 0 on")
    return seconds


def _flags(values: ArrayLike, like: Floats, name: str) -> Flags:
    flags = np.asarray(values, dtype=np.bool_)
    if flags.shape != like.shape:
        raise ValueError(f"{name}: {flags.size} for {like.size} durations")
    return flags


# -------------------------------------------------------------------------------------------- survival


class RestrictedMean(NamedTuple):
    """Mean seconds up to a horizon, and the variance of that estimate (seconds squared)."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True, eq=False)
class SurvivalCurve:
    """A Kaplan-Meier curve: arrays of one length, one entry for each distinct time, ascending.

    ``times``: seconds.  ``at_risk``: n, those neither ended nor censored before that time.  ``events``: d,
    those that end then; ``censored``: those that leave unseen then, who are still at risk for its events.
    ``survival``: S(t), the share not ended just after that time.  ``greenwood``: Σ d / (n (n - d)) up to that
    time, infinite where S = 0.
    """

    times: Floats
    at_risk: Ints
    events: Ints
    censored: Ints
    survival: Floats
    greenwood: Floats

    @property
    def variance(self) -> Floats:
        """Variance of S(t), S² · Σ d / (n (n - d)) (Greenwood 1926); NaN where S = 0: it is undefined."""
        with np.errstate(invalid="ignore"):
            return self.survival**2 * self.greenwood

    def quantile(self, p: float | Fraction) -> float | None:
        """The smallest event time with S(t) ≤ 1 - p, None where the curve does not come down that far.

        ``p`` is 0 to 1; a float means the decimal that it prints as: 0.9 is nine tenths.  The comparison is
        exact: where S in floating point is too close to 1 - p to tell, its quotient of whole numbers decides.
        """
        share = p if isinstance(p, Fraction) else Fraction(repr(float(p)))
        if not 0 <= share <= 1:
            raise ValueError(f"quantile {p}: must be from 0 to 1")
        steps = np.flatnonzero(self.events)
        found = bisect_left(steps, True, key=lambda step: self._is_at_most(int(step), 1 - share))
        return float(self.times[steps[found]]) if found < steps.size else None

    def _is_at_most(self, step: int, share: Fraction) -> bool:
        """Whether S ≤ share after the step's time, exactly.

        S = (n₀ - d₀) / n₀ · (n₁ - d₁) / n₁ · …; where nobody was censored in between, nᵢ - dᵢ is nᵢ₊₁ and
        the two cancel.  Each factor left costs two roundings of half an epsilon.
        """
        value, limit = float(self.survival[step]), float(share)
        if abs(value - limit) > 4 * (step + 4) * _EPSILON * max(value, limit):
            return value < limit
        left = self.at_risk[: step + 1] - self.events[: step + 1]
        apart = left[:-1] != self.at_risk[1 : step + 1]
        over = _product([*left[:-1][apart].tolist(), int(left[-1])])
        under = _product([int(self.at_risk[0]), *self.at_risk[1 : step + 1][apart].tolist()])
        return over * share.denominator <= share.numerator * under

    def band(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Lower and upper pointwise log-log band of S at each time: S ** exp(±z·√greenwood / |ln S|).

        Kalbfleisch & Prentice 1980 §1.3.  It stays within 0 and 1.  Before the first event both are 1; where
        S = 0 both are NaN.
        """
        z = _z(level)
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(self.survival)
            width = z * np.sqrt(self.greenwood) / np.abs(log)
            low, high = np.exp(log * np.exp(width)), np.exp(log * np.exp(-width))
        low[self.survival == 1] = high[self.survival == 1] = 1.0
        low[self.survival == 0] = high[self.survival == 0] = np.nan
        return low, high

    def median_interval(self, level: float = 0.95) -> tuple[float | None, float | None]:
        """Interval of the median (Brookmeyer & Crowley 1982, with the log-log band).

        The first event time where the lower, and where the upper, band is ≤ 0.5; None where there is none.
        Where S = 0 the band gives no end: that time is passed over.
        """
        low, high = (self._first_half(end) for end in self.band(level))
        return low, high

    def _first_half(self, end: Floats) -> float | None:
        steps = np.flatnonzero((self.events > 0) & (end <= 0.5))  # NaN is not ≤ 0.5
        return float(self.times[steps[0]]) if steps.size else None

    def restricted_mean(self, horizon: float) -> RestrictedMean | None:
        """The area under S from 0 to the horizon, in seconds: the mean of min(time, horizon).

        Variance: Σ (area from tᵢ to the horizon)² · dᵢ / (nᵢ (nᵢ - dᵢ)) (Klein & Moeschberger 2003 §4.5).
        None where the horizon lies beyond the last time seen and S is not 0 there: the tail is unknown.
        """
        if not 0 <= horizon < math.inf:
            raise ValueError(f"horizon {horizon}: must be finite seconds from 0 on")
        if not self.times.size or (horizon > self.times[-1] and self.survival[-1] > 0):
            return None
        known = int(np.searchsorted(self.times, horizon, side="right"))
        edges = np.concatenate([[0.0], self.times[:known], [horizon]])
        pieces = np.diff(edges) * np.concatenate([[1.0], self.survival[:known]])
        after = np.cumsum(pieces[:0:-1])[::-1]
        n, d = self.at_risk[:known], self.events[:known]
        inner = (n > d) & (after > 0)  # where n = d nothing is left, and the area after it is 0
        terms = after[inner] ** 2 * d[inner] / (n[inner].astype(np.float64) * (n - d)[inner])
        return RestrictedMean(float(pieces.sum()), float(terms.sum()))


def _product(factors: list[int]) -> int:
    """The product, halves first: large numbers multiply fast only with their like."""
    if len(factors) <= 32:
        return math.prod(factors)
    middle = len(factors) // 2
    return _product(factors[:middle]) * _product(factors[middle:])


def kaplan_meier(durations: ArrayLike, events: ArrayLike) -> SurvivalCurve:
    """The product-limit estimate of S(t) = P(T > t) (Kaplan & Meier 1958).

    ``durations``: seconds until the end, or until the unit was last seen.  ``events``: true where it is the
    end, false where the unit is right-censored.  Censored ties come after the events of the same time.
    Without any unit the arrays are empty.
    """
    seconds = _seconds(durations)
    ended = _flags(events, seconds, "events")
    times, place = np.unique(seconds, return_inverse=True)
    leaving = np.bincount(place, minlength=times.size)
    died = np.bincount(place[ended], minlength=times.size)
    at_risk = seconds.size - np.cumsum(leaving) + leaving
    left = at_risk - died
    # S telescopes to (n - d) / n₀ times the jumps that censoring made: exact to the last bit without any.
    jumps = np.ones(times.size)
    jumps[1:] = left[:-1] / at_risk[1:]
    survival = left / max(seconds.size, 1) * np.cumprod(jumps)
    with np.errstate(divide="ignore"):
        greenwood = np.cumsum(np.where(died > 0, died / (at_risk.astype(np.float64) * left), 0.0))
    return SurvivalCurve(times, at_risk, died, leaving - died, survival, greenwood)


def restricted_mean_by(
    durations: ArrayLike, events: ArrayLike, clusters: Sequence[str], horizon: float
) -> RestrictedMean | None:
    """The restricted mean with a variance that takes clusters (clients), not rows, as independent.

    Infinitesimal jackknife: with A(t) the area under S from t to the horizon, row i moves the mean by
    Dᵢ = Σ over tⱼ ≤ min(timeᵢ, horizon) of A(tⱼ) dⱼ / (nⱼ (nⱼ - dⱼ)), less A(tᵢ) / (n - d) where it ended; the
    variance is k / (k - 1) · Σ over the k clusters of (Σ Dᵢ)².  Infinite for one cluster.  None as in
    :meth:`SurvivalCurve.restricted_mean`.
    """
    seconds = _seconds(durations)
    ended = _flags(events, seconds, "events")
    curve = kaplan_meier(seconds, ended)
    found = curve.restricted_mean(horizon)
    if found is None:
        return None
    names = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    if len(names) == 1:
        return RestrictedMean(found.mean, math.inf)
    edges = np.minimum(np.append(curve.times, max(horizon, curve.times[-1])), horizon)
    after = np.cumsum((np.diff(edges) * curve.survival)[::-1])[::-1]
    left = np.where(after > 0, curve.at_risk - curve.events, 1)  # where n = d nothing is left after it
    hazard = np.cumsum(after * curve.events / (curve.at_risk.astype(np.float64) * left))
    place = np.searchsorted(curve.times, seconds)
    moved = hazard[place] - np.where(ended, (after / left)[place], 0.0)
    sums = np.bincount([names[name] for name in clusters], weights=moved)
    return RestrictedMean(found.mean, float(sums.size / (sums.size - 1) * (sums**2).sum()))


# ------------------------------------------------------------------------------------ competing risks


@dataclass(frozen=True, slots=True, eq=False)
class IncidenceCurves:
    """Cumulative incidence of each cause: ``times`` ascending, ``shares`` the ended share just after each."""

    times: Floats
    shares: dict[str, Floats]

    def at(self, horizon: float) -> dict[str, float]:
        """The share ended by each cause until the horizon, included."""
        known = int(np.searchsorted(self.times, horizon, side="right"))
        return {cause: float(curve[known - 1]) if known else 0.0 for cause, curve in self.shares.items()}


def cumulative_incidence(durations: ArrayLike, causes: Causes) -> IncidenceCurves:
    """Aalen-Johansen: F_j(t) = Σ S(tᵢ-) · d_ij / nᵢ, with S of any cause (Aalen & Johansen 1978).

    ``causes``: what ended each unit, None where it is right-censored.  The shares of all causes and S add up
    to 1 at every time.  Causes come in the order of their names.
    """
    seconds = _seconds(durations)
    numbers, names = pd.factorize(pd.Series(np.asarray(causes, dtype=object), dtype="str"), sort=True)
    curve = kaplan_meier(seconds, numbers >= 0)
    place = np.searchsorted(curve.times, seconds)
    before = np.concatenate([[1.0], curve.survival[:-1]])[: curve.times.size]
    shares = {}
    for number, cause in enumerate(names):
        died = np.bincount(place[numbers == number], minlength=curve.times.size)
        shares[str(cause)] = np.cumsum(before * died / curve.at_risk)
    return IncidenceCurves(curve.times, shares)


def aalen_johansen(durations: ArrayLike, causes: Causes, horizon: float) -> dict[str, float]:
    """The share of units ended by each cause until ``horizon`` seconds (see :func:`cumulative_incidence`).

    Beyond the last time seen the shares stay as they were there.  Only causes that occur are named.
    """
    return cumulative_incidence(durations, causes).at(horizon)


# --------------------------------------------------------------------------------- shares and intervals


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Wilson's score interval of a share (Wilson 1927); None for n = 0.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).  It assumes independent trials.  A trial may succeed in
    part.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    low, high = wilson_bounds([successes], [n], level)
    return None if n == 0 else (float(low[0]), float(high[0]))


def wilson_bounds(successes: ArrayLike, totals: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """:func:`wilson` for many shares at once: the lower and the upper ends, NaN where the total is 0."""
    good, all_ = np.asarray(successes, dtype=np.float64), np.asarray(totals, dtype=np.int64)
    if good.shape != all_.shape or (good < 0).any() or (good > all_).any():
        raise ValueError("successes and totals: one of each for a share, 0 ≤ successes ≤ total")
    z = _z(level)
    n = np.where(all_ > 0, all_, np.nan)
    p = good / n
    middle = p + z * z / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    # At the ends the exact values are 0 and 1; rounding must not put them a little inside or outside.
    low[(good == 0) & (all_ > 0)] = 0.0
    high[(good == all_) & (all_ > 0)] = 1.0
    return low, high


def cluster_bootstrap(
    successes: ArrayLike, totals: ArrayLike, level: float = 0.95, *, samples: int = SAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """Percentile interval of Σ successes / Σ totals, by resampling whole clusters (Efron & Tibshirani 1993).

    One entry for each cluster (a client): its kept and late waits, and all its rated waits.  Clusters without
    a trial say nothing and are left out; None where none is left.  Fewer than ten clusters are too few to
    show how clusters differ: whether to ask at all is the caller's decision.
    """
    good, all_ = np.asarray(successes, dtype=np.int64), np.asarray(totals, dtype=np.int64)
    if good.shape != all_.shape or good.ndim != 1 or (good < 0).any() or (good > all_).any():
        raise ValueError("successes and totals: one of each for a cluster, 0 ≤ successes ≤ total")
    tail = 100 * NormalDist().cdf(-_z(level))
    good, all_ = good[all_ > 0], all_[all_ > 0]
    if not all_.size:
        return None
    # Clusters that look alike are drawn together: the same law, and the work grows with the kinds only.
    kinds, alike = np.unique(np.stack([all_, good]), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    rates = []
    for size in _chunks(samples, alike.size):
        drawn = rng.multinomial(all_.size, alike / all_.size, size=size)
        rates.append((drawn @ kinds[1]) / (drawn @ kinds[0]))
    low, high = np.percentile(np.concatenate(rates), [tail, 100 - tail])
    return float(low), float(high)


def _chunks(samples: int, width: int) -> Iterator[int]:
    """Sample counts that add up to ``samples``, each small enough for ``width`` cells a sample."""
    size = max(1, _CELLS // max(width, 1))
    for start in range(0, samples, size):
        yield min(size, samples - start)


# --------------------------------------------------------------------------------------------- tests


class PermutationTest(NamedTuple):
    """``difference``: restricted mean of the second group less that of the first, in seconds."""

    difference: float
    p_value: float


def permutation_test(
    durations: ArrayLike,
    events: ArrayLike,
    second: ArrayLike,
    horizon: float,
    *,
    units: Sequence[str] | None = None,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> PermutationTest | None:
    """Whether two groups differ in their restricted mean time, by permuting the groups' names.

    ``second``: true for the rows of the second group.  ``units``: what is permuted as a whole (a client's
    name for each row), by default each row by itself; one name in both groups is two units.  Two-sided:
    p = (1 + samples at least as far apart as what was seen) / (1 + samples) (Phipson & Smyth 2010), so it is
    never 0.  In a permuted group that does not reach the horizon the curve goes on level.  None where a
    group's restricted mean itself is (see :meth:`SurvivalCurve.restricted_mean`).
    """
    seconds = _seconds(durations)
    ended, later = _flags(events, seconds, "events"), _flags(second, seconds, "second")
    means = [kaplan_meier(seconds[side], ended[side]).restricted_mean(horizon) for side in (~later, later)]
    if means[0] is None or means[1] is None:
        return None
    labels, row_unit, order = _units(seconds, ended, later, units)
    pool = _Pool(seconds[order], ended[order], horizon)
    seen = abs(pool.differences(labels[None, row_unit])[0])
    rng = np.random.default_rng(seed)
    as_far = 0
    for size in _chunks(samples, seconds.size):
        drawn = rng.permuted(np.tile(labels, (size, 1)), axis=1)
        apart = np.abs(pool.differences(drawn[:, row_unit]))
        # The same split, added up in another order, must count as equal.
        as_far += int((apart >= seen - 1e-9 * max(horizon, 1e-9)).sum())
    return PermutationTest(means[1].mean - means[0].mean, (1 + as_far) / (1 + samples))


def _units(seconds: Floats, ended: Flags, later: Flags, units: Sequence[str] | None) -> tuple[Flags, Ints, Ints]:
    """The label of each unit, the unit of each row in the order of time, and that order."""
    if units is None:
        order = np.lexsort((later, ended, seconds))
        return later[order], np.arange(seconds.size), order
    if len(units) != seconds.size:
        raise ValueError(f"units: {len(units)} for {seconds.size} durations")
    named = list(zip(later.tolist(), units, strict=True))
    place = {name: index for index, name in enumerate(sorted(set(named)))}
    row_unit = np.fromiter((place[name] for name in named), np.int64, len(named))
    order = np.lexsort((row_unit, ended, seconds))
    return np.array([name[0] for name in place], dtype=np.bool_), row_unit[order], order


class _Pool:
    """Both groups' rows in the order of time, for many ways to split them at once."""

    def __init__(self, seconds: Floats, ended: Flags, horizon: float) -> None:
        times, self.starts = np.unique(seconds, return_index=True)
        self.ended = ended
        edges = np.minimum(np.concatenate([[0.0], times, [horizon]]), horizon)
        self.first, self.widths = edges[1], np.diff(edges)[1:]

    def differences(self, second: Flags) -> Floats:
        """Restricted mean of the second group less the first's, for each row of labels (samples × rows)."""
        return self._means(second) - self._means(~second)

    def _means(self, member: Flags) -> Floats:
        leaving = np.add.reduceat(member, self.starts, axis=1, dtype=np.int64)
        died = np.add.reduceat(member & self.ended, self.starts, axis=1, dtype=np.int64)
        at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
        survival = np.cumprod(1 - died / np.maximum(at_risk, 1), axis=1)
        return np.asarray(self.first + survival @ self.widths)


def permuted_rates(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, samples: int = SAMPLES, seed: int = SEED
) -> float | None:
    """Two-sided p of the difference of Σ successes / Σ totals, by permuting whole units between two groups.

    ``first``, ``second``: successes and totals, one of each for a unit (a client, an operation).  Units that
    look alike are drawn together (a multivariate hypergeometric draw is a permutation of the names).  p as in
    :func:`permutation_test`; None where a group has no trial.
    """
    groups = [np.stack([np.asarray(rows, dtype=np.int64) for rows in group]) for group in (first, second)]
    if any(group[1].sum() == 0 for group in groups):
        return None
    both = np.concatenate(groups, axis=1)
    kinds, place = np.unique(both, axis=1, return_inverse=True)
    colors = np.bincount(place.ravel())
    mine = np.bincount(place.ravel()[groups[0].shape[1] :], minlength=colors.size)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(colors, int(mine.sum()), size=samples)
    seen, apart = (_rates_apart(kinds, colors, rows) for rows in (mine[None, :], drawn))
    return float((1 + (apart >= seen[0] - 1e-12).sum()) / (1 + samples))


def _rates_apart(kinds: Ints, colors: Ints, second: Ints) -> Floats:
    """How far the rates of the two groups lie apart, for each way to choose the second (samples × kinds).

    Infinite where one has no trial at all: as far as can be, so that the test errs towards "no difference".
    """
    good, all_ = second @ kinds[0], second @ kinds[1]
    other_good, other_all = colors @ kinds[0] - good, colors @ kinds[1] - all_
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(good / all_ - other_good / other_all)
    return np.where((all_ == 0) | (other_all == 0), np.inf, apart)


def student(level: float, freedom: float) -> float:
    """The two-sided quantile of Student's t, from the normal one (Abramowitz & Stegun 1964, 26.7.5).

    Off by less than 0.02 for level 0.95 and four degrees of freedom or more.
    """
    z = _z(level)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number, in the order given (Holm 1979).

    The i-th smallest of m becomes the largest of (m - j + 1) · p₍ⱼ₎ over j ≤ i, at most 1.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("p values must be from 0 to 1")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
