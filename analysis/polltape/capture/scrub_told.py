"""Values that sentences and command lines tell beside their names: ``password 'hunter2' is invalid``, ``token k3jd8w0q
has expired``, ``"k3jd8w0q" is not a valid token``, ``--password hunter2``.

A value is what stands in quotation marks, or a word with digits in it as tokens have them; its name is the last that
the rules know before it, with nothing but small words between, or the one that follows (``for …``, ``is no valid …``).
What is told as a plain word stays where only tokens are asked for: ``unexpected token 'export'``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from polltape.capture.encodings import name_parts
from polltape.capture.redaction_rules import Ruling
from polltape.capture.spoken import looks_spoken
from polltape.capture.standins import KINDS

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

_LONGEST: Final = 200
"""Characters of a value."""
_NEAR: Final = 80
"""So many characters before a value, or behind it, its name is looked for."""

_BARE: Final = (
    r"[\s|;(\[<>](?:(?<=[\w'\"`)].)|(?<=\w:.))(?![\s|(\[<>]*--[A-Za-z])[\s|(\[<>-]{0,3}"
    r"(?=[\w+/=~.-]*\d)(?P<bare>[\w+][\w+/=~.-]{6,}[\w+/=~-])"
)
"""A word with a digit behind another word; first what separates them, which is looked for fast."""
TOLD: Final = re.compile(
    rf"""(?<![\w-])(?:-u|--user)\s+["']?[^\s:"']+:(?P<password>[^\s"']+)
      | (?<![\w-])--(?P<option>[A-Za-z][\w-]{{1,80}})\s+
            (?:(?P<mark>["'])(?P<given>[^"'\n]+)(?P=mark)|(?P<plain>[^\s"'-][^\s"']*))
      | (?<![\w=:\\])["'`\u201c\u2018\u00ab](?P<quoted>[^"'`\u201d\u2019\u00bb\r\n]{{1,{_LONGEST}}})
            ["'`\u201d\u2019\u00bb](?!\w)
      | {_BARE}(?![@%]|:\S)""",
    re.VERBOSE | re.DOTALL,
)
_QUOTATION: Final = re.compile(r"[\"'`\u201c\u2018\u00ab](?<![\w=:\\].)", re.DOTALL)
_SEPARATED: Final = re.compile(_BARE, re.DOTALL)
_BEFORE: Final = re.compile(r"[A-Za-z][\w-]*")
_BETWEEN: Final = frozenset({
    "is", "was", "are", "of", "with", "value", "values", "provided", "given", "received", "got", "header", "eq", "ne",
    "equals", "in", "the", "a", "an", "your", "my", "to", "set", "as", "field", "parameter", "argument", "like", "not",
    "bearer", "basic", "has", "for", "invalid",
})  # fmt: skip
"""Words that may stand between a name and its value."""
_OF_SENTENCES: Final = frozenset({
    "is", "are", "was", "were", "must", "can", "cannot", "should", "may", "might", "will", "and", "or", "option",
    "options", "flag", "flags", "argument", "arguments", "parameter", "parameters", "value", "requires", "needs", "for",
    "to", "in", "not", "has", "with", "without", "when", "if", "from", "on", "as", "instead",
})  # fmt: skip
"""Words behind an option that is spoken of: ``--password and --user are needed``."""
_SHORTEST: Final = 3
_TELLING: Final = frozenset({"is", "was", "are", "value", "provided", "given", "received", "got"})
"""Behind one of these even a word with a single number in it is a value: ``the password is hunter2``."""
_MOST_BETWEEN: Final = 5
_AFTER: Final = re.compile(
    r"\s*(?:is|was|are|for|as|of)\s+(?:(?:an?|the|not|no|valid|invalid|for|key|field|parameter|argument|column|variable|"
    r"attribute|property|input|header)\s+){0,4}[\"'`\u201c\u2018$]?(?P<name>[A-Za-z_][\w.-]*(?:[ ][A-Za-z][\w-]*){0,2})"
)
_STOPS: Final = re.compile(r"[.!?]\s|[\r\n]{2}")
_APART: Final = re.compile(r"[,\"'`\u201c\u201d\u2018\u2019]")
_REPORTED: Final = re.compile(r"(?i)\b(?:value|expected|received|got|given|provided)\b")
_DATE: Final = re.compile(r"\d{4}-\d\d(?:-\d\d\S*)?|[\d.]+")
_DIGITS: Final = re.compile(r"\d+")
_LETTER: Final = re.compile(r"[^\W_]")
_COMPOUND: Final = re.compile(r"[_-]|[a-z][A-Z]")
_NUMBERS: Final = re.compile(r"\+?[\d().-]{8,}")


_BETWEEN_LETTERS: Final = b" _-0123456789"
"""What may stand between the letters of a name, as names are compared, and digits: few names have any."""

_HEXADECIMAL: Final = "abcdef"
"""Of a text's letters these are the most, as ids are made of them: what follows them in a name is looked for first."""


class Telling:
    """Whether there can be a value told in a text: what is looked at first, as it mostly is not.

    Every text that tells one has the name of it, and so the shortest name that is a part of that; ``names``:
    normalised ones, all that rules know.
    """

    def __init__(self, names: Iterable[str]) -> None:
        letters = [name.encode().translate(None, _BETWEEN_LETTERS).decode() for name in names if name.isascii()]
        self._name = re.compile(_any_of(filter(None, letters)).encode())
        self._end = re.compile(_any_of(name.lstrip(_HEXADECIMAL) or name for name in letters if name).encode())

    def may(self, text: str) -> bool:
        """Of a text: it has what separates a name and a value, and a name."""
        if " " not in text and "\n" not in text and "\t" not in text and "|" not in text:
            return False
        plain = text.isascii()
        letters = text.lower().encode().translate(None, _BETWEEN_LETTERS) if plain and "-u" not in text else None
        if letters is not None and (self._end.search(letters) is None or self._name.search(letters) is None):
            return False
        quoted = "'" in text or '"' in text or "`" in text or not plain
        if quoted and _QUOTATION.search(text):
            return True
        return "--" in text or "-u" in text or _SEPARATED.search(text) is not None


def _any_of(words: Iterable[str]) -> str:
    """A pattern that finds one of the words, those that begin alike tried together.

    >>> _any_of(["token", "tea", "teapot"])
    't(?:ea|oken)'
    """
    after: dict[str, list[str]] = {}
    for word in words:
        if not word:
            return ""  # one of them ends here, and what goes on from it is found with it
        after.setdefault(word[0], []).append(word[1:])
    parts = [re.escape(letter) + _any_of(rest) for letter, rest in sorted(after.items())]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def told_values(text: str, scrubber: Scrubber) -> Iterator[tuple[int, int, Ruling]]:
    """The values told in the text whose names the rules know: where each stands, and what is to become of it."""
    for match in TOLD.finditer(text):
        if match["password"]:  # curl -u user:password
            yield *match.span("password"), Ruling("pseudonym")
            continue
        if match["option"]:
            if match["plain"] not in _OF_SENTENCES and (ruling := _known(match["option"], scrubber)):
                yield *match.span("given" if match["given"] else "plain"), ruling
            continue
        quoted = match["quoted"] is not None
        start, end = match.span("quoted" if quoted else "bare")
        value = text[start:end]
        if len(_LETTER.findall(value)) < _SHORTEST or (quoted and _known(value, scrubber)):
            continue
        if value.isdigit() and text.endswith(" has ", 0, start):  # cart has 12345678 items
            continue
        opening = start - 1 if quoted else start
        found = _named_before(text, opening, scrubber) or _named_after(text, end + quoted, scrubber)
        if found is None and quoted and not value.isalpha():
            found = _reported(text, opening, scrubber)
        if found is not None and _is_value(value, quoted, *found, scrubber):
            yield start, end, found[0]


def _named_before(text: str, place: int, scrubber: Scrubber) -> tuple[Ruling, bool] | None:
    """What is known of the name before this place, and whether that tells that a value follows."""
    before = text[max(0, place - _NEAR) : place]
    stops = [stop.end() for stop in _STOPS.finditer(before)]
    before = before[stops[-1] :] if stops else before
    words = list(_BEFORE.finditer(before))
    told = False
    end = len(words)
    for _ in range(_MOST_BETWEEN):
        if end == 0:
            return None
        for many in (3, 2, 1):
            if many <= end and (ruling := _known(_joined(before, words[end - many : end]), scrubber)):
                gap = before[words[end - 1].end() :]  # it may begin with the mark that ends the name's quotation
                return None if _APART.search(gap, 1) or gap.startswith(",") else (ruling, told)
        word = words[end - 1].group().lower()
        if word not in _BETWEEN:
            return None
        told = told or word in _TELLING
        end -= 1
    return None


def _reported(text: str, place: int, scrubber: Scrubber) -> tuple[Ruling, bool] | None:
    """What is known of the last name before a value that is reported: ``Argument 'token' on Field 'checkout' has an
    invalid value ("…")``.
    """
    before = text[max(0, place - 2 * _NEAR) : place]
    for word in reversed(list(_BEFORE.finditer(before))):
        if (ruling := _known(word.group(), scrubber)) and _REPORTED.search(before, word.end()):
            return ruling, True
    return None


def _joined(text: str, words: list[re.Match[str]]) -> str:
    """Words that stand with nothing but blanks between, as one name; else nothing."""
    spoken = text[words[0].start() : words[-1].end()]
    return spoken if len(words) == 1 or spoken == " ".join(word.group() for word in words) else ""


def _named_after(text: str, place: int, scrubber: Scrubber) -> tuple[Ruling, bool] | None:
    """What is known of the name that follows: ``… for the key 'users.email'``, ``… is not a valid token``."""
    match = _AFTER.match(text, place, place + _NEAR)
    if match is None:
        return None
    words = match["name"].rstrip(".").split(" ")
    for many in range(len(words), 0, -1):
        if ruling := _known(name_parts(" ".join(words[:many]))[-1], scrubber):
            return ruling, True
    return None


def _known(name: str, scrubber: Scrubber) -> Ruling | None:
    """What the rules say of a name in a sentence; common words are none."""
    if scrubber.has_id(name):  # order 450789469
        return Ruling("pseudonym")
    if not name or not (scrubber.is_listed(name) or _COMPOUND.search(name)):
        return None
    known = scrubber.names["body"][name]
    if known.norm in scrubber.alone:  # pass, note: in a sentence mostly words like others
        return None
    if known.plain or known.word or known.card_only or known.action is None:
        return None
    return Ruling(known.action, KINDS.get(known.norm, "text"))


def _is_value(value: str, quoted: bool, ruling: Ruling, told: bool, scrubber: Scrubber) -> bool:
    """Whether what stands there is a value, and not one more word of the sentence."""
    if quoted:
        return ruling.action != "pseudonym" or not scrubber.is_word(value)
    if ruling.action == "shape":
        return _NUMBERS.fullmatch(value) is not None
    if _DATE.fullmatch(value) and not value.isdigit():
        return False
    return told or value.isdigit() or len(_DIGITS.findall(value)) > 1 or not looks_spoken(value)
