"""CSV: the keys of the JSON as head, a row a line, nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
from dataclasses import replace
from io import StringIO

import pytest

from polltape.measures.analysis import Analysis
from polltape.report import TABLES as CHOICES
from polltape.report import render as rendered
from polltape.report.as_csv import render
from polltape.report.as_json import TABLES


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


@pytest.mark.parametrize("table", TABLES)
def test_every_table(busy: Analysis, table: str) -> None:
    found = _read(render(busy, table))
    assert len(found) == len(getattr(busy, table))
    assert list(found[0]) == list(TABLES[table])


def test_the_command_line_knows_every_table() -> None:
    assert set(CHOICES) == set(TABLES)


def test_operations_are_the_default(small: Analysis) -> None:
    polite, _, _, stuck = _read(rendered(small, "csv"))
    assert (polite["duration_s"], polite["statuses"]) == ("7.9", "202 202 202 200")
    assert polite["truncated"] == "false"
    assert (stuck["duration_s"], stuck["ended_at"], stuck["statuses"]) == ("", "", "202 202 none 202")


@pytest.mark.parametrize(
    ("raw", "cell"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-5", "-5"), ("+3", "+3"), ("-5;=1", "'-5;=1"), ("\t=1", "'\t=1")],
)
def test_formulas_are_disarmed_numbers_kept(small: Analysis, raw: str, cell: str) -> None:
    waits = small.waits.assign(raw=raw)
    assert _read(render(replace(small, waits=waits), "waits"))[0]["raw"] == cell


def test_line_breaks_and_quotes_survive(small: Analysis) -> None:
    waits = small.waits.assign(raw='a "b",\nc')
    assert _read(render(replace(small, waits=waits), "waits"))[0]["raw"] == 'a "b",\nc'
