"""Names and values inside free text: ``password=hunter2``, ``"cvv": "123"``, ``X-Api-Key: abc``, ``<pin>1234</pin>``.

What is logged, quoted in an error or broken off in the middle shall tell no more than the body that it was taken from.
Inside a URL nothing is looked for here: URLs have rules of their own.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from polltape.capture.redaction_rules import STRICTNESS, Name, Ruling
from polltape.capture.scrub_markup import rulings_of
from polltape.capture.scrub_tables import tabled_values
from polltape.capture.scrub_told import told_values
from polltape.capture.standins import KINDS

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

NAMED: Final = re.compile(
    r"""(?<![\w.-])(?:--)?(?P<name>[^\W\d][\w.-]*+(?:\[[\w.-]*\])*+)
          (?P<sign>\\*["'`]?\]?(?:(?:</[a-z]+>)?[ \t]{0,4}(?:=>|[:=\uff1a])[ \t\r\n]{0,4}
                      (?:\[|[|>][+-]?[ ]*\r?\n[ \t]*)?
                  |\)=\(|;s:\d+:)
            |\\*["'],[ ]?(?=[bu]?\\*["']))
          (?:[bu]?(?P<quote>"{3}|'{3}|\\*["']|`))?
      | <(?:[\w.-]+:)?(?P<tag>[^\W\d][\w.-]*+)(?:[ ][^<>]{0,200})?>(?:<!\[CDATA\[)?(?=[^<>\s])""",
    re.VERBOSE,
)
"""A name with what stands between it and its value, or an element's start tag."""

_WORD: Final = re.compile(r"(?i:(?:Basic|Bearer|Token|Digest|ApiKey|OAuth)[ ]+)?[^\s\"'<>&;,)}\]|\\]+")
_LINE: Final = re.compile(r"[^\r\n\"<>]+")
_CONTENT: Final = re.compile(r"(?:(?!\]\]>)[^<])+")
_QUOTED: Final = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*", re.DOTALL) for quote in "\"'`"}
_BREAKS: Final = " \"'<>\n\t"
_LONG_URL: Final = 2000
_BESIDE: Final = 100  # names that are looked at to tell whether "number" is a card's
_CONSTANTS: Final = frozenset({"true", "false", "null", "none", "undefined"})
_COOKIES: Final = frozenset({"cookie", "setcookie"})
_DOCUMENT: Final = re.compile(r"\{\s*\"|\[\s*[\[{]|(?<![\w\])])\[\s*\"")  # params["token"] is none
_DOCUMENTS: Final = 20  # in one text; of more only the names are looked at
_JSON: Final = json.JSONDecoder()


class Pair(NamedTuple):
    """Where a value stands in the text, and what is to become of it."""

    start: int
    end: int
    ruling: Ruling


def documents(text: str) -> list[tuple[int, int]]:
    """Where JSON documents stand in the text: start and end of each, in order, not overlapping.

    >>> documents('sent {"a": [1]}, got nothing')
    [(5, 15)]
    """
    found: list[tuple[int, int]] = []
    place = 0
    for _ in range(_DOCUMENTS):
        match = _DOCUMENT.search(text, place)
        if match is None:
            break
        place = match.start() + 1
        try:
            _, end = _JSON.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        found.append((match.start(), end))
        place = end
    return found


def named_values(text: str, scrubber: Scrubber) -> list[Pair]:
    """The values in the text that the rules name, in order, not overlapping."""
    known = scrubber.names["body"]
    matches = list(NAMED.finditer(text))
    names = [match["name"] or match["tag"] for match in matches]
    ruled = [(match, known[name]) for match, name in zip(matches, names, strict=True) if not known[name].plain]
    beside = list(dict.fromkeys(names))[:_BESIDE]
    marked = [Pair(*one) for one in rulings_of(text, beside, scrubber)] if "<" in text else []
    if scrubber.telling.may(text):
        marked += [Pair(*one) for one in told_values(text, scrubber)]
    marked += [Pair(*one) for one in tabled_values(text, scrubber)]
    if not ruled:
        return _apart(marked)
    found: list[Pair] = []
    for match, name in ruled:
        pair = None if found and match.start() < found[-1].end else _pair(text, match, name, beside, scrubber)
        if pair is not None and not _in_url(text, match):
            found.append(pair)
    return _apart(marked + found) if marked else found


def _apart(pairs: list[Pair]) -> list[Pair]:
    """In order, without those that reach into one before them; of two for one value the stricter."""
    made: list[Pair] = []
    for pair in sorted(pairs, key=lambda pair: (pair.start, -STRICTNESS[pair.ruling.action])):
        if not made or pair.start >= made[-1].end:
            made.append(pair)
    return made


def _pair(text: str, match: re.Match[str], known: Name, beside: list[str], scrubber: Scrubber) -> Pair | None:
    action = scrubber.action(known, beside, "body", card=False)
    end = _end(text, match, known.norm)
    value = text[match.end() : end]
    if action is None or not value or value.lower() in _CONSTANTS:
        return None
    if match["sign"] == ")=(" and text[match.start() - 1 : match.start()] != "(":  # the last of several: a row
        return None
    if known.word and scrubber.is_word(value):
        return None
    listed = match["sign"] is not None and "," in match["sign"]  # 'password', 'hunter2'; but 'email', 'required'
    name_like = value.replace("_", "").isalpha() and scrubber.is_word(value)
    if listed and (known.word or name_like or scrubber.is_listed(value)):
        return None
    spoken = match["sign"] is not None and ":" in match["sign"] and match["sign"][-1].isspace() and not match["quote"]
    if spoken and value.isalpha() and (scrubber.is_word(value) or not value.isascii()):  # prose: "email: is invalid"
        return None
    return Pair(match.end(), end, Ruling(action, KINDS.get(known.norm, "text")))


def _end(text: str, match: re.Match[str], norm: str) -> int:
    """Where the value ends that begins behind the match."""
    quote, start = match["quote"], match.end()
    if quote and len(quote) > 1:  # in JSON inside JSON
        end = text.find(quote, start)
        return len(text) if end < 0 else end
    pattern = _WORD
    if quote:
        pattern = _QUOTED[quote]
    elif match["tag"]:
        pattern = _CONTENT
    elif norm in _COOKIES:
        pattern = _LINE
    value = pattern.match(text, start)
    return start if value is None else value.end()


def _in_url(text: str, match: re.Match[str]) -> bool:
    """Whether the name is a parameter in a URL or a path."""
    if match["tag"]:
        return False
    end = match.start()
    start = max(max(text.rfind(mark, max(0, end - _LONG_URL), end) for mark in _BREAKS), end - _LONG_URL)
    return text.find("/", max(0, start), end) >= 0 or text.find("?", max(0, start), end) >= 0
