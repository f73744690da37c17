"""Exchanges as mitmproxy flows: ``mitmweb -r FILE`` shows them, and they come back without loss.

What a flow has no place for stands in its metadata, sealed (:mod:`polltape.capture.extension`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final

from polltape.capture.content import decode
from polltape.capture.extension import FIELD, sealed
from polltape.capture.flows import PLAIN, plain_messages, sealed_part
from polltape.capture.keys import Key
from polltape.exchange import Exchange, Header, all_headers

if TYPE_CHECKING:
    from mitmproxy.connection import Client, Server
    from mitmproxy.http import Headers, HTTPFlow

_IDS: Final = uuid.UUID("8d1f2a1c-55a1-5c5b-9c0e-3f6a7d0b9b11")
"""Name space of the ids of exported flows: one exchange always becomes the same flow."""


def write_flows(file: IO[bytes], exchanges: Iterable[Exchange], key: Key | None = None) -> int:
    """Write the exchanges in their order; how many there were."""
    from mitmproxy.io import FlowWriter

    writer = FlowWriter(file)
    count = 0
    for exchange in exchanges:
        writer.add(to_flow(exchange, key))
        count += 1
    return count


def to_flow(exchange: Exchange, key: Key | None = None) -> HTTPFlow:
    """The exchange as an HTTP flow; a body that was not stored is a missing one."""
    from mitmproxy.flow import Error
    from mitmproxy.http import HTTPFlow, Request, Response

    flow = HTTPFlow(_client(exchange), _server(exchange))
    flow.id = str(uuid.uuid5(_IDS, exchange.exchange_id))
    target = exchange.path if exchange.query is None else f"{exchange.path}?{exchange.query}"
    version = (exchange.http_version or "HTTP/1.1").encode("latin-1", "replace")
    flow.request = Request(
        host=exchange.host,
        port=exchange.port,
        method=exchange.method.encode("latin-1", "replace"),
        scheme=exchange.scheme.encode("latin-1", "replace"),
        authority=b"" if _has_host(exchange) else exchange.authority.encode(),
        path=target.encode("utf-8"),
        http_version=version,
        headers=_headers(exchange.request_headers),
        content=_raw(exchange.request_body.content, exchange.request_headers),
        trailers=_headers(exchange.request_trailers) if exchange.request_trailers else None,
        timestamp_start=exchange.request_started_at.timestamp(),
        timestamp_end=_seconds(exchange.request_ended_at),
    )
    if exchange.status is not None:
        started = exchange.response_started_at or exchange.response_ended_at or exchange.request_started_at
        flow.response = Response(
            http_version=version,
            status_code=exchange.status,
            reason=(exchange.reason or "").encode("latin-1", "replace"),
            headers=_headers(exchange.response_headers),
            content=_raw(exchange.response_body.content, exchange.response_headers),
            trailers=_headers(exchange.response_trailers) if exchange.response_trailers else None,
            timestamp_start=started.timestamp(),
            timestamp_end=_seconds(exchange.response_ended_at),
        )
    if exchange.error is not None:
        flow.error = Error(exchange.error, exchange.last_instant.timestamp())
    entry = {**sealed_part(exchange), PLAIN: plain_messages(flow, exchange)}
    flow.metadata[FIELD] = {**sealed(entry, exchange, key)[FIELD], PLAIN: entry[PLAIN]}
    return flow


def _has_host(exchange: Exchange) -> bool:
    return exchange.request_header("host") is not None


def _client(exchange: Exchange) -> Client:
    from mitmproxy.connection import Client

    address = (exchange.client_address or "0.0.0.0", 0)
    client = Client(peername=address, sockname=("0.0.0.0", 0))
    client.id = exchange.client_connection_id or client.id
    return client


def _server(exchange: Exchange) -> Server:
    from mitmproxy.connection import Server

    host, _, port = (exchange.server_address or "").rpartition(":")
    address = (host.strip("[]"), int(port)) if host and port.isdigit() else None
    server = Server(address=address or (exchange.host, exchange.port))
    server.peername = address
    server.id = exchange.server_connection_id or server.id
    return server


def _headers(headers: Iterable[Header]) -> Headers:
    from mitmproxy.http import Headers

    return Headers([(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers])


def _raw(content: bytes | None, headers: tuple[Header, ...]) -> bytes | None:
    """The content under the encodings that its headers name: as a mitmproxy flow holds it.

    As it is where that would not come back: an encoding that nobody here knows, or too many of them.
    """
    from mitmproxy.net.encoding import encode

    raw = content
    codings = ",".join(all_headers(headers, "content-encoding"))
    for name in (name.strip().lower() for name in codings.split(",")):
        if raw and name in ("gzip", "x-gzip", "deflate", "br", "zstd"):
            raw = encode(raw, name.removeprefix("x-"))
    return raw if not raw or decode(raw, codings).content == content else content


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
