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
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.operations.columns import (
    NONE,
    Flags,
    Floats,
    Ints,
    Numbers,
    among,
    at,
    called,
    flags,
    floats,
    in_turn,
    ints,
    known,
    small,
    spelled,
    whole,
)
from polltape.operations.covered import Covered
from polltape.operations.fold import FINAL
from polltape.operations.governed import NEVER, SCOPES, governing
from polltape.operations.lives import Lives
from polltape.operations.tables import framed
from polltape.operations.timeline import Timeline
from polltape.protocols import shopify_queue, throttle


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How much too early is still in time, in seconds: for delays, and for dates (which have whole seconds)."""

    delay_s: float = 0.010
    date_s: float = 1.0

    def slack_us(self, tolerances: Any) -> Ints:
        """The same in microseconds for each of these (``date`` or ``delay``)."""
        return np.where(among(tolerances, ["date"]), round(self.date_s * 1e6), round(self.delay_s * 1e6))


THROTTLED: Final = (429, 503, 413)
LONGEST_S: Final = 1e12
"""Longer waits are counted as this: an instant so far off still fits 64 bits of microseconds."""
_OF_RESPONSE: Final = (
    *("client", "host", "method", "endpoint", "status"),
    *("source", "raw", "klass", "clock", "tolerance", "asked_s", "end_us"),
)
"""What a wait tells of the response that opened it."""
_NAMES: Final = ("exchange_id", "operation", "next_exchange")
_OPENING: Final = ("submit", "join", "poll")
_PRECEDENCE: Final = {shopify_queue.NAME: 0, throttle.NAME: 2}
"""An exchange's wait belongs to the queue it stands in, else to the operation itself, else to its throttling."""


@dataclass(frozen=True, slots=True)
class Openers:
    """Responses that could open a wait, with an instruction or because they throttle; in no order.

    ``row``: of the exchange; ``number``: of its operation, or :data:`NONE`; ``scope``: a place in :data:`SCOPES`;
    ``throttles``: answers as a 429 does, whatever its status; ``usable``: a wait begins here.
    """

    row: Numbers
    number: Numbers
    scope: Numbers
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
    idle[lives.outside["row"]] = True
    opens = by_code | redirects | throttles | (number != NONE) | idle
    says = known(exchanges["klass"]) | throttles
    row = np.flatnonzero(flags(exchanges["ended"]) & says & opens).astype(np.int32)
    scopes = [(by_code & ~flags(exchanges["queued"])) | throttles, redirects, number != NONE]
    scope = np.select([told[row] for told in scopes], np.arange(len(scopes), dtype=np.int8), np.int8(len(scopes)))
    return Openers(row, number[row], scope, throttles[row], usable[row])


def _operations(timeline: Timeline, lives: Lives, by_status: Flags) -> Numbers:
    """Of each exchange the operation whose wait its answer may open, or :data:`NONE`.

    An answer opens no wait for an operation that it ends; as a 413 or a 303 it still opens one, without it.
    """
    parts = lives.played
    row, number = ints(parts["row"]), ints(parts["number"])
    asks = among(parts["role"], _OPENING) | by_status[row]
    which = np.flatnonzero(asks & ~among(parts["state"], sorted(FINAL)))
    found = np.full(len(timeline.exchanges), NONE, np.int32)
    found[row[which]] = number[which]
    # Of several: the one of least precedence, else the one that began first.
    several = which[(np.bincount(row[which], minlength=len(found)) > 1)[row[which]]]
    first = np.full(len(lives.named), NEVER, np.int32)
    np.minimum.at(first, number, row)
    precedence = np.select([among(parts["protocol"], [name]) for name in _PRECEDENCE], [*_PRECEDENCE.values()], 1)
    order = np.lexsort((number[several], first[number[several]], precedence[several]))[::-1]
    found[row[several[order]]] = number[several[order]]
    return found


def waits(timeline: Timeline, opening: Openers, lives: Lives, covered: Covered, tolerance: Tolerance) -> pd.DataFrame:
    """One row a wait that one of the ``opening`` responses opened; instants in microseconds since 1970.

    Columns: :data:`_OF_RESPONSE` as in the timeline; ``scope``; ``operation``, ``protocol`` and ``kind`` of the
    operation; ``exchange_id``, ``next_exchange``, ``waited_s``, ``margin_s``, ``verdict``, and ``rated`` (counts in
    the compliance rate).  Names of exchanges and operations are rows that
    :func:`~polltape.operations.columns.called_by` tells.  Ordered by response end, then exchange.
    """
    exchanges = timeline.exchanges
    usable = opening.only(opening.usable)
    end_us = ints(exchanges["end_us"])[usable.row]
    ids = timeline.ids
    order = in_turn(end_us, lambda tied: called(usable.row[tied], ids))
    row, number, scope = usable.row[order], usable.number[order], usable.scope[order]
    following = governing(timeline, lives.played, row, number, scope)
    following = np.where(following == NEVER, NONE, following)
    response = exchanges.select(_OF_RESPONSE).take(at(row))
    operations = lives.named.select(["protocol", "kind"]).take(at(number, number == NONE))
    columns: dict[str, Any] = {
        "exchange_id": called(row, ids),
        **{name: response[name] for name in response.column_names},
        "asked_s": spelled(whole(response["asked_s"])),
        "operation": lives.ids(number),
        **{name: operations[name] for name in operations.column_names},
        "scope": small(called(scope, pa.array(SCOPES, pa.string()))),
        "next_exchange": called(following, ids),
    }
    told = row, number, following
    judged = pa.concat_tables(
        _judged(timeline, lives, Governed(*(of[first : first + AT_ONCE] for of in told)), covered, tolerance)
        for first in range(0, max(len(row), 1), AT_ONCE)
    )
    columns |= {name: judged[name] for name in judged.column_names}
    return framed(pa.table(columns), names=_NAMES, categories=True)


class Governed(NamedTuple):
    """Of each wait the rows of the response and of the request that it governs, and the number of its operation."""

    row: Numbers
    number: Numbers
    following: Numbers


def _judged(timeline: Timeline, lives: Lives, waits: Governed, covered: Covered, tolerance: Tolerance) -> pa.Table:
    """What became of each wait; all in whole microseconds, so that no rounding decides."""
    of_response = timeline.exchanges.select(_JUDGED).take(at(waits.row))
    end_us, headers_us = (ints(of_response[name]) for name in ("end_us", "response_start_us"))
    governs, answered = waits.following != NONE, known(of_response["response_start_us"])
    next_us = ints(timeline.exchanges["start_us"].take(at(waits.following, ~governs)))
    asked_us = microseconds(floats(of_response["asked_s"]))
    waited_us, since_headers_us = next_us - end_us, next_us - headers_us
    slack_us = tolerance.slack_us(of_response["tolerance"])
    until_us, deadline_us = covered.until_each(end_us), end_us + asked_us
    early = (waited_us - asked_us < -slack_us) & ((since_headers_us - asked_us < -slack_us) | ~answered)
    in_time = waited_us <= asked_us + np.maximum(asked_us, 1_000_000)
    ended = known(lives.named["closed"].take(at(waits.number, waits.number == NONE)))
    conditions = [~governs & ended, ~governs & (until_us > deadline_us), ~governs, early, in_time]
    told = {
        "waited_s": pa.array(waited_us / 1e6, mask=~governs),
        "margin_s": pa.array((waited_us - asked_us) / 1e6, mask=~governs),
        "verdict": small(called(np.select(conditions, range(5), 5), pa.array(_VERDICTS, pa.string()))),
        "rated": pa.array(governs & (deadline_us <= until_us) & flags(of_response["rated"])),
    }
    return pa.table(told)


def microseconds(asked_s: Floats) -> Ints:
    """How long that is to wait, in whole microseconds."""
    return np.rint(np.minimum(asked_s, LONGEST_S) * 1e6).astype(np.int64)


_JUDGED: Final = ("end_us", "response_start_us", "asked_s", "tolerance", "rated")
AT_ONCE: Final = 1 << 20
"""Waits that are judged together: it takes many columns."""
_VERDICTS: Final = ("void", "unanswered", "open", "early", "kept", "late")
