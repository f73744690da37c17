"""Parquet files of a capture, judged by their footers before anyone queries them.

A query engine reads a file of other columns in silence, and says of a broken one many lines: here each
fault is one line that names the file, what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polltape.capture.ordering import STARTS, Part
from polltape.capture.parquet import coverage_of_file
from polltape.errors import InputError, first_line
from polltape.exchange import OBSERVED, SCHEMA, SCHEMA_VERSION, Coverage

VERSION_KEY: Final = b"polltape.schema"

_INSTANTS: Final = (STARTS, "request_ended_at", "response_started_at", "response_ended_at")
KEPT: Final = frozenset(SCHEMA.names) - {"digest_ok", *OBSERVED}
"""What files of every schema have and is never read anew."""
_MAGIC: Final = b"PAR1"
_REWRITTEN: Final = "name the files as polltape wrote them; another program's copy of them lacks what it needs"


class Footer(NamedTuple):
    """What a footer says.  ``coverage`` is empty where it carries none; ``older``: of an older schema."""

    coverage: list[Coverage]
    older: bool


def read_footer(path: Path) -> Footer:
    """What the footer says; the file is sound as far as that goes.

    Raises :class:`~polltape.errors.InputError`: no Parquet, cut off, no capture, a newer version, columns
    missing or of another type.
    """
    _check_ends(path)
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: its Parquet footer cannot be read ({first_line(error)})") from error
    older = _version(path, schema) < SCHEMA_VERSION
    _check_columns(path, schema, older=older)
    return Footer(coverage_of_file(schema.metadata), older)


def read_parts(path: Path) -> list[Part]:
    """The row groups of a file whose footer was checked, each to be read when it is wanted.

    Raises :class:`~polltape.errors.InputError`, also from ``load``, where the file is damaged.
    """
    with damage(path), pq.ParquetFile(path) as file:
        firsts = [file.read_row_group(group, columns=[STARTS])[STARTS] for group in range(file.num_row_groups)]
        if any(column.null_count for column in firsts):
            raise InputError(f"{path}: not a capture: a row without {STARTS}", hint=_REWRITTEN)
        return [
            Part(pc.min(column).as_py(), partial(_read_group, path, group))
            for group, column in enumerate(firsts)
            if len(column)
        ]


def _read_group(path: Path, group: int) -> pa.Table:
    """One row group, in the columns of :data:`~polltape.exchange.SCHEMA` and no others."""
    with damage(path), pq.ParquetFile(path) as file:
        table = file.read_row_group(group, columns=SCHEMA.names)
        return pa.Table.from_arrays([table[name] for name in SCHEMA.names], schema=SCHEMA)


def read_unobserved(path: Path) -> Iterator[pa.Table]:
    """The rows of a file of this schema or an older one without :data:`~polltape.exchange.OBSERVED`.

    Raises :class:`~polltape.errors.InputError` where the file is damaged.
    """
    with damage(path), pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name in SCHEMA.names and name not in OBSERVED]
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=names)


def read_ids(path: Path) -> Iterator[str]:
    """The id of every row.  Raises :class:`~polltape.errors.InputError` where the file is damaged."""
    with damage(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["exchange_id"]):
            yield from cast("list[str]", batch.column(0).to_pylist())


def read_spans(path: Path) -> Iterator[tuple[str | None, datetime, datetime]]:
    """Of each row group's sessions: the first request's start and the last instant that is known."""
    with damage(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["session_id", *_INSTANTS])
            last = pc.coalesce(*(rows[name] for name in reversed(_INSTANTS)))
            spans = pa.Table.from_arrays([rows["session_id"], rows[STARTS], last], names=["session", "start", "end"])
            for row in spans.group_by("session").aggregate([("start", "min"), ("end", "max")]).to_pylist():
                start, end = row["start_min"].astimezone(UTC), row["end_max"].astimezone(UTC)
                yield row["session"], start, max(start, end)


@contextmanager
def damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: damaged behind a sound footer ({first_line(error)})") from error


def _check_ends(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(max(0, size - 4))
            tail = file.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not size:
        raise InputError(f"{path}: empty (0 bytes), not a Parquet file", hint="remove it, or recover the recording")
    if head != _MAGIC:
        raise InputError(f"{path}: not a Parquet file", hint="name a file that polltape wrote")
    if size < 12 or tail != _MAGIC:
        raise InputError(f"{path}: cut off: a Parquet file, but its end is missing", hint="copy it again, or remove it")


def _version(path: Path, schema: pa.Schema) -> int:
    text = (schema.metadata or {}).get(VERSION_KEY)
    if text is None:
        raise InputError(f"{path}: not a capture: its footer names no {VERSION_KEY.decode()} version", hint=_REWRITTEN)
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"{path}: not a capture: its footer names no valid {VERSION_KEY.decode()} version")
    if int(text) > SCHEMA_VERSION:
        raise InputError(
            f"{path}: written with schema {int(text)}, newer than the {SCHEMA_VERSION} that this polltape reads",
            hint="install a newer polltape",
        )
    return int(text)


def _check_columns(path: Path, schema: pa.Schema, *, older: bool) -> None:
    """All columns, of the right types; an older file needs only those that are not read anew."""
    names = set(schema.names)
    needed = [field for field in SCHEMA if not older or field.name in KEPT]
    missing = [field.name for field in needed if field.name not in names]
    if missing:
        raise InputError(f"{path}: not a capture: it lacks {_listed(missing)}", hint=_REWRITTEN)
    other = [f"{f.name} ({schema.field(f.name).type})" for f in needed if schema.field(f.name).type != f.type]
    if other:
        raise InputError(f"{path}: not a capture: of another type: {_listed(other)}", hint=_REWRITTEN)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more columns" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
