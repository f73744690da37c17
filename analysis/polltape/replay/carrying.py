"""Ids and tokens that the server now issues, carried into later requests.

They are learnt by comparing what the recorded answer said with what the answer says now, at the same place:
the keys that the protocol reads, the headers, and each value of a JSON body.  Only what a recorded request
really speaks of is learnt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from polltape.exchange import Exchange, Header
from polltape.protocols.base import MAX_JSON_BYTES

_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHORT: Final = 6
"""A shorter value is too common to be looked for anywhere but in the path."""
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d)?")
_VOLATILE: Final = frozenset(
    {"date", "expires", "last-modified", "age", "content-length", "retry-after", "x-request-id", "x-polltape-wait"}
)
_OF_THE_MESSAGE: Final = frozenset({"host", "content-length"})


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent: the target's path and query, headers without Host and Content-Length, body."""

    method: str
    path: str
    query: str | None
    headers: tuple[Header, ...]
    body: bytes

    @property
    def target(self) -> str:
        """Path and query, as in the request line."""
        return self.path if self.query is None else f"{self.path}?{self.query}"


class Carrier:
    """What has been learnt so far: from a recorded word to the one that stands for it now."""

    def __init__(self, recorded: Iterable[Exchange]) -> None:
        self._spoken = {word for exchange in recorded for text in _said(exchange) for word in _WORD.findall(text)}
        self._words: dict[str, str] = {}
        self._path_words: dict[str, str] = {}
        self._pattern: dict[bool, re.Pattern[str] | None] = {True: None, False: None}

    def learn(self, recorded: Exchange, now: Exchange) -> None:
        """Compare the two answers to one request.  ``now`` is observed by the same protocols."""
        for old, new in _issued(recorded, now):
            self._pair(old, new, in_path=True)
        for old, new in (*_headers(recorded, now), *_bodies(recorded, now)):
            for one, other in _words(old, new):
                self._pair(one, other)
        self._pattern = {True: _any_of(self._words | self._path_words), False: _any_of(self._words)}

    def _pair(self, old: str, new: str, *, in_path: bool = False) -> None:
        if old == new or old not in self._spoken or _DAY.fullmatch(old):
            return
        if len(old) >= _SHORT:
            self._words[old] = new
        elif in_path:
            self._path_words[old] = new

    def outgoing(self, recorded: Exchange) -> Outgoing:
        """The recorded request in today's words."""
        content = (recorded.request_body.content or b"").decode("latin-1")
        return Outgoing(
            method=recorded.method,
            path=self.now(recorded.path, in_path=True),
            query=None if recorded.query is None else self.now(recorded.query),
            headers=tuple(
                Header(name, self.now(value))
                for name, value in recorded.request_headers
                if name.lower() not in _OF_THE_MESSAGE
            ),
            body=self.now(content).encode("latin-1", "replace"),
        )

    def carries(self, recorded: str) -> bool:
        """Whether a recorded value holds anything that was issued anew."""
        return self.now(recorded) != recorded

    def now(self, text: str, *, in_path: bool = False) -> str:
        """The text with every word that was learnt replaced, all at once."""
        pattern = self._pattern[in_path]
        if pattern is None:
            return text
        known = self._words | self._path_words if in_path else self._words
        return pattern.sub(lambda match: quote(known[match[0]], safe="") if in_path else known[match[0]], text)


def _any_of(words: dict[str, str]) -> re.Pattern[str] | None:
    if not words:
        return None
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9_-])(?:{'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9_-])")


def _said(exchange: Exchange) -> Iterator[str]:
    """Everything that a request says."""
    yield exchange.path
    yield exchange.query or ""
    yield from (value for _, value in exchange.request_headers)
    yield (exchange.request_body.content or b"").decode("latin-1")


def _words(old: str, new: str) -> list[tuple[str, str]]:
    """The words that differ where both texts are built alike.

    >>> _words("/checkouts/abc.json", "/checkouts/xyz.json")
    [('abc', 'xyz')]
    """
    if _WORD.split(old) != _WORD.split(new):
        return []
    pairs = zip(_WORD.findall(old), _WORD.findall(new), strict=True)
    return [(one, other) for one, other in pairs if one != other]


def _issued(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """The segments of the keys that both answers give out."""
    for before, after in zip(recorded.observations, now.observations, strict=False):
        if (before.protocol, before.kind) != (after.protocol, after.kind):
            continue
        for old, new in zip(before.issued, after.issued, strict=False):
            pairs = zip(old.split("|")[2:], new.split("|")[2:], strict=False)
            for one, other in pairs:
                yield from _words(one, other)


def _headers(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """Header lines of one name, in order; of URLs only path and query, whoever's server they name."""
    fresh: dict[str, list[str]] = {}
    for name, value in now.response_headers:
        fresh.setdefault(name.lower(), []).append(value)
    for name, value in recorded.response_headers:
        others = fresh.get(name.lower())
        if others and name.lower() not in _VOLATILE:
            yield _local(value), _local(others.pop(0))


def _local(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        return value
    return f"{parts.path}?{parts.query}" if parts.scheme in ("http", "https") else value


def _bodies(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    old, new = (_json(e.response_body.content) for e in (recorded, now))
    pending = [(old, new)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            pending += [(one[name], other[name]) for name in one if name in other]
        elif isinstance(one, list) and isinstance(other, list):
            pending += zip(one, other, strict=False)
        elif _is_value(one) and _is_value(other) and one != other:
            yield _local(str(one)), _local(str(other))


def _is_value(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _json(content: bytes | None) -> Any:
    if not content or len(content) > MAX_JSON_BYTES:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
