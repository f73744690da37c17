"""From the timeline to what the fold reads: one row an observation, grouped so that linked keys stay together.

Two things only the whole timeline can tell, so they are found here and not by a protocol: a queued request
that is sent again *without* its token, and the answer to a throttled request's retry.  Both are equal to a
request that was observed before; which equality is meant, the protocols say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from ibis import _

from polltape.operations.columns import Flags, Ints, ints
from polltape.operations.fold import Seen
from polltape.operations.links import linked
from polltape.operations.shapes import Grouped, coded
from polltape.operations.tables import Query, asked, count, drop, hashed, kept, taken
from polltape.operations.timeline import Timeline, authority_of, line_of, target_of, write_of
from polltape.protocols import http_async, throttle
from polltape.protocols.shopify_queue import resubmitted_state

PART_ROWS: Final = 1_000_000
"""How many rows are in memory at a time, about."""
BATCH_GROUPS: Final = 10_000
"""How many groups become Python objects at a time."""

_SEEN: Final = Seen._fields
_SEEN_OF: Final = partial(tuple.__new__, Seen)
_UNIQUE: Final = frozenset({"exchange_id"})
_NUMBERED: Final = frozenset({"line", "write", "target"})
"""Columns of texts of which only matters which are equal; the tables have numbers there."""


def sightings(connection: Any, timeline: Timeline) -> Iterator[Grouped]:
    """What the protocols observed, throttling aside: linked rows together, part by part."""
    observed = timeline.observed
    queued = asked(connection, _queued, observed)
    tables = [observed]
    if len(queued):
        states = _states(connection, timeline.rows, resubmitted_state)
        tables.append(
            kept(connection, "bare", _bare, timeline.rows, observed, taken(connection, "queued", queued), states)
        )
    names = pa.concat_tables([asked(connection, _names, table) for table in tables])
    yield from _parts(connection, tables, *linked(names.combine_chunks()))


def throttling(connection: Any, timeline: Timeline) -> Ints:
    """The exchanges that throttled, whatever they were part of, by the rank of their start."""
    return np.unique(ints(asked(connection, _throttles, timeline.observed)["starts"]))


def _throttles(observed: ir.Table) -> ir.Table:
    seen = observed.filter(observed.protocol == throttle.NAME)
    return seen.select("starts", "opens", key=seen["keys"][0])


def throttled(connection: Any, timeline: Timeline, inside: Ints) -> Iterator[Grouped]:
    """The throttled requests and all others that are the same ones, by key.

    ``inside``: the exchanges that an operation of another protocol has, by the rank of their start; they open nothing.
    """
    rows = timeline.rows
    throttles = kept(connection, "throttles", _throttles, timeline.observed)
    members = taken(connection, "inside", pa.table({"starts": pa.array(inside)}))
    opening = kept(connection, "opening", _opening, throttles, members)
    if not len(asked(connection, _one, opening)):
        return
    states = _states(connection, rows, throttle.retried_state)
    same = kept(connection, "same", _same, rows, throttles, opening, states)
    key = coded(asked(connection, _hashed_keys, same)["key"].combine_chunks())
    yield from _parts(connection, [same], key, np.ones(len(key), bool))


def _opening(throttles: ir.Table, members: ir.Table) -> ir.Table:
    return throttles.filter(_.opens).anti_join(members, "starts")


def _one(table: ir.Table) -> ir.Table:
    return table.limit(1)


def _same(rows: ir.Table, throttles: ir.Table, opening: ir.Table, states: ir.Table) -> ir.Table:
    """Every request that is the same as one that was throttled."""
    known = throttles.select(throttled="starts").distinct()
    opened = opening.select(opening="starts").distinct()
    same = _with_requests(rows).mutate(key=_throttle_key(rows)).semi_join(opening.select("key").distinct(), "key")
    same = same.left_join(known, same.starts == known.throttled)
    same = same.left_join(opened, _.starts == opened.opening)
    same = same.left_join(states, same.status == states.of_status)
    state = same.throttled.notnull().ifelse("pending", same.shown)
    return same.mutate(
        keys=ibis.array([same.key]),
        opens=same.opening.notnull(),
        target=ibis.null("uint64"),
        **_defaults(ibis.literal(throttle.NAME), ibis.literal(throttle.KIND), "read", state, without={"keys", "opens"}),
    ).select(*_SEEN)


def _hashed_keys(same: ir.Table) -> ir.Table:
    return same.select(number=same.rowid(), key=hashed(same.keys[0])).order_by("number")


def _with_requests(rows: ir.Table) -> ir.Table:
    return rows.mutate(line=line_of(rows), write=write_of(rows))


def _queued(observed: ir.Table) -> ir.Table:
    """The requests that were queued."""
    queued = observed.filter(_.role.startswith("resubmit") & _.opens & _.target.notnull())
    return queued.select("target", "protocol", "kind").distinct()


def _bare(rows: ir.Table, observed: ir.Table, queued: ir.Table, states: ir.Table) -> ir.Table:
    """The requests that equal a queued one and carry no token."""
    carried = observed.semi_join(queued, "protocol").select("starts")
    others = _with_requests(rows).anti_join(carried, "starts")
    equal = others.mutate(target=target_of(others)).join(queued, "target")
    equal = equal.left_join(states, equal.status == states.of_status)
    filled = _defaults(equal.protocol, equal.kind, "resubmit-bare", equal.shown)
    return equal.mutate(**filled).select(*_SEEN)


def _defaults(protocol: Any, kind: Any, role: str, state: Any, without: Iterable[str] = ()) -> dict[str, Any]:
    """The columns of an observation that is derived from rows, not observed."""
    strings = ibis.null("array<string>")
    every = {
        "protocol": protocol,
        "kind": kind,
        "role": ibis.literal(role),
        "keys": strings,
        "issued": strings,
        "reads_as": ibis.null("string"),
        "state": state,
        "readings": ibis.null("array<struct<reads_as: string, state: string>>"),
        "opens": ibis.literal(False),
        "truncates": ibis.null("string"),
        "address": ibis.literal(False),
        "itself": ibis.literal(False),
    }
    return {name: value for name, value in every.items() if name not in set(without)}


def _states(connection: Any, rows: ir.Table, rule: Callable[[int | None], str | None]) -> ir.Table:
    """What each status of the rows shows by the protocol's rule, as a table: the rule stands in one place."""
    statuses = asked(connection, _statuses, rows)["status"].drop_null().to_pylist()
    shown: dict[str, Any] = {
        "of_status": pa.array(statuses, pa.int32()),
        "shown": pa.array([rule(s) for s in statuses], pa.string()),
    }
    return taken(connection, "states", pa.table(shown))


def _statuses(rows: ir.Table) -> ir.Table:
    return rows.select("status").distinct()


def _throttle_key(rows: ir.Table) -> ir.StringValue:
    """:func:`polltape.protocols.throttle.key_of` as an expression."""
    name = ibis.literal(" ").concat(rows.graphql).fill_null("")
    return ibis.literal(f"{throttle.NAME}|").concat(
        authority_of(rows), "|", rows.client.fill_null("None"), "|", rows.method, " ", rows.path, name
    )


# ---------------------------------------------------------------------------------------------- reading


def _names(observed: ir.Table) -> ir.Table:
    """What :func:`~polltape.operations.links.linked` reads, in the order of the table's rows."""
    aside = observed.protocol == throttle.NAME
    named = {name: observed[name].map(lambda key: hashed(key)) for name in ("keys", "issued")}
    return observed.select(
        "target",
        "opens",
        number=observed.rowid(),
        **{name: aside.ifelse(ibis.null("array<uint64>"), hashes) for name, hashes in named.items()},
        opening=(observed.opens | observed.truncates.notnull()) & ~aside,
        general=observed.protocol == http_async.NAME,
        aside=aside,
    ).order_by("number")


def _parts(connection: Any, tables: Sequence[ir.Table], component: Ints, part: Flags) -> Iterator[Grouped]:
    """The rows that are part of anything, by component, each group by response end; at least one piece.

    ``component``, ``part``: for each row of the tables, those of one behind those of the other.  The order of the
    groups means nothing.
    """
    pieces = max(1, -(-len(component) // PART_ROWS))
    if pieces == 1:
        yield _grouped(_behind(connection, tables, _numbered), component, part)
        return
    places = {"place": np.flatnonzero(part), "piece": (component % pieces)[part]}
    of = taken(connection, "pieces", pa.table({name: pa.array(values) for name, values in places.items()}))
    for piece in range(pieces):
        yield _grouped(_behind(connection, tables, _piece, of, piece=piece), component, part)
    drop(connection, of)


def _behind(connection: Any, tables: Sequence[ir.Table], query: Query, *others: ir.Table, **given: Any) -> pa.Table:
    """What the query finds in each of the tables, their rows numbered from one to the next."""
    found, before = [], 0
    for table in tables:
        found.append(asked(connection, query, table, *others, before=before, **given))
        before += count(connection, table)
    return pa.concat_tables(found)


def _numbered(table: ir.Table, *, before: int) -> ir.Table:
    return table.select(*_SEEN, number=table.rowid() + before)


def _piece(table: ir.Table, of: ir.Table, *, before: int, piece: int) -> ir.Table:
    numbered = _numbered(table, before=before)
    return numbered.join(of.filter(_.piece == piece), _.number == of.place).select(*_SEEN, "number")


def _grouped(table: pa.Table, component: Ints, part: Flags) -> Grouped:
    """``table``: with the ``number`` of each row, by which the others are looked up."""
    number = ints(table["number"])
    order = np.argsort(number, kind="stable")
    order = order[part[number[order]]]
    ends, group = ints(table["ends"])[order], component[number[order]]
    # Two whole numbers in one: by group, then by end; of one exchange in the order of its observations.
    sorting = np.argsort(group * (int(ends.max(initial=0)) + 1) + ends, kind="stable")
    begins = np.flatnonzero(np.diff(group[sorting], prepend=-1))
    found = table.select(_SEEN).take(order[sorting]).combine_chunks()
    return Grouped(found, np.append(begins, len(order)).astype(np.int64))


def seen(grouped: Grouped) -> Iterator[list[Seen]]:
    """The groups as the fold reads them."""
    for first in range(0, len(grouped.bounds) - 1, BATCH_GROUPS):
        bounds = grouped.bounds[first : first + BATCH_GROUPS + 1].tolist()
        batch = grouped.table.slice(bounds[0], bounds[-1] - bounds[0]).combine_chunks()
        columns = (_values(batch[name].chunk(0), name) for name in _SEEN)
        found = list(map(_SEEN_OF, zip(*columns, strict=True)))
        for start, end in pairwise(bounds):
            yield found[start - bounds[0] : end - bounds[0]]


def _values(column: Any, name: str) -> list[Any]:
    """The column's values; equal texts are one object, and no list is an empty one."""
    if name in ("keys", "issued", "readings"):
        return [value or () for value in column.to_pylist()] if len(column.flatten()) else [()] * len(column)
    if column.null_count == len(column):
        return [None] * len(column)
    if name in _NUMBERED:
        column = column.cast(pa.string())
    if pa.types.is_string(column.type) and name not in _UNIQUE:
        coded = column.dictionary_encode()
        texts = [*coded.dictionary.to_pylist(), None]  # the last by the index -1
        return [texts[index] for index in coded.indices.fill_null(-1).to_pylist()]
    values: list[Any] = column.to_pylist()
    return values
