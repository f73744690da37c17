"""A small HTTP/1.1 client that keeps time: connections held ready, instants taken where bytes come and go."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httptools

from polltape.errors import ServiceError
from polltape.exchange import Header, authority
from polltape.replay.carrying import Outgoing
from polltape.replay.session import Answer

ANSWER_WITHIN_S: Final = 30.0
"""A server that takes longer for an answer counts as hanging."""
CONNECT_WITHIN_S: Final = 10.0
MAX_ANSWER: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Peer:
    """Where requests go.  ``tls`` is None for plain HTTP."""

    scheme: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """``host:port``, the port left out where it is the scheme's own."""
        return authority(self.scheme, self.host, self.port)


@dataclass(slots=True)
class Received:
    """An answer, and when its first and last byte were there (``time.monotonic``)."""

    answer: Answer
    first_byte: float | None
    end: float


@dataclass(slots=True)
class _Message:
    """An answer as it comes in; httptools calls its methods."""

    done: asyncio.Future[Received]
    parser: Callable[[], httptools.HttpResponseParser]
    bodiless: bool = False
    reason: bytes = b""
    headers: list[Header] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    first_byte: float | None = None
    keep_alive: bool = False

    def on_message_begin(self) -> None:
        self.reason, self.headers, self.parts, self.size = b"", [], [], 0

    def on_status(self, status: bytes) -> None:
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append(Header(name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self.bodiless:  # the answer to a HEAD tells the length of a body that does not follow
            self.on_message_complete()
            self.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)
        self.size += len(body)
        if self.size > MAX_ANSWER:
            raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")

    def on_message_complete(self) -> None:
        status = self.parser().get_status_code()
        if status < 200 and status != 101:
            return  # 100 and 103 announce the answer, they are not it
        self.keep_alive = self.parser().should_keep_alive()
        if not self.done.done():
            answer = Answer(status, self.reason.decode("latin-1"), tuple(self.headers), b"".join(self.parts))
            self.done.set_result(Received(answer, self.first_byte, time.monotonic()))


class Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._message: _Message | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        message, parser = self._message, self._parser
        if message is None or parser is None:
            self.close()  # nobody asked
            return
        if message.first_byte is None:
            message.first_byte = time.monotonic()
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, ValueError) as error:
            self._fail(f"not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        message, parser = self._message, self._parser
        if message is None or parser is None or message.done.done():
            return
        told = {header.name.lower() for header in message.headers}
        if message.headers and not told & {"content-length", "transfer-encoding"}:
            message.on_message_complete()  # this answer ends with its connection (RFC 9112 §6.3)
        else:
            self._fail("reset: the connection was closed before the answer was whole")

    def _fail(self, reason: str) -> None:
        message = self._message
        if message is not None and not message.done.done():
            message.done.set_result(Received(Answer(None, error=reason), message.first_byte, time.monotonic()))
        self.close()

    def send(self, head: bytes, body: bytes) -> asyncio.Future[Received]:
        """Send one request (method first in ``head``); the future is its answer."""
        assert self._transport is not None
        done = asyncio.get_running_loop().create_future()
        self._message = message = _Message(done, lambda: parser, head.startswith(b"HEAD "))
        self._parser = parser = httptools.HttpResponseParser(message)
        self._transport.write(head + body)
        return done

    def is_reusable(self) -> bool:
        """Whether another request may follow on it."""
        return not self.closed and self._message is not None and self._message.keep_alive

    def close(self) -> None:
        """No more of it."""
        self.closed = True
        if self._transport is not None:
            self._transport.close()


class Client:
    """Keeps connections to one peer.  Raises ServiceError where the peer refuses or hangs."""

    def __init__(self, peer: Peer, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._peer = peer
        self._answer_within_s = answer_within_s
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    async def connection(self) -> Connection:
        """One that is free and alive, or a new one."""
        while self._idle:
            found = self._idle.pop()
            if not found.closed:
                return found
        peer = self._peer
        loop = asyncio.get_running_loop()
        where = f"{peer.scheme}://{peer.authority}"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                _, made = await loop.create_connection(Connection, peer.host, peer.port, ssl=peer.tls)
        except TimeoutError:
            raise ServiceError(f"{where} did not take a connection within {CONNECT_WITHIN_S:g} s") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(
                f"{where} cannot be reached: {reason}", hint="is it running, and is this its address?"
            ) from error
        self._all.append(made)
        return made

    async def ask(self, connection: Connection, sent: Outgoing, host: str, more: tuple[Header, ...] = ()) -> Received:
        """Send the request on the connection and wait for its answer."""
        future = connection.send(head_of(sent, host, more), sent.body)
        try:
            async with asyncio.timeout(self._answer_within_s):
                received = await future
        except TimeoutError:
            raise ServiceError(
                f"{self._peer.scheme}://{self._peer.authority} did not answer {sent.method} {sent.path} "
                f"within {self._answer_within_s:g} s"
            ) from None
        if connection.is_reusable():
            self._idle.append(connection)
        else:
            connection.close()
        return received

    def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            connection.close()


def head_of(sent: Outgoing, host: str, more: tuple[Header, ...] = ()) -> bytes:
    """Request line and headers (RFC 9112 §3); line breaks that a recording might hold in them are taken out."""
    length = (Header("Content-Length", str(len(sent.body))),) if sent.body or sent.method in _WITH_BODY else ()
    headers = (Header("Host", host), *sent.headers, *more, *length)
    lines = [f"{_line(sent.method)} {_line(sent.target).replace(' ', '%20')} HTTP/1.1"]
    lines += [f"{_line(name)}: {_line(value)}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def _line(text: str) -> str:
    return text.translate({10: " ", 13: " ", 0: " "})


async def sleep_until(instant: float) -> None:
    """Until ``time.monotonic()`` has reached the instant; up to a millisecond later, for so the event loop counts.

    Not a moment is spent turning in circles: with hundreds of sessions somebody always waits for its last
    millisecond, and the mock in the next thread would starve.
    """
    while (left := instant - time.monotonic()) > 0:
        await asyncio.sleep(left)
