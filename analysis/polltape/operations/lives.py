"""From the timeline to operations: link keys, sort, fold each key, and give tables back.

==============  ============================================================================
table           columns
==============  ============================================================================
``operations``  as in the JSON contract, instants in microseconds since 1970; and ``closed``
                (rank of its end or supersession), ``last_pending`` (its last exchange shows
                pending), ``address`` (its answers gave a poll address), ``asked`` (they
                gave a usable wait), ``first_us``
``members``     exchange_id, operation, role, state
``at_once``     protocol, kind, host, exchange_id of writes that ended in their own answer
``backwards``   exchange_id, operation, ending (its ending exchange)
``idle``        exchange_id, key of pending reads on a key without any operation
==============  ============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.operations.covered import Covered
from polltape.operations.fold import Folded, Operation, Seen, fold
from polltape.operations.links import components
from polltape.operations.timeline import narrow, timeline

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
    "first_us",
)
_SEEN: Final = Seen._fields
BATCH_ROWS: Final = 100_000
"""How many rows become Python objects at a time."""


@dataclass(frozen=True, slots=True)
class Lives:
    """The tables of the module's text."""

    operations: pd.DataFrame
    members: pd.DataFrame
    at_once: pd.DataFrame
    backwards: pd.DataFrame
    idle: pd.DataFrame


def lives(rows: ir.Table, covered: Covered) -> Lives:
    """Every operation of the timeline, and which exchange played which role in it."""
    operations: list[Operation] = []
    at_once: list[Seen] = []
    backwards: list[tuple[str, str, str | None]] = []
    idle: list[tuple[str, str]] = []
    for folded in folds(rows):
        operations += folded.operations
        at_once += folded.at_once
        backwards += [
            (seen.exchange_id, operation.operation_id, operation.ended_by and operation.ended_by.exchange_id)
            for seen, operation in folded.backwards
        ]
        if not folded.operations:
            idle += [(seen.exchange_id, seen.key) for seen in folded.unowned]
    return Lives(
        operations=_operations_table(operations, covered),
        members=_members_table(operations),
        at_once=pd.DataFrame(
            [(s.protocol, s.kind, s.host, s.exchange_id) for s in at_once],
            columns=["protocol", "kind", "host", "exchange_id"],
        ),
        backwards=pd.DataFrame(backwards, columns=["exchange_id", "operation", "ending"]),
        idle=pd.DataFrame(idle, columns=["exchange_id", "key"]),
    )


def operations_of(capture: Capture) -> list[Operation]:
    """Every operation of a capture as the fold has it, by the start of its first exchange, then id."""
    connection = ibis.duckdb.connect()
    try:
        found = folds(timeline(connection, narrow(connection, capture)))
        return sorted(
            (operation for folded in found for operation in folded.operations),
            key=lambda operation: (operation.first.start_us, operation.operation_id),
        )
    finally:
        connection.disconnect()


def folds(rows: ir.Table) -> Iterator[Folded]:
    """What happened on each key (or component of linked keys) of the timeline."""
    observed = _observed(rows)
    yield from _folds(observed, components(_edges(observed)))


def _observed(rows: ir.Table) -> ir.Table:
    """One row an observation, as :class:`Seen` wants it, with all its keys."""
    flat = rows.unnest("observations")
    seen = flat.observations
    keys = seen["keys"].concat(seen["issued"])
    own = ibis.literal("exchange|").concat(flat.exchange_id)
    return flat.mutate(
        **{name: seen[name] for name in ("protocol", "kind", "role", "state", "opens", "truncates", "address")},
        all_keys=keys,
        # A write whose answer names no key is an operation that nobody can poll.
        key=(keys.length() > 0).ifelse(keys[0], own),
    )


def _edges(observed: ir.Table) -> Iterator[tuple[str, str]]:
    several = observed.filter(_.all_keys.length() > 1).select("all_keys").execute()
    for keys in several["all_keys"]:
        first, *others = keys
        yield from ((first, other) for other in others)


def _folds(observed: ir.Table, linked: dict[str, str]) -> Iterator[Folded]:
    table = observed.select(*_SEEN)
    if linked:
        names = ibis.memtable(
            pd.DataFrame({"linked": list(linked), "component": list(linked.values())}, dtype="string")
        )
        joined = table.left_join(names, table.key == names.linked)
        table = joined.mutate(component=ibis.coalesce(joined.component, joined.key)).drop("linked")
    else:
        table = table.mutate(component=table.key)
    batches = table.order_by("component", "starts").to_pyarrow().to_batches(max_chunksize=BATCH_ROWS)
    for _key, group in groupby(_rows(batches), key=itemgetter(-1)):
        yield fold(Seen._make(row[:-1]) for row in group)


def _rows(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(batch.column(name).to_pylist() for name in (*_SEEN, "component")), strict=True)


def _operations_table(operations: list[Operation], covered: Covered) -> pd.DataFrame:
    rows = [_operation_row(operation, covered) for operation in operations]
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
        operation.operation_id,
        operation.protocol,
        operation.kind,
        operation.key.split("|", 1)[-1],
        first.host,
        first.client,
        operation.truncated,
        None if t0 is None else first.start_us,
        t0,
        None if t0 is None or end is None else end.end_us,
        operation.outcome_seen_until(covered.until(last.end_us)),
        operation.polls,
        [member.seen.status for member in members],
        None if end is None else since_opened(end.end_us),
        lower,
        None if end is None else since_opened(end.response_start_us),
        since_opened(last.end_us),
        [member.seen.exchange_id for member in members],
        operation.closed_at,
        last.state == "pending",
        any(member.seen.address for member in operation.members),
        any(member.seen.asked_s is not None for member in operation.members),
        first.start_us,
    )


def _members_table(operations: list[Operation]) -> pd.DataFrame:
    rows = [
        (member.seen.exchange_id, operation.operation_id, member.role, member.seen.state)
        for operation in operations
        for member in operation.members
    ]
    return pd.DataFrame(rows, columns=["exchange_id", "operation", "role", "state"])
