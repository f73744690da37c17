"""The load that polling makes: how many of a host's requests only ask whether something is done."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from polltape.measures.durations import GROUP
from polltape.operations.columns import Ints, among, called_by, ints
from polltape.operations.fold import FINAL
from polltape.operations.lives import Lives
from polltape.operations.tables import framed
from polltape.operations.timeline import Timeline
from polltape.protocols import throttle

SECOND_US: Final = 1_000_000


def polling(timeline: Timeline, lives: Lives, waits: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """One row for each protocol, kind and host with operations; throttling aside, whose retries are no polls.

    ``operations`` and ``polls``: all, truncated ones too; ``completed``: of the operations;
    ``polls_per_completed``: polls / completed, those of operations without an end included: what one result
    costs.  ``polls_p50`` and ``polls_max``: of operations that are whole and have ended.  ``requests``: all of the
    host; ``share``: polls / requests.  ``early``: polls that came before the time asked for.  ``peak_per_s``: the
    most polls that began within any one second.  ``counts``: the table of :func:`~polltape.measures.answers.answers`.
    """
    table = lives.operations[lives.operations["protocol"] != throttle.NAME]
    if table.empty:
        return pd.DataFrame(columns=[*GROUP, "operations"])
    table = table.assign(group=table.groupby(GROUP, dropna=False, sort=True).ngroup())
    completed = table["outcome"] == "completed"
    whole = table["outcome"].isin(FINAL) & ~table["truncated"].astype(bool)
    asked = table[whole].groupby("group")["polls"]
    groups = table.groupby("group")
    load = (
        groups[GROUP]
        .first(skipna=False)
        .assign(
            operations=groups.size(),
            completed=completed.groupby(table["group"]).sum(),
            polls=groups["polls"].sum(),
            polls_p50=asked.median(),
            polls_max=asked.max().astype("Int64"),
        )
    )
    load = load.merge(_seen(timeline, lives, waits), on=GROUP, how="left")
    requests = load["host"].map(counts.groupby("host")["count"].sum())
    return load.assign(
        polls_per_completed=(load["polls"] / load["completed"]).where(load["completed"] > 0),
        requests=requests,
        share=load["polls"] / requests,
        early=load["early"].fillna(0).astype("int64"),
        peak_per_s=load["peak_per_s"].fillna(0).astype("int64"),
    )


def _seen(timeline: Timeline, lives: Lives, waits: pd.DataFrame) -> pd.DataFrame:
    """For each group of operations how many polls were early, and the most within one second."""
    grouped = framed(lives.named.select(GROUP)).groupby(GROUP, dropna=False, sort=False)
    group_of = grouped.ngroup().to_numpy(dtype=np.int64)
    polls = among(lives.played["role"], ["poll"]) & ~among(lives.played["protocol"], [throttle.NAME])
    row, number = (ints(lives.played[name])[polls] for name in ("row", "number"))
    group = group_of[number].astype(np.int64)
    start_us = ints(timeline.exchanges["start_us"])[row]
    early = called_by(waits.loc[waits["verdict"] == "early", "next_exchange"])
    seen = pd.DataFrame({"group": group, "early": np.isin(row, early), "beside": _beside(group, start_us)})
    names = grouped.head(1)[GROUP].reset_index(drop=True)
    return names.join(seen.groupby("group").agg(early=("early", "sum"), peak_per_s=("beside", "max")))


def _beside(group: Ints, us: Ints) -> Ints:
    """For each instant how many of its group fall into the second that ends with it, itself included."""
    order = np.lexsort((us, group))
    span = int(us.max(initial=0) - us.min(initial=0)) + 2 * SECOND_US
    placed = group[order] * span + (us[order] - us.min(initial=0))  # a group begins where none of another's second ends
    first = np.searchsorted(placed, placed - SECOND_US, side="right")
    last = np.searchsorted(placed, placed, side="right")
    beside = np.empty(len(order), np.int64)
    beside[order] = last - first
    return beside
