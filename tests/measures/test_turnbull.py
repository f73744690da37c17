"""Turnbull's estimate: against the conditions that the most likely masses meet, Kaplan-Meier, and R."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.measures import turnbull as module
from polltape.measures.statistics import kaplan_meier
from polltape.measures.turnbull import turnbull

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=150)
GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("turnbull.json").read_text())["cases"]

Bracket = tuple[float, float]


def estimate(*brackets: Bracket) -> module.Masses:
    lower, upper = np.array(brackets, dtype=np.float64).reshape(-1, 2).T
    return turnbull(lower, upper)


def within(inner: Bracket, outer: Bracket) -> bool:
    """Whether one half-open interval, or point, lies in another."""
    if inner[0] == inner[1]:
        return outer[0] < inner[0] <= outer[1] or outer == inner
    return outer[0] <= inner[0] and inner[1] <= outer[1] and outer[0] != outer[1]


def brackets(most: int) -> st.SearchStrategy[list[Bracket]]:
    one = st.tuples(st.integers(0, 12), st.sampled_from([0, 1, 1, 2, 3, 5, math.inf]))
    return st.lists(one.map(lambda pair: (float(pair[0]), pair[0] + pair[1])), min_size=1, max_size=most)


def test_polls_each_second_are_half_open() -> None:
    """Closed intervals would put all of it on 1: lifelines tells a median of 2 of these."""
    found = estimate((0, 1), (0, 1), (1, 2), (1, 2))
    assert (found.lower_s.tolist(), found.upper_s.tolist()) == ([0, 1], [1, 2])
    assert found.mass.tolist() == pytest.approx([0.5, 0.5])
    assert found.quantile(0.5) == (0, 1)
    assert found.quantile(0.75) == (1, 2)


def test_a_quantile_that_nothing_bounds() -> None:
    found = estimate((0, 1), (3, math.inf), (3, math.inf))
    assert found.quantile(0.25) == (0, 1)
    assert found.quantile(0.5) == (3, None)
    assert estimate().quantile(0.5) is None
    with pytest.raises(ValueError, match="upper end"):
        estimate((2, 1))


@REPEATABLE
@given(brackets(25))
def test_no_other_masses_are_more_likely(made: list[Bracket]) -> None:
    """The conditions of Kuhn and Tucker, counted one by one: they hold for the most likely masses and no others."""
    found = estimate(*made)
    inner = list(zip(found.lower_s.tolist(), found.upper_s.tolist(), strict=True))
    covers = np.array([[within(piece, bracket) for piece in inner] for bracket in made])
    slopes = (covers / (covers @ found.mass)[:, None]).mean(axis=0)
    assert found.mass.sum() == pytest.approx(1)
    assert found.gap <= 2 * module.CLOSE
    assert slopes.max() <= 1 + 1e-6
    assert slopes @ found.mass == pytest.approx(1)


@REPEATABLE
@given(brackets(25))
def test_the_innermost_intervals_are_those_with_no_end_inside(made: list[Bracket]) -> None:
    found = estimate(*made)
    for piece in zip(found.lower_s.tolist(), found.upper_s.tolist(), strict=True):
        for bracket in made:
            apart = bracket[1] <= piece[0] or piece[1] <= bracket[0] or piece[0] == piece[1]
            assert within(piece, bracket) or apart


@REPEATABLE
@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=40))
def test_exact_times_give_kaplan_meier(made: list[tuple[int, bool]]) -> None:
    times, ended = np.array([t for t, _ in made], dtype=np.float64), np.array([e for _, e in made])
    found = turnbull(times, np.where(ended, times, math.inf))
    curve = kaplan_meier(times, ended)
    for time, share in zip(curve.times, curve.survival, strict=True):
        assert found.mass[found.upper_s > time].sum() == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_golden_masses_of_r(name: str) -> None:
    """R stops its iteration early: its masses are right to a few thousandths."""
    case: dict[str, Any] = GOLDEN[name]
    upper = np.array([math.inf if end is None else end for end in case["upper"]])
    found = turnbull(np.array(case["lower"]), upper)
    for time, share in zip(case["r"]["times"], case["r"]["survival"], strict=True):
        assert found.mass[found.lower_s >= time].sum() == pytest.approx(share, abs=0.01)


def test_many_ends_are_binned_outwards() -> None:
    rng = np.random.default_rng(1)
    done = rng.lognormal(1, 0.5, 20_000)
    lower = np.maximum(done - rng.random(20_000), 0)
    found = turnbull(lower, lower + 1)
    assert found.mass.size <= module.MOST_ENDS
    low, high = found.quantile(0.5) or (0, None)
    assert high is not None
    assert low - 0.05 <= np.median(done) <= high + 0.05
    assert high - low < 0.05


def test_the_order_of_operations_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    lower = rng.integers(0, 30, 500) / 4
    upper = lower + rng.choice([0.5, 1, 2, math.inf], 500)
    one, other = turnbull(lower, upper), turnbull(lower[::-1], upper[::-1])
    assert one.mass.tolist() == other.mass.tolist()
