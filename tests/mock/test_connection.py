"""HTTP/1.1 on the mock's own wire, byte by byte, on real sockets."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest

from polltape.exchange import Header
from polltape.mock.connection import MAX_BODY, MAX_HEAD
from polltape.mock.core import Mock, Request, Response
from polltape.mock.messages import Delivery
from polltape.mock.server import serving
from polltape.mock.tls import certificates

Answers = Callable[[Request], Response]


class Scripted:
    """A backend that answers what the test says, and keeps what it was asked."""

    protocol = "scripted"

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.asked: list[Request] = []

    def answer(self, request: Request, now: float) -> Response:
        self.asked.append(request)
        return self._answers(request)

    def status(self, now: float) -> list[dict[str, object]]:
        return []

    def reset(self) -> None:
        return


def told(request: Request) -> Response:
    """The target and the body, as a body."""
    return Response(200, "OK", (), request.target.encode() + b" " + request.body)


@contextmanager
def connected(backend: Scripted) -> Iterator[socket.socket]:
    with serving(Mock(backend)) as url:
        parts = urlsplit(url)
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as client:
            yield client


def everything(client: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def bodies(received: bytes) -> list[bytes]:
    """The bodies of answers that stand one after another."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(lines.get(b"content-length", b"0"))
        found.append(rest[:size])
        received = rest[size:]
    return found


def test_header_names_go_out_as_they_were_recorded() -> None:
    lines = (Header("x-LOWER-Upper", "a"), Header("ETAG", '"1"'))
    with connected(Scripted(lambda _: Response(200, "Fine", lines, b"body"))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = everything(client)
    assert received.startswith(b"HTTP/1.1 200 Fine\r\nDate: ")
    for line in (b"\r\nx-LOWER-Upper: a\r\n", b'\r\nETAG: "1"\r\n', b"\r\nContent-Length: 4\r\n"):
        assert line in received
    assert received.endswith(b"Connection: close\r\n\r\nbody")


def test_pipelined_requests_are_answered_in_their_order_also_behind_one_that_is_held() -> None:
    def answers(request: Request) -> Response:
        return Response(200, "OK", (), request.target.encode(), 0.05 if request.target == "/0" else 0.0)

    with connected(Scripted(answers)) as client:
        asked = [f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for number in range(5000)]
        client.sendall(b"".join(asked) + b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = bodies(everything(client))
    assert received == [*(f"/{number}".encode() for number in range(5000)), b"/last"]


def test_a_chunked_body_arrives_whole_and_its_trailer_is_no_header() -> None:
    backend = Scripted(told)
    with connected(backend) as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        client.sendall(b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\nX-Late: yes\r\n\r\n")
        assert bodies(everything(client)) == [b"/a abcdefg"]
    assert backend.asked[0].header("X-Late") is None


@pytest.mark.parametrize(
    ("coding", "sent", "read"),
    [("gzip", gzip.compress(b"{}"), b"{}"), ("gzip", b"broken", b"broken"), ("unknown", b"{}", b"{}")],
    ids=["gzip", "broken", "unknown"],  # what gzip makes holds the time, and would be another name in each process
)
def test_a_compressed_body_is_read_and_one_that_cannot_be_is_left_as_it_came(
    coding: str, sent: bytes, read: bytes
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: {coding}\r\n"
    backend = Scripted(told)
    with connected(backend) as client:
        client.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        everything(client)
    assert [request.body for request in backend.asked] == [read]


def test_a_client_that_expects_100_is_told_to_go_on() -> None:
    with connected(Scripted(told)) as client:
        client.sendall(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n")
        client.sendall(b"Connection: close\r\n\r\n")
        assert client.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert bodies(everything(client)) == [b"/a abc"]


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"Connection: close"),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"Connection: keep-alive"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", None),
    ],
)
def test_each_version_of_http_is_told_whether_the_connection_stays(asked: bytes, ending: bytes | None) -> None:
    with connected(Scripted(lambda _: Response(204, "No Content"))) as client:
        client.sendall(asked)
        client.shutdown(socket.SHUT_WR)
        received = everything(client)
    assert received.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in received  # RFC 9110 §8.6: none with 204
    assert (b"Connection" not in received) if ending is None else (ending in received)


def test_head_and_304_send_no_body() -> None:
    with connected(Scripted(lambda _: Response(304, "Not Modified", (), b"body"))) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"body" not in everything(client)
    with connected(Scripted(lambda _: Response(200, "OK", (), b"body"))) as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = everything(client)
        assert b"Content-Length: 4\r\n" in received
        assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (4 * MAX_HEAD), 431),
        (b"GET /" + b"x" * (4 * MAX_HEAD), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * MAX_HEAD + b"\r\n", 431),
    ],
)
def test_what_is_no_request_or_too_large_is_refused_and_closed(sent: bytes, status: int) -> None:
    backend = Scripted(told)
    with connected(backend) as client:
        client.sendall(sent)
        received = everything(client)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert received.count(b"HTTP/1.1") == 1
    assert backend.asked == []


def test_a_client_that_sends_too_large_a_body_can_read_that_it_was_refused() -> None:
    with connected(Scripted(told)) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode())
        piece = b"x" * (1 << 20)
        for _ in range((MAX_BODY >> 20) + 1):
            client.sendall(piece)
        assert client.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 413"


def test_a_line_break_in_a_recorded_value_ends_no_header() -> None:
    lines = (Header("X-A", "a\r\nX-B: b"),)
    with connected(Scripted(lambda _: Response(200, "OK", lines))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"\r\nX-A: a  X-B: b\r\n" in everything(client)


def test_an_absolute_target_and_an_upgrade_are_answered_as_any_request() -> None:
    backend = Scripted(told)
    with connected(backend) as client:
        client.sendall(b"GET http://shop.example/a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        client.sendall(b"GET /c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.sendall(b"GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert bodies(everything(client)) == [b"/a?b ", b"/c ", b"/d "]
    assert backend.asked[0].authority == "shop.example"
    assert backend.asked[0].address == "127.0.0.1"


# -------------------------------------------------------------------------------------- what faults are made of


def test_a_cut_body_ends_the_connection_in_its_middle() -> None:
    answer = Response(200, "OK", (Header("Content-Length", "10"),), b"0123456789", delivery=Delivery(cut_at=4))
    with connected(Scripted(lambda _: answer)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        received = everything(client)
    assert b"Content-Length: 10\r\n" in received
    assert received.endswith(b"\r\n\r\n0123")


def test_a_slow_body_arrives_whole_in_pieces() -> None:
    answer = Response(200, "OK", (), b"0123456789", delivery=Delivery(body_s=0.2))
    with connected(Scripted(lambda _: answer)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
    assert bodies(b"".join(pieces)) == [b"0123456789"]
    assert len(pieces) >= 3


def test_a_reset_is_one() -> None:
    with connected(Scripted(lambda _: Response(200, "OK", (), b"x", delivery=Delivery(lost="reset")))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_an_answer_that_never_comes_ends_with_nothing() -> None:
    answer = Response(200, "OK", (), b"x", 0.1, Delivery(lost="silent"))
    with connected(Scripted(lambda _: answer)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert everything(client) == b""


def test_a_client_that_leaves_while_it_waits_harms_nobody() -> None:
    waiting = threading.Event()

    def answers(request: Request) -> Response:
        waiting.set()
        return Response(200, "OK", (), b"x", 30.0 if request.target == "/slow" else 0.0)

    with serving(Mock(Scripted(answers))) as url:
        address = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        with socket.create_connection(address, timeout=10) as leaving:
            leaving.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            assert waiting.wait(10)
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert everything(client).endswith(b"\r\n\r\nx")


def test_an_answer_on_its_way_arrives_when_the_server_ends() -> None:
    asked = threading.Event()

    def answers(request: Request) -> Response:
        asked.set()
        return Response(200, "OK", (), b"late", 0.2)

    with connected(Scripted(answers)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asked.wait(10)
        left = client.dup()
    with closing(left):
        assert everything(left).endswith(b"\r\n\r\nlate")


def test_it_speaks_tls_and_only_what_it_offers() -> None:
    with certificates(("localhost", "127.0.0.1")) as shown, serving(Mock(Scripted(told)), certificates=shown) as url:
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=str(shown.authority))
        context.set_alpn_protocols(["h2", "http/1.1"])
        address = (str(urlsplit(url).hostname), int(urlsplit(url).port or 0))
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            assert client.selected_alpn_protocol() == "http/1.1"
            client.sendall(b"GET /tls HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert bodies(everything(client)) == [b"/tls "]
