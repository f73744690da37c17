"""The bug report: one zip file with one operation, what it depends on, and what was found in it.

======================  ===================================================================================
member                  content
======================  ===================================================================================
``README.md``           what it is, and the commands to look at it and to test a fix
``bundle.json``         format version, polltape's version, the operation, its findings, coverage, waits asked
``exchanges.parquet``   the redacted exchanges, columns as in any capture
======================  ===================================================================================

A bundle comes from somebody else: it is read into memory within :data:`LIMITS`, nothing is unpacked to the
disk, no name in it becomes a path, and nothing in it is executed.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from polltape.capture.footers import KEPT
from polltape.capture.identity import CREDENTIALS
from polltape.capture.parquet import schema_with
from polltape.errors import InputError, UsageError, first_line
from polltape.exchange import OBSERVED, SCHEMA, SCHEMA_VERSION, Coverage, Exchange, from_row, to_table
from polltape.protocols import observe
from polltape.replay.case import Case, Named, Target

FORMAT: Final = 1
"""Version of the bundle's layout: raised when an older polltape could not read it rightly."""
README: Final = "README.md"
MANIFEST: Final = "bundle.json"
EXCHANGES: Final = "exchanges.parquet"
MEMBERS: Final = frozenset({README, MANIFEST, EXCHANGES})
SUFFIX: Final = ".polltape"
VERSION: Final = version("polltape")


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most, in bytes and rows; real bundles are a few kilobytes."""

    file: int = 32 * 1024 * 1024
    member: int = 64 * 1024 * 1024
    unpacked: int = 256 * 1024 * 1024
    rows: int = 20_000
    directory: int = 4096


LIMITS: Final = Limits()


class _Finding(msgspec.Struct):
    code: str
    place: str
    message: str


class _Wait(msgspec.Struct):
    exchange: str
    source: str
    raw: str
    asked_s: float | None


class _Operation(msgspec.Struct):
    id: str
    protocol: str
    kind: str | None
    outcome: str
    exchanges: list[str]


class _Manifest(msgspec.Struct):
    format: int
    polltape: str
    operation: _Operation
    findings: list[_Finding]
    coverage: list[Coverage]
    waits: list[_Wait] = []


class _Version(msgspec.Struct):
    format: int
    polltape: str = "unknown"


# --------------------------------------------------------------------------------------------- writing


def write_bundle(case: Case, path: Path, *, force: bool = False) -> None:
    """Write a case of one operation; the same case gives the same bytes.

    Raises UsageError where the file is there already and not ``force``, InputError where it cannot be written.
    """
    content = bundle_bytes(case, path.name)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already", hint="name another file, or add --force")
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="name a file that can be written") from error
    finally:
        beside.unlink(missing_ok=True)


def bundle_bytes(case: Case, name: str) -> bytes:
    """The bundle as it stands in a file of that name."""
    manifest = msgspec.json.format(msgspec.json.encode(_manifest(case))) + b"\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in (
            (README, _readme(case, name).encode()),
            (MANIFEST, manifest),
            (EXCHANGES, _parquet(case)),
        ):
            info = zipfile.ZipInfo(member)  # its date is 1980: the same case gives the same bytes
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return packed.getvalue()


def _manifest(case: Case) -> _Manifest:
    target = case.targets[0]
    return _Manifest(
        format=FORMAT,
        polltape=VERSION,
        operation=_Operation(target.operation_id, target.protocol, target.kind, target.outcome, list(target.exchanges)),
        findings=[_Finding(found.code, found.place, found.message) for found in case.findings],
        coverage=list(case.coverage),
        waits=[
            _Wait(e.exchange_id, e.instruction.source, e.instruction.raw, e.instruction.asked_s)
            for e in case.exchanges
            if e.instruction is not None
        ],
    )


def _parquet(case: Case) -> bytes:
    table = to_table(case.exchanges).replace_schema_metadata(schema_with(case.coverage).metadata)
    packed = io.BytesIO()
    pq.write_table(table, packed, compression="zstd")
    return packed.getvalue()


def _readme(case: Case, name: str) -> str:
    target = case.targets[0]
    members = [e for e in case.exchanges if e.exchange_id in target.exchanges]
    first = members[0]
    found = "\n".join(f"- {f.code}, {f.place}: {f.message}" for f in case.findings) or "- none"
    return f"""# A bug report of polltape

One asynchronous operation as it was recorded: {target.protocol}, {target.kind or "of unknown kind"}, begun by
`{first.method} {first.endpoint or first.path}` on {first.host}. It ended as: {target.outcome}.
{len(members)} exchanges are its own, {len(case.exchanges) - len(members)} more are what it depends on. Secrets and
personal data were replaced before anything was stored.

What was found:

{found}

See it happen again, look at it request by request, read about a finding:

    polltape replay {name}
    polltape explain {case.findings[0].code if case.findings else "RA001"}

Test a fix of the client: yours, run against a mock that answers as the server did then. It finds the mock in the
environment variable POLLTAPE_BASE_URL; one that has `https://{first.host}` in it gets there by HTTPS_PROXY:

    polltape replay {name} --client 'python my_client.py'

Test a fix of the server: the recorded requests, sent to a real one. Requests that change something go only to a host
that is named, and your credentials come from the environment:

    polltape replay {name} --target https://staging.example --allow-writes staging.example \\
        --header {_credential(members)}=env:TOKEN

The answer is `reproduced` (exit status 0) or `not reproduced` (exit status 1).

`exchanges.parquet` is readable by DuckDB, pandas, Polars and Spark; `bundle.json` says the rest.
Made by polltape {VERSION}, format {FORMAT}.
"""


def _credential(members: list[Exchange]) -> str:
    """The header in which the recorded client sent its credentials."""
    sent = {header.name.lower() for exchange in members for header in exchange.request_headers}
    return next((name for name in CREDENTIALS if name.lower() in sent), "Authorization")


# --------------------------------------------------------------------------------------------- reading


def is_bundle(path: Path) -> bool:
    """Whether the name says that it is a bundle."""
    return path.suffix.lower() == SUFFIX


def read_bundle(path: Path, limits: Limits = LIMITS) -> Case:
    """The case in a bundle, its exchanges observed anew.  Raises InputError for anything that is no bundle."""
    members = _members(path, _content(path, limits), limits)
    manifest = _read_manifest(path, members[MANIFEST])
    exchanges = sorted(
        (observe(exchange) for exchange in _rows(path, members[EXCHANGES], limits)),
        key=lambda e: (e.request_started_at, e.exchange_id),
    )
    operation = manifest.operation
    missing = {operation.id.rpartition(":")[2], *operation.exchanges} - {e.exchange_id for e in exchanges}
    if missing or not operation.exchanges:
        raise InputError(f"{path}: not a bundle: its {EXCHANGES} lacks exchanges of its operation {operation.id}")
    target = Target(operation.id, operation.protocol, operation.kind, operation.outcome, tuple(operation.exchanges))
    for instant in (i for c in manifest.coverage for i in (c.started_at, c.ended_at)):
        if not _YEARS[0] <= instant.year <= _YEARS[1]:
            raise InputError(f"{path}: not a bundle: its coverage is in the year {instant.year}")
    findings = [Named(operation.id, f.code, f.place, f.message) for f in manifest.findings]
    return Case(tuple(exchanges), (target,), tuple(findings), tuple(_in_utc(c) for c in manifest.coverage))


def _in_utc(coverage: Coverage) -> Coverage:
    """Instants without a zone would not compare with the exchanges'."""
    started, ended = _utc(coverage.started_at), _utc(coverage.ended_at)
    return replace(coverage, started_at=started, ended_at=max(started, ended))


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _content(path: Path, limits: Limits) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limits.file + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint="name a .polltape file") from error
    if len(content) > limits.file:
        raise InputError(f"{path}: larger than {limits.file} bytes, more than any bundle needs; not opened")
    _check_end(path, content, limits)
    return content


_END: Final = struct.Struct("<4s4H2LH")
"""End of central directory record of a zip file (APPNOTE 4.3.16)."""


def _check_end(path: Path, content: bytes, limits: Limits) -> None:
    """The zip directory must be as small as ours before anything walks through it."""
    end = content[-_END.size :]
    if len(end) < _END.size or not end.startswith(b"PK\5\6") or not content.startswith(b"PK\3\4"):
        raise InputError(f"{path}: not a bundle (no zip file, cut off, or packed again)", hint="copy it again")
    _, _, _, _, entries, size, _, _ = _END.unpack(end)
    zip64 = content[-_END.size - 20 : -_END.size].startswith(b"PK\6\7")
    if entries != len(MEMBERS) or size > limits.directory or zip64:
        raise InputError(f"{path}: not a bundle: it must hold {_names()} and nothing else")


def _names() -> str:
    return ", ".join(sorted(MEMBERS))


def _members(path: Path, content: bytes, limits: Limits) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if sorted(info.filename for info in infos) != sorted(MEMBERS):
                raise InputError(f"{path}: not a bundle: it must hold {_names()} and nothing else")
            return {info.filename: _inflated(path, archive, info, limits) for info in infos}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(f"{path}: not a bundle, or damaged ({first_line(error)})", hint="copy it again") from error


def _inflated(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: Limits) -> bytes:
    """One member, whatever size it claims: inflating stops at the limit."""
    too_large = InputError(f"{path}: {info.filename} unpacks to more than {limits.member} bytes; not read")
    if info.file_size > limits.member:
        raise too_large
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path}: not a bundle: {info.filename} is packed in a way that polltape never uses")
    with archive.open(info) as member:
        content = member.read(limits.member + 1)
    if len(content) > limits.member:
        raise too_large
    return content


def _read_manifest(path: Path, content: bytes) -> _Manifest:
    try:
        made = msgspec.json.decode(content, type=_Version)
        if made.format > FORMAT:
            raise InputError(
                f"{path}: made by a newer polltape ({made.polltape[:20]}, format {made.format}; "
                f"this one reads up to {FORMAT})",
                hint="update polltape: pip install --upgrade polltape",
            )
        if made.format < 1:
            raise InputError(f"{path}: not a bundle: its {MANIFEST} has format {made.format}")
        return msgspec.json.decode(content, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a bundle: its {MANIFEST} is broken ({first_line(error)})") from error


def _rows(path: Path, content: bytes, limits: Limits) -> Iterator[Exchange]:
    where = f"{path}: its {EXCHANGES}"
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            _check_footer(where, file, limits)
            unpacked = 0
            # A dictionary page can stand for far more than it holds: few rows at a time, and counted.
            known = [name for name in file.schema_arrow.names if name in SCHEMA.names and name not in OBSERVED]
            for batch in file.iter_batches(batch_size=8, columns=known):
                unpacked += batch.nbytes
                if unpacked > limits.unpacked:
                    raise InputError(f"{where} unpacks to more than {limits.unpacked} bytes; not read")
                yield from (_sound(from_row(row)) for row in batch.to_pylist())
    except (pa.ArrowException, OSError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{where} cannot be read ({first_line(error)})", hint="copy the bundle again") from error


def _sound(exchange: Exchange) -> Exchange:
    """The exchange, if it has all that every exchange has.  Raises ValueError."""
    texts = [exchange.exchange_id, exchange.method, exchange.scheme, exchange.host, exchange.path]
    lists = (exchange.request_headers, exchange.response_headers, exchange.request_trailers, exchange.response_trailers)
    texts += [text for headers in lists for header in headers for text in header]
    if not all(isinstance(text, str) for text in texts) or not isinstance(exchange.port, int):
        raise ValueError("a row lacks what every exchange has")
    start: datetime | None = exchange.request_started_at
    instants = (start, exchange.request_ended_at, exchange.response_started_at, exchange.response_ended_at)
    if start is None or not all(_YEARS[0] <= at.year <= _YEARS[1] for at in instants if at is not None):
        raise ValueError("a row has no instant, or one that cannot be")
    return exchange


_YEARS: Final = (1971, 2999)
"""Instants outside of these are no recording's, and nothing can be added to some of them."""


def _check_footer(where: str, file: pq.ParquetFile, limits: Limits) -> None:
    footer = file.metadata
    schema = (file.schema_arrow.metadata or {}).get(b"polltape.schema", b"")
    if not schema.isdigit() or len(schema) > 9 or int(schema) > SCHEMA_VERSION:
        raise InputError(f"{where} has schema {schema.decode('ascii', 'replace')[:20]!r}", hint="update polltape")
    sizes = [footer.row_group(number).total_byte_size for number in range(min(footer.num_row_groups, limits.rows))]
    if footer.num_rows > limits.rows or footer.num_row_groups > limits.rows or sum(sizes) > limits.unpacked:
        raise InputError(f"{where} claims {footer.num_rows} rows of {sum(sizes)} bytes, more than a bundle may hold")
    types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
    wrong = [field.name for field in SCHEMA if field.name in KEPT and types.get(field.name) != field.type]
    if wrong:
        raise InputError(f"{where} is no capture: columns missing or of another type: {', '.join(wrong[:3])}")
