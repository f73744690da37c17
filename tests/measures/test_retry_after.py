"""Compliance by hand-made waits: rates, and whose waits they are."""

from __future__ import annotations

import pandas as pd
import pytest

from polltape.measures.retry_after import compliance
from polltape.measures.statistics import cluster_bootstrap, wilson
from polltape.report.as_text import rate_facts
from polltape.report.plain import rows


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
