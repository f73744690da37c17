"""What waiting costs, by hand: the queue's times and estimates, throttling, the load of polling, "not yet" by load.

Random histories go through the same measures and a plain second implementation in ``tests/oracle``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.measures import polling_load
from polltape.measures.queue import queues

Make = Callable[..., Any]
CHECKOUT = "/admin/api/2024-04/checkouts/t1.json"


def only(table: pd.DataFrame) -> dict[str, Any]:
    """Its one row; unknown is None."""
    assert len(table) == 1
    return {name: None if pd.isna(value) else value for name, value in table.iloc[0].to_dict().items()}


# ------------------------------------------------------------------------------------------------ queue


def queue_poll(entry: Make, at: float, by: str, **answer: Any) -> Any:
    sent = json.dumps({"query": "query { poll(token: $token) { token } }", "variables": {"token": by}})
    return entry(at, "POST", "/queue/poll", 200, sent=sent, body={"data": {"poll": answer}})


def queued(entry: Make, at: float, token: str) -> Any:
    headers = [("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", token)]
    return entry(at, "PUT", CHECKOUT, 429, sent="{}", headers=headers)


def test_a_journey_has_its_times_its_estimate_and_its_ignored_poll(entry: Make, analysed: Make) -> None:
    goes_on = {"__typename": "PollContinue", "token": "b", "pollAfter": "2026-11-23T08:00:05Z"}
    again = entry(9, "PUT", CHECKOUT, 200, sent="{}")
    again["request"]["headers"].append({"name": "X-Checkout-Queue-Token", "value": "c"})
    analysis = analysed(
        [
            queued(entry, 0, "a"),  # t0 = 0.1
            queue_poll(entry, 1, "a", **goes_on, queueEtaSeconds=10),
            queue_poll(entry, 2, "b", **goes_on, queueEtaSeconds=3),  # before pollAfter; only the first estimate counts
            queue_poll(entry, 7.5, "b", __typename="PollComplete", token="c"),
            again,
        ]
    )
    journey = only(analysis.journeys)
    assert (journey["release_s"], journey["result_s"]) == (7.5, 9.0)
    assert (journey["eta_s"], journey["eta_error_s"], journey["eta_error_share"]) == (10.0, -3.5, -0.35)
    assert (journey["polls"], journey["polls_ignored"]) == (3, 1)
    host = only(analysis.queues)
    assert (host["journeys"], host["released"], host["completed"], host["estimated"]) == (1, 1, 1, 1)
    assert (host["release_p50_s"], host["result_p50_s"], host["eta_off_p50"], host["eta_wrong"]) == (7.5, 9.0, 0.35, 0)


def travelled(**columns: list[Any]) -> pd.DataFrame:
    many = len(next(iter(columns.values())))
    unknown = ("release_s", "result_s", "eta_s", "eta_error_s", "eta_error_share")
    usual = {"host": ["h"] * many, "outcome": ["completed"] * many, "truncated": [False] * many, "polls": [1] * many}
    usual |= {name: [None] * many for name in unknown} | {"polls_ignored": [0] * many}
    return pd.DataFrame(usual | columns).astype(dict.fromkeys(unknown, "float64"))


def test_a_journey_that_was_never_released_is_censored_and_not_left_out() -> None:
    outcomes = ["completed", "abandoned", "completed", "completed"]
    table = travelled(
        outcome=outcomes, release_s=[2, None, 5, None], result_s=[3, None, 6, 4], observed_s=[3, 10, 6, 4]
    )
    # At risk at 2 s: 4, one leaves the queue otherwise at 4 s, at 5 s: 2 of whom one is released; S = 3/4, 3/8.
    found = only(queues(table))
    assert (found["release_p50_s"], found["release_p90_s"]) == (5.0, None)
    # Of the times to a result only the abandoned one is censored: S = 3/4 at 3 s, 1/2 at 4 s, 1/4 at 6 s.
    assert (found["result_p50_s"], found["result_p90_s"]) == (4.0, None)


def test_estimates_that_err_to_both_sides_are_not_right_in_the_median() -> None:
    table = travelled(
        result_s=[9.0] * 4,
        observed_s=[9.0] * 4,
        eta_s=[10, 10, 0, None],
        eta_error_s=[-6, 6, 1, None],
        eta_error_share=[-0.6, 0.6, None, None],
    )
    found = only(queues(table))
    assert (found["estimated"], found["eta_error_p50_s"], found["eta_off_p50"], found["eta_wrong"]) == (3, 1.0, 0.6, 3)


# ------------------------------------------------------------------------------------------- throttling


def test_throttling_costs_time_and_requests(entry: Make, analysed: Make) -> None:
    busy = {"host": "busy.example"}
    analysis = analysed(
        [
            entry(0, "GET", "/a", 429, hint="2", **busy),  # first throttled answer ends at 0.1
            entry(1, "GET", "/a", 429, hint="1", **busy),  # too early, and throttled again
            entry(1.5, "GET", "/b", 200, **busy),  # RA007: the host has asked for patience
            entry(2.2, "GET", "/a", 200, **busy),  # accepted at 2.3
            entry(5, "GET", "/c", 503, client="b", **busy),
            entry(8, "GET", "/c", 503, client="b", **busy),  # never accepted: last seen at 8.1
            entry(0, "GET", "/a", 200, host="idle.example"),
        ]
    )
    host = only(analysis.throttling)
    assert (host["host"], host["requests"], host["throttled"], host["share"]) == (
        "busy.example",
        6,
        4,
        pytest.approx(2 / 3),
    )
    assert (host["operations"], host["ended"], host["clients"]) == (2, 1, 2)
    assert (host["lost_s"], host["longest_s"]) == (pytest.approx(2.2 + 3.0), 3.0)
    assert (host["again"], host["early"]) == (2, 2)


def test_throttling_inside_an_operation_is_counted_but_has_no_time_of_its_own(entry: Make, analysed: Make) -> None:
    analysis = analysed(
        [
            entry(0, "PUT", CHECKOUT, 202, sent="{}", hint="1"),
            entry(1.2, "GET", CHECKOUT, 429, hint="1"),
            entry(2.5, "GET", CHECKOUT, 200),
        ]
    )
    host = only(analysis.throttling)
    assert (host["throttled"], host["operations"], host["again"]) == (1, 0, 0)
    assert (host["lost_s"], host["longest_s"]) == (None, None)


# ---------------------------------------------------------------------------------------------- polling


def test_polling_is_told_in_polls_shares_and_peaks(entry: Make, analysed: Make) -> None:
    analysis = analysed(
        [
            entry(0, "PUT", CHECKOUT, 202, sent="{}", hint="1"),
            entry(0.5, "GET", CHECKOUT, 202, hint="1"),  # early
            entry(1.4, "GET", CHECKOUT, 202, hint="1"),  # early; 0.5 to 1.4 is within one second
            entry(2.6, "GET", CHECKOUT, 200),
            *(entry(number, "GET", "/admin/api/2024-04/shop.json", 200) for number in range(4)),
        ]
    )
    load = only(analysis.polling)
    assert (load["operations"], load["completed"], load["polls"]) == (1, 1, 3)
    assert (load["polls_per_completed"], load["polls_p50"], load["polls_max"]) == (3.0, 3.0, 3)
    assert (load["requests"], load["share"]) == (8, 0.375)
    assert (load["early"], load["peak_per_s"]) == (2, 2)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4_000_000)), max_size=12), st.integers(1, 5))
def test_a_peak_is_the_fullest_second_wherever_it_lies(polls: list[tuple[int, int]], at_once: int) -> None:
    group, us = (np.array([poll[place] for poll in polls], np.int64) for place in range(2))
    fullest = [0, 0, 0]
    for of, last in polls:
        beside = sum(other == of and last - 1_000_000 < at <= last for other, at in polls)
        fullest[of] = max(fullest[of], beside)
    with mock.patch.object(polling_load, "AT_ONCE", at_once):
        assert polling_load._most_at_once(group, us, 3).tolist() == fullest


# ---------------------------------------------------------------------------------------------- not yet


def test_a_write_is_counted_by_the_requests_under_way_at_its_endpoint(entry: Make, analysed: Make) -> None:
    def order(at: float, status: int, took: float = 1.0, number: int = 0, what: str = "submit") -> Any:
        body = {"status": "pending" if status == 202 else "placed"}
        sent = json.dumps({"request_uid": f"u{number}"})
        return entry(at, "POST", f"/posnext/order/{what}", status, took=took, sent=sent, body=body, host="pos.example")

    lost = order(20, 200, number=6)
    lost["response"]["status"] = 0  # an error instead of an answer
    analysis = analysed(
        [
            order(0, 200, number=1),  # alone
            order(1.0, 202, number=2),  # begins where the first ends: alone
            order(1.5, 202, number=3),  # with the one before
            order(1.6, 200, number=4),  # with two others
            order(1.6, 200, number=5, what="validate"),  # another endpoint
            lost,
        ]
    )
    share = analysis.pending_shares.set_index("endpoint")
    assert share.loc["POST /posnext/order/submit", ["writes", "pending"]].tolist() == [4, 2]
    assert share["exception"].tolist() == [False, None]  # low is 15 %; of one write nobody can tell
    steps = analysis.under_way[["endpoint", "under_way_from", "under_way_to", "writes", "pending"]]
    assert steps.to_numpy().tolist() == [
        ["POST /posnext/order/submit", 1, 1, 2, 1],
        ["POST /posnext/order/submit", 2, 3, 2, 1],
        ["POST /posnext/order/validate", 1, 1, 1, 0],
    ]


def test_an_ordinary_api_has_no_row(entry: Make, analysed: Make) -> None:
    analysis = analysed([entry(0, "POST", "/things", 201, sent="{}"), entry(1, "GET", "/things/7", 200)])
    for table in ("journeys", "queues", "throttling", "polling", "pending_shares", "under_way"):
        assert getattr(analysis, table).empty, table
