"""One entry of a HAR 1.2 file as an exchange.

Source: the HAR 1.2 specification (http://www.softwareishard.com/blog/har-12-spec/), and what Chrome,
Firefox, Safari, Charles, Fiddler, Insomnia, Playwright and mitmproxy really write.  What a HAR leaves out is
unknown (None), never 0 and never empty.

The four instants: request started = ``startedDateTime`` + ``blocked`` + ``dns`` + ``connect`` (an unknown
one of these adds nothing; ``ssl`` lies inside ``connect``); then ``send``, ``wait``, ``receive``: an unknown
one leaves what follows null; response ended = ``startedDateTime`` + ``time``, without it the sum of the
timings.  Sums are exact; each instant is rounded once, to the nearest microsecond.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from polltape.capture.notes import UnusableError
from polltape.capture.text import METHOD, byte_text, encode_body, split_url, utf8, well_formed
from polltape.exchange import Body, Exchange, Header, first_header

NOT_IN_THE_HAR: Final = "not in the HAR"

MAX_MILLISECONDS: Final = 10**12
"""A timing above this (31 years) is not believed: it is unknown."""

MAX_ERROR_CHARS: Final = 500

EARLIEST_YEAR: Final = 1900
"""Before that there was no HTTP; Fiddler writes the year 1 for a time that it does not know."""

_INSTANT: Final = re.compile(
    r"""(\d{4})-(\d\d)-(\d\d) [T\ ] (\d\d):(\d\d)(?: :(\d\d)(?:[.,](\d{1,30}))? )?
        \s* (Z | [+-]\d\d(?: :?\d\d)? )?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
_VERSIONS: Final = {"http/2": "HTTP/2.0", "h2": "HTTP/2.0", "h2c": "HTTP/2.0", "http/3": "HTTP/3", "h3": "HTTP/3"}
_CONNECTION: Final = re.compile(r"\d{1,12}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_BEFORE: Final = ("blocked", "dns", "connect")
_STEPS: Final = (*_BEFORE, "send", "wait", "receive")
_EXACT: Final = Context(prec=400)
"""No sum of timings and instants has so many digits: the smallest float is written 5e-324."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_BODY: Final = frozenset({204, 205, 304})


class Instants(NamedTuple):
    """The four instants of an exchange."""

    request_started: datetime
    request_ended: datetime | None
    response_started: datetime | None
    response_ended: datetime | None


def read_entry(entry: object, exchange_id: str) -> Exchange:
    """The entry as an exchange, not redacted yet; client, client address and monotonic clock unknown.

    Raises :class:`UnusableError` where it has no request, no method, no http URL or no time.
    """
    if not isinstance(entry, dict):
        raise UnusableError("not an object")
    request, response = entry.get("request"), _mapping(entry.get("response"))
    if not isinstance(request, dict):
        raise UnusableError("it has no request")
    method = request.get("method")
    if not isinstance(method, str) or not METHOD.fullmatch(method):
        raise UnusableError("it has no request method")
    scheme, host, port, path, query = split_url(_url(request))
    status = _status(response)
    instants = read_instants(entry, answered=status is not None)
    request_headers = _with_type(_headers(request), _mapping(request.get("postData")))
    response_headers = _with_type(_headers(response), _mapping(response.get("content")))
    return Exchange(
        exchange_id=exchange_id,
        method=method,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        query=query,
        http_version=_http_version(entry, request, response),
        request_started_at=instants.request_started,
        request_ended_at=instants.request_ended,
        response_started_at=instants.response_started,
        response_ended_at=instants.response_ended,
        request_headers=request_headers,
        request_body=_request_body(request, request_headers),
        status=status,
        reason=_reason(response) if status is not None else None,
        response_headers=response_headers,
        response_body=_response_body(method, status, response, response_headers),
        error=_error(entry, response, status),
        server_address=_server_address(entry),
        server_connection_id=_connection(entry, port),
    )


# ------------------------------------------------------------------------------------------- instants


def read_instants(entry: Mapping[str, Any], *, answered: bool = True) -> Instants:
    """The four instants of an entry; the response never started where there was no answer.

    Tools round ``time`` and the timings each for itself: a response never ends before it started.
    """
    began = parse_instant(entry.get("startedDateTime"))
    timings = _mapping(entry.get("timings"))
    spent = {name: _us(timings.get(name)) for name in _STEPS}
    ready = _sum(began, *(spent[name] for name in _BEFORE))
    sent = _plus(ready, spent["send"])
    answer = _plus(sent, spent["wait"])
    total = _us(entry.get("time"))
    if total is None and any(us is not None for us in spent.values()):
        total = _sum(*spent.values())  # by HAR 1.2 the sum of those timings that are not -1
    ended = None if total is None else max(_sum(began, total), answer or sent or ready)
    return Instants(
        _to_datetime(ready),
        None if sent is None else _to_datetime(sent),
        None if answer is None or not answered else _to_datetime(answer),
        None if ended is None else _to_datetime(ended),
    )


def parse_instant(value: object) -> Decimal:
    """ISO 8601 as microseconds since the epoch, exactly; without a zone it is taken as UTC.

    >>> parse_instant("2026-01-02T03:04:05.1234567+01:00")
    Decimal('1767319445123456.7000000')
    """
    match = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise UnusableError("it has no start time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if int(year) < EARLIEST_YEAR:
        raise UnusableError("it has no start time")
    try:  # seconds are added, so that a leap second's 60 is the next minute's 0
        whole = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
        whole += timedelta(seconds=int(second or 0)) - _offset(zone)
    except (ValueError, OverflowError):
        raise UnusableError("it has no start time") from None
    since = whole - _EPOCH
    exact = _EXACT.add(Decimal(since.days * 86_400 + since.seconds), Decimal(f"0.{fraction or 0}"))
    return _EXACT.multiply(exact, Decimal(1_000_000))


def has_zone(value: object) -> bool:
    """Whether a ``startedDateTime`` says which zone it is in."""
    match = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    return match is not None and match[8] is not None


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta(0)
    sign = -1 if zone[0] == "-" else 1
    digits = zone[1:].replace(":", "")
    return sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))


def _us(value: object) -> Decimal | None:
    """A timing as microseconds; None where it is missing, negative or no believable number.

    ``repr`` of a float is the shortest text that gives it back, hence what the tool wrote.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= MAX_MILLISECONDS:  # false of NaN, too
        return None
    return Decimal(repr(value)) * 1000


def _sum(*amounts: Decimal | None) -> Decimal:
    """The sum, exactly, of those that are known."""
    total = Decimal(0)
    for amount in amounts:
        if amount:
            total = _EXACT.add(total, amount)
    return total


def _plus(start: Decimal | None, duration: Decimal | None) -> Decimal | None:
    return None if start is None or duration is None else _EXACT.add(start, duration)


def _to_datetime(microseconds: Decimal) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=round(microseconds))
    except OverflowError:
        raise UnusableError("its time is beyond the calendar") from None


# -------------------------------------------------------------------------------------------- headers


def _headers(message: Mapping[str, Any]) -> tuple[Header, ...]:
    """The header lines, one character a byte, without HTTP/2 pseudo headers (RFC 9113 §8.3).

    Chrome joins lines of one name by a line feed; no value may contain one, so they are split again.
    """
    lines = message.get("headers")
    found: list[Header] = []
    for pair in map(_pair, lines if isinstance(lines, list) else ()):
        if pair is None or not pair[0] or pair[0].startswith(":"):
            continue
        name, value = byte_text(pair[0]), byte_text(pair[1])
        if "\n" in value:
            found += [Header(name, part) for part in re.split(r"\r?\n", value)]
        else:
            found.append(Header(name, value))
    return tuple(found)


def _pair(line: object) -> tuple[str, str] | None:
    """``{"name": …, "value": …}`` or, as Slack writes it, ``[name, value]``."""
    if isinstance(line, dict):
        name, value = line.get("name"), line.get("value", "")
    elif isinstance(line, list) and len(line) == 2:
        name, value = line
    else:
        return None
    if not isinstance(name, str):
        return None
    if isinstance(value, str):
        return name, value
    if not isinstance(value, int | float | None):
        return None
    return name, "" if value is None else str(value)


def _with_type(headers: tuple[Header, ...], holder: Mapping[str, Any]) -> tuple[Header, ...]:
    """The headers; without a Content-Type the one that ``mimeType`` says: by the specification its value."""
    mime = holder.get("mimeType")
    if not isinstance(mime, str) or "/" not in mime or first_header(headers, "content-type") is not None:
        return headers
    return (*headers, Header("Content-Type", byte_text(mime.replace("\r", " ").replace("\n", " "))))


def _url(request: Mapping[str, Any]) -> str:
    url = request.get("url")
    if not isinstance(url, str) or not url.strip():
        raise UnusableError("it has no URL")
    return url


def _http_version(entry: Mapping[str, Any], request: Mapping[str, Any], response: Mapping[str, Any]) -> str | None:
    """The version both spoke; Playwright writes HTTP/1.1 where it knows none (a status -1, an API request)."""
    if response.get("status") == -1:
        return None
    if entry.get("_apiRequest") is True:
        return _version(response)
    return _version(request) or _version(response)


def _version(message: Mapping[str, Any]) -> str | None:
    version = message.get("httpVersion")
    if not isinstance(version, str):
        return None
    name = version.strip().lower()
    if name in _VERSIONS:
        return _VERSIONS[name]
    return name.upper() if re.fullmatch(r"http/\d(\.\d)?", name) else None


# --------------------------------------------------------------------------------------------- bodies


def _request_body(request: Mapping[str, Any], headers: tuple[Header, ...]) -> Body:
    wire = _size(request.get("bodySize"))
    post = _mapping(request.get("postData"))
    content, why = _content(post, first_header(headers, "content-type"))
    if content is None and why is None:
        content = _form(post)
    if content == b"" and wire != 0:  # what could not be had is written as "", too
        content = None
    if content is not None:
        return Body(wire_size=wire, size=len(content), content=content)
    if wire == 0 or (not wire and why is None and _sends_nothing(request, post, headers)):
        return Body(wire_size=0, size=0, content=b"")
    bare = why is None and not wire and request.get("method") in ("GET", "HEAD", "OPTIONS")
    return Body(wire_size=wire, not_stored=None if bare else why or NOT_IN_THE_HAR)


def _sends_nothing(request: Mapping[str, Any], post: Mapping[str, Any], headers: tuple[Header, ...]) -> bool:
    """Whether the headers tell that there is no body (RFC 9112 §6.3); HTTP/2 and 3 need none for one."""
    length = first_header(headers, "content-length")
    if length is not None:
        return length.strip() == "0"
    framed = first_header(headers, "transfer-encoding") is not None
    return not post and not framed and _version(request) in ("HTTP/1.0", "HTTP/1.1")


def _form(post: Mapping[str, Any]) -> bytes | None:
    """The form that ``params`` lists where there is no text; None with a file or of another type."""
    params, mime = post.get("params"), post.get("mimeType")
    if not isinstance(params, list) or not params or not isinstance(mime, str):
        return None
    if mime.split(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    pairs = [_pair(param) for param in params]
    if None in pairs:
        return None
    return urlencode([(utf8(name), utf8(value)) for name, value in filter(None, pairs)]).encode()


def _response_body(method: str, status: int | None, response: Mapping[str, Any], headers: tuple[Header, ...]) -> Body:
    """The response's body; none where there was no response, or where by RFC 9110 §6.4.1 it has none."""
    holder = _mapping(response.get("content"))
    size = _size(holder.get("size"))
    wire = _wire_size(response, holder, size)
    content, why = _content(holder, first_header(headers, "content-type"))
    if not content and status is None:
        return Body()
    if not content and (method == "HEAD" or status in _NO_BODY or (status or 0) < 200):
        return Body(wire_size=0, size=0, content=b"")
    if content is None or (not content and size):  # a text that could not be had is written as ""
        return Body(wire_size=wire, size=size, not_stored=why or NOT_IN_THE_HAR)
    cut = "truncat" in str(holder.get("comment", "")).lower()  # Firefox, beyond its limit
    return Body(wire_size=wire, size=size if cut else len(content), content=content, truncated=cut)


def _content(holder: Mapping[str, Any], content_type: str | None) -> tuple[bytes | None, str | None]:
    """The content that a HAR holds as text or base64, or None and, where there is one, the reason."""
    text = holder.get("text")
    if not isinstance(text, str):
        return None, None
    if str(holder.get("encoding") or holder.get("_encoding") or "").lower() != "base64":
        return encode_body(text, content_type), None
    try:
        return base64.b64decode("".join(text.split()), validate=True), None
    except (binascii.Error, ValueError):
        return None, "unreadable base64 in the HAR"


def _wire_size(response: Mapping[str, Any], holder: Mapping[str, Any], size: int | None) -> int | None:
    """``bodySize``, else from the compression, else what was transferred less the headers.

    Chrome's ``_transferSize`` includes the headers, so without their size it says nothing of the body.
    """
    body = _size(response.get("bodySize"))
    if body is not None:
        return body
    saved = holder.get("compression")
    if size is not None and isinstance(saved, int) and size - saved >= 0:
        return size - saved
    total, head = _size(response.get("_transferSize")), _size(response.get("headersSize"))
    return None if total is None or head is None or head > total else total - head


# ------------------------------------------------------------------------------------------ the others


def _status(response: Mapping[str, Any]) -> int | None:
    """100 to 999; None for 0 and everything else: an error took the response's place."""
    status = response.get("status")
    if isinstance(status, str) and re.fullmatch(r"\d{3}", status, re.ASCII):
        status = int(status)
    if isinstance(status, float) and status.is_integer():
        status = int(status)
    return status if isinstance(status, int) and 100 <= status <= 999 else None


def _error(entry: Mapping[str, Any], response: Mapping[str, Any], status: int | None) -> str | None:
    for text in (response.get("_error"), response.get("_failureText"), entry.get("_error")):
        if isinstance(text, str) and text.strip():
            return well_formed(text.strip())[:MAX_ERROR_CHARS]
    return None if status is not None else "no response"


def _reason(response: Mapping[str, Any]) -> str | None:
    reason = response.get("statusText")
    return byte_text(reason) if isinstance(reason, str) and reason else None


def _server_address(entry: Mapping[str, Any]) -> str | None:
    address, port = entry.get("serverIPAddress"), entry.get("_serverPort")
    if not isinstance(address, str) or not re.fullmatch(r"\[?[0-9A-Fa-f:.]{2,45}\]?", address):
        return None
    host = f"[{address.strip('[]')}]" if ":" in address else address
    return f"{host}:{port}" if isinstance(port, int) and not isinstance(port, bool) else host


def _connection(entry: Mapping[str, Any], port: int) -> str | None:
    """``connection``, a short number or a UUID; not the server's port (Firefox), which tells nothing apart."""
    name = str(entry.get("connection"))
    return name if _CONNECTION.fullmatch(name) and name not in ("0", str(port)) else None


def _size(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**62:
        return None
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
