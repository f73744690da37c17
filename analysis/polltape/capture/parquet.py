"""Exchanges into a capture folder: ``DIR/date=YYYY-MM-DD/NAME.parquet``, one row an exchange.

A file appears under its name when it is whole: it is written beside it, forced to the disk, and renamed.
The date is the UTC date of the request's start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from polltape.capture.coverage import coverage_json
from polltape.exchange import SCHEMA, Coverage, Exchange, to_table

COVERAGE_KEY: Final = b"polltape.coverage"
ROWS_A_GROUP: Final = 5_000
BYTES_A_GROUP: Final = 16 * 1024 * 1024
PAGE_BYTES: Final = 8 * 1024 * 1024
"""Compression sees one page at a time, and what is alike in bodies and headers stands far apart."""
LEVEL: Final = 9
"""Of zstd: a fifth smaller than the usual level, for 50 µs of processor time an exchange in the background."""
_DISTINCT: Final = ("exchange_id", "request_body.content", "response_body.content")


def date_of(exchange: Exchange) -> str:
    """The UTC date under which the exchange is kept, ``YYYY-MM-DD``."""
    return exchange.request_started_at.strftime("%Y-%m-%d")


def _weight(exchange: Exchange) -> int:
    return 2_000 + len(exchange.request_body.content or b"") + len(exchange.response_body.content or b"")


def _groups(exchanges: Iterable[Exchange]) -> Iterator[list[Exchange]]:
    """Lists of exchanges that fit into memory as one row group."""
    group: list[Exchange] = []
    weight = 0
    for exchange in exchanges:
        group.append(exchange)
        weight += _weight(exchange)
        if len(group) >= ROWS_A_GROUP or weight >= BYTES_A_GROUP:
            yield group
            group, weight = [], 0
    if group:
        yield group


def schema_with(coverages: Iterable[Coverage]) -> pa.Schema:
    """:data:`polltape.exchange.SCHEMA` with the coverage in its metadata, so that a copied file has it."""
    metadata = dict(SCHEMA.metadata or {})
    encoded = b"[" + b",".join(coverage_json(coverage) for coverage in coverages) + b"]"
    return SCHEMA.with_metadata({**metadata, COVERAGE_KEY: encoded})


def coverage_of_file(metadata: dict[bytes, bytes] | None) -> list[Coverage]:
    """The coverage that a Parquet file carries in its footer (``read_schema(path).metadata``)."""
    try:
        return msgspec.json.decode((metadata or {}).get(COVERAGE_KEY, b"[]"), type=list[Coverage])
    except msgspec.DecodeError:
        return []


@cache
def _layout() -> dict[str, Any]:
    """How :mod:`pyarrow.parquet` lays the columns out.

    Instants, clocks and sizes as differences; a dictionary for the others but for those whose values are all
    different; statistics, by which readers pass over row groups, only for columns that are no part of another.
    """
    empty = BytesIO()
    pq.write_table(SCHEMA.empty_table(), empty)
    schema = pq.read_metadata(empty).schema
    columns = {schema.column(place).path: schema.column(place) for place in range(len(schema.names))}
    deltas = {path for path, column in columns.items() if column.physical_type == "INT64"}
    lists = {path for path in columns if ".list." in path}
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "data_page_size": PAGE_BYTES,
        "column_encoding": dict.fromkeys(sorted(deltas - lists), "DELTA_BINARY_PACKED"),
        "use_dictionary": [path for path in columns if path not in (deltas - lists) and path not in _DISTINCT],
        "write_statistics": [path for path in columns if "." not in path],
    }


class _PartWriter:
    """One file under a name that readers do not look at; ``publish`` gives it its own."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._temporary, schema, **_layout())
        self._schema = schema

    def write(self, exchanges: list[Exchange]) -> None:
        self._writer.write_table(to_table(exchanges).replace_schema_metadata(self._schema.metadata))

    def publish(self) -> None:
        self._writer.close()
        _sync(self._temporary)
        self._temporary.replace(self.path)
        _sync(self.path.parent)

    def discard(self) -> None:
        """Remove what was not published."""
        with suppress(OSError):
            self._writer.close()
        self._temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_exchanges(
    directory: Path, name: str, exchanges: Iterable[Exchange], coverages: Iterable[Coverage] = ()
) -> list[Path]:
    """Write the exchanges as ``NAME.parquet`` under each date that they touch; the paths.

    Memory stays bounded by one row group a date.  A file of that name is replaced: done twice, it is done
    once.  Raises OSError; nothing half-written is left under a name that readers look at.
    """
    schema = schema_with(coverages)
    parts: dict[str, _PartWriter] = {}
    with ExitStack() as stack:
        for group in _groups(exchanges):
            for date, rows in _by_date(group).items():
                if date not in parts:
                    parts[date] = _PartWriter(directory / f"date={date}" / f"{name}.parquet", schema)
                    stack.callback(parts[date].discard)
                parts[date].write(rows)
        for part in parts.values():
            part.publish()
    return [part.path for part in parts.values()]


def _by_date(exchanges: Iterable[Exchange]) -> dict[str, list[Exchange]]:
    dates: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        dates.setdefault(date_of(exchange), []).append(exchange)
    return dates
