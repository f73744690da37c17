"""HAR 1.2 files: from the file's bytes to its entries, from each entry to an exchange with a steady id.

The file is checked as a whole and cut into entries without building them (``msgspec.Raw``); each entry is
decoded only when its turn comes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from polltape.capture.extension import FIELD, coverage_told, unseal
from polltape.capture.har_entry import has_zone, read_entry
from polltape.capture.keys import Key
from polltape.capture.notes import Notes, UnusableError
from polltape.errors import InputError
from polltape.exchange import Exchange

_HINT = "export it again as HAR 1.2, or name a capture folder, a .parquet or a .mitm file"


class _Log(msgspec.Struct):
    entries: list[msgspec.Raw]
    extension: Any = msgspec.field(name=FIELD, default=None)


class _Har(msgspec.Struct):
    log: _Log


def read_har(path: Path, notes: Notes, key: Key | None = None) -> Iterator[tuple[Exchange, bool]]:
    """The exchanges of a HAR in the file's order; what is left out goes to ``notes``.

    Beside each stands whether it is redacted already: only where its seal says that we exported it under
    this key (:mod:`polltape.capture.extension`).

    Raises :class:`~polltape.errors.InputError` where the file cannot be read, is no JSON (with the
    position), or has no ``log.entries``.
    """
    seen: Counter[bytes] = Counter()
    entries, extension = _open(path)
    notes.coverage += coverage_told(extension, key)
    for index, raw in enumerate(entries):
        try:
            entry = _decode(raw)
            exchange = read_entry(entry, entry_id(entry, seen))
            yield unseal(entry, exchange, key)
        except UnusableError as error:
            notes.leave_out(str(error), index)
            continue
        except RecursionError:
            notes.leave_out("nested too deeply", index)
            continue
        if not has_zone(entry["startedDateTime"]):
            notes.odd("whose time names no zone: taken as UTC", index)


def entry_id(entry: object, seen: Counter[bytes]) -> str:
    """Digest (hex) of the canonical entry and of how many equal ones came before it.

    Canonical is the entry's JSON with sorted keys: the id is the same in every run, in whatever order the
    entries stand.
    """
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical).digest()
    seen[digest] += 1
    return hashlib.sha256(digest + str(seen[digest]).encode()).hexdigest()[:32]


def _open(path: Path) -> tuple[Sequence[Any], Any]:
    """The entries, not decoded yet, and our extension of the log."""
    data = _text_bytes(path)
    try:
        log = msgspec.json.decode(data, type=_Har).log
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Half surrogate pairs, NaN and bytes that are no UTF-8 are not JSON, yet tools write them.
        return _open_leniently(path, data)
    return log.entries, log.extension


def _decode(raw: Any) -> Any:
    if not isinstance(raw, msgspec.Raw):
        return raw
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.loads(bytes(raw).decode("utf-8", "replace"))


def _text_bytes(path: Path) -> bytes:
    """The file as UTF-8 without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # PowerShell's Out-File
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise InputError(f"{path}: not a HAR file: it is empty", hint=_HINT)
    return data


def _open_leniently(path: Path, data: bytes) -> tuple[Sequence[Any], Any]:
    try:
        document = json.loads(data.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: not a HAR file: no JSON at {where} ({error.msg})", hint=_HINT) from None
    except (RecursionError, ValueError):
        raise InputError(f"{path}: not a HAR file: its JSON is nested too deeply or out of range") from None
    log = document.get("log") if isinstance(document, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(log, dict) or not isinstance(entries, list):
        raise InputError(f"{path}: not a HAR file: it is JSON without a list log.entries", hint=_HINT)
    return entries, log.get(FIELD)
