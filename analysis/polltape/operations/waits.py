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

from polltape.operations.covered import Covered
from polltape.operations.fold import FINAL
from polltape.operations.lives import Lives
from polltape.operations.tables import asked, framed, kept, ordered, taken


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much too early is still in time, in seconds: for delays, and for dates (which have whole seconds)."""

    delay_s: float = 0.010
    date_s: float = 1.0


THROTTLED: Final = (429, 503, 413)
UNDER_WAY_US: Final = 100_000
LONGEST_S: Final = 1e12
"""Longer waits are counted as this: an instant so far off still fits 64 bits of microseconds."""
_OF_RESPONSE: Final = (
    *("exchange_id", "operation", "closed", "scope"),
    *("client", "host", "authority", "method", "path", "endpoint", "status"),
    *("source", "raw", "klass", "clock", "tolerance", "rated", "asked_s", "response_start_us", "end_us"),
)
"""What a wait tells of the response that opened it."""


def openers(connection: Any, rows: ir.Table, lives: Lives) -> ir.Table:
    """Every response with an instruction, usable or not, that could open a wait, with its operation and scope.

    Columns of the timeline and ``number``, ``operation`` (its id), ``closed`` (rank of the operation's end),
    ``throttles`` (answers as a 429 does, whatever its status; these are here without an instruction, too), ``scope``
    (``host``, ``redirect``, ``operation`` or ``request``).
    """
    idle = pa.table({"idle": pa.array(lives.outside["exchange_id"].unique(), pa.string())})
    outside = taken(connection, "outside", idle)
    return kept(connection, "openers", _openers, rows, lives.parts, lives.numbers, outside)


def _openers(rows: ir.Table, parts: ir.Table, numbers: ir.Table, outside: ir.Table) -> ir.Table:
    throttles = (rows.observations.filter(lambda o: o["throttled"]).length() > 0).fill_null(False)
    rows = rows.mutate(throttles=throttles).filter(_.ended & (_.klass.notnull() | _.throttles))
    by_status = rows.status.isin(THROTTLED) | rows.status.between(300, 399)
    rows = rows.mutate(by_status=by_status.fill_null(False))
    # An answer opens no wait for an operation that it ends; as a 413 or a 303 it still opens one, without it.
    part = parts.filter(~_.state.isin(sorted(FINAL)).fill_null(False)).drop("protocol")
    part = part.join(rows.select("starts", "by_status"), "starts")
    part = part.filter(_.role.isin(["submit", "join", "poll"]) | _.by_status)
    part = part.group_by("starts").agg(number=_.number.argmin(_.precedence)).rename(part="starts")
    joined = rows.left_join(part, _.starts == part.part)
    joined = joined.left_join(outside, _.exchange_id == outside.idle)
    joined = joined.filter(_.by_status | _.throttles | _.number.notnull() | _.idle.notnull())
    named = numbers.select("operation", "closed", of="number")
    joined = joined.left_join(named, _.number == named.of)
    scope = ibis.cases(
        ((joined.status.isin(THROTTLED) & ~joined.queued) | joined.throttles, "host"),
        (joined.status.between(300, 399), "redirect"),
        (joined.operation.notnull(), "operation"),
        else_="request",
    )
    return joined.mutate(scope=scope).drop("by_status", "of", "idle", "part", "observations")


def waits(
    connection: Any, rows: ir.Table, opening: ir.Table, lives: Lives, covered: Covered, tolerance: Tolerance
) -> pd.DataFrame:
    """One row a wait that one of the ``opening`` responses opened; instants in microseconds since 1970.

    Columns: :data:`_OF_RESPONSE` as in the timeline and in :func:`openers`, ``next_exchange``,
    ``next_start_us``, ``deadline_us``, ``slack_us``, ``waited_s``, ``margin_s``, ``verdict``, ``rated`` (counts in
    the compliance rate), and ``protocol`` and ``kind`` of the operation.  Ordered by response end, then exchange.
    """
    governed = kept(connection, "governed", _governed, rows, lives.parts, opening)
    found = asked(connection, _waits, rows, opening, governed, lives.numbers)
    return _judged(framed(ordered(found, ["end_us", "exchange_id"])), covered, tolerance)


def _waits(rows: ir.Table, opening: ir.Table, governed: ir.Table, numbers: ir.Table) -> ir.Table:
    usable = opening.filter(_.asked_s.notnull())
    nexts = rows.select(next_exchange="exchange_id", next_start_us="start_us", next_starts="starts")
    joined = usable.select("starts", "number", *_OF_RESPONSE).left_join(governed, _.starts == governed.opener)
    joined = joined.left_join(nexts, _.next_rank == nexts.next_starts)
    kinds = numbers.select("protocol", "kind", of="number")
    joined = joined.left_join(kinds, _.number == kinds.of)
    return joined.select(*_OF_RESPONSE, "next_exchange", "next_start_us", "protocol", "kind")


def _governed(rows: ir.Table, parts: ir.Table, opening: ir.Table) -> ir.Table:
    """For each wait (``opener``: the rank of its request) the rank of the request that it governs, null without one."""
    usable = opening.filter(_.asked_s.notnull())
    sent = parts.filter(_.role.isin(["poll", "join", "resubmit"]))
    in_operation = _next(usable.filter(_.scope == "operation"), sent, ["number"])
    here = ["client", "method", "authority", "path"]
    same = _next(usable.filter(_.scope.isin(["request", "host"])), rows, here)
    # A request to elsewhere within 100 ms was under way, so the search for it begins behind that.
    later = usable.filter(_.scope == "host").mutate(end_us=_.end_us + UNDER_WAY_US)
    elsewhere = _next(later, rows, ["client", "authority"], by_rank=False)
    to = usable.filter((_.scope == "redirect") & _.redirect.notnull()).drop("url").rename(url="redirect")
    redirected = _next(to, rows, ["client", "url"])
    found = ibis.union(in_operation, same, elsewhere, redirected)
    return found.group_by("opener").agg(next_rank=_.next_rank.min())


def _next(openers: ir.Table, requests: ir.Table, by: list[str], *, by_rank: bool = True) -> ir.Table:
    """The next request with equal ``by`` columns, by rank at or after the response's end.

    With ``by_rank=False`` by time instead, strictly after ``end_us``.
    """
    starts = requests.semi_join(openers, by).select(
        *by,
        opener=ibis.null("int64"),
        at=requests.starts if by_rank else requests.start_us,
        mark=ibis.literal(0),
        rank=requests.starts,
    )
    marks = openers.select(
        *by,
        opener="starts",
        at=openers.ends if by_rank else openers.end_us,
        mark=ibis.literal(1),  # behind a start at the same instant: strictly after
        rank=ibis.null("int64"),
    )
    following = ibis.window(group_by=by, order_by=["at", "mark", "opener"], preceding=0, following=None)
    both = ibis.union(starts, marks).mutate(next_rank=_.rank.min().over(following))
    return both.filter(_.opener.notnull()).select("opener", "next_rank")


def _judged(table: pd.DataFrame, covered: Covered, tolerance: Tolerance) -> pd.DataFrame:
    """With waited, margin and verdict; all in whole microseconds, so that no rounding decides."""
    asked_us = (table["asked_s"].clip(upper=LONGEST_S) * 1e6).round().astype("int64")
    waited_us = table["next_start_us"].astype("Int64") - table["end_us"]
    since_headers_us = table["next_start_us"].astype("Int64") - table["response_start_us"].astype("Int64")
    slack_us = pd.Series(
        np.where(table["tolerance"] == "date", round(tolerance.date_s * 1e6), round(tolerance.delay_s * 1e6)),
        index=table.index,
    )
    until_us = pd.Series(covered.until_each(table["end_us"].to_numpy(dtype="int64")), index=table.index)
    deadline_us = table["end_us"] + asked_us
    too_early = (waited_us - asked_us < -slack_us) & (since_headers_us - asked_us < -slack_us).fillna(True)
    verdict = np.select(
        [
            waited_us.isna() & table["closed"].notna(),
            waited_us.isna() & (until_us > deadline_us),
            waited_us.isna(),
            too_early.fillna(False).astype(bool),
            (waited_us <= asked_us + asked_us.clip(lower=1_000_000)).fillna(False).astype(bool),
        ],
        ["void", "unanswered", "open", "early", "kept"],
        default="late",
    )
    rated = (
        pd.Series(verdict, index=table.index).isin(["kept", "late", "early"])
        & (deadline_us <= until_us)
        & table["rated"].astype(bool)
    )
    return table.assign(
        deadline_us=deadline_us,
        slack_us=slack_us,
        waited_s=waited_us.astype("Float64") / 1e6,
        margin_s=(waited_us - asked_us).astype("Float64") / 1e6,
        verdict=verdict,
        rated=rated,
    ).reset_index(drop=True)
