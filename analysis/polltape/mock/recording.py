"""A capture as the mock plays it: operations on a time line of their own, the other traffic by what was asked.

An operation becomes a :class:`Tape`: its answers by seconds since t0 (the submit's response end; for a truncated
one the start of its first exchange).  Operations and writes about one thing (a checkout, named by its token) are
one :class:`Thread`, in time order.
"""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

from polltape.errors import InputError, UsageError
from polltape.exchange import Exchange, Observation
from polltape.protocols import BUILT_IN, shopify_checkout_server
from polltape.protocols import endpoint as template_of
from polltape.protocols.base import Protocol

if TYPE_CHECKING:
    from polltape.capture.reading import Capture
    from polltape.operations.fold import Operation, Seen

PLAYED: Final = BUILT_IN[:1]
"""The protocols that a recording is played for."""
SUBJECTS: Final[dict[str, Callable[[str], str | None]]] = {
    "shopify-checkout": shopify_checkout_server.subject,
}
"""For each protocol: the thing that a path is about, None where it names none."""

SIGNATURES: Final = frozenset({"x-pch-digest", "x-shopify-hmac-sha256"})
"""Headers that sign what the mock changes: left out."""
_PASSING_S: Final = 1.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tape:
    """One recorded operation.

    ``pending`` and ``passing`` (429, 5xx and the like; from, until) are in time order.  ``completes`` is when
    it ends, inf where it never did; from ``final_from`` on the final answer comes, held until ``completes``.
    ``takes`` are all its polls in time order.  ``tail`` is its key without protocol and authority; ``subject`` the
    thing it is about.
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

    def at(self, elapsed: float) -> tuple[Exchange, float]:
        """What a poll is answered that many seconds after the submit, and how many more it is held."""
        elapsed = round(elapsed, 6)  # instants are in microseconds
        if self.final is not None and elapsed >= self.final_from:
            return self.final, max(0.0, self.completes - elapsed)
        for start, until, exchange in self.passing:
            if start <= elapsed < until:
                return exchange, 0.0
        index = bisect_right(self.pending, elapsed, key=lambda take: take[0])
        if self.pending:
            return self.pending[max(0, index - 1)][1], 0.0
        if self.submit is None:
            raise AssertionError(f"{self.operation_id} has neither a submit nor a pending answer")
        return self.submit, 0.0

    def nth(self, number: int) -> Exchange:
        """What the poll of that number (from 0) is answered where polls are counted; after the last, the last."""
        return self.takes[min(number, len(self.takes) - 1)] if self.takes else self.at(0.0)[0]


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
    """What the mock plays.  ``others``: by shape, then by path, the rest of the traffic in time order."""

    threads: tuple[Thread, ...]
    others: dict[Shape, dict[str, list[Exchange]]]
    shapes: dict[Shape, int]
    authorities: frozenset[str]
    pinned: Tape | None
    notes: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The recorded hosts without ports."""
        return tuple(sorted({authority.rsplit(":", 1)[0] for authority in self.authorities}))

    @classmethod
    def of(cls, capture: Capture, *, complete_at: Literal["upper", "lower", "middle"], pinned: str | None) -> Recording:
        """The recording that a capture holds.

        Raises UsageError where there is no operation ``pinned``, InputError where there is no answer at all.
        """
        from polltape.capture.reading import read_exchanges
        from polltape.operations.lives import operations_of

        with _no_collector():
            exchanges = [exchange for exchange in read_exchanges(capture) if exchange.status is not None]
            if not exchanges:
                source = ", ".join(capture.sources)
                raise InputError(
                    f"{source}: holds no answer to play", hint="record some traffic first: polltape record"
                )
            operations = operations_of(capture)
            if pinned is not None:
                _known(pinned, operations)
            return _Reading(exchanges, complete_at).recording(operations, pinned)


@lru_cache(maxsize=65_536)
def shape_of(method: str, path: str, query: str | None) -> Shape:
    """The shape of a request."""
    names = {name for name, _ in parse_qsl(query or "", keep_blank_values=True, max_num_fields=10_000)}
    return method, template_of(path), tuple(sorted(names))


def tail_of(key: str) -> str:
    """A key without protocol and authority: the same thing under another name of the server."""
    return key.split("|", 2)[-1]


def subject_of(protocol: str, path: str) -> str | None:
    """The thing that a path is about, None where it names none."""
    find = SUBJECTS.get(protocol)
    return None if find is None else find(path)


@lru_cache(maxsize=262_144)
def probe(method: str, path: str, protocols: tuple[Protocol, ...] = PLAYED) -> Observation | None:
    """What a request is to the first protocol that knows it, given that it is answered "not yet".

    ``opens`` then says whether it may open an operation.
    """
    exchange = Exchange("", method, "http", "mock", 80, path, _EPOCH, status=202)
    for protocol in protocols:
        if observations := protocol.observe(exchange):
            return observations[0]
    return None


@contextmanager
def _no_collector() -> Iterator[None]:
    """Without the garbage collector: what is loaded stays, and it would look through all of it again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _known(pinned: str, operations: Iterable[Operation]) -> None:
    names = [operation.operation_id for operation in operations]
    if pinned in names:
        return
    near = get_close_matches(pinned, names, 1)
    told = f"did you mean {near[0]}?" if near else f"there are {len(names)}; `polltape show PATH` lists them"
    raise UsageError(f"no operation {pinned!r} in the capture", hint=told)


class _Reading:
    """From exchanges and operations to a :class:`Recording`."""

    def __init__(self, exchanges: list[Exchange], complete_at: str) -> None:
        self._exchanges = exchanges
        self._by_id = {exchange.exchange_id: exchange for exchange in exchanges}
        self._complete_at = complete_at
        self._threads: dict[tuple[str, str], Thread] = {}
        self._others: dict[Shape, dict[str, list[Exchange]]] = {}

    def recording(self, operations: list[Operation], pinned: str | None) -> Recording:
        tapes: dict[str, Tape] = {}
        members: set[str] = set()
        pin = None
        for operation in operations:
            members |= {member.seen.exchange_id for member in operation.members}
            tape = self._tape(operation)
            if tape is None:
                continue
            if operation.operation_id == pinned:
                pin = tape
            if tape.submit is not None:
                tapes[tape.submit.exchange_id] = tape
            else:
                self._thread(tape.protocol, tape.subject, tape.operation_id).truncated.setdefault(tape.kind, tape)
        for exchange in self._exchanges:
            self._place(exchange, tapes.get(exchange.exchange_id), member=exchange.exchange_id in members)
        shapes = Counter(shape_of(exchange.method, exchange.path, exchange.query) for exchange in self._exchanges)
        authorities = frozenset(exchange.authority for exchange in self._exchanges)
        notes = self._notes()
        return Recording(tuple(self._threads.values()), self._others, dict(shapes), authorities, pin, notes)

    def _place(self, exchange: Exchange, tape: Tape | None, *, member: bool) -> None:
        """Put an exchange where the mock will look for it; polls and joins are on their tape already."""
        if tape is not None:
            thread = self._thread(tape.protocol, tape.subject, tape.operation_id)
            thread.scripts.setdefault(tape.kind, []).append(tape)
            return
        if member:
            return
        asked = probe(exchange.method, exchange.path)
        if asked is not None and asked.kind is not None and (asked.role == "write" or asked.opens):
            subject = subject_of(asked.protocol, exchange.path) or issued_tail(exchange)
            thread = self._thread(asked.protocol, subject, exchange.exchange_id)
            thread.scripts.setdefault(asked.kind, []).append(exchange)
        else:
            shape = shape_of(exchange.method, exchange.path, exchange.query)
            self._others.setdefault(shape, {}).setdefault(exchange.path, []).append(exchange)

    def _thread(self, protocol: str, subject: str | None, alone: str) -> Thread:
        """The thread of that thing; what is about nothing stands alone."""
        return self._threads.setdefault((protocol, alone if subject is None else subject), Thread(subject))

    def _tape(self, operation: Operation) -> Tape | None:
        first = self._by_id.get(operation.first.exchange_id)
        if first is None or operation.kind is None:
            return None
        t0 = operation.first.start_us if operation.opened_us is None else operation.opened_us
        polls = [member.seen for member in operation.by_start if member.role == "poll"]
        pending = [seen for seen in polls if seen.state == "pending"]
        tail = tail_of(operation.key)
        completes, final_from = self._end(operation, t0)
        return Tape(
            operation_id=operation.operation_id,
            protocol=operation.protocol,
            kind=operation.kind,
            tail=tail,
            subject=subject_of(operation.protocol, first.path) or tail,
            submit=None if operation.truncated else first,
            pending=tuple((_since(seen, t0), self._by_id[seen.exchange_id]) for seen in pending),
            passing=self._passing(polls, t0),
            final=None if operation.ended_by is None else self._by_id.get(operation.ended_by.exchange_id),
            final_from=final_from,
            completes=completes,
            takes=tuple(self._by_id[seen.exchange_id] for seen in polls if seen.status is not None),
        )

    def _end(self, operation: Operation, t0: int) -> tuple[float, float]:
        """When it completes, and from when on the final answer is on its way.

        ``upper``: the response start of the ending exchange, so never sooner than it was seen.  The recorded
        server took from that request's start until then; a poll in that time is held as the recorded one was.
        """
        end = operation.ended_by
        if end is None:
            return inf, inf
        seen_us = end.end_us if end.response_start_us is None else end.response_start_us
        upper = max(0, seen_us - t0) / 1e6
        last = operation.last_pending_us()
        lower = 0.0 if last is None else max(0, last - t0) / 1e6
        if self._complete_at == "upper":
            asked = _since(end, t0)
            return upper, (asked if lower < asked < upper else upper)
        instant = lower if self._complete_at == "lower" else round((lower + upper) / 2, 6)
        return instant, instant

    def _passing(self, polls: list[Seen], t0: int) -> tuple[tuple[float, float, Exchange], ...]:
        """Answers that say nothing of the state: each stands for as long as it asked to wait, 1 s without a
        word, or until the next recorded poll."""
        found = []
        for seen, following in zip_longest(polls, polls[1:]):
            if seen.state is not None or seen.status is None or seen.status < 400:
                continue
            start = _since(seen, t0)
            until = start + max(seen.asked_s or 0.0, _PASSING_S)
            until = until if following is None else min(until, _since(following, t0))
            found.append((start, until, self._by_id[seen.exchange_id]))
        return tuple(found)

    def _notes(self) -> tuple[str, ...]:
        signed = Counter(
            header.name.lower()
            for exchange in self._exchanges
            for header in exchange.response_headers
            if header.name.lower() in SIGNATURES
        )
        if not signed:
            return ()
        names = ", ".join(f"{name} ({count} times)" for name, count in sorted(signed.items()))
        return (f"recorded signatures are left out, as they sign other bodies than the mock's: {names}",)


def _since(seen: Seen, t0: int) -> float:
    return max(0, seen.start_us - t0) / 1e6


def issued_tail(exchange: Exchange) -> str | None:
    """The first key that an answer gives out, without protocol and authority."""
    issued = [key for seen in exchange.observations for key in seen.issued]
    return tail_of(issued[0]) if issued else None
