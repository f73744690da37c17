"""From the timeline to operations: fold the sightings, and give tables back.

===============  ===========================================================================
table            columns
===============  ===========================================================================
``operations``   as in the JSON contract, instants in microseconds since 1970; and ``closed``
                 (rank of its end or supersession), ``last_pending`` (its last exchange shows
                 pending), ``address`` (its answers gave a poll address), ``asked`` (they
                 gave a usable wait), ``released`` (it was), ``first_us``; by the start of the
                 first exchange, then id
``named``        ``operation`` (its id), ``closed``, protocol, kind, host of each of these
``played``       ``row`` (of the exchange), ``number`` (of the operation, its place among all),
                 protocol, role, state
``at_once``      protocol, kind, host of writes that ended in their own answer
``afterwards``   ``row``, ``number``, ``ending`` (row of its ending exchange), what:
                 ``backwards``, ``polled_on``, ``stale``, ``bare`` as in
                 :class:`~polltape.operations.fold.Folded`
``outside``      ``row``, key, status, state of reads of an idle resource, and ``idle``: its
                 key has no operation anywhere
===============  ===========================================================================

``parts`` are ``played`` as queries see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.operations.columns import Ints, called, ints, narrow, whole
from polltape.operations.covered import Covered
from polltape.operations.fold import Folded, Operation, fold
from polltape.operations.life_tables import LifeTables
from polltape.operations.sightings import seen, sightings, throttled
from polltape.operations.tables import ahead, framed, lent
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
    at_once: pd.DataFrame
    afterwards: pd.DataFrame
    outside: pd.DataFrame

    def ids(self, numbers: Ints) -> Any:
        """The ids of these operations, null for none."""
        return called(numbers, whole(self.named["operation"]))


def lives(connection: Any, timeline: Timeline, covered: Covered) -> Lives:
    """Every operation of the timeline, and which exchange played which role in it."""
    tables = LifeTables(covered)
    members = [tables.add(lived) for lived in ahead(partial(tables.lived, part) for part in sightings(timeline))]
    for part in throttled(timeline, members):
        tables.add(tables.lived(part))
    operations, places = tables.operations()
    played, afterwards = (_renumbered(tables.table(name), places) for name in ("members", "afterwards"))
    named = operations.select(["id", *_NAMED]).rename_columns({"id": "operation"})
    return Lives(
        operations=framed(operations, categories=True).astype(dict.fromkeys(_NULLABLE, "Int64")),
        played=played,
        named=named,
        parts=lent(connection, "parts", played),
        at_once=framed(tables.table("at_once"), categories=True),
        afterwards=framed(afterwards),
        outside=framed(tables.table("outside")),
    )


_NAMED: Final = ("closed", "protocol", "kind", "host")
_NULLABLE: Final = ("submitted_us", "accepted_us", "ended_us", "closed")
"""Instants that may be missing."""


def _renumbered(table: pa.Table, places: Ints) -> pa.Table:
    """With the operations' places for their numbers."""
    return table.set_column(table.column_names.index("number"), "number", narrow(places[ints(table["number"])]))


def operations_of(capture: Capture) -> list[Operation]:
    """Every operation of a capture as the fold has it, by the start of its first exchange, then id."""
    return sorted(
        (operation for folded in folded_of(capture) for operation in folded.operations),
        key=lambda operation: (operation.first.start_us, operation.operation_id),
    )


def folded_of(capture: Capture) -> list[Folded]:
    """What the fold tells of a capture, one for each group of linked keys."""
    return list(folds(timeline(capture)))


def folds(timeline: Timeline) -> Iterator[Folded]:
    """What happened on each key (or component of linked keys) of the timeline; throttling last.

    A throttled answer inside an operation opens nothing, so the operations must be known by then.
    """
    members: list[int] = []
    for part in sightings(timeline):
        for group in seen(part()):
            folded = fold(group)
            members += [member.seen.starts for operation in folded.operations for member in operation.members]
            yield folded
    rows = np.searchsorted(ints(timeline.exchanges["starts"]), np.array(members, np.int64))
    for part in throttled(timeline, [rows]):
        yield from map(fold, seen(part()))
