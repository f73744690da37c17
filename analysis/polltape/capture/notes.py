"""What a reader has to tell about its source besides the exchanges: entries left out, oddities.

Texts are for standard error, so they name places and reasons, never values: a source is not redacted yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from polltape.exchange import Coverage

PLACES_SHOWN: Final = 3
"""How many places a line names before it says only how many more there are."""

REASONS_SHOWN: Final = 20
"""How many reasons have a line of their own; a source can be made to have as many as it has entries."""


class UnusableError(Exception):
    """One entry cannot become a row; the text is the reason, as it follows ``left out:``."""


@dataclass
class _Places:
    """How often something was met, and where first."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, index: int) -> None:
        self.count += 1
        if len(self.first) < PLACES_SHOWN:
            self.first.append(index)


@dataclass
class Notes:
    """Collects, for one source, what is left out (counted) and what is odd (told once a kind).

    ``at``: the place, counted from 0, of the piece that a reader handed out last.  ``coverage`` is what the
    source itself says of the recording sessions in it; most say nothing.
    """

    source: str
    noun: str = "entry"
    at: int = 0
    skipped: int = 0
    coverage: list[Coverage] = field(default_factory=list)
    _left_out: dict[str, _Places] = field(default_factory=dict)
    _odd: dict[str, _Places] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, index: int) -> None:
        """Count one entry that becomes no row; ``index`` counts from 0 in the source."""
        self.skipped += 1
        _add(self._left_out, reason, index)

    def odd(self, what: str, index: int) -> None:
        """Remember something that was read with an assumption, or that is not counted at all."""
        _add(self._odd, what, index)

    def say(self, text: str) -> None:
        """Tell one line about the source as a whole."""
        self._lines.append(f"{self.source}: {text}")

    def warnings(self) -> tuple[str, ...]:
        """One line for each reason, with how many and where."""
        left_out = [self._line(why, places, "left out: ") for why, places in self._left_out.items()]
        return (*self._lines, *left_out, *(self._line(what, at, "") for what, at in self._odd.items()))

    def _line(self, text: str, places: _Places, verb: str) -> str:
        shown = ", ".join(str(place) for place in places.first)
        more = f" and {places.count - PLACES_SHOWN} more" if places.count > PLACES_SHOWN else ""
        noun = self.noun if places.count == 1 else {"entry": "entries"}.get(self.noun, f"{self.noun}s")
        return f"{self.source}: {places.count} {noun} {verb}{text} ({self.noun} {shown}{more}, counted from 0)"


def _add(found: dict[str, _Places], text: str, index: int) -> None:
    name = text if text in found or len(found) < REASONS_SHOWN else "for still other reasons"
    found.setdefault(name, _Places()).add(index)
