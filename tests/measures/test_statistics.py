"""The estimators against a naive version in fractions, scipy, and golden numbers of lifelines and R."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.measures.statistics import (
    SurvivalCurve,
    aalen_johansen,
    cluster_bootstrap,
    cumulative_incidence,
    holm,
    kaplan_meier,
    permutation_test,
    restricted_mean_by,
    wilson,
)

REPEATABLE = settings(derandomize=True, deadline=None)
GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("golden.json").read_text())["cases"]
Unit = tuple[int, str | None]

UNITS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["completed", "failed", None])), min_size=1, max_size=40)
GRID = [Fraction(k, 20) for k in range(1, 21)] + [Fraction(99, 100), Fraction(1, 3)]


def curve_of(units: list[Unit]) -> SurvivalCurve:
    return kaplan_meier([t for t, _ in units], [cause is not None for _, cause in units])


def naive_survival(units: list[Unit]) -> dict[int, Fraction]:
    """S just after each distinct time, straight from the definition."""
    alive, curve = Fraction(1), {}
    for t in sorted({t for t, _ in units}):
        at_risk = sum(other >= t for other, _ in units)
        died = sum(other == t and cause is not None for other, cause in units)
        alive *= Fraction(at_risk - died, at_risk)
        curve[t] = alive
    return curve


def naive_quantile(units: list[Unit], p: Fraction) -> float | None:
    ended = {t for t, cause in units if cause is not None}
    return next((float(t) for t, alive in naive_survival(units).items() if t in ended and alive <= 1 - p), None)


# -------------------------------------------------------------------------------------- Kaplan-Meier


def test_a_worked_curve() -> None:
    curve = kaplan_meier([1, 2, 3, 3, 4], [True, True, True, False, False])
    assert curve.times.tolist() == [1, 2, 3, 4]
    assert curve.at_risk.tolist() == [5, 4, 3, 1]
    assert curve.events.tolist() == [1, 1, 1, 0]
    assert curve.censored.tolist() == [0, 0, 1, 1]
    assert curve.survival.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.4])
    assert curve.greenwood.tolist() == pytest.approx([1 / 20, 1 / 20 + 1 / 12, 0.3, 0.3])
    assert curve.variance.tolist() == pytest.approx([0.032, 0.048, 0.048, 0.048])


def test_who_is_censored_at_an_events_time_is_still_at_risk_for_it() -> None:
    assert kaplan_meier([2, 2], [True, False]).survival.tolist() == [0.5]


@REPEATABLE
@given(UNITS)
def test_the_curve_is_the_naive_one(units: list[Unit]) -> None:
    curve, naive = curve_of(units), naive_survival(units)
    assert curve.times.tolist() == list(naive)
    assert curve.survival.tolist() == pytest.approx([float(alive) for alive in naive.values()], rel=1e-13)
    assert int(curve.events.sum() + curve.censored.sum()) == len(units)


@REPEATABLE
@given(UNITS)
def test_quantiles_are_exactly_the_naive_ones(units: list[Unit]) -> None:
    curve = curve_of(units)
    for p in GRID:
        assert curve.quantile(p) == naive_quantile(units, p)


@REPEATABLE
@given(UNITS)
def test_the_curve_is_that_of_scipy(units: list[Unit]) -> None:
    seconds = [t + 1 for t, _ in units]
    data = scipy.stats.CensoredData.right_censored(seconds, [cause is None for _, cause in units])
    other = scipy.stats.ecdf(data).sf
    curve = kaplan_meier(seconds, [cause is not None for _, cause in units])
    assert curve.times.tolist() == other.quantiles.tolist()
    assert curve.survival.tolist() == pytest.approx(other.probabilities.tolist(), abs=1e-12)


@pytest.mark.parametrize("n", [10, 20, 30, 60, 70, 100, 300, 1000])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.7, 0.9, 0.95, 0.99])
def test_a_share_reached_exactly_counts_as_reached(n: int, p: float) -> None:
    """1 - 0.9 is below 1/10 in floating point, and products of (n - d) / n miss their value."""
    exact = Fraction(str(p))
    expected = math.ceil(exact * n)
    assert kaplan_meier(range(1, n + 1), [True] * n).quantile(p) == expected
    assert kaplan_meier(range(1, n + 1), [True] * n).quantile(exact) == expected


def test_a_share_reached_exactly_after_censoring_counts_as_reached() -> None:
    units: list[Unit] = [(1, "x"), (2, None), (3, "x"), (4, "x"), (5, None), (6, "x"), (7, "x"), (8, None)]
    for t, alive in naive_survival(units).items():
        found = curve_of(units).quantile(1 - alive)
        assert found is not None
        assert found <= t
        below = alive - Fraction(1, 10**30)
        later = curve_of(units).quantile(1 - below)
        assert later is None or later > t


def test_many_units_have_an_exact_quantile_too() -> None:
    rng = np.random.default_rng(1)
    times, leaving = rng.exponential(1, 200_000), rng.exponential(2, 200_000)
    curve = kaplan_meier(np.minimum(times, leaving), times < leaving)
    steps = np.flatnonzero(curve.events)
    middle = int(steps[steps.size // 2])
    share = Fraction(float(curve.survival[middle]))
    found = curve.quantile(1 - share)
    assert found in (curve.times[middle], curve.times[steps[steps.size // 2 + 1]])


def test_a_quantile_that_the_data_do_not_reach_is_none() -> None:
    curve = kaplan_meier([1, 2, 3, 4], [True, False, False, False])
    assert curve.quantile(0.25) == 1
    assert curve.quantile(0.5) is None
    assert kaplan_meier([1, 2], [False, False]).quantile(0.01) is None


def test_without_units_there_is_no_number() -> None:
    curve = kaplan_meier([], [])
    assert curve.times.size == 0
    assert curve.quantile(0.5) is None
    assert curve.median_interval() == (None, None)
    assert curve.restricted_mean(1) is None
    assert curve.band()[0].size == 0


@pytest.mark.parametrize(
    ("durations", "events"), [([-1.0], [True]), ([math.nan], [True]), ([math.inf], [True]), ([1.0], [True, False])]
)
def test_input_that_makes_no_sense_is_refused(durations: list[float], events: list[bool]) -> None:
    with pytest.raises(ValueError, match="durations"):
        kaplan_meier(durations, events)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_quantile_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        kaplan_meier([1], [True]).quantile(p)


# ------------------------------------------------------------------------------- bands and the median


@REPEATABLE
@given(UNITS, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_median_interval_is_the_first_time_where_a_band_is_at_most_half(units: list[Unit], level: float) -> None:
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    greenwood, low, high = 0.0, None, None
    for t, alive in naive_survival(units).items():
        at_risk = sum(other >= t for other, _ in units)
        died = sum(other == t and cause is not None for other, cause in units)
        if alive == 0 or not died:
            continue
        greenwood += died / (at_risk * (at_risk - died))
        width = z * math.sqrt(greenwood) / abs(math.log(alive))
        low = t if low is None and float(alive) ** math.exp(width) <= 0.5 else low
        high = t if high is None and float(alive) ** math.exp(-width) <= 0.5 else high
    assert curve_of(units).median_interval(level) == (low, high)


def test_the_band_gives_no_end_where_nobody_is_left() -> None:
    """With one unit S goes from 1 to 0: the median is known, its interval is not."""
    curve = kaplan_meier([3.0], [True])
    assert curve.quantile(0.5) == 3
    assert curve.median_interval() == (None, None)
    assert np.isnan(curve.band()).all()


@REPEATABLE
@given(UNITS)
def test_the_band_holds_the_curve(units: list[Unit]) -> None:
    curve = curve_of(units)
    low, high = curve.band()
    known = curve.survival > 0
    assert np.isnan(low[~known]).all()
    assert (low[known] <= curve.survival[known] + 1e-12).all()
    assert (high[known] >= curve.survival[known] - 1e-12).all()
    assert ((low[known] >= 0) & (high[known] <= 1)).all()


# ----------------------------------------------------------------------------------- restricted mean


@REPEATABLE
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(0, 60))
def test_without_censoring_it_is_the_mean_of_what_was_lived_until_the_horizon(times: list[int], h: int) -> None:
    found = kaplan_meier(times, [True] * len(times)).restricted_mean(h)
    cut = np.minimum(times, h)
    assert found is not None
    assert found.mean == pytest.approx(cut.mean())
    assert found.variance == pytest.approx(cut.var() / len(times), abs=1e-12)


def test_it_is_none_beyond_what_was_seen() -> None:
    curve = kaplan_meier([1, 2, 3], [True, True, False])
    assert curve.restricted_mean(3) is not None
    assert curve.restricted_mean(3.1) is None
    assert kaplan_meier([1, 2], [True, True]).restricted_mean(9) == pytest.approx((1.5, 0.125))


@pytest.mark.parametrize("horizon", [-1.0, math.inf, math.nan])
def test_a_horizon_that_is_no_time_is_refused(horizon: float) -> None:
    with pytest.raises(ValueError, match="horizon"):
        kaplan_meier([1], [True]).restricted_mean(horizon)


# ----------------------------------------------------------------------------------- competing risks


@REPEATABLE
@given(UNITS, st.integers(0, 14))
def test_the_shares_are_the_naive_ones(units: list[Unit], horizon: int) -> None:
    before, shares = Fraction(1), {cause: Fraction(0) for _, cause in sorted(units, key=str) if cause}
    for t, alive in naive_survival(units).items():
        at_risk = sum(other >= t for other, _ in units)
        for cause in shares:
            died = sum(unit == (t, cause) for unit in units)
            shares[cause] += before * Fraction(died, at_risk) if t <= horizon else 0
        before = alive
    found = aalen_johansen([t for t, _ in units], [cause for _, cause in units], horizon)
    assert found == pytest.approx({cause: float(share) for cause, share in shares.items()})


@REPEATABLE
@given(UNITS)
def test_the_causes_and_the_unended_add_up_to_one(units: list[Unit]) -> None:
    curves = cumulative_incidence([t for t, _ in units], [cause for _, cause in units])
    total = sum(curves.shares.values(), start=np.zeros(curves.times.size)) + curve_of(units).survival
    assert total.tolist() == pytest.approx([1.0] * curves.times.size)


def test_shares_before_the_first_and_beyond_the_last_time() -> None:
    assert aalen_johansen([2, 3], ["a", None], 1) == {"a": 0.0}
    assert aalen_johansen([2, 3], ["a", None], 99) == {"a": 0.5}
    assert aalen_johansen([2, 3], [None, None], 9) == {}
    assert aalen_johansen([], [], 9) == {}


# -------------------------------------------------------------------------------------------- golden


@pytest.fixture(params=sorted(GOLDEN))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = GOLDEN[request.param]
    return found


def golden_curve(case: dict[str, Any]) -> SurvivalCurve:
    return kaplan_meier(case["durations"], [cause is not None for cause in case["causes"]])


def known(values: list[float | None]) -> list[float]:
    """Numbers for comparison; what R does not know is NaN."""
    return [math.nan if value is None else value for value in values]


def test_golden_curve_and_band_of_r(case: dict[str, Any]) -> None:
    curve, r = golden_curve(case), case["r"]
    low, high = curve.band()
    assert curve.times.tolist() == pytest.approx(r["times"])
    assert curve.survival.tolist() == pytest.approx(r["survival"], abs=1e-12)
    inner = (curve.survival > 0) & (curve.survival < 1)
    for ours, name in ((curve.greenwood, "greenwood"), (low, "low"), (high, "high")):
        assert ours[inner].tolist() == pytest.approx(np.array(known(r[name]))[inner].tolist(), rel=1e-9)


def test_golden_median_interval_of_r_and_lifelines(case: dict[str, Any]) -> None:
    ours = list(golden_curve(case).median_interval())
    assert ours == case["r"]["median_interval"]
    assert ours == case["lifelines"]["median_interval"]


def test_golden_restricted_mean_of_r(case: dict[str, Any]) -> None:
    found = golden_curve(case).restricted_mean(case["horizon"])
    assert found is not None
    assert [found.mean, math.sqrt(found.variance)] == pytest.approx(case["r"]["restricted_mean"], rel=1e-9)


def test_golden_incidence_of_r_and_lifelines(case: dict[str, Any]) -> None:
    curves = cumulative_incidence(case["durations"], case["causes"])
    for cause in ("completed", "failed"):
        assert curves.shares[cause].tolist() == pytest.approx(case["r"][cause], abs=1e-12)
        if cause in case["lifelines"]:
            assert curves.shares[cause].tolist() == pytest.approx(case["lifelines"][cause], abs=1e-9)


@pytest.mark.parametrize("name", ["small", "ties", "distinct"])
def test_golden_median_of_lifelines(name: str) -> None:
    assert golden_curve(GOLDEN[name]).quantile(0.5) == GOLDEN[name]["lifelines"]["median"]


def test_where_half_is_reached_exactly_our_definition_holds_and_lifelines_rounds_past_it() -> None:
    curve = golden_curve(GOLDEN["light"])
    at = int(np.searchsorted(curve.times, 1.83))
    assert (curve.at_risk[at] - curve.events[at], curve.at_risk[0]) == (30, 60)
    assert (curve.quantile(0.5), GOLDEN["light"]["lifelines"]["median"]) == (1.83, 1.86)


# --------------------------------------------------------------------------------- shares of successes


@REPEATABLE
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_is_that_of_scipy(trial: tuple[int, int], level: float) -> None:
    low, high = scipy.stats.binomtest(*trial).proportion_ci(level, method="wilson")
    assert wilson(*trial, level) == pytest.approx((low, high), abs=1e-12)


def test_wilson_at_the_ends_and_without_trials() -> None:
    none, every = wilson(0, 7), wilson(7, 7)
    assert none is not None
    assert every is not None
    assert (none[0], every[1]) == (0.0, 1.0)
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="8 successes of 7"):
        wilson(8, 7)


def test_the_cluster_bootstrap_agrees_with_scipy_where_whole_clusters_are_drawn() -> None:
    rng = np.random.default_rng(5)
    totals = rng.integers(1, 30, 25)
    successes = rng.binomial(totals, rng.beta(4, 2, 25))
    other = scipy.stats.bootstrap(
        (successes, totals),
        lambda good, all_, axis: good.sum(axis=axis) / all_.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(6),
    ).confidence_interval
    assert cluster_bootstrap(successes, totals, samples=20_000) == pytest.approx(tuple(other), abs=0.006)


def test_clusters_that_agree_with_themselves_make_a_wider_interval_than_wilson() -> None:
    """Twenty clients, each all right or all wrong: two hundred waits are not two hundred facts."""
    found, naive = cluster_bootstrap([10] * 10 + [0] * 10, [10] * 20), wilson(100, 200)
    assert found is not None
    assert naive is not None
    assert found[1] - found[0] > 2 * (naive[1] - naive[0])


def test_the_cluster_bootstrap_knows_seed_and_content_only() -> None:
    successes, totals = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]
    first = cluster_bootstrap(successes, totals)
    assert first == cluster_bootstrap(successes[::-1], totals)
    assert first == cluster_bootstrap([*successes, 0, 0], [*totals, 0, 0])
    assert first != cluster_bootstrap(successes, totals, seed=1)


def test_the_cluster_bootstrap_does_not_depend_on_how_samples_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cluster_bootstrap([1, 2, 3], [4, 4, 4])
    monkeypatch.setattr("polltape.measures.statistics._CELLS", 30)
    assert cluster_bootstrap([1, 2, 3], [4, 4, 4]) == whole


def test_without_trials_there_is_no_bootstrap() -> None:
    assert cluster_bootstrap([], []) is None
    assert cluster_bootstrap([0, 0], [0, 0]) is None
    with pytest.raises(ValueError, match="successes and totals"):
        cluster_bootstrap([2], [1])


# -------------------------------------------------------------------------------------- two captures


def exact_p_value(first: list[float], second: list[float]) -> float:
    """Two-sided p of the difference of means over every split."""
    pool = first + second
    seen = abs(np.mean(second) - np.mean(first))
    splits = [set(rows) for rows in combinations(range(len(pool)), len(second))]
    apart = [
        abs(np.mean([pool[i] for i in rows]) - np.mean([x for i, x in enumerate(pool) if i not in rows]))
        for rows in splits
    ]
    return sum(a >= seen - 1e-9 for a in apart) / len(splits)


def test_the_permutation_test_agrees_with_every_split_counted() -> None:
    first, second = [1.0, 2.0, 2.5, 4.0, 6.0], [3.0, 5.0, 6.5, 7.0, 9.0, 2.0]
    found = permutation_test(first + second, [True] * 11, [False] * 5 + [True] * 6, 20.0, samples=20_000)
    assert found is not None
    assert found.difference == pytest.approx(np.mean(second) - np.mean(first))
    assert found.p_value == pytest.approx(exact_p_value(first, second), abs=0.012)


@settings(REPEATABLE, max_examples=30)
@given(UNITS, UNITS, st.integers(0, 12))
def test_its_difference_is_that_of_the_restricted_means(first: list[Unit], second: list[Unit], horizon: int) -> None:
    units = first + second
    later = [False] * len(first) + [True] * len(second)
    ended = [cause is not None for _, cause in units]
    found = permutation_test([t for t, _ in units], ended, later, horizon, samples=20)
    means = [curve_of(side).restricted_mean(horizon) for side in (first, second)]
    if means[0] is None or means[1] is None:
        assert found is None
    else:
        assert found is not None
        assert found.difference == pytest.approx(means[1].mean - means[0].mean)
        assert 1 / 21 <= found.p_value <= 1


def censored_groups(shift: float, size: int = 80) -> tuple[list[float], list[bool], list[bool]]:
    rng = np.random.default_rng(9)
    later = np.arange(2 * size) >= size
    times = rng.exponential(2, 2 * size) + shift * later
    leaving = rng.exponential(8, 2 * size)
    return np.minimum(times, leaving).tolist(), (times < leaving).tolist(), later.tolist()


def test_a_difference_that_is_there_is_found_and_one_that_is_not_is_not() -> None:
    there, equal = permutation_test(*censored_groups(1.5), 4.0), permutation_test(*censored_groups(0.0), 4.0)
    assert there is not None
    assert equal is not None
    assert there.p_value == pytest.approx(1 / 2001)
    assert equal.p_value > 0.05


def test_equal_groups_have_a_p_value_of_one() -> None:
    found = permutation_test([1, 2, 3] * 2, [True] * 6, [False] * 3 + [True] * 3, 3.0)
    assert found == (0.0, 1.0)


def test_the_permutation_test_knows_seed_and_content_only() -> None:
    durations, ended, later = censored_groups(0.4)
    names = [f"client {index % 11}" for index in range(len(durations))]
    turned = durations[::-1], ended[::-1], later[::-1]
    assert permutation_test(durations, ended, later, 4.0) == permutation_test(*turned, 4.0)
    by_client = permutation_test(durations, ended, later, 4.0, units=names)
    assert by_client == permutation_test(*turned, 4.0, units=names[::-1])
    assert by_client != permutation_test(durations, ended, later, 4.0, units=names, seed=1)


def test_permuting_clients_does_not_take_their_operations_for_independent_facts() -> None:
    """Three clients a side, each with forty operations of its own speed: few facts, many rows."""
    speeds, rows = [1.0, 2.0, 3.0, 2.5, 3.5, 4.5], 40
    durations = [speed + row / 1000 for speed in speeds for row in range(rows)]
    names = [f"client {index}" for index in range(6) for _ in range(rows)]
    later = [index >= 3 for index in range(6) for _ in range(rows)]
    alone = permutation_test(durations, [True] * 240, later, 9.0)
    by_client = permutation_test(durations, [True] * 240, later, 9.0, units=names)
    assert alone is not None
    assert by_client is not None
    assert alone.p_value < 0.001 < 0.1 < by_client.p_value


def test_a_group_without_rows_or_beyond_its_horizon_gives_no_test() -> None:
    assert permutation_test([1, 2], [True, True], [False, False], 1.0) is None
    assert permutation_test([1, 2, 3], [True, False, True], [False, False, True], 3.0) is None
    with pytest.raises(ValueError, match="units: 1 for 2"):
        permutation_test([1, 2], [True, True], [False, True], 1.0, units=["a"])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    with pytest.raises(ValueError, match="p values"):
        holm([1.5])


@REPEATABLE
@given(st.lists(st.floats(0, 1), max_size=12), st.sampled_from([0.01, 0.05, 0.5]))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], alpha: float) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] * (len(p_values) - rank) > alpha:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= alpha} == rejected


def test_one_cluster_says_nothing_about_the_variance() -> None:
    found = restricted_mean_by([2.0], [True], ["c1"], 2.0)
    assert found is not None
    assert found.variance == math.inf
