"""Encodings in which values stand in URLs, forms and headers, undone and done again as they were."""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Final
from urllib.parse import quote, unquote

_INDEX: Final = re.compile(r"[\[\].:/|#>}]+")
_BLANK_JSON64: Final = (
    r"I(?:C[AB]|A[klop01]|[HF][st])",
    r"C(?:[iS][AB]|[gQ][klop01]|[nlXV][st])",
    r"D(?:S[AB]|Q[klop01]|[XV][st])",
)
BLANK_JSON64: Final = "|".join(rf"{start}[\w+/-]{{6}}" for start in _BLANK_JSON64)
"""How base64 of JSON begins that begins with a blank, a tab or the end of a line: each alternative with its letter
first, so that it is looked for fast."""

_QUADS: Final = 4 * r"[A-Za-f][A-HQ-Xg-nw-z0-3][ABEFIJMNQRUVYZcdghklopstwx014589][\w+/-]"
TEXT64: Final = rf"(?<![\w+/-]){_QUADS}"
"""How base64 of text begins that has twelve characters of ASCII first; of random letters one in four thousand does."""
_QUADS_BEHIND: Final = re.compile(rf"[^A-Za-z0-9_+/-]{_QUADS}")  # two plain sets of characters: looked for fast
_QUADS_FIRST: Final = re.compile(_QUADS)

_PLAIN: Final = str.maketrans("-_", "+/")
_TELLING: Final = re.compile(
    r"&(?:amp;)*(?:quot|apos|lt|gt|#\d{1,5}|#[xX][0-9a-fA-F]{1,4});|\\u00(?:2[267]|3[cdeCDE])|\d&nbsp;\d"
)
_ENTITY: Final = re.compile(
    r"&(?:amp|quot|apos|lt|gt|nbsp|#\d{1,5}|#[xX][0-9a-fA-F]{1,4});|\\u(?P<code>00(?:2[267]|3[cdeCDE]))"
)
_SCRIPT_ESCAPES: Final = {char: f"\\u{ord(char):04x}" for char in "\"&'<=>"}
"""As JSON inside markup has them."""
_URL_SAFE: Final = str.maketrans("+/", "-_")


def name_parts(name: str) -> list[str]:
    """``checkout[lines][0].email``, ``user:email`` → its names without indexes; never empty."""
    parts = [part for part in _INDEX.split(name) if part and not part.isdigit()]
    return parts or [name]


def requote(made: str, raw: str, *, form: bool = False) -> str:
    """Percent-encode what was made as ``raw`` was: what stood there plain stays plain."""
    plain = "".join(char for char in set(raw) if char not in "%+")
    quoted = quote(made, safe=plain + ("" if form else "+" if "+" in raw else ""))
    return quoted.replace("%20", "+") if form and "+" in raw else quoted


def decode64(token: str) -> str | None:
    """The text that base64 in either alphabet stands for; None where it is none, or no text."""
    bare = token.rstrip("=").translate(_PLAIN)
    try:
        decoded = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return decoded if decoded and all(c.isprintable() or c in "\r\n\t" for c in decoded) else None


def may_hold_text64(text: str) -> bool:
    """Whether base64 of text may begin somewhere in the text."""
    return len(text) > 15 and (_QUADS_FIRST.match(text) or _QUADS_BEHIND.search(text)) is not None


def encode64(text: str, like: str) -> str:
    """Base64 in the alphabet and with the padding (or none) of another."""
    made = base64.b64encode(text.encode()).decode()
    if "-" in like or "_" in like:
        made = made.translate(_URL_SAFE)
    unpadded = not like.endswith("=") and len(like) % 4 != 0
    return made.rstrip("=") if unpadded else made


def unescaped(text: str) -> str | None:
    """Text in markup, its entities undone; None where it has none that could hide a name or a value.

    >>> unescaped("&lt;a&gt; &copy=1")
    '<a> &copy=1'
    """
    if ("&" not in text and "\\u00" not in text) or _TELLING.search(text) is None:
        return None
    return _ENTITY.sub(_entity, text)


def _entity(match: re.Match[str]) -> str:
    return chr(int(match["code"], 16)) if match["code"] else html.unescape(match[0])


def escaped(made: str, raw: str) -> str:
    """What was made of text in markup, escaped again; what stood plain in the text stays plain."""
    entities = {"<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\u00a0": "&nbsp;"}
    if "\\u00" in raw:
        entities |= {char: escape for char, escape in _SCRIPT_ESCAPES.items() if escape in raw.lower()}
    left = {ord(char): entity for char, entity in entities.items() if char not in raw}
    if "&amp;" in raw:
        left[ord("&")] = "&amp;"
    return made.translate(left)


def unquoted(text: str) -> str:
    """Percent-encoding undone as often as it was done, five times at most.

    >>> unquoted("%2565mail")
    'email'
    """
    for _ in range(5):
        if "%" not in text or (plain := unquote(text)) == text:
            break
        text = plain
    return text


def unquote_form(raw: str) -> str:
    return unquote(raw.replace("+", " "))
