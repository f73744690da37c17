"""From the timeline to what the fold reads: one row an observation, grouped so that linked keys stay together.

Two things only the whole timeline can tell, so they are found here and not by a protocol: a queued request
that is sent again *without* its token, and the answer to a throttled request's retry.  Both are equal to a
request that was observed before; which equality is meant, the protocols say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.exchange import Observation
from polltape.operations.columns import (
    NONE,
    Flags,
    Ints,
    Numbers,
    among,
    as_lists,
    at,
    coded,
    flags,
    ints,
    known,
    listed,
    narrow,
    numbered,
    spelled,
    where,
    whole,
)
from polltape.operations.fold import Seen
from polltape.operations.links import linked
from polltape.operations.shapes import Grouped
from polltape.operations.timeline import RESUBMIT, Timeline
from polltape.protocols import http_async, throttle
from polltape.protocols.shopify_queue import resubmitted_state

PART_ROWS: Final = 500_000
"""How many rows are laid out at a time, about."""
BATCH_GROUPS: Final = 10_000
"""How many groups become Python objects at a time."""

_SEEN: Final = Seen._fields
_NAME: Final = "exchange_id"
_OF_ROW: Final = tuple(name for name in _SEEN if name not in {*Observation.__dataclass_fields__, "target", _NAME})
_OWN: Final = ("row", *(name for name in _SEEN if name not in (*_OF_ROW, _NAME)))
"""What a row of :class:`Seen` has from its exchange, and what it has from the observation."""
_SEEN_OF: Final = partial(tuple.__new__, Seen)
_NUMBERED: Final = frozenset({"line", "write", "target"})
"""Columns of texts of which only matters which are equal; the tables have numbers there."""
_DERIVED: Final = {"issued": [], "readings": [], "opens": False, "address": False, "itself": False}
"""What an observation says that a request has made which equals another; null for the rest."""


Part = Callable[[], Grouped]
"""Some groups of the timeline, laid out when they are wanted."""


def sightings(timeline: Timeline) -> Iterator[Part]:
    """What the protocols observed, throttling aside: linked rows together, part by part."""
    observed = _targeted(timeline, timeline.observations)
    bare = list(_bare(timeline, observed))
    table = observed.select(_OWN)
    if bare:
        table = pa.concat_tables([table, *bare]).unify_dictionaries().combine_chunks()
    del observed
    opening = pc.or_(table["opens"], table["truncates"].is_valid())
    general: Any = pa.array(among(table["protocol"], [http_async.NAME]))
    names = table.select(["keys", "issued", "target", "opens"])
    component, part = linked(names.append_column("opening", opening).append_column("general", general))
    yield from _parts(timeline, table, component, part & ~among(table["protocol"], [throttle.NAME]))


def _targeted(timeline: Timeline, observed: pa.Table) -> pa.Table:
    """With ``target``: that of the exchange, where it may be a queued request that is sent again."""
    again = where(observed["role"], lambda role: pc.starts_with(role, RESUBMIT))
    row = narrow(np.where(again, ints(observed["row"]), 0), ~again)
    return observed.append_column("target", whole(timeline.exchanges["target"]).take(row))


def _throttles(timeline: Timeline) -> pa.Table:
    observed = timeline.observations
    return observed.filter(pa.array(among(observed["protocol"], [throttle.NAME])))


def throttled(timeline: Timeline, members: Iterable[Ints]) -> Iterator[Part]:
    """The throttled requests and all others that are the same ones, by key.

    ``members``: the exchanges that operations of other protocols have; they open nothing.
    """
    exchanges, throttles = timeline.exchanges, _throttles(timeline)
    inside = np.zeros(len(exchanges), np.bool_)
    for row in members:
        inside[row] = True
    row = ints(throttles["row"])
    opens = flags(throttles["opens"]) & ~inside[row]
    if not opens.any():
        return
    opening = np.unique(row[opens])
    asked = [ints(exchanges[name]) for name in ("server", "line")]
    may_be = np.flatnonzero(np.logical_and.reduce([_among_those(numbers, opening) for numbers in asked]))
    request = np.full(len(exchanges), NONE)
    request[may_be] = numbered(*(numbers[may_be] for numbers in asked), _named(exchanges["graphql"])[may_be])
    same = may_be[_among_those(request[may_be], np.searchsorted(may_be, opening))]
    shown = _shown(exchanges, same, throttle.retried_state)
    throttling = pa.array(np.isin(same, row))
    told = {
        "protocol": throttle.NAME,
        "kind": throttle.KIND,
        "role": "read",
        "state": pc.if_else(throttling, "pending", shown),
        "keys": _keys(throttles, request[row], request[same]),
        "opens": np.isin(same, opening),
    }
    yield from _parts(timeline, _derived(timeline, same, told), request[same], np.ones(len(same), np.bool_))


def _among_those(numbers: Ints, rows: Ints) -> Flags:
    """Which of the numbers stand in one of these rows, too."""
    there = np.zeros(int(numbers.max(initial=0)) + 1, np.bool_)
    there[numbers[rows]] = True
    return there[numbers]


def _named(graphql: Any) -> Ints:
    """Numbers of the names of GraphQL operations; none where there is none, or an empty one."""
    return np.where(among(graphql, [""]), 0, coded(graphql))


def _keys(throttles: pa.Table, known_as: Ints, request: Ints) -> Any:
    """Of each request the key that a throttled one of the same number was observed with, as a list."""
    _, values = listed(whole(throttles["keys"]))
    numbers, first = np.unique(known_as, return_index=True)
    keys = values.take(at(first[np.searchsorted(numbers, request)]))
    return as_lists(np.arange(len(request) + 1), keys)


def _bare(timeline: Timeline, observed: pa.Table) -> Iterator[pa.Table]:
    """The requests that equal a queued one and carry no token; ``observed``: observations with their targets."""
    exchanges = timeline.exchanges
    again = where(observed["role"], lambda role: pc.starts_with(role, RESUBMIT))
    queued = observed.filter(pa.array(again & flags(observed["opens"]) & known(observed["target"])))
    if not len(queued):
        return
    whose = queued.select(["protocol", "kind", "target"]).combine_chunks()
    carrying = among(observed["protocol"], spelled(whose["protocol"]).unique().to_pylist())
    bare = known(exchanges["target"])
    bare[ints(observed["row"])[carrying]] = False
    target = ints(exchanges["target"])
    which = numbered(coded(whose["protocol"]), coded(whose["kind"]))
    for number in np.unique(which):
        one = whose.filter(pa.array(which == number))
        row = np.flatnonzero(bare & np.isin(target, ints(one["target"])))
        told = {
            "protocol": one["protocol"][0].as_py(),
            "kind": one["kind"][0].as_py(),
            "role": "resubmit-bare",
            "state": _shown(exchanges, row, resubmitted_state),
            "target": exchanges["target"].take(at(row)),
            "keys": [],
        }
        yield _derived(timeline, row, told)


def _derived(timeline: Timeline, row: Ints, told: Mapping[str, Any]) -> pa.Table:
    """Observations of these exchanges that no protocol has made; ``told``: one value for all, or a column."""
    kinds = timeline.observations.schema.append(timeline.exchanges.schema.field("target"))
    columns: dict[str, Any] = {"row": narrow(row)}
    for name in _OWN[1:]:
        columns[name] = _filled(told.get(name, _DERIVED.get(name)), kinds.field(name).type, len(row))
    return pa.table(columns)


def _filled(value: Any, kind: Any, count: int) -> Any:
    """One value as often as that, or the column that it is, of this type."""
    if isinstance(value, (np.ndarray, pa.Array, pa.ChunkedArray)):
        return (value if not isinstance(value, np.ndarray) else pa.array(value)).cast(kind)
    if value == []:
        return as_lists(np.zeros(count + 1, np.int64), pa.array([], kind.value_type))
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.repeat(pa.scalar(value, plain), count).cast(kind)


def _shown(exchanges: pa.Table, row: Ints, rule: Callable[[int | None], str | None]) -> Any:
    """What the status of each of these shows by the protocol's rule, asked once for each status."""
    status: Any = whole(exchanges["status"].take(at(row))).dictionary_encode()
    shown: Any = pa.array([*map(rule, status.dictionary.to_pylist()), rule(None)], pa.string())
    return shown.take(status.indices.fill_null(len(shown) - 1))


# ---------------------------------------------------------------------------------------------- grouping


def _parts(timeline: Timeline, table: pa.Table, component: Numbers, part: Flags) -> Iterator[Part]:
    """The rows that are part of anything, by component, each group by response end; at least one piece.

    The order of the groups means nothing.
    """
    row = np.flatnonzero(part)
    pieces = max(1, -(-len(row) // PART_ROWS))
    for piece in range(pieces):
        some = row if pieces == 1 else row[component[row] % pieces == piece]
        yield partial(_grouped, timeline, table, some, component[some].astype(np.int64))


def _grouped(timeline: Timeline, table: pa.Table, row: Ints, component: Ints) -> Grouped:
    exchanges = timeline.exchanges
    of = ints(table["row"])[row]
    ends = ints(exchanges["ends"])[of]
    # Two whole numbers in one: by group, then by end; of one exchange in the order of its observations.
    order = np.argsort(component * (int(ends.max(initial=0)) + 1) + ends, kind="stable")
    begins = np.flatnonzero(np.diff(component[order], prepend=-1))
    told, seen = exchanges.select(_OF_ROW).take(narrow(of[order])), table.take(narrow(row[order]))
    columns: dict[str, Any] = {name: (told if name in _OF_ROW else seen)[name] for name in (*_OWN, *_OF_ROW)}
    bounds = np.append(begins, len(order)).astype(np.int64)
    return Grouped(pa.table(columns).combine_chunks(), bounds, timeline.ids, timeline.names)


def seen(grouped: Grouped) -> Iterator[list[Seen]]:
    """The groups as the fold reads them."""
    for first in range(0, len(grouped.bounds) - 1, BATCH_GROUPS):
        bounds = grouped.bounds[first : first + BATCH_GROUPS + 1].tolist()
        batch = grouped.table.slice(bounds[0], bounds[-1] - bounds[0]).combine_chunks()
        told = {name: batch[name].chunk(0) for name in batch.column_names}
        told[_NAME] = grouped.ids.take(told["row"])
        for name in ("keys", "issued"):
            offsets, numbers = listed(told[name])
            told[name] = as_lists(offsets, grouped.names.take(numbers))
        columns = (_values(told[name], name) for name in _SEEN)
        found = list(map(_SEEN_OF, zip(*columns, strict=True)))
        for start, end in pairwise(bounds):
            yield found[start - bounds[0] : end - bounds[0]]


def _values(column: Any, name: str) -> list[Any]:
    """The column's values; equal texts are one object, and no list is an empty one."""
    if name in ("keys", "issued", "readings"):
        offsets, inner = listed(column)  # spelled out first: the dictionary may be that of the whole capture
        return [value or () for value in as_lists(offsets, _plain(inner)).to_pylist()]
    if column.null_count == len(column):
        return [None] * len(column)
    column = column.cast(pa.string()) if name in _NUMBERED else spelled(column)
    if pa.types.is_string(column.type) and name != _NAME:
        coded = column.dictionary_encode()
        texts = [*coded.dictionary.to_pylist(), None]  # the last by the index -1
        return [texts[index] for index in coded.indices.fill_null(-1).to_pylist()]
    values: list[Any] = column.to_pylist()
    return values


def _plain(values: Any) -> Any:
    """Texts, or structs of texts, spelled out."""
    if not pa.types.is_struct(values.type):
        return spelled(values)
    names = [field.name for field in values.type]
    return pa.StructArray.from_arrays([spelled(pc.struct_field(values, name)) for name in names], names=names)
