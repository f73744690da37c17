"""The spool: an append-only file of redacted exchanges, until they become Parquet.

A file is :data:`MAGIC` and then records: marker, length, CRC-32, kind (:data:`PREFIX`), payload in
MessagePack.  A record counts only if it is whole and its checksum holds.  After a damaged stretch reading
goes on at the next whole record; a file may end in the middle of one (the recorder was killed).
"""

from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, Literal

import msgspec

from polltape.exchange import Exchange

MAGIC: Final = b"polltape-spool/1\n"
_MAGIC_OF_ANY: Final = MAGIC[: MAGIC.index(b"1")]
MARKER: Final = b"\xf5PTR"
PREFIX: Final = struct.Struct(">4sIIB")
SUFFIX: Final = ".spool"

FsyncPolicy = Literal["never", "second", "always"]
"""When the file is forced to the disk.  The death of a process loses nothing under any of them."""


class Kind(IntEnum):
    """What a record holds.

    EXCHANGE and PROVISIONAL: an exchange; of several with one id the last counts.  RETRACT: the id of a
    provisional one that shall be no row after all.  SKIPPED: sequence numbers that the filter left out.
    """

    EXCHANGE = 1
    PROVISIONAL = 2
    RETRACT = 3
    SKIPPED = 4


_encoder = msgspec.msgpack.Encoder()
_exchange_decoder = msgspec.msgpack.Decoder(Exchange)
_retract_decoder = msgspec.msgpack.Decoder(tuple[str, int])
_skipped_decoder = msgspec.msgpack.Decoder(list[int])


class _Ident(msgspec.Struct):
    exchange_id: str
    seq: int | None = None


_ident_decoder = msgspec.msgpack.Decoder(_Ident)


def encode_exchange(exchange: Exchange) -> bytes:
    """An exchange as the payload of a record."""
    return _encoder.encode(exchange)


def encode_retract(exchange_id: str, seq: int) -> bytes:
    """The payload of a RETRACT record."""
    return _encoder.encode((exchange_id, seq))


def encode_skipped(numbers: list[int]) -> bytes:
    """The payload of a SKIPPED record."""
    return _encoder.encode(numbers)


def _checksum(kind: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, kind)


class SpoolWriter:
    """Appends records.  After an error (disk full) the file ends with its last whole record again."""

    def __init__(self, path: Path, fsync: FsyncPolicy = "second") -> None:
        self.path = path
        self.records = 0
        self.size = len(MAGIC)
        self.opened_at = time.monotonic()
        self._fsync = fsync
        self._synced_at = self._looked_at = self.opened_at
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._write(MAGIC, keep=0)
        except OSError:
            os.close(self._fd)
            path.unlink(missing_ok=True)
            raise

    def append(self, kind: Kind, payload: bytes) -> None:
        """One record, whole or not at all; raises OSError."""
        prefix = PREFIX.pack(MARKER, len(payload), _checksum(kind, payload), kind)
        self._write(prefix + payload, keep=self.size)
        self.size += len(prefix) + len(payload)
        self.records += 1
        if self._fsync == "always":
            self.sync()

    def _write(self, data: bytes, keep: int) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, keep)
            raise

    def tick(self) -> None:
        """Force to the disk what is due; to be called at least once a second or so.

        Raises OSError where the file is no more: writing to what has no name would go on without a word.
        """
        now = time.monotonic()
        if now - self._looked_at >= 1.0:
            self._looked_at = now
            self.path.stat()
        if self._fsync == "second" and now - self._synced_at >= 1.0:
            self.sync()

    def sync(self) -> None:
        """Force everything to the disk."""
        os.fsync(self._fd)
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Close the file, forced to the disk unless the policy says never."""
        try:
            if self._fsync != "never":
                self.sync()
        finally:
            os.close(self._fd)


@dataclass
class Spool:
    """What a spool file holds.

    ``payloads``: of each exchange, by id, its last state, encoded.  ``open_ids``: those of them that are
    only provisional.  ``retracted``: ids that shall be no rows.  ``seqs``: every sequence number that is
    accounted for.  ``damaged``: stretches of bytes that are no record, and records that cannot be
    understood.  ``torn``: the file ends inside a record.
    """

    payloads: dict[str, bytes] = field(default_factory=dict)
    open_ids: set[str] = field(default_factory=set)
    retracted: set[str] = field(default_factory=set)
    seqs: set[int] = field(default_factory=set)
    damaged: int = 0
    torn: bool = False

    def apply(self, kind: Kind, payload: bytes) -> None:
        """Take one record in; raises msgspec.DecodeError where it is none."""
        if kind is Kind.SKIPPED:
            self.seqs.update(_skipped_decoder.decode(payload))
        elif kind is Kind.RETRACT:
            exchange_id, seq = _retract_decoder.decode(payload)
            self.payloads.pop(exchange_id, None)
            self.open_ids.discard(exchange_id)
            self.retracted.add(exchange_id)
            self.seqs.add(seq)
        else:
            self._take(_ident_decoder.decode(payload), payload, kind is Kind.PROVISIONAL)

    def _take(self, ident: _Ident, payload: bytes, provisional: bool) -> None:
        self.payloads[ident.exchange_id] = payload
        (self.open_ids.add if provisional else self.open_ids.discard)(ident.exchange_id)
        if ident.seq is not None:
            self.seqs.add(ident.seq)

    def open_exchanges(self) -> dict[int, tuple[str, bytes]]:
        """Those that are only provisional, by sequence number: id and payload."""
        payloads = {exchange_id: self.payloads[exchange_id] for exchange_id in self.open_ids}
        return {_ident_decoder.decode(payload).seq or 0: (name, payload) for name, payload in payloads.items()}

    def exchanges(self, without: Container[str] = ()) -> Iterator[Exchange]:
        """Each exchange in its last state, in order of its first record; without the open ones named."""
        for exchange_id, payload in self.payloads.items():
            if exchange_id in self.open_ids and exchange_id in without:
                continue
            try:
                yield _exchange_decoder.decode(payload)
            except msgspec.DecodeError:
                self.damaged += 1


def records(data: bytes) -> Iterator[tuple[int, int, Kind, bytes]]:
    """Every whole record: where it begins and ends, its kind and payload."""
    position = 0
    while (position := data.find(MARKER, position)) >= 0:
        if (found := _record_at(data, position)) is not None:
            end, kind, payload = found
            yield position, end, kind, payload
            position = end
        else:
            position += 1


def _record_at(data: bytes, position: int) -> tuple[int, Kind, bytes] | None:
    start = position + PREFIX.size
    if start > len(data):
        return None
    _, length, checksum, kind = PREFIX.unpack_from(data, position)
    end = start + length
    if end > len(data) or kind not in Kind.__members__.values():
        return None
    payload = data[start:end]
    return (end, Kind(kind), payload) if _checksum(kind, payload) == checksum else None


def read_spool(path: Path) -> Spool:
    """The file's content as far as it is whole; raises OSError, also where another version of polltape wrote it.

    That is a file of which nothing is understood: one in whose version a bit flipped holds all its records.
    """
    data = path.read_bytes()
    spool = Spool()
    expected = len(MAGIC)
    if not data.startswith(MAGIC):
        spool.damaged += bool(data) and not MAGIC.startswith(data)
        expected = min(expected, len(data))
    for begin, end, kind, payload in records(data):
        try:
            spool.apply(kind, payload)
        except msgspec.DecodeError:
            continue  # whole, but not understood: counted with the bytes around it
        spool.damaged += begin > expected
        expected = end
    if expected <= len(MAGIC) and data.startswith(_MAGIC_OF_ANY) and not MAGIC.startswith(data[: len(MAGIC)]):
        raise OSError(errno.ENOTSUP, "another version of polltape wrote it", str(path))
    spool.torn = expected < len(data) or not data.startswith(MAGIC)
    return spool
