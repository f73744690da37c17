"""The narrow tables that everything is measured from: one row an exchange, one row an observation.

Instants are on one clock, and all starts and ends of the capture have one order.  ``rows``, one an exchange:

==================  ==========================================================================
column              meaning
==================  ==========================================================================
exchange_id         as recorded
session_id          recording session
client, host        pseudonym; host without port
scheme, port,       of the URL, redacted (:func:`authority_of`, :func:`url_of`)
path, query
method, endpoint    the method, and the template of the path
digest              of the request's body; null where it is unknown
request_unread,     why a body is not there to be read; null where it is, or has no kind that is read
answer_unread
status, error       the answer, or what took its place
start_us            request start, microseconds since 1970
response_start_us   response start, null where unknown
end_us              response end, or the latest known instant
ended               whether the response end is known
starts, ends        ranks: one order of all starts and ends.  At one instant the ends of earlier
                    requests come first, then the requests that took no time at all, one after the
                    other, then the starts of the others.  ``starts`` names the exchange elsewhere
source, raw, klass, the instruction to wait
asked_s, clock,
tolerance, lines,
rated
queued              whether the answer carries X-Checkout-Queue
redirect            absolute URL that a 3xx names
request_id          X-Request-Id of the answer
api_version         X-Shopify-API-Version of the answer
graphql             GraphQL operation of the request, null without one
==================  ==========================================================================

``observed``, one an observation: the columns of :class:`~polltape.operations.fold.Seen`, where requests have numbers
(:func:`line_of`, :func:`write_of`, :func:`target_of`), and the other fields of
:class:`~polltape.exchange.Observation`.  Those of one exchange stand in their order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis import _

from polltape.capture.bodies import OTHER_TYPE
from polltape.exchange import DEFAULT_PORTS, Observation
from polltape.operations.instants import Instants, Step, each_once, on_one_clock, ranks
from polltape.operations.tables import asked, beside, epoch_us, hashed, kept, lent, seen_as

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

_PLAIN: Final = (
    *("exchange_id", "session_id", "client", "method", "scheme", "host", "port", "path", "query", "endpoint"),
    *("status", "error", "redirect", "queued", "request_id", "api_version", "graphql"),
)
_INSTRUCTION: Final = ("source", "raw", "klass", "asked_s", "clock", "tolerance", "lines", "rated")
_MONOTONIC: Final = ("request_started_mono_ns", "response_started_mono_ns", "response_ended_mono_ns")
_OBSERVED: Final = tuple(Observation.__dataclass_fields__)
_OF_ROW: Final = (
    *("exchange_id", "starts", "ends", "start_us", "response_start_us", "end_us"),
    *("status", "asked_s", "host", "client"),
)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The tables of the module's text, and each time that the recorder's wall clock was set."""

    rows: ir.Table
    observed: ir.Table
    steps: tuple[Step, ...] = ()

    def only(
        self, connection: Any, name: str, query: Callable[..., ir.Table], *tables: ir.Table, **given: Any
    ) -> Timeline:
        """The exchanges that a query over the rows, and over these tables, leaves."""
        rows = kept(connection, name, query, self.rows, *tables, **given)
        return Timeline(rows, kept(connection, f"{name} observed", _of_rows, self.observed, rows), self.steps)


def timeline(connection: Any, capture: Capture) -> Timeline:
    """A capture's timeline as tables of the connection, each exchange once."""
    found = _recorded(connection, capture)
    read = asked(connection, _instants, found)
    once = each_once(read["id"], lambda: asked(connection, _names, found))
    instants = Instants.of(read)
    steps = on_one_clock(instants, read)
    starts, ends = ranks(instants, once, lambda: asked(connection, _ids, found)["exchange_id"])
    placed: dict[str, Any] = {"once": once, "starts": starts, "ends": ends, **instants.columns()}
    found = beside(connection, "placed", found, lent(connection, "places", pa.table(placed)))
    rows = kept(connection, "timeline", _rows, found)
    observed = kept(connection, "observed", _observed, found)
    connection.con.unregister("places")
    return Timeline(rows, observed, steps)


def _recorded(connection: Any, capture: Capture) -> ir.Table:
    """Every source's rows under one name, one source behind the other; read where it is used."""
    parts = []
    if capture.files:
        # Not hive-partitioned: the folder's date is for people, the instants are in the rows.
        files = [str(path) for path in capture.files]
        read = connection.read_parquet(files, table_name="files", hive_partitioning=False, union_by_name=True)
        parts.append(read)
    if capture.table is not None:
        parts.append(lent(connection, "imported", capture.table))
    return seen_as(connection, "recorded", _narrowed, *parts)


def _narrowed(*parts: ir.Table) -> ir.Table:
    selected = [_select(part) for part in parts]
    return selected[0] if len(selected) == 1 else ibis.union(*selected)


def _select(part: ir.Table) -> ir.Table:
    end = ibis.coalesce(
        part.response_ended_at, part.response_started_at, part.request_ended_at, part.request_started_at
    )
    return part.select(
        *_PLAIN,
        *_MONOTONIC,
        "observations",
        wall_start_us=epoch_us(part.request_started_at),
        wall_response_us=epoch_us(part.response_started_at),
        wall_end_us=epoch_us(end),
        ended=part.response_ended_at.notnull() & part.status.notnull(),
        digest=part.request_body["digest"],
        request_unread=_unread(part.request_body["not_stored"]),
        answer_unread=_unread(part.response_body["not_stored"]),
        **{name: part.instruction[name] for name in _INSTRUCTION},
    )


def _unread(not_stored: ir.StringValue) -> ir.StringValue:
    return not_stored.nullif(OTHER_TYPE)


def _instants(found: ir.Table) -> ir.Table:
    walls = ("wall_start_us", "wall_response_us", "wall_end_us")
    return found.select("session_id", *walls, *_MONOTONIC, id=hashed(found.exchange_id))


def _ids(found: ir.Table) -> ir.Table:
    return found.select("exchange_id")


def _names(found: ir.Table) -> ir.Table:
    return found.select("exchange_id", "session_id", "wall_start_us")


def _rows(placed: ir.Table) -> ir.Table:
    once = placed.filter(_.once)
    instants = ("start_us", "response_start_us", "end_us", "ended", "starts", "ends")
    return once.select(*_PLAIN, "digest", "request_unread", "answer_unread", *instants, *_INSTRUCTION)


def _observed(placed: ir.Table) -> ir.Table:
    """Not ``Table.unnest``: that is a lateral join, for which DuckDB hashes whole rows, lists and all."""
    once = placed.filter(_.once)
    requests = {"line": line_of(once), "write": write_of(once)}
    sent = {name: once[name] for name in ("method", "scheme", "port", "path", "digest")}
    each = once.select(*_OF_ROW, **requests, **sent, seen=once.observations.unnest())
    again = each.seen["role"].startswith("resubmit")
    target = again.ifelse(target_of(each), ibis.null("uint64"))
    return each.select(*_OF_ROW, *requests, target=target, **{name: each.seen[name] for name in _OBSERVED})


def _of_rows(observed: ir.Table, rows: ir.Table) -> ir.Table:
    return observed.semi_join(rows, "starts")


def with_throttled_in_words(rows: ir.Table, observed: ir.Table, name: str) -> ir.Table:
    """The rows with whether the body of the answer says that it throttles, whatever its status."""
    said = observed.filter(_.throttled).select(said="starts").distinct()
    told = rows.left_join(said, _.starts == said.said)
    return told.mutate(**{name: told.said.notnull()}).drop("said")


def port_of(rows: ir.Table) -> ir.IntegerValue:
    """The port, 0 where it is the scheme's default."""
    default_port = ibis.cases(*((rows.scheme == s, p) for s, p in DEFAULT_PORTS.items()), else_=-1)
    return (rows.port == default_port).ifelse(0, rows.port)


def authority_of(rows: ir.Table) -> ir.StringValue:
    """Host, and the port where it is not the scheme's default."""
    port = port_of(rows)
    return (port == 0).ifelse(rows.host, rows.host.concat(":", port.cast("string")))


def url_of(rows: ir.Table) -> ir.StringValue:
    """The absolute URL, redacted."""
    query = rows.query.isnull().ifelse("", ibis.literal("?").concat(rows.query.fill_null("")))
    return rows.scheme.concat("://", authority_of(rows), rows.path, query)


def line_of(rows: ir.Table) -> ir.IntegerValue:
    """A number that is equal for equal methods and paths.

    The numbers of requests have 64 bits: among ten million that differ, two are equal once in 400,000 captures.
    """
    return hashed(rows.method.concat(" ", rows.path))


def write_of(rows: ir.Table) -> ir.IntegerValue:
    """A number that is equal for the same request, body included; null where the body is unknown."""
    return _known(rows, rows.method.concat(" ", rows.path, " ", rows.digest))


def target_of(rows: ir.Table) -> ir.IntegerValue:
    """A number that is equal for the same request of one client to one server; null where the body is unknown."""
    whose = rows.client.fill_null("").concat("|", authority_of(rows), "|", rows.method, " ", rows.path)
    return _known(rows, whose.concat(" ", rows.digest))


def _known(rows: ir.Table, request: ir.StringValue) -> ir.IntegerValue:
    return rows.digest.isnull().ifelse(ibis.null("uint64"), hashed(request))
