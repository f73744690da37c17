"""How often a write is answered "not yet", by endpoint, and whether that grows with the requests under way.

Writes are what the protocols observe as such, whatever they were answered, as long as they were.  PAR calls a 202
an exception; whether it is one, the interval of the share tells.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.measures.answers import endpoints
from polltape.measures.statistics import wilson_bounds
from polltape.operations.columns import Ints, among, at, coded, distinct, flags, ints, joined, numbered
from polltape.operations.tables import framed
from polltape.operations.timeline import endpoint_names
from polltape.protocols import par_posnext, protocol_named

EXCEPTIONS: Final = {par_posnext.NAME: 0.05}
"""Protocols that call a 202 an exception, and up to which share we call it one."""
ENDPOINT: Final = ["protocol", "host", "endpoint"]


def pending_shares(told: pa.Table, counts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row for each protocol, host and endpoint of writes; and the same by how many requests were under way.

    Endpoints are ``METHOD template``.  ``writes``: those that were answered; ``pending``: of these, answered 202 or
    by a body that shows *pending*; ``share``, with its 95 % Wilson interval ``low`` and ``high``.  ``threshold``:
    up to which share the protocol's 202 is an exception, null where it does not call it one; ``exception``: whether
    it is one, null where the interval does not tell.  Endpoints of protocols without a closed set of writes are
    there only if they answered "not yet" at all.

    The second table has ``under_way_from`` and ``under_way_to`` besides: how many requests to that endpoint were
    under way when the write started, itself included, in powers of two.

    ``told``: the table of :func:`~polltape.measures.answers.answered`; ``counts``: that of
    :func:`~polltape.measures.answers.answers`.
    """
    writes = counts[counts["protocol"].notna()]
    found = writes.groupby(ENDPOINT, as_index=False, sort=True).agg(writes=("count", "sum"), pending=("pending", "sum"))
    closed = found["protocol"].map({name: _is_closed(name) for name in found["protocol"].unique()}).astype(bool)
    found = found[closed | (found["pending"] > 0)].reset_index(drop=True)
    found = with_intervals(found)
    threshold = found["protocol"].map(EXCEPTIONS).astype("float64")
    exception = np.select([found["high"] <= threshold, found["low"] > threshold], [True, False], default=None)  # type: ignore[call-overload]
    return found.assign(threshold=threshold, exception=exception), _by_under_way(told, found)


def _is_closed(protocol: str) -> bool:
    known = protocol_named(protocol)
    return known is not None and known.counts_at_once


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """With ``share`` and its 95 % Wilson interval, from ``writes`` and ``pending``."""
    low, high = wilson_bounds(table["pending"], table["writes"])
    return table.assign(share=table["pending"] / table["writes"], low=low, high=high)


def _by_under_way(told: pa.Table, found: pd.DataFrame) -> pd.DataFrame:
    """The shares by powers of two of the requests under way at the endpoint."""
    if found.empty:
        return found.assign(under_way_from=[], under_way_to=[])
    endpoint = endpoints(told)
    first, endpoint = distinct(endpoint)
    names = told.take(at(first))
    meant = among(joined(names["host"], " ", endpoint_names(names)), found["host"] + " " + found["endpoint"])
    among_them = meant[endpoint]
    here, endpoint = told.select(_TOLD).filter(pa.array(among_them)), endpoint[among_them]
    under_way = _under_way(endpoint, ints(here["start_us"]), ints(here["end_us"]))
    write = np.flatnonzero(coded(here["protocol"]))
    power = np.frexp(under_way[write])[1].astype(np.int64) - 1
    number = numbered(endpoint[write], coded(here["protocol"])[write], power)
    first, which = distinct(number)
    names = here.take(at(write[first]))
    columns: dict[str, Any] = {
        "protocol": names["protocol"],
        "host": names["host"],
        "endpoint": endpoint_names(names),
        "writes": at(np.bincount(which, minlength=len(first))),
        "pending": at(np.bincount(which[flags(here["pending"])[write]], minlength=len(first))),
        "under_way_from": at(2 ** power[first]),
        "under_way_to": at(2 ** (power[first] + 1) - 1),
    }
    table = framed(pa.table(columns)).sort_values([*ENDPOINT, "under_way_from"], ignore_index=True)
    return with_intervals(table.merge(found[ENDPOINT], on=ENDPOINT))


_TOLD: Final = ["host", "method", "endpoint", "protocol", "pending", "start_us", "end_us"]


def _under_way(group: Ints, start_us: Ints, end_us: Ints) -> Ints:
    """How many requests of its group were under way when each started, itself included.

    What ends at an instant ends before what begins there; but what takes no time is under way at its instant.

    >>> _under_way(np.zeros(3, np.int64), np.array([1, 2, 5]), np.array([5, 2, 9])).tolist()
    [1, 2, 1]
    """
    count = len(group)
    when = np.concatenate([start_us * 2 + 1, np.maximum(end_us * 2, start_us * 2 + 2)])
    whose = np.concatenate([group, group])
    order = np.lexsort((when, whose))
    begins = order < count
    under_way = np.cumsum(np.where(begins, 1, -1))  # a group that is over leaves nothing
    last = np.append((np.diff(when[order]) != 0) | (np.diff(whose[order]) != 0), True)
    at_once = under_way[np.flatnonzero(last)][np.cumsum(np.append(0, last[:-1]))] if count else under_way
    found = np.empty(count, np.int64)
    found[order[begins]] = at_once[begins]
    return found
