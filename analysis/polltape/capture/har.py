"""HAR 1.2 files: from the file's bytes to its entries, from each entry to an exchange with a steady id.

The file is never read as a whole: :mod:`polltape.capture.har_scan` finds its entries, each is decoded when its
turn comes.  An entry that is no JSON, or longer than the bound even without its long bodies, is left out and told;
the others stand.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from polltape.capture.extension import FIELD, coverage_told, unseal
from polltape.capture.har_entry import has_zone, read_entry
from polltape.capture.har_scan import MAX_ENTRY_BYTES, Cut, Raw, TooLong, scan
from polltape.capture.keys import Key
from polltape.capture.notes import Notes, UnusableError
from polltape.exchange import Exchange

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False)


def read_har(
    path: Path, notes: Notes, key: Key | None = None, *, max_entry: int = MAX_ENTRY_BYTES
) -> Iterator[tuple[Exchange, bool]]:
    """The exchanges of a HAR in the file's order; what is left out goes to ``notes``.

    Beside each stands whether it is redacted already: only where its seal says that we exported it under
    this key (:mod:`polltape.capture.extension`).  ``max_entry``: bytes of the longest entry that is read.

    Raises :class:`~polltape.errors.InputError` where the file cannot be read, is no JSON (with the
    position), or has no ``log.entries``; possibly only after the exchanges that stand before the fault.
    """
    seen: Counter[bytes] = Counter()
    index = -1
    for what, raw in scan(path, FIELD, max_entry=max_entry):
        if what == FIELD:
            notes.coverage += coverage_told(_extension(raw), key)
            continue
        index += 1
        notes.at = index
        try:
            entry = _decode(raw, max_entry)
            exchange = read_entry(entry, entry_id(entry, seen))
            zoned = has_zone(entry["startedDateTime"])
            if isinstance(raw, Cut):
                notes.odd(f"read without a text of more than {max_entry / 2**21:g} MiB", index)
            yield unseal(entry, exchange, key)
        except UnusableError as error:
            notes.leave_out(str(error), index)
        except RecursionError:
            notes.leave_out("nested too deeply", index)
        else:
            if not zoned:
                notes.odd("whose time names no zone: taken as UTC", index)


def entry_id(entry: object, seen: Counter[bytes]) -> str:
    """Digest (hex) of the canonical entry and of how many equal ones came before it.

    Canonical is the entry's JSON with sorted keys: the id is the same in every run, in whatever order the
    entries stand.
    """
    digest = hashlib.sha256(_CANONICAL.encode(entry).encode()).digest()
    seen[digest] += 1
    return hashlib.sha256(digest + str(seen[digest]).encode()).hexdigest()[:32]


def _decode(raw: Raw, max_entry: int) -> Any:
    """The entry; raises UnusableError where it is none."""
    if isinstance(raw, TooLong):
        raise UnusableError(f"longer than {max_entry / 2**20:g} MiB")
    raw = raw.raw if isinstance(raw, Cut) else raw
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Half surrogate pairs, NaN and bytes that are no UTF-8 are not JSON, yet tools write them.
        try:
            return json.loads(raw.decode("utf-8", "replace"))
        except ValueError:
            raise UnusableError("no JSON") from None


def _extension(raw: Raw) -> Any:
    try:
        return msgspec.json.decode(raw) if isinstance(raw, bytes) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
