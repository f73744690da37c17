"""Ids and tokens that the server now issues, carried into later requests.

They are learnt by comparing what the recorded answer said with what the answer says now, at the same place:
the keys that the protocol reads, the headers, and each value of a JSON body.  Only what a recorded request
really speaks of is learnt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from polltape.exchange import Exchange, Header, all_headers
from polltape.protocols.base import MAX_JSON_BYTES
from polltape.replay.origins import DAY, OF_THE_MESSAGE, VOLATILE, WORD, said
from polltape.replay.volatile import local

_SHORT: Final = 6
"""A shorter value is too common to be looked for anywhere but in the path."""
_LONGEST: Final = 1000
_SPACE: Final = re.compile(r"\s")


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
    """What has been learnt so far: from a recorded word, text or address to the one that stands for it now."""

    def __init__(self, recorded: Iterable[Exchange]) -> None:
        recorded = list(recorded)
        self._spoken = {word for exchange in recorded for text in said(exchange) for word in WORD.findall(text)}
        self._targets = {_target(exchange) for exchange in recorded} | {exchange.path for exchange in recorded}
        self._words: dict[str, str] = {}
        self._path_words: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, recorded: Exchange, now: Exchange) -> None:
        """Compare the two answers to one request.  ``now`` is observed by the same protocols."""
        for old, new in _issued(recorded, now):
            self._pair(old, new, in_path=True)
        bodies = list(_bodies(recorded, now))
        for old, new in (*_headers(recorded, now), *_cookies(recorded, now), *bodies):
            self._values(old, new)
        paths = ((old, new) for old, new in bodies if old.startswith("/") and new.startswith("/"))
        for old, new in (*_addresses(recorded, now), *paths):
            if old != new and old in self._targets:
                self._addresses[old] = new

    def _values(self, old: str, new: str) -> None:
        """Learn from two values at one place: word by word where they are built alike, else as a whole."""
        pairs = _words(old, new)
        if pairs is not None:
            for one, other in pairs:
                self._pair(one, other)
        elif _SHORT <= len(old) <= _LONGEST and new and not _SPACE.search(old + new) and self._is_spoken(old):
            self._texts |= {old: new, quote(old, safe=""): quote(new, safe="")}
            self._pattern = _any_of(self._texts)

    def _is_spoken(self, text: str) -> bool:
        return all(word in self._spoken for word in WORD.findall(text))

    def _pair(self, old: str, new: str, *, in_path: bool = False) -> None:
        if old == new or old not in self._spoken or DAY.fullmatch(old):
            return
        if len(old) >= _SHORT:
            self._words[old] = new
        elif in_path:
            self._path_words[old] = new

    def outgoing(self, recorded: Exchange, left_out: Collection[str] = OF_THE_MESSAGE) -> Outgoing:
        """The recorded request in today's words; ``left_out``: names of headers that are not sent, in small letters."""
        content = (recorded.request_body.content or b"").decode("latin-1")
        path, query = self._where(recorded)
        return Outgoing(
            method=recorded.method,
            path=path,
            query=query,
            headers=tuple(
                Header(name, self.now(value))
                for name, value in recorded.request_headers
                if name.lower() not in left_out
            ),
            body=self.now(content).encode("latin-1", "replace"),
        )

    def _where(self, recorded: Exchange) -> tuple[str, str | None]:
        """Path and query: the address that is given out now instead of the recorded one, else in today's words."""
        whole = self._addresses.get(_target(recorded))
        if whole is not None:
            path, mark, query = whole.partition("?")
            return path, query if mark else None
        path = self._addresses.get(recorded.path) or self.now(recorded.path, in_path=True)
        return path.partition("?")[0], None if recorded.query is None else self.now(recorded.query)

    def carries(self, recorded: str) -> bool:
        """Whether a recorded value holds anything that was issued anew."""
        return self.now(recorded) != recorded

    def now(self, text: str, *, in_path: bool = False) -> str:
        """The text with everything that was learnt replaced, all at once."""
        if self._pattern is None:
            if not (self._words or (in_path and self._path_words)):
                return text
            return WORD.sub(lambda match: self._word(match[0], in_path), text)
        parts = self._pattern.split(text)  # what was learnt as a whole is every second of them
        for index, part in enumerate(parts):
            whole = self._texts[part] if index % 2 else ""
            parts[index] = whole or WORD.sub(lambda match: self._word(match[0], in_path), part)
        return "".join(parts)

    def _word(self, word: str, in_path: bool) -> str:
        new = self._words.get(word)
        if not in_path:
            return word if new is None else new
        new = new or self._path_words.get(word)
        return word if new is None else quote(new, safe="")


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9_-])({'|'.join(map(re.escape, longest_first))})(?![A-Za-z0-9_-])")


def _target(exchange: Exchange) -> str:
    return exchange.path if exchange.query is None else f"{exchange.path}?{exchange.query}"


def _words(old: str, new: str) -> list[tuple[str, str]] | None:
    """The words that differ where both texts are built alike; None where they are not.

    >>> _words("/checkouts/abc.json", "/checkouts/xyz.json")
    [('abc', 'xyz')]
    """
    if WORD.split(old) != WORD.split(new):
        return None
    pairs = zip(WORD.findall(old), WORD.findall(new), strict=True)
    return [(one, other) for one, other in pairs if one != other]


def _issued(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """The segments of the keys that both answers give out."""
    for before, after in zip(recorded.observations, now.observations, strict=False):
        if (before.protocol, before.kind) != (after.protocol, after.kind):
            continue
        for old, new in zip(before.issued, after.issued, strict=False):
            pairs = zip(old.split("|")[2:], new.split("|")[2:], strict=False)
            for one, other in pairs:
                yield from _words(one, other) or ()


_NOTHING_LEARNT: Final = VOLATILE | {"set-cookie"}


def _headers(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """Header lines of one name, in order; of URLs only path and query, whoever's server they name."""
    fresh = by_name(now.response_headers)
    for name, value in recorded.response_headers:
        lower = name.lower()
        others = fresh.get(lower)
        if others and lower not in _NOTHING_LEARNT:
            other = others.pop(0)
            if other != value:
                yield local(value), local(other)


def by_name(headers: Iterable[Header]) -> dict[str, list[str]]:
    """The values of headers by their names in small letters."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _cookies(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """The values of cookies of one name."""
    old, new = (cookies_set(e) for e in (recorded, now))
    yield from ((value, new[name]) for name, value in old.items() if name in new)


def cookies_set(exchange: Exchange) -> dict[str, str]:
    """The cookies that an answer sets, by name; whom a browser sends them to is left out."""
    lines = all_headers(exchange.response_headers, "Set-Cookie")
    pairs = (line.partition(";")[0].partition("=") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


_ADDRESSES: Final = ("Location", "Content-Location", "Operation-Location", "Azure-AsyncOperation")


def _addresses(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    """Whole addresses in the headers of both answers, as path and query."""
    for name in _ADDRESSES:
        old = recorded.response_header(name)
        new = now.response_header(name) if old else None
        if old and new:
            yield _absolute(recorded, old), _absolute(now, new)


def _absolute(exchange: Exchange, address: str) -> str:
    """Path and query of an address, which may be relative to the request's."""
    try:
        return urlsplit(local(urljoin(exchange.url, address)))._replace(fragment="").geturl()
    except ValueError:
        return address


def _bodies(recorded: Exchange, now: Exchange) -> Iterator[tuple[str, str]]:
    if recorded.response_body.content == now.response_body.content:
        return  # mostly so, and cheaper than to parse both
    old, new = (json_of(e.response_body.content) for e in (recorded, now))
    pending = [] if old == new else [(old, new)]
    while pending:
        one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            pending += [(one[name], other[name]) for name in one if name in other]
        elif isinstance(one, list) and isinstance(other, list):
            pending += zip(one, other, strict=False)
        elif _is_value(one) and _is_value(other) and one != other:
            yield local(str(one)), local(str(other))


def _is_value(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def json_of(content: bytes | None) -> Any:
    """A body's JSON, None for what is none or too long."""
    if not content or len(content) > MAX_JSON_BYTES:
        return None
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
