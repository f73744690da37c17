from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polltape.capture import parquet
from polltape.capture.parquet import coverage_of_file, write_exchanges
from polltape.exchange import SCHEMA, Body, Coverage, Exchange, Header, from_table

AT = datetime(2026, 11, 23, 23, 59, 59, 999999, tzinfo=UTC)


def exchange(number: int, at: datetime = AT) -> Exchange:
    return Exchange(
        exchange_id=f"id{number}",
        seq=number,
        method="GET",
        scheme="https",
        host="shop.example",
        port=443,
        path="/",
        request_started_at=at,
        response_headers=(Header("a", "\xe9"), Header("a", "")),
        response_body=Body(3, 3, b"\0\xff"),
    )


def test_rows_come_back_under_their_dates(tmp_path: Path) -> None:
    exchanges = [exchange(1), exchange(2, AT + timedelta(microseconds=1)), exchange(3)]
    paths = write_exchanges(tmp_path, "name", exchanges)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "date=2026-11-23/name.parquet",
        "date=2026-11-24/name.parquet",
    ]
    first, second = (from_table(pq.ParquetFile(path).read()) for path in paths)
    assert first == [exchanges[0], exchanges[2]]
    assert second == [exchanges[1]]
    assert pq.read_schema(paths[0]).equals(SCHEMA)


def test_the_footer_has_the_coverage(tmp_path: Path) -> None:
    coverage = Coverage("s", AT, AT, clean=False, filter="~c 202", gaps=1, source="recorder")
    [path] = write_exchanges(tmp_path, "name", [exchange(1)], [coverage])
    metadata = pq.read_schema(path).metadata
    assert coverage_of_file(metadata) == [coverage]
    assert metadata[b"polltape.schema"]
    assert coverage_of_file(None) == []
    assert coverage_of_file({b"polltape.coverage": b"{"}) == []


def test_written_twice_it_is_there_once(tmp_path: Path) -> None:
    for _ in range(2):
        [path] = write_exchanges(tmp_path, "name", [exchange(1), exchange(2)])
    assert pq.read_metadata(path).num_rows == 2
    assert list(path.parent.iterdir()) == [path]


def test_large_exchanges_make_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BYTES_A_GROUP", 5_000)
    [path] = write_exchanges(tmp_path, "name", (exchange(n) for n in range(10)))
    assert pq.read_metadata(path).num_row_groups > 1
    assert [row.seq for row in from_table(pq.ParquetFile(path).read())] == list(range(10))


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_A_GROUP", 1)
    seen = []

    def breaking() -> Iterator[Exchange]:
        yield exchange(1)
        seen.extend(path for path in tmp_path.rglob("*.tmp"))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_exchanges(tmp_path, "name", breaking())
    assert len(seen) == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_no_exchange_no_file(tmp_path: Path) -> None:
    assert write_exchanges(tmp_path, "name", []) == []
    assert list(tmp_path.iterdir()) == []


def test_what_repeats_at_a_distance_is_compressed(tmp_path: Path) -> None:
    """Of 400 bodies of 25 KB each differs from the 50th before it in few bytes: more than a megabyte lies between."""
    draw = random.Random(7)
    stories = [bytearray(draw.randbytes(25_000)) for _ in range(50)]
    exchanges = []
    for number in range(400):
        body = stories[number % 50]
        body[number * 60 : number * 60 + 8] = draw.randbytes(8)
        exchanges.append(replace(exchange(number), response_body=Body(len(body), len(body), bytes(body))))
    [path] = write_exchanges(tmp_path, "name", exchanges)
    once = sum(map(len, stories))
    assert path.stat().st_size < 1.2 * once
    assert from_table(pq.ParquetFile(path).read()) == exchanges


def test_the_layout_is_one_that_readers_can_use(tmp_path: Path) -> None:
    """Clocks as differences, statistics where rows can be chosen by them, none of bodies."""
    [path] = write_exchanges(tmp_path, "name", [exchange(1), exchange(2, AT - timedelta(hours=1))])
    group = pq.read_metadata(path).row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in columns["request_started_at"].encodings
    statistics = columns["request_started_at"].statistics
    assert (statistics.min, statistics.max) == (AT - timedelta(hours=1), AT)
    assert columns["response_body.content"].statistics is None
    assert {column.compression for column in columns.values()} == {"ZSTD"}
