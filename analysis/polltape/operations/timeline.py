"""The narrow tables that everything is measured from: one row an exchange, one row an observation.

Instants are on one clock, and all starts and ends of the capture have one order.  ``exchanges`` (``rows`` in
queries, where ``row`` counts them), one an exchange, in the order of their starts:

==================  ==========================================================================
column              meaning
==================  ==========================================================================
exchange_id         as recorded
session_id          recording session
client, host        pseudonym; host without port
scheme, port,       of the URL, redacted (:func:`authority_of`, :func:`url_of`)
path, query
method, endpoint    the method, and the template of the path
request_unread,     why a body is not there to be read; null where it is, or has no kind that is read
answer_unread
status, error       the answer, or what took its place
start_us            request start, microseconds since 1970
response_start_us   response start, null where unknown
end_us              response end, or the latest known instant
ended               whether the response end is known
starts, ends        ranks: one order of all starts and ends.  At one instant the ends of earlier
                    requests come first, then the requests that took no time at all, one after the
                    other, then the starts of the others
source, raw, klass, the instruction to wait
asked_s, clock,
tolerance, lines,
rated
queued              whether the answer carries X-Checkout-Queue
in_words            whether the body of the answer says that it throttles, whatever its status
redirect            absolute URL that a 3xx names
request_id          X-Request-Id of the answer
api_version         X-Shopify-API-Version of the answer
graphql             GraphQL operation of the request, null without one
line                number of the method and path
write               of these and the body's digest; null where the body is unknown
server              of the client, host and port
target              of the server and the write; null where the body is unknown
==================  ==========================================================================

Equal numbers are equal requests.  Everywhere else an exchange is the number of its row here, and gets its name
where one looks.

``observations``, one an observation: the fields of :class:`~polltape.exchange.Observation`
and ``row`` of its exchange; in the order of their exchanges, those of one in theirs.  Texts are dictionaries, ids
aside; ``keys`` and ``issued`` are lists of numbers of ``names``, equal keys in either being equal numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.capture.bodies import OTHER_TYPE
from polltape.capture.narrow import read_columns
from polltape.exchange import DEFAULT_PORTS, Observation
from polltape.operations.columns import (
    Flags,
    Ints,
    among,
    as_lists,
    at,
    called,
    coded,
    flags,
    ints,
    joined,
    listed,
    narrow,
    numbered,
    small,
    spelled,
    whole,
)
from polltape.operations.instants import Instants, Step, each_once, on_one_clock, ranks
from polltape.operations.tables import lent

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

_PLAIN: Final = (
    *("exchange_id", "session_id", "client", "method", "scheme", "host", "port", "path", "query", "endpoint"),
    *("status", "error", "redirect", "queued", "request_id", "api_version", "graphql"),
)
_INSTRUCTION: Final = ("source", "raw", "klass", "asked_s", "clock", "tolerance", "lines", "rated")
_WALL: Final = ("request_started_at", "request_ended_at", "response_started_at", "response_ended_at")
_MONOTONIC: Final = ("request_started_mono_ns", "response_started_mono_ns", "response_ended_mono_ns")
_READ: Final = {
    **{name: (name,) for name in (*_PLAIN, *_WALL, *_MONOTONIC, "observations")},
    **{name: ("instruction", name) for name in _INSTRUCTION},
    "digest": ("request_body", "digest"),
    "request_unread": ("request_body", "not_stored"),
    "answer_unread": ("response_body", "not_stored"),
}
_OBSERVED: Final = tuple(Observation.__dataclass_fields__)
_KEYS: Final = ("keys", "issued")
_LINKING: Final = [*_KEYS, "readings"]
_NO_NAMES: Final[Any] = pa.array([], pa.string())
RESUBMIT: Final = "resubmit"
"""What the roles of a queued request that is sent again begin with."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The tables of the module's text, the first also as queries see it; when the recorder's clock was set."""

    exchanges: pa.Table
    observations: pa.Table
    names: Any
    rows: ir.Table
    steps: tuple[Step, ...]

    @classmethod
    def of(
        cls, connection: Any, exchanges: pa.Table, observations: pa.Table, names: Any, steps: tuple[Step, ...] = ()
    ) -> Timeline:
        """These tables; queries over the connection then see the exchanges."""
        counted = exchanges.append_column("row", narrow(np.arange(len(exchanges))))
        return cls(exchanges, observations, names, lent(connection, "timeline", counted), steps)

    def unlinked(self, connection: Any) -> Timeline:
        """The same without what only the linking of observations needs: their names are much of a large capture."""
        observations = self.observations.drop_columns(_LINKING)
        return Timeline.of(connection, self.exchanges, observations, _NO_NAMES, self.steps)

    @property
    def ids(self) -> Any:
        """The exchanges' names, by their rows."""
        return whole(self.exchanges["exchange_id"])

    def only(self, connection: Any, which: Flags) -> Timeline:
        """Some of the exchanges."""
        row = ints(self.observations["row"])
        observations = self.observations.filter(pa.array(which[row]))
        moved = narrow((np.cumsum(which) - 1)[row[which[row]]])
        observations = observations.set_column(observations.column_names.index("row"), "row", moved)
        return Timeline.of(
            connection,
            self.exchanges.filter(pa.array(which)).combine_chunks(),
            observations.combine_chunks(),
            self.names,
            self.steps,
        )


def timeline(connection: Any, capture: Capture) -> Timeline:
    """A capture's timeline, each exchange once."""
    table, steps = _placed(capture)
    observations, names = _observed(table)
    in_words = np.zeros(len(table), np.bool_)
    in_words[ints(observations["row"])[flags(observations["throttled"])]] = True
    exchanges = _rows(table).append_column("in_words", pa.array(in_words))
    return Timeline.of(connection, exchanges, observations, names, steps)


def _placed(capture: Capture) -> tuple[pa.Table, tuple[Step, ...]]:
    """Each exchange once, in the order of their starts, on one clock; and when that was set."""
    found = read_columns(capture, _READ)
    columns: dict[str, Any] = {name: found[name] for name in found.column_names}
    del found  # from here on a column goes when it has been used
    order, steps = _timed(columns)
    columns |= _requests(columns)
    placed: dict[str, Any] = {}
    for name in list(columns):  # one by one, so that no more than one is there twice
        column = small(columns.pop(name))
        placed[name] = column if order is None else column.take(at(order))
    return pa.table(placed), steps


def _timed(columns: dict[str, Any]) -> tuple[Ints | None, tuple[Step, ...]]:
    """Instants and ranks of each row, instead of what the clocks told; and when they were set.

    First the rows that count in the order of their starts; None if all do as they are.
    """
    columns["ended"] = pc.and_(columns["response_ended_at"].is_valid(), columns["status"].is_valid())
    instants = Instants.of(*(_us(columns.pop(name)) for name in _WALL))
    once = each_once(columns, instants)
    steps = on_one_clock(instants, columns)
    for name in _MONOTONIC:
        del columns[name]
    starts, ends = ranks(instants, once, lambda: columns["exchange_id"])
    columns |= {"starts": narrow(starts), "ends": narrow(ends), **instants.columns()}
    order = np.argsort(starts, kind="stable")[np.count_nonzero(~once) :]  # what does not count has no rank: -1
    return None if np.array_equal(order, np.arange(len(starts))) else order, steps


def _us(column: Any) -> Any:
    """Instants as microseconds since 1970."""
    return column.cast(pa.int64())


def _requests(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers of requests, instead of the digests of their bodies."""
    client, digest = coded(found["client"]), coded(found.pop("digest"))
    server = numbered(client, coded(found["host"]), _port(found))
    line = numbered(coded(found["method"]), coded(found["path"]))
    write = numbered(line, digest)
    unknown = digest == 0
    return {
        "line": narrow(line),
        "write": narrow(write, unknown),
        "server": narrow(server),
        "target": narrow(numbered(server, write), unknown),
    }


def _port(found: Mapping[str, Any] | pa.Table) -> Ints:
    """The port, 0 where it is the scheme's default."""
    port = ints(found["port"])
    for scheme, default in DEFAULT_PORTS.items():
        port = np.where((port == default) & among(found["scheme"], [scheme]), 0, port)
    return port


def _rows(table: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {name: table[name] for name in table.column_names if name != "observations"}
    for name in ("request_unread", "answer_unread"):
        why = whole(columns[name])
        unread = pc.if_else(pa.array(among(why, [OTHER_TYPE])), None, why.indices)
        columns[name] = pa.DictionaryArray.from_arrays(unread, why.dictionary)
    return pa.table(columns)


def _observed(table: pa.Table) -> tuple[pa.Table, Any]:
    """The observations, and the names that they are about."""
    offsets, values = listed(whole(table["observations"]))
    row = np.repeat(np.arange(len(table)), np.diff(offsets))
    seen: dict[str, Any] = {name: small(pc.struct_field(values, name)) for name in _OBSERVED}
    lists = {name: listed(seen[name]) for name in _KEYS}
    alike: Any = pa.chunked_array([keys for _, keys in lists.values()]).unify_dictionaries()
    for (name, (begins, _)), keys in zip(lists.items(), alike.chunks, strict=True):
        seen[name] = as_lists(begins, keys.indices)
    return pa.table({**seen, "row": narrow(row)}).combine_chunks(), alike.chunk(0).dictionary


def _authorities(exchanges: pa.Table) -> Any:
    """Of each exchange the host, and the port where it is not the scheme's default."""
    port = _port(exchanges)
    named = joined(exchanges["host"], ":", pa.array(port).cast(pa.string()))
    return pc.if_else(pa.array(port == 0), spelled(whole(exchanges["host"])), named)


def endpoint_names(exchanges: pa.Table) -> Any:
    """``METHOD template`` of each exchange, as numbers into those that differ."""
    method, endpoint = (whole(exchanges[name]) for name in ("method", "endpoint"))
    number = numbered(coded(method), coded(endpoint))
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    return called(which, joined(method.take(at(first)), " ", endpoint.take(at(first))))


def urls(exchanges: pa.Table) -> Any:
    """The absolute URL of each exchange, redacted."""
    query = joined("?", exchanges["query"]).fill_null("")
    return joined(exchanges["scheme"], "://", _authorities(exchanges), exchanges["path"], query)
