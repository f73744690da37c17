"""How long operations take: Kaplan-Meier with the unfinished ones counted, brackets beside.

A poller only ever sees a bracket: the server completed somewhere in (``lower_s``, ``upper_s``].  Quantiles
are of the time the client lived to *any* end; those on ``lower_s`` bound the server's own time from below.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from polltape.measures.statistics import Flags, Floats, SurvivalCurve, aalen_johansen, kaplan_meier
from polltape.measures.turnbull import Masses, turnbull
from polltape.operations.fold import FINAL
from polltape.protocols import protocol_named

OUTCOMES: Final = ("completed", "failed", "rejected", "action_required", "superseded", "abandoned", "pending")
QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
GROUP: Final = ["protocol", "kind", "host"]
_MEASURED: Final = ["truncated", "outcome", "duration_s", "lower_s", "upper_s", "observed_s"]
MOST_ESTIMATES: Final = 200
"""A table of more groups has no estimates by Turnbull: each is iterated, some ten milliseconds."""


def durations(operations: pd.DataFrame, at_once: pd.DataFrame) -> pd.DataFrame:
    """One row for each protocol, kind and host; columns as in the JSON contract.

    ``operations``: the table of operations.  ``at_once``: protocol, kind, host of the writes that ended in
    their own answer.  A quantile that the data does not reach is null.
    """
    counts = at_once.groupby(GROUP).size()
    groups = operations[[*GROUP, *_MEASURED]].groupby(GROUP, dropna=False, sort=True)
    estimated = groups.ngroups <= MOST_ESTIMATES
    rows = [_row(dict(zip(GROUP, names, strict=True)), group, counts, estimated) for names, group in groups]
    return pd.DataFrame(rows).astype({"at_once": "Int64"}) if rows else pd.DataFrame()


def survival(group: pd.DataFrame) -> tuple[SurvivalCurve, SurvivalCurve]:
    """The Kaplan-Meier curves of a group of whole operations: by ``duration_s`` and by ``lower_s``."""
    lived, ended = lived_times(group)
    return kaplan_meier(lived, ended), kaplan_meier(group["lower_s"].to_numpy(), ended)


def lived_times(group: pd.DataFrame) -> tuple[Floats, Flags]:
    """Seconds to the end, or to where the operation was last seen; and whether it had ended."""
    ended = group["outcome"].isin(FINAL).to_numpy(dtype=np.bool_)
    return np.where(ended, group["duration_s"], group["observed_s"]).astype(np.float64), ended


def brackets(group: pd.DataFrame) -> Masses:
    """Turnbull's estimate of the server's own time, from the brackets of a group of whole operations."""
    ended = group["outcome"].isin(FINAL).to_numpy(dtype=np.bool_)
    upper = np.where(ended, group["upper_s"].fillna(group["duration_s"]), np.inf).astype(np.float64)
    return turnbull(np.minimum(group["lower_s"].to_numpy(dtype=np.float64), upper), upper)


def _row(names: dict[str, Any], group: pd.DataFrame, at_once: pd.Series[int], estimated: bool) -> dict[str, Any]:
    whole = group[~group["truncated"].astype(bool)]
    protocol = protocol_named(names["protocol"])
    counted = protocol is None or protocol.counts_at_once
    row = names | {"operations": len(whole)}
    times = whole["outcome"].value_counts()
    row |= {outcome: int(times.get(outcome, 0)) for outcome in OUTCOMES}
    row["truncated"] = len(group) - len(whole)
    row["at_once"] = int(at_once.get(tuple(names.values()), 0)) if counted else None
    server = brackets(whole).quantile(0.5) if estimated else None
    row["p50_turnbull_low_s"], row["p50_turnbull_high_s"] = server or (None, None)
    return row | _quantiles(whole) | _shares(whole)


def _quantiles(whole: pd.DataFrame) -> dict[str, float | None]:
    names = [f"{name}_s" for name in QUANTILES] + [f"{name}_lower_s" for name in QUANTILES]
    if whole.empty:
        return dict.fromkeys([*names, "p50_low_s", "p50_high_s", "bracket_s", "longest_s"])
    lived, lower = survival(whole)
    low, high = lived.median_interval()
    width = (whole["upper_s"] - whole["lower_s"]).dropna()
    found = {f"{name}_s": lived.quantile(p) for name, p in QUANTILES.items()}
    found |= {f"{name}_lower_s": lower.quantile(p) for name, p in QUANTILES.items()}
    return found | {
        "p50_low_s": low,
        "p50_high_s": high,
        "bracket_s": float(width.median()) if len(width) else None,
        "longest_s": float(whole["duration_s"].fillna(whole["observed_s"]).max()),
    }


def _shares(whole: pd.DataFrame) -> dict[str, Any]:
    """Competing risks: the share of each end by the longest time seen, and the shares of those who left."""
    if whole.empty:
        return {"horizon_s": None, "shares": {}, "abandoned_share": None, "superseded_share": None}
    ended = whole["outcome"].isin(FINAL)
    lived = whole["duration_s"].where(ended, whole["observed_s"])
    horizon = float(lived.max())
    return {
        "horizon_s": horizon,
        "shares": aalen_johansen(lived.to_numpy(), whole["outcome"].where(ended, None), horizon),
        "abandoned_share": float((whole["outcome"] == "abandoned").mean()),
        "superseded_share": float((whole["outcome"] == "superseded").mean()),
    }
