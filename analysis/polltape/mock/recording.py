"""A capture as the mock plays it: operations on a time line of their own, the other traffic by what was asked.

An operation becomes a :class:`Tape`: its answers by seconds since t0 (the submit's response end; for a truncated
one the start of its first exchange).  Operations and writes about one thing (a checkout, named by its token) are
one :class:`Thread`, in time order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

from polltape.exchange import Exchange, Observation
from polltape.protocols import BUILT_IN, shopify_checkout_server
from polltape.protocols import endpoint as template_of
from polltape.protocols.base import Protocol

if TYPE_CHECKING:
    from polltape.capture.reading import Capture
    from polltape.mock.chains import Chains

PLAYED: Final = BUILT_IN[:1]
"""The protocols whose operations are known by the path alone."""
SUBJECTS: Final[dict[str, Callable[[str], str | None]]] = {
    "shopify-checkout": shopify_checkout_server.subject,
}
"""For each protocol: the thing that a path is about, None where it names none."""

SIGNATURES: Final = frozenset({"x-pch-digest", "x-shopify-hmac-sha256"})
"""Headers that sign what the mock changes: left out."""
_PASSING_S: Final = 1.0
_PROBED: Final = 262_144
"""Paths that are kept with what they ask for."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tape:
    """One recorded operation.

    ``pending`` and ``passing`` (429, 5xx and the like; from, until) are in time order.  ``completes`` is when
    it ends, inf where it never did; from ``final_from`` on the final answer comes, held until ``completes``.
    ``takes`` are all its polls in time order, ``afterwards`` those after the end (seconds since t0, answer): a
    server that went back to pending goes back again.  ``joins``: the answers to the same write sent again (seconds
    since t0, answer).  ``tail`` is its key without protocol and authority;
    ``subject`` the thing it is about.
    """

    operation_id: str
    protocol: str
    kind: str
    tail: str
    subject: str | None
    submit: Exchange | None
    pending: tuple[tuple[float, Exchange], ...]
    passing: tuple[tuple[float, float, Exchange], ...]
    final: Exchange | None
    final_from: float
    completes: float
    takes: tuple[Exchange, ...] = ()
    afterwards: tuple[tuple[float, Exchange], ...] = ()
    joins: tuple[tuple[float, Exchange], ...] = ()

    def joined(self, elapsed: float) -> tuple[Exchange, float]:
        """What the same write again is answered, and how many seconds it is held.

        The latest recorded one whose time has come, before the first one that, unless it is what ended the operation;
        where there is none, as the submit was.
        """
        elapsed = round(elapsed, 6)
        index = bisect_right(self.joins, elapsed, key=lambda take: take[0])
        if index:
            exchange = self.joins[index - 1][1]
            return exchange, max(0.0, self.completes - elapsed) if exchange is self.final else 0.0
        if self.joins and self.joins[0][1] is not self.final:
            return self.joins[0][1], 0.0
        return (self.submit, 0.0) if self.submit is not None else self.at(elapsed)

    def at(self, elapsed: float) -> tuple[Exchange, float]:
        """What a poll is answered that many seconds after the submit, and how many more it is held."""
        elapsed = round(elapsed, 6)  # instants are in microseconds
        if self.final is not None and elapsed >= self.final_from:
            later = bisect_right(self.afterwards, elapsed, key=lambda take: take[0])
            return self.afterwards[later - 1][1] if later else self.final, max(0.0, self.completes - elapsed)
        for start, until, exchange in self.passing:
            if start <= elapsed < until:
                return exchange, 0.0
        index = bisect_right(self.pending, elapsed, key=lambda take: take[0])
        if self.pending:
            return self.pending[max(0, index - 1)][1], 0.0
        if self.submit is None:
            raise AssertionError(f"{self.operation_id} has neither a submit nor a pending answer")
        return self.submit, 0.0

    def place_of(self, exchange: Exchange, unknown: float) -> float:
        """When it was answered, in seconds after the submit; ``unknown`` where the recording does not tell."""
        began = None if self.submit is None else self.submit.response_ended_at
        answered = exchange.response_ended_at
        return unknown if began is None or answered is None else (answered - began).total_seconds()

    def nth(self, number: int) -> Exchange:
        """What the poll of that number (from 0) is answered where polls are counted; after the last, the last."""
        return self.takes[min(number, len(self.takes) - 1)] if self.takes else self.at(0.0)[0]


Latency = Literal["none", "submits", "all"]
"""Which answers take as long as the recorded ones: those that begin an operation, all, or none."""
_FLOAT_S: Final = 1e-6
"""Instants since 1970 are kept to a quarter of this: by so much a clock runs ahead, so that nothing comes too late."""


def took_s(exchange: Exchange) -> tuple[float, float]:
    """Seconds from the request's start to its answer's first byte and to its last; 0 where that is not known."""
    ended = exchange.response_ended_at or exchange.response_started_at or exchange.request_started_at
    begun = exchange.response_started_at or ended
    first, last = ((instant - exchange.request_started_at).total_seconds() for instant in (begun, ended))
    return max(0.0, first), max(0.0, first, last)


def clock_from(submit: Exchange | None, now: float, speed: float, latency: Latency) -> float:
    """When the clock of an operation starts whose submit is answered now: with the end of that answer."""
    if latency == "none":
        return now
    return now + (0.0 if submit is None else took_s(submit)[1]) / speed - _FLOAT_S


Script = Tape | Exchange
"""What a write is answered: the submit of a tape, or an answer that ended in itself."""


@dataclass(slots=True)
class Thread:
    """Everything recorded about one thing: for each kind its writes in time order, and truncated operations."""

    subject: str | None
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    truncated: dict[str, Tape] = field(default_factory=dict)

    def plays(self, kind: str) -> bool:
        """Whether it holds an operation of that kind from its submit on."""
        return any(isinstance(script, Tape) for script in self.scripts.get(kind, ()))


Shape = tuple[str, str, tuple[str, ...]]
"""What is compared of unknown traffic: method, template of the path, names in the query."""


@dataclass(frozen=True)
class Recording:
    """What the mock plays.

    ``threads``: checkouts.  ``chains``: operations known by keys.  ``others``: by shape, then by path, the rest of
    the traffic in time order.  ``shapes``: how often each was asked for.  ``complete_at``: where between two of its
    answers the later one sets in.
    """

    threads: tuple[Thread, ...]
    chains: Chains
    others: dict[Shape, dict[str, list[Exchange]]]
    shapes: dict[Shape, int]
    authorities: frozenset[str]
    pinned: Tape | None
    notes: tuple[str, ...]
    complete_at: str = "upper"

    @cached_property
    def truncated(self) -> dict[str, list[Tape]]:
        """Operations without their submit, by kind."""
        found: dict[str, list[Tape]] = {}
        for thread in self.threads:
            for kind, tape in thread.truncated.items():
                found.setdefault(kind, []).append(tape)
        return found

    @property
    def hosts(self) -> tuple[str, ...]:
        """The recorded hosts without ports."""
        return tuple(sorted({authority.rsplit(":", 1)[0] for authority in self.authorities}))

    @classmethod
    def of(
        cls,
        capture: Capture,
        *,
        complete_at: Literal["upper", "lower", "middle"],
        pinned: str | None,
        signed: bool = False,
    ) -> Recording:
        """The recording that a capture holds; ``signed``: PAR's answers are going to be signed anew.

        Raises UsageError where there is no operation ``pinned``, InputError where there is no answer at all.
        """
        from polltape.mock.reading import recording_of

        return recording_of(capture, complete_at=complete_at, pinned=pinned, signed=signed)


@lru_cache(maxsize=65_536)
def shape_of(method: str, path: str, query: str | None) -> Shape:
    """The shape of a request."""
    return method, template_of(path), names_in(query)


def names_in(query: str | None) -> tuple[str, ...]:
    """The names in a query, in their order."""
    if not query:
        return ()
    return tuple(sorted({name for name, _ in parse_qsl(query, keep_blank_values=True, max_num_fields=10_000)}))


def tail_of(key: str) -> str:
    """A key without protocol and authority: the same thing under another name of the server."""
    return key.split("|", 2)[-1]


@lru_cache(maxsize=_PROBED)
def subject_of(protocol: str, path: str) -> str | None:
    """The thing that a path is about, None where it names none."""
    find = SUBJECTS.get(protocol)
    return None if find is None else find(path)


@lru_cache(maxsize=_PROBED)
def probe(method: str, path: str, protocols: tuple[Protocol, ...] = PLAYED) -> Observation | None:
    """What a request is to the first protocol that knows it, given that it is answered "not yet".

    ``opens`` then says whether it may open an operation.
    """
    exchange = Exchange("", method, "http", "mock", 80, path, _EPOCH, status=202)
    for protocol in protocols:
        if observations := protocol.observe(exchange):
            return observations[0]
    return None


def issued_tail(exchange: Exchange) -> str | None:
    """The first key that an answer gives out, without protocol and authority."""
    issued = [key for seen in exchange.observations for key in seen.issued]
    return tail_of(issued[0]) if issued else None
