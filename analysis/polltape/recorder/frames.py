"""What comes through the pipe from the addon: frames, read until its other end is gone.

The format is the addon's (``addon_record.py``): a prefix of length, CRC-32, running number and length of the
head, then the head in JSON and the raw bodies.  The end of the pipe inside a frame is normal (mitmproxy was
killed): what is there of it is no frame.
"""

from __future__ import annotations

import os
import select
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from polltape.exchange import Header

FRAMES_VERSION: Final = 1
PREFIX: Final = struct.Struct(">IIQI")
READ_BYTES: Final = 1 << 20
GATHER_S: Final = 0.02
"""How long frames gather in the pipe, which holds 1 MiB, before they are read together."""


class BodyHead(msgspec.Struct, frozen=True):
    """``size`` on the wire, ``kept``: how many bytes follow; both None where the addon never saw the body."""

    size: int | None = None
    kept: int | None = None


class Head(msgspec.Struct, frozen=True):
    """The head of a frame.  ``kind``: start, exchange, provisional, retract, beat, rotate, stop.

    ``named`` is what the client addressed: kind of the proxy mode, whether it speaks TLS to the proxy, mitmproxy's
    scheme, host and port, and the Host header.  ``client``, ``server``: socket addresses.
    """

    kind: str
    # start, beat, rotate, stop
    wall: float = 0.0
    mono: int | list[int | None] = 0
    options: msgspec.Raw = msgspec.Raw()
    under_way: int = 0
    last: int = 0
    skipped: list[int] = []
    # exchange, provisional; of retract the number alone
    seq: int = 0
    method: str = ""
    named: tuple[str, bool, str, str, int, str | None] = ("", False, "", "", 0, None)
    target: str = ""
    http_version: str | None = None
    times: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)
    request_headers: tuple[Header, ...] = ()
    request_trailers: tuple[Header, ...] = ()
    request_body: BodyHead = BodyHead()
    status: int | None = None
    reason: str | None = None
    response_headers: tuple[Header, ...] = ()
    response_trailers: tuple[Header, ...] = ()
    response_body: BodyHead = BodyHead()
    streamed: bool = False
    error: str | None = None
    client: list[str | int] | None = None
    server: list[str | int] | None = None
    client_connection: str | None = None
    server_connection: str | None = None


class Frame(NamedTuple):
    """A whole frame: its head, and the raw bodies of request and response."""

    head: Head
    request_body: bytes
    response_body: bytes


_decoder = msgspec.json.Decoder(Head)


class FrameReader:
    """Reads frames from a pipe.  ``damaged`` counts frames lost or unreadable; ``torn``: it ended inside one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._next_number = 1
        self.damaged = 0
        self.torn = False

    def frames(self, idle_s: float = 1.0) -> Iterator[Frame | None]:
        """Every frame until the end of the pipe; None whenever nothing came for ``idle_s`` seconds."""
        while True:
            if not select.select([self._descriptor], [], [], idle_s)[0]:
                yield None
                continue
            data = os.read(self._descriptor, READ_BYTES)
            if not data:
                break
            self._buffer += data
            yield from self._whole_frames()
            if len(data) < READ_BYTES // 4:
                # Whoever sleeps here instead of waiting in the pipe is not woken by each frame: in a virtual machine
                # waking costs the traffic more than all the rest of recording.
                time.sleep(GATHER_S)
        self.torn = bool(self._buffer)

    def _whole_frames(self) -> Iterator[Frame]:
        position = 0
        view = bytes(self._buffer) if self._is_whole(0) else b""
        while self._is_whole(position):
            length, checksum, number, head_length = PREFIX.unpack_from(view, position)
            start, position = position + PREFIX.size, position + PREFIX.size + length
            frame = self._frame(view[start:position], checksum, head_length)
            self.damaged += number - self._next_number + (frame is None)
            self._next_number = number + 1
            if frame is not None:
                yield frame
        del self._buffer[:position]

    def _is_whole(self, position: int) -> bool:
        available = len(self._buffer) - position - PREFIX.size
        return available >= 0 and available >= PREFIX.unpack_from(self._buffer, position)[0]

    @staticmethod
    def _frame(payload: bytes, checksum: int, head_length: int) -> Frame | None:
        if zlib.crc32(payload) != checksum:
            return None
        try:
            head = _decoder.decode(payload[:head_length])
        except msgspec.DecodeError:
            return None
        middle = head_length + (head.request_body.kept or 0)
        return Frame(head, payload[head_length:middle], payload[middle:])
