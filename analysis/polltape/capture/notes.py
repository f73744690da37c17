"""What a reader has to tell about its source besides the exchanges: entries left out, oddities.

Texts are for standard error, so they name places and reasons, never values: a source is not redacted yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from polltape.exchange import Coverage

PLACES_SHOWN: Final = 3
"""How many places a line names before it says only how many more there are."""


class UnusableError(Exception):
    """One entry cannot become a row; the text is the reason, as it follows ``left out:``."""


@dataclass
class Notes:
    """Collects, for one source, what is left out (counted) and what is odd (told once a kind).

    ``coverage`` is what the source itself says of the recording sessions in it; most say nothing.
    """

    source: str
    noun: str = "entry"
    skipped: int = 0
    coverage: list[Coverage] = field(default_factory=list)
    _left_out: dict[str, list[int]] = field(default_factory=dict)
    _odd: dict[str, list[int]] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, index: int) -> None:
        """Count one entry that becomes no row; ``index`` counts from 0 in the source."""
        self.skipped += 1
        self._left_out.setdefault(reason, []).append(index)

    def odd(self, what: str, index: int) -> None:
        """Remember something that was read with an assumption, or that is not counted at all."""
        self._odd.setdefault(what, []).append(index)

    def say(self, text: str) -> None:
        """Tell one line about the source as a whole."""
        self._lines.append(f"{self.source}: {text}")

    def warnings(self) -> tuple[str, ...]:
        """One line for each reason, with how many and where."""
        left_out = [self._line(why, places, "left out: ") for why, places in self._left_out.items()]
        return (*self._lines, *left_out, *(self._line(what, at, "") for what, at in self._odd.items()))

    def _line(self, text: str, places: list[int], verb: str) -> str:
        shown = ", ".join(str(place) for place in places[:PLACES_SHOWN])
        more = f" and {len(places) - PLACES_SHOWN} more" if len(places) > PLACES_SHOWN else ""
        noun = self.noun if len(places) == 1 else {"entry": "entries"}.get(self.noun, f"{self.noun}s")
        return f"{self.source}: {len(places)} {noun} {verb}{text} ({self.noun} {shown}{more}, counted from 0)"
