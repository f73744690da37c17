"""GitLab Code Quality: the properties that its documentation requires, one issue for each code and endpoint."""

from __future__ import annotations

import json

import pytest

from polltape.measures.analysis import Analysis
from polltape.report.as_gitlab import render


@pytest.mark.parametrize("fixture", ["small", "empty", "hostile", "thousands"])
def test_required_properties(fixture: str, request: pytest.FixtureRequest) -> None:
    issues = json.loads(render(request.getfixturevalue(fixture)))
    for issue in issues:
        assert issue["description"]
        assert issue["check_name"]
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["location"]["lines"]["begin"] == 1
        assert not issue["location"]["path"].startswith(("/", "."))
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)


def test_severity_and_ticket(small: Analysis) -> None:
    issues = {issue["check_name"]: issue for issue in json.loads(render(small, settings="polltape.toml"))}
    assert {code: issue["severity"] for code, issue in issues.items()} == {
        "RA001": "minor",
        "RA002": "minor",
        "OP001": "minor",
        "OP003": "major",
        "ST002": "minor",
    }
    assert "X-Request-Id req-0005, req-0006; API version 2024-01" in issues["RA001"]["description"]
    assert issues["RA001"]["location"]["path"] == "polltape.toml"
