"""What the mock is asked and what it answers: plain data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from random import Random
from typing import Any, Final, Literal

import msgspec

from polltape.exchange import Header, first_header
from polltape.protocols.base import MAX_JSON_BYTES

JSON: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it reached the mock.

    ``target`` is the origin form (path, ``?``, query), still percent-encoded; ``authority`` is what the
    client names in Host; ``scheme`` is ``http`` or ``https``.  Header text has one character a byte.
    ``address`` is where the client asks from, without port; empty where that is unknown.
    """

    method: str
    scheme: str
    authority: str
    target: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    address: str = ""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str | None:
        """The query without its ``?``; None where there is none."""
        _, mark, query = self.target.partition("?")
        return query if mark else None

    @property
    def base(self) -> str:
        """The mock's own address as this client sees it, without a slash at its end."""
        return f"{self.scheme}://{self.authority}"

    @property
    def identity(self) -> bytes:
        """What makes two writes about one thing the same: method, path and body, as the analysis has it."""
        return sha256(b"\0".join((self.method.encode(), self.path.encode(), self.body))).digest()

    def header(self, name: str) -> str | None:
        """The first header of that name, without case; None where there is none."""
        return first_header(self.headers, name)

    def json(self) -> Any:
        """The body as JSON; None where it is empty or no JSON."""
        if not self.body or len(self.body) > MAX_JSON_BYTES:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer reaches its client where a fault is in the way.

    ``body_s``: seconds over which its body is spread.  ``cut_at``: after so many bytes of the body the
    connection is closed.  ``lost``: no byte of it comes; once ``hold_s`` is over the connection is reset
    (``reset``), or closed (``silent``).
    """

    body_s: float = 0.0
    cut_at: int | None = None
    lost: Literal["reset", "silent"] | None = None


DELIVERED: Final = Delivery()
"""Whole and at once."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.  ``hold_s``: seconds to wait before it is sent (0: at once).

    Only an answer that the recorded server took its time over, or a fault makes late, is held: who sends it at
    once instead is early by that much.
    """

    status: int
    reason: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    hold_s: float = 0.0
    delivery: Delivery = DELIVERED
    matched: bool = field(default=True, compare=False)

    def header(self, name: str) -> str | None:
        """The first header of that name, without case; None where there is none."""
        return first_header(self.headers, name)

    def json(self) -> Any:
        """The body as JSON; raises msgspec.DecodeError where it is none."""
        return msgspec.json.decode(self.body)


def reason_of(status: int) -> str:
    """The usual reason phrase (RFC 9110 §15; 422 as Shopify still writes it), empty for a status without one."""
    try:
        return "Unprocessable Entity" if status == 422 else HTTPStatus(status).phrase
    except ValueError:
        return ""


def http_date(now: float) -> str:
    """The instant (seconds since 1970) as IMF-fixdate (RFC 9110 §5.6.7), to the second below.

    >>> http_date(784111777.9)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    return _http_date(int(now))


@lru_cache(maxsize=256)
def _http_date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)


def json_response(status: int, value: object, headers: tuple[Header, ...] = (), *, matched: bool = True) -> Response:
    """A JSON answer with its own Content-Type and Content-Length."""
    body = msgspec.json.encode(value)
    own = (Header("Content-Type", JSON), *headers, Header("Content-Length", str(len(body))))
    return Response(status, reason_of(status), own, body, matched=matched)


_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def request_id(chance: Random) -> str:
    """A fresh X-Request-Id: a random UUID of version 4."""
    digits = f"{chance.getrandbits(128):032x}"
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
