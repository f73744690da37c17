"""Names and values in markup inside text: ``<input name="password" value="…">``, ``<meta name="csrf-token" …>``,
``<div data-token="…">``, ``<string name="token">…</string>``, ``<key>token</key><string>…</string>``.

Pages and mails that a body carries, and messages that quote them.  Read as browsers read it, broken off or escaped
(``\\"``) as it may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from polltape.capture.pairs import LONGEST_NAME, LOOSELY_NAMING, NAMING, VALUES
from polltape.capture.redaction_rules import Name, Ruling
from polltape.capture.standins import KINDS

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

_TAG: Final = re.compile(r"""<[A-Za-z][\w:.-]*+[\s/](?:[^<>"']|"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))*+(?P<end>>)?""")
_ATTRIBUTE: Final = re.compile(
    r"""(?<![^\s"'<>/=\\])(?P<name>[^\s"'<>/=\\]+)\s*=\s*
        (?:(?P<quote>\\*["'])(?P<value>.*?)(?:(?P=quote)|\Z)|(?P<bare>[^\s"'<>`\\]+))""",
    re.DOTALL | re.VERBOSE,
)
_SPOKEN: Final = re.compile(
    r"<(?P<tag>[\w:.-]{1,40})(?:\s[^<>]*)?>\s*(?P<name>[^<>\s][^<>]{0,79})</(?P=tag)>\s*"
    r"<(?!(?P=tag)\b)[A-Za-z][\w:.-]*(?:\s[^<>]*)?>(?P<value>[^<]+)"
)
"""An element that names, as ``<key>`` does, and the one after it."""
_HEADINGS: Final = frozenset({"dt", "label", "b", "strong"})
_DATA: Final = "data-"


class Marked(NamedTuple):
    """A value in markup: where it stands, and the name that it has."""

    start: int
    end: int
    name: str


def marked_values(text: str) -> Iterator[Marked]:
    """Every value in the markup that some name names, whether the rules know it or not."""
    for tag in _TAG.finditer(text):
        yield from _of_tag(text, tag)
    for match in _SPOKEN.finditer(text):
        local = match["tag"].rpartition(":")[2]
        if local in _HEADINGS or (local in NAMING and local not in LOOSELY_NAMING):
            yield Marked(*match.span("value"), match["name"].strip())


def _of_tag(text: str, tag: re.Match[str]) -> Iterator[Marked]:
    names: list[str] = []
    values: list[tuple[int, int]] = []
    content = False
    for attribute in _ATTRIBUTE.finditer(text, tag.start(), tag.end()):
        name, value = attribute["name"], attribute["value"] if attribute["quote"] else attribute["bare"]
        span = attribute.span("value" if attribute["quote"] else "bare")
        lower = name.lower()
        if lower in NAMING and len(value) <= LONGEST_NAME:
            names.append(value)
            content = content or lower not in LOOSELY_NAMING | {"for"}
        elif lower in VALUES or lower == "content":
            values.append(span)
        elif lower.startswith(_DATA):
            yield Marked(*span, name[len(_DATA) :])
    yield from (Marked(*span, name) for span in values for name in names)
    if content and tag["end"] and not text.startswith("<", tag.end()):
        end = text.find("<", tag.end())
        yield from (Marked(tag.end(), len(text) if end < 0 else end, name) for name in names)


def rulings_of(text: str, beside: list[str], scrubber: Scrubber) -> list[tuple[int, int, Ruling]]:
    """The values in the markup that the rules name, and what is to become of each."""
    marked = list(marked_values(text))
    known = scrubber.names["body"]
    near = list(dict.fromkeys([*beside, *(one.name for one in marked)]))
    found = []
    for start, end, spoken in marked:
        name: Name = known[spoken]
        value = text[start:end]
        if name.plain or not value.strip() or (name.word and scrubber.is_word(value)):
            continue
        if action := scrubber.action(name, near, "body", card=False):
            found.append((start, end, Ruling(action, KINDS.get(name.norm, "text"))))
    return found
