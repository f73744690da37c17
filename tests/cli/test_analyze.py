"""``polltape analyze``: a mistake on the command line is one line and exit status 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polltape.cli import main

SAMPLE = Path(__file__).parents[2] / "captures" / "samples"


@pytest.mark.parametrize(
    "option",
    [
        ["--tolerance", "nan"],
        ["--tolerance", "inf"],
        ["--tolerance", "-1"],
        ["--tolerance", "1e12"],
        ["--date-tolerance", "nan"],
        ["--stuck-after", "nan"],
        ["--stuck-after", "nobodys=3"],
        ["--since", "yesterday"],
        ["--since", "2026-03-02", "--until", "2026-03-01"],
        ["--since", "2026-03-02", "--until", "2026-03-02T00:00:00Z"],
        ["--table", "waits"],
        ["--table", "waits", "--format", "json"],
        ["--table", "waits", "--format", "csv", "--statistics"],
        ["--select", "RA999"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(SAMPLE), *option]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1


def test_a_selection_that_leaves_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(SAMPLE), "--host", "nobody.example", "--format", "concise"]) == 0
    told = capsys.readouterr()
    assert told.out == "no finding\n"
    assert "--host, --endpoint and --token leave no exchange of the capture" in told.err


def test_a_table_without_rows_is_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty line is no JSON object."""
    written = tmp_path / "rows.jsonl"
    nobody = ["analyze", str(SAMPLE), "--host", "nobody.example", "--format", "json-lines"]
    assert main(nobody) == 0
    assert main([*nobody, "--output", str(written)]) == 0
    assert capsys.readouterr().out == written.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("form", ["text", "html", "csv", "junit", "sarif", "gitlab", "github", "concise"])
def test_a_life_of_one_instant_has_every_form(form: str, one_instant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(one_instant), "--format", form]) == 0
    assert capsys.readouterr().out


def test_a_life_of_one_instant_is_shown(one_instant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(one_instant), "shopify-checkout"]) == 0
    assert "█" in capsys.readouterr().out


@pytest.fixture
def one_instant(tmp_path: Path) -> Path:
    """A HAR of one request that was accepted in no time."""
    url = "https://shop.example/admin/api/2024-04/checkouts/t1.json"
    entry = {
        "startedDateTime": "2026-03-01T12:00:00Z",
        "time": 0,
        "timings": {"send": 0, "wait": 0, "receive": 0},
        "request": {"method": "PUT", "url": url, "headers": []},
        "response": {"status": 202, "headers": [], "content": {}},
    }
    path = tmp_path / "instant.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}), encoding="utf-8")
    return path
