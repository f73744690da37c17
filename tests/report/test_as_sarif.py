"""SARIF as code scanning demands it: one result without a place, and the whole file is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from gzip import compress
from typing import Any

import pytest

from polltape.measures.analysis import Analysis
from polltape.measures.suppressions import Suppression
from polltape.report import as_sarif
from polltape.report.as_sarif import render


def _run(analysis: Analysis, **options: Any) -> dict[str, Any]:
    log = json.loads(render(analysis, **options))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    [run] = log["runs"]
    assert isinstance(run, dict)
    return run


@pytest.mark.parametrize("fixture", ["small", "empty", "hostile", "thousands"])
def test_required_properties(fixture: str, request: pytest.FixtureRequest) -> None:
    run = _run(request.getfixturevalue(fixture))
    assert run["tool"]["driver"]["name"] == "polltape"
    assert run["automationDetails"]["id"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
        assert rule["help"]["markdown"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("note", "warning", "error")
        assert result["message"]["text"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert place["region"]["startLine"] == 1
        assert not place["artifactLocation"]["uri"].startswith(("/", "."))
        assert result["partialFingerprints"]["primaryLocationLineHash"]


def test_one_result_for_each_code_and_endpoint(small: Analysis, thousands: Analysis) -> None:
    assert [result["ruleId"] for result in _run(small)["results"]] == ["OP003", "RA001", "RA002", "OP001", "ST002"], (
        "errors first"
    )
    [result] = _run(thousands)["results"]
    assert result["properties"]["count"] == 3000
    assert "(and 2999 more like it)" in result["message"]["text"]


def test_fingerprints_do_not_depend_on_the_capture(small: Analysis) -> None:
    def prints(analysis: Analysis) -> list[str]:
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in _run(analysis)["results"]]

    later = replace(small, sources=("other",), findings=small.findings.assign(at_us=0, message="other"))
    assert prints(small) == prints(later)
    assert len(set(prints(small))) == 5


@pytest.mark.parametrize(
    ("source", "uri"),
    [("captures/a b", "captures/a%20b"), ("/tmp/x.har", "x.har"), ("../x.har", "x.har"), ("/", "captures")],
)
def test_place_is_a_relative_reference(small: Analysis, source: str, uri: str) -> None:
    result = _run(replace(small, sources=(source,)))["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_place_is_the_settings_file_where_there_is_one(small: Analysis) -> None:
    result = _run(small, settings="ci/polltape.toml")["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "ci/polltape.toml"


def test_a_message_has_what_a_support_ticket_needs(small: Analysis) -> None:
    assert _run(small)["results"][1]["message"]["text"].endswith("X-Request-Id req-0005, req-0006; API version 2024-01")


def test_a_log_too_large_for_code_scanning_keeps_the_worst(small: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_sarif, "MOST_RESULTS", 1)
    one = len(compress(render(small).encode()))
    monkeypatch.undo()
    monkeypatch.setattr(as_sarif, "LARGEST", one)
    run = _run(small)
    assert [result["ruleId"] for result in run["results"]] == ["OP003"]
    assert "4 more results left out" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


def test_suppressed_findings_are_counted(small: Analysis) -> None:
    run = _run(replace(small, suppressed=((Suppression("RA", "known"), 3),)))
    [note] = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"] == "3 findings suppressed by the settings file"


def test_what_does_not_fit_is_said(small: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_sarif, "MOST_RESULTS", 2)
    run = _run(small)
    assert len(run["results"]) == 2
    [note] = run["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("3 more results left out")
