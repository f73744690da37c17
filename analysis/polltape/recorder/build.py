"""From a frame to an exchange: bodies decoded, instants as datetimes, errors told by their kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from polltape.capture.content import DEFAULT_CAP, decode
from polltape.capture.notes import UnusableError
from polltape.capture.text import METHOD, split_authority
from polltape.exchange import DEFAULT_PORTS, Body, Exchange, Header, all_headers, first_header
from polltape.recorder.frames import BodyHead, Frame
from polltape.recorder.ids import exchange_id

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
    message = message.replace("stream reset by client", "stream reset")  # so mitmproxy calls a server's reset, too
    lower = message.lower()
    kind = next((kind for kind, words in _ERROR_KINDS if any(word in lower for word in words)), "failed")
    return f"{kind}: {message}"


def instant(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as UTC, rounded to microseconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def split_target(target: str) -> tuple[str, str | None]:
    """Path and query of a request target; bytes that it may not have (RFC 9112 §3.2) are percent-encoded.

    >>> split_target("/caf\\xe9?q=1?2")
    ('/caf%E9', 'q=1?2')
    """
    path, mark, query = _percent_encoded(r"[^!-~]|#", target).partition("?")
    return path, query if mark else None


def method_of(text: str) -> str:
    """The method; what no token may have (RFC 9110 §5.6.2) is percent-encoded, so that every format can hold it.

    >>> method_of("BL\\xc9")
    'BL%C9'
    """
    return text if METHOD.fullmatch(text) else _percent_encoded(r"[^!#$&'*+\-.^_`|~0-9A-Za-z]", text)[:64]


def _percent_encoded(these: str, text: str) -> str:
    return re.sub(these, lambda match: f"%{ord(match[0]):02X}", text)


def named_target(
    kind: str, client_tls: bool, scheme: str, host: str, port: int, host_header: str | None, keep_host: bool
) -> tuple[str, str, int]:
    """Scheme, host and port that the client named, wherever the request was really sent to.

    In reverse mode mitmproxy has put the upstream's name into the Host header before any addon is asked, unless
    ``keep_host_header`` is set: the upstream's scheme belongs to that name.

    >>> named_target("reverse", False, "https", "10.0.0.1", 443, "Me.example:81", keep_host=True)
    ('http', 'me.example', 81)
    """
    of_client = keep_host or kind != "reverse" or not scheme  # none: refused before mitmproxy put the upstream's in
    if of_client and (client_tls or not scheme or kind not in ("regular", "upstream")):
        scheme = "https" if client_tls else "http"
    port = port or DEFAULT_PORTS.get(scheme, port)
    try:
        name, named_port = split_authority((host_header or "").encode("latin-1", "replace").decode("utf-8", "replace"))
    except UnusableError:
        return scheme, host.lower(), port
    return scheme, name, DEFAULT_PORTS.get(scheme, port) if named_port is None else named_port


def address(peer: Sequence[str | int] | None) -> str | None:
    """A socket address as ``host:port``.

    >>> address(["::1", 80, 0, 0])
    '[::1]:80'
    """
    if not peer or len(peer) < 2:
        return None
    return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"


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


def exchange_of(frame: Frame, session_id: str, cap: int = DEFAULT_CAP, keep_host: bool = False) -> Exchange:
    """The exchange that a frame hands over, not redacted yet.

    ``cap``: bytes of decoded content that are kept of a body.  ``keep_host``: mitmproxy's ``keep_host_header``.
    """
    head = frame.head
    scheme, host, port = named_target(*head.named, keep_host)
    path, query = split_target(head.target)
    started, sent, answered, ended = (instant(seconds) for seconds in head.times)
    mono = head.mono if isinstance(head.mono, list) and len(head.mono) == 4 else [None] * 4
    provisional = head.kind == "provisional"
    no_request = "streamed" if sent is not None else "unfinished"
    no_response = ("streamed" if head.streamed else "unfinished") if head.status is not None else None
    error = error_text(head.error) if head.error else None
    return Exchange(
        exchange_id=exchange_id(session_id, head.seq, head.times[0] or 0.0),
        session_id=session_id,
        seq=head.seq,
        method=method_of(head.method),
        scheme=scheme,
        host=host,
        port=port,
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
        reason=head.reason or None,
        response_headers=head.response_headers,
        response_trailers=head.response_trailers,
        response_body=body_of(head.response_body, frame.response_body, head.response_headers, cap, no_response),
        error=UNFINISHED if provisional and error is None else error,
        client_address=address(head.client),
        server_address=address(head.server),
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
