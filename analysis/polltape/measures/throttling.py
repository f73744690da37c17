"""What throttling costs: the share of requests that are throttled, the time lost, the requests wasted."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.measures.durations import lived_times
from polltape.operations.columns import Flags, among, at, called_by, flags, ints, listed, whole
from polltape.operations.lives import Lives
from polltape.operations.tables import framed
from polltape.protocols import throttle

HOST_CODE: Final = "RA007"
"""Names the requests to a throttled host's other methods and paths that came before the deadline."""


def throttling(
    told: pa.Table, lives: Lives, waits: pd.DataFrame, findings: pd.DataFrame, counts: pd.DataFrame
) -> pd.DataFrame:
    """One row for each host that throttled anything.

    ``requests``: all of the host; ``throttled``: of these; ``share``: of the requests.  ``operations``: requests
    that were throttled, each with its retries; ``ended``: those that were accepted in the end; ``clients``: whose
    they are.  ``lost_s``: from the first throttled answer's end to the accepted one's, summed; of those that were
    not accepted, to where they were last seen, so that it is a lower bound where ``ended`` is less than
    ``operations``; ``longest_s``: the longest of them.  ``again``: retries that were throttled again; ``early``:
    requests that came before the time was over (RA001, RA002 of throttled waits, RA007).  ``told``: the table of
    :func:`~polltape.measures.answers.answered`, which says what throttling is; ``counts``: that of
    :func:`~polltape.measures.answers.answers`.
    """
    hosts = counts.groupby("host", as_index=False, sort=True).agg(
        requests=("count", "sum"), throttled=("throttled", "sum")
    )
    hosts = hosts[hosts["throttled"] > 0]
    if hosts.empty:
        return hosts
    table = hosts.merge(_wasted(told, lives, waits, findings), on="host", how="left")
    table = table.merge(_lost(lives.operations), on="host", how="left")
    whole = ["again", "early", "operations", "ended", "clients"]
    table[whole] = table[whole].fillna(0).astype("int64")
    return table.assign(share=table["throttled"] / table["requests"])


def _wasted(told: pa.Table, lives: Lives, waits: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """For each host how many retries were throttled again, and how many requests came too early."""
    retries = among(lives.played["protocol"], [throttle.NAME]) & among(lives.played["role"], ["poll"])
    retry = np.zeros(len(told), np.bool_)
    retry[ints(lives.played["row"])[retries]] = True
    again = retry & flags(told["throttled"])
    early = _early(told, waits, findings)
    wasted = np.flatnonzero(again | early)
    hosts = framed(told.select(["host"]).take(at(wasted)))["host"]
    found = pd.DataFrame({"host": hosts, "again": again[wasted], "early": early[wasted]})
    return found.groupby("host", as_index=False).sum()


def _early(told: pa.Table, waits: pd.DataFrame, findings: pd.DataFrame) -> Flags:
    """The requests that came back to a throttled host before they were to."""
    early = np.zeros(len(told), np.bool_)
    proof = listed(whole(findings.loc[findings["code"] == HOST_CODE, "exchanges"]))[1]
    early[called_by(proof)[1::2]] = True  # the wait's answer, and the request
    early[called_by(waits.loc[(waits["scope"] == "host") & (waits["verdict"] == "early"), "next_exchange"])] = True
    return early


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
