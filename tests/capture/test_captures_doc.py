"""The lines in the handbook that read a capture without polltape do read it, also while it is being written."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pytest

from polltape.capture.converting import write_capture
from polltape.capture.coverage import Session, write_session
from polltape.capture.keys import Key
from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import open_capture
from polltape.capture.redaction import Redactor
from polltape.exchange import SCHEMA, Body, Coverage, Exchange, Header
from polltape.protocols import observe

PAGE = Path(__file__).parents[2] / "docs" / "captures.md"
LINES = dict(re.findall(r"^\| (\w+) \| `(.+\(.+\))` \|$", PAGE.read_text(), re.MULTILINE))
NOW = datetime(2026, 3, 1, 22, tzinfo=UTC)
HERE = ["DuckDB", "pandas", "pyarrow"]


def rows(first: int, count: int) -> list[Exchange]:
    return [
        Exchange(
            f"id{number}",
            "GET",
            "http",
            "h.example",
            80,
            "/",
            NOW + timedelta(minutes=10 * number),
            status=200,
            request_headers=(Header("a", "b"), Header("a", "c")),
            response_body=Body(2, 2, b"{}"),
            session_id="s",
        )
        for number in range(first, first + count)
    ]


def run(program: str) -> int:
    return len(eval(LINES[program], {"duckdb": duckdb, "pd": pd, "ds": ds}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A capture folder of two days as a recorder leaves it in the middle of its work."""
    captures = tmp_path / "captures"
    write_exchanges(captures, "one", rows(0, 20), [Coverage("s", NOW, NOW)])
    write_session(captures, Session(Coverage("s", NOW, NOW)))
    (captures / ".spool").mkdir()
    (captures / ".spool" / "s.spool").write_bytes(b"half a record")
    (captures / "date=2026-03-01" / ".two.parquet.99.tmp").write_bytes(b"PAR1 half")
    monkeypatch.chdir(tmp_path)
    return captures


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("program", HERE)
def test_a_capture_is_read_in_one_line(program: str) -> None:
    assert run(program) == 20


@pytest.mark.parametrize("program", HERE)
def test_so_is_one_that_polltape_converted(program: str, folder: Path) -> None:
    redact = Redactor(Key.of(b"k" * 32)).redact
    capture = open_capture([folder], redact=redact, observe=observe)
    assert write_capture(capture, folder.with_name("new"), "folder", redact=redact, observe=observe) == 20
    folder.rename(folder.with_name("old"))
    folder.with_name("new").rename(folder)
    assert run(program) == 20


def test_the_columns_are_those_of_the_schema_and_the_date(folder: Path) -> None:
    for names in (list(pd.read_parquet(folder)), ds.dataset(folder, partitioning="hive").schema.names):
        assert names == [*SCHEMA.names, "date"]
    assert set(pd.read_parquet(folder)["date"].astype(str)) == {"2026-03-01", "2026-03-02"}


@pytest.mark.parametrize("program", HERE)
def test_while_it_is_written_only_whole_files_are_seen(program: str, folder: Path) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(2, 26):
            write_exchanges(folder, f"file-{number}", rows(0, 10), [Coverage("s", NOW, NOW)])
            write_session(folder, Session(Coverage("s", NOW, NOW + timedelta(minutes=number))))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    counts = [run(program)]
    while not done.is_set():
        counts.append(run(program))
    writer.join()
    counts.append(run(program))
    assert counts == sorted(counts)
    assert all(count % 10 == 0 for count in counts)
    assert counts[-1] == 20 + 24 * 10


def test_every_program_promised_has_its_line() -> None:
    assert list(LINES) == ["DuckDB", "pandas", "pyarrow", "Polars", "Spark"]
