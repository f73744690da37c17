"""Importing a file of another format with bounded memory: redacted and observed, row by row, into Arrow tables.

What is small stays in memory.  What is not goes, redacted already, into a private temporary folder that is
removed when the program ends: first as sorted runs, then as one Parquet file, since the import's name, a
digest of all its ids, is known only at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polltape.capture import scratch
from polltape.capture.flows import read_flows
from polltape.capture.footers import read_footer, read_unobserved
from polltape.capture.har import read_har
from polltape.capture.keys import Key
from polltape.capture.notes import Notes
from polltape.capture.ordering import in_order
from polltape.errors import InputError
from polltape.exchange import SCHEMA, Coverage, Exchange, from_table, to_table

Step = Callable[[Exchange], Exchange]
Reader = Callable[[Path, Notes, Key | None], Iterator[tuple[Exchange, bool]]]


def read_rows(path: Path, notes: Notes, _key: Key | None) -> Iterator[tuple[Exchange, bool]]:
    """The rows of a Parquet file whose footer was checked, without what protocols read in them."""
    notes.coverage += read_footer(path).coverage
    batches = (
        table.slice(start, ROWS_A_BATCH)
        for table in read_unobserved(path)
        for start in range(0, table.num_rows, ROWS_A_BATCH)
    )
    for notes.at, exchange in enumerate(chain.from_iterable(map(from_table, batches))):
        yield exchange, True


IMPORTERS: Final[dict[str, tuple[Reader, str]]] = {
    "har": (read_har, "entry"),
    "flows": (read_flows, "flow"),
    "parquet": (read_rows, "row"),
}
"""How a kind is read, and what its pieces are called; each comes with whether it is redacted already."""

ROWS_A_BATCH: Final = 250
BYTES_A_BATCH: Final = 1024 * 1024
"""Rows held as Python objects before they become an Arrow table; also the row groups of what is spooled."""
BYTES_IN_MEMORY: Final = 6 * 1024 * 1024
"""Arrow tables of one import that are held before they become a sorted run on the disk."""


@dataclass(frozen=True)
class Imported:
    """What was imported: ``table`` or, where that grew too large, ``file``; ``ids`` of its rows, repeats included."""

    table: pa.Table | None
    file: Path | None
    ids: list[str]
    coverage: list[Coverage]
    skipped: int
    warnings: tuple[str, ...]


def import_file(path: Path, kind: str, *, redact: Step, observe: Step, key: Key | None) -> Imported:
    """Read a HAR (``har``), mitmproxy (``flows``) or our own file: redact, then observe, each exchange as it comes.

    Raises :class:`~polltape.errors.InputError` where the file, or the temporary folder, cannot be used.
    """
    read, noun = IMPORTERS[kind]
    notes = Notes(str(path), noun)
    rows = _Rows()
    try:
        for found, redacted in read(path, notes, key):
            exchange = _taken(found, redacted, redact, observe, notes)
            if exchange is not None:
                rows.add(exchange)
        session_id = f"{kind}-{sha256('\n'.join(sorted(rows.ids)).encode()).hexdigest()[:16]}"
        table, file = rows.named(session_id)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be imported: the temporary folder fails ({error})") from error
    finally:
        rows.close()
    told = {coverage.session_id for coverage in notes.coverage}
    coverage = [*notes.coverage, *rows.span(session_id, told, str(path))]
    if not rows.ids:
        notes.say("holds no HTTP exchange")
    elif len(rows.ids) > 2 and len(rows.starts) == 1:
        notes.say("all requests start at one instant (the export's, as Insomnia writes it): waits mean nothing")
    return Imported(table, file, rows.ids, coverage, notes.skipped, notes.warnings())


def _taken(found: Exchange, redacted: bool, redact: Step, observe: Step, notes: Notes) -> Exchange | None:
    """The row as it may be stored; None, and counted, where the redactor fails on it: better lost than leaked."""
    try:
        exchange = found if redacted else redact(found)
    except Exception as error:  # whatever a foreign file makes it stumble over
        notes.leave_out(f"it could not be redacted ({type(error).__name__})", notes.at)
        return None
    try:
        return observe(exchange)
    except Exception as error:  # a protocol, perhaps the user's own: the row is kept all the same
        notes.odd(f"could not be read by the protocols ({type(error).__name__}), so no operation has it", notes.at)
        return exchange


@dataclass
class _Rows:
    """Rows on their way: Python objects, then Arrow tables, then sorted runs on the disk."""

    ids: list[str] = field(default_factory=list)
    starts: set[datetime] = field(default_factory=set)
    spans: dict[str | None, tuple[datetime, datetime]] = field(default_factory=dict)
    _batch: list[Exchange] = field(default_factory=list)
    _weight: int = 0
    _tables: list[pa.Table] = field(default_factory=list)
    _runs: Path | None = None
    _writer: pa.RecordBatchFileWriter | None = None

    def add(self, row: Exchange) -> None:
        self.ids.append(row.exchange_id)
        if len(self.starts) < 2:
            self.starts.add(row.request_started_at)
        first, last = self.spans.get(row.session_id, (row.request_started_at, row.last_instant))
        self.spans[row.session_id] = min(first, row.request_started_at), max(last, row.last_instant)
        self._batch.append(row)
        self._weight += len(row.request_body.content or b"") + len(row.response_body.content or b"")
        if len(self._batch) >= ROWS_A_BATCH or self._weight >= BYTES_A_BATCH:
            self._to_arrow()

    def span(self, session_id: str, told: set[str], source: str) -> list[Coverage]:
        """What the rows of no session that was told of cover: first request's start to last response's end."""
        spans = [span for session, span in self.spans.items() if session not in told]
        if not spans:
            return []
        start, end = min(first for first, _ in spans), max(last for _, last in spans)
        return [Coverage(session_id, start, max(start, end), source=source)]

    def named(self, session_id: str) -> tuple[pa.Table | None, Path | None]:
        """All rows, those of no session with this one: in memory, or as a Parquet file."""
        self._to_arrow()
        if self._writer is None or self._runs is None:
            tables = self._tables or [SCHEMA.empty_table()]
            return in_order(_with_session(pa.concat_tables(tables), session_id)), None
        self._spool()
        self._writer.close()
        file = self._runs.with_suffix(".parquet")
        with (
            pa.OSFile(str(self._runs), "rb") as source,
            pa.ipc.open_file(source) as runs,
            pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
        ):
            for index in range(runs.num_record_batches):
                writer.write_table(_with_session(pa.Table.from_batches([runs.get_batch(index)]), session_id))
        return None, file

    def close(self) -> None:
        """Remove the runs."""
        if self._writer is not None:
            self._writer.close()
        if self._runs is not None:
            self._runs.unlink(missing_ok=True)

    def _to_arrow(self) -> None:
        if self._batch:
            self._tables.append(to_table(self._batch))
            self._batch, self._weight = [], 0
        if sum(table.nbytes for table in self._tables) >= BYTES_IN_MEMORY:
            self._spool()

    def _spool(self) -> None:
        """What is in memory as one more sorted run, in batches of the size of a row group."""
        if not self._tables:
            return
        run = in_order(pa.concat_tables(self._tables)).combine_chunks()
        self._tables = []
        if self._writer is None:
            self._runs = scratch.folder() / f"import-{next(_NUMBERS)}.arrow"
            self._writer = pa.ipc.new_file(str(self._runs), SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        rows = max(1, run.num_rows * BYTES_A_BATCH // max(run.nbytes, 1))
        for batch in run.to_batches(max_chunksize=rows):
            self._writer.write_batch(batch)


def _with_session(table: pa.Table, session_id: str) -> pa.Table:
    column = SCHEMA.get_field_index("session_id")
    named = pc.fill_null(table.column(column), pa.scalar(session_id))
    return table.set_column(column, SCHEMA.field(column), cast("pa.ChunkedArray[Any]", named))


_NUMBERS: Final = count(1)
