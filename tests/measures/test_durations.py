"""Durations by group: the server's own median by Turnbull beside the quantiles that clients lived."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from polltape.measures import durations as module
from polltape.measures.durations import durations
from polltape.report.plain import rows

NOTHING = pd.DataFrame(columns=["protocol", "kind", "host"])


def operation(lower_s: float, upper_s: float | None, host: str = "h", **more: Any) -> dict[str, Any]:
    """An operation that ended in that bracket, or was left at ``lower_s``."""
    ended = upper_s is not None
    names = {"protocol": "shopify-checkout", "kind": "checkout.update", "host": host, "truncated": False}
    times = {"duration_s": upper_s + 0.1 if ended else math.nan, "lower_s": lower_s, "observed_s": lower_s + 0.2}
    outcome = "completed" if ended else "abandoned"
    return names | times | {"upper_s": upper_s if ended else math.nan, "outcome": outcome} | more


def table(*made: dict[str, Any]) -> list[dict[str, Any]]:
    return rows(durations(pd.DataFrame(made), NOTHING))


def test_the_servers_median_lies_where_brackets_overlap() -> None:
    """By clients' time the median is 3.1 s; the four brackets overlap between 2.5 and 3 s only."""
    (row,) = table(*(operation(*bracket) for bracket in ((2, 3), (2.5, 3.5), (1, 3), (2.25, 4))))
    assert row["p50_s"] == pytest.approx(3.1)
    assert (row["p50_turnbull_low_s"], row["p50_turnbull_high_s"]) == (2.5, 3)


def test_an_upper_end_that_is_unknown_is_the_end_itself() -> None:
    (row,) = table(operation(1, 2) | {"upper_s": math.nan}, operation(1.5, 2.5))
    assert (row["p50_turnbull_low_s"], row["p50_turnbull_high_s"]) == (1.5, 2.1)


def test_what_was_left_bounds_the_median_on_one_side() -> None:
    (row,) = table(operation(0, 1), operation(4, None), operation(5, None))
    assert (row["p50_turnbull_low_s"], row["p50_turnbull_high_s"]) == (5, None)


def test_truncated_operations_say_nothing() -> None:
    (row,) = table(operation(0, 1, truncated=True))
    assert (row["operations"], row["p50_turnbull_low_s"]) == (0, None)


def test_a_table_of_many_groups_has_no_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ESTIMATES", 2)
    few, many = (table(*(operation(1, 2, f"h{n}") for n in range(count))) for count in (2, 3))
    assert [row["p50_turnbull_high_s"] for row in few] == [2, 2]
    assert [row["p50_turnbull_high_s"] for row in many] == [None] * 3
    assert [row["p50_s"] for row in many] == pytest.approx([2.1] * 3)


def test_at_once_is_a_whole_number_beside_kinds_that_have_none() -> None:
    found = table(operation(0, 1), operation(0, 1, protocol="throttle", kind="throttle"))
    assert [(row["at_once"], type(row["at_once"])) for row in found] == [(0, int), (None, type(None))]
