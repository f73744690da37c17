"""From a frame to an exchange: bodies decoded, instants as datetimes, errors told by their kind."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from polltape.capture.content import DEFAULT_CAP, decode
from polltape.exchange import Body, Exchange, Header, all_headers, first_header
from polltape.recorder.frames import BodyHead, Frame

UNFINISHED: Final = "unfinished: the recording ended before the exchange did"
REDACTION_FAILED: Final = "redaction failed"

_ERROR_KINDS: Final = (
    ("TLS failure", ("tls", "ssl", "certificate", "handshake")),
    ("timeout", ("timed out", "timeout")),
    ("refused", ("refused", "connect call failed", "unreachable")),
    ("name not found", ("getaddrinfo", "name or service", "nodename", "name resolution")),
    ("killed", ("killed",)),
    ("reset", ("reset", "disconnect", "closed", "eof", "broken pipe")),
)
"""Kinds of errors and the words of mitmproxy and the operating system by which they are known."""


def error_text(message: str) -> str:
    """What mitmproxy says, after the kind of error that it is.

    >>> error_text("Certificate verify failed: self-signed certificate")
    'TLS failure: Certificate verify failed: self-signed certificate'
    """
    lower = message.lower()
    kind = next((kind for kind, words in _ERROR_KINDS if any(word in lower for word in words)), "failed")
    return f"{kind}: {message}"


def instant(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as UTC, rounded to microseconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def split_target(target: str) -> tuple[str, str | None]:
    """Path and query of a request target; bytes that no URL may have are percent-encoded.

    >>> split_target("/caf\\xe9?q=1?2")
    ('/caf%E9', 'q=1?2')
    """
    clean = re.sub(r"[^!-~]", lambda match: f"%{ord(match[0]):02X}", target)
    path, mark, query = clean.partition("?")
    return path, query if mark else None


def body_of(info: BodyHead, raw: bytes, headers: tuple[Header, ...], cap: int, absent: str | None = None) -> Body:
    """The body, decoded; ``absent`` is the reason where the addon never had it."""
    if info.size is None:
        length = first_header(headers, "Content-Length") or ""
        known = int(length) if absent and re.fullmatch(r"\d{1,15}", length) else None
        return Body(wire_size=known, not_stored=absent)
    encodings = ",".join(all_headers(headers, "Content-Encoding"))
    decoded = decode(raw, encodings, cap)
    if decoded.content is None:
        return Body(wire_size=info.size, not_stored=decoded.problem)
    whole = decoded.complete and len(raw) == info.size
    size = len(decoded.content) if whole else None
    if size is None and not encodings:
        size = info.size
    return Body(info.size, size, decoded.content, truncated=not whole)


def exchange_of(frame: Frame, session_id: str, cap: int = DEFAULT_CAP) -> Exchange:
    """The exchange that a frame hands over, not redacted yet.

    ``cap``: bytes of decoded content that are kept of a body.
    """
    head = frame.head
    path, query = split_target(head.target)
    started, sent, answered, ended = (instant(seconds) for seconds in head.times)
    mono = head.mono if isinstance(head.mono, list) and len(head.mono) == 4 else [None] * 4
    provisional = head.kind == "provisional"
    no_request = "streamed" if sent is not None else "unfinished"
    no_response = ("streamed" if head.streamed else "unfinished") if head.status is not None else None
    error = error_text(head.error) if head.error else None
    return Exchange(
        exchange_id=head.id,
        session_id=session_id,
        seq=head.seq,
        method=head.method,
        scheme=head.scheme,
        host=head.host,
        port=head.port,
        path=path,
        query=query,
        http_version=head.http_version,
        request_started_at=started or datetime.fromtimestamp(0, UTC),
        request_ended_at=sent,
        response_started_at=answered,
        response_ended_at=None if provisional else ended,
        request_started_mono_ns=mono[0],
        request_ended_mono_ns=mono[1],
        response_started_mono_ns=mono[2],
        response_ended_mono_ns=mono[3],
        request_headers=head.request_headers,
        request_trailers=head.request_trailers,
        request_body=body_of(head.request_body, frame.request_body, head.request_headers, cap, no_request),
        status=head.status,
        reason=head.reason,
        response_headers=head.response_headers,
        response_trailers=head.response_trailers,
        response_body=body_of(head.response_body, frame.response_body, head.response_headers, cap, no_response),
        error=UNFINISHED if provisional and error is None else error,
        client_address=head.client_address,
        server_address=head.server_address,
        client_connection_id=head.client_connection,
        server_connection_id=head.server_connection,
    )


def _withheld_headers(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    return tuple(Header(name, "") for name, _ in headers)


def _withheld_body(body: Body) -> Body:
    return Body(wire_size=body.wire_size, size=body.size, not_stored=REDACTION_FAILED)


def withheld(exchange: Exchange) -> Exchange:
    """What may be kept of an exchange whose redaction failed: that it was, when, and its status.

    Header names and body sizes stay; header values, path, query, bodies, trailers and addresses go.
    """
    return replace(
        exchange,
        path=f"/({REDACTION_FAILED})",
        query=None,
        request_headers=_withheld_headers(exchange.request_headers),
        request_trailers=_withheld_headers(exchange.request_trailers),
        request_body=_withheld_body(exchange.request_body),
        response_headers=_withheld_headers(exchange.response_headers),
        response_trailers=_withheld_headers(exchange.response_trailers),
        response_body=_withheld_body(exchange.response_body),
        reason=None,
        error=exchange.error.partition(":")[0] if exchange.error else None,
        client=None,
        client_address=None,
    )
