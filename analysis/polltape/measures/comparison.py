"""Two captures beside each other: what changed, how sure that is, and whether it is worse than allowed.

=============  ============================================================================================
effect         second capture less first
=============  ============================================================================================
time           difference of the restricted means, the mean of min(time to any end, horizon) as clients lived
               it, by Kaplan-Meier; interval from the variances of both (Welch)
compliance     difference of the rates; interval by squaring and adding the two intervals (Newcombe 1998)
=============  ============================================================================================

The units that are taken as independent, and permuted by the tests, are clients where both captures have ten or
more in the group, else operations; waits never.  The server's own time lies between the mean on ``lower_s`` and
the one that clients lived: where these brackets overlap, the servers are indistinguishable.

The gate: a group fails where its whole interval lies beyond the user's bound, at the level that Holm's
step-down procedure gives it among all groups and both effects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from polltape.measures.analysis import Analysis
from polltape.measures.durations import lived_times, survival
from polltape.measures.retry_after import FEWEST_CLIENTS, clustered, tallied
from polltape.measures.statistics import (
    SAMPLES,
    SEED,
    Ints,
    SurvivalCurve,
    holm,
    permutation_test,
    permuted_rates,
    restricted_mean_by,
    student,
)

LEVEL: Final = 0.95
FEWEST_UNITS: Final = 5
"""With fewer units on one side there is no interval of the time, and nothing to fail."""
FEWEST_SAMPLES: Final = 199
_CELLS: Final = 20_000_000
"""Samples × operations of one test of times; more operations get fewer samples."""
Names = dict[str, Any]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is still allowed: seconds (or a share of the first capture's mean) slower, and a drop of the rate."""

    slower_s: float = 0.0
    slower_share: float | None = None
    drop: float = 0.0

    def of_time(self, mean_s: float) -> float:
        """The bound in seconds for a group whose first mean this is."""
        return self.slower_s if self.slower_share is None else self.slower_share * mean_s


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both effects by group as tables, ordered by protocol, kind and host; ``_a`` is the first capture.

    ``durations``: protocol, kind, host, operations_a, operations_b, left_a, left_b (share abandoned), horizon_s,
    mean_a_s, mean_b_s, difference_s, low_s, high_s, unit, units_a, units_b, p_value, p_holm, change (slower,
    faster, unclear), server_a_low_s, server_a_high_s, server_b_low_s, server_b_high_s, server (slower, faster,
    indistinguishable), bound_s, regression.

    ``compliance``: protocol, kind, host, waits_a, waits_b (rated), rate_a, rate_b, difference, low, high, unit,
    units_a, units_b, p_value, p_holm, change (better, worse, unclear), bound, regression.

    What cannot be told is null: everything but counts where a group is in one capture only.  ``by_host``: hosts
    are told apart; else host is null in every row.
    """

    first: Analysis
    second: Analysis
    by_host: bool
    bounds: Bounds
    durations: pd.DataFrame
    compliance: pd.DataFrame

    @property
    def regressions(self) -> int:
        """In how many groups and effects the second capture is worse than the bound allows."""
        return int(self.durations["regression"].sum() + self.compliance["regression"].sum())


@dataclass(slots=True)
class _Effect:
    """One row in the making; ``interval`` gives its interval at a level, ``beyond`` whether one breaks the bound."""

    row: Names
    interval: Callable[[float], Interval] | None = None
    beyond: Callable[[Interval], bool] = field(default=lambda _: False)


def compare(
    first: Analysis,
    second: Analysis,
    *,
    bounds: Bounds | None = None,
    horizon_s: float | None = None,
    by_host: bool | None = None,
    seed: int = SEED,
) -> Comparison:
    """What changed from the first capture to the second.

    ``horizon_s``: up to where times are compared; by default, for each group, as far as both captures tell.
    ``by_host``: whether hosts are told apart; by default where the captures have one in common.
    """
    bounds = bounds or Bounds()
    if by_host is None:
        by_host = bool(_hosts(first) & _hosts(second)) or not (_hosts(first) and _hosts(second))
    by = ["protocol", "kind", "host"] if by_host else ["protocol", "kind"]
    whole = [a.operations[~a.operations["truncated"].astype(bool)] for a in (first, second)]
    rated = [a.waits[a.waits["rated"].astype(bool)] for a in (first, second)]
    times = [_time(names, *pair, bounds, horizon_s, seed) for names, pair in _pairs(whole[0], whole[1], by)]
    rates = [_rate(names, *pair, bounds, seed) for names, pair in _pairs(rated[0], rated[1], by)]
    for effects in (times, rates):
        _adjust([effect.row for effect in effects])
    _gate([*times, *rates])
    return Comparison(
        first,
        second,
        by_host,
        bounds,
        durations=_table(times, TIME_COLUMNS),
        compliance=_table(rates, RATE_COLUMNS),
    )


def _table(effects: list[_Effect], columns: tuple[str, ...]) -> pd.DataFrame:
    rows = [effect.row for effect in effects]
    return pd.DataFrame(rows, columns=list(columns)).astype({"units_a": "Int64", "units_b": "Int64"})


NAMES: Final = ("protocol", "kind", "host")
_UNITS: Final = ("unit", "units_a", "units_b", "p_value", "p_holm", "change")
_SERVER: Final = ("server_a_low_s", "server_a_high_s", "server_b_low_s", "server_b_high_s", "server")
TIME_COLUMNS: Final = (
    *(*NAMES, "operations_a", "operations_b", "left_a", "left_b", "horizon_s"),
    *("mean_a_s", "mean_b_s", "difference_s", "low_s", "high_s", *_UNITS, *_SERVER, "bound_s", "regression"),
)
RATE_COLUMNS: Final = (
    *(*NAMES, "waits_a", "waits_b", "rate_a", "rate_b", "difference", "low", "high", *_UNITS, "bound", "regression"),
)


def _hosts(analysis: Analysis) -> set[str]:
    return {str(host) for table in (analysis.operations, analysis.waits) for host in table["host"].dropna().unique()}


def _pairs(
    first: pd.DataFrame, second: pd.DataFrame, by: list[str]
) -> Iterator[tuple[Names, tuple[pd.DataFrame, pd.DataFrame]]]:
    """Each group of either table with its rows in both, by name; null names (no operation) come last."""
    sides = [
        {tuple(n if isinstance(n, str) else None for n in names): rows for names, rows in t.groupby(by, dropna=False)}
        for t in (first, second)
    ]
    for names in sorted({*sides[0], *sides[1]}, key=lambda names: [(n is None, n or "") for n in names]):
        named = dict.fromkeys(NAMES) | dict(zip(by, names, strict=True))
        yield named, (sides[0].get(names, first.iloc[:0]), sides[1].get(names, second.iloc[:0]))


def _units(first: pd.DataFrame, second: pd.DataFrame, operation: str) -> tuple[str, tuple[pd.Series, pd.Series]]:
    """What is taken as independent, and its name for each row; what has no operation is its client's."""
    clients = [rows["client"].astype("str").fillna("") for rows in (first, second)]
    if min(rows["client"].nunique() for rows in (first, second)) >= FEWEST_CLIENTS:
        return "client", (clients[0], clients[1])
    named = [
        rows[operation].astype("str").fillna("client " + client)
        for rows, client in zip((first, second), clients, strict=True)
    ]
    return "operation", (named[0], named[1])


# ------------------------------------------------------------------------------------------------- time


def _time(
    names: Names, first: pd.DataFrame, second: pd.DataFrame, bounds: Bounds, horizon_s: float | None, seed: int
) -> _Effect:
    row: Names = dict.fromkeys(TIME_COLUMNS) | names
    row |= {"operations_a": len(first), "operations_b": len(second), "regression": False}
    if first.empty or second.empty:
        return _Effect(row)
    curves = [survival(rows) for rows in (first, second)]
    horizon = common_horizon(curves[0][0], curves[1][0]) if horizon_s is None else horizon_s
    row |= {f"left_{side}": float((rows["outcome"] == "abandoned").mean()) for side, rows in _sides(first, second)}
    row |= {"horizon_s": horizon}
    unit, units = _units(first, second, "id")
    means = [
        restricted_mean_by(*lived_times(rows), clusters=own.tolist(), horizon=horizon)
        for rows, own in zip((first, second), units, strict=True)
    ]
    if means[0] is None or means[1] is None:
        return _Effect(row)
    counts = [int(own.nunique()) for own in units]
    row |= {"mean_a_s": means[0].mean, "mean_b_s": means[1].mean, "difference_s": means[1].mean - means[0].mean}
    row |= {"unit": unit, "units_a": counts[0], "units_b": counts[1], "bound_s": bounds.of_time(means[0].mean)}
    row |= _server(curves[0], curves[1], horizon)
    if min(counts) < FEWEST_UNITS:
        return _Effect(row)
    variances = (means[0].variance, means[1].variance)

    def interval(level: float) -> Interval:
        half = _welch(level, variances, counts) * math.sqrt(sum(variances))
        return row["difference_s"] - half, row["difference_s"] + half

    row["low_s"], row["high_s"] = interval(LEVEL)
    row["p_value"] = _time_test(first, second, units if unit == "client" else None, horizon, seed)
    return _Effect(row, interval, lambda ends: ends[0] > row["bound_s"])


def _sides(first: pd.DataFrame, second: pd.DataFrame) -> tuple[tuple[str, pd.DataFrame], tuple[str, pd.DataFrame]]:
    return ("a", first), ("b", second)


def common_horizon(first: SurvivalCurve, second: SurvivalCurve) -> float:
    """As far as both curves are known; a curve that has come down to 0 is known for ever."""
    last = [float(curve.times[-1]) for curve in (first, second)]
    open_ended = [end for end, curve in zip(last, (first, second), strict=True) if curve.survival[-1] > 0]
    return min(open_ended) if open_ended else max(last)


def _welch(level: float, variances: tuple[float, float], counts: list[int]) -> float:
    """Student's quantile with the degrees of freedom of Welch and Satterthwaite."""
    parts = [variance**2 / (count - 1) for variance, count in zip(variances, counts, strict=True)]
    freedom = sum(variances) ** 2 / sum(parts) if sum(parts) > 0 else math.inf
    return student(level, freedom)


def _server(
    first: tuple[SurvivalCurve, SurvivalCurve], second: tuple[SurvivalCurve, SurvivalCurve], horizon: float
) -> Names:
    """The brackets of the server's own restricted mean, and whether they lie apart."""
    brackets = []
    for lived, lower in (first, second):
        # Where the lower curve ends unknown, its area so far is the least that the mean can be.
        least = lower.restricted_mean(min(horizon, float(lower.times[-1])))
        most = lived.restricted_mean(horizon)
        brackets.append((least.mean if least else 0.0, most.mean if most else horizon))
    (a_low, a_high), (b_low, b_high) = brackets
    apart = "slower" if b_low > a_high else "faster" if b_high < a_low else "indistinguishable"
    return dict(zip(_SERVER, (a_low, a_high, b_low, b_high, apart), strict=True))


def _time_test(
    first: pd.DataFrame, second: pd.DataFrame, units: tuple[pd.Series, pd.Series] | None, horizon: float, seed: int
) -> float | None:
    times, ended = (np.concatenate(both) for both in zip(lived_times(first), lived_times(second), strict=True))
    later = np.arange(times.size) >= len(first)
    found = permutation_test(
        times,
        ended,
        later,
        horizon,
        units=None if units is None else [*units[0], *units[1]],
        samples=max(FEWEST_SAMPLES, min(SAMPLES, _CELLS // times.size)),
        seed=seed,
    )
    return None if found is None else found.p_value


# ------------------------------------------------------------------------------------------- compliance


def _rate(names: Names, first: pd.DataFrame, second: pd.DataFrame, bounds: Bounds, seed: int) -> _Effect:
    row: Names = dict.fromkeys(RATE_COLUMNS) | names
    row |= {"waits_a": len(first), "waits_b": len(second), "regression": False}
    if first.empty or second.empty:
        return _Effect(row)
    unit, units = _units(first, second, "operation")
    tallies = tallied(first, units[0]), tallied(second, units[1])
    rates = [float(obeyed.sum() / totals.sum()) for obeyed, totals in tallies]
    row |= {"rate_a": rates[0], "rate_b": rates[1], "difference": rates[1] - rates[0], "bound": bounds.drop}
    row |= {"unit": unit, "units_a": int(tallies[0][1].size), "units_b": int(tallies[1][1].size)}

    def interval(level: float) -> Interval:
        return _squared_and_added(rates, [_rate_interval(tally, level) for tally in tallies])

    row["low"], row["high"] = interval(LEVEL)
    row["p_value"] = permuted_rates(*tallies, seed=seed)
    return _Effect(row, interval, lambda ends: ends[1] < -bounds.drop)


def _rate_interval(tally: tuple[Ints, Ints], level: float) -> Interval:
    found = clustered(*tally, level)
    assert found is not None  # a group of rated waits has a wait
    return found


def _squared_and_added(rates: list[float], ends: list[Interval]) -> Interval:
    """The interval of a difference from those of its parts (Newcombe 1998, method 10)."""
    (a, b), ((a_low, a_high), (b_low, b_high)) = rates, ends
    return b - a - math.hypot(b - b_low, a_high - a), b - a + math.hypot(b_high - b, a - a_low)


# ------------------------------------------------------------------------------------- tests and the gate


def _adjust(rows: list[Names]) -> None:
    """Holm's p over the groups of one effect, and the word for the change."""
    tested = [row for row in rows if row["p_value"] is not None]
    for row, p_holm in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_holm"] = p_holm
        low, high, words = (
            (row["low_s"], row["high_s"], ("slower", "faster"))
            if "low_s" in row
            else (row["low"], row["high"], ("better", "worse"))
        )
        sure = p_holm <= 1 - LEVEL + 1e-12
        row["change"] = words[0] if sure and low > 0 else words[1] if sure and high < 0 else "unclear"


def _gate(effects: list[_Effect]) -> None:
    """Marks the regressions: Holm's step-down procedure on intervals.

    While r of the effects are left, one whose interval at the level 1 - 0.05 / r lies beyond its bound is a
    regression; the first round in which none does is the last.
    """
    judged = [effect for effect in effects if effect.interval is not None]
    left = len(judged)
    waiting = [effect for effect in judged if _lies_beyond(effect, 1)]
    while True:
        failing = [effect for effect in waiting if _lies_beyond(effect, left)]
        if not failing:
            return
        for effect in failing:
            effect.row["regression"] = True
        waiting = [effect for effect in waiting if not effect.row["regression"]]
        left -= len(failing)


def _lies_beyond(effect: _Effect, left: int) -> bool:
    assert effect.interval is not None
    return effect.beyond(effect.interval(1 - (1 - LEVEL) / left))
