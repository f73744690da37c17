"""From the timeline to operations: fold the sightings, and give tables back.

===============  ===========================================================================
table            columns
===============  ===========================================================================
``operations``   as in the JSON contract, instants in microseconds since 1970; and ``closed``
                 (rank of its end or supersession), ``last_pending`` (its last exchange shows
                 pending), ``address`` (its answers gave a poll address), ``asked`` (they
                 gave a usable wait), ``released`` (it was), ``first_us``
``parts``        starts (of the exchange), ``number`` (of the operation), protocol, role, state,
                 ``precedence``: where an exchange plays a part in several operations, which one its
                 waits belong to (0 first)
``numbers``      ``number``, ``operation`` (its id), ``closed``, protocol, kind, host
``members``      the parts with names: exchange_id, protocol, operation, role, state, precedence
``at_once``      protocol, kind, host, exchange_id of writes that ended in their own answer
``afterwards``   exchange_id, operation, ending (its ending exchange), what: ``backwards``,
                 ``polled_on``, ``stale``, ``bare`` as in :class:`~polltape.operations.fold.Folded`
``outside``      starts, exchange_id, key, status, state of reads of an idle resource, and ``idle``: its
                 key has no operation anywhere
===============  ===========================================================================

Parts, numbers and members are as queries see them; ``played`` are the parts and ``named`` the numbers, in their
order, as they are; the others are tables of pandas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.operations.columns import at, in_turn, ints
from polltape.operations.covered import Covered
from polltape.operations.fold import Folded, Operation, fold
from polltape.operations.life_tables import LifeTables
from polltape.operations.sightings import seen, sightings, throttled
from polltape.operations.tables import framed, lent, seen_as
from polltape.operations.timeline import Timeline, timeline

if TYPE_CHECKING:
    from polltape.capture.reading import Capture


@dataclass(frozen=True, slots=True)
class Lives:
    """The tables of the module's text."""

    operations: pd.DataFrame
    played: pa.Table
    named: pa.Table
    parts: ir.Table
    numbers: ir.Table
    members: ir.Table
    at_once: pd.DataFrame
    afterwards: pd.DataFrame
    outside: pd.DataFrame


def lives(connection: Any, timeline: Timeline, covered: Covered) -> Lives:
    """Every operation of the timeline, and which exchange played which role in it."""
    tables = LifeTables(covered)
    members = [tables.add(grouped) for grouped in sightings(timeline)]
    for grouped in throttled(timeline, members):
        tables.add(grouped)
    operations = tables.table("operations")
    named = operations.select(["number", "id", "closed", "protocol", "kind", "host"])
    named = named.rename_columns({"id": "operation"})
    played = tables.table("members")
    numbers, parts = lent(connection, "numbers", named), lent(connection, "parts", played)
    return Lives(
        operations=_operations(operations.drop_columns("number")),
        played=played,
        named=named,
        parts=parts,
        numbers=numbers,
        members=seen_as(connection, "members", _members, timeline.rows, parts, numbers),
        at_once=tables.table("at_once").to_pandas(),
        afterwards=tables.table("afterwards").to_pandas(),
        outside=tables.table("outside").to_pandas(),
    )


def _members(rows: ir.Table, parts: ir.Table, numbers: ir.Table) -> ir.Table:
    named = parts.join(rows.select("starts", "exchange_id"), "starts").join(
        numbers.select("number", "operation"), "number"
    )
    return named.select("exchange_id", "protocol", "operation", "role", "state", "precedence")


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
        return list(folds(timeline(connection, capture)))
    finally:
        connection.disconnect()


def folds(timeline: Timeline) -> Iterator[Folded]:
    """What happened on each key (or component of linked keys) of the timeline; throttling last.

    A throttled answer inside an operation opens nothing, so the operations must be known by then.
    """
    members: list[int] = []
    for grouped in sightings(timeline):
        for group in seen(grouped):
            folded = fold(group)
            members += [member.seen.starts for operation in folded.operations for member in operation.members]
            yield folded
    for grouped in throttled(timeline, [np.array(members, np.int64)]):
        yield from map(fold, seen(grouped))


def _operations(table: pa.Table) -> pd.DataFrame:
    """By the start of the first exchange, then id; instants that may be missing are nullable, lists stay in Arrow."""
    found = framed(table.take(at(in_turn(ints(table["first_us"]), table["id"]))))
    return found.astype(dict.fromkeys(("submitted_us", "accepted_us", "ended_us", "closed"), "Int64"))
