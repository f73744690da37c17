"""The life cycle of operations: one fold over exchanges whose keys are linked, by the ends of their responses.

Pure and typed, no I/O, no clock: the analysis, the live view, the mock and the tests all use this one.

Nothing is decided before a response ends.  Then the operations on the exchange's keys are looked up, as they
were open when its request started and as they are open now; the first row that fits decides:

============  ================  ==============  ======================  ====================================
candidate     open at start     open at end     answer                  action
============  ================  ==============  ======================  ====================================
write         the same write    –               any                     join
write         –                 the same write  any                     join
write         –                 another         2xx                     supersede, go on
write         –                 no              "not yet"               submit
write         –                 no              final, below 400        ended at once
write         –                 –               any other               other
cancel        yes               –               2xx                     cancel, which ends it
cancel        –                 –               any other               as a write
read          yes               –               any                     poll
read          no                yes             opens or truncates      poll
read          no                no              after action_required   submit if pending, else once at once, then other
read          no                no              "not yet" that opens    submit
read          no                –               pending, unheard of     poll of a truncated operation
read          no                –               pending, after an end   went backwards
read          no                –               any other               other
resubmit      by its token      –               any                     resubmit
resubmit      the same write    –               without a token         resubmit, bare
resubmit      no                –               queued                  submit
============  ================  ==============  ======================  ====================================

A final answer ends the operation that its exchange belongs to, unless that has ended already: so the ending
exchange is the final answer whose response ended first.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

FINAL: Final = frozenset({"completed", "failed", "rejected", "action_required"})
ABANDONED_AFTER_US: Final = 30_000_000
"""An operation is abandoned when nothing follows for this long …"""
ABANDONED_AFTER_WAITS: Final = 10
"""… and for this many times the last usable wait."""


class Seen(NamedTuple):
    """One observation of one exchange, as the fold needs it.

    Instants are microseconds since 1970; ``starts`` and ``ends`` are ranks that order all starts and ends of
    the capture, so that ties are decided once and everywhere alike.  ``line``: method and path; ``write``:
    with the body's digest; ``target``: with client and authority, too, where the request may be sent again
    without its token.  The rest is of :class:`~polltape.exchange.Observation`.
    """

    exchange_id: str
    starts: int
    ends: int
    start_us: int
    response_start_us: int | None
    end_us: int
    status: int | None
    line: str
    write: str | None
    target: str | None
    asked_s: float | None
    host: str
    client: str | None
    protocol: str
    kind: str | None
    role: str
    keys: Sequence[str]
    issued: Sequence[str]
    reads_as: str | None
    state: str | None
    readings: Sequence[dict[str, str | None]]
    opens: bool
    truncates: str | None
    address: bool
    itself: bool


@dataclass(slots=True)
class Member:
    """An exchange of an operation: the role that it played (submit, poll, join, resubmit, cancel), what it showed."""

    seen: Seen
    role: str
    state: str | None


@dataclass(slots=True, eq=False)
class Operation:
    """One asynchronous job as its client lived it; see the handbook for each word.

    ``first`` is the exchange that opened it.  ``types``: each key, and how it was to be read when it was first
    issued.  ``issued``: (rank, key) of each time that a key was given out.  ``outcome`` is None while nothing
    has ended it.  ``closed_at`` is the rank of its end or supersession.  ``answered_202``: a poll was; the
    monitor is one, however often its address moves.  ``settled``: the buyer was to act, and it has ended since.
    """

    protocol: str
    kind: str | None
    first: Seen
    truncated: bool = False
    types: dict[str, str | None] = field(default_factory=dict)
    issued: list[tuple[int, str]] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    ended_by: Seen | None = None
    outcome: str | None = None
    closed_at: int | None = None
    answered_202: bool = False
    settled: bool = False

    @property
    def opened_at(self) -> int:
        """The rank at which it opened."""
        return self.first.ends

    def was_open(self, rank: int) -> bool:
        """Whether it was open at that rank."""
        return self.opened_at < rank and (self.closed_at is None or self.closed_at > rank)

    @property
    def operation_id(self) -> str:
        """``protocol:`` and the id of the submit; without one, of the first exchange."""
        return f"{self.protocol}:{self.by_start[0].seen.exchange_id}"

    @property
    def named(self) -> str | None:
        """The key that was given out last; without one, that by which it was asked for, if any."""
        return self.issued[-1][1] if self.issued else next(iter(self.types), None)

    @property
    def key(self) -> str:
        """The key that was given out last; without one, a name of its own that nobody can ask by."""
        return self.named or f"{self.protocol}|exchange|{self.first.exchange_id}"

    @property
    def by_start(self) -> list[Member]:
        """The members by request start, the submit first."""
        return sorted(self.members, key=lambda m: (m.role != "submit", m.seen.starts))

    @property
    def last(self) -> Member:
        """The member whose response ended last."""
        return max(self.members, key=lambda member: member.seen.ends)

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

    @property
    def released(self) -> Seen | None:
        """The first member that showed it released."""
        shown = [member.seen for member in self.members if member.state == "released"]
        return min(shown, key=attrgetter("ends"), default=None)

    def last_pending_us(self) -> int | None:
        """Request start of the last member that showed pending before the end's response started."""
        end = self.ended_by
        limit = None if end is None else (end.end_us if end.response_start_us is None else end.response_start_us)
        starts = [
            member.seen.start_us
            for member in self.members
            if member.state == "pending" and (limit is None or member.seen.start_us < limit)
        ]
        return max(starts, default=None)

    def newest_key(self, rank: int) -> str | None:
        """The key that was given out last before that rank."""
        return next((key for at, key in reversed(self.issued) if at < rank), None)

    def outcome_seen_until(self, covered_until_us: int) -> str:
        """The outcome, given until when the recorder was there to see what follows the last exchange."""
        if self.outcome is not None:
            return self.outcome
        patience = max(ABANDONED_AFTER_US, ABANDONED_AFTER_WAITS * self.last_asked_s * 1e6)
        return "abandoned" if covered_until_us >= self.last.seen.end_us + patience else "pending"


@dataclass(slots=True)
class Folded:
    """What the fold found.

    ``at_once``: writes that ended in their own answer.  ``backwards``: pending answers after the end, with
    the operation that had ended.  ``polled_on``: every read after it, but not of the submitted resource
    itself.  ``stale``: polls by a key that was not the newest.  ``bare``: resubmits without their token.
    ``outside``: reads of an idle resource.
    """

    operations: list[Operation] = field(default_factory=list)
    at_once: list[Seen] = field(default_factory=list)
    backwards: list[tuple[Seen, Operation]] = field(default_factory=list)
    polled_on: list[tuple[Seen, Operation]] = field(default_factory=list)
    stale: list[tuple[Seen, Operation]] = field(default_factory=list)
    bare: list[tuple[Seen, Operation]] = field(default_factory=list)
    outside: list[Seen] = field(default_factory=list)


@dataclass(slots=True)
class _Track:
    """The operations on one key: those open, those closed by the rank of it; and what happened last.

    ``last`` is the operation that the key was last heard of in, or None after a write that opened none.
    """

    live: list[Operation] = field(default_factory=list)
    closed: list[Operation] = field(default_factory=list)
    last: Operation | None = None
    written: bool = False


class Fold:
    """Feed it exchanges with linked keys in the order of their ends; ``result`` is always up to date."""

    def __init__(self) -> None:
        self.result = Folded()
        self._tracks: dict[str, _Track] = {}

    def end(self, seen: Seen) -> None:
        """A response, or the error in its place, ends."""
        if seen.role == "read":
            self._read(seen)
        elif seen.role.startswith("resubmit"):
            self._resubmit(seen)
        elif seen.role != "cancel" or not self._cancel(seen):
            self._write(seen)

    # ------------------------------------------------------------------------------------ the candidates

    def _write(self, seen: Seen) -> None:
        keys = dict.fromkeys((*seen.keys, *seen.issued))
        for operation in (*self._open_at_start(keys, seen), *self._open_now(keys)):
            if _same_write(operation, seen):
                self._take(operation, seen, "join")
                return
        if _succeeded(seen):
            for operation in self._open_now(keys):
                self._close(operation, "superseded", seen)
            self._written(keys)
        if seen.opens:
            self._open(seen, "submit", dict.fromkeys(seen.issued or seen.keys, seen.reads_as))
        elif seen.state in FINAL and seen.status is not None and seen.status < 400:
            self.result.at_once.append(seen)

    def _cancel(self, seen: Seen) -> bool:
        operation = self._first(self._open_at_start(seen.keys, seen)) if _succeeded(seen) else None
        if operation is not None:
            self._join(operation, Member(seen, "cancel", "rejected"))
        return operation is not None

    def _read(self, seen: Seen) -> None:
        operation = self._first(self._open_at_start(seen.keys, seen))
        if operation is None and (seen.opens or seen.truncates):
            operation = self._first(self._open_now(seen.keys))
        ended = None if operation is not None else self._ended_before(seen)
        if operation is not None:
            self._poll(operation, seen)
        elif ended is not None and ended.outcome == "action_required" and self._went_on(ended, seen):
            return
        elif seen.opens:
            self._open(seen, "submit", dict.fromkeys(seen.issued or seen.keys[:1], seen.reads_as))
        else:
            self._outside(seen, ended)

    def _resubmit(self, seen: Seen) -> None:
        with_token = seen.role == "resubmit" and bool(seen.keys)
        found = [op for op in self._open_at_start(seen.keys[:1], seen) if with_token or op.first.line == seen.line]
        found = found or [op for op in self._open_at_start(seen.keys[1:], seen) if op.first.line == seen.line]
        operation = self._first(found)
        if operation is None and not seen.opens and not with_token:
            operation = self._bare(seen)
            if operation is not None:
                self.result.bare.append((seen, operation))
        if operation is not None:
            self._take(operation, seen, "resubmit")
        elif seen.opens:
            self._open(seen, "submit", dict.fromkeys(seen.issued, seen.reads_as))

    def _bare(self, seen: Seen) -> Operation | None:
        """The queued request that is sent again without its token: the one released longest ago, else the oldest."""
        waiting = self._open_at_start((seen.target,) if seen.target else (), seen)
        free = [(at.ends, op) for op in waiting if (at := op.released) is not None and at.ends < seen.starts]
        return min(free, key=lambda pair: pair[0])[1] if free else self._first(waiting)

    # ------------------------------------------------------------------------------------------- reads

    def _poll(self, operation: Operation, seen: Seen) -> None:
        newest = operation.newest_key(seen.starts)
        if newest is not None and newest not in seen.keys:
            self.result.stale.append((seen, operation))
        self._take(operation, seen, "poll")

    def _went_on(self, ended: Operation, seen: Seen) -> bool:
        """The buyer was to act, and the client asks on: a new operation, unless it has ended by now.

        False where it had been told of that end before, and this shows no new beginning.
        """
        state = _shown(ended, seen)
        if state == "pending":
            keys = dict.fromkeys((*seen.keys[:1], *(k for k in seen.keys if k in ended.types), *seen.issued))
            self._open(seen, "submit", {key: ended.types.get(key, seen.reads_as) for key in keys})
        elif ended.settled:
            return False
        elif state in FINAL and state != "action_required":
            self.result.at_once.append(seen)
            ended.settled = True
        return True

    def _outside(self, seen: Seen, ended: Operation | None) -> None:
        if ended is not None and "self" not in ended.types.values():
            self.result.polled_on.append((seen, ended))
        if seen.truncates and not self._heard_of(seen):
            self._open(seen, "poll", dict.fromkeys((*seen.keys[:1], *seen.issued), seen.reads_as))
            return
        if ended is not None and "pending" in (seen.state, _shown(ended, seen)):
            self.result.backwards.append((seen, ended))
        if seen.itself:
            self.result.outside.append(seen)

    def _heard_of(self, seen: Seen) -> bool:
        tracks = [track for key in seen.keys if (track := self._tracks.get(key)) is not None]
        if seen.truncates == "always":
            return any(track.last is not None for track in tracks)
        return any(track.last is not None or track.written for track in tracks)

    def _ended_before(self, seen: Seen) -> Operation | None:
        """The operation that had ended on its keys when its request started, nothing having happened since."""
        for key in seen.keys:
            track = self._tracks.get(key)
            last = None if track is None else track.last
            if last is not None and last.ended_by is not None and last.ended_by.ends < seen.starts:
                return last
        return None

    # -------------------------------------------------------------------------------------- operations

    def _open(self, seen: Seen, role: str, types: dict[str, str | None]) -> None:
        operation = Operation(seen.protocol, seen.kind, seen, truncated=role == "poll", types=types)
        self.result.operations.append(operation)
        if seen.target is not None and seen.role.startswith("resubmit"):
            self._track(seen.target).live.append(operation)
        for key in types:
            self._track(key).live.append(operation)
            self._track(key).last = operation
        # By which key a poll asked proves when it was given out no more than the request would.
        operation.issued = [(seen.ends, key) for key in (seen.issued if operation.truncated else types)]
        self._take(operation, seen, role)

    def _take(self, operation: Operation, seen: Seen, role: str) -> None:
        self._join(operation, Member(seen, role, _shown(operation, seen)))

    def _join(self, operation: Operation, member: Member) -> None:
        seen = member.seen
        operation.members.append(member)
        operation.answered_202 |= seen.status == 202 and member.role == "poll"
        if operation.outcome is None and member.state in FINAL:
            operation.ended_by = seen
            self._close(operation, str(member.state), seen)
        if seen is not operation.first and (member.state in ("pending", "released") or member.role == "resubmit"):
            self._link(operation, seen)

    def _link(self, operation: Operation, seen: Seen) -> None:
        """The keys that an answer gives out are the operation's from now on."""
        for key in seen.issued:
            operation.issued.append((seen.ends, key))
            track = self._track(key)
            track.last = operation
            if key in operation.types:
                continue
            operation.types[key] = seen.reads_as
            if operation.closed_at is None:
                track.live.append(operation)
            else:
                insort(track.closed, operation, key=attrgetter("closed_at"))

    def _close(self, operation: Operation, outcome: str, by: Seen) -> None:
        operation.outcome = outcome
        operation.closed_at = by.ends
        target = operation.first.target
        for key in (*operation.types, *((target,) if target is not None else ())):
            track = self._tracks.get(key)
            if track is not None and operation in track.live:
                track.live.remove(operation)
                track.closed.append(operation)

    # ------------------------------------------------------------------------------------------ look-up

    def _track(self, key: str) -> _Track:
        return self._tracks.setdefault(key, _Track())

    def _written(self, keys: Iterable[str]) -> None:
        for key in keys:
            track = self._track(key)
            track.last, track.written = None, True

    def _open_at_start(self, keys: Iterable[str], seen: Seen) -> list[Operation]:
        """The operations that were open on these keys when its request started, the first opened first."""
        found = []
        starts = seen.starts
        for key in keys:
            track = self._tracks.get(key)
            if track is None:
                continue
            found += [operation for operation in track.live if operation.first.ends < starts]
            for operation in reversed(track.closed):
                if operation.closed_at is None or operation.closed_at < starts:
                    break
                if operation.was_open(starts):
                    found.append(operation)
        return _by_opening(found)

    def _open_now(self, keys: Iterable[str]) -> list[Operation]:
        tracks = (self._tracks.get(key) for key in keys)
        return _by_opening([operation for track in tracks if track is not None for operation in track.live])

    @staticmethod
    def _first(operations: Iterable[Operation]) -> Operation | None:
        return next(iter(operations), None)


def fold(exchanges: Iterable[Seen]) -> Folded:
    """What happened on linked keys; the order of ``exchanges`` does not matter."""
    state = Fold()
    for seen in sorted(exchanges, key=attrgetter("ends")):
        state.end(seen)
    return state.result


def _shown(operation: Operation, seen: Seen) -> str | None:
    """What an exchange shows, its key being read as it was when the operation first issued it."""
    state = seen.state
    key = next((key for key in seen.keys if key in operation.types), None)
    if key is not None and seen.readings:
        reads_as = operation.types[key]
        state = next((each["state"] for each in seen.readings if each["reads_as"] == reads_as), state)
    if state == "unsettled":
        return "completed" if operation.answered_202 else "pending"
    return state


def _by_opening(operations: list[Operation]) -> list[Operation]:
    """Each once, the one that opened first first."""
    return sorted(dict.fromkeys(operations), key=attrgetter("opened_at")) if len(operations) > 1 else operations


def _same_write(operation: Operation, seen: Seen) -> bool:
    return not operation.truncated and seen.write is not None and operation.first.write == seen.write


def _succeeded(seen: Seen) -> bool:
    return seen.status is not None and 200 <= seen.status < 300
