"""The life cycle of operations: one fold over the exchanges of one key, in time order.

Pure and typed, no I/O, no clock: the analysis, the live view, the mock and the tests all use this one.

An exchange has two events, its request's start and its response's end.  What is open on the key is looked up
at both; the first row that fits decides:

============  ================  ==============  ===========  =====================  ==================
candidate     open at start     open at end     same write   answer                 action
============  ================  ==============  ===========  =====================  ==================
write         yes               –               yes          any                    join
write         –                 yes             yes          any                    join
write         –                 yes             no           2xx                    supersede, go on
write         –                 no              –            "not yet"              submit
write         –                 no              –            2xx, final             ended at once
write         –                 –               –            any other              other
read          yes               –               –            any                    poll
read          no                yes             –            "not yet" that opens   poll
read          no                no              –            "not yet" that opens   submit
read          no                –               –            pending, after an end  went backwards
read          no                no              –            pending, no write yet  poll (truncated)
read          no                –               –            any other              other
============  ================  ==============  ===========  =====================  ==================

A read opens where the protocol says so (shipping rates), and a payment's read that shows pending without its
write opens an operation whose submit is missing: a truncated one.

A final answer ends the operation that its exchange belongs to, unless that has ended already: so the ending
exchange is the final answer whose response ended first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

FINAL: Final = frozenset({"completed", "failed", "rejected", "action_required"})
ABANDONED_AFTER_US: Final = 30_000_000
"""An operation is abandoned when nothing follows for this long …"""
ABANDONED_AFTER_WAITS: Final = 10
"""… and for this many times the last usable wait."""


class Seen(NamedTuple):
    """One observation of one exchange, as the fold needs it.

    Instants are microseconds since 1970; ``starts`` and ``ends`` are ranks that order all starts and ends of
    the capture, so that ties are decided once and everywhere alike.
    """

    exchange_id: str
    starts: int
    ends: int
    start_us: int
    response_start_us: int | None
    end_us: int
    status: int | None
    write: str | None
    asked_s: float | None
    host: str
    client: str | None
    protocol: str
    kind: str | None
    role: str
    key: str
    state: str | None
    opens: bool
    truncates: bool
    address: bool


@dataclass(slots=True)
class Member:
    """An exchange of an operation, and the role that it played: submit, poll, join, resubmit or cancel."""

    seen: Seen
    role: str


@dataclass(slots=True)
class Operation:
    """One asynchronous job as its client lived it; see the handbook for each word.

    ``first`` is the exchange that opened it.  ``outcome`` is None while nothing has ended it.  ``closed_at``
    is the rank of its end or supersession.
    """

    protocol: str
    kind: str | None
    key: str
    first: Seen
    truncated: bool = False
    members: list[Member] = field(default_factory=list)
    ended_by: Seen | None = None
    outcome: str | None = None
    closed_at: int | None = None

    @property
    def operation_id(self) -> str:
        """``protocol:`` and the id of the submit; without one, of the first exchange."""
        return f"{self.protocol}:{self.by_start[0].seen.exchange_id}"

    @property
    def by_start(self) -> list[Member]:
        """The members by request start, the submit first."""
        return sorted(self.members, key=lambda m: (m.role != "submit", m.seen.starts))

    @property
    def last(self) -> Seen:
        """The member whose response ended last."""
        return max((member.seen for member in self.members), key=lambda seen: seen.ends)

    @property
    def polls(self) -> int:
        """How many exchanges polled, the ending one included."""
        return sum(member.role == "poll" for member in self.members)

    @property
    def opened_us(self) -> int | None:
        """t0, the response end of the submit; None where the submit is not in the capture."""
        return None if self.truncated else self.first.end_us

    @property
    def last_asked_s(self) -> float:
        """The last usable wait that a member was asked to keep, 0 where there was none."""
        asked = [(m.seen.ends, m.seen.asked_s) for m in self.members if m.seen.asked_s is not None]
        return max(asked)[1] if asked else 0.0

    def last_pending_us(self) -> int | None:
        """Request start of the last member that showed pending before the end's response started."""
        end = self.ended_by
        limit = None if end is None else (end.end_us if end.response_start_us is None else end.response_start_us)
        starts = [
            member.seen.start_us
            for member in self.members
            if member.seen.state == "pending" and (limit is None or member.seen.start_us < limit)
        ]
        return max(starts, default=None)

    def outcome_seen_until(self, covered_until_us: int) -> str:
        """The outcome, given until when the recorder was there to see what follows the last exchange."""
        if self.outcome is not None:
            return self.outcome
        patience = max(ABANDONED_AFTER_US, ABANDONED_AFTER_WAITS * self.last_asked_s * 1e6)
        return "abandoned" if covered_until_us >= self.last.end_us + patience else "pending"


@dataclass(slots=True)
class Folded:
    """What the fold found on one key.

    ``at_once``: writes that ended in their own answer.  ``backwards``: pending answers after the end, with
    the operation that had ended.  ``unowned``: pending reads that belong to no operation.
    """

    operations: list[Operation] = field(default_factory=list)
    at_once: list[Seen] = field(default_factory=list)
    backwards: list[tuple[Seen, Operation]] = field(default_factory=list)
    unowned: list[Seen] = field(default_factory=list)


class Fold:
    """Feed it the events of ONE key in rank order; ``result`` is always up to date."""

    def __init__(self) -> None:
        self.result = Folded()
        self._open: Operation | None = None
        self._ended: Operation | None = None
        self._written = False
        self._at_start: dict[str, Operation | None] = {}

    def start(self, seen: Seen) -> None:
        """A request starts."""
        self._at_start[seen.exchange_id] = self._open

    def end(self, seen: Seen) -> None:
        """Its response, or its error, ends."""
        at_start = self._at_start.pop(seen.exchange_id)
        if seen.role == "write":
            self._write(seen, at_start)
        else:
            self._read(seen, at_start)

    def _write(self, seen: Seen, at_start: Operation | None) -> None:
        succeeded = seen.status is not None and 200 <= seen.status < 300
        self._written |= succeeded
        for operation in (at_start, self._open):
            if operation is not None and _same_write(operation, seen):
                self._take(operation, seen, "join")
                return
        if not succeeded:
            return
        if self._open is not None:
            self._close(self._open, "superseded", seen)
        self._ended = None
        if seen.opens:
            self._submit(seen)
        elif seen.state in FINAL:
            self.result.at_once.append(seen)

    def _read(self, seen: Seen, at_start: Operation | None) -> None:
        operation = at_start or (self._open if seen.opens or seen.truncates else None)
        if operation is not None:
            self._take(operation, seen, "poll")
        elif seen.opens:
            self._submit(seen)
        elif seen.state == "pending":
            self._pending_without_operation(seen)

    def _pending_without_operation(self, seen: Seen) -> None:
        ended = self._ended
        if ended is not None and ended.closed_at is not None and seen.starts > ended.closed_at:
            self.result.backwards.append((seen, ended))
        elif seen.truncates and ended is None and not self._written:
            self._submit(seen, truncated=True)
        else:
            self.result.unowned.append(seen)

    def _submit(self, seen: Seen, *, truncated: bool = False) -> None:
        operation = Operation(seen.protocol, seen.kind, seen.key, seen, truncated)
        operation.members.append(Member(seen, "poll" if truncated else "submit"))
        self.result.operations.append(operation)
        self._open = operation
        self._ended = None

    def _take(self, operation: Operation, seen: Seen, role: str) -> None:
        operation.members.append(Member(seen, role))
        if operation.outcome is None and seen.state in FINAL:
            operation.ended_by = seen
            self._close(operation, str(seen.state), seen)
            self._ended = operation

    def _close(self, operation: Operation, outcome: str, by: Seen) -> None:
        operation.outcome = outcome
        operation.closed_at = by.ends
        if self._open is operation:
            self._open = None


def fold(exchanges: Iterable[Seen]) -> Folded:
    """What happened on one key; the order of ``exchanges`` does not matter."""
    state = Fold()
    events: list[tuple[int, Callable[[Seen], None], Seen]] = []
    for seen in exchanges:
        events.append((seen.starts, state.start, seen))
        events.append((seen.ends, state.end, seen))
    for _, feed, seen in sorted(events, key=lambda event: event[0]):
        feed(seen)
    return state.result


def _same_write(operation: Operation, seen: Seen) -> bool:
    return not operation.truncated and seen.write is not None and operation.first.write == seen.write
