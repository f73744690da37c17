"""Card numbers in any text: Luhn-valid runs of 13 to 19 digits, with blanks or hyphens between; and with dots or
underscores, where they part the groups that cards have (a shop's numbers, versions and addresses have others).

Shopify's ids of 13 digits are Luhn-valid one time in ten, and go as well: a card number must never reach the
disk, in no form, not even hashed (PCI DSS 3.5.1: a hash of a card number can be guessed).
"""

from __future__ import annotations

import re
from typing import Final

_GAP: Final = (
    r"[ \t\u00a0\u00ad\u1680\u2000-\u200d\u2010-\u2015\u202f\u205f\u2060\u2212\u3000\ufe58\ufe63\ufeff\uff0d-]{0,3}"
)
"""Blanks and hyphens of all scripts, those that take no room among them."""
_RUN: Final = re.compile(rf"(?<!\d)\d(?:{_GAP}\d){{12,}}")
_GROUPED: Final = re.compile(
    r"(?<!\d)(?<!\d[._])(?:\d{4}([._])\d{4}\1\d{4}\1\d{4}|\d{4}([._])\d{6}\2\d{5})(?!\d|[._]\d)"
)
_GROUP: Final = re.compile(r"\d+")
_UUID: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_GAPS: Final = b" \t-._"
_MARKS: Final = bytes(ord("0") if 48 <= byte < 58 else ord(" ") if byte in _GAPS else ord("x") for byte in range(256))
_SHORTEST: Final = b"0" * 13
_VALUES: Final = bytes(byte % 16 for byte in range(256))
_DOUBLED: Final = bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[byte % 16 % 10] for byte in range(256))


def luhn(digits: str) -> bool:
    """Whether the digits pass the Luhn check (ISO/IEC 7812-1, annex B).

    >>> luhn("4242424242424242"), luhn("4242424242424241")
    (True, False)
    """
    if not digits.isascii():
        digits = "".join(str(int(digit)) for digit in digits)
    content = digits.encode()
    return (sum(content[::-2].translate(_VALUES)) + sum(content[-2::-2].translate(_DOUBLED))) % 10 == 0


def is_pan(digits: str) -> bool:
    """Whether a text that is digits alone may be a card number."""
    return 13 <= len(digits) <= 19 and luhn(digits)


def find_pans(text: str) -> list[tuple[int, int]]:
    """Where in the text card numbers stand: (start, end) of each, in order, not overlapping."""
    if not text.isascii():
        return _searched(text)
    content = text.encode()
    if _SHORTEST not in content.translate(_MARKS, _GAPS):
        return []
    marks = content.translate(_MARKS)
    return _searched(text) if b" " in marks else _without_gaps(text, marks)


def _without_gaps(text: str, marks: bytes) -> list[tuple[int, int]]:
    """The same of ASCII text without any gaps: the number is the whole of a run; ``marks`` of its digits."""
    found: list[tuple[int, int]] = []
    start = marks.find(_SHORTEST)
    while start >= 0:
        end = marks.find(b"x", start)
        end = len(marks) if end < 0 else end
        if is_pan(text[start:end]):
            found.append((start, end))
        start = marks.find(_SHORTEST, end)
    return found


def _searched(text: str) -> list[tuple[int, int]]:
    """The same of any text, digit by digit."""
    found: list[tuple[int, int]] = []
    uuids: list[tuple[int, int]] | None = None
    for run in _RUN.finditer(text):
        if uuids is None:
            uuids = [match.span() for match in _UUID.finditer(text)]
        if not any(start <= run.start() and run.end() <= end for start, end in uuids):
            found += _in_run(run.group(), run.start())
    grouped = [match.span() for match in _GROUPED.finditer(text) if luhn(re.sub(r"\D", "", match.group()))]
    return _apart(found + grouped) if grouped else found


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order; those that overlap as one."""
    made: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made


def has_pan(text: str) -> bool:
    """Whether a card number stands anywhere in the text."""
    return len(text) >= 13 and bool(find_pans(text))


def replace_pans(text: str, stand_in: str) -> str:
    """The text with each card number replaced; the same object where there is none."""
    if len(text) < 13 or (text.isascii() and _SHORTEST not in text.encode().translate(_MARKS, _GAPS)):
        return text
    spans = find_pans(text)
    for start, end in reversed(spans):
        text = f"{text[:start]}{stand_in}{text[end:]}"
    return text


def _in_run(run: str, offset: int) -> list[tuple[int, int]]:
    """Windows of whole groups of a run, the longest first: a date may stand before a card number."""
    groups = [(match.start(), match.end(), match.group()) for match in _GROUP.finditer(run)]
    spans: list[tuple[int, int]] = []
    first = 0
    while first < len(groups):
        last = _longest_from(groups, first)
        if last is None:
            first += 1
            continue
        spans.append((offset + groups[first][0], offset + groups[last][1]))
        first = last + 1
    return spans


def _longest_from(groups: list[tuple[int, int, str]], first: int) -> int | None:
    digits, best = "", None
    for last in range(first, len(groups)):
        digits += groups[last][2]
        if len(digits) > 19:
            break
        if is_pan(digits):
            best = last
    return best
