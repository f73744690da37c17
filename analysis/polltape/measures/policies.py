"""Polling policies: after each "not yet", how long a client waits before it asks again.

==============  ============================================================================================
policy          wait before the next poll
==============  ============================================================================================
fixed           always the same
obey            what the server asked for; where it asked for nothing, a default
exponential     first · factor ^ polls sent, at most max; of it, by ``jitter``: a random share (``full``), at
                least half (``equal``), all (``none``) (AWS Architecture Blog, Exponential Backoff And
                Jitter, 2015)
hint+backoff    what the server asked for plus that exponential
the user's own  a function of the polls sent, the instruction and the elapsed time
==============  ============================================================================================

A policy decides for many operations at once: arrays in, an array out.
"""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import repeat
from typing import Any, Final, Protocol

import numpy as np

from polltape.errors import InputError, UsageError
from polltape.measures.statistics import Floats

JITTERS: Final = ("full", "equal", "none")
DEFAULT_S: Final = 1.0


class Policy(Protocol):
    """What every policy has: its name as the user wrote it, and its waits."""

    @property
    def name(self) -> str: ...

    def waits(self, sent: int, asked_s: Floats, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
        """Seconds to wait, for each operation; infinite gives up.

        ``sent``: polls sent so far, 0 after the submit.  ``asked_s``: the instruction of the answer at hand, NaN
        without one.  ``elapsed_s``: from t0 to the end of that answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same wait."""

    name: str = "fixed"
    wait_s: float = DEFAULT_S

    def waits(self, sent: int, asked_s: Floats, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
        return np.full(asked_s.shape, self.wait_s)


@dataclass(frozen=True, slots=True)
class Obey:
    """The server's instruction, and a default where there is none."""

    name: str = "obey"
    default_s: float = DEFAULT_S

    def waits(self, sent: int, asked_s: Floats, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
        return np.where(np.isnan(asked_s), self.default_s, asked_s)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Exponential backoff with jitter, blind to the instruction; with ``hint`` on top of it."""

    name: str = "exponential"
    hint: bool = False
    first: float = 1.0
    factor: float = 2.0
    max: float = 30.0
    jitter: str = "full"

    def waits(self, sent: int, asked_s: Floats, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
        # first · factor ^ sent ≤ max, asked of the logarithms: the power may be too large for a float.
        grows = sent * math.log(self.factor) <= math.log(self.max / self.first)
        base = self.first * self.factor**sent if grows else self.max
        if self.jitter == "none":
            drawn = np.full(asked_s.shape, base)
        else:
            least = base / 2 if self.jitter == "equal" else 0.0
            drawn = least + rng.random(asked_s.shape) * (base - least)
        return drawn + np.nan_to_num(asked_s) if self.hint else drawn


Function = Callable[..., object]
ARGUMENTS: Final = ("poll", "asked_s", "elapsed_s", "rng")


@dataclass(frozen=True, slots=True)
class Own:
    """The user's own function, called for each operation and poll with those of :data:`ARGUMENTS` that it names.

    It returns seconds, or None to give up; ``asked_s`` is None without an instruction, ``rng`` a numpy Generator.
    Raises UsageError at once for arguments that nobody would give it; :meth:`waits` raises InputError for what
    it raises and for what is no wait.
    """

    name: str
    function: Function
    takes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        arguments = inspect.signature(self.function).parameters
        if unknown := [name for name in arguments if name not in ARGUMENTS]:
            raise UsageError(f"policy {self.name}: no argument {unknown[0]!r}; there are {', '.join(ARGUMENTS)}")
        if any(argument.kind is argument.KEYWORD_ONLY for argument in arguments.values()):
            raise UsageError(f"policy {self.name}: write its arguments without a * before them")
        object.__setattr__(self, "takes", tuple(arguments))

    def waits(self, sent: int, asked_s: Floats, elapsed_s: Floats, rng: np.random.Generator) -> Floats:
        given: dict[str, Sequence[object]] = {
            "poll": [sent] * asked_s.size,
            "asked_s": [None if math.isnan(value) else value for value in asked_s.tolist()],
            "elapsed_s": elapsed_s.tolist(),
            "rng": [rng] * asked_s.size,
        }
        calls = zip(*(given[name] for name in self.takes), strict=True) if self.takes else repeat((), asked_s.size)
        found: list[object] = []
        try:
            for call in calls:
                found.append(self.function(*call))  # noqa: PERF401 - how many there are says which one failed
        except (Exception, SystemExit) as error:  # sys.exit() in it would end us without a word
            line = traceback.extract_tb(error.__traceback__)[-1].lineno
            what = f"{type(error).__name__}: {error}"
            raise InputError(f"policy {self.name}, line {line}: {what}{_when(given, len(found))}") from error
        return np.array([self._seconds(wait, given, place) for place, wait in enumerate(found)], dtype=np.float64)

    def _seconds(self, wait: object, given: dict[str, Sequence[object]], place: int) -> float:
        if wait is None:
            return math.inf
        if not isinstance(wait, int | float | np.number) or not 0 <= float(wait) < math.inf:
            raise InputError(
                f"policy {self.name} returned {wait!r}{_when(given, place)}",
                hint="return seconds from 0 on, or None to give up",
            )
        return float(wait)


def _when(given: dict[str, Sequence[object]], place: int) -> str:
    told = ", ".join(f"{name}={given[name][place]}" for name in ARGUMENTS if name != "rng")
    return f" for {told}"


USUAL: Final = ("fixed:0.5", "fixed:1", "fixed:5", "obey", "exponential", "hint+backoff")
"""What is played where the user names no policy."""
KNOWN: Final = "fixed, obey, exponential, hint+backoff, or FILE.py[:FUNCTION]"


def policy_named(text: str) -> Policy:
    """One of the policies that are built in: ``fixed:2``, ``obey``, ``exponential:max=60,jitter=none``.

    Raises UsageError for a name, an option or a value that there is not.
    """
    name, _, rest = text.partition(":")
    if name == "fixed":
        return Fixed(text, _seconds(text, rest, DEFAULT_S, least=0.001))
    if name == "obey":
        return Obey(text, _seconds(text, rest, DEFAULT_S, least=0.0))
    if name in ("exponential", "hint+backoff"):
        return _exponential(text, rest, hint=name == "hint+backoff")
    raise UsageError(f"--policy {text!r}: there are {KNOWN}")


def _seconds(text: str, number: str, default: float, least: float) -> float:
    if not number:
        return default
    found = _number(number)
    if found is None or found < least:
        raise UsageError(f"--policy {text!r}: seconds after the colon, at least {least:g}")
    return found


def _exponential(text: str, rest: str, *, hint: bool) -> Exponential:
    options = [f.name for f in fields(Exponential)][2:]
    given: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in options:
            raise UsageError(f"--policy {text!r}: no option {key!r}; there are {', '.join(options)}")
        given[key] = value if key == "jitter" else _number(value)
    made = Exponential(text, hint, **given)
    numbers = (made.first, made.factor, made.max)
    if made.jitter not in JITTERS:
        raise UsageError(f"--policy {text!r}: jitter is {', '.join(JITTERS)}")
    if None in numbers or not (0.001 <= made.first <= made.max and 1 <= made.factor <= 1000):
        raise UsageError(f"--policy {text!r}: 0.001 ≤ first ≤ max, in seconds, and 1 ≤ factor ≤ 1000")
    return made


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
