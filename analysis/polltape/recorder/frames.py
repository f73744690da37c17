"""What comes through the pipe from the addon: frames, read until its other end is gone.

The format is the addon's (``addon_record.py``): a prefix of length, CRC-32, running number and length of the
head, then the head (of an exchange in numbers and texts, of anything else in JSON) and the raw bodies.  The end of
the pipe inside a frame is normal (mitmproxy was killed): what is there of it is no frame.
"""

from __future__ import annotations

import os
import re
import select
import struct
import time
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate, islice, pairwise
from math import isnan
from typing import Final, NamedTuple

import msgspec

from polltape.exchange import Header

FRAMES_VERSION: Final = 3
PREFIX: Final = struct.Struct(">IIQI")
EXCHANGE: Final = struct.Struct(">B??QIIII4d4q4q4H")
"""The numbers of an exchange, as the addon documents them."""
READ_BYTES: Final = 1 << 16
"""Little at a time: on a machine with more to do than it can, what was taken may be long at work, and a helper that
takes nothing meanwhile is one that hangs."""
GATHER_S: Final = 0.02
"""How long frames gather in the pipe, which holds 1 MiB, before they are read together."""


_TEXTS: Final = 13
"""How many texts stand before the names and values of the fields."""


class BodyHead(msgspec.Struct, frozen=True):
    """``size`` on the wire, ``kept``: how many bytes follow; both None where the addon never saw the body."""

    size: int | None = None
    kept: int | None = None


class Counts(msgspec.Struct, frozen=True):
    """What a helper has counted of its session: exchanges, those kept without content, those the filter left out."""

    recorded: int = 0
    withheld: int = 0
    left_out: int = 0


class Head(msgspec.Struct, frozen=True):
    """The head of a frame.  ``kind``: start, exchange, provisional, skipped, retract, beat, rotate, stop.

    A start with a ``session`` goes on with that of a dead helper: what that counted, the ``last`` sequence number that
    was handed over to it.  ``named`` is what the client addressed: kind of the proxy mode, whether it speaks TLS to
    the proxy, mitmproxy's scheme, host and port, and the Host header.  ``client``, ``server``: socket addresses.
    """

    kind: str
    # start, beat, rotate, stop
    wall: float = 0.0
    mono: int | list[int | None] = 0
    options: msgspec.Raw = msgspec.Raw()
    under_way: int = 0
    last: int = 0
    session: str = ""
    counts: Counts = Counts()
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


@lru_cache(maxsize=4096)
def _header(name: bytes, value: bytes) -> Header:
    """Most of them are the same in every exchange."""
    unfolded = re.sub(rb"[ \t]*\r?\n[ \t]*", b" ", value) if b"\n" in value else value  # RFC 9112 §5.2
    return Header(name.decode("latin-1"), unfolded.decode("latin-1"))


def exchange_head(data: bytes) -> Head:
    """The head of an exchange; raises struct.error or ValueError where it is none."""
    numbers = EXCHANGE.unpack_from(data)
    provisional, streamed, tls, seq, status, port, client_port, server_port = numbers[:8]
    counts = numbers[20:]
    lengths = struct.unpack_from(f">{_TEXTS + 2 * sum(counts)}I", data, EXCHANGE.size)
    ends = [*accumulate(lengths, initial=EXCHANGE.size + 4 * len(lengths))]
    if ends[-1] != len(data):
        raise ValueError("the texts do not fill the head")
    texts = [data[start:end] for start, end in pairwise(ends)]
    mode, scheme, host, host_header, method, target, version, reason, *told = texts[:_TEXTS]
    error, client, server, client_connection, server_connection = [text.decode() for text in told]
    headers = map(_header, texts[_TEXTS::2], texts[_TEXTS + 1 :: 2])
    request_headers, request_trailers, response_headers, response_trailers = (
        tuple(islice(headers, count)) for count in counts
    )
    started, sent, answered, ended = [None if isnan(at) else at for at in numbers[8:12]]
    return Head(
        "provisional" if provisional else "exchange",
        mono=[None if clock < 0 else clock for clock in numbers[12:16]],
        seq=seq,
        method=method.decode("latin-1"),
        named=(mode.decode(), tls, scheme.decode("latin-1"), host.decode(), port, host_header.decode("latin-1")),
        target=target.decode("latin-1"),
        http_version=version.decode("latin-1"),
        times=(started, sent, answered, ended),
        request_headers=request_headers,
        request_trailers=request_trailers,
        request_body=_body_head(*numbers[16:18]),
        status=status or None,
        reason=reason.decode("latin-1"),
        response_headers=response_headers,
        response_trailers=response_trailers,
        response_body=_body_head(*numbers[18:20]),
        streamed=streamed,
        error=error or None,
        client=[client, client_port] if client else None,
        server=[server, server_port] if server else None,
        client_connection=client_connection,
        server_connection=server_connection,
    )


def _body_head(size: int, kept: int) -> BodyHead:
    return BodyHead(size, kept) if size >= 0 else BodyHead()


class FrameReader:
    """Reads frames from a pipe.  ``damaged`` counts frames lost or unreadable; ``torn``: it ended inside one.

    ``position``: how many bytes of the pipe are behind the end of the frame that was given last.  Frames with the
    number 0 are not counted.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._next_number = 1
        self.position = 0
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
            if len(data) < READ_BYTES:
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
            self.damaged += (number - self._next_number if number and self._next_number else 0) + (frame is None)
            self._next_number = number + 1 if number else 0
            self.position += PREFIX.size + length
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
            data = payload[:head_length]
            head = _decoder.decode(data) if data.startswith(b"{") else exchange_head(data)
        except (ValueError, struct.error):  # msgspec's errors are ValueErrors
            return None
        middle = head_length + (head.request_body.kept or 0)
        return Frame(head, payload[head_length:middle], payload[middle:])
