"""A recorded text as a template: what stays, and the places where each client gets its own.

Places are found once a text; filling them is a join.  That is what makes an answer cheap.

=================================  =========================================================================
in the recorded text               each client gets
=================================  =========================================================================
``http(s)://`` a recorded host     the mock's address as this client named it
``ws(s)://``, ``//`` the same      likewise
any other absolute URL             ``http://unmatched.invalid``: no client is led to a real shop or vault
a recorded name, standing alone    its own: as it is where it is a whole header or JSON value or was written
                                   with characters that an address would encode, else percent-encoded
a recorded name under 8 letters    the same, but only as a whole value or a path segment
a recorded number in JSON          its own, if that is a number
=================================  =========================================================================

A number under 8 digits is a name only in a path and in a field or header that is called an id: ``Retry-After: 1`` is
no part of ``/jobs/1``.

In JSON the keys stay.  The text of a body is JSON as it was sent, not decoded: spacing and order stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote

import msgspec

UNMATCHED: Final = "http://unmatched.invalid"
_SHORT: Final = 8
_AUTHORITY: Final = re.compile(r"://([^/?#\s\"'<>\\,;]*)")
_SCHEME: Final = re.compile(r"(?i)(?<!\w)(https?|wss?)$")
_ENCODED: Final = re.compile(r"(?i)%3A%2F%2F((?:[A-Za-z0-9.\-_~]|%3A|%40|%5B|%5D)*)")
_BARE: Final = re.compile(r"(?<![^\"])//([^/?#\s\"\\]+)")
_KEY: Final = re.compile(r'"\s*:')
_FIELD: Final = re.compile(r'"([^"\\]*)"\s*:\s*"?$')
_ID_NAME: Final = re.compile(
    r"((^|[._-])(?i:id|uid|uuid|guid|token|key)|[a-z](Id|ID|Uid|Token|Key)|(job|order|task)id)$"
)
_ESCAPE: Final = re.compile(r"\\(?:[bfnrt]|u[0-9a-fA-F]{4})$")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]+")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")

Kind = Literal["json", "text", "header", "id header"]
"""``id header``: one whose name says that its value is an id."""
Names = tuple[tuple[str, str], ...]
"""Recorded names and the live ones in their place."""
Span = tuple[int, int, int | str]
"""From, to, and what comes there: the number of a value, or a text."""

# Numbers of the values that are filled in; each name has three more.
_BASE, _WEBSOCKET, _QUOTED, _BARE_BASE, _FIRST_NAME = range(5)
_IN_TEXT, _WHOLE, _AS_NUMBER = range(3)


@dataclass(frozen=True, slots=True)
class Template:
    """``parts`` in their order, with the numbers of values where ``places`` says so."""

    parts: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    def filled(self, values: Sequence[str]) -> str:
        """The text for one client; ``values`` are :func:`values_for` it."""
        if not self.places:
            return self.parts[0]
        parts = [*self.parts]
        for place, number in self.places:
            parts[place] = values[number]
        return "".join(parts)


def values_for(base: str, names: Names, *, json: bool) -> tuple[str, ...]:
    """What fills a template for a client that reaches the mock under ``base``."""
    values = _values_of(base, json=json)
    for recorded, live in names:
        if _PLAIN.fullmatch(live):  # nearly every name: nothing to encode nor to escape, in a URL nor in JSON
            values += (live, live, live if _NUMBER.fullmatch(live) else recorded)
        else:
            made = (quote(live, safe=""), live, recorded)
            values += tuple(map(_in_json, made)) if json else made
    return values


@lru_cache(maxsize=1024)
def _values_of(base: str, *, json: bool) -> tuple[str, ...]:
    values = (base, base.replace("http", "ws", 1), quote(base, safe=""), base.partition(":")[2])
    return tuple(map(_in_json, values)) if json else values


def _in_json(text: str) -> str:
    return msgspec.json.encode(text)[1:-1].decode()


def template_of(text: str, recorded: Sequence[str], authorities: frozenset[str], kind: Kind) -> Template:
    """The template of a recorded text; ``recorded``: the names in it that are each client's own.

    ``authorities``: of every recorded request, with and without a port, in small letters.
    """
    if "//" not in text and "%" not in text and not any(name in text for name in recorded):
        return Template((text,), ())
    parts: list[str] = []
    places = []
    at = 0
    for start, end, filling in _one_by_one([*_urls(text, authorities), *_names(text, recorded, kind)]):
        parts.append(text[at:start])
        if isinstance(filling, str):
            parts.append(filling)
        else:
            places.append((len(parts), filling))
            parts.append("")
        at = end
    parts.append(text[at:])
    if not places:
        return Template(("".join(parts),), ())
    return Template(tuple(parts), tuple(places))


def _one_by_one(spans: list[Span]) -> Iterator[Span]:
    """By their start; of two that overlap the first, a longer before a shorter."""
    at = 0
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if span[0] >= at:
            yield span
            at = span[1]


# -------------------------------------------------------------------------------------------------- URLs


def _urls(text: str, authorities: frozenset[str]) -> Iterator[Span]:
    if "//" in text:
        for match in _AUTHORITY.finditer(text):
            if scheme := _SCHEME.search(text, max(0, match.start() - 6), match.start()):
                web = scheme[1][0] in "hH"
                unknown = UNMATCHED if web else UNMATCHED.replace("http", "ws", 1)
                number = _BASE if web else _WEBSOCKET
                yield scheme.start(), match.end(), number if _known(match[1], authorities) else unknown
        for match in _BARE.finditer(text):
            unknown = UNMATCHED.partition(":")[2]
            yield match.start(), match.end(), _BARE_BASE if _known(match[1], authorities) else unknown
    if "%" in text:
        for match in _ENCODED.finditer(text):
            scheme = _SCHEME.search(text, max(0, match.start() - 6), match.start())
            if scheme is not None and scheme[1][0] in "hH":
                known = _known(_unquoted(match[1]), authorities)
                yield scheme.start(), match.end(), _QUOTED if known else quote(UNMATCHED, safe="")


def _known(authority: str, authorities: frozenset[str]) -> bool:
    host = authority.rpartition("@")[2].lower()
    return host in authorities or host.removesuffix(":443").removesuffix(":80") in authorities


def _unquoted(text: str) -> str:
    return re.sub("(?i)%3A", ":", re.sub("(?i)%40", "@", text))


# ------------------------------------------------------------------------------------------------- names


def _names(text: str, recorded: Sequence[str], kind: Kind) -> Iterator[Span]:
    for index, name in enumerate(recorded):
        first = _FIRST_NAME + 3 * index
        if text == name and (kind == "id header" or (kind == "header" and not _is_common(name))):
            yield 0, len(text), first + _WHOLE
            continue
        quoted = quote(name, safe="")
        for spelling in {name, quoted}:
            at = text.find(spelling)
            while spelling and at >= 0:
                end = at + len(spelling)
                place = _place_in_json(text, at, end, name) if kind == "json" else _place_in_text(text, at, end, name)
                if place is not None:
                    plain = place == _IN_TEXT and spelling != quoted  # a "==" that stood there as it is
                    yield at, end, first + (_WHOLE if plain else place)
                at = text.find(spelling, end)


def _place_in_text(text: str, start: int, end: int, name: str) -> int | None:
    """How a name that stands there is written, None where that is another thing."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if len(name) < _SHORT:
        return _IN_TEXT if before == "/" and (not after or after in '/?#."') else None
    alone = not _joins(after) and (not _joins(before) or _ESCAPE.search(text, max(0, start - 6), start) is not None)
    return _IN_TEXT if alone else None


def _place_in_json(text: str, start: int, end: int, name: str) -> int | None:
    if not _in_string(text, start):
        whole = text[:start].rstrip()[-1:] in ("", ":", ",", "[") and not text[end : end + 1].strip(",]} \t\r\n")
        meant = not _is_common(name) or _in_id_field(text, start)
        return _AS_NUMBER if whole and meant else None
    if text[start - 1] == '"' and text[start - 2 : start - 1] != "\\" and text[end : end + 1] == '"':
        meant = not _KEY.match(text, end) and (not _is_common(name) or _in_id_field(text, start))
        return _WHOLE if meant else None
    return _place_in_text(text, start, end, name)


def _is_common(name: str) -> bool:
    """Whether it is a short number: such a value may be anything."""
    return len(name) < _SHORT and name.isdigit()


def called_an_id(name: str) -> bool:
    """Whether the name of a field or header says that its value is an id.

    >>> called_an_id("X-Job-Id"), called_an_id("jobId"), called_an_id("id"), called_an_id("paid")
    (True, True, True, False)
    """
    return _ID_NAME.search(name) is not None


def _in_id_field(text: str, start: int) -> bool:
    """Whether the value that begins there belongs to a field that is called an id."""
    field = _FIELD.search(text, max(0, start - 80), start)
    return field is not None and called_an_id(field[1])


def _in_string(text: str, at: int) -> bool:
    """Whether that place of a JSON text is inside a string: an odd number of quotes stands before it."""
    before = text[:at].replace("\\\\", "")
    return (before.count('"') - before.count('\\"')) % 2 == 1


def _joins(char: str) -> bool:
    return char.isascii() and char.isalnum()
