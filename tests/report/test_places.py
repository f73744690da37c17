"""Findings by code and endpoint, in the order of the handbook."""

from __future__ import annotations

from polltape.measures.analysis import Analysis
from polltape.report.places import places

GET = "GET /admin/api/{version}/checkouts/{token}.json"


def test_the_place_is_that_of_the_exchange_a_finding_is_about(small: Analysis) -> None:
    found = {place.code: (place.host, place.endpoint) for place in places(small)}
    assert found["RA001"] == ("shop.example", GET)
    assert found["OP003"] == ("shop.example", GET.replace("GET", "PUT"))
    assert found["ST002"] == ("", ""), "its exchanges are not in this timeline"


def test_order_does_not_depend_on_that_of_the_findings(small: Analysis) -> None:
    turned = small.findings.iloc[::-1].reset_index(drop=True)
    other = Analysis(**{name: getattr(small, name) for name in Analysis.__slots__} | {"findings": turned})
    assert [place.code for place in places(other)] == [place.code for place in places(small)]


def test_lines_hold_what_a_support_ticket_needs(small: Analysis) -> None:
    [line] = places(small)[0].lines()
    assert line == (
        "2026-11-23 08:00:10.600 UTC: asked to wait 1 s ('1'), came back after 0.4 s: 0.6 s too early; "
        "operation shopify-checkout:x2-0; X-Request-Id req-0005, req-0006; API version 2024-01"
    )
