"""The forms that are one line a finding or a place: concise, github, json-lines, and the counts by code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from polltape.errors import UsageError
from polltape.measures.analysis import Analysis
from polltape.measures.suppressions import Suppression
from polltape.report import as_concise, as_github, as_statistics
from polltape.report.as_json import to_json_lines

HIDDEN = ((Suppression("CQ", "the queue is tested elsewhere"), 7),)


def test_concise_is_one_line_a_finding_and_the_sum(small: Analysis) -> None:
    *lines, total = as_concise.render(small).splitlines()
    assert len(lines) == len(small.findings)
    assert lines[0] == (
        "2026-11-23T08:00:10.600000Z shop.example GET /admin/api/{version}/checkouts/{token}.json: "
        "RA001 asked to wait 1 s ('1'), came back after 0.4 s: 0.6 s too early; "
        "X-Request-Id req-0005, req-0006; API version 2024-01"
    )
    assert total == "5 findings: 4 client, 1 server"


def test_nothing_found_is_said(empty: Analysis) -> None:
    assert as_concise.render(empty) == "no finding\n"
    assert as_concise.total(replace(empty, suppressed=HIDDEN)) == "no finding; 7 suppressed"


def test_a_recorded_line_break_makes_no_second_line(hostile: Analysis) -> None:
    bad = replace(hostile, findings=hostile.findings.assign(message="one\ntwo\x1b[2J"))
    assert len(as_concise.render(bad).splitlines()) == 2
    assert not set(as_concise.render(bad)) & {"\x1b", "\u202e"}


def test_github_annotates_the_worst_first(small: Analysis) -> None:
    *lines, total = as_github.render(small, settings="polltape.toml").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", *["::warning"] * 4]
    assert lines[1] == (
        "::warning file=polltape.toml,line=1,title=RA001%3A asked to wait%2C came back early"
        "::GET /admin/api/{version}/checkouts/{token}.json shop.example: "
        "asked to wait 1 s ('1'), came back after 0.4 s: 0.6 s too early; "
        "X-Request-Id req-0005, req-0006; API version 2024-01"
    )
    assert total == "5 findings: 4 client, 1 server"


def test_nothing_recorded_makes_a_workflow_command(hostile: Analysis) -> None:
    bad = "100 %\n::stop-commands::x"
    lines = as_github.render(replace(hostile, findings=hostile.findings.assign(message=bad))).splitlines()
    assert len(lines) == 2
    assert "100 %25\ufffd::stop-commands" in lines[0]


def test_json_lines_are_the_rows_of_the_json(small: Analysis) -> None:
    found = [json.loads(line) for line in to_json_lines(small, "findings").splitlines()]
    assert [row["code"] for row in found] == small.findings["code"].tolist()
    assert found[0]["endpoint"] == "GET /admin/api/{version}/checkouts/{token}.json"
    assert (found[-1]["host"], found[-1]["endpoint"]) == (None, None)
    assert len(to_json_lines(small, "waits").splitlines()) == len(small.waits)


def test_statistics(thousands: Analysis, small: Analysis) -> None:
    assert as_statistics.render(thousands, "text") == (
        "3000  RA001  client   asked to wait, came back early\n3000 findings: 3000 client\n"
    )
    found = json.loads(as_statistics.render(small, "json"))
    assert [(row["code"], row["count"]) for row in found] == [
        ("OP001", 1),
        ("OP003", 1),
        ("RA001", 1),
        ("RA002", 1),
        ("ST002", 1),
    ]
    assert as_statistics.render(small, "csv").splitlines()[1] == (
        "OP001,server,1,stuck: pending for longer than it should take"
    )
    assert [json.loads(line) for line in as_statistics.render(small, "json-lines").splitlines()] == found


def test_statistics_have_no_page(small: Analysis) -> None:
    with pytest.raises(UsageError, match="no form 'html'"):
        as_statistics.render(small, "html")
