"""Compliance by hand-made waits, and against a plain loop over random ones, by whatever they are grouped."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.measures.retry_after import BREAK_DOWNS, HOUR_US, broken_down, compliance, every_break_down
from polltape.measures.statistics import cluster_bootstrap, wilson
from polltape.report.as_text import rate_facts
from polltape.report.plain import rows

VERDICTS = ("kept", "late", "early", "unanswered", "open", "void")
COLUMNS = ["protocol", "kind", "host", "method", "endpoint", "client", "status", "end_us", "operation"]
COLUMNS += ["verdict", "rated", "asked_s", "waited_s"]

wait = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from(["throttle", "shopify-checkout", None]),
        "kind": st.sampled_from(["a", "b", None]),
        "host": st.sampled_from(["one.example", "two.example"]),
        "method": st.sampled_from(["GET", "PUT"]),
        "endpoint": st.sampled_from(["/{id}", "/x"]),
        "client": st.sampled_from(["c1", "c2", "c3", None]),
        "status": st.sampled_from([202, 429]),
        "end_us": st.integers(0, 3 * HOUR_US),
        "operation": st.sampled_from(["o1", "o2", "o3", None]),
        "verdict": st.sampled_from(VERDICTS),
        "rated": st.booleans(),
        "asked_s": st.integers(0, 8).map(float),
        "waited_s": st.integers(0, 32).map(float),
    }
)


def table(waits: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(waits, columns=COLUMNS).astype({"rated": bool, "asked_s": float})
    unanswered = frame["verdict"].isin(["unanswered", "open", "void"])
    frame["rated"] &= ~unanswered
    return frame.assign(waited_s=frame["waited_s"].astype("Float64").mask(unanswered))


def plainly(waits: pd.DataFrame, by: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in waits.astype(object).where(waits.notna(), None).to_dict("records"):
        groups[tuple(row[name] for name in by)].append(row)  # type: ignore[misc]
    return {names: _row(rows) for names, rows in groups.items()}


def _row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    rated = [row for row in rows if row["rated"]]
    found: dict[str, Any] = {name: sum(row["verdict"] == name for row in rated) for name in VERDICTS[:3]}
    found |= {name: sum(row["verdict"] == name for row in rows) for name in VERDICTS[3:]}
    obeyed, total = found["kept"] + found["late"], found["kept"] + found["late"] + found["early"]
    operations = {row["operation"] for row in rated} - {None}
    broken = {row["operation"] for row in rated if row["verdict"] == "early"}
    low, high = wilson(obeyed, total) or (None, None)
    return found | {
        "rate": obeyed / total if total else None,
        "low": low,
        "high": high,
        "operations": len(operations),
        "operations_clean": len(operations - broken),
        "clients": len({row["client"] for row in rated} - {None}),
        "late_s": sum(row["waited_s"] - row["asked_s"] for row in rated if row["verdict"] == "late"),
        "cluster_low": None,  # there are never ten clients
        "cluster_high": None,
    }


def told(found: pd.DataFrame, by: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = found.astype(object).where(found.notna(), None).to_dict("records")
    return {tuple(row.pop(name) for name in by): row for row in rows}  # type: ignore[misc]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(wait, max_size=30), st.sampled_from([list(by) for by in combinations(COLUMNS[:7], 3)]))
def test_every_grouping_is_that_of_a_plain_loop(waits: list[dict[str, Any]], by: list[str]) -> None:
    frame = table(waits)
    expected, found = plainly(frame, by), told(compliance(frame, by), by)
    assert found.keys() == expected.keys()
    for names, row in expected.items():
        assert found[names] == pytest.approx(row, abs=1e-12)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(wait, min_size=1, max_size=30), st.sampled_from(sorted(BREAK_DOWNS)))
def test_a_break_down_loses_no_wait(waits: list[dict[str, Any]], name: str) -> None:
    whole, parts = compliance(table(waits), ["host"]), broken_down(table(waits), [name])
    verdicts = list(VERDICTS)
    assert parts[verdicts].sum().to_dict() == whole[verdicts].sum().to_dict()
    assert list(parts.columns[: len(BREAK_DOWNS[name])]) == list(BREAK_DOWNS[name])


@settings(max_examples=8, derandomize=True, deadline=None)
@given(st.lists(wait, max_size=20))
def test_every_break_down_stands_under_its_name(waits: list[dict[str, Any]]) -> None:
    every = every_break_down(table(waits))
    for name, columns in BREAK_DOWNS.items():
        mine, alone = rows(every[every["by"] == name]), rows(broken_down(table(waits), [name]))
        assert [{column: row[column] for column in alone[0]} for row in mine] == alone if alone else not mine
        others = {column for other in BREAK_DOWNS.values() for column in other} - set(columns)
        assert all(row[column] is None for row in mine for column in others)


def test_hours_begin_on_the_hour_and_an_endpoint_has_its_method_and_host() -> None:
    waits = [dict.fromkeys(COLUMNS[:3], "h") | {"client": "c", "status": 202, "operation": "o"} for _ in range(3)]
    for number, row in enumerate(waits):
        row |= {"method": "PUT", "endpoint": "/{id}", "end_us": HOUR_US - 1 + number}
        row |= {"verdict": "early", "rated": True, "asked_s": 1.0, "waited_s": 0.5}
    found = broken_down(table(waits), ["endpoint", "hour"])
    assert found[["host", "endpoint", "hour_us", "early"]].to_numpy().tolist() == [
        ["h", "PUT /{id}", 0, 1],
        ["h", "PUT /{id}", HOUR_US, 2],
    ]


def test_a_hundred_thousand_groups_are_no_loop() -> None:
    """One client a wait; every group has its one wait, in the order of the names."""
    many = 100_000
    names = np.array([f"c{number:06}" for number in range(many)])
    frame = pd.DataFrame({"client": names[::-1], "operation": names, "verdict": "kept", "rated": True})
    found = compliance(frame.assign(waited_s=1.0, asked_s=1.0), ["client"])
    assert found["client"].tolist() == names.tolist()
    assert (found["kept"] == 1).all()
    assert (found["operations_clean"] == 1).all()


# ------------------------------------------------------------------------------------- by client


def waits(*clients: tuple[str | None, int, int]) -> pd.DataFrame:
    """Rated waits of one kind: (client, kept, early)."""
    told = [
        (client, verdict)
        for client, kept, early in clients
        for verdict, count in (("kept", kept), ("early", early))
        for _ in range(count)
    ]
    table = pd.DataFrame(told, columns=["client", "verdict"])
    return table.assign(
        protocol="p", kind="k", host="h", operation=table["client"], rated=True, waited_s=1.0, asked_s=1.0
    )


def half_and_half(clients: int) -> pd.DataFrame:
    """Each client keeps to all of its ten waits or to none."""
    return waits(*((f"c{number}", 10 * (number % 2), 10 * (1 - number % 2)) for number in range(clients)))


def test_from_ten_clients_on_there_is_an_interval_by_client() -> None:
    (few,), (enough,) = rows(compliance(half_and_half(9))), rows(compliance(half_and_half(10)))
    assert (few["cluster_low"], few["cluster_high"]) == (None, None)
    assert (enough["cluster_low"], enough["cluster_high"]) == cluster_bootstrap([0, 10] * 5, [10] * 10)
    assert enough["cluster_high"] - enough["cluster_low"] > 2 * (enough["high"] - enough["low"])


@pytest.mark.parametrize(("kept", "early", "trials"), [(5, 0, (12, 12)), (0, 5, (0, 12))])
def test_where_all_clients_agree_each_is_one_trial(kept: int, early: int, trials: tuple[int, int]) -> None:
    (row,) = rows(compliance(waits(*((f"c{number}", kept, early) for number in range(12)))))
    assert (row["cluster_low"], row["cluster_high"]) == wilson(*trials)


def test_who_is_unknown_is_no_client() -> None:
    table = pd.concat([half_and_half(9), waits((None, 4, 4))], ignore_index=True)
    (row,) = rows(compliance(table))
    assert (row["clients"], row["cluster_low"]) == (9, None)


def test_the_order_of_waits_does_not_matter() -> None:
    table = half_and_half(14)
    assert compliance(table).equals(compliance(table.iloc[::-1].reset_index(drop=True)))


def test_the_text_says_which_interval_stands() -> None:
    (few,), (enough,) = rows(compliance(half_and_half(8))), rows(compliance(half_and_half(12)))
    assert rate_facts(few) == ["50 % of 80 rated waits not early", "95 % interval 39 % to 61 %"]
    assert rate_facts(enough)[1].startswith("95 % interval 2")
    assert rate_facts(enough)[1].endswith(" % by client")


def test_no_rated_wait_gives_no_interval_at_all() -> None:
    (row,) = rows(compliance(waits(("a", 1, 1)).assign(rated=False)))
    assert [row[name] for name in ("rate", "low", "cluster_low", "cluster_high")] == [None] * 4
