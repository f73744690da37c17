"""The narrow table that everything is measured from: one row an exchange, instants on one clock, in one order.

==================  ==========================================================================
column              meaning
==================  ==========================================================================
exchange_id         as recorded
session_id          recording session
client, host        pseudonym; host without port
authority           host, with the port where it is not the scheme's default
url                 absolute URL, redacted
method, path,       the request line, and the template of its path
endpoint
write               identity of the request: method, path, body digest; null where unknown
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
redirect            absolute URL that a 3xx names
request_id          X-Request-Id of the answer
api_version         X-Shopify-API-Version of the answer
graphql             GraphQL operation of the request, null without one
observations        list of struct, as stored
==================  ==========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis import _

from polltape.exchange import DEFAULT_PORTS
from polltape.operations.tables import asked, drop, kept, lent

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

CLOCK_STEP_US: Final = 500_000
"""Wall clock and monotonic clock apart by this much more than a moment ago: the wall clock was set."""


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def epoch_us(instant: dt.Timestamp("UTC")) -> dt.int64:  # type: ignore[valid-type]
    """Microseconds since 1970."""


_PLAIN: Final = (
    "exchange_id",
    "session_id",
    "client",
    "method",
    "scheme",
    "host",
    "port",
    "path",
    "query",
    "endpoint",
    "status",
    "error",
    "redirect",
    "queued",
    "request_id",
    "api_version",
    "graphql",
    "observations",
)
_MONOTONIC: Final = ("request_started_mono_ns", "response_started_mono_ns", "response_ended_mono_ns")
_INSTANTS: Final = ("start_us", "response_start_us", "end_us")
_INSTRUCTION: Final = ("source", "raw", "klass", "asked_s", "clock", "tolerance", "lines", "rated")


def timeline(connection: Any, rows: ir.Table, *, stepped: bool) -> ir.Table:
    """The timeline of :func:`narrow` rows as a table of the connection; columns as in the module's text.

    ``stepped``: :func:`clock_steps` has found some.
    """
    return kept(connection, "timeline", _timeline, rows, stepped=stepped)


def _timeline(rows: ir.Table, *, stepped: bool) -> ir.Table:
    rows = _on_one_clock(rows) if stepped else rows
    # A HAR's numbers may contradict each other: nothing ends before it starts.
    return _ranked(rows.mutate(end_us=ibis.greatest(rows.end_us, rows.start_us))).drop(*_MONOTONIC)


def narrow(connection: Any, capture: Capture) -> ir.Table:
    """Every source's rows as a table of the connection, only the columns that are measured, each exchange once."""
    parts = []
    if capture.files:
        # Not hive-partitioned: the folder's date is for people, the instants are in the rows.
        files = [str(path) for path in capture.files]
        read = connection.read_parquet(files, table_name="files", hive_partitioning=False, union_by_name=True)
        parts.append(read)
    if capture.table is not None:
        parts.append(lent(connection, "imported", capture.table))
    rows = kept(connection, "recorded", _narrowed, *parts)
    known = asked(connection, _copies, rows).to_pylist()[0]
    if known["rows"] == known["ids"]:
        return rows
    once = kept(connection, "once", _once, rows)
    drop(connection, rows)
    return once


def _narrowed(*parts: ir.Table) -> ir.Table:
    selected = [_select(part) for part in parts]
    return selected[0] if len(selected) == 1 else ibis.union(*selected)


def _copies(rows: ir.Table) -> ir.Table:
    """Equal ids have equal hashes; the other way round nearly always, and where not nothing is lost but time."""
    return rows.agg(rows=_.count(), ids=_.exchange_id.hash().nunique())


def _once(rows: ir.Table) -> ir.Table:
    copy = ibis.row_number().over(group_by="exchange_id", order_by=["start_us", "session_id"])
    return rows.mutate(copy=copy).filter(_.copy == 0).drop("copy")


def _select(part: ir.Table) -> ir.Table:
    default_port = ibis.cases(*((part.scheme == s, p) for s, p in DEFAULT_PORTS.items()), else_=-1)
    authority = (part.port == default_port).ifelse(part.host, part.host.concat(":", part.port.cast("string")))
    query = part.query.isnull().ifelse("", ibis.literal("?").concat(part.query.fill_null("")))
    end = ibis.coalesce(
        part.response_ended_at, part.response_started_at, part.request_ended_at, part.request_started_at
    )
    return part.select(
        *_PLAIN,
        *_MONOTONIC,
        authority=authority,
        url=part.scheme.concat("://", authority, part.path, query),
        write=part.method.concat(" ", part.path, " ", part.request_body["digest"]),
        start_us=epoch_us(part.request_started_at),
        response_start_us=epoch_us(part.response_started_at),
        end_us=epoch_us(end),
        ended=part.response_ended_at.notnull() & part.status.notnull(),
        **{name: part.instruction[name] for name in _INSTRUCTION},
    )


def _readings(rows: ir.Table) -> ir.Table:
    """Every pair of wall clock and monotonic clock, and how far the wall clock has been set since the first.

    ``set_us`` is this reading's step, ``offset_us`` the sum of all steps up to it.
    """
    pairs = ibis.union(
        *(
            rows.filter(rows[mono].notnull() & rows[wall].notnull()).select(
                "exchange_id",
                "session_id",
                instant=ibis.literal(wall),
                wall_us=rows[wall],
                apart_us=rows[wall] - rows[mono] // 1000,
                mono_ns=rows[mono],
            )
            for wall, mono in zip(_INSTANTS, _MONOTONIC, strict=True)
        )
    )
    in_order = ibis.window(group_by="session_id", order_by=["mono_ns", "exchange_id"])
    pairs = pairs.mutate(change_us=_.apart_us - _.apart_us.lag().over(in_order))
    pairs = pairs.mutate(set_us=(_.change_us.abs() > CLOCK_STEP_US).ifelse(_.change_us, 0).fill_null(0))
    return pairs.mutate(
        offset_us=_.set_us.sum().over(
            ibis.cumulative_window(group_by="session_id", order_by=["mono_ns", "exchange_id"])
        )
    )


def clock_steps(connection: Any, rows: ir.Table) -> list[tuple[str, int, float]]:
    """Each time the recorder's wall clock was set: (session, microseconds since 1970, seconds it moved)."""
    if not asked(connection, _apart, rows).to_pylist()[0]["sessions"]:
        return []  # the cheap answer, nearly always
    found = asked(connection, _steps, rows).to_pylist()
    return [(row["session_id"], int(row["wall_us"]), row["set_us"] / 1e6) for row in found]


def _apart(rows: ir.Table) -> ir.Table:
    """How many sessions may have a step: their two clocks were not always equally far apart."""
    apart = [rows[wall] - rows[mono] // 1000 for wall, mono in zip(_INSTANTS, _MONOTONIC, strict=True)]
    spread = rows.group_by("session_id").agg(low=ibis.least(*apart).min(), high=ibis.greatest(*apart).max())
    return spread.filter((_.high - _.low) > CLOCK_STEP_US).agg(sessions=_.count())


def _steps(rows: ir.Table) -> ir.Table:
    return (
        _readings(rows)
        .filter(_.set_us != 0)
        .order_by("session_id", "mono_ns")
        .select("session_id", "wall_us", "set_us")
    )


def _on_one_clock(rows: ir.Table) -> ir.Table:
    """The rows with their instants as if the wall clock had never been set after the session's first reading."""
    readings = _readings(rows)
    offsets = readings.group_by("exchange_id").agg(
        **{name: _.offset_us.max(where=_.instant == name) for name in _INSTANTS}
    )
    offsets = offsets.rename({f"{name}_offset": name for name in _INSTANTS}).rename(of="exchange_id")
    joined = rows.left_join(offsets, rows.exchange_id == offsets.of)
    moved = {name: joined[name] - joined[f"{name}_offset"].fill_null(0) for name in _INSTANTS}
    return joined.mutate(**moved).select(*rows.columns)


def _ranked(rows: ir.Table) -> ir.Table:
    """With ``starts`` and ``ends``, the ranks of the exchange's two events among all events."""
    lasts = rows.end_us > rows.start_us
    start = rows.select("exchange_id", at_us="start_us", place=lasts.ifelse(2, 1), is_end=ibis.literal(False))
    end = rows.select("exchange_id", at_us="end_us", place=lasts.ifelse(0, 1), is_end=ibis.literal(True))
    order = ["at_us", "place", "exchange_id", "is_end"]
    ranked = ibis.union(start, end).mutate(rank=ibis.row_number().over(order_by=order))
    ranks = ranked.group_by("exchange_id").agg(starts=_.rank.min(), ends=_.rank.max())
    return rows.join(ranks, "exchange_id")
