"""Encodings in which values stand in URLs, forms and headers, undone and done again as they were."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import quote, unquote

_INDEX: Final = re.compile(r"[\[\].]+")
_PLAIN: Final = str.maketrans("-_", "+/")
_URL_SAFE: Final = str.maketrans("+/", "-_")


def name_parts(name: str) -> list[str]:
    """``checkout[lines][0].email`` → its names without indexes; never empty."""
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


def encode64(text: str, like: str) -> str:
    """Base64 in the alphabet and with the padding (or none) of another."""
    made = base64.b64encode(text.encode()).decode()
    if "-" in like or "_" in like:
        made = made.translate(_URL_SAFE)
    unpadded = not like.endswith("=") and len(like) % 4 != 0
    return made.rstrip("=") if unpadded else made


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
