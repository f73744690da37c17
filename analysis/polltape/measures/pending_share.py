"""How often a write is answered "not yet", by endpoint, and whether that grows with the requests under way.

Writes are what the protocols observe as such, whatever they were answered, as long as they were.  PAR calls a 202
an exception; whether it is one, the interval of the share tells.
"""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from ibis import _

from polltape.measures.answers import with_writes
from polltape.measures.statistics import wilson_bounds
from polltape.operations.tables import lent_frame, run
from polltape.operations.timeline import Timeline
from polltape.protocols import par_posnext, protocol_named

EXCEPTIONS: Final = {par_posnext.NAME: 0.05}
"""Protocols that call a 202 an exception, and up to which share we call it one."""
ENDPOINT: Final = ["protocol", "host", "endpoint"]


def pending_shares(timeline: Timeline, answered: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row for each protocol, host and endpoint of writes; and the same by how many requests were under way.

    Endpoints are ``METHOD template``.  ``writes``: those that were answered; ``pending``: of these, answered 202 or
    by a body that shows *pending*; ``share``, with its 95 % Wilson interval ``low`` and ``high``.  ``threshold``:
    up to which share the protocol's 202 is an exception, null where it does not call it one; ``exception``: whether
    it is one, null where the interval does not tell.  Endpoints of protocols without a closed set of writes are
    there only if they answered "not yet" at all.

    The second table has ``under_way_from`` and ``under_way_to`` besides: how many requests to that endpoint were
    under way when the write started, itself included, in powers of two.

    ``answered``: the table of :func:`~polltape.measures.answers.answers`.
    """
    writes = answered[answered["protocol"].notna()]
    found = writes.groupby(ENDPOINT, as_index=False, sort=True).agg(writes=("count", "sum"), pending=("pending", "sum"))
    closed = found["protocol"].map({name: _is_closed(name) for name in found["protocol"].unique()}).astype(bool)
    found = found[closed | (found["pending"] > 0)].reset_index(drop=True)
    found = with_intervals(found)
    threshold = found["protocol"].map(EXCEPTIONS).astype("float64")
    exception = np.select([found["high"] <= threshold, found["low"] > threshold], [True, False], default=None)  # type: ignore[call-overload]
    return found.assign(threshold=threshold, exception=exception), _by_under_way(timeline, found)


def _is_closed(protocol: str) -> bool:
    known = protocol_named(protocol)
    return known is not None and known.counts_at_once


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """With ``share`` and its 95 % Wilson interval, from ``writes`` and ``pending``."""
    low, high = wilson_bounds(table["pending"], table["writes"])
    return table.assign(share=table["pending"] / table["writes"], low=low, high=high)


def _by_under_way(timeline: Timeline, found: pd.DataFrame) -> pd.DataFrame:
    """The shares by powers of two of the requests under way at the endpoint."""
    if found.empty:
        return found.assign(under_way_from=[], under_way_to=[])
    known = lent_frame(timeline.rows, "endpoints", found[["host", "endpoint"]].drop_duplicates())
    by = [*ENDPOINT, "power"]
    table = run(_under_way, timeline.rows, timeline.observed, known, by=by).astype({"pending": "int64"})
    table = table.merge(found[ENDPOINT], on=ENDPOINT)
    table = table.assign(under_way_from=2 ** table["power"], under_way_to=2 ** (table["power"] + 1) - 1)
    return with_intervals(table.drop(columns="power"))


def _under_way(rows: ir.Table, observed: ir.Table, known: ir.Table) -> ir.Table:
    """Writes and pending ones by the power of two of the requests under way when they started."""
    here = with_writes(rows, observed).mutate(endpoint=_.method.concat(" ", _.template))
    here = here.semi_join(known, ["host", "endpoint"])
    here = here.select("host", "endpoint", "start_us", "end_us", "protocol", "pending")
    # Twice the microseconds, so that what ends at an instant ends before what begins there; but what takes no
    # time is under way at its instant.
    begun = here.mutate(at=here.start_us * 2 + 1, change=ibis.literal(1))
    over = here.mutate(
        protocol=ibis.null("string"),
        at=ibis.greatest(here.end_us * 2, here.start_us * 2 + 2),
        change=ibis.literal(-1),
    )
    by_then = ibis.range_window(preceding=None, following=0, group_by=["host", "endpoint"], order_by="at")
    events = ibis.union(begun, over).mutate(under_way=_.change.sum().over(by_then))
    writes = events.filter((_.change > 0) & _.protocol.notnull())
    doubled = writes.mutate(power=_.under_way.log2().floor().cast("int64"))
    return doubled.group_by(*ENDPOINT, "power").agg(writes=_.count(), pending=_.pending.sum())
