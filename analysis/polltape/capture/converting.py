"""An opened capture into one of the formats: capture folder, Parquet, HAR, mitmproxy flows.

Nothing is half there: a file is written beside its place and renamed.  Rows that no key redacted (recorded
with redaction off) pass the redactor on their way out.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path
from typing import Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from polltape.capture.flow_export import write_flows
from polltape.capture.footers import read_ids
from polltape.capture.har_export import write_har
from polltape.capture.keys import Key
from polltape.capture.named import KINDS
from polltape.capture.ordering import STARTS
from polltape.capture.parquet import ROWS_A_GROUP, schema_with
from polltape.capture.reading import ROWS_AT_ONCE, Capture, Step, read_tables
from polltape.errors import InputError, UsageError
from polltape.exchange import Coverage, Exchange, from_table, to_table

BYTES_A_GROUP: Final = 4 * 1024 * 1024


def target_kind(out: Path, sources: Iterable[str], *, force: bool) -> str:
    """``folder``, ``parquet``, ``har`` or ``flows``; checked before anything is read.

    Raises :class:`~polltape.errors.UsageError` where the ending says nothing, or OUT is there already.
    """
    kind = "folder" if out.is_dir() or not out.suffix else KINDS.get(out.suffix.lower())
    if kind is None:
        endings = ", ".join(KINDS)
        raise UsageError(f"{out}: unknown kind to write", hint=f"end it in {endings}, or in nothing for a folder")
    if any(Path(source).resolve() == out.resolve() for source in sources):
        raise UsageError(f"{out}: cannot be read and written at once", hint="name another OUT")
    taken = any(out.iterdir()) if out.is_dir() else out.exists()
    if taken and not force:
        means = "to add to it" if kind == "folder" else "to replace it"
        raise UsageError(f"{out}: is there already", hint=f"name another OUT, or use --force {means}")
    if kind == "folder" and out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file, not a folder", hint="name another OUT")
    return kind


def write_capture(
    capture: Capture, out: Path, kind: str, *, redact: Step, observe: Step, key: Key | None = None
) -> int:
    """Write every exchange of the capture, by request start; how many.  Memory stays bounded.

    Raises InputError, UsageError.
    """
    tables = (_gated(table, redact, observe) for table in read_tables(capture))
    try:
        if kind == "folder":
            return _write_folder(out, tables, capture)
        with _published(out) as draft:
            if kind == "parquet":
                return _write_parquet(draft, tables, capture.coverage)
            if kind == "har":
                with draft.open("w", encoding="utf-8") as text:
                    return write_har(text, _rows(tables), capture.coverage, key)
            with draft.open("wb") as file:
                return write_flows(file, _rows(tables), key)
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written ({error.strerror})") from error


def _gated(table: pa.Table, redact: Step, observe: Step) -> pa.Table:
    """The rows; those that no key redacted are now."""
    if not table["key_id"].null_count:
        return table
    return to_table(row if row.key_id else observe(redact(row)) for row in from_table(table))


def _rows(tables: Iterable[pa.Table]) -> Iterator[Exchange]:
    for table in tables:
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            yield from from_table(table.slice(start, ROWS_AT_ONCE))


def _write_folder(out: Path, tables: Iterable[pa.Table], capture: Capture) -> int:
    """One file a date, of a name that the ids give: done twice it is done once.

    The rows come by request start, so that one file is open at a time; all get their names at the end.
    """
    name = f"import-{_name_of(capture)}.parquet"
    count = 0
    with ExitStack() as drafts:
        for date, parts in groupby(_by_date(tables), key=lambda dated: dated[0]):
            draft = drafts.enter_context(_published(out / f"date={date}" / name))
            count += _write_parquet(draft, (part for _, part in parts), capture.coverage)
    return count


def _name_of(capture: Capture) -> str:
    """Digest (hex) of all ids, which are read alone: the name has to stand before the first row is written."""
    ids = set(chain.from_iterable(read_ids(path) for path in capture.files))
    if capture.table is not None:
        ids.update(cast("list[str]", capture.table["exchange_id"].to_pylist()))
    return sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def _by_date(tables: Iterable[pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """The rows, which are in order, cut where a UTC day ends; each piece with its date."""
    for table in tables:
        starts = [start.astimezone(UTC).date() for start in cast("list[datetime]", table[STARTS].to_pylist())]
        at = 0
        while at < len(starts):
            end = bisect_right(starts, starts[at], at)
            yield starts[at].isoformat(), table.slice(at, end - at)
            at = end


def _write_parquet(path: Path, tables: Iterable[pa.Table], coverage: tuple[Coverage, ...]) -> int:
    schema = schema_with(coverage)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(tables):
            writer.write_table(group.replace_schema_metadata(schema.metadata))
            count += group.num_rows
    return count


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables of the size of a row group."""
    held: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= ROWS_A_GROUP or size >= BYTES_A_GROUP:
            yield pa.concat_tables(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.concat_tables(held)


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A draft beside the path that takes its name once it is whole and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
