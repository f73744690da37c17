"""Keyed pseudonyms: same value, same pseudonym, of the same type, length and alphabet.

A value's *template* says for each of its characters which alphabet it is drawn from: punctuation stays, each
segment between punctuation keeps the kinds of character that it has (digits, lower case, upper case), UUIDs
and hexadecimal digits stay what they are.  Values of few possibilities (ids of three digits, short codes) are
mapped by a keyed permutation of their domain, so that two of them never get one pseudonym and none is its
own; long ones by a keyed hash.

The canonical form that is hashed has no padding, base64's url-safe characters made plain, and UUIDs and
hexadecimal digits in lower case: one token in several spellings has one pseudonym.
"""

from __future__ import annotations

import hashlib
import math
import re
import string
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from polltape.capture.pan import has_pan

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{8,}|[0-9A-F]{8,}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)
_SEGMENT: Final = re.compile(r"[^\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+")  # letters, digits, beyond ASCII
_DIGIT: Final = re.compile("[0-9]")
_UPPER: Final = re.compile("[A-Z]")
_LOWER: Final = re.compile("[a-z\x80-\U0010ffff]")
_PLAIN: Final = str.maketrans("-_", "+/")
_HEX_DIGITS: Final = "0123456789abcdef"
_EXACT: Final = 2**53
_FEW: Final = 2**64
_ROUNDS: Final = 8
_ATTEMPTS: Final = 48
_NO_DIGITS: Final = str.maketrans(string.digits, "abcdefghij")
_CACHED: Final = 8192


@dataclass(frozen=True, slots=True)
class _Template:
    """Positions that change, their alphabets, and the kinds that must be there again."""

    places: tuple[int, ...]
    alphabets: tuple[str, ...]
    segments: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """How many values have this template; of long ones only that they are many."""
        return math.prod(map(len, self.alphabets)) if len(self.places) <= 25 else _FEW

    def fill(self, value: str, letters: list[str]) -> str:
        made = list(value)
        for place, letter in zip(self.places, letters, strict=True):
            made[place] = letter
        return "".join(made)


class Pseudonyms:
    """Makes the pseudonyms of one secret."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.blake2b(secret, person=b"pseudonyms").digest()
        self._keyed = hashlib.blake2b(key=self._key)  # to be copied: the key is taken in once
        self._mixers: dict[bytes, hashlib.blake2b] = {}
        self._texts: dict[str, str] = {}
        self._numbers: dict[int, int] = {}

    def text(self, value: str) -> str:
        """The pseudonym of a text, of its length and alphabet; text without letters and digits stays."""
        made = self._texts.get(value)
        if made is None:
            if len(self._texts) >= _CACHED:
                self._texts.clear()
            made = self._texts[value] = self._make(value)
        return made

    def number(self, value: int) -> int:
        """The pseudonym of an integer: same sign and number of digits, below 2**53.

        That of the same digits as text is the same, but for numbers from 2**53 on.
        """
        made = self._numbers.get(value)
        if made is None:
            if len(self._numbers) >= _CACHED:
                self._numbers.clear()
            made = self._numbers[value] = self._make_number(value)
        return made

    def digest(self, purpose: str, *parts: str, size: int = 8) -> str:
        """A keyed digest (hex, 2 × ``size`` digits) of several texts, for that purpose only."""
        message = "\0".join((purpose, *(f"{len(part)}:{part}" for part in parts)))
        return hashlib.blake2b(_bytes(message), key=self._key, digest_size=size).hexdigest()

    def stream(self, purpose: str, value: str, count: int) -> bytes:
        """``count`` keyed bytes made of the value."""
        keyed = self._keyed.copy()
        keyed.update(f"{purpose}\0{value}".encode("utf-8", "surrogatepass"))
        first = keyed.digest()
        if count <= len(first):
            return first[:count]
        more = range(1, -(-count // 64))  # not of the value again: long ones would take quadratic time
        blocks = (hashlib.blake2b(first, key=self._key, salt=n.to_bytes(8, "big")).digest() for n in more)
        return b"".join((first, *blocks))[:count]

    # ---------------------------------------------------------------------------------------------- text

    def _make(self, value: str) -> str:
        body = value.rstrip("=")
        if _DIGITS.fullmatch(body) and (len(body) == 1 or body[0] != "0") and int(body[:18]) < _EXACT:
            return str(self._make_number(int(body))) + value[len(body) :]
        folded, upper = _fold(body)
        if len(folded) > 25 and folded.isascii() and folded.isalnum() and not folded.isdigit():
            made = self._one_segment(folded)
            return (made.upper() if upper else made) + value[len(body) :]
        template = _template(folded)
        if not template.places:
            return value
        few = template.size < _FEW and folded.isascii()
        made = self._permuted(folded, template) if few else self._hashed(folded, template)
        return (made.upper() if upper else made) + value[len(body) :]

    def _one_segment(self, body: str) -> str:
        """As :meth:`_hashed`, for letters and digits alone, of which there are many."""
        kinds = _kinds(body)
        table = _table(_alphabet(body, _HEX.fullmatch(body) is not None))
        made = body
        for attempt in range(_ATTEMPTS):
            made = self.stream(f"text{attempt}", body, len(body)).translate(table).decode()
            if made != body and _kinds(made) == kinds and not has_pan(made):
                return made
        return made.translate(_NO_DIGITS)

    def _hashed(self, body: str, template: _Template) -> str:
        """Drawn anew, segment by segment, until each is of its kinds again."""
        canonical = body.translate(_PLAIN)
        made = body
        wrong = template.segments
        for attempt in range(_ATTEMPTS):
            stream = self.stream(f"text{attempt}", canonical, len(template.places))
            pairs = zip(template.alphabets, stream, strict=True)
            drawn = template.fill(body, [alphabet[byte % len(alphabet)] for alphabet, byte in pairs])
            made = _spliced(made, drawn, wrong) if attempt and wrong else drawn
            wrong = tuple((a, b) for a, b in wrong if _kinds(made[a:b]) != _kinds(body[a:b]))
            if wrong:
                continue
            if made != body and not has_pan(made):
                return made
            wrong = template.segments
        return made.translate(_NO_DIGITS)  # a long list of numbers always holds something like a card number

    def _permuted(self, body: str, template: _Template) -> str:
        alphabets = template.alphabets
        rank = 0
        for place, alphabet in zip(template.places, alphabets, strict=True):
            rank = rank * len(alphabet) + alphabet.index(body[place])
        tweak = template.fill(body, [str(len(a) % 10) for a in alphabets]).translate(_PLAIN)
        while True:
            rank = self._next(rank, template.size, f"text\0{tweak}")
            made = template.fill(body, _letters(rank, alphabets))
            if _fits(made, body, template):
                return made

    # ------------------------------------------------------------------------------------------- numbers

    def _make_number(self, value: int) -> int:
        if value < 0:
            return -self._make_number(-value)
        digits = len(str(value))
        low, high = (0 if digits == 1 else 10 ** (digits - 1)), min(10**digits, _EXACT)
        made = value - low
        if value >= _EXACT:
            low, high = 10**15, _EXACT
            made = int(self.digest("large", str(value)), 16) % (high - low)
        while True:
            made = self._next(made, high - low, f"number\0{digits}")
            if not has_pan(str(made + low)):
                return made + low

    # --------------------------------------------------------------------------------------- permutation

    def _next(self, rank: int, size: int, tweak: str) -> int:
        """A keyed permutation of range(size) that is one single cycle: nothing is its own pseudonym."""
        if size < 2:
            return rank
        return self._shuffle((self._shuffle(rank, size, tweak, 1) + 1) % size, size, tweak, -1)

    def _shuffle(self, rank: int, size: int, tweak: str, way: int) -> int:
        """A Feistel network on Z_a × Z_b with a·b ≥ size, walked until it is inside; ``way`` −1 undoes it."""
        a = math.isqrt(size - 1) + 1
        b = -(-size // a)
        mixer = self._mixer(_bytes(f"{tweak}\0{size}\0"))
        turns = range(_ROUNDS)[::way]
        while True:
            left, right = divmod(rank, b)
            for turn in turns:
                mixed = mixer.copy()
                mixed.update(b"%d.%d" % (turn, right if turn % 2 else left))
                drawn = way * int.from_bytes(mixed.digest(), "big")
                if turn % 2:
                    left = (left + drawn) % a
                else:
                    right = (right + drawn) % b
            rank = left * b + right
            if rank < size:
                return rank

    def _mixer(self, seed: bytes) -> hashlib.blake2b:
        """The keyed hash that has taken in the seed, to be copied."""
        made = self._mixers.get(seed)
        if made is None:
            if len(self._mixers) >= _CACHED:
                self._mixers.clear()
            made = self._mixers[seed] = hashlib.blake2b(seed, key=self._key, digest_size=16)
        return made


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _fold(body: str) -> tuple[str, bool]:
    """UUIDs and hexadecimal digits in lower case, and whether they were in upper case."""
    if _UUID.fullmatch(body) or _HEX.fullmatch(body):
        lower = body.lower()
        return lower, body != lower and body == body.upper()
    return body, False


def _template(body: str) -> _Template:
    if _UUID.fullmatch(body):
        fixed = {8, 13, 14, 18, 19, 23}  # hyphens, version, variant (RFC 9562 §4)
        places = tuple(place for place in range(36) if place not in fixed)
        return _Template(places, (_HEX_DIGITS,) * len(places), ())
    if len(body) > 1 and body[0] == "0" and _DIGITS.fullmatch(body):  # 007 is no other number's pseudonym
        return _Template(tuple(range(1, len(body))), (string.digits,) * (len(body) - 1), ())
    hexadecimal = _HEX.fullmatch(body) is not None
    places_: list[int] = []
    alphabets: list[str] = []
    segments: list[tuple[int, int]] = []
    for match in _SEGMENT.finditer(body):
        alphabet = _alphabet(match.group(), hexadecimal)
        segments.append(match.span())
        places_ += range(*match.span())
        alphabets += [alphabet] * (match.end() - match.start())
    return _Template(tuple(places_), tuple(alphabets), tuple(segments))


def _alphabet(segment: str, hexadecimal: bool) -> str:
    digit, upper, lower = _kinds(segment)
    lower_case = "abcdef" if hexadecimal else string.ascii_lowercase
    return string.digits * digit + string.ascii_uppercase * upper + lower_case * lower


def _kinds(segment: str) -> tuple[bool, bool, bool]:
    """Whether there are digits, upper case, lower case (or anything beyond ASCII)."""
    return _DIGIT.search(segment) is not None, _UPPER.search(segment) is not None, _LOWER.search(segment) is not None


@lru_cache(maxsize=64)
def _table(alphabet: str) -> bytes:
    """For each byte of a stream the letter drawn."""
    return bytes(ord(alphabet[byte % len(alphabet)]) for byte in range(256))


def _fits(made: str, body: str, template: _Template) -> bool:
    """Whether it is of the same kinds, another value, and no card number."""
    same = all(_kinds(made[a:b]) == _kinds(body[a:b]) for a, b in template.segments)
    return same and (made != body or template.size < 2) and not has_pan(made)


def _spliced(made: str, drawn: str, segments: tuple[tuple[int, int], ...]) -> str:
    """``made`` with those segments of ``drawn``."""
    letters = list(made)
    for start, end in segments:
        letters[start:end] = drawn[start:end]
    return "".join(letters)


def _letters(rank: int, alphabets: tuple[str, ...]) -> list[str]:
    letters: list[str] = []
    for alphabet in reversed(alphabets):
        rank, index = divmod(rank, len(alphabet))
        letters.append(alphabet[index])
    return letters[::-1]
