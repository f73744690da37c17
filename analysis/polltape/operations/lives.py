"""From the timeline to operations: fold the sightings, and give tables back.

===============  ===========================================================================
table            columns
===============  ===========================================================================
``operations``   as in the JSON contract, instants in microseconds since 1970; and ``closed``
                 (rank of its end or supersession), ``last_pending`` (its last exchange shows
                 pending), ``address`` (its answers gave a poll address), ``asked`` (they
                 gave a usable wait), ``released`` (it was), ``first_us``
``members``      exchange_id, protocol, operation, role, state, ``precedence``: where an exchange plays
                 a part in several operations, which one its waits belong to (0 first)
``at_once``      protocol, kind, host, exchange_id of writes that ended in their own answer
``afterwards``   exchange_id, operation, ending (its ending exchange), what: ``backwards``,
                 ``polled_on``, ``stale``, ``bare`` as in :class:`~polltape.operations.fold.Folded`
``outside``      exchange_id, key, status, state of reads of an idle resource, and ``idle``: its
                 key has no operation anywhere
===============  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import ibis
import ibis.expr.types as ir
import pandas as pd

from polltape.operations.covered import Covered
from polltape.operations.fold import Folded, Operation, fold
from polltape.operations.sightings import sightings, throttled, throttling
from polltape.operations.timeline import narrow, timeline
from polltape.protocols import shopify_queue, throttle

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

OPERATION_COLUMNS: Final = (
    "id",
    "protocol",
    "kind",
    "key",
    "host",
    "client",
    "truncated",
    "submitted_us",
    "accepted_us",
    "ended_us",
    "outcome",
    "polls",
    "statuses",
    "duration_s",
    "lower_s",
    "upper_s",
    "observed_s",
    "exchanges",
    "closed",
    "last_pending",
    "address",
    "asked",
    "released",
    "first_us",
)
_MEMBER_TEXTS: Final = ("exchange_id", "protocol", "operation", "role", "state")
_AFTERWARDS: Final = ("backwards", "polled_on", "stale", "bare")
_PRECEDENCE: Final = {shopify_queue.NAME: 0, throttle.NAME: 2}
"""An exchange's wait belongs to the queue it stands in, else to the operation itself, else to its throttling."""


@dataclass(frozen=True, slots=True)
class Lives:
    """The tables of the module's text."""

    operations: pd.DataFrame
    members: pd.DataFrame
    at_once: pd.DataFrame
    afterwards: pd.DataFrame
    outside: pd.DataFrame


def lives(connection: Any, rows: ir.Table, covered: Covered) -> Lives:
    """Every operation of the timeline, and which exchange played which role in it."""
    found = _Rows()
    for folded in folds(connection, rows):
        found.add(folded, covered)
    return found.tables()


@dataclass(slots=True)
class _Rows:
    """The rows of the tables; what the fold made is forgotten once it stands here."""

    operations: list[tuple[Any, ...]] = field(default_factory=list)
    members: list[tuple[Any, ...]] = field(default_factory=list)
    at_once: list[tuple[Any, ...]] = field(default_factory=list)
    afterwards: list[tuple[Any, ...]] = field(default_factory=list)
    outside: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, folded: Folded, covered: Covered) -> None:
        """What was found on linked keys."""
        for operation in folded.operations:
            row = _operation_row(operation, covered)
            name, protocol = row[0], operation.protocol
            precedence = _PRECEDENCE.get(protocol, 1)
            self.operations.append(row)
            self.members += [
                (member.seen.exchange_id, protocol, name, member.role, member.state, precedence)
                for member in operation.members
            ]
        self.at_once += [(s.protocol, s.kind, s.host, s.exchange_id) for s in folded.at_once]
        for what in _AFTERWARDS:
            self.afterwards += [
                (seen.exchange_id, operation.operation_id, operation.ended_by and operation.ended_by.exchange_id, what)
                for seen, operation in getattr(folded, what)
            ]
        if folded.outside:
            taken = {key for operation in folded.operations for key in operation.types}
            self.outside += [
                (s.exchange_id, s.keys[0], s.status, s.state, s.keys[0] not in taken) for s in folded.outside
            ]

    def tables(self) -> Lives:
        """The tables of the module's text."""
        return Lives(
            operations=_operations_table(self.operations),
            members=_members_table(self.members),
            at_once=pd.DataFrame(self.at_once, columns=["protocol", "kind", "host", "exchange_id"]),
            afterwards=pd.DataFrame(self.afterwards, columns=["exchange_id", "operation", "ending", "what"]),
            outside=pd.DataFrame(self.outside, columns=["exchange_id", "key", "status", "state", "idle"]),
        )


def operations_of(capture: Capture) -> list[Operation]:
    """Every operation of a capture as the fold has it, by the start of its first exchange, then id."""
    return sorted(
        (operation for folded in folded_of(capture) for operation in folded.operations),
        key=lambda operation: (operation.first.start_us, operation.operation_id),
    )


def folded_of(capture: Capture) -> list[Folded]:
    """What the fold tells of a capture, one for each group of linked keys."""
    connection = ibis.duckdb.connect()
    try:
        return list(folds(connection, timeline(connection, narrow(connection, capture))))
    finally:
        connection.disconnect()


def folds(connection: Any, rows: ir.Table) -> Iterator[Folded]:
    """What happened on each key (or component of linked keys) of the timeline; throttling last.

    A throttled answer inside an operation opens nothing, so the operations must be known by then.
    """
    suspects = throttling(rows)
    inside: set[str] = set()
    for group in sightings(connection, rows):
        folded = fold(group)
        if suspects:
            members = (member.seen.exchange_id for operation in folded.operations for member in operation.members)
            inside.update(name for name in members if name in suspects)
        yield folded
    if suspects:
        for group in throttled(connection, rows, inside):
            yield fold(group)


def _operations_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(OPERATION_COLUMNS))
    whole = dict.fromkeys(("submitted_us", "accepted_us", "ended_us", "closed"), "Int64")
    measured = dict.fromkeys(("duration_s", "lower_s", "upper_s", "observed_s"), "float64")
    return table.astype(whole | measured).sort_values(["first_us", "id"], ignore_index=True)


def _operation_row(operation: Operation, covered: Covered) -> tuple[Any, ...]:
    last, end, t0 = operation.last, operation.ended_by, operation.opened_us
    members = operation.by_start
    first = members[0].seen
    pending_us = operation.last_pending_us()

    def since_opened(us: int | None) -> float | None:
        return None if us is None or t0 is None else max(0, us - t0) / 1e6

    lower = 0.0 if t0 is not None and pending_us is None else since_opened(pending_us)
    return (
        f"{operation.protocol}:{first.exchange_id}",
        operation.protocol,
        operation.kind,
        operation.key.split("|", 1)[-1],
        first.host,
        first.client,
        operation.truncated,
        None if t0 is None else first.start_us,
        t0,
        None if t0 is None or end is None else end.end_us,
        operation.outcome_seen_until(covered.until(last.seen.end_us)),
        operation.polls,
        [member.seen.status for member in members],
        None if end is None else since_opened(end.end_us),
        lower,
        None if end is None else since_opened(end.response_start_us),
        since_opened(last.seen.end_us),
        [member.seen.exchange_id for member in members],
        operation.closed_at,
        last.state == "pending",
        any(member.seen.address for member in operation.members),
        any(member.seen.asked_s is not None for member in operation.members),
        operation.released is not None,
        first.start_us,
    )


def _members_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*_MEMBER_TEXTS, "precedence"])
    return table.astype({**dict.fromkeys(_MEMBER_TEXTS, "string"), "precedence": "int64"})
