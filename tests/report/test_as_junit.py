"""JUnit XML: a failed case for each code and endpoint, one passing case where all is clean."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import fromstring

from polltape.measures.analysis import Analysis
from polltape.measures.suppressions import Suppression
from polltape.report.as_junit import render


def test_a_failure_for_each_code_and_endpoint(small: Analysis) -> None:
    suites = fromstring(render(small))
    [suite] = suites
    assert (suite.get("tests"), suite.get("failures")) == ("5", "5")
    case = suite[0]
    assert case.get("classname") == "GET /admin/api/{version}/checkouts/{token}.json shop.example"
    assert case.get("name") == "RA001: asked to wait, came back early"
    assert "X-Request-Id req-0005, req-0006" in (case[0].text or "")


def test_a_clean_capture_passes_one_case(empty: Analysis) -> None:
    [suite] = fromstring(render(empty))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "0")
    assert [list(case) for case in suite] == [[]]


def test_a_suppression_is_a_skipped_case_with_its_reason(empty: Analysis) -> None:
    hidden = Suppression("RA001", "the old importer", host="shop.example", where="polltape.toml:3")
    [suite] = fromstring(render(replace(empty, suppressed=((hidden, 2), (Suppression("OP", "no"), 0)))))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "0", "1")
    case = suite[0]
    assert (case.get("classname"), case.get("name")) == ("polltape.toml:3", "RA001 at shop.example")
    assert case[0].get("message") == "2 findings suppressed: the old importer"


def test_thousands_are_told_in_one_case(thousands: Analysis) -> None:
    [suite] = fromstring(render(thousands))
    [case] = suite
    assert (case[0].text or "").endswith("… and 2980 more")


def test_what_xml_cannot_hold_is_replaced(hostile: Analysis) -> None:
    [suite] = fromstring(render(hostile))
    assert suite[0][0].get("message", "").startswith("<script>alert(1)</script>\ufffd[2J")
