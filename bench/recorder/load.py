"""Servers and a client for the benchmark: PUTs with credentials and 2.5 KB of JSON each way, all different.

Both run in one event loop and do next to nothing for each exchange, so that the proxy between them is what
is measured: without a proxy they make more than ten times the exchanges.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

BODY_BYTES: Final = 2_500
_END: Final = b"\r\n\r\n"
_VARIANTS: Final = 512


def _fillings(seed: int) -> list[bytes]:
    """Middles of bodies: names, addresses, line items, drawn anew for each."""
    draw = random.Random(seed)
    made = []
    for _ in range(_VARIANTS):
        items = b",".join(
            b'{"variant_id": %d, "quantity": %d, "title": "Item %x", "price": "%d.%02d"}'
            % (
                draw.getrandbits(40),
                draw.randint(1, 9),
                draw.getrandbits(64),
                draw.randint(1, 999),
                draw.randint(0, 99),
            )
            for _ in range(22)
        )
        made.append(b'"note": "%x", "line_items": [%s]' % (draw.getrandbits(128), items))
    return made


def body(number: int, fillings: list[bytes], salt: int) -> bytes:
    """One checkout as JSON, :data:`BODY_BYTES` long; no other number gives the same."""
    begin = (
        b'{"checkout": {"token": "%032x", "number": %d, "email": "customer%d@mail.example", '
        b'"shipping_address": {"first_name": "Ada%d", "last_name": "Byron", "address1": "%d Long Street", '
        b'"city": "Berlin", "zip": "%05d", "phone": "+49 30 %08d"}, '
        % (number * 0x9E3779B97F4A7C15 + salt, number, number, number, number, number % 100_000, number % 10**8)
    )
    whole = begin + fillings[number % _VARIANTS] + b', "padding": "'
    return whole + b"x" * max(0, BODY_BYTES - len(whole) - 3) + b'"}}'


_RESPONSE: Final = (
    b"HTTP/1.1 202 Accepted\r\nServer: bench\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nRetry-After: 1\r\n"
    b"Content-Type: application/json; charset=utf-8\r\nX-Request-Id: %032x\r\nX-Shopify-API-Version: 2024-01\r\n"
    b"Cache-Control: no-store\r\nSet-Cookie: session=%032x; path=/; HttpOnly\r\nContent-Length: %d\r\n\r\n%b"
)
_REQUEST: Final = (
    b"PUT /admin/api/2024-01/checkouts/%032x.json HTTP/1.1\r\nHost: shop.example\r\n"
    b"User-Agent: bench/1.0 (recorder)\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Content-Type: application/json\r\nX-Shopify-Access-Token: shpat_%032x\r\n"
    b"Authorization: Bearer %032x\r\nCookie: cart=%032x; locale=de\r\nContent-Length: %d\r\n\r\n%b"
)


class _Messages(asyncio.Protocol):
    """Cuts the stream into messages with a Content-Length; ``message`` is called once for each."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(_END)) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self.message(head)

    def message(self, head: bytes) -> None:
        raise NotImplementedError


class Server(_Messages):
    """Answers each request with 202."""

    fillings: Final = _fillings(1)
    numbers = 0

    def message(self, head: bytes) -> None:
        Server.numbers += 1
        number = Server.numbers
        content = body(number, self.fillings, 1 << 90)
        self.transport.write(_RESPONSE % (number, number * 31, len(content), content))


class Shop(_Messages):
    """Answers each request of :mod:`traffic` as it says; ``answers`` are those to requests under way."""

    answers: Final[dict[bytes, bytes]] = {}

    def message(self, head: bytes) -> None:
        number = head.partition(b"x-request-number: ")[2].partition(b"\r\n")[0]
        self.transport.write(self.answers.pop(number))


class Client(_Messages):
    """One connection that asks as soon as it was answered."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], waited: list[float]) -> None:
        super().__init__()
        self._requests, self._done, self._waited = requests, done, waited
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.ask()

    def ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.transport.close()
            return
        self._asked = time.perf_counter()
        self.transport.write(request)

    def message(self, head: bytes) -> None:
        self._waited.append(time.perf_counter() - self._asked)
        if not head.startswith(b"http/1.1 20"):
            self._done.set_exception(RuntimeError(f"the proxy answered {head[:40]!r}"))
        self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


_sent: Final = _fillings(2)


def puts(first: int, count: int) -> Iterator[bytes]:
    """So many PUTs; other numbers give other ones."""
    for number in range(first, first + count):
        content = body(number, _sent, 1 << 80)
        yield _REQUEST % (number % 1000, number % 50, number % 50, number, len(content), content)


def varied(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The requests of pairs, whose responses :class:`Shop` is told."""
    for request, response in pairs:
        number = request.partition(b"X-Request-Number: ")[2].partition(b"\r\n")[0]
        Shop.answers[number] = response
        yield request


async def ask(port: int, requests: Iterator[bytes], count: int, connections: int) -> tuple[float, list[float]]:
    """Send ``count`` requests to the port; seconds it took, and the seconds that each waited for its response.

    Raises RuntimeError where fewer responses came than requests were sent.
    """
    requests = islice(requests, count)
    loop = asyncio.get_running_loop()
    waited = list[float]()
    ends = [loop.create_future() for _ in range(connections)]
    begin = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: Client(requests, end, waited), "127.0.0.1", port)
    await asyncio.gather(*ends)
    seconds = time.perf_counter() - begin
    if len(waited) != count:
        raise RuntimeError(f"{count} requests, but {len(waited)} responses")
    return seconds, waited


async def serve(kind: type[_Messages] = Server) -> int:
    """Start a server; its port."""
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])
