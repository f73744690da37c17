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

import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.operations.columns import Flags, Ints, among, at, flags, in_turn, ints, known
from polltape.operations.covered import Covered
from polltape.operations.fold import FINAL
from polltape.operations.governed import NEVER, SCOPES, governing
from polltape.operations.lives import Lives
from polltape.operations.tables import framed
from polltape.operations.timeline import Timeline, places


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much too early is still in time, in seconds: for delays, and for dates (which have whole seconds)."""

    delay_s: float = 0.010
    date_s: float = 1.0


THROTTLED: Final = (429, 503, 413)
LONGEST_S: Final = 1e12
"""Longer waits are counted as this: an instant so far off still fits 64 bits of microseconds."""
NONE: Final = -1
_OF_RESPONSE: Final = (
    *("starts", "exchange_id", "client", "host", "method", "endpoint", "status"),
    *("source", "raw", "klass", "clock", "tolerance", "rated", "asked_s", "response_start_us", "end_us"),
)
"""What a wait tells of the response that opened it."""
_OPENING: Final = ("submit", "join", "poll")


@dataclass(frozen=True, slots=True)
class Openers:
    """Responses that could open a wait, with an instruction or because they throttle; in no order.

    ``row``: of the exchange; ``number``: of its operation, or :data:`NONE`; ``scope``: a place in :data:`SCOPES`;
    ``throttles``: answers as a 429 does, whatever its status; ``usable``: a wait begins here.
    """

    row: Ints
    number: Ints
    scope: Ints
    throttles: Flags
    usable: Flags

    def only(self, which: Flags) -> Openers:
        """Some of them."""
        return Openers(*(getattr(self, name)[which] for name in self.__slots__))


def openers(timeline: Timeline, lives: Lives) -> Openers:
    """Every response with an instruction, usable or not, that could open a wait, with its operation and scope."""
    exchanges = timeline.exchanges
    status = ints(exchanges["status"], NONE)
    throttles, usable = flags(exchanges["in_words"]), known(exchanges["asked_s"])
    redirects = (status >= 300) & (status <= 399)
    by_code = np.isin(status, THROTTLED)
    number = _operations(timeline, lives, by_code | redirects)
    idle = np.zeros(len(exchanges), np.bool_)
    idle[places(exchanges, lives.outside["starts"].unique())] = True
    opens = by_code | redirects | throttles | (number != NONE) | idle
    says = known(exchanges["klass"]) | throttles
    row = np.flatnonzero(flags(exchanges["ended"]) & says & opens)
    scopes = [(by_code & ~flags(exchanges["queued"])) | throttles, redirects, number != NONE]
    scope = np.select([told[row] for told in scopes], range(len(scopes)), len(scopes))
    return Openers(row, number[row], scope, throttles[row], usable[row])


def _operations(timeline: Timeline, lives: Lives, by_status: Flags) -> Ints:
    """Of each exchange the operation whose wait its answer may open, or :data:`NONE`.

    An answer opens no wait for an operation that it ends; as a 413 or a 303 it still opens one, without it.
    """
    parts = lives.played
    row, number = places(timeline.exchanges, ints(parts["starts"])), ints(parts["number"])
    asks = among(parts["role"], _OPENING) | by_status[row]
    which = np.flatnonzero(asks & ~among(parts["state"], sorted(FINAL)))
    # Of several: the one of least precedence, else the one that began first.
    first = np.full(int(number.max(initial=NONE)) + 1, NEVER)
    np.minimum.at(first, number, row)
    order = np.lexsort((number[which], first[number[which]], ints(parts["precedence"])[which]))[::-1]
    found = np.full(len(timeline.exchanges), NONE)
    found[row[which[order]]] = number[which[order]]
    return found


def waits(timeline: Timeline, opening: Openers, lives: Lives, covered: Covered, tolerance: Tolerance) -> pd.DataFrame:
    """One row a wait that one of the ``opening`` responses opened; instants in microseconds since 1970.

    Columns: :data:`_OF_RESPONSE` as in the timeline; ``scope``; ``operation``, ``protocol``, ``kind`` and ``closed``
    (rank of its end) of the operation; ``next_exchange``, ``next_starts``, ``next_start_us``, ``deadline_us``,
    ``slack_us``, ``waited_s``, ``margin_s``, ``verdict``, and ``rated`` (counts in the compliance rate).  Ordered by
    response end, then exchange.
    """
    exchanges = timeline.exchanges
    usable = opening.only(opening.usable)
    end_us = ints(exchanges["end_us"])[usable.row]
    ids: Any = exchanges["exchange_id"]
    order = in_turn(end_us, ids.take(at(usable.row)))
    row, number, scope = usable.row[order], usable.number[order], usable.scope[order]
    next_starts = governing(exchanges, lives.played, row, number, scope)
    governs = next_starts != NEVER
    following = at(places(exchanges, next_starts), ~governs)
    told = exchanges.select(_OF_RESPONSE).take(at(row))
    operations = lives.named.take(at(number, number == NONE))
    columns = {
        **{name: told[name] for name in told.column_names},
        **{name: operations[name] for name in ("operation", "protocol", "kind", "closed")},
        "scope": pa.DictionaryArray.from_arrays(at(scope), pa.array(SCOPES, pa.string())),
        "next_exchange": ids.take(following),
        "next_starts": pa.array(next_starts, mask=~governs),
        "next_start_us": exchanges["start_us"].take(following),
    }
    return _judged(framed(pa.table(columns), categories=True), covered, tolerance)


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
    verdict: Ints = np.select(conditions, range(5), 5).astype(np.int64)
    return table.assign(
        deadline_us=deadline_us,
        slack_us=slack_us,
        waited_s=_seconds(waited_us, governs),
        margin_s=_seconds(waited_us - asked_us, governs),
        verdict=pd.Categorical.from_codes(verdict, pd.Index(_VERDICTS, dtype="str")),
        rated=governs & (deadline_us <= until_us) & table["rated"].to_numpy(dtype=np.bool_),
    ).reset_index(drop=True)


_VERDICTS: Final = ("void", "unanswered", "open", "early", "kept", "late")


def _or_zero(column: pd.Series[int]) -> Ints:
    return column.to_numpy(dtype=np.float64, na_value=0.0).astype(np.int64)


def _seconds(us: Ints, known: Flags) -> pd.Series[float]:
    return pd.Series(pd.arrays.FloatingArray(us / 1e6, ~known))
