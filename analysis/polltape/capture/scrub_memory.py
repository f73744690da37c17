"""What a :class:`~polltape.capture.scrub.Scrubber` remembers: the same names and values come again and again.

Only in memory, and bounded: a value that is remembered is a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polltape.capture.redaction_rules import Name, Place, Ruling, normalise

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

_MANY: Final = 20_000
_LONG: Final = 200


class Names(dict[str, Name]):
    """Name as it stands → what the rules say of it in one place, worked out once."""

    def __init__(self, scrubber: Scrubber, place: Place) -> None:
        super().__init__()
        self._scrubber = scrubber
        self._place = place
        self.odd: dict[str, str] = {}  # names that are no names but data, and what stands for them

    def __missing__(self, name: str) -> Name:
        made = self[name] = self._scrubber.rules.name(normalise(name), self._place)
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


class Texts(dict[str, str]):
    """Text → redacted text; short ones come again and again."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def __missing__(self, value: str) -> str:
        made = self._scrubber.fresh_text(value, 0)
        if len(value) <= _LONG:
            if len(self) > _MANY:
                self.clear()
            self[value] = made
        return made


class Ruled(dict[str, str]):
    """Text → what stands for it under one ruling."""

    def __init__(self, scrubber: Scrubber, ruling: Ruling) -> None:
        super().__init__()
        self._scrubber = scrubber
        self._ruling = ruling

    def __missing__(self, value: str) -> str:
        made = self._scrubber.fresh_named(self._ruling, value)
        if len(value) <= _LONG:
            if len(self) > _MANY:
                self.clear()
            self[value] = made
        return made


class Rulings(dict[Ruling, Ruled]):
    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def __missing__(self, ruling: Ruling) -> Ruled:
        made = self[ruling] = Ruled(self._scrubber, ruling)
        return made
