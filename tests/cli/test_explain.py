"""``polltape explain``: a code's page, all pages, or the list of codes."""

from __future__ import annotations

import json

import pytest

from polltape.cli import main
from polltape.measures.codes import CODES


def test_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "RA001"]) == 0
    assert capsys.readouterr().out.startswith("# RA001: asked to wait, came back early\n")


def test_all_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--all"]) == 0
    out = capsys.readouterr().out
    assert [line[2:7] for line in out.splitlines() if line.startswith("# ")] == list(CODES)


def test_without_a_code_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CODES)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "op003", "--format", "json"]) == 0
    [explained] = json.loads(capsys.readouterr().out)
    assert (explained["code"], explained["fault"], explained["per"]) == ("OP003", "client", "operation")


@pytest.mark.parametrize("arguments", [["RA01"], ["--all", "RA001"]])
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
