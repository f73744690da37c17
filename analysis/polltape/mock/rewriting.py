"""A recorded answer made to fit the client that asks now: its tokens, the mock's address, headers made anew.

* Addresses and tokens are renewed in headers and body (:mod:`polltape.mock.template`).
* Headers about the connection, the encoding and the age of the answer are dropped and made anew; signatures are
  left out.
* Instructions to wait are scaled, their dates moved (:mod:`polltape.mock.hints`).

What one recorded answer needs is worked out once (:class:`Prepared`), when it is first given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Final, Literal, NamedTuple

import msgspec

from polltape.exchange import Body, Exchange, Header
from polltape.mock.hints import (
    DIGEST_HEADER,
    ETA_HEADER,
    MILLISECONDS,
    RETRY_AFTER,
    WAIT_HEADER,
    exact,
    left_of,
    move_fields,
    scaled_line,
    scaled_number,
    wait_of,
)
from polltape.mock.messages import Request, Response, reason_of, request_id
from polltape.mock.recording import SIGNATURES
from polltape.mock.template import Kind, Names, Template, called_an_id, template_of, values_for
from polltape.protocols import par_digest
from polltape.protocols.base import MAX_JSON_BYTES

_PREPARED: Final = 200_000
"""Answers that are kept prepared."""
_PREPARED_BYTES: Final = 1 << 29

_HOP_BY_HOP: Final = {  # RFC 9110 §7.6.1
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_ONE_TRANSFER: Final = {"content-length", "content-encoding", "etag", "date", "age"}
_REAL_SERVER_ONLY: Final = {"alt-svc", "strict-transport-security", "expect-ct", "public-key-pins"}
_OWN: Final = "x-polltape-"  # there already where a mock was recorded
_DROPPED: Final = frozenset(SIGNATURES | _HOP_BY_HOP | _ONE_TRANSFER | _REAL_SERVER_ONLY)
_TIMED: Final = ('"pollAfter"', '"pollDelay"', '"queueEtaSeconds"')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_COOKIE_DOMAIN: Final = re.compile(r"(?i);\s*domain=[^;]*")
_COOKIE_SECURE: Final = re.compile(r"(?i);\s*secure(?=\s*(?:;|$))")

__all__ = ["Change", "Names", "Rewriter"]

Change = Callable[[dict[str, Any]], None]
"""Changes the JSON object of a body in place."""


class Made(NamedTuple):
    """A header whose value is made for each answer: filled in, an id of its own, or a date."""

    name: str
    kind: Literal["filled", "id", "date"]
    template: Template


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recorded answer, ready to be filled in.

    ``headers``: its lines; in the places that ``made`` names stand those that are made for each answer.  ``sized``:
    it says its length.  ``timed``: its body says when to come back.  ``digest``: the name of its header with PAR's
    digest.
    """

    headers: tuple[Header, ...]
    made: tuple[tuple[int, Made], ...]
    body: Template
    json: bool
    sized: bool
    timed: bool
    digest: str | None


@dataclass
class Rewriter:
    """Renders recorded answers.

    ``authorities``: of every recorded request, with and without a port.  ``par_key``: the SharedId that signs PAR's
    orders anew; without it their digest is left out.  ``as_signed``: recorded signatures are passed on instead, with
    what was thought of PAR's digest in ``X-Polltape-Digest`` (right, wrong): a replay looks whether it was there.
    """

    authorities: frozenset[str]
    speed: float
    par_key: str | None = None
    as_signed: bool = False
    prepared: dict[tuple[str, tuple[str, ...], bool], Prepared] = field(default_factory=dict)
    held: int = 0

    @classmethod
    def of(
        cls, authorities: frozenset[str], speed: float, par_key: str | None = None, *, as_signed: bool = False
    ) -> Rewriter:
        """A rewriter that knows these authorities, also under their hosts alone."""
        known = authorities | {authority.rsplit(":", 1)[0] for authority in authorities}
        return cls(known, speed, par_key, as_signed)

    def response(
        self,
        exchange: Exchange,
        request: Request,
        now: float,
        *,
        names: Names = (),
        change: Change | None = None,
        hold_s: float = 0.0,
        age_s: float = 0.0,
        chance: Random,
    ) -> Response:
        """The recorded answer for this request; ``change`` echoes what the client sent.

        ``age_s``: how many of the server's seconds later in its operation than recorded it is given.
        """
        recorded = (names[0][0],) if len(names) == 1 else tuple([recorded for recorded, _ in names])
        prepared = self._prepared(exchange, recorded, secure=request.scheme == "https")
        base = request.base
        body = _bytes(prepared.body.filled(values_for(base, names, json=prepared.json)))
        if change is not None and prepared.json:
            body = _changed(body, change)
        if prepared.timed:
            body = _changed(body, lambda value: move_fields(value, _answered_at(exchange), self.speed, now, age_s))
        headers = [*prepared.headers]
        if prepared.made:
            values = values_for(base, names, json=False)
            for place, made in prepared.made:
                headers[place] = self._line(made, exchange, values, now, chance)
        if prepared.timed and _until(exchange) and (asked := _asked_s(exchange)) is not None:
            headers.append(Header(WAIT_HEADER, exact(left_of(asked, age_s), self.speed)))
        if prepared.timed and self.speed != 1 and (eta_s := _eta_s(exchange)) is not None:
            headers.append(Header(ETA_HEADER, exact(eta_s, self.speed)))
        if prepared.digest is not None and (line := self._signed(prepared.digest, exchange, body)) is not None:
            headers.append(line)
        if prepared.sized:
            headers.append(Header("Content-Length", str(len(body))))
        status = exchange.status or 500
        return Response(status, exchange.reason or reason_of(status), tuple(headers), body, hold_s)

    def _line(self, made: Made, exchange: Exchange, values: tuple[str, ...], now: float, chance: Random) -> Header:
        if made.kind == "id":
            return Header(made.name, request_id(chance))
        text = made.template.filled(values)
        if made.kind == "date":
            text = scaled_line(text, exchange.response_headers, self.speed, now)
        return Header(made.name, _clean(text))

    def _signed(self, name: str, exchange: Exchange, body: bytes) -> Header | None:
        """PAR's digest of the answer; a wrong one where the recorded one was."""
        made = None if self.par_key is None else par_digest.signature(body, self.par_key)
        if made is not None and exchange.digest_ok is False:
            made = par_digest.digest(str(self.par_key), f"not {made}")
        return None if made is None else Header(name, made)

    # ------------------------------------------------------------------------------------- preparing

    def _prepared(self, exchange: Exchange, recorded: tuple[str, ...], *, secure: bool) -> Prepared:
        key = (exchange.exchange_id, recorded, secure)
        found = self.prepared.get(key)
        if found is None:
            found = self._prepare(exchange, recorded, secure=secure)
            self.held += sum(map(len, found.body.parts))
            if len(self.prepared) >= _PREPARED or self.held > _PREPARED_BYTES:
                self.prepared.clear()
                self.held = 0
            self.prepared[key] = found
        return found

    def _prepare(self, exchange: Exchange, recorded: tuple[str, ...], *, secure: bool) -> Prepared:
        text, json = _text(exchange.response_body)
        lines = list(self._headers(exchange, recorded, secure=secure))
        made = tuple((place, line) for place, line in enumerate(lines) if isinstance(line, Made))
        return Prepared(
            headers=tuple(Header(line.name, "") if isinstance(line, Made) else line for line in lines),
            made=made,
            body=template_of(text, recorded, self.authorities, "json" if json else "text"),
            json=json,
            sized=exchange.status not in (204, 304),
            timed=json and any(name in text for name in _TIMED),
            digest=next((h.name for h in exchange.response_headers if h.name.lower() == par_digest.HEADER), None),
        )

    def _headers(self, exchange: Exchange, recorded: tuple[str, ...], *, secure: bool) -> Iterator[Header | Made]:
        dropped = _DROPPED - SIGNATURES if self.as_signed else _DROPPED
        hop = {part.strip().lower() for value in _values(exchange, "connection") for part in value.split(",")}
        for header in exchange.response_headers:
            lower = header.name.lower()
            if not (lower in dropped or lower in hop or lower.startswith(_OWN)) and _TOKEN.fullmatch(header.name):
                yield self._header(header, lower, recorded, secure=secure)
        asked = _asked_s(exchange)
        if asked is not None and not _until(exchange):
            yield Header(WAIT_HEADER, exact(asked, self.speed))
        if self.as_signed and exchange.digest_ok is not None:
            yield Header(DIGEST_HEADER, "right" if exchange.digest_ok else "wrong")
        if exchange.response_body.not_stored:
            yield Header("X-Polltape-Body", f"not stored: {_CONTROL.sub(' ', exchange.response_body.not_stored)}")

    def _header(self, header: Header, name: str, recorded: tuple[str, ...], *, secure: bool) -> Header | Made:
        value = header.value
        if name == "x-request-id":
            return Made(header.name, "id", Template(("",), ()))
        if name == RETRY_AFTER and ":" in value:
            return Made(header.name, "date", Template((value,), ()))
        if name in MILLISECONDS or name == RETRY_AFTER:
            value = scaled_number(value, self.speed)
        if name == "set-cookie":
            value = _COOKIE_DOMAIN.sub("", value)
            value = value if secure else _COOKIE_SECURE.sub("", value)
        kind: Kind = "id header" if called_an_id(header.name) else "header"
        template = template_of(value, recorded, self.authorities, kind)
        if template.places:
            return Made(header.name, "filled", template)
        clean = _clean(template.parts[0])
        return header if clean == header.value else Header(header.name, clean)


def _answered_at(exchange: Exchange) -> datetime | None:
    return exchange.response_ended_at or exchange.response_started_at


def _asked_s(exchange: Exchange) -> float | None:
    return wait_of(exchange.instruction, _answered_at(exchange))


def _until(exchange: Exchange) -> bool:
    """Whether it says to wait until an instant, which has its place in the operation."""
    return exchange.instruction is not None and exchange.instruction.source == "pollAfter"


def _eta_s(exchange: Exchange) -> float | None:
    """Seconds that a queue says it will take."""
    return next((seen.eta_s for seen in exchange.observations if seen.eta_s is not None), None)


def _text(body: Body) -> tuple[str, bool]:
    """The body as text, and whether it is JSON; bytes that are no UTF-8 come back as they were."""
    content = body.content or b""
    text = content.decode("utf-8", "surrogateescape")
    if not content or body.truncated or len(content) > MAX_JSON_BYTES:
        return text, False
    try:
        value = msgspec.json.decode(content)
        # Escapes that need not be (a slash, a letter) would hide addresses and names.
        plain = text if "\\/" not in text and "\\u" not in text else msgspec.json.encode(value).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return text, False
    return plain, True


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _changed(body: bytes, change: Change) -> bytes:
    value = msgspec.json.decode(body)
    if not isinstance(value, dict):
        return body
    change(value)
    return msgspec.json.encode(value)


def _clean(text: str) -> str:
    """Fit for a header: no control character, one character a byte."""
    text = _CONTROL.sub(" ", text)
    return text if text.isascii() or all(ord(char) < 256 for char in text) else text.encode("utf-8").decode("latin-1")


def _values(exchange: Exchange, name: str) -> list[str]:
    return [value for key, value in exchange.response_headers if key.lower() == name]
