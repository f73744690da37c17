"""One connection of a client: HTTP/1.1 (RFC 9112) in, the mock's answers out, in the order of their requests.

The wire is ours, on httptools' parser, because the mock must be able to do what a server library rightly
refuses: send an answer slowly, cut it in the middle, reset the connection, leave header names as they were
recorded.  Pipelined requests are answered in order; an answer that is held holds those behind it, as HTTP/1.1
has it, but each request reaches the mock when it comes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Final, Literal, NamedTuple

import httptools

from polltape.capture.content import decode
from polltape.exchange import Header, first_header
from polltape.mock.messages import Request, Response, reason_of

MAX_BODY: Final = 64 * 1024 * 1024
"""Larger request bodies are answered 413."""
MAX_HEAD: Final = 64 * 1024
"""Larger request heads are answered 431."""
_PIPELINED: Final = 64
"""With so many answers waiting, no more is read."""
_PIECE_S: Final = 0.05
"""A slow body goes out in pieces about so far apart."""
_BODILESS: Final = frozenset({204, 304})
_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing then sends RST."""
_LINGER_S: Final = 2.0
"""A client that still sends what was refused has so long to read the answer: closing at once would reset it."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BREAKS: Final = {10: " ", 13: " ", 0: " "}
_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Site:
    """What the connections of a server share.  ``log`` gets one line a request."""

    answer: Callable[[Request], Response]
    scheme: str
    authority: str
    log: Callable[[str], None] | None = None
    connections: set[Connection] = field(default_factory=set)


Ending = Literal["keep", "close", "reset", "linger"]
"""What comes after an answer; ``linger``: closed, but what the client still sends is read for a moment."""


class _Answer(NamedTuple):
    """An answer that is to go out: pieces, each with the seconds to wait before it, and what comes after them."""

    pieces: tuple[tuple[float, bytes], ...]
    ending: Ending


class _RefusedError(Exception):
    """A request that is refused, with its status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection(asyncio.Protocol):
    """One client's connection; httptools calls the methods that begin with ``on_``."""

    __slots__ = (
        "_body", "_closing", "_ending", "_fed", "_head_size", "_headers", "_in_head", "_loop", "_parser", "_paused",
        "_peer", "_pieces", "_queue", "_sending", "_site", "_size", "_timer", "_transport", "_url", "active",
    )  # fmt: skip

    def __init__(self, site: Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[_Answer] = deque()
        self._pieces: Iterator[tuple[float, bytes]] = iter(())
        self._ending: Ending = "keep"
        self._sending = False
        self._closing = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._fed = 0
        self.active = loop.time()
        self.on_message_begin()

    # ------------------------------------------------------------------------------------------ transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if peer else ""
        self._site.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._site.connections.discard(self)
        self._closing = True
        self._queue.clear()
        del self._parser  # it knows us, and we know it: no work for the collector
        if self._timer is not None:
            self._timer.cancel()

    def eof_received(self) -> bool:
        """A client that has said all it has to say still gets the answers that it waits for."""
        self._closing = True
        return self._sending

    def pause_writing(self) -> None:
        """The client takes no more: neither do we."""
        self._paused = True
        self._balance()

    def resume_writing(self) -> None:
        self._paused = False
        if self._sending and self._timer is None:
            self._drain()
        self._balance()

    def data_received(self, data: bytes) -> None:
        self.active = self._loop.time()
        if self._closing:
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # we stay with HTTP/1.1 (RFC 9110 §7.8)
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, _RefusedError) else 400)
        else:
            if self._fed > MAX_HEAD:  # the parser gathers a header until it is whole
                self._refuse(431)

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._sending and self._ending != "linger"

    def close(self) -> None:
        """Close it, what has been sent still goes out."""
        self._closing = True
        self._transport.close()

    def finish(self) -> None:
        """Close it once whoever waits has his answer."""
        self._closing = True
        if not self.busy:
            self.close()

    def abort(self) -> None:
        """Close it at once."""
        self._closing = True
        self._transport.abort()

    # --------------------------------------------------------------------------------------------- parser

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._size = self._head_size = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._grown(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grown(len(name) + len(value))
        if self._in_head:  # a trailer is no header (RFC 9110 §6.5.1)
            self._headers.append(Header(name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._fed = 0
        self._in_head = False
        if self._wants_a_word():
            self._give(_Answer(((0.0, _CONTINUE),), "keep"))

    def on_body(self, body: bytes) -> None:
        self._fed = 0
        self._size += len(body)
        if self._size > MAX_BODY:
            raise _RefusedError(413)
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._fed = 0
        if self._closing:
            return
        keep = self._parser.should_keep_alive()
        request = self._request()
        response = self._answered(request)
        if self._site.log is not None:
            self._site.log(f"{request.method} {request.target} -> {response.status}")
        self._give(_outgoing(response, request.method, keep=keep, old=self._old))

    def _grown(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            raise _RefusedError(431)

    def _wants_a_word(self) -> bool:
        """Whether the client waits for 100 before its body (RFC 9110 §10.1.1)."""
        expects = (value for name, value in self._headers if len(name) == 6 and name.lower() == "expect")
        return any(value.lower() == "100-continue" for value in expects) and not self._old

    def _request(self) -> Request:
        """The request.  Raises _RefusedError: Host is not there once (RFC 9112 §3.2), another coding than chunked."""
        scheme = self._site.scheme
        hosts, codings = [], []
        for name, value in self._headers:
            length = len(name)
            if length == 4 and name.lower() == "host":
                hosts.append(value)
            elif length == 17:
                lower = name.lower()
                # Whoever stands in front (our recorder as a proxy) says what the client itself speaks.
                if lower == "x-forwarded-proto" and value in ("http", "https"):
                    scheme = value
                elif lower == "transfer-encoding" and value.lower() != "chunked":
                    raise _RefusedError(501)
            elif length == 16 and name.lower() == "content-encoding":
                codings.append(value)
        if len(hosts) != 1 and (hosts or not self._old):
            raise _RefusedError(400)
        authority = hosts[0] if hosts and hosts[0] else self._site.authority
        target = self._url.decode("latin-1")
        if not target.startswith("/"):
            target = _origin_form(target)
        body = b"".join(self._body)
        if codings and body:
            body = _decoded(body, ",".join(codings))
        method = self._parser.get_method().decode("ascii")
        return Request(method, scheme, authority, target, tuple(self._headers), body, self._peer)

    @property
    def _old(self) -> bool:
        """Whether the client speaks HTTP/1.0."""
        return self._parser.get_http_version() == "1.0"

    def _answered(self, request: Request) -> Response:
        try:
            return self._site.answer(request)
        except Exception:
            _logger.exception("the mock cannot answer %s %s", request.method, request.target)
            body = b"the mock failed; its own output says why\n"
            return Response(500, "Internal Server Error", (Header("Content-Type", "text/plain"),), body)

    def _refuse(self, status: int) -> None:
        """Answer what is no request, or too large a one, and close."""
        if self._closing:
            return
        self._closing = True
        lines = (Header("Content-Length", "0"),)
        refusal = Response(status, reason_of(status), lines)
        self._give(_outgoing(refusal, "", keep=False, old=False)._replace(ending="linger"))

    # -------------------------------------------------------------------------------------------- sending

    def _give(self, answer: _Answer) -> None:
        """Send it, at once if nothing stands before it."""
        self._queue.append(answer)
        if self._sending:
            self._balance()
        else:
            self._sending = True
            self._drain()

    def _drain(self) -> None:
        """Send what waits in the queue, until a piece has to wait for its time, or the client takes no more."""
        while not self._paused:
            for wait_s, piece in self._pieces:
                if wait_s > 0:
                    self._timer = self._loop.call_later(wait_s, self._go_on, piece)
                    return
                self._transport.write(piece)
            if self._ending != "keep":
                self._end(self._ending)
                return
            if not self._queue:
                break
            pieces, self._ending = self._queue.popleft()
            self._pieces = iter(pieces)
        else:
            return
        self._sending = False
        if self._closing:
            self.close()
        else:
            self._balance()

    def _go_on(self, piece: bytes) -> None:
        """A piece whose time has come, and what waits behind it."""
        self._timer = None
        self.active = self._loop.time()
        if piece:
            self._transport.write(piece)
        self._drain()

    def _end(self, ending: Ending) -> None:
        self._closing = True
        if ending == "reset":
            self._reset()
        elif ending == "linger" and self._transport.can_write_eof():
            self._transport.write_eof()
            self._timer = self._loop.call_later(_LINGER_S, self.abort)
        else:
            self.close()

    def _balance(self) -> None:
        """Read only as fast as answers go out."""
        if self._paused or len(self._queue) >= _PIPELINED:
            self._transport.pause_reading()
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def _reset(self) -> None:
        wire = self._transport.get_extra_info("socket")
        if wire is not None:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.abort()


def _decoded(body: bytes, codings: str) -> bytes:
    """A body that was sent compressed; as it came where it cannot be read."""
    decoded = decode(body, codings)
    return body if decoded.content is None or not decoded.complete else decoded.content


def _origin_form(target: str) -> str:
    """The path and query of a target in absolute form (RFC 9112 §3.2.2), as a client of a proxy sends it."""
    _, mark, rest = target.partition("://")
    return f"/{rest.partition('/')[2]}" if mark else target


def _outgoing(response: Response, method: str, *, keep: bool, old: bool) -> _Answer:
    """An answer as its bytes; ``old``: the client speaks HTTP/1.0, where keeping a connection must be said."""
    delivery = response.delivery
    if delivery.lost is not None:
        return _Answer(((response.hold_s, b""),), "reset" if delivery.lost == "reset" else "close")
    bodiless = method == "HEAD" or response.status in _BODILESS
    body = b"" if bodiless else response.body
    cut = delivery.cut_at is not None and delivery.cut_at < len(body)
    if cut:
        body = body[: delivery.cut_at]
    head = _head(response, keep=keep, old=old)
    ending: Ending = "keep" if keep and not cut else "close"
    if delivery.body_s <= 0 or not body:
        return _Answer(((response.hold_s, head + body),), ending)
    return _Answer(((response.hold_s, head), *_spread(body, delivery.body_s)), ending)


def _spread(body: bytes, seconds: float) -> Iterator[tuple[float, bytes]]:
    """The body in pieces that take so many seconds together."""
    count = min(len(body), ceil(seconds / _PIECE_S))
    for number in range(count):
        yield seconds / count, body[len(body) * number // count : len(body) * (number + 1) // count]


def _head(response: Response, *, keep: bool, old: bool) -> bytes:
    headers = response.headers
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in headers]
    # The mock puts the length last; whoever forgot it is helped.
    told = (headers and headers[-1].name == "Content-Length") or response.status in _BODILESS
    if not told and first_header(headers, "Content-Length") is None:
        lines.append(f"Content-Length: {len(response.body)}")
    if not keep:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1:  # a line break in a value would end it early
        text = "\r\n".join(line.translate(_NO_BREAKS) for line in lines)
    return f"{text}\r\n\r\n".encode("latin-1", "replace")
