"""Columns of a whole capture: as they stand in its rows, from files and tables alike, equal texts as one number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polltape.capture.narrow import read_columns, read_rows
from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import Capture
from polltape.errors import InputError
from polltape.exchange import Body, Exchange, Flaw, Instruction, Observation, Reading, to_table

COLUMNS = {
    **{name: (name,) for name in ("exchange_id", "host", "query", "status", "observations")},
    "raw": ("instruction", "raw"),
    "digest": ("request_body", "digest"),
}
TEXTS = st.sampled_from(["a", "b", "ü", ""])
KEYS = st.lists(TEXTS, max_size=2).map(tuple)
OBSERVATIONS = st.builds(
    Observation,
    protocol=TEXTS,
    kind=st.none() | TEXTS,
    role=TEXTS,
    keys=KEYS,
    issued=KEYS,
    readings=st.lists(st.builds(Reading, TEXTS, st.none() | TEXTS), max_size=2).map(tuple),
    flaws=st.lists(st.builds(Flaw, TEXTS, TEXTS), max_size=1).map(tuple),
)
EXCHANGES = st.builds(
    Exchange,
    exchange_id=TEXTS,
    method=st.just("GET"),
    scheme=st.just("https"),
    host=TEXTS,
    port=st.just(443),
    path=st.just("/"),
    request_started_at=st.just(datetime(2026, 3, 1, tzinfo=UTC)),
    query=st.none() | TEXTS,
    status=st.none() | st.integers(100, 599),
    request_body=st.builds(Body, digest=st.none() | TEXTS),
    instruction=st.none() | st.builds(Instruction, source=TEXTS, raw=TEXTS, klass=TEXTS, asked_s=st.none()),
    observations=st.lists(OBSERVATIONS, max_size=2).map(tuple),
)


def capture(files: Sequence[Path], table: pa.Table | None = None) -> Capture:
    return Capture(tuple(files), table, (), 0, (), ())


def plain(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """What the columns are to hold, told from the rows."""
    rows = to_table(exchanges).to_pylist()
    return [
        {
            **{name: row[name] for name in ("exchange_id", "host", "query", "status", "observations")},
            "raw": (row["instruction"] or {}).get("raw"),
            "digest": row["request_body"]["digest"],
        }
        for row in rows
    ]


@settings(max_examples=30)
@given(st.lists(EXCHANGES, max_size=4), st.lists(EXCHANGES, max_size=4), st.lists(EXCHANGES, max_size=4))
def test_files_and_a_table_are_read_alike_and_whole(
    tmp_path_factory: pytest.TempPathFactory, one: list[Exchange], two: list[Exchange], three: list[Exchange]
) -> None:
    folder = tmp_path_factory.mktemp("capture")
    files = [path for name, rows in (("one", one), ("two", two)) for path in write_exchanges(folder, name, rows, [])]
    found = read_columns(capture(files, to_table(three)), COLUMNS)
    assert found.to_pylist() == plain([*one, *two, *three])
    assert all(found[name].num_chunks <= 1 for name in found.column_names)
    for values in (
        found["host"].combine_chunks(),
        found["observations"].combine_chunks().flatten().field("keys").values,
    ):
        texts = values.dictionary.to_pylist()
        assert len(set(texts)) == len(texts)  # equal texts are equal numbers


@pytest.mark.parametrize("at_once", [1, 32_000_000])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EXCHANGES, max_size=4), st.lists(EXCHANGES, max_size=4), st.data())
def test_some_rows_are_read_in_their_order(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    one: list[Exchange],
    two: list[Exchange],
    data: st.DataObject,
) -> None:
    monkeypatch.setattr("polltape.capture.narrow.BYTES_AT_ONCE", at_once)
    folder = tmp_path_factory.mktemp("capture")
    files = [path for name, rows in (("one", one), ("two", two)) for path in write_exchanges(folder, name, rows, [])]
    every = [*one, *two, *one]
    rows = data.draw(st.lists(st.sampled_from(range(len(every))), max_size=6)) if every else []
    found = read_rows(capture(files, to_table(one)), COLUMNS, np.array(rows, np.int64))
    assert found.to_pylist() == plain([every[row] for row in rows])


def test_a_capture_without_sources_has_the_columns(tmp_path: Path) -> None:
    found = read_columns(capture([]), COLUMNS)
    assert (found.num_rows, found.column_names) == (0, list(COLUMNS))


def test_of_several_files_the_damaged_one_is_named(tmp_path: Path) -> None:
    row = Exchange("x", "GET", "https", "shop.example", 443, "/", datetime(2026, 3, 1, tzinfo=UTC))
    good, bad = (path for name in ("good", "bad") for path in write_exchanges(tmp_path / name, name, [row] * 50, []))
    content = bytearray(bad.read_bytes())
    content[4:600] = b"\xff" * 596
    bad.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.*: damaged behind a sound footer"):
        read_columns(capture([good, bad]), COLUMNS)
