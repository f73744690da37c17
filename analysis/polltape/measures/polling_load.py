"""The load that polling makes: how many of a host's requests only ask whether something is done."""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.measures.durations import GROUP
from polltape.operations.fold import FINAL
from polltape.operations.lives import Lives
from polltape.operations.tables import lent_frame, run
from polltape.protocols import throttle

SECOND_US: Final = 1_000_000


def polling(
    rows: ir.Table, lives: Lives, members: ir.Table, waits: pd.DataFrame, answered: pd.DataFrame
) -> pd.DataFrame:
    """One row for each protocol, kind and host with operations; throttling aside, whose retries are no polls.

    ``operations`` and ``polls``: all, truncated ones too; ``completed``: of the operations;
    ``polls_per_completed``: polls / completed, those of operations without an end included: what one result
    costs.  ``polls_p50`` and ``polls_max``: of operations that are whole and have ended.  ``requests``: all of the
    host; ``share``: polls / requests.  ``early``: polls that came before the time asked for.  ``peak_per_s``: the
    most polls that began within any one second.  ``answered``: the table of :func:`~polltape.measures.answers.answers`.
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
    load = load.join(_seen(rows, table, members, waits).set_index("group"))
    requests = load["host"].map(answered.groupby("host")["count"].sum())
    return load.assign(
        polls_per_completed=(load["polls"] / load["completed"]).where(load["completed"] > 0),
        requests=requests,
        share=load["polls"] / requests,
        early=load["early"].fillna(0).astype("int64"),
        peak_per_s=load["peak_per_s"].fillna(0).astype("int64"),
    )


def _seen(rows: ir.Table, operations: pd.DataFrame, members: ir.Table, waits: pd.DataFrame) -> pd.DataFrame:
    """For each group of operations how many polls were early, and the most within one second."""
    of = lent_frame(rows, "of_group", operations[["id", "group"]].astype({"group": "int64"}))
    early = waits.loc[waits["verdict"] == "early", "next_exchange"].drop_duplicates()
    hasty = lent_frame(rows, "hasty", pd.DataFrame({"hasty": early}))
    return run(_early_and_peak, rows, members, of, hasty)


def _early_and_peak(rows: ir.Table, members: ir.Table, of: ir.Table, hasty: ir.Table) -> ir.Table:
    polls = members.filter(_.role == "poll").join(of, _.operation == of.id).select("exchange_id", "group")
    polls = polls.join(rows.select("exchange_id", "start_us"), "exchange_id")
    polls = polls.left_join(hasty, polls.exchange_id == hasty.hasty)
    within = ibis.range_window(preceding=SECOND_US - 1, following=0, group_by="group", order_by="start_us")
    counted = polls.select("group", "start_us", "hasty").mutate(beside=_.count().over(within))
    return counted.group_by("group").agg(early=_.hasty.notnull().sum(), peak_per_s=_.beside.max())
