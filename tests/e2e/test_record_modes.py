"""Every way of proxying, and what HTTP allows, through one real mitmdump each."""

from __future__ import annotations

import gzip
import re
import signal
import socket
import socketserver
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import brotli
import http3
import pytest
import zstandard
from mitmdumps import PATIENCE_S, Mitmdump, Start, rows, wait_for

from polltape.exchange import Exchange, Header

DOCUMENT = b'{"checkout":{"quantity":1}}'
JSON = b"Content-Type: application/json\r\n"


def answer(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    headers = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (status, JSON, headers, len(body), body)


CODED = {b"gzip": gzip.compress, b"deflate": zlib.compress, b"br": brotli.compress, b"zstd": zstandard.compress}
ANSWERS = {
    b"/chunked": b"HTTP/1.1 200 OK\r\n"
    + JSON
    + b"Transfer-Encoding: chunked\r\n\r\n8\r\n"
    + DOCUMENT[:8]
    + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(DOCUMENT) - 8, DOCUMENT[8:]),
    b"/twice": answer(b"", b"X-A: 1", b"x-a: 2", b"X-B: caf\xe9"),
    b"/large": answer(b"[" + b"1," * 4_000 + b"1]"),
    b"/upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n",
    b"/moved": answer(b"", b"Location: http://127.0.0.1:@PORT@/elsewhere", status=b"303 See Other"),
    **{b"/" + name: answer(code(DOCUMENT), b"Content-Encoding: " + name) for name, code in CODED.items()},
}


class Handler(socketserver.StreamRequestHandler):
    """Answers by path with prepared bytes; /reset resets the connection; TLS is answered with nonsense."""

    def handle(self) -> None:
        with suppress(OSError):
            if self.rfile.peek(1)[:1] == b"\x16":  # type: ignore[attr-defined]  # a TLS ClientHello
                self.wfile.write(b"this is no TLS\r\n")
                return
            while line := self.rfile.readline():
                self.answer(line.split()[1])

    def answer(self, target: bytes) -> None:
        length = 0
        while (header := self.rfile.readline()).strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        self.rfile.read(length)
        path = b"/" + target.split(b"://")[-1].partition(b"/")[2].partition(b"?")[0]
        if path == b"/reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise ConnectionResetError  # closed by the caller: with these options, by a reset
        port = b"%d" % self.server.server_address[1]
        self.wfile.write(ANSWERS.get(path, answer(DOCUMENT)).replace(b"@PORT@", port))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of a server that answers with prepared bytes."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def connected(port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        yield connection


def talk(port: int, request: bytes, until: bytes, host: str = "127.0.0.1") -> bytes:
    """Send the bytes; what comes back, until a pattern stands in it or the connection ends."""
    with connected(port, host) as connection:
        connection.sendall(request)
        return read(connection, until)


def read(connection: socket.socket, until: bytes) -> bytes:
    received = b""
    with suppress(OSError):
        while not re.search(until, received, re.DOTALL) and (data := connection.recv(65536)):
            received += data
    return received


def get(target: bytes, *headers: bytes) -> bytes:
    """A GET after which the connection ends."""
    close = b"Connection: " + (b"Upgrade" if target == b"/upgrade" else b"close")
    lines = (b"GET " + target + b" HTTP/1.1", b"Host: shop.example", close, *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def stopped(mitmdump: Mitmdump) -> list[Exchange]:
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0, mitmdump.output
    assert "Traceback" not in mitmdump.output
    return rows(mitmdump.captures)


NEVER = rb"(?!)"
"""Read until the connection ends."""


def test_what_http_allows_is_kept(start: Start, upstream: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{upstream}", "--set", "polltape_body_cap=2k")
    port = mitmdump.port

    for name in (*CODED, b"chunked"):
        talk(port, get(b"/" + name), NEVER)
    talk(port, get(b"/twice", b"X-C: 1", b"x-c: 2", b"X-D: \xfc"), NEVER)
    talk(port, get(b"/caf\xe9?q=\xff"), NEVER)
    talk(port, get(b"/large"), NEVER)
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    talk(port, get(b"/upgrade", *upgrade, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), rb"\r\n\r\n")
    talk(port, get(b"/reset"), rb"\r\n\r\n")
    with connected(port) as connection:
        headers = b"PUT /continue HTTP/1.1\r\nHost: x\r\n%bExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(headers % (JSON, len(DOCUMENT)))
        assert read(connection, rb"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(DOCUMENT)
        assert b"200 OK" in read(connection, rb"\}\}")
    found = {row.path: row for row in stopped(mitmdump)}

    for name, code in CODED.items():
        body = found["/" + name.decode()].response_body
        assert (body.content, body.wire_size, body.size) == (DOCUMENT, len(code(DOCUMENT)), len(DOCUMENT))
    assert found["/chunked"].response_body.content == DOCUMENT
    twice = found["/twice"]
    assert [value for name, value in twice.response_headers if name.lower() == "x-a"] == ["1", "2"]
    assert Header("X-B", "caf\xe9") in twice.response_headers
    assert [header for header in twice.request_headers if header.name.lower() == "x-c"] == [("X-C", "1"), ("x-c", "2")]
    assert Header("X-D", "\xfc") in twice.request_headers
    assert found["/caf%E9"].query is not None
    large = found["/large"].response_body
    assert (large.wire_size, large.truncated) == (8_003, True)
    assert (found["/upgrade"].status, found["/upgrade"].error) == (101, None)
    reset = found["/reset"]
    assert reset.status is None
    assert (reset.error or "").startswith("reset: ")
    assert "Client" not in (reset.error or "")
    assert reset.response_ended_at is not None
    put = found["/continue"]
    assert (put.status, put.request_body.content) == (200, DOCUMENT)
    assert len(found) == 11


def socks_get(port: int, host: str, target: int) -> bytes:
    """A GET through SOCKS5 (RFC 1928), the address given as a name."""
    with connected(port) as connection:
        connection.sendall(b"\5\1\0")
        assert connection.recv(2) == b"\5\0"
        connection.sendall(b"\5\1\0\3" + bytes([len(host)]) + host.encode() + struct.pack(">H", target))
        assert connection.recv(10)[1] == 0
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: %b:%d\r\nConnection: close\r\n\r\n" % (host.encode(), target))
        return read(connection, NEVER)


def absolute(port: int, upstream: int) -> bytes:
    line = b"GET http://localhost:%d/a HTTP/1.1\r\nHost: localhost:%d\r\nConnection: close\r\n\r\n"
    return talk(port, line % (upstream, upstream), NEVER)


MODES: dict[str, tuple[str, Callable[[int, int], bytes]]] = {
    "regular": ("regular", absolute),
    "upstream": ("upstream:http://127.0.0.1:{upstream}", absolute),
    "socks5": ("socks5", lambda port, upstream: socks_get(port, "localhost", upstream)),
    "reverse": ("reverse:http://localhost:{upstream}", lambda port, _: talk(port, get(b"/a"), NEVER)),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_records_what_the_client_named(start: Start, upstream: int, name: str) -> None:
    mode, ask = MODES[name]
    mitmdump = start("--mode", mode.format(upstream=upstream))
    assert b"200 OK" in ask(mitmdump.port, upstream)
    [row] = stopped(mitmdump)
    assert (row.scheme, row.host, row.port, row.path) == ("http", "localhost", upstream, "/a")
    assert (row.status, row.response_body.content) == (200, DOCUMENT)
    assert (row.server_address or "").endswith(f":{upstream}")


LAZY = ("--set", "connection_strategy=lazy")
"""By default a reverse proxy connects before it reads the request: what fails then is no exchange."""


def test_a_server_that_speaks_no_tls_is_told_as_such(start: Start, upstream: int) -> None:
    mitmdump = start("--mode", f"reverse:https://127.0.0.1:{upstream}", *LAZY)
    assert b" 502 " in talk(mitmdump.port, get(b"/a"), rb"\r\n\r\n")
    [row] = stopped(mitmdump)
    assert row.status is None
    assert (row.error or "").startswith("TLS failure: ")


def test_a_server_that_is_not_there_is_told_as_such(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses, and nobody else gets the port
        mitmdump = start("--mode", f"reverse:http://127.0.0.1:{taken.getsockname()[1]}", *LAZY)
        assert b" 502 " in talk(mitmdump.port, get(b"/a"), rb"\r\n\r\n")
        [row] = stopped(mitmdump)
    assert (row.error or "").startswith("refused: ")


@pytest.mark.parametrize("keep", [False, True])
def test_a_response_that_leads_past_the_proxy_is_told_once(start: Start, upstream: int, keep: bool) -> None:
    mode = ("--mode", f"reverse:http://127.0.0.1:{upstream}")
    mitmdump = start(*mode, *(("--set", "keep_host_header=true") if keep else ()))
    port = mitmdump.port
    for _ in range(2):
        talk(port, get(b"/moved"), rb"\r\n\r\n")
    wait_for("the warning", lambda: "names the upstream itself (Location)" in mitmdump.output)
    stopped(mitmdump)
    [line] = [line for line in mitmdump.output.splitlines() if "names the upstream itself" in line]
    assert ("--set keep_host_header=true may cure it" in line) is not keep


def test_http3_on_both_sides(start: Start, tmp_path: Path) -> None:
    """QUIC from the client and to the server, trailers included."""
    (tmp_path / "server").mkdir()
    sets = ("--set", "ssl_insecure=true", "--set", "keep_host_header=true")
    with http3.serving(tmp_path / "server") as upstream:
        mitmdump = start("--mode", f"reverse:http3://127.0.0.1:{upstream}", *sets)
        fields, body = http3.put(mitmdump.port, "shop.example:8443", "/jobs/1?a", DOCUMENT)
        [row] = stopped(mitmdump)
    assert (fields[0], body) == ((b":status", b"202"), b'{"done":false}')
    assert (row.http_version, row.host, row.port, row.path) == ("HTTP/3", "shop.example", 8443, "/jobs/1")
    assert (row.status, row.request_body.content, row.response_body.content) == (202, DOCUMENT, body)
    assert row.response_trailers == (Header("x-trailer", "1"),)
    assert row.server_address == f"127.0.0.1:{upstream}"
