"""Suppressions hide findings by code, host and route, and each says how many."""

from __future__ import annotations

import pandas as pd
import pytest

from polltape.measures.suppressions import Suppression, suppress

CHECKOUT = "PUT /admin/api/{version}/checkouts/{token}.json"
RATES = "GET /admin/api/{version}/checkouts/{token}/shipping_rates.json"

FINDINGS = pd.DataFrame(
    [
        ("RA001", "shop.example", CHECKOUT),
        ("RA002", "shop.example", RATES),
        ("RA001", "other.example", CHECKOUT),
        ("OP003", "shop.example", CHECKOUT),
        ("OP007", None, None),
    ],
    columns=["code", "host", "endpoint"],
).astype("string")


@pytest.mark.parametrize(
    ("code", "host", "route", "hidden"),
    [
        ("RA001", "*", "*", [0, 2]),
        ("RA", "*", "*", [0, 1, 2]),
        ("ALL", "*", "*", [0, 1, 2, 3, 4]),
        ("RA001", "shop.example", "*", [0]),
        ("RA001", "SHOP.example", "*", [0]),
        ("RA001", "*.example", "*", [0, 2]),
        ("RA001", "shop.exampl", "*", []),
        ("RA001", "shopxexample", "*", []),
        ("ALL", "*", CHECKOUT, [0, 2, 3]),
        ("ALL", "*", "/admin/api/{version}/checkouts/{token}.json", [0, 2, 3]),
        ("ALL", "*", "/admin/*/checkouts/*", [0, 1, 2, 3]),
        ("ALL", "*", "GET /admin/*", [1]),
        ("ALL", "*", "/admin/api/{version}", []),
        ("OP007", "shop.example", "*", []),
    ],
)
def test_what_is_hidden(code: str, host: str, route: str, hidden: list[int]) -> None:
    left, [(_, count)] = suppress(FINDINGS, [Suppression(code, "why", host, route)])
    expected = FINDINGS.drop(index=hidden).reset_index(drop=True)
    pd.testing.assert_frame_equal(left, expected)
    assert count == len(hidden)


def test_the_first_that_fits_counts_it() -> None:
    one, two = Suppression("RA001", "a"), Suppression("RA", "b")
    left, told = suppress(FINDINGS, [one, two])
    assert [count for _, count in told] == [2, 1]
    assert left["code"].tolist() == ["OP003", "OP007"]


def test_without_findings_nothing_is_hidden() -> None:
    left, told = suppress(FINDINGS.iloc[:0], [Suppression("ALL", "a", "h", "/r")])
    assert left.empty
    assert [count for _, count in told] == [0]


@pytest.mark.parametrize(
    ("suppression", "text"),
    [
        (Suppression("RA", "w"), "RA everywhere"),
        (Suppression("RA", "w", "h"), "RA at h"),
        (Suppression("RA", "w", "h", "GET /x"), "RA at GET /x h"),
    ],
)
def test_told(suppression: Suppression, text: str) -> None:
    assert suppression.told() == text
