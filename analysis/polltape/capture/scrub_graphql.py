"""Redaction of GraphQL text: its literals, as the values that they are.

Lexical grammar: GraphQL October 2021, §2.1.  A string or number is named by the argument, variable or object
field before it; strings that no rule names are shaped, as who writes a literal instead of a variable may have
put anything there.  Comments go.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from polltape.capture.pan import has_pan
from polltape.capture.redaction_rules import Ruling
from polltape.capture.standins import DROPPED

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

_START: Final = re.compile(
    r"[\s,\ufeff]*(?:#[^\r\n]*[\s,]*)*(?:\{|(?:query|mutation|subscription|fragment)\b(?=[^{]*\{))"
)
_TOKEN: Final = re.compile(
    r'''(?P<block>"""(?:\\"""|(?!""").)*+""")
      | (?P<string>"(?:[^"\\\r\n]|\\.)*+")
      | (?P<comment>\#[^\r\n]*)
      | (?P<named>[$]?(?P<name>[A-Za-z_]\w*)(?=\s*:))
      | (?P<word>[$@]?[A-Za-z_]\w*)
      | (?P<number>-?\d[\d.eE+-]*)
      | (?P<other>\.\.\.|[!$&()=@\[\]{|}:\s,\ufeff])''',
    re.VERBOSE | re.DOTALL,
)
_NAMED: Final = re.compile(r"(?<![\w$])([A-Za-z_]\w*)\s*:")
_GIVEN: Final = re.compile(r"(?<![\w$])([A-Za-z_]\w*)\s*:\s*\$([A-Za-z_]\w*)")
_JSON_START: Final = re.compile(r'\s*\{\s*(?:"|\})')


def redact_graphql(text: str, scrubber: Scrubber) -> str | None:
    """The document with its literals redacted; None where the text is no GraphQL document.

    A document that breaks off inside a token is dropped as a whole.
    """
    if _START.match(text) is None or _JSON_START.match(text):
        return None
    made: list[str] = []
    name, place = "", 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            return DROPPED
        place = match.end()
        if match["named"]:
            name = match["name"]
        made.append(_token(match, name, scrubber))
    return "".join(made)


def arguments_of(text: str) -> list[tuple[str, str]]:
    """The variables of a document, each with the argument or field of an input that it is for.

    >>> arguments_of("query ($t: String!) { checkout(token: $t) { id } }")
    [('t', 'token')]
    """
    return [(match[2], match[1]) for match in _GIVEN.finditer(text)]


def names_in(text: str) -> list[str]:
    """The names before a colon: arguments, fields of inputs and aliases."""
    return _NAMED.findall(text)


def aliases_of(text: str) -> list[tuple[str, str]]:
    """The aliases of a document, each with the field that its answer has under that name; none where it is no document.

    >>> aliases_of("{ me: customer(id: $c) { mail: email id } }")
    [('me', 'customer'), ('mail', 'email')]
    """
    if _START.match(text) is None or _JSON_START.match(text):
        return []
    found: list[tuple[str, str]] = []
    alias, place, depth = "", 0, 0
    while place < len(text) and (match := _TOKEN.match(text, place)):
        place, token = match.end(), match.group()
        if match["other"]:
            depth += (token == "(") - (token == ")")
        elif match["named"]:
            alias = "" if depth else match["name"]
        elif match["word"] and alias:
            found.append((alias, token))
            alias = ""
    return found


def _token(match: re.Match[str], name: str, scrubber: Scrubber) -> str:
    found = match.group()
    if match["comment"]:
        return "#"
    if match["block"]:
        return json.dumps(_literal(found[3:-3].replace('\\"""', '"""'), name, scrubber), ensure_ascii=False)
    if match["string"]:
        try:
            value = json.loads(found)
        except ValueError:
            return f'"{DROPPED}"'
        return json.dumps(_literal(str(value), name, scrubber), ensure_ascii=False)
    if match["number"]:
        return _number(found, name, scrubber)
    return found


def _ruling(name: str, scrubber: Scrubber) -> Ruling | None:
    """The rule for a literal; ``number``, ``month`` and ``year`` as literals are taken for a card's."""
    if scrubber.names["body"][name].card_only:
        return Ruling("drop")
    return scrubber.ruling("body", [name])


def _literal(value: str, name: str, scrubber: Scrubber) -> str:
    ruling = _ruling(name, scrubber)
    if ruling is not None:
        return scrubber.named(ruling, value)
    if value.startswith(("gid://", "Z2lkOi8v")):
        return scrubber.pseudonym(value)
    return scrubber.shape("text", value)


def _number(found: str, name: str, scrubber: Scrubber) -> str:
    ruling = _ruling(name, scrubber)
    if has_pan(found) or (ruling is not None and ruling.action == "drop"):
        return "0"
    if ruling is None:
        return found
    whole = found.lstrip("-").isdigit()
    if ruling.action == "pseudonym" and whole:
        return str(scrubber.pseudonyms.number(int(found)))
    return scrubber.shapes.number(ruling.kind, found)
