"""Waits: each instruction to wait, and the next request that it governed.

A wait is opened by an instruction on the submit, a join or a non-final poll of an operation, on every 429,
503, 413 and 3xx, on an answer that throttles whatever its status (a cart's), and on a read of an idle resource
(a checkout's GET outside an operation).  The status decides the scope first:

=============================  =======================================================================
answer                         governed is the next …
=============================  =======================================================================
429, 503, 413, "throttled"     request of the same client to the same host; to another method or path
(without X-Checkout-Queue)     only if it starts more than 100 ms later, before that it was under way
3xx                            request of the same client to the address redirected to
else, in an operation          poll, join or resubmit of the operation
else                           request of the same client, method, host and path
=============================  =======================================================================

that starts at or after the response's end.  A date is only as good as a second, a delay is good to 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
from ibis import _

from polltape.operations.columns import Flags, Ints
from polltape.operations.covered import Covered
from polltape.operations.fold import FINAL
from polltape.operations.governed import governing
from polltape.operations.lives import Lives
from polltape.operations.tables import asked, framed, kept, ordered, taken
from polltape.operations.timeline import Timeline, with_throttled_in_words


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much too early is still in time, in seconds: for delays, and for dates (which have whole seconds)."""

    delay_s: float = 0.010
    date_s: float = 1.0


THROTTLED: Final = (429, 503, 413)
LONGEST_S: Final = 1e12
"""Longer waits are counted as this: an instant so far off still fits 64 bits of microseconds."""
_OF_RESPONSE: Final = (
    *("starts", "exchange_id", "operation", "closed", "scope"),
    *("client", "host", "method", "endpoint", "status"),
    *("source", "raw", "klass", "clock", "tolerance", "rated", "asked_s", "response_start_us", "end_us"),
)
"""What a wait tells of the response that opened it."""


def openers(connection: Any, timeline: Timeline, lives: Lives) -> ir.Table:
    """Every response with an instruction, usable or not, that could open a wait, with its operation and scope.

    ``starts`` and ``ends`` of the exchange, ``number`` and ``operation`` (its id), ``closed`` (rank of the operation's
    end), ``throttles`` (answers as a 429 does, whatever its status; these are here without an instruction, too),
    ``scope`` (``host``, ``redirect``, ``operation`` or ``request``), ``usable`` (whether a wait begins here).
    """
    idle: Any = lives.outside["starts"].unique()
    outside = taken(connection, "outside", pa.table({"idle": idle}))
    return kept(connection, "openers", _openers, timeline.rows, timeline.observed, lives.parts, lives.numbers, outside)


def _openers(rows: ir.Table, observed: ir.Table, parts: ir.Table, numbers: ir.Table, outside: ir.Table) -> ir.Table:
    rows = rows.filter(_.ended).select("starts", "ends", "status", "queued", "klass", "asked_s")
    rows = with_throttled_in_words(rows, observed, "throttles")
    by_status = rows.status.isin(THROTTLED) | rows.status.between(300, 399)
    rows = rows.filter(_.klass.notnull() | _.throttles).mutate(by_status=by_status.fill_null(False))
    # An answer opens no wait for an operation that it ends; as a 413 or a 303 it still opens one, without it.
    part = parts.filter(~_.state.isin(sorted(FINAL)).fill_null(False)).drop("protocol")
    part = part.join(rows.select("starts", "by_status"), "starts")
    part = part.filter(_.role.isin(["submit", "join", "poll"]) | _.by_status)
    part = part.group_by("starts").agg(number=_.number.argmin(_.precedence)).rename(part="starts")
    joined = rows.left_join(part, _.starts == part.part).left_join(outside, _.starts == outside.idle)
    joined = joined.filter(_.by_status | _.throttles | _.number.notnull() | _.idle.notnull())
    named = numbers.select("operation", "closed", of="number")
    joined = joined.left_join(named, _.number == named.of)
    scope = ibis.cases(
        ((joined.status.isin(THROTTLED) & ~joined.queued) | joined.throttles, "host"),
        (joined.status.between(300, 399), "redirect"),
        (joined.operation.notnull(), "operation"),
        else_="request",
    )
    usable = joined.asked_s.notnull()
    return joined.select("starts", "ends", "number", "operation", "closed", "throttles", scope=scope, usable=usable)


def waits(
    connection: Any, timeline: Timeline, opening: ir.Table, lives: Lives, covered: Covered, tolerance: Tolerance
) -> pd.DataFrame:
    """One row a wait that one of the ``opening`` responses opened; instants in microseconds since 1970.

    Columns: :data:`_OF_RESPONSE` as in the timeline and in :func:`openers`, ``next_exchange``, ``next_starts``,
    ``next_start_us``, ``deadline_us``, ``slack_us``, ``waited_s``, ``margin_s``, ``verdict``, ``rated`` (counts in
    the compliance rate), and ``protocol`` and ``kind`` of the operation.  Ordered by response end, then exchange.
    """
    governed = taken(connection, "governed", governing(connection, timeline.rows, lives.parts, opening))
    found = asked(connection, _waits, timeline.rows, opening, governed, lives.numbers)
    return _judged(framed(ordered(found, ["end_us", "exchange_id"])), covered, tolerance)


def _waits(rows: ir.Table, opening: ir.Table, governed: ir.Table, numbers: ir.Table) -> ir.Table:
    usable = opening.filter(_.usable).join(governed, "starts").drop("ends", "usable", "throttles")
    nexts = rows.select(next_exchange="exchange_id", next_start_us="start_us", next_starts="starts")
    told = rows.select(*(name for name in _OF_RESPONSE if name in rows.columns))
    joined = usable.join(told, "starts").left_join(nexts, "next_starts")
    kinds = numbers.select("protocol", "kind", of="number")
    joined = joined.left_join(kinds, _.number == kinds.of)
    return joined.select(*_OF_RESPONSE, "next_exchange", "next_starts", "next_start_us", "protocol", "kind")


def _judged(table: pd.DataFrame, covered: Covered, tolerance: Tolerance) -> pd.DataFrame:
    """With waited, margin and verdict; all in whole microseconds, so that no rounding decides."""
    end_us = table["end_us"].to_numpy(dtype=np.int64)
    next_us, headers_us = (_or_zero(table[name]) for name in ("next_start_us", "response_start_us"))
    governs, answered = (table[name].notna().to_numpy() for name in ("next_start_us", "response_start_us"))
    asked_us = np.rint(np.minimum(table["asked_s"].to_numpy(dtype=np.float64), LONGEST_S) * 1e6).astype(np.int64)
    waited_us, since_headers_us = next_us - end_us, next_us - headers_us
    dated = (table["tolerance"] == "date").to_numpy()
    slack_us = np.where(dated, round(tolerance.date_s * 1e6), round(tolerance.delay_s * 1e6))
    until_us, deadline_us = covered.until_each(end_us), end_us + asked_us
    early = (waited_us - asked_us < -slack_us) & ((since_headers_us - asked_us < -slack_us) | ~answered)
    in_time = waited_us <= asked_us + np.maximum(asked_us, 1_000_000)
    unended = table["closed"].isna().to_numpy()
    conditions = [~governs & ~unended, ~governs & (until_us > deadline_us), ~governs, early, in_time]
    verdict = np.select(conditions, range(5), 5)
    return table.assign(
        deadline_us=deadline_us,
        slack_us=slack_us,
        waited_s=_seconds(waited_us, governs),
        margin_s=_seconds(waited_us - asked_us, governs),
        verdict=np.array(_VERDICTS, dtype=object)[verdict],
        rated=governs & (deadline_us <= until_us) & table["rated"].to_numpy(dtype=np.bool_),
    ).reset_index(drop=True)


_VERDICTS: Final = ("void", "unanswered", "open", "early", "kept", "late")


def _or_zero(column: pd.Series[int]) -> Ints:
    return column.to_numpy(dtype=np.float64, na_value=0.0).astype(np.int64)


def _seconds(us: Ints, known: Flags) -> pd.Series[float]:
    return pd.Series(pd.arrays.FloatingArray(us / 1e6, ~known))
