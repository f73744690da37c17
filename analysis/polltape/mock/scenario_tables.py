"""The tables that scenarios share: durations, instructions to wait, shares of outcomes, leaky buckets.

Every one has its rules here, once.  What is drawn by chance is drawn from :class:`Draws`: the n-th draw of a
name is the same for the same seed, whatever else was drawn in between.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from math import exp, inf, isclose
from random import Random
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from polltape.exchange import Header
from polltape.mock.hints import WAIT_HEADER, date_in, exact, scaled_number
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend

Seconds = Annotated[float, Meta(ge=0)]
Wait = Annotated[float, Meta(ge=0, le=1e9)]
"""Seconds that an answer asks to wait: an instant so far ahead can still be written."""
Share = Annotated[float, Meta(ge=0, le=1)]
Money = Annotated[str, Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})?$")]


class Scenario(Table, frozen=True, kw_only=True):
    """A scenario: its protocol decides which tables the file may have.

    ``built_in`` names the scenario of the package whose file explains each key.
    """

    built_in: ClassVar[str]

    protocol: str
    seed: int = 1

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        raise NotImplementedError


class Draws:
    """Chance, from one seed.

    >>> Draws(7).next("update").random() == Draws(7).next("update").random()
    True
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}

    def next(self, name: str) -> Random:
        """What the next draw of that name is drawn from."""
        number = self._counts[name] = self._counts.get(name, 0) + 1
        return Random(f"{self._seed}|{name}|{number}")


# ------------------------------------------------------------------------------------------- durations


class Drawn(Table, frozen=True):
    """A duration that is drawn: log-normal, from a capture, or from an estimate written out.

    ``median``, ``sigma``: exp(N(ln median, sigma)) seconds.  ``capture``, ``kind``: as the operations of that
    kind took in the capture (``at``: where in their brackets they ended); reading the scenario puts
    ``seconds`` and ``shares`` in their place.  ``seconds``, ``shares``: each of these durations with its share
    of the operations; what is missing to 1 never ends.
    """

    median: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    sigma: Annotated[float, Meta(ge=0, le=10)] | None = None
    capture: Annotated[str, Meta(min_length=1)] | None = None
    kind: Annotated[str, Meta(min_length=1)] | None = None
    at: Literal["upper", "lower", "middle"] | None = None
    seconds: Annotated[list[Seconds], Meta(min_length=1)] | None = None
    shares: Annotated[list[Share], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        wants = {"median": ("sigma",), "capture": ("kind", "at"), "seconds": ("shares",)}
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        ways = [way for way in wants if way in given]
        if len(ways) != 1:
            raise ValueError("expected one of 'median' with 'sigma', 'capture' with 'kind', 'seconds' with 'shares'")
        way = ways[0]
        if wants[way][0] not in given:
            raise ValueError(f"has no {wants[way][0]!r}")
        if strange := sorted(given - {way, *wants[way]}):
            raise ValueError(f"{strange[0]!r} does not go with {way!r}")
        if self.shares is not None and self.seconds is not None:
            if len(self.shares) != len(self.seconds):
                raise ValueError("'seconds' and 'shares' are not of one length")
            if sum(self.shares) > 1 and not isclose(sum(self.shares), 1):
                raise ValueError("'shares' are more than 1 together")

    def draw(self, chance: Random) -> float:
        """Seconds; inf for one that never ends."""
        if self.median is not None and self.sigma is not None:
            return self.median * exp(self.sigma * chance.gauss())
        drawn = chance.random()
        steps = zip(self.seconds or (), accumulate(self.shares or ()), strict=True)
        return next((seconds for seconds, reached in steps if drawn < reached), inf)


class DateHint(Table, frozen=True):
    """Retry-After as an HTTP date, ``date`` seconds after the answer's own Date."""

    date: Annotated[int, Meta(ge=0, le=10**9)]


Hint = (
    Annotated[int, Meta(ge=0, le=10**9)]
    | Wait
    | Literal["none"]
    | DateHint
    | Annotated[list[Annotated[int, Meta(ge=0, le=10**9)]], Meta(min_length=1)]
)
"""What Retry-After says: whole seconds, a fraction, nothing, a date, or several lines that contradict."""


def hint_lines(hint: Hint, speed: float, now: float) -> tuple[Header, ...]:
    """The header lines that ask to wait, at that speed, and the exact wait beside them."""
    if hint == "none":
        return ()
    if isinstance(hint, DateHint):
        asked, lines = float(hint.date), [date_in(hint.date / speed, now)]
    else:
        numbers = hint if isinstance(hint, list) else [hint]
        asked, lines = float(max(numbers)), [scaled_number(_spelled(number), speed) for number in numbers]
    return (*(Header("Retry-After", line) for line in lines), Header(WAIT_HEADER, exact(asked, speed)))


def _spelled(number: float) -> str:
    """A number in the grammar of Retry-After: whole, or with a fraction."""
    return str(number) if isinstance(number, int) else f"{number:.3f}".rstrip("0") + ("0" if number % 1 == 0 else "")


class Timed(Table, frozen=True):
    """How long one kind of operation takes, in seconds, and the share of them that never ends."""

    duration_s: Seconds | Drawn = 2.0
    stuck: Share = 0.0

    def draw(self, chance: Random) -> float:
        """A duration in seconds; inf for one that never ends."""
        drawn = self.duration_s.draw(chance) if isinstance(self.duration_s, Drawn) else self.duration_s
        return inf if self.stuck and chance.random() < self.stuck else drawn


class Kind(Timed, frozen=True):
    """A kind of operation whose pending answers ask to wait by Retry-After."""

    retry_after: Hint = 1

    def hint(self, speed: float, now: float) -> tuple[Header, ...]:
        """The header lines that ask to wait, at that speed, and the exact wait beside them."""
        return hint_lines(self.retry_after, speed, now)


def with_estimates[T: Table](
    table: T, estimate: Callable[[Drawn, tuple[str, ...]], Drawn], at: tuple[str, ...] = ()
) -> T:
    """The table with each duration from a capture replaced by ``estimate(drawn, path)``, at every depth."""
    changed: dict[str, Table] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, Drawn) and value.capture is not None:
            changed[name] = estimate(value, (*at, name))
        elif isinstance(value, Table) and (made := with_estimates(value, estimate, (*at, name))) is not value:
            changed[name] = made
    return msgspec.structs.replace(table, **changed) if changed else table


# ------------------------------------------------------------------------------------------- outcomes


class Outcomes(Table, frozen=True):
    """Shares of the operations that end otherwise than well; a subclass's fields are these ways to end."""

    def __post_init__(self) -> None:
        together = sum(getattr(self, name) for name in self.__struct_fields__)
        if together > 1 and not isclose(together, 1):
            raise ValueError("the shares are more than 1 together")

    def draw(self, chance: Random) -> str | None:
        """The name of the way that an operation ends, None where it ends well."""
        left = chance.random()
        for name in self.__struct_fields__:
            left -= getattr(self, name)
            if left < 0:
                return name
        return None
