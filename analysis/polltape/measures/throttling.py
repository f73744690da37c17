"""What throttling costs: the share of requests that are throttled, the time lost, the requests wasted."""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.measures.answers import with_throttled
from polltape.measures.durations import lived_times
from polltape.operations.lives import Lives
from polltape.operations.tables import lent_frame, run
from polltape.operations.timeline import Timeline
from polltape.protocols import throttle

HOST_CODE: Final = "RA007"
"""Names the requests to a throttled host's other methods and paths that came before the deadline."""


def throttling(
    timeline: Timeline,
    lives: Lives,
    waits: pd.DataFrame,
    findings: pd.DataFrame,
    answered: pd.DataFrame,
) -> pd.DataFrame:
    """One row for each host that throttled anything.

    ``requests``: all of the host; ``throttled``: of these; ``share``: of the requests.  ``operations``: requests
    that were throttled, each with its retries; ``ended``: those that were accepted in the end; ``clients``: whose
    they are.  ``lost_s``: from the first throttled answer's end to the accepted one's, summed; of those that were
    not accepted, to where they were last seen, so that it is a lower bound where ``ended`` is less than
    ``operations``; ``longest_s``: the longest of them.  ``again``: retries that were throttled again; ``early``:
    requests that came before the time was over (RA001, RA002 of throttled waits, RA007).  ``answered``: the table
    of :func:`~polltape.measures.answers.answers`, which says what throttling is.
    """
    hosts = answered.groupby("host", as_index=False, sort=True).agg(
        requests=("count", "sum"), throttled=("throttled", "sum")
    )
    hosts = hosts[hosts["throttled"] > 0]
    if hosts.empty:
        return hosts
    table = hosts.merge(_wasted(timeline, lives.members, _early(waits, findings)), on="host", how="left")
    table = table.merge(_lost(lives.operations), on="host", how="left")
    whole = ["again", "early", "operations", "ended", "clients"]
    table[whole] = table[whole].fillna(0).astype("int64")
    return table.assign(share=table["throttled"] / table["requests"])


def _wasted(timeline: Timeline, members: ir.Table, early: list[str]) -> pd.DataFrame:
    """For each host how many retries were throttled again, and how many requests came too early."""
    hasty = lent_frame(timeline.rows, "hasty", pd.DataFrame({"exchange_id": early}, dtype="str"))
    return run(_again, timeline.rows, members, hasty)


def _again(rows: ir.Table, members: ir.Table, hasty: ir.Table) -> ir.Table:
    hasty = hasty.mutate(early=1, retry=0)
    retries = members.filter((_.protocol == throttle.NAME) & (_.role == "poll"))
    retries = retries.select("exchange_id", early=ibis.literal(0), retry=ibis.literal(1))
    told = ibis.union(hasty, retries).group_by("exchange_id").agg(early=_.early.max(), retry=_.retry.max())
    found = with_throttled(rows.join(told, "exchange_id"))
    again = found.throttled & (found.retry > 0)
    return found.group_by("host").agg(again=again.sum(), early=found.early.sum())


def _early(waits: pd.DataFrame, findings: pd.DataFrame) -> list[str]:
    """The requests that came back to a throttled host before they were to."""
    governed = waits.loc[(waits["scope"] == "host") & (waits["verdict"] == "early"), "next_exchange"]
    others = (names[-1] for names in findings.loc[findings["code"] == HOST_CODE, "exchanges"])
    return sorted({*governed, *others})


def _lost(operations: pd.DataFrame) -> pd.DataFrame:
    """For each host the operations of throttling, and the time that they took."""
    table = operations[operations["protocol"] == throttle.NAME]
    lived, ended = lived_times(table)
    groups = table.assign(lived=lived, end=ended).groupby("host", as_index=False)
    return groups.agg(
        operations=("id", "size"),
        ended=("end", "sum"),
        clients=("client", "nunique"),
        lost_s=("lived", "sum"),
        longest_s=("lived", "max"),
    )
