"""Who kept to Retry-After: compliance over the waits whose deadline was seen to pass.

rate = (kept + late) / (kept + late + early), over rated waits.  Late is no breach: the instruction is a
minimum; its cost is told in seconds.

All of it is sums over the waits of a group, so a break-down by client or hour may have as many groups as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd

from polltape.measures.groups import codes, grouped
from polltape.measures.statistics import Flags, Floats, Ints, cluster_bootstrap, wilson, wilson_bounds
from polltape.operations.columns import Numbers, coded, distinct, whole

FEWEST_CLIENTS: Final = 10
"""With fewer, nobody can tell how much clients differ: there is no interval by client."""
MOST_INTERVALS: Final = 200
"""A table of more groups has no intervals by client: each takes thousands of samples."""
GROUP: Final = ("protocol", "kind", "host")
RATED: Final = ("kept", "late", "early")
"""Verdicts that are counted over rated waits; :data:`UNRATED` over all."""
UNRATED: Final = ("unanswered", "open", "void")
BREAK_DOWNS: Final[dict[str, tuple[str, ...]]] = {
    "protocol": ("protocol",),
    "kind": ("kind",),
    "host": ("host",),
    "endpoint": ("host", "endpoint"),
    "client": ("client",),
    "status": ("status",),
    "hour": ("hour_us",),
}
"""By what compliance can be broken down, and the columns that make a group of it."""
HOUR_US: Final = 3_600_000_000


def compliance(waits: pd.DataFrame, by: Sequence[str] = GROUP) -> pd.DataFrame:
    """One row for each group of waits, by its names; columns as in the JSON contract.

    ``waits``: the table of waits with the columns of ``by``, client, operation, verdict, rated, waited_s, asked_s.
    ``kept``, ``late`` and ``early`` count rated waits; ``unanswered``, ``open`` and ``void`` count all.
    """
    number, names = grouped(waits, by)
    groups = len(names)
    rated = waits["rated"].to_numpy(dtype=bool)
    verdict = pd.Categorical(waits["verdict"], (*RATED, *UNRATED)).codes
    early, late = (rated & (verdict == RATED.index(name)) for name in ("early", "late"))
    counts = _counted(number, verdict, rated, groups)
    obeyed = counts["kept"] + counts["late"]
    total = obeyed + counts["early"]
    low, high = wilson_bounds(obeyed, total)
    operation, client = coded(whole(waits["operation"])) - 1, codes(waits["client"])[0]
    operations = _distinct(number, operation, rated, groups)
    cluster_low, cluster_high = _by_client(number, client, rated, ~early, groups)
    over_s = (waits["waited_s"][late] - waits["asked_s"][late]).to_numpy(dtype=float)
    return names.assign(
        **counts,
        rate=_share(obeyed, total),
        low=low,
        high=high,
        operations=operations,
        operations_clean=operations - _distinct(number, operation, early, groups),
        clients=_distinct(number, client, rated, groups),
        late_s=np.bincount(number[late], over_s, minlength=groups),
        cluster_low=cluster_low,
        cluster_high=cluster_high,
    )


def broken_down(waits: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Compliance by one or several of :data:`BREAK_DOWNS` together.

    ``endpoint`` is ``METHOD template`` beside its host; ``hour_us`` the beginning of the hour (UTC) in which the
    response ended that asked to wait, microseconds since 1970.
    """
    columns = list(dict.fromkeys(column for name in by for column in BREAK_DOWNS[name]))
    endpoint = waits["method"].astype("str") + " " + waits["endpoint"].astype("str")
    told = waits.assign(endpoint=endpoint, hour_us=waits["end_us"] // HOUR_US * HOUR_US)
    return compliance(told, columns)


def every_break_down(waits: pd.DataFrame) -> pd.DataFrame:
    """Compliance by each of :data:`BREAK_DOWNS` for itself, one under the other.

    ``by`` says which one a row is of; the columns of the others are null there.
    """
    parts = [broken_down(waits, [name]).assign(by=name) for name in BREAK_DOWNS]
    names = dict.fromkeys(column for columns in BREAK_DOWNS.values() for column in columns)
    table = pd.concat(
        [
            part.reindex(columns=["by", *names, *part.columns.difference(["by", *names])]).astype(object)
            for part in parts
        ],
        ignore_index=True,
    )
    return table.astype({"status": "Int64", "hour_us": "Int64"})


def _counted(number: Ints, verdict: Ints, rated: Flags, groups: int) -> dict[str, Ints]:
    """How often each group has each verdict."""
    verdicts = len(RATED) + len(UNRATED)
    counted = rated | (verdict >= len(RATED))
    cells = np.bincount(number[counted] * verdicts + verdict[counted], minlength=groups * verdicts)
    table = cells.reshape(groups, verdicts)
    return {name: table[:, place] for place, name in enumerate((*RATED, *UNRATED))}


def _distinct(number: Ints, names: Numbers, which: Flags, groups: int) -> Ints:
    """How many different names each group has among those waits; unknown ones (-1) count for nothing."""
    known = which & (names >= 0)
    most = int(names.max(initial=0)) + 1
    pairs = number[known]
    pairs *= most
    pairs += names[known]
    pairs.sort()
    return np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] // most, minlength=groups)


def _by_client(number: Ints, clients: Numbers, rated: Flags, obeying: Flags, groups: int) -> tuple[Floats, Floats]:
    """For each group the 95 % interval of the rate that takes clients, not waits, as independent.

    Unknown with fewer than ten clients, and in a table of more than :data:`MOST_INTERVALS` groups.
    """
    low, high = np.full(groups, np.nan), np.full(groups, np.nan)
    if groups > MOST_INTERVALS:
        return low, high
    width = int(clients.max(initial=0)) + 1
    theirs = rated & (clients >= 0)
    pairs = (number * width + clients)[theirs]
    first, which = distinct(pairs)
    totals, obeyed = np.bincount(which), np.bincount(which[obeying[theirs]], minlength=len(first))
    ends = np.searchsorted(pairs[first], np.arange(groups + 1) * width)
    for group, (start, end) in enumerate(pairwise(ends)):
        if end - start >= FEWEST_CLIENTS:
            low[group], high[group] = clustered(obeyed[start:end], totals[start:end])
    return low, high


def tallied(rated: pd.DataFrame, units: pd.Series[str]) -> tuple[Ints, Ints]:
    """Waits obeyed, and all waits, of each unit (a client, an operation) of rated waits."""
    numbers, names = pd.factorize(units, sort=True)
    obeyed = (rated["verdict"] != "early").to_numpy()
    return np.bincount(numbers[obeyed], minlength=len(names)), np.bincount(numbers, minlength=len(names))


def clustered(obeyed: Ints, totals: Ints, level: float = 0.95) -> tuple[float, float]:
    """The interval of Σ obeyed / Σ totals that takes only the clusters as independent; 0 to 1 without a trial.

    A cluster bootstrap.  With fewer than ten clusters, and where all or none obeyed (each resample would be the
    same), each cluster counts as one trial of Wilson's interval instead.
    """
    waits, kept = int(totals.sum()), int(obeyed.sum())
    few = totals.size < FEWEST_CLIENTS or kept in (0, waits)
    found = (
        wilson(totals.size * kept / max(waits, 1), totals.size, level)
        if few
        else cluster_bootstrap(obeyed, totals, level)
    )
    return found or (0.0, 1.0)


def _share(part: Ints, whole: Ints) -> Floats:
    """Part of whole, unknown where there is nothing."""
    share: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share
