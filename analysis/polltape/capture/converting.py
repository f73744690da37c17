"""An opened capture into one of the formats: capture folder, Parquet, HAR, mitmproxy flows.

Nothing is half there: a file is written beside its place and renamed.  Rows that no key redacted (recorded
with redaction off) pass the redactor on their way out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import batched
from pathlib import Path

import pyarrow.parquet as pq

from polltape.capture.flow_export import write_flows
from polltape.capture.har_export import write_har
from polltape.capture.keys import Key
from polltape.capture.parquet import ROWS_A_GROUP, schema_with, write_exchanges
from polltape.capture.reading import KINDS, Capture, Step, read_exchanges
from polltape.errors import InputError, UsageError
from polltape.exchange import Coverage, Exchange, to_table


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
    """Write every exchange of the capture, by request start; how many.  Raises InputError, UsageError."""
    exchanges = (_gate(exchange, redact, observe) for exchange in read_exchanges(capture))
    try:
        if kind == "folder":
            return _write_folder(out, exchanges, capture.coverage)
        with _published(out) as draft:
            if kind == "parquet":
                return _write_parquet(draft, exchanges, capture.coverage)
            if kind == "har":
                with draft.open("w", encoding="utf-8") as text:
                    return write_har(text, exchanges, capture.coverage, key)
            with draft.open("wb") as file:
                return write_flows(file, exchanges, key)
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written ({error.strerror})") from error


def _gate(exchange: Exchange, redact: Step, observe: Step) -> Exchange:
    return exchange if exchange.key_id else observe(redact(exchange))


def _write_folder(out: Path, exchanges: Iterable[Exchange], coverage: tuple[Coverage, ...]) -> int:
    rows = list(exchanges)
    name = sha256("\n".join(sorted(row.exchange_id for row in rows)).encode()).hexdigest()[:16]
    write_exchanges(out, f"import-{name}", rows, coverage)
    return len(rows)


def _write_parquet(path: Path, exchanges: Iterable[Exchange], coverage: tuple[Coverage, ...]) -> int:
    schema = schema_with(coverage)
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in batched(exchanges, ROWS_A_GROUP):
            writer.write_table(to_table(rows).replace_schema_metadata(schema.metadata))
            count += len(rows)
    return count


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A draft beside the path that takes its name once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
