"""Journeys through a queue: how long until it let go, until there was a result, and what its estimates were worth.

A journey is an operation of the checkout queue: from the end of the answer that queued a request (t0), over polls
that show *pending* and one that shows *released*, to the answer to the request that was sent again.
"""

from __future__ import annotations

from typing import Any, Final

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from ibis import _

from polltape.measures.durations import lived_times
from polltape.measures.statistics import kaplan_meier
from polltape.operations.columns import among, at, called_by, ints, known, spelled, whole
from polltape.operations.lives import Lives
from polltape.operations.tables import connection_of, lent, lent_frame, run
from polltape.operations.timeline import Timeline
from polltape.protocols import shopify_queue

QUEUE: Final = shopify_queue.NAME
JOURNEY_COLUMNS: Final = (
    *("operation", "host", "client", "outcome", "truncated", "released_us", "release_s", "result_s", "observed_s"),
    *("eta_s", "eta_error_s", "eta_error_share", "polls", "polls_ignored", "number", "eta_row", "release_row"),
)
WRONG_SHARE: Final = 0.5
"""CQ005: an estimate that is wrong by more than this share of itself."""


def journeys(timeline: Timeline, lives: Lives, waits: pd.DataFrame) -> pd.DataFrame:
    """One row a journey, in the order of the operations; columns :data:`JOURNEY_COLUMNS`.

    ``released_us``: the end of the first answer that showed it released; ``release_s``: that less t0;
    ``result_s``: the operation's duration.  ``eta_s``: the first estimate of how long it will last;
    ``eta_error_s``: how much longer than that it took from the estimate's end to the release, below 0 shorter;
    ``eta_error_share``: that as a share of an estimate above 0.  ``polls_ignored``: polls before ``pollAfter``.
    ``number``: of the operation; the two rows are of the exchanges that gave the estimate and the release.  Unknown
    is null; a truncated journey has no t0 and so no times, but its estimate is as good as any.
    """
    table = lives.operations[lives.operations["protocol"] == QUEUE]
    if table.empty:
        return pd.DataFrame(columns=list(JOURNEY_COLUMNS))
    seen = _seen(timeline, lives, waits).set_index("number").reindex(table.index)
    released, told = (seen[name].astype("Int64") for name in ("released_us", "eta_us"))
    eta = seen["eta_s"].astype("float64")
    error = ((released - told) / 1e6).astype("float64") - eta
    return pd.DataFrame(
        {
            "operation": table["id"],
            **{name: table[name] for name in ("host", "client", "outcome", "truncated")},
            "released_us": released,
            "release_s": ((released - table["accepted_us"]) / 1e6).astype("float64"),
            "result_s": table["duration_s"],
            "observed_s": table["observed_s"],
            "eta_s": eta,
            "eta_error_s": error,
            "eta_error_share": (error / eta).where(eta > 0),
            "polls": table["polls"],
            "polls_ignored": seen["ignored"].astype("int64"),
            "number": table.index,
            **{name: seen[name].astype("Int64") for name in ("eta_row", "release_row")},
        }
    ).reset_index(drop=True)


def _seen(timeline: Timeline, lives: Lives, waits: pd.DataFrame) -> pd.DataFrame:
    """For each journey its release, its first estimate, and how many of its polls came before ``pollAfter``."""
    early = ignored_waits(waits, lives)
    cut = pd.DataFrame({"of": called_by(early["operation"]), "hasty": called_by(early["next_exchange"])})
    observed = timeline.observations
    estimated = observed.filter(pa.array(among(observed["protocol"], [QUEUE]) & known(observed["eta_s"])))
    connection = connection_of(lives.parts)
    row = pc.unique(lives.played["row"].filter(pa.array(among(lives.played["protocol"], [QUEUE]))))
    ended = timeline.exchanges.select(["ends", "end_us"]).take(row).append_column("row", row)
    told = pa.table(
        {
            "row": whole(estimated["row"]),
            "eta_s": spelled(whole(estimated["eta_s"])),
            "place": at(np.arange(len(estimated))),
        }
    )
    return run(
        _told,
        *(lent(connection, "ended", ended), lent(connection, "estimates", told), lives.parts),
        lent_frame(connection, "hasty", cut.drop_duplicates()),
    )


def _told(ended: ir.Table, estimates: ir.Table, parts: ir.Table, hasty: ir.Table) -> ir.Table:
    part = parts.filter(_.protocol == QUEUE).select("row", "number", "state")
    part = part.join(ended, "row")
    part = part.left_join(hasty, [part.number == hasty.of, part.row == hasty.hasty])
    first = estimates.group_by("row").agg(eta_s=_.eta_s.argmin(_.place)).rename(estimated="row")
    part = part.left_join(first, part.row == first.estimated)
    out, told = part.state == "released", part.eta_s.notnull()
    return part.group_by("number").agg(
        released_us=part.end_us.argmin(part.ends, where=out),
        release_row=part.row.argmin(part.ends, where=out),
        eta_s=part.eta_s.argmin(part.ends, where=told),
        eta_us=part.end_us.argmin(part.ends, where=told),
        eta_row=part.row.argmin(part.ends, where=told),
        ignored=part.hasty.count(),
    )


def ignored_waits(waits: pd.DataFrame, lives: Lives) -> pd.DataFrame:
    """The waits for ``pollAfter`` that a poll of the queue cut short (CQ001): it ignores such polls."""
    parts = lives.played
    polls = ints(parts["row"])[among(parts["protocol"], [QUEUE]) & among(parts["role"], ["poll"])]
    early = waits[(waits["verdict"] == "early") & (waits["source"] == "pollAfter")]
    return early[np.isin(called_by(early["next_exchange"]), polls)]


def misjudged(travelled: pd.DataFrame) -> pd.DataFrame:
    """The journeys whose first estimate was wrong by more than half of it (CQ005)."""
    return travelled[travelled["eta_error_s"].abs() > travelled["eta_s"] * WRONG_SHARE]


def queues(travelled: pd.DataFrame) -> pd.DataFrame:
    """One row a host, from :func:`journeys`.

    ``journeys`` are the whole ones, ``truncated`` the others.  ``release_*_s``: Kaplan-Meier quantiles of the time
    to release, a journey that was never released being censored at its end or where it was last seen;
    ``result_*_s``: the same of the time to a result.  ``estimated``: journeys with both an estimate and a
    release; ``eta_error_p50_s``: the median of their errors; ``eta_off_p50``: the median of the errors' sizes as
    shares of the estimates; ``eta_wrong``: how many are wrong by more than half.
    """
    groups = travelled.groupby("host", sort=True)
    return pd.DataFrame([{"host": host} | _host(group) for host, group in groups])


def _host(group: pd.DataFrame) -> dict[str, Any]:
    whole = group[~group["truncated"].astype(bool)]
    known = group[group["eta_error_s"].notna()]
    return {
        "journeys": len(whole),
        "released": int(whole["release_s"].notna().sum()),
        "completed": int((whole["outcome"] == "completed").sum()),
        "truncated": len(group) - len(whole),
        **_times(whole),
        "estimated": len(known),
        "eta_error_p50_s": _median(known["eta_error_s"]),
        "eta_off_p50": _median(known["eta_error_share"].abs()),
        "eta_wrong": len(misjudged(known)),
        "polls": int(group["polls"].sum()),
        "polls_ignored": int(group["polls_ignored"].sum()),
    }


def _times(whole: pd.DataFrame) -> dict[str, float | None]:
    if whole.empty:
        return dict.fromkeys(("release_p50_s", "release_p90_s", "result_p50_s", "result_p90_s"))
    lived, ended = lived_times(whole.rename(columns={"result_s": "duration_s"}))
    released = whole["release_s"].notna().to_numpy(dtype=np.bool_)
    times = np.where(released, whole["release_s"], lived).astype(np.float64)
    release, result = kaplan_meier(times, released), kaplan_meier(lived, ended)
    return {
        "release_p50_s": release.quantile(0.5),
        "release_p90_s": release.quantile(0.9),
        "result_p50_s": result.quantile(0.5),
        "result_p90_s": result.quantile(0.9),
    }


def _median(values: pd.Series[float]) -> float | None:
    return float(values.median()) if values.notna().any() else None
