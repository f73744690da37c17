"""From the timeline to what the fold reads: one row an observation, grouped so that linked keys stay together.

Two things only the whole timeline can tell, so they are found here and not by a protocol: a queued request
that is sent again *without* its token, and the answer to a throttled request's retry.  Both are equal to a
request that was observed before; which equality is meant, the protocols say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.operations.fold import Seen
from polltape.operations.links import components
from polltape.operations.tables import keep
from polltape.protocols import http_async, throttle
from polltape.protocols.shopify_queue import resubmitted_state

BATCH_ROWS: Final = 100_000
"""How many rows become Python objects at a time."""

_OBSERVED: Final = (
    *("protocol", "kind", "role", "keys", "issued", "reads_as", "state", "readings"),
    *("opens", "truncates", "address", "itself"),
)
_SEEN: Final = Seen._fields
_ROW: Final = tuple(name for name in _SEEN if name not in _OBSERVED)
_OWN: Final = "exchange|"


def sightings(connection: Any, rows: ir.Table) -> Iterator[list[Seen]]:
    """What the protocols observed, throttling aside: groups of linked rows, each by response end."""
    observed = keep(connection, _observed(rows))
    bare = _bare(rows, observed)
    if bare is not None:
        observed = keep(connection, ibis.union(observed, bare))
    yield from _groups(_linked(connection, observed))


def throttled(connection: Any, rows: ir.Table, inside: Iterable[str]) -> Iterator[list[Seen]]:
    """The throttled requests and all others that are the same ones, by key.

    ``inside``: ids of the exchanges that an operation of another protocol has; they open nothing.
    """
    seen = rows.unnest("observations")
    seen = seen.filter(seen.observations["protocol"] == throttle.NAME)
    seen = seen.select("exchange_id", opens=seen.observations["opens"], key=seen.observations["keys"][0])
    seen = keep(connection, seen)
    if not seen.count().execute():
        return
    members = ibis.memtable(pd.DataFrame({"exchange_id": sorted(inside)}, dtype="string"))
    opening = seen.filter(_.opens).anti_join(members, "exchange_id")
    keys = opening.select("key").distinct()
    known = seen.select(throttled="exchange_id")
    opened = opening.select(opening="exchange_id")
    same = _with_request(rows).mutate(key=_throttle_key(rows)).semi_join(keys, "key")
    same = same.left_join(known, same.exchange_id == known.throttled)
    same = same.left_join(opened, _.exchange_id == opened.opening)
    state = same.throttled.notnull().ifelse("pending", _by_status(same, throttle.retried_state))
    table = same.mutate(
        keys=ibis.array([same.key]),
        opens=same.opening.notnull(),
        component=same.key,
        target=ibis.null("string"),
        **_defaults(ibis.literal(throttle.NAME), ibis.literal(throttle.KIND), "read", state, without={"keys", "opens"}),
    )
    yield from _groups(table)


def _with_request(rows: ir.Table) -> ir.Table:
    return rows.mutate(line=rows.method.concat(" ", rows.path))


def _observed(rows: ir.Table) -> ir.Table:
    """One row an observation with the columns of :class:`Seen`."""
    flat = _with_request(rows).unnest("observations")
    seen = flat.observations
    flat = flat.filter(seen["protocol"] != throttle.NAME)
    table = flat.mutate(**{name: flat.observations[name] for name in _OBSERVED})
    again = table.role.startswith("resubmit")
    return table.mutate(target=again.ifelse(_target(table), ibis.null("string"))).select(*_SEEN)


def _target(table: ir.Table) -> ir.StringValue:
    """What a request has in common with one that only lacks the token; null where its body is unknown."""
    return table.client.fill_null("").concat("|", table.authority, "|", table.write)


def _bare(rows: ir.Table, observed: ir.Table) -> ir.Table | None:
    """The requests that equal a queued one and carry no token, None where nothing is queued."""
    queued = observed.filter(_.role.startswith("resubmit") & _.opens & _.target.notnull())
    queued = queued.select("target", "protocol", "kind").distinct()
    if not queued.count().execute():
        return None
    carried = observed.semi_join(queued, "protocol").select("exchange_id")
    others = _with_request(rows).anti_join(carried, "exchange_id")
    equal = others.mutate(target=_target(others)).join(queued, "target")
    state = _by_status(equal, resubmitted_state)
    filled = _defaults(equal.protocol, equal.kind, "resubmit-bare", state)
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


def _by_status(rows: ir.Table, rule: Callable[[int | None], str | None]) -> ir.StringValue:
    """The protocol's rule for a status as an expression, so that the rule stands in one place."""
    statuses = [int(status) for status in rows.select("status").distinct().execute()["status"].dropna()]
    known = [(rows.status == status, state) for status in statuses if (state := rule(status)) is not None]
    return ibis.cases(*known, else_=ibis.null("string")) if known else ibis.null("string")


def _throttle_key(rows: ir.Table) -> ir.StringValue:
    """:func:`polltape.protocols.throttle.key_of` as an expression."""
    name = ibis.literal(" ").concat(rows.graphql).fill_null("")
    return ibis.literal(f"{throttle.NAME}|").concat(
        rows.authority, "|", rows.client.fill_null("None"), "|", rows.method, " ", rows.path, name
    )


# ------------------------------------------------------------------------------------------------ links


def _linked(connection: Any, observed: ir.Table) -> ir.Table:
    """With ``component``: equal for rows whose keys are linked, however far apart.

    A key that nobody ever issued links nothing: any GET addresses its own URL and all the endings of its path.
    """
    none = ibis.literal([], type="array<string>")
    named = observed.mutate(
        number=ibis.row_number(),
        every=_.keys.fill_null(none).concat(_.issued.fill_null(none)).unique(),
    )
    with_target = _.every.concat(ibis.array([_.target]))
    named = keep(connection, named.mutate(every=_.target.isnull().ifelse(_.every, with_target)))
    several = named.filter(_.every.length() > 1)
    pairs = several.select("number", name=several.every.unnest())
    pairs = pairs.semi_join(_issued(named), "name")
    relevant = pairs.group_by("number").agg(names=_.name.collect(order_by=_.name))
    relevant = keep(connection, relevant.rename(of="number"))
    linked = components(_edges(relevant))
    joined = named.left_join(relevant, named.number == relevant.of)
    first = ibis.coalesce(joined.names[0], joined.every[0])
    joined = joined.mutate(name=first.fill_null(ibis.literal(_OWN).concat(joined.exchange_id)))
    # What addresses nothing that was issued, and opens nothing, is no part of anything.
    joined = joined.filter(
        (joined.protocol != http_async.NAME) | joined.names.notnull() | (joined.every.length() < 2) | joined.opens
    )
    if not linked:
        return joined.mutate(component=joined.name)
    of = ibis.memtable(pd.DataFrame({"linked": list(linked), "top": list(linked.values())}, dtype="string"))
    return joined.left_join(of, joined.name == of.linked).mutate(component=lambda t: ibis.coalesce(t.top, t.name))


def _issued(named: ir.Table) -> ir.Table:
    """The names that may link: what an answer gave out, what an opening request addressed, what may be sent again."""
    opening = named.filter((_.opens | _.truncates.notnull()) & (_.keys.length() > 0))
    names = (
        named.select(name=named.issued.unnest()),
        opening.select(name=opening.keys[0]),
        named.filter(_.target.notnull()).select(name="target"),
    )
    return ibis.union(*names, distinct=True)


def _edges(relevant: ir.Table) -> Iterator[tuple[str, str]]:
    several = relevant.filter(_.names.length() > 1).select("names").distinct().execute()
    for first, *others in several["names"]:
        yield from ((first, other) for other in others)


# ---------------------------------------------------------------------------------------------- reading


def _groups(table: ir.Table) -> Iterator[list[Seen]]:
    wanted = table.select(*_SEEN, "component").order_by("component", "ends")
    batches = wanted.to_pyarrow().to_batches(max_chunksize=BATCH_ROWS)
    for _component, group in groupby(_rows(batches), key=itemgetter(-1)):
        yield [Seen._make(row[:-1]) for row in group]


def _rows(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(_values(batch.column(name), name) for name in (*_SEEN, "component")), strict=True)


def _values(column: Any, name: str) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [value or () for value in values] if name in ("keys", "issued", "readings") else values
