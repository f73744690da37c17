"""How often what was answered where: one pass over all exchanges, from which several measures are summed up."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from polltape.operations.columns import (
    NONE,
    Flags,
    Ints,
    among,
    at,
    called,
    coded,
    distinct,
    flags,
    ints,
    known,
    numbered,
    small,
    where,
    whole,
)
from polltape.operations.tables import framed
from polltape.operations.timeline import Timeline, endpoint_names
from polltape.protocols import throttle

ACCEPTED: Final = 202
TOO_LARGE: Final = 413
"""Throttles only where it says when to come back."""
_UNANSWERED: Final = -1
_ASKED: Final = ("host", "method", "endpoint", "status", "start_us", "end_us")
_CHECKOUT: Final = r"^/(admin|wallets|api)(/.*)?/checkouts(\.json$|/\{token\})"


def answered(timeline: Timeline) -> pa.Table:
    """Of each exchange :data:`_ASKED`, the ``protocol`` that calls it a write, if it is ``pending``, ``throttled``.

    Only requests that were answered have a protocol.  Pending: answered 202, or, to a write, by a body that
    shows it.  Throttled: answered 429 or 503, 413 with an instruction, the queue's aside, or in the words of a body.
    """
    exchanges, observed = timeline.exchanges, timeline.observations
    status = ints(exchanges["status"], _UNANSWERED)
    writing = among(observed["role"], ["write"])
    row = ints(observed["row"])
    pending = status == ACCEPTED
    pending[row[writing & among(observed["state"], ["pending"])]] = True
    protocols: Any = pc.dictionary_encode(whole(observed["protocol"]))
    writer = np.full(len(exchanges), NONE, np.int32)
    # Backwards, so that of several observations the first stays.
    writer[row[writing][::-1]] = ints(protocols.indices)[writing][::-1]
    writer[status == _UNANSWERED] = NONE
    protocol = small(called(writer, protocols.dictionary))
    too_large = (status == TOO_LARGE) & known(exchanges["klass"])
    by_status = (np.isin(status, sorted(throttle.THROTTLED)) | too_large) & ~flags(exchanges["queued"])
    told = {"protocol": protocol, "pending": pa.array(pending)}
    told["throttled"] = pa.array(by_status | flags(exchanges["in_words"]))
    return pa.table({**{name: whole(exchanges[name]) for name in _ASKED}, **told})


def answers(told: pa.Table) -> pd.DataFrame:
    """One row for each host, endpoint (``METHOD template``), status, and protocol that calls it a write.

    ``told``: the table of :func:`answered`.  ``protocol`` is null for what is no write, or was not answered.
    ``checkout``: on a path of Shopify's checkout.  ``count``: exchanges; of these ``pending`` and ``throttled``.
    """
    status = ints(told["status"], _UNANSWERED) - _UNANSWERED
    number = numbered(endpoints(told), status, coded(told["protocol"]))
    first, which = distinct(number)
    sums = {name: np.bincount(which[flags(told[name])], minlength=len(first)) for name in ("pending", "throttled")}
    names = told.take(at(first))
    columns: dict[str, Any] = {
        "host": names["host"],
        "endpoint": endpoint_names(names),
        "status": names["status"],
        "protocol": names["protocol"],
        "checkout": pa.array(on_checkout(names["endpoint"])),
        "count": at(np.bincount(which, minlength=len(first))),
        **{name: at(counts) for name, counts in sums.items()},
    }
    return framed(pa.table(columns)).sort_values(_BY, na_position="last", ignore_index=True).astype({"status": "Int64"})


_BY: Final = ["host", "endpoint", "status", "protocol"]


def endpoints(exchanges: pa.Table) -> Ints:
    """Equal hosts, methods and templates of paths have equal numbers."""
    number = coded(exchanges["host"])
    for name in ("method", "endpoint"):
        number = numbered(number, coded(exchanges[name]))
    return number


def on_checkout(template: Any) -> Flags:
    """Which paths are of Shopify's checkout: their templates say so."""
    return where(template, lambda texts: pc.match_substring_regex(texts, _CHECKOUT))
