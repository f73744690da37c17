"""When each recorded request is to be sent again: pure arithmetic, no clock, no sockets.

Seconds here are of the recording, counted from its first request, unless their name says otherwise.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from types import MappingProxyType
from typing import Final, Literal

from polltape.exchange import Exchange
from polltape.replay.case import keys_of, threads

Timing = Literal["recorded", "asap", "obey"]
TIMINGS: Final[tuple[Timing, ...]] = ("recorded", "asap", "obey")

IDLE_S: Final = 1.0
"""Silence outside of every operation is cut to this: nobody waits for anything in it."""
SLACK_S: Final = 0.001
"""By so much a request may come sooner after an answer than recorded, to keep its place in the schedule."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request to send again.

    ``at_s``: its place in the schedule.  ``after``: the steps whose answers it needs.  ``behind``: the step
    whose answer it came upon, ``gap_s`` how long after.  ``anchor``: the step whose answer started the clock of
    the operation under way, ``elapsed_s`` how long that clock had run.  ``first_byte_s``, ``latency_s``: from its
    start to its answer's first and last byte, None where there was no answer.
    """

    index: int
    exchange: Exchange
    at_s: float
    after: tuple[int, ...] = ()
    behind: int | None = None
    gap_s: float = 0.0
    anchor: int | None = None
    elapsed_s: float = 0.0
    first_byte_s: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """An operation of the recording: its first exchange (its submit, unless ``truncated``), start and last end."""

    first: str
    truncated: bool
    start: datetime
    end: datetime


def plan(
    exchanges: Sequence[Exchange],
    operations: Sequence[Lifetime] = (),
    sources: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Step]:
    """The steps of exchanges in order of their request starts, given all operations among them.

    A request comes upon the answer that ended last before it, among those of linked keys; it needs that one,
    those that issued a key by which it asks, and its ``sources`` (ids by ids): it speaks of what these said.
    """
    return _Planner(exchanges, operations, sources).steps()


class _Planner:
    def __init__(
        self, exchanges: Sequence[Exchange], operations: Sequence[Lifetime], sources: Mapping[str, Sequence[str]]
    ) -> None:
        self._exchanges = exchanges
        self._sources = sources
        self._index = {exchange.exchange_id: index for index, exchange in enumerate(exchanges)}
        self._submits = {operation.first for operation in operations if not operation.truncated}
        self._place = _Schedule(exchanges, operations)
        self._thread = threads(exchanges)
        self._ended: dict[str, list[tuple[datetime, int]]] = {}
        self._opened: dict[str, list[tuple[datetime, int]]] = {}
        self._issuers: dict[str, int] = {}

    def steps(self) -> list[Step]:
        return [self._step(index, exchange) for index, exchange in enumerate(self._exchanges)]

    def _step(self, index: int, exchange: Exchange) -> Step:
        thread = self._thread[exchange.exchange_id]
        behind = _last_before(self._ended.setdefault(thread, []), exchange)
        anchor = _last_before(self._opened.setdefault(thread, []), exchange)
        needed = {self._issuers[key] for key in keys_of(exchange) if key in self._issuers}
        needed |= {self._index[name] for name in self._sources.get(exchange.exchange_id, ())}
        is_submit = exchange.exchange_id in self._submits
        for ended in (self._ended, self._opened) if is_submit else (self._ended,):
            insort(ended[thread], (exchange.last_instant, index))
        for observation in exchange.observations:
            for key in observation.issued:
                self._issuers.setdefault(key, index)
        return Step(
            index,
            exchange,
            self._place(exchange.request_started_at),
            tuple(sorted(needed | {i for i in (behind, anchor) if i is not None})),
            behind,
            self._since_end(behind, exchange),
            anchor,
            self._since_end(anchor, exchange),
            _since(exchange, exchange.response_started_at),
            _since(exchange, exchange.response_ended_at),
        )

    def _since_end(self, index: int | None, exchange: Exchange) -> float:
        if index is None:
            return 0.0
        return max(0.0, self._place(exchange.request_started_at) - self._place(self._exchanges[index].last_instant))


def _last_before(ended: list[tuple[datetime, int]], exchange: Exchange) -> int | None:
    """The step that ended last of those that had ended when the exchange started; ``ended`` is in order."""
    place = bisect_right(ended, exchange.request_started_at, key=itemgetter(0))
    return ended[place - 1][1] if place else None


def _since(exchange: Exchange, instant: datetime | None) -> float | None:
    if exchange.status is None or instant is None:
        return None
    return max(0.0, (instant - exchange.request_started_at).total_seconds())


class _Schedule:
    """From an instant of the recording to seconds since its first, idle stretches cut."""

    def __init__(self, exchanges: Sequence[Exchange], operations: Iterable[Lifetime]) -> None:
        alive = [(operation.start, operation.end) for operation in operations]
        spans = sorted([*alive, *((e.request_started_at, e.last_instant) for e in exchanges)])
        self._cuts: list[datetime] = []
        self._cut_s = [0.0]
        self._origin = until = min(e.request_started_at for e in exchanges)
        for start, end in spans:
            idle_s = (start - until).total_seconds()
            if idle_s > IDLE_S:
                self._cuts.append(start)
                self._cut_s.append(self._cut_s[-1] + idle_s - IDLE_S)
            until = max(until, end)

    def __call__(self, instant: datetime) -> float:
        return (instant - self._origin).total_seconds() - self._cut_s[bisect_right(self._cuts, instant)]


@dataclass(frozen=True, slots=True)
class Ended:
    """A step's answer: when it was there (seconds of the replay), and the wait it asked for (the same), if any."""

    at_s: float
    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and by whose word.

    ``speed``: recorded seconds in one second of the replay.  ``paced``: answers are taken no sooner than they
    came in the recording, so that both hold: each request's distance from the answer before it, and its place on
    the operation's clock.  Otherwise each request keeps its distance from the answer before it.
    """

    timing: Timing = "recorded"
    speed: float = 1.0
    paced: bool = True

    def due_s(self, step: Step, ended: Mapping[int, Ended]) -> float:
        """When to send it, in seconds of the replay; all of ``step.after`` have ended."""
        ready_s = max((ended[index].at_s for index in step.after), default=0.0)
        if self.timing == "asap":
            return ready_s
        scheduled_s = step.at_s / self.speed
        if step.behind is None:
            return max(ready_s, scheduled_s)
        last = ended[step.behind]
        if self.timing == "obey" and last.asked_s is not None:
            return max(ready_s, last.at_s + last.asked_s)
        think_s = last.at_s + step.gap_s / self.speed
        if self.timing == "obey" or not self.paced:
            return max(ready_s, think_s)
        if step.anchor is not None:
            scheduled_s = ended[step.anchor].at_s + step.elapsed_s / self.speed
        return max(ready_s, scheduled_s, think_s - SLACK_S)

    @property
    def holds(self) -> bool:
        """Whether answers are taken no sooner than they came in the recording."""
        return self.paced and self.timing == "recorded"

    def held_s(self, seconds: float | None) -> float:
        """How long after its request an answer is taken at the soonest, in seconds of the replay."""
        return 0.0 if seconds is None or not self.holds else seconds / self.speed
