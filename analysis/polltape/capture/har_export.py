"""Exchanges as a HAR 1.2 file that other tools open, and that comes back without loss.

What HAR has no place for (ids, clocks, clients, digests, why a body is missing) stands in ``_polltape``, see
:mod:`polltape.capture.extension`.  Unknown sizes and timings are -1.  The exchanges are written one by one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import IO, Any, Final
from urllib.parse import parse_qsl

from polltape.capture.extension import FIELD, coverage_extension, sealed
from polltape.capture.keys import Key
from polltape.capture.text import decode_body
from polltape.exchange import Body, Coverage, Exchange, Header, first_header

_UNKNOWN: Final = -1


def write_har(
    file: IO[str], exchanges: Iterable[Exchange], coverage: Sequence[Coverage], key: Key | None = None
) -> int:
    """Write the exchanges in their order; how many there were."""
    creator = {"name": "polltape", "version": version("polltape")}
    log = {"version": "1.2", "creator": creator, "pages": []}
    head = json.dumps({**log, FIELD: coverage_extension(coverage, key)})
    file.write(f'{{"log": {head[:-1]}, "entries": [')
    count = 0
    for exchange in exchanges:
        entry = sealed(to_entry(exchange), exchange, key)
        file.write(f"{',' if count else ''}\n{json.dumps(entry)}")
        count += 1
    file.write("\n]}}\n")
    return count


def to_entry(exchange: Exchange) -> dict[str, Any]:
    """The exchange as far as HAR 1.2 itself can hold it."""
    entry: dict[str, Any] = {
        "startedDateTime": exchange.request_started_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "time": _ms(exchange.request_started_at, exchange.response_ended_at),
        "request": _request(exchange),
        "response": _response(exchange),
        "cache": {},
        "timings": {
            "blocked": _UNKNOWN,
            "dns": _UNKNOWN,
            "connect": _UNKNOWN,
            "ssl": _UNKNOWN,
            "send": _ms(exchange.request_started_at, exchange.request_ended_at),
            "wait": _ms(exchange.request_ended_at, exchange.response_started_at),
            "receive": _ms(exchange.response_started_at, exchange.response_ended_at),
        },
    }
    host, _, port = (exchange.server_address or "").rpartition(":")
    if host and port.isdigit():
        entry |= {"serverIPAddress": host.strip("[]"), "_serverPort": int(port)}
    elif exchange.server_address:
        entry["serverIPAddress"] = exchange.server_address.strip("[]")
    if exchange.server_connection_id:
        entry["connection"] = exchange.server_connection_id
    return entry


def _request(exchange: Exchange) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": exchange.method,
        "url": exchange.url,
        "httpVersion": exchange.http_version or "",
        "cookies": [],
        "headers": _headers(exchange.request_headers),
        "queryString": [{"name": n, "value": v} for n, v in _query(exchange.query)],
        "headersSize": _UNKNOWN,
        "bodySize": _size(exchange.request_body.wire_size),
    }
    if exchange.request_body.content:
        mime = first_header(exchange.request_headers, "content-type")
        text, encoding = _text(exchange.request_body.content, mime)
        request["postData"] = {"mimeType": mime or "", "text": text}
        if encoding:  # HAR 1.2 has no encoding here
            request["postData"]["_encoding"] = encoding
    return request


def _query(query: str | None) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query or "", keep_blank_values=True, errors="replace", max_num_fields=10_000)
    except ValueError:
        return []  # the URL has it all the same


def _response(exchange: Exchange) -> dict[str, Any]:
    response: dict[str, Any] = {
        "status": exchange.status or 0,
        "statusText": exchange.reason or "",
        "httpVersion": exchange.http_version or "",
        "cookies": [],
        "headers": _headers(exchange.response_headers),
        "content": _content(exchange.response_body, first_header(exchange.response_headers, "content-type")),
        "redirectURL": first_header(exchange.response_headers, "location") or "",
        "headersSize": _UNKNOWN,
        "bodySize": _size(exchange.response_body.wire_size),
    }
    if exchange.error is not None:
        response["_error"] = exchange.error
    return response


def _content(body: Body, mime: str | None) -> dict[str, Any]:
    content: dict[str, Any] = {"size": _size(body.size), "mimeType": mime or ""}
    if body.content is not None:
        content["text"], encoding = _text(body.content, mime)
        if encoding:
            content["encoding"] = encoding
    if body.truncated:
        content["comment"] = "truncated by the recorder"
    elif body.not_stored:
        content["comment"] = f"not stored: {body.not_stored}"
    return content


def _text(content: bytes, mime: str | None) -> tuple[str, str | None]:
    """The content as text where exactly it comes back from that, else as base64; and the encoding."""
    text = decode_body(content, mime)
    return (base64.b64encode(content).decode(), "base64") if text is None else (text, None)


def _headers(headers: Iterable[Header]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in headers]


def _ms(start: datetime | None, end: datetime | None) -> float:
    """Milliseconds, exact to the microsecond; -1 where unknown or where the clock was set back."""
    if start is None or end is None or end < start:
        return _UNKNOWN
    elapsed = end - start
    return (elapsed.days * 86_400_000_000 + elapsed.seconds * 1_000_000 + elapsed.microseconds) / 1000


def _size(size: int | None) -> int:
    return _UNKNOWN if size is None else size
