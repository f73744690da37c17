"""What a :class:`~polltape.capture.scrub.Scrubber` remembers: the same names and values come again and again.

Only in memory, and bounded: a value that is remembered is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from polltape.capture.encodings import BLANK_JSON64, may_hold_text64, name_parts
from polltape.capture.pan import replace_pans
from polltape.capture.redaction_rules import Name, Place, Ruling, normalise
from polltape.capture.scrub_prose import NAMED
from polltape.capture.standins import DROPPED
from polltape.exchange import Header

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber
    from polltape.capture.scrub_told import Telling

_MANY: Final = 5_000
_LONG: Final = 200
_FEW: Final = 256
_LONGEST: Final = 4_000
"""Of values up to so many characters (a Content-Security-Policy, a GraphQL document) the last few are remembered."""
_APART: Final = "\0"
"""Between texts that are looked at together: a character that no pattern spans."""
_CODED_JSON: Final = re.compile(rf"{_APART}(?:e[wy]|W[w-z13])[\w+/-]{{6}}")
_SHORT: Final = 8  # the shortest of what begins with a known letter
_CODED: Final = re.compile(rf"eyAi|ew[0o]|W3s|WyJ|{BLANK_JSON64}")
_PATHS: Final = re.compile(r"^[^/].*[\[.:/|#>]")
"""Names with names in them; what begins with a slash is a path."""
_PLAIN: Final = bytes(byte for byte in range(128) if chr(byte).isalnum() or chr(byte) in "_ .,:;#+()'-")


def is_plain(text: str, telling: Telling) -> bool:
    """Whether all that a text may hold is a card number: what else redaction looks for needs what is not there.

    URLs, addresses, forms, JSON and percent-encoding have characters that are not plain; JWTs, global ids and
    base64 of JSON begin with known letters, Shopify's tokens and schemes with known words.
    """
    return text.isascii() and not text.encode().translate(None, _PLAIN) and _tells_nothing(text, telling)


def _tells_nothing(text: str, telling: Telling) -> bool:
    """:func:`is_plain` for plain characters; the text may be several, with :data:`_APART` between them."""
    if len(text) < _SHORT and ":" not in text:
        return True
    if "eyJ" in text or "Z2lk" in text or "shp" in text or _CODED.search(text):
        return False
    if _CODED_JSON.search(_APART + text):
        return False
    if ":" in text and NAMED.search(text):
        return False
    if may_hold_text64(text):
        return False
    if " " not in text:
        return True
    lower = text.lower()
    return not ("basic" in lower or "bearer" in lower or "token" in lower or telling.may(text))


class Names(dict[str, Name]):
    """Name as it stands → what the rules say of it in one place, worked out once."""

    def __init__(self, scrubber: Scrubber, place: Place) -> None:
        super().__init__()
        self._scrubber = scrubber
        self._place = place
        self.odd: dict[str, str] = {}  # names that are no names but data, and what stands for them

    def __missing__(self, name: str) -> Name:
        made = self._scrubber.rules.name(normalise(name), self._place)
        if made.plain and self._place == "body" and _PATHS.search(name):  # user.password, user[password], user:password
            made = self._scrubber.rules.name(normalise(name_parts(name)[-1]), self._place)
        if made.plain and "/" not in name:  # user_password; not the path of an endpoint
            made = self._scrubber.rules.compound(name, self._place) or made
        if made.plain and self._place == "body":
            made = self._scrubber.rules.plural(name) or made
        self[name] = made
        if made.ruling is not None:
            made.texts = self._scrubber.ruled[made.ruling]
        clean = self._scrubber.text(name)
        if clean != name:
            self.odd[name] = clean
        return made

    def tidy(self) -> None:
        """Forget all, where an API with data for names would fill the memory (never inside one body)."""
        if len(self) > _MANY:
            self.clear()
            self.odd.clear()


class _Memory[Key, Made](dict[Key, Made]):
    """Bounded: many short values, a few long ones."""

    def __init__(self) -> None:
        super().__init__()
        self._long: dict[Key, Made] = {}

    def keep(self, key: Key, made: Made, length: int) -> Made:
        """Remember what was made of a key that is so long."""
        if length <= _LONG:
            if len(self) > _MANY:
                self.clear()
            self[key] = made
        elif length <= _LONGEST:
            if len(self._long) >= _FEW:
                self._long.clear()
            self._long[key] = made
        return made


class Headers(_Memory[Header, Header]):
    """Header → redacted header; most of them are the same in every exchange."""

    def __init__(self, name: Callable[[str], str], make: Callable[[str, str], str]) -> None:
        super().__init__()
        self._name = name
        self._make = make

    def __missing__(self, header: Header) -> Header:
        name, value = header
        known = self._long.get(header)
        return known or self.keep(header, Header(self._name(name), self._make(name, value)), len(name) + len(value))


class Texts(_Memory[str, str]):
    """Text → redacted text; short ones come again and again."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def not_plain(self, values: Sequence[str]) -> Iterable[int]:
        """The places of those texts that have to be looked at by themselves."""
        joined = _APART.join(values)
        strays = joined.encode("utf-8", "surrogatepass").translate(None, _PLAIN).split(_APART.encode())
        if len(strays) != len(values):
            return range(len(values))
        odd = [place for place, stray in enumerate(strays) if stray]
        if odd:
            joined = _APART.join([value for value, stray in zip(values, strays, strict=True) if not stray])
        plain = _tells_nothing(joined, self._scrubber.telling) and replace_pans(joined, DROPPED) is joined
        return odd if plain else range(len(values))

    def __missing__(self, value: str) -> str:
        if is_plain(value, self._scrubber.telling):
            return self.keep(value, replace_pans(value, DROPPED), len(value))
        known = self._long.get(value)
        return known if known is not None else self.keep(value, self._scrubber.fresh_text(value, 0), len(value))


class Memory(_Memory[str, str]):
    """Text → what is made of it."""

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, value: str) -> str:
        known = self._long.get(value)
        return known if known is not None else self.keep(value, self._make(value), len(value))


class Rulings(dict[Ruling, Memory]):
    """Ruling → text → what stands for it under the ruling."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def __missing__(self, ruling: Ruling) -> Memory:
        made = self[ruling] = Memory(self._scrubber.maker(ruling))
        return made
