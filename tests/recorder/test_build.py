from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from polltape.exchange import Body, Header
from polltape.recorder.build import (
    UNFINISHED,
    address,
    body_of,
    error_text,
    exchange_of,
    method_of,
    named_target,
    split_target,
    withheld,
)
from polltape.recorder.frames import BodyHead, Frame, Head

HEAD: dict[str, Any] = {
    "kind": "exchange",
    "seq": 3,
    "method": "PUT",
    "named": ["regular", True, "http", "10.0.0.1", 8443, "shop.example"],
    "target": "/a/secret?token=secret",
    "http_version": "HTTP/1.1",
    "times": [1700000000.1234567, 1700000000.2, 1700000001.0, 1700000001.5],
    "mono": [1, 2, 3, 4],
    "request_headers": [["Authorization", "secret"], ["Content-Encoding", "gzip"]],
    "request_body": {"size": 26, "kept": 26},
    "status": 202,
    "reason": "Accepted",
    "response_headers": [["Location", "/secret"]],
    "response_trailers": [["T", "secret"]],
    "response_body": {"size": 6, "kept": 6},
    "client": ["10.0.0.9", 1],
    "server": ["::1", 443, 0, 0],
}


def frame(request: bytes = gzip.compress(b"secret", mtime=0), response: bytes = b"secret", **changes: Any) -> Frame:
    return Frame(msgspec.convert({**HEAD, **changes}, Head), request, response)


def test_a_frame_becomes_an_exchange() -> None:
    exchange = exchange_of(frame(), "s1")
    assert exchange.session_id == "s1"
    assert (exchange.path, exchange.query) == ("/a/secret", "token=secret")
    assert exchange.request_started_at == datetime(2023, 11, 14, 22, 13, 20, 123457, tzinfo=UTC)
    assert exchange.response_ended_mono_ns == 4
    assert (exchange.scheme, exchange.host, exchange.port) == ("https", "shop.example", 443)
    assert (exchange.client_address, exchange.server_address) == ("10.0.0.9:1", "[::1]:443")
    assert exchange.request_headers[0] == Header("Authorization", "secret")
    assert exchange.request_body == Body(26, 6, b"secret")
    assert exchange.response_body == Body(6, 6, b"secret")


@pytest.mark.parametrize(
    ("mode", "tls", "host_header", "scheme", "keep", "expected"),
    [
        ("regular", False, "shop.example", "http", False, ("http", "shop.example", 80)),
        ("regular", False, "shop.example:8080", "http", False, ("http", "shop.example", 8080)),
        ("regular", True, "Shop.Example", "http", False, ("https", "shop.example", 443)),
        ("regular", False, "[::1]:9", "http", False, ("http", "::1", 9)),
        ("regular", False, None, "http", False, ("http", "address", 22)),
        ("regular", False, "shop.example:99999", "http", False, ("http", "address", 22)),
        ("regular", False, "caf\xc3\xa9.example:81", "http", False, ("http", "xn--caf-dma.example", 81)),
        ("upstream", False, "shop.example", "https", False, ("https", "shop.example", 443)),
        ("reverse", False, "up.example", "https", False, ("https", "up.example", 443)),
        ("reverse", True, "up.example:81", "http", False, ("http", "up.example", 81)),
        ("reverse", False, "me:81", "https", True, ("http", "me", 81)),
        ("reverse", True, "me", "https", True, ("https", "me", 443)),
        ("transparent", True, "shop.example", "https", False, ("https", "shop.example", 443)),
        ("socks5", False, "shop.example", "https", False, ("http", "shop.example", 80)),
        ("reverse", True, "me", "", False, ("https", "me", 443)),
        ("reverse", False, "me:81", "", False, ("http", "me", 81)),
    ],
)
def test_the_row_names_what_the_client_named(
    mode: str, tls: bool, host_header: str | None, scheme: str, keep: bool, expected: tuple[str, str, int]
) -> None:
    assert named_target(mode, tls, scheme, "address", 22, host_header, keep) == expected


def test_addresses_that_are_none() -> None:
    assert address(None) is None
    assert address(["/run/socket"]) is None


def test_a_provisional_one_is_unfinished() -> None:
    nothing = {"times": [1.0, None, None, None], "status": None, "response_body": {}, "request_body": {}}
    exchange = exchange_of(frame(b"", b"", kind="provisional", **nothing), "s1")
    assert exchange.error == UNFINISHED
    assert exchange.request_body.not_stored == "unfinished"
    assert exchange.response_body == Body()


def test_a_streamed_body_is_not_stored() -> None:
    headers = [["Content-Length", "12345"]]
    exchange = exchange_of(frame(response=b"", streamed=True, response_body={}, response_headers=headers), "s")
    assert exchange.response_body == Body(wire_size=12345, not_stored="streamed")


@pytest.mark.parametrize(
    ("info", "raw", "encoding", "cap", "expected"),
    [
        (BodyHead(0, 0), b"", None, 9, Body(0, 0, b"")),
        (BodyHead(9, 3), b"abc", None, 9, Body(9, 9, b"abc", truncated=True)),
        (BodyHead(5, 5), b"abcde", None, 3, Body(5, 5, b"abc", truncated=True)),
        (BodyHead(26, 26), gzip.compress(b"abcdef", mtime=0), "gzip", 3, Body(26, None, b"abc", truncated=True)),
        (BodyHead(3, 3), b"abc", "gzip", 9, Body(3, not_stored="broken gzip")),
        (BodyHead(3, 3), b"abc", "lz4", 9, Body(3, not_stored="unknown content coding")),
    ],
)
def test_bodies(info: BodyHead, raw: bytes, encoding: str | None, cap: int, expected: Body) -> None:
    headers = (Header("content-encoding", encoding),) if encoding else ()
    assert body_of(info, raw, headers, cap) == expected


def test_what_no_url_may_hold_is_percent_encoded() -> None:
    assert split_target("/a b/\xe9?x=\x01") == ("/a%20b/%E9", "x=%01")
    assert split_target("/a?") == ("/a", "")
    assert split_target("/a#b?c") == ("/a%23b", "c")
    assert split_target("*") == ("*", None)
    assert [method_of(text) for text in ("PUT", "purge", "B L\xc9%", "x" * 70)] == [
        "PUT",
        "purge",
        "B%20L%C9%25",
        "x" * 64,
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Certificate verify failed: expired", "TLS failure: Certificate verify failed: expired"),
        ("[Errno 111] Connect call failed ('127.0.0.1', 1)", "refused: "),
        ("connection timed out", "timeout: "),
        ("[Errno -2] Name or service not known", "name not found: "),
        ("server closed connection", "reset: "),
        ("Connection killed.", "killed: "),
        ("HTTP/1 protocol error: bad", "failed: "),
    ],
)
def test_errors_are_told_by_kind(message: str, expected: str) -> None:
    assert error_text(message).startswith(expected)


def test_a_reset_of_http2_is_not_put_on_the_client() -> None:
    """mitmproxy has one sentence for both sides."""
    assert error_text("stream reset by client (INTERNAL_ERROR)") == "reset: stream reset (INTERNAL_ERROR)"


def test_withheld_keeps_no_value() -> None:
    exchange = exchange_of(frame(error="reset by secret"), "s1")
    kept = withheld(exchange)
    assert "secret" not in repr(kept)
    assert "10.0.0.9" not in repr(kept)
    assert (kept.exchange_id, kept.status, kept.host) == (exchange.exchange_id, 202, "shop.example")
    assert kept.request_headers[0] == Header("Authorization", "")
    assert kept.response_body == Body(6, 6, not_stored="redaction failed")
    assert kept.error == "reset"
