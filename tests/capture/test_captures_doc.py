"""The lines in the handbook that read a capture without polltape do read it."""

from __future__ import annotations

import glob
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from polltape.capture.coverage import Session, write_session
from polltape.capture.parquet import write_exchanges
from polltape.exchange import Coverage, Exchange

PAGE = Path(__file__).parents[2] / "docs" / "captures.md"
LINES = dict(re.findall(r"^\| (\w+) \| `(.+\(.+)` \|$", PAGE.read_text(), re.MULTILINE))


@pytest.mark.parametrize("program", ["DuckDB", "pandas"])
def test_a_capture_is_read_in_one_line(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [Exchange(f"id{n}", "GET", "http", "h.example", 80, "/", now, status=200) for n in range(3)]
    write_exchanges(tmp_path / "captures", "one", rows)
    write_session(tmp_path / "captures", Session(Coverage("s", now, now)))
    monkeypatch.chdir(tmp_path)
    found = eval(LINES[program], {"duckdb": duckdb, "pd": pd, "glob": glob})
    assert len(found) == 3


def test_every_program_promised_has_its_line() -> None:
    assert list(LINES) == ["DuckDB", "pandas", "Polars", "Spark"]
