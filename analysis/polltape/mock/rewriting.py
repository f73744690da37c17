"""A recorded answer made to fit the client that asks now: its tokens, the mock's address, headers made anew.

* Absolute URLs of a recorded host name the mock; other absolute URLs become ``http://unmatched.invalid/…``, so
  that no client is led to a real shop or card vault.
* A recorded token is replaced by the client's own wherever it stands; short ones (under eight characters) only
  as a whole value or a path segment, short numbers only in fields whose name ends in ``id``.
* Headers about the connection, the encoding and the age of the answer are dropped and made anew; signatures are
  left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Final
from urllib.parse import quote

import msgspec

from polltape.exchange import Body, Exchange, Header
from polltape.mock.hints import MILLISECONDS, RETRY_AFTER, WAIT_HEADER, exact, scaled_line, scaled_number
from polltape.mock.messages import Request, Response, reason_of, request_id
from polltape.mock.recording import SIGNATURES
from polltape.protocols.base import MAX_JSON_BYTES

UNMATCHED: Final = "http://unmatched.invalid"
_SHORT: Final = 8
_CACHED: Final = 4096

_HOP_BY_HOP: Final = {  # RFC 9110 §7.6.1
    *("connection", "keep-alive", "proxy-connection", "proxy-authenticate"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_ONE_TRANSFER: Final = {"content-length", "content-encoding", "etag", "date", "age"}
_REAL_SERVER_ONLY: Final = {"alt-svc", "strict-transport-security", "expect-ct", "public-key-pins"}
_OWN: Final = "x-polltape-"  # there already where a mock was recorded
_DROPPED: Final = frozenset(SIGNATURES | _HOP_BY_HOP | _ONE_TRANSFER | _REAL_SERVER_ONLY)
_URL: Final = re.compile(r"(?i)\b(https?|wss?)://([^/?#\s\"'<>\\,;]*)")
_ENCODED_URL: Final = re.compile(r"(?i)\b(https?)%3A%2F%2F((?:[A-Za-z0-9.\-_~]|%3A|%40|%5B|%5D)*)")
_RELATIVE: Final = re.compile(r"^//([^/?#\s]+)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_COOKIE_DOMAIN: Final = re.compile(r"(?i);\s*domain=[^;]*")
_COOKIE_SECURE: Final = re.compile(r"(?i);\s*secure(?=\s*(?:;|$))")

Names = tuple[tuple[str, str], ...]
"""Recorded names and the live ones in their place."""
Change = Callable[[dict[str, Any]], None]
"""Changes the JSON object of a body in place."""


@dataclass(frozen=True)
class Rewriter:
    """Renders recorded answers.  ``authorities``: of every recorded request, with and without a port."""

    authorities: frozenset[str]
    speed: float
    cache: dict[tuple[str, str, Names], bytes]

    @classmethod
    def of(cls, authorities: frozenset[str], speed: float) -> Rewriter:
        """A rewriter that knows these authorities, also under their hosts alone."""
        return cls(authorities | {authority.rsplit(":", 1)[0] for authority in authorities}, speed, {})

    def response(
        self,
        exchange: Exchange,
        request: Request,
        now: float,
        *,
        names: Names = (),
        change: Change | None = None,
        hold_s: float = 0.0,
        chance: Random,
    ) -> Response:
        """The recorded answer for this request; ``change`` echoes what the client sent."""
        body = self._body(exchange, request.base, names, change)
        headers = self._headers(exchange, request, names, now, chance)
        if exchange.status not in (204, 304):
            headers.append(Header("Content-Length", str(len(body))))
        status = exchange.status or 500
        return Response(status, exchange.reason or reason_of(status), tuple(headers), body, hold_s)

    # ---------------------------------------------------------------------------------------- headers

    def _headers(self, exchange: Exchange, request: Request, names: Names, now: float, chance: Random) -> list[Header]:
        hop = {part.strip().lower() for value in _values(exchange, "connection") for part in value.split(",")}
        made = []
        for name, value in exchange.response_headers:
            lower = name.lower()
            if lower in _DROPPED or lower in hop or lower.startswith(_OWN) or not _TOKEN.fullmatch(name):
                continue
            changed = self._header(exchange, request, names, now, lower, value)
            made.append(Header(name, request_id(chance) if lower == "x-request-id" else _CONTROL.sub(" ", changed)))
        asked = None if exchange.instruction is None else exchange.instruction.asked_s
        if asked is not None:
            made.append(Header(WAIT_HEADER, exact(asked / self.speed)))
        if exchange.response_body.not_stored:
            made.append(
                Header("X-Polltape-Body", f"not stored: {_CONTROL.sub(' ', exchange.response_body.not_stored)}")
            )
        return made

    def _header(self, exchange: Exchange, request: Request, names: Names, now: float, name: str, value: str) -> str:
        if name == RETRY_AFTER:
            return scaled_line(value, exchange.response_headers, self.speed, now)
        if name in MILLISECONDS:
            return scaled_number(value, self.speed)
        if name == "set-cookie":
            value = _COOKIE_DOMAIN.sub("", value)
            value = value if request.scheme == "https" else _COOKIE_SECURE.sub("", value)
        text = _renamed(self.urls(value, request.base), names, encoded=True)
        return text.encode("utf-8").decode("latin-1") if not _is_latin(text) else text

    # ------------------------------------------------------------------------------------------- body

    def _body(self, exchange: Exchange, base: str, names: Names, change: Change | None) -> bytes:
        key = (exchange.exchange_id, base, names)
        if change is None and key in self.cache:
            return self.cache[key]
        made = self._made(exchange.response_body, base, names, change)
        if change is None:
            if len(self.cache) >= _CACHED:
                self.cache.clear()
            self.cache[key] = made
        return made

    def _made(self, body: Body, base: str, names: Names, change: Change | None) -> bytes:
        content = body.content or b""
        if content and not body.truncated and len(content) <= MAX_JSON_BYTES:
            try:
                value = self._walked(msgspec.json.decode(content), "", base, names)
                if change is not None and isinstance(value, dict):
                    change(value)
                return msgspec.json.encode(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
        text = content.decode("latin-1")
        return _renamed(self.urls(text, base), names, encoded=True).encode("latin-1", "xmlcharrefreplace")

    def _walked(self, value: Any, field: str, base: str, names: Names) -> Any:
        """A JSON value with every text and number renewed; keys stay."""
        if isinstance(value, str):
            return _renamed(self.urls(value, base), names, encoded=False)
        if isinstance(value, dict):
            return {name: self._walked(inner, name, base, names) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._walked(inner, field, base, names) for inner in value]
        if isinstance(value, int) and not isinstance(value, bool) and names:
            return _renumbered(value, field, names)
        return value

    # ------------------------------------------------------------------------------------------- URLs

    def urls(self, text: str, base: str) -> str:
        """The text with every absolute URL led to the mock, or to nowhere."""
        if text.startswith("//"):
            text = _RELATIVE.sub(lambda m: f"//{self._place(m[1], base).partition('//')[2]}", text)
        if "://" in text:
            text = _URL.sub(lambda m: self._scheme(m[1], self._place(m[2], base)), text)
        if "%" in text:
            text = _ENCODED_URL.sub(lambda m: quote(self._place(_unquoted(m[2]), base), safe=""), text)
        return text

    def _place(self, authority: str, base: str) -> str:
        host = authority.rpartition("@")[2].lower()
        known = host in self.authorities or host.removesuffix(":443").removesuffix(":80") in self.authorities
        return base if known else UNMATCHED

    def _scheme(self, scheme: str, place: str) -> str:
        return place.replace("http", "ws", 1) if scheme.lower().startswith("ws") else place


def fresh(text: str, chance: Random) -> str:
    """A new name of the same alphabet and length: hex stays hex, digits digits, a UUID a UUID.

    >>> len(fresh("5cb4149503d186d8eec0ad2c4b9c6ea7", Random(1)))
    32
    """
    letters = [char for char in text if char.isalnum()]
    hexadecimal = len(letters) >= 16 and all(char in "0123456789abcdef" for char in letters)
    version = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
    made = []
    for place, char in enumerate(text):
        if version and place in (14, 19):
            made.append(char)
        elif hexadecimal and char.isalnum() and not text.isdigit():
            made.append(chance.choice("0123456789abcdef"))
        elif char.isdigit():
            made.append(chance.choice("123456789" if place == 0 else "0123456789"))
        elif char.isalpha() and char.isascii():
            made.append(chance.choice("abcdefghijklmnopqrstuvwxyz" if char.islower() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        else:
            made.append(char)
    return "".join(made)


@lru_cache(maxsize=_CACHED)
def _pattern(names: Names) -> re.Pattern[str]:
    """Matches each recorded name where it stands alone (a short one: as a path segment)."""
    parts = []
    for index, (recorded, _) in enumerate(names):
        spellings = "|".join(re.escape(text) for text in {recorded, quote(recorded, safe="")})
        if len(recorded) < _SHORT:
            parts.append(f"(?P<n{index}>(?<=/)(?:{spellings})(?=$|[/?#.]))")
        else:
            parts.append(f"(?P<n{index}>(?<![A-Za-z0-9])(?:{spellings})(?![A-Za-z0-9]))")
    return re.compile("|".join(parts))


def _renamed(text: str, names: Names, *, encoded: bool) -> str:
    """The text with recorded names replaced; inside other text a live name is percent-encoded."""
    if not names:
        return text
    for recorded, live in names:
        if text == recorded:
            return quote(live, safe="") if encoded else live
    return _pattern(names).sub(lambda match: quote(names[int(match.lastgroup[1:])][1], safe=""), text)  # type: ignore[index]


def _renumbered(value: int, field: str, names: Names) -> int:
    spelled = str(value)
    for recorded, live in names:
        if spelled == recorded and _NUMBER.fullmatch(live) and (len(recorded) >= _SHORT or field.endswith("id")):
            return int(live)
    return value


def _values(exchange: Exchange, name: str) -> list[str]:
    return [value for key, value in exchange.response_headers if key.lower() == name]


def _is_latin(text: str) -> bool:
    return all(ord(char) < 256 for char in text)


def _unquoted(text: str) -> str:
    return re.sub("(?i)%3A", ":", re.sub("(?i)%40", "@", text))
