"""The narrow tables that everything is measured from: one row an exchange, one row an observation.

Instants are on one clock, and all starts and ends of the capture have one order.  ``exchanges``, one an exchange, in
the order of their starts:

==================  ==========================================================================
column              meaning
==================  ==========================================================================
exchange_id         as recorded
session_id          recording session
client, host        pseudonym; host without port
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
api_version         X-Shopify-API-Version of the answer
graphql             GraphQL operation of the request, null without one
line                number of the method and path
write               of these and the body's digest; null where the body is unknown
server              of the client, host and port
target              of the server and the write; null where the body is unknown
==================  ==========================================================================

Equal numbers are equal requests.  What else there is of URLs, and the request ids of answers (X-Request-Id), hardly
ever stand there twice, and are read when they are wanted.

Everywhere else an exchange is the number of its row here, and gets its name where one looks.

``observations``, one an observation: the fields of :class:`~polltape.exchange.Observation`
and ``row`` of its exchange; in the order of their exchanges, those of one in theirs.  Texts are dictionaries, ids
aside; ``keys`` and ``issued`` are lists of numbers of ``names``, equal keys in either being equal numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.capture.bodies import OTHER_TYPE
from polltape.capture.narrow import Place, read_columns, read_rows
from polltape.exchange import DEFAULT_PORTS, Observation
from polltape.operations.columns import (
    NONE,
    Flags,
    Ints,
    Numbers,
    among,
    as_lists,
    at,
    called,
    coded,
    distinct,
    flags,
    ints,
    joined,
    listed,
    narrow,
    numbered,
    short,
    small,
    spelled,
    whole,
)
from polltape.operations.instants import Instants, Step, each_once, on_one_clock, ranks

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

_INSTRUCTION: Final = ("source", "raw", "klass", "asked_s", "clock", "tolerance", "lines", "rated")
_WALL: Final = ("request_started_at", "request_ended_at", "response_started_at", "response_ended_at")
_MONOTONIC: Final = ("request_started_mono_ns", "response_started_mono_ns", "response_ended_mono_ns")
_TIMES: Final = ("exchange_id", "session_id", "status", *_WALL, *_MONOTONIC)
_REQUEST: Final = ("client", "method", "scheme", "host", "port", "path")
_ANSWER: Final = ("endpoint", "error", "redirect", "queued", "api_version", "graphql")
_READ: Final[tuple[dict[str, Place], ...]] = (
    {"observations": ("observations",)},
    {name: (name,) for name in _TIMES},
    {"digest": ("request_body", "digest"), **{name: (name,) for name in _REQUEST}},
    {
        **{name: (name,) for name in _ANSWER},
        **{name: ("instruction", name) for name in _INSTRUCTION},
        "request_unread": ("request_body", "not_stored"),
        "answer_unread": ("response_body", "not_stored"),
    },
)
"""What is read together: a column goes when it has been used, and no more than these are there as they were read."""
_OBSERVED: Final = tuple(Observation.__dataclass_fields__)
_KEYS: Final = ("keys", "issued")
_LINKING: Final = [*_KEYS, "readings"]
_WRITTEN: Final = ["session_id", "graphql", "write", "target"]
_JUDGED: Final = ["starts", "response_start_us", "error", "redirect", "clock", "rated"]
_SHORT: Final = ("status", "lines")
_NO_NAMES: Final[Any] = pa.array([], pa.string())
RESUBMIT: Final = "resubmit"
"""What the roles of a queued request that is sent again begin with."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Columns that are read when they are wanted.  ``places``: of each exchange, its row in the capture."""

    capture: Capture
    places: Ints

    def columns(self, names: Sequence[str], rows: Numbers) -> pa.Table:
        """What these columns say of these exchanges."""
        return read_rows(self.capture, {name: (name,) for name in names}, self.places[rows])

    def only(self, which: Flags) -> Unread:
        """Of some of the exchanges."""
        return Unread(self.capture, self.places[which])


@dataclass(frozen=True, slots=True)
class Timeline:
    """The tables of the module's text; when the recorder's clock was set."""

    exchanges: pa.Table
    observations: pa.Table
    names: Any
    unread: Unread
    steps: tuple[Step, ...]

    def unlinked(self) -> Timeline:
        """The same without what only the linking of observations needs: their names are much of a large capture."""
        exchanges, observations = self.exchanges.drop_columns(_WRITTEN), self.observations.drop_columns(_LINKING)
        return replace(self, exchanges=exchanges, observations=observations, names=_NO_NAMES)

    def judged(self) -> Timeline:
        """The same without what only the waits need, and a look at steps."""
        return replace(self, exchanges=self.exchanges.drop_columns(_JUDGED))

    @property
    def ids(self) -> Any:
        """The exchanges' names, by their rows."""
        return whole(self.exchanges["exchange_id"])

    def request_ids(self, rows: Ints) -> Any:
        """The X-Request-Id of each of these answers."""
        return whole(self.unread.columns(["request_id"], rows)["request_id"])

    def urls(self, rows: Numbers) -> Any:
        """The absolute URLs of these exchanges, redacted."""
        told = self.unread.columns(["scheme", "host", "port", "path", "query"], rows)
        query = joined("?", told["query"]).fill_null("")
        return joined(told["scheme"], "://", _authorities(told), told["path"], query)

    def only(self, which: Flags) -> Timeline:
        """Some of the exchanges."""
        row = ints(self.observations["row"])
        observations = self.observations.filter(pa.array(which[row]))
        moved = narrow((np.cumsum(which) - 1)[row[which[row]]])
        observations = observations.set_column(observations.column_names.index("row"), "row", moved)
        return Timeline(
            self.exchanges.filter(pa.array(which)).combine_chunks(),
            observations.combine_chunks(),
            self.names,
            self.unread.only(which),
            self.steps,
        )


def timeline(capture: Capture) -> Timeline:
    """A capture's timeline, each exchange once."""
    observed, times, requests, answers = _READ
    seen, names = _observed(_read(capture, observed).pop("observations"))
    columns = _read(capture, times)
    order, steps = _timed(columns)
    observations = _moved(seen, order, len(columns["ended"]))
    placed = _placed(columns, order)
    placed |= _placed(_requests(_read(capture, requests)), order)
    placed |= _placed(_read(capture, answers), order)
    in_words = np.zeros(len(order), np.bool_)
    in_words[ints(observations["row"])[flags(observations["throttled"])]] = True
    for name in ("request_unread", "answer_unread"):
        placed[name] = _why(placed[name])
    exchanges = pa.table({**placed, "in_words": pa.array(in_words)})
    return Timeline(exchanges, observations, names, Unread(capture, order), steps)


def _read(capture: Capture, columns: Mapping[str, Place]) -> dict[str, Any]:
    found = read_columns(capture, columns)
    return {name: whole(found[name]) for name in found.column_names}


def _placed(columns: dict[str, Any], order: Ints) -> dict[str, Any]:
    """The columns in that order; they are used up, so that no more than one is there twice."""
    as_they_are = _as_they_are(order, len(next(iter(columns.values()))))
    placed: dict[str, Any] = {}
    for name in list(columns):
        column = small(columns.pop(name))
        if name == "asked_s":  # the same few numbers again and again
            column = small(column.dictionary_encode())
        elif name in _SHORT:
            column = short(column)
        placed[name] = column if as_they_are else column.take(at(order))
    return placed


def _moved(observations: dict[str, Any], order: Ints, count: int) -> pa.Table:
    """The observations of ``count`` exchanges, which are now in that order, with their new rows; they are used up."""
    row = observations.pop("row")
    if not _as_they_are(order, count):
        place = np.full(count, NONE)
        place[order] = np.arange(len(order))
        row = place[row]
        moved = np.argsort(row, kind="stable")[np.count_nonzero(row == NONE) :]
        row = row[moved]
        for name in list(observations):
            observations[name] = observations[name].take(at(moved))
    return pa.table({**observations, "row": narrow(row)})


def _as_they_are(order: Ints, count: int) -> bool:
    """Whether that order of as many rows leaves them where they are."""
    return len(order) == count and bool((np.diff(order, prepend=-1) == 1).all())


def _timed(columns: dict[str, Any]) -> tuple[Ints, tuple[Step, ...]]:
    """Instants and ranks of each row, instead of what the clocks told; and when they were set.

    First the rows that count, in the order of their starts.
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
    return order.astype(np.int32), steps


def _us(column: Any) -> Any:
    """Instants as microseconds since 1970."""
    return column.cast(pa.int64())


def _requests(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers of requests, instead of their paths and the digests of their bodies."""
    client, digest = coded(found["client"]), coded(found.pop("digest"))
    server = numbered(client, coded(found["host"]), _port(found))
    del found["scheme"], found["port"]
    line = numbered(coded(found["method"]), coded(found.pop("path")))
    known, write, target = digest > 0, np.zeros_like(line), np.zeros_like(line)
    write[known] = numbered(line[known], digest[known])
    target[known] = numbered(server[known], write[known])
    return found | {
        "line": narrow(line),
        "write": narrow(write, ~known),
        "server": narrow(server),
        "target": narrow(target, ~known),
    }


def _port(found: Mapping[str, Any] | pa.Table) -> Ints:
    """The port, 0 where it is the scheme's default."""
    port = ints(found["port"])
    for scheme, default in DEFAULT_PORTS.items():
        port = np.where((port == default) & among(found["scheme"], [scheme]), 0, port)
    return port


def _why(unread: Any) -> Any:
    """Why bodies are not there to be read, without those that have no kind that is read."""
    indices = pc.if_else(pa.array(among(unread, [OTHER_TYPE])), None, unread.indices)
    return pa.DictionaryArray.from_arrays(indices, unread.dictionary)


def _observed(observations: Any) -> tuple[dict[str, Any], Any]:
    """The observations of each exchange one under the other, as columns, and the names that they are about."""
    offsets, values = listed(observations)
    row = np.repeat(np.arange(len(observations), dtype=np.int32), np.diff(offsets))
    seen: dict[str, Any] = {name: small(pc.struct_field(values, name)) for name in _OBSERVED}
    seen["eta_s"] = small(seen["eta_s"].dictionary_encode())  # hardly ever there
    lists = {name: listed(seen[name]) for name in _KEYS}
    alike: Any = pa.chunked_array([keys for _, keys in lists.values()]).unify_dictionaries()
    for (name, (begins, _)), keys in zip(lists.items(), alike.chunks, strict=True):
        seen[name] = as_lists(begins, keys.indices)
    return {**seen, "row": row}, alike.chunk(0).dictionary


def _authorities(exchanges: pa.Table) -> Any:
    """Of each exchange the host, and the port where it is not the scheme's default: :func:`exchange.authority`."""
    port, host = _port(exchanges), spelled(whole(exchanges["host"]))
    host = pc.if_else(pc.match_substring(host, ":"), joined("[", host, "]"), host)
    return pc.if_else(pa.array(port == 0), host, joined(host, ":", pa.array(port).cast(pa.string())))


def endpoint_names(exchanges: pa.Table) -> Any:
    """``METHOD template`` of each exchange, as numbers into those that differ."""
    method, endpoint = (whole(exchanges[name]) for name in ("method", "endpoint"))
    number = numbered(coded(method), coded(endpoint))
    first, which = distinct(number)
    return called(which, joined(method.take(at(first)), " ", endpoint.take(at(first))))
