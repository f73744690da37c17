"""Two captures made by hand beside each other: effects, intervals, tests, and when the gate fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.measures import comparison
from polltape.measures.analysis import Analysis
from polltape.measures.comparison import Bounds, Comparison, compare
from polltape.measures.statistics import (
    holm,
    kaplan_meier,
    permuted_rates,
    restricted_mean_by,
    student,
    wilson,
)
from polltape.report.plain import rows

REPEATABLE = settings(derandomize=True, deadline=None)


class Op(NamedTuple):
    """One operation: ``s`` seconds to its end, or (``outcome`` abandoned) until it was last seen."""

    s: float
    client: str = "c"
    outcome: str = "completed"
    kind: str = "k"
    host: str = "h"
    lower_s: float | None = None
    truncated: bool = False


def capture(operations: Iterable[Op] = (), waits: Sequence[tuple[str, str, str]] = (), host: str = "h") -> Analysis:
    """An analysis with these operations, and rated waits of (operation, client, verdict)."""
    told = [
        {
            "id": f"o{number}",
            "protocol": "p",
            **{name: getattr(op, name) for name in ("kind", "host", "client", "outcome", "truncated")},
            "duration_s": op.s if op.outcome == "completed" else None,
            "observed_s": op.s,
            "lower_s": op.s if op.lower_s is None else op.lower_s,
        }
        for number, op in enumerate(operations)
    ]
    names = ["id", "protocol", "kind", "host", "client", "outcome", "truncated", "duration_s", "observed_s", "lower_s"]
    table = pd.DataFrame(told, columns=names).astype({"duration_s": float, "observed_s": float, "lower_s": float})
    kept = pd.DataFrame(waits, columns=["operation", "client", "verdict"])
    kept = kept.assign(protocol="p", kind="k", host=host, rated=True)
    nothing = pd.DataFrame()
    return Analysis(
        exchanges=0, skipped=0, from_us=None, to_us=None, sources=(), warnings=(), coverage=(), statuses=nothing,
        operations=table, durations=nothing, waits=kept, compliance=nothing, findings=nothing, timeline=nothing,
    )  # fmt: skip


def some(mean: float, size: int, seed: int, clients: int = 1, **about: Any) -> list[Op]:
    rng = np.random.default_rng(seed)
    seconds = rng.gamma(4, mean / 4, size).round(6)
    return [Op(float(s), f"c{index % clients}", **about) for index, s in enumerate(seconds)]


def time_row(found: Comparison) -> dict[str, Any]:
    (row,) = rows(found.durations)
    return row


# ------------------------------------------------------------------------------------------------- time


def test_without_censoring_the_interval_is_welchs() -> None:
    first, second = some(2, 12, 1), some(3, 9, 2)
    row = time_row(compare(capture(first), capture(second)))
    other = scipy.stats.ttest_ind([op.s for op in second], [op.s for op in first], equal_var=False)
    ends = other.confidence_interval()
    assert (row["low_s"], row["high_s"]) == pytest.approx((ends.low, ends.high), abs=1e-3)
    assert row["difference_s"] == pytest.approx(np.mean([op.s for op in second]) - np.mean([op.s for op in first]))
    assert (row["unit"], row["units_a"], row["units_b"]) == ("operation", 12, 9)


@pytest.mark.parametrize(
    ("bounds", "fails"),
    [
        (Bounds(), True),
        (Bounds(slower_s=0.8), True),
        (Bounds(slower_s=2.5), False),
        (Bounds(slower_share=0.1), True),
        (Bounds(slower_share=1.5), False),
    ],
)
def test_the_gate_fails_where_the_whole_interval_lies_beyond_the_bound(bounds: Bounds, fails: bool) -> None:
    found = compare(capture(some(2, 80, 1)), capture(some(4, 80, 2)), bounds=bounds)
    row = time_row(found)
    assert row["change"] == "slower"
    assert row["regression"] is fails
    assert row["regression"] is (row["low_s"] > row["bound_s"])
    assert found.regressions == int(fails)


def test_faster_is_no_regression() -> None:
    found = compare(capture(some(4, 80, 1)), capture(some(2, 80, 2)))
    assert time_row(found)["change"] == "faster"
    assert found.regressions == 0


def test_equal_captures_do_not_differ() -> None:
    one = capture(some(2, 30, 1))
    row = time_row(compare(one, one))
    assert (row["difference_s"], row["p_value"], row["change"]) == (0, 1, "unclear")


def test_the_gate_seldom_fails_where_nothing_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """One-sided at 2.5 %: of 50 comparisons of like captures one or two fail."""
    monkeypatch.setattr(comparison, "SAMPLES", 20)
    failed = sum(
        compare(capture(some(2, 25, seed)), capture(some(2, 25, seed + 1000))).regressions for seed in range(50)
    )
    assert failed <= 4


def test_who_left_counts_as_long_as_it_was_seen() -> None:
    ops = [Op(1), Op(2), Op(3), Op(4), Op(2.5, outcome="abandoned"), Op(9, outcome="abandoned")]
    row = time_row(compare(capture(ops), capture(ops)))
    curve = kaplan_meier([1, 2, 3, 4, 2.5, 9], [True] * 4 + [False] * 2)
    assert row["horizon_s"] == 9
    assert row["mean_a_s"] == pytest.approx(curve.restricted_mean(9.0)[0])  # type: ignore[index]
    assert row["left_a"] == pytest.approx(1 / 3)


def test_the_horizon_is_as_far_as_both_tell() -> None:
    ends, left = [Op(s) for s in (1, 2, 3, 4, 5)], [*(Op(s) for s in (1, 2, 2, 3)), Op(4, outcome="pending")]
    assert time_row(compare(capture(ends), capture(left)))["horizon_s"] == 4
    assert time_row(compare(capture(ends), capture([Op(9)] * 5)))["horizon_s"] == 9
    beyond = time_row(compare(capture(ends), capture(left), horizon_s=6))
    assert (beyond["horizon_s"], beyond["mean_a_s"], beyond["regression"]) == (6, None, False)


def test_brackets_that_overlap_are_indistinguishable() -> None:
    first = [Op(s, lower_s=s - 1) for s in (2, 2.5, 3, 3.5, 4)]
    later = [op._replace(s=op.s + 0.5, lower_s=op.s - 0.5) for op in first]
    apart = [op._replace(s=op.s + 1.5, lower_s=op.s + 0.5) for op in first]
    assert time_row(compare(capture(first), capture(later)))["server"] == "indistinguishable"
    assert time_row(compare(capture(first), capture(apart)))["server"] == "slower"
    assert time_row(compare(capture(apart), capture(first)))["server"] == "faster"


def test_few_operations_give_no_interval_and_never_fail() -> None:
    row = time_row(compare(capture([Op(1.0), Op(1.1), Op(1.2), Op(1.3)]), capture(some(60, 50, 1))))
    assert row["difference_s"] > 40
    assert (row["low_s"], row["p_value"], row["change"], row["regression"]) == (None, None, None, False)


def test_ten_clients_on_both_sides_are_the_units() -> None:
    """Each client has twenty operations of its own speed: clients are the facts, not operations."""
    speeds = np.random.default_rng(3).gamma(4, 1, 24)
    ops = [
        [Op(float(speeds[c]) + k / 100, f"c{c}") for c in side for k in range(20)]
        for side in (range(12), range(12, 24))
    ]
    row = time_row(compare(capture(ops[0]), capture(ops[1])))
    assert (row["unit"], row["units_a"], row["units_b"]) == ("client", 12, 12)
    alone = time_row(compare(*(capture([op._replace(client="c") for op in side]) for side in ops)))
    assert alone["unit"] == "operation"
    assert row["high_s"] - row["low_s"] > 3 * (alone["high_s"] - alone["low_s"])
    assert row["p_value"] > alone["p_value"]


# ---------------------------------------------------------------------------------------------- groups


def test_hosts_are_told_apart_where_the_captures_share_one() -> None:
    prod, staging = some(2, 6, 1, host="prod"), some(2, 6, 2, host="staging")
    assert [row["host"] for row in rows(compare(capture(prod), capture(staging, host="x")).durations)] == [None]
    both = compare(capture([*prod, *staging]), capture(prod))
    assert [(row["host"], row["operations_a"], row["operations_b"]) for row in rows(both.durations)] == [
        ("prod", 6, 6), ("staging", 6, 0),
    ]  # fmt: skip
    assert rows(both.durations)[1]["mean_a_s"] is None
    across = compare(capture([*prod, *staging]), capture(prod), by_host=False)
    assert [(row["host"], row["operations_a"]) for row in rows(across.durations)] == [(None, 12)]


def test_truncated_operations_take_no_part() -> None:
    row = time_row(compare(capture([*some(2, 6, 1), Op(99, truncated=True)]), capture(some(2, 6, 2))))
    assert row["operations_a"] == 6


def test_nothing_to_compare_is_no_regression() -> None:
    found = compare(capture(), capture())
    assert (len(found.durations), len(found.compliance), found.regressions) == (0, 0, 0)


def test_the_order_of_rows_changes_nothing() -> None:
    first, second = capture(some(2, 40, 1, 12), told(40, 12, 0.9, 1)), capture(some(3, 40, 2, 12), told(40, 12, 0.7, 2))
    turned = [
        replace(
            a,
            operations=a.operations.iloc[::-1].reset_index(drop=True),
            waits=a.waits.sample(frac=1, random_state=1),
        )
        for a in (first, second)
    ]
    one, other = compare(first, second), compare(*turned)
    pd.testing.assert_frame_equal(one.durations, other.durations, rtol=1e-12)
    pd.testing.assert_frame_equal(one.compliance, other.compliance, rtol=1e-12)


# ------------------------------------------------------------------------------------------- compliance


def told(operations: int, clients: int, rate: float, seed: int, each: int = 5) -> list[tuple[str, str, str]]:
    """``each`` waits of every operation, kept with that chance."""
    rng = np.random.default_rng(seed)
    return [
        (f"o{number}", f"c{number % clients}", "kept" if rng.random() < rate else "early")
        for number in range(operations)
        for _ in range(each)
    ]


@pytest.mark.parametrize("clients", [1, 15])
def test_a_drop_beyond_the_bound_fails(clients: int) -> None:
    first, second = capture(waits=told(60, clients, 0.9, 1)), capture(waits=told(60, clients, 0.5, 2))
    (row,) = rows(compare(first, second).compliance)
    assert (row["change"], row["regression"]) == ("worse", True)
    assert row["unit"] == ("client" if clients > 9 else "operation")
    assert compare(first, second, bounds=Bounds(drop=0.6)).regressions == 0
    assert compare(second, first).regressions == 0


def test_all_kept_on_both_sides_has_an_interval_with_a_width() -> None:
    (row,) = rows(compare(capture(waits=told(20, 1, 1, 1)), capture(waits=told(20, 1, 1, 2))).compliance)
    low, _ = wilson(20, 20) or (0, 0)
    assert (row["low"], row["high"]) == pytest.approx((low - 1, 1 - low))


def test_the_interval_is_newcombes() -> None:
    """Newcombe 1998, table II, row (a), method 10: 56/70 less 48/80."""
    ends = [wilson(48, 80), wilson(56, 70)]
    found = comparison._squared_and_added([48 / 80, 56 / 70], [end for end in ends if end is not None])
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_waits_outside_any_operation_are_their_clients() -> None:
    first = capture(waits=[(None, f"c{n % 3}", "kept") for n in range(30)])  # type: ignore[misc]
    (row,) = rows(compare(first, first).compliance)
    assert (row["unit"], row["units_a"]) == ("operation", 3)


# ------------------------------------------------------------------------------------ tests and the gate


@REPEATABLE
@given(st.lists(st.tuples(st.floats(-3, 5), st.floats(0.1, 2)), min_size=1, max_size=8))
def test_the_gate_is_holms_procedure(effects: list[tuple[float, float]]) -> None:
    normal = NormalDist()

    def made(effect: float, error: float) -> comparison._Effect:
        def interval(level: float) -> tuple[float, float]:
            half = normal.inv_cdf((1 + level) / 2) * error
            return effect - half, effect + half

        return comparison._Effect({"regression": False}, interval, lambda ends: ends[0] > 0)

    judged = [made(*effect) for effect in effects]
    comparison._gate(judged)
    p_values = [min(1.0, 2 * normal.cdf(-effect / error)) for effect, error in effects]
    expected = [p <= 0.05 for p in holm(p_values)]
    assert [effect.row["regression"] for effect in judged] == expected


def test_permuted_rates_agree_with_every_split_counted() -> None:
    first, second = ([3, 4, 5, 2], [5, 5, 5, 4]), ([1, 2, 0, 3, 1], [5, 5, 4, 5, 5])
    good, all_ = np.array([*first[0], *second[0]]), np.array([*first[1], *second[1]])
    chosen = [list(rows) for rows in combinations(range(9), 5)]
    others = [[row for row in range(9) if row not in rows] for rows in chosen]
    apart = [
        abs(good[a].sum() / all_[a].sum() - good[b].sum() / all_[b].sum()) for a, b in zip(chosen, others, strict=True)
    ]
    seen = abs(14 / 19 - 7 / 24)
    exact = np.mean([value >= seen - 1e-12 for value in apart])
    assert permuted_rates(first, second, samples=20_000) == pytest.approx(exact, abs=0.005)
    assert permuted_rates(([], []), second) is None
    assert permuted_rates(first, first) == 1


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [4, 6.5, 10, 30, 1000])
def test_students_quantile_is_scipys(level: float, freedom: float) -> None:
    assert student(level, freedom) == pytest.approx(scipy.stats.t.ppf((1 + level) / 2, freedom), rel=0.03)


@REPEATABLE
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=40), st.integers(1, 12))
def test_a_cluster_a_row_without_censoring_is_the_variance_of_a_mean(units: list[tuple[int, bool]], h: int) -> None:
    times = [t for t, _ in units]
    found = restricted_mean_by(times, [True] * len(units), [str(i) for i in range(len(units))], h)
    cut = np.minimum(times, h)
    assert found is not None
    assert found.mean == pytest.approx(cut.mean())
    assert found.variance == pytest.approx(cut.var(ddof=1) / len(units), abs=1e-12)


def test_the_variance_by_client_is_that_of_leaving_clients_out() -> None:
    rng = np.random.default_rng(4)
    speed = rng.gamma(4, 0.5, 30)
    client = np.arange(600) % 30
    times, ended = np.round(rng.exponential(speed[client]), 2), rng.random(600) < 0.7
    found = restricted_mean_by(times, ended, client.astype(str).tolist(), 2.5)
    left_out = []
    for number in range(30):
        mean = kaplan_meier(times[client != number], ended[client != number]).restricted_mean(2.5)
        assert mean is not None
        left_out.append(mean.mean)
    assert found is not None
    assert found.variance == pytest.approx(29 * np.var(left_out), rel=0.05)
