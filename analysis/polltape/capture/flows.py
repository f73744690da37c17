"""mitmproxy's flow files (``mitmdump -w``): HTTP flows as exchanges.

mitmproxy itself is loaded only when such a file is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_from_bytes

from polltape.capture.content import decode
from polltape.capture.extension import FIELD, unseal
from polltape.capture.keys import Key
from polltape.capture.notes import Notes, UnusableError
from polltape.capture.text import METHOD, split_authority, well_formed
from polltape.errors import InputError
from polltape.exchange import DEFAULT_PORTS, Body, Exchange, Header, all_headers

if TYPE_CHECKING:
    from mitmproxy.flow import Flow
    from mitmproxy.http import Headers, HTTPFlow, Message

PLAIN: Final = "plain"
"""Beside the extension: the messages whose content stands in the flow without the codings of its headers."""

UNFINISHED: Final = "unfinished"
"""The error of a flow that has neither a response nor an error: it was saved under way."""

_VERSION: Final = re.compile(r"[!-~]{1,20}")
_KEPT: Final = "".join(chr(code) for code in range(0x21, 0x7F))


def read_flows(path: Path, notes: Notes, key: Key | None = None) -> Iterator[tuple[Exchange, bool]]:
    """The exchanges of the HTTP flows in the file's order, each with whether it is redacted already.

    Flows of other types and a torn tail are told, not counted.  Raises
    :class:`~polltape.errors.InputError` where the file cannot be read or holds no flow.
    """
    from mitmproxy.http import HTTPFlow

    seen: Counter[str] = Counter()
    for index, flow in enumerate(_flows(path, notes)):
        notes.at = index
        if not isinstance(flow, HTTPFlow):
            notes.odd(f"of type {type(flow).__name__.removesuffix('Flow').lower()}, not HTTP: not counted", index)
            continue
        try:
            exchange = from_flow(flow, flow_id(flow, seen))
            found = _unseal(flow, exchange, key)
        except UnusableError as error:
            notes.leave_out(str(error), index)
        except (ValueError, OverflowError, AttributeError, TypeError):
            notes.leave_out("it has no usable address or time", index)
        else:
            yield found


def flow_id(flow: HTTPFlow, seen: Counter[str]) -> str:
    """Digest (hex) of what tells the flow apart, and of how many equal ones came before it.

    That is mitmproxy's own id of the flow (random) and the request's start and line: the rest may be written
    differently by another version of mitmproxy.
    """
    request = flow.request
    line = [flow.id, request.timestamp_start, request.method, request.scheme, request.host, request.path]
    digest = hashlib.sha256(json.dumps(line).encode()).hexdigest()
    seen[digest] += 1
    return hashlib.sha256(f"{digest}{seen[digest]}".encode()).hexdigest()[:32]


def from_flow(flow: HTTPFlow, exchange_id: str) -> Exchange:
    """One HTTP flow as an exchange, not redacted yet; client and monotonic clock unknown.

    Raises :class:`UnusableError` where no row can be made of it, ValueError and its like where its state is unsound.
    """
    request, response = flow.request, flow.response
    if not METHOD.fullmatch(request.method):
        raise UnusableError("it has no request method")
    if response is not None and not 100 <= response.status_code <= 999:
        raise UnusableError("its status is none of HTTP's")
    host, port = _named_host(flow)
    path, _, query = request.data.path.partition(b"?")
    error = well_formed(flow.error.msg) if flow.error else None if response else UNFINISHED
    ended = response.timestamp_end if response else flow.error.timestamp if flow.error else None
    return Exchange(
        exchange_id=exchange_id,
        method=request.method,
        scheme=_scheme(request.scheme),
        host=host,
        port=port,
        path=quote_from_bytes(path, safe=_KEPT) or "/",
        query=quote_from_bytes(query, safe=_KEPT) if b"?" in request.data.path else None,
        http_version=request.http_version if _VERSION.fullmatch(request.http_version) else None,
        request_started_at=_instant(request.timestamp_start),
        request_ended_at=_maybe_instant(request.timestamp_end),
        response_started_at=_maybe_instant(response.timestamp_start if response else None),
        response_ended_at=_maybe_instant(ended),
        request_headers=_lines(request.headers),
        request_body=_body(request),
        request_trailers=_lines(request.trailers),
        status=response.status_code if response else None,
        reason=response.reason or None if response else None,
        response_headers=_lines(response.headers) if response else (),
        response_body=_body(response) if response else Body(),
        response_trailers=_lines(response.trailers) if response else (),
        error=error,
        client_address=_address(flow.client_conn.peername, with_port=False),
        server_address=_address(flow.server_conn.peername or flow.server_conn.address),
        client_connection_id=well_formed(flow.client_conn.id),
        server_connection_id=well_formed(flow.server_conn.id) if flow.server_conn.address else None,
    )


def _named_host(flow: HTTPFlow) -> tuple[str, int]:
    """Host and port that the client named: in reverse and transparent mode not where the request went."""
    request = flow.request
    if request.host_header:
        with suppress(UnusableError):
            host, port = split_authority(request.host_header)
            return host, DEFAULT_PORTS.get(request.scheme, request.port) if port is None else port
    bare = f"[{request.host}]" if ":" in request.host else request.host
    return split_authority(f"{bare}:{request.port}")[0], request.port


def _scheme(scheme: str) -> str:
    if scheme not in ("", *DEFAULT_PORTS):
        raise UnusableError("its scheme is none of HTTP's")
    return scheme or "http"


def _body(message: Message) -> Body:
    raw = message.raw_content
    if raw is None:
        return Body(not_stored="streamed past the recorder")
    codings = ", ".join(all_headers(_lines(message.headers), "content-encoding"))
    decoded = decode(raw, codings)
    if decoded.content is None:
        return Body(wire_size=len(raw), not_stored=decoded.problem)
    size = len(decoded.content) if decoded.complete else None
    return Body(wire_size=len(raw), size=size, content=decoded.content, truncated=not decoded.complete)


def _lines(headers: Headers | None) -> tuple[Header, ...]:
    fields = headers.fields if headers is not None else ()
    return tuple(Header(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)


def _address(address: tuple[Any, ...] | None, *, with_port: bool = True) -> str | None:
    if not address:
        return None
    name = well_formed(str(address[0]))
    host = f"[{name}]" if ":" in name and with_port else name
    return f"{host}:{address[1]}" if with_port else host


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe_instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else _instant(seconds)


def _unseal(flow: HTTPFlow, exchange: Exchange, key: Key | None) -> tuple[Exchange, bool]:
    """Undo what the export put into the flow's metadata (:mod:`polltape.capture.flow_export`)."""
    extension = flow.metadata.get(FIELD)
    if not isinstance(extension, dict):
        return exchange, False
    extension = dict(extension)
    plain = extension.pop(PLAIN, [])
    if isinstance(plain, list):
        exchange = _with_plain(flow, exchange, plain)
    return unseal({**sealed_part(exchange), PLAIN: plain, FIELD: extension}, exchange, key)


def _with_plain(flow: HTTPFlow, exchange: Exchange, plain: list[object]) -> Exchange:
    """The exchange with the contents that the flow holds as they are, whatever codings their headers name."""
    if "request" in plain:
        exchange = replace(exchange, request_body=_plain(flow.request, exchange.request_body))
    if "response" in plain and flow.response is not None:
        exchange = replace(exchange, response_body=_plain(flow.response, exchange.response_body))
    return exchange


def _plain(message: Message, body: Body) -> Body:
    raw = message.raw_content
    return Body(wire_size=len(raw), size=len(raw), content=raw) if raw else body


def plain_messages(flow: HTTPFlow, exchange: Exchange) -> list[str]:
    """Which messages of a flow made from an exchange hold their content as it is, though their headers name codings."""
    found = []
    for name, message in (("request", flow.request), ("response", flow.response)):
        content = getattr(exchange, f"{name}_body").content
        if message is not None and content and _body(message).content != content:
            found.append(name)
    return found


def sealed_part(exchange: Exchange) -> dict[str, Any]:
    """What of a flow the seal vouches for besides the facts: headers and contents, as they come back."""
    request = _vouched(exchange.request_headers, exchange.request_body)
    if exchange.status is None:
        return {"request": request}
    return {"request": request, "response": _vouched(exchange.response_headers, exchange.response_body)}


def _vouched(headers: tuple[Header, ...], body: Body) -> list[Any]:
    return [[list(header) for header in headers], (body.content or b"").hex()]


def _flows(path: Path, notes: Notes) -> Iterator[Flow]:
    from mitmproxy.io import FlowReader

    count = 0
    try:
        with path.open("rb") as file:
            _check_start(path, file.peek(4)[:4])
            for flow in FlowReader(file).stream():
                count += 1
                yield flow
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a torn or damaged flow leaves mitmproxy's reader as any kind of error
        if not count:
            raise InputError(f"{path}: not a mitmproxy flow file", hint="name a file that mitmdump -w wrote") from error
        notes.say(f"torn or damaged after {count} flows; what follows is not read")


def _check_start(path: Path, start: bytes) -> None:
    if not start:
        raise InputError(f"{path}: empty (0 bytes), not a mitmproxy flow file", hint="record it again, or remove it")
    if start.startswith((b"{", b"\xef\xbb\xbf{")):
        raise InputError(f"{path}: JSON, not a mitmproxy flow file", hint="if it is a HAR, let its name end in .har")
