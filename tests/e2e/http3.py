"""HTTP/3 for the tests, by the library that mitmproxy itself uses: a server and a client."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from mitmproxy.certs import CertStore

PATIENCE_S = 30.0
Fields = list[tuple[bytes, bytes]]


class _Http3(QuicConnectionProtocol):
    """Either side of a connection."""

    http: H3Connection | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if self.http is None:
            self.http = H3Connection(self._quic)
        for found in self.http.handle_event(event):
            self.happened(found)

    def happened(self, event: H3Event) -> None:
        raise NotImplementedError


class _Server(_Http3):
    """Answers every request with 202 and a body; with trailers where they are asked for."""

    def happened(self, event: H3Event) -> None:
        if not isinstance(event, HeadersReceived | DataReceived) or not event.stream_ended:
            return
        assert self.http is not None
        headers = [(b":status", b"202"), (b"retry-after", b"1"), (b"content-type", b"application/json")]
        self.http.send_headers(event.stream_id, headers)
        self.http.send_data(event.stream_id, b'{"done":false}', end_stream=False)
        self.http.send_headers(event.stream_id, [(b"x-trailer", b"1")], end_stream=True)
        self.transmit()


class _Client(_Http3):
    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.received: Fields = []
        self.body = b""
        self.ended = asyncio.get_running_loop().create_future()

    def happened(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self.received += event.headers
        elif isinstance(event, DataReceived):
            self.body += event.data
        if isinstance(event, HeadersReceived | DataReceived) and event.stream_ended:
            self.ended.set_result(None)

    async def ask(self, fields: Fields, body: bytes) -> tuple[Fields, bytes]:
        if self.http is None:
            self.http = H3Connection(self._quic)
        stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, fields)
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.ended, PATIENCE_S)
        return self.received, self.body


def put(port: int, authority: str, path: str, body: bytes) -> tuple[Fields, bytes]:
    """One PUT of JSON over HTTP/3: the fields received, trailers included, and the body."""
    fields = {":method": "PUT", ":scheme": "https", ":authority": authority, ":path": path}
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]

    async def main() -> tuple[Fields, bytes]:
        quic = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_NONE)
        async with connect("127.0.0.1", port, configuration=quic, create_protocol=_Client) as client:
            assert isinstance(client, _Client)
            return await client.ask([*encoded, (b"content-type", b"application/json")], body)

    return asyncio.run(main())


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server; its certificate is made in the folder."""
    CertStore.create_store(folder, "server", 2048)
    quic = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    quic.load_cert_chain(folder / "server-ca-cert.pem", folder / "server-ca.pem")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    starting = serve("127.0.0.1", port, configuration=quic, create_protocol=_Server)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(PATIENCE_S)

    async def end() -> None:
        server.close()
        await asyncio.sleep(0.05)  # its socket is closed by the loop, a moment later

    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
