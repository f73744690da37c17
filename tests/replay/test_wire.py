"""The small HTTP client, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from polltape.errors import ServiceError
from polltape.exchange import Header
from polltape.replay.carrying import Outgoing
from polltape.replay.wire import Client, Peer, Received, head_of, sleep_until

GET = Outgoing("GET", "/a", "b=1", (Header("X-Y", "z"),), b"")


@contextmanager
def server(*answers: bytes, close: bool = False) -> Iterator[tuple[Peer, list[bytes]]]:
    """Gives the answers, one a request, on any number of connections; what it was sent."""
    heard: list[bytes] = []
    waiting = list(answers)
    listener = socket.create_server(("127.0.0.1", 0))

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                heard.append(data)
                if waiting:
                    connection.sendall(waiting.pop(0))
                if close:
                    return

    def serve() -> None:
        with suppress(OSError):
            while True:
                converse(listener.accept()[0])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Peer("http", "127.0.0.1", listener.getsockname()[1]), heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def ask(peer: Peer, *requests: Outgoing, within_s: float = 10.0) -> list[Received]:
    async def run() -> list[Received]:
        client = Client(peer, within_s)
        try:
            return [await client.ask(await client.connection(), sent, peer.authority) for sent in requests]
        finally:
            client.close()

    return asyncio.run(run())


def test_request_line_and_headers_are_as_recorded_with_host_and_length_of_their_own() -> None:
    sent = Outgoing("PUT", "/a b", None, (Header("X-Y", "z"),), b"{}")
    assert head_of(sent, "shop.example").split(b"\r\n") == [
        b"PUT /a%20b HTTP/1.1",
        b"Host: shop.example",
        b"X-Y: z",
        b"Content-Length: 2",
        b"",
        b"",
    ]


def test_a_header_with_a_line_break_in_it_cannot_smuggle_another() -> None:
    sent = Outgoing("GET", "/a\r\nX: y", None, (Header("A\nB", "c\r\nEvil: yes"),), b"")
    assert head_of(sent, "h").count(b"\r\n") == 4


def test_an_answer_is_read_whole_and_the_connection_used_again() -> None:
    first = b"HTTP/1.1 202 Accepted\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi"
    second = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with server(first, second) as (peer, heard):
        one, two = ask(peer, GET, GET)
    assert heard[0].startswith(b"GET /a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert (one.answer.status, one.answer.reason, one.answer.body) == (202, "Accepted", b"hi")
    assert Header("Retry-After", "1") in one.answer.headers
    assert two.answer.body == b"abc"
    assert one.first_byte is not None
    assert one.first_byte <= one.end


def test_an_answer_that_announces_itself_or_ends_with_its_connection_is_read() -> None:
    with server(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nA: b\r\n\r\n") as (peer, _):
        assert ask(peer, GET)[0].answer.status == 204
    with server(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nuntil the end", close=True) as (peer, _):
        assert ask(peer, GET)[0].answer.body == b"until the end"


def test_a_head_has_no_body_whatever_its_answer_says() -> None:
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n") as (peer, _):
        assert ask(peer, Outgoing("HEAD", "/", None, (), b""))[0].answer.status == 200


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "reset"), (b"", "reset"), (b"SMTP ready\r\n", "not HTTP")],
)
def test_an_answer_that_breaks_off_is_an_error_in_its_place(answer: bytes, error: str) -> None:
    with server(answer, close=True) as (peer, _):
        received = ask(peer, GET)[0]
    assert received.answer.status is None
    assert str(received.answer.error).startswith(error)


def test_a_server_that_hangs_is_one_line() -> None:
    with server() as (peer, _), pytest.raises(ServiceError, match=r"did not answer GET /a within 0\.2 s"):
        ask(peer, GET, within_s=0.2)


def test_a_server_that_refuses_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServiceError, match=rf"http://127\.0\.0\.1:{port} cannot be reached"):
        ask(Peer("http", "127.0.0.1", port), GET)


def test_a_name_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ServiceError, match="cannot be reached"):
        ask(Peer("http", "no-such-host.invalid", 80), GET)


def test_sleeping_never_ends_too_early() -> None:
    async def late(seconds: float) -> float:
        until = time.monotonic() + seconds
        await sleep_until(until)
        return time.monotonic() - until

    errors: list[float] = [asyncio.run(late(seconds)) for seconds in (0.0, 0.001, 0.0123, 0.05)]
    assert min(errors) >= 0


def test_the_authority_leaves_out_the_schemes_own_port() -> None:
    named: Callable[[str, str, int], str] = lambda scheme, host, port: Peer(scheme, host, port).authority  # noqa: E731
    assert [named("http", "a", 80), named("https", "a", 443), named("http", "::1", 8)] == ["a", "a", "[::1]:8"]
