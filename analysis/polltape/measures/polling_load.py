"""The load that polling makes: how many of a host's requests only ask whether something is done."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from polltape.measures.durations import GROUP
from polltape.measures.groups import grouped
from polltape.operations.columns import Ints, among, called_by, ints, numbers
from polltape.operations.fold import FINAL
from polltape.operations.lives import Lives
from polltape.operations.timeline import Timeline
from polltape.protocols import throttle

SECOND_US: Final = 1_000_000
AT_ONCE: Final = 1 << 20
"""Polls that are counted together: it takes many columns."""


def polling(timeline: Timeline, lives: Lives, waits: pd.DataFrame, counts: pd.DataFrame) -> pd.DataFrame:
    """One row for each protocol, kind and host with operations; throttling aside, whose retries are no polls.

    ``operations`` and ``polls``: all, truncated ones too; ``completed``: of the operations;
    ``polls_per_completed``: polls / completed, those of operations without an end included: what one result
    costs.  ``polls_p50`` and ``polls_max``: of operations that are whole and have ended.  ``requests``: all of the
    host; ``share``: polls / requests.  ``early``: polls that came before the time asked for.  ``peak_per_s``: the
    most polls that began within any one second.  ``counts``: the table of :func:`~polltape.measures.answers.answers`.
    """
    operations = lives.operations
    number, names = grouped(operations, GROUP)
    outcome, polls = operations["outcome"], operations["polls"].to_numpy(dtype=np.int64)
    whole = (outcome.isin(FINAL) & ~operations["truncated"].astype(bool)).to_numpy()
    asked = pd.Series(polls[whole]).groupby(number[whole])
    load = names.assign(
        operations=np.bincount(number, minlength=len(names)),
        completed=np.bincount(number[(outcome == "completed").to_numpy()], minlength=len(names)),
        polls=pd.Series(polls).groupby(number).sum(),
        polls_p50=asked.median(),
        polls_max=asked.max().astype("Int64"),
        **_seen(timeline, lives, waits, number, len(names)),
    )
    load = load[load["protocol"] != throttle.NAME].reset_index(drop=True)
    if load.empty:
        return load
    requests = load["host"].map(counts.groupby("host")["count"].sum())
    return load.assign(
        polls_per_completed=(load["polls"] / load["completed"]).where(load["completed"] > 0),
        requests=requests,
        share=load["polls"] / requests,
    )


def _seen(timeline: Timeline, lives: Lives, waits: pd.DataFrame, of: Ints, groups: int) -> dict[str, Ints]:
    """For each group of operations how many polls were early, and the most within one second.

    ``of``: the group of each operation.
    """
    polls = among(lives.played["role"], ["poll"])
    row, group = numbers(lives.played["row"])[polls], of[numbers(lives.played["number"])[polls]]
    early = np.zeros(len(timeline.exchanges), np.bool_)
    early[called_by(waits.loc[waits["verdict"] == "early", "next_exchange"])] = True
    return {
        "early": np.bincount(group[early[row]], minlength=groups),
        "peak_per_s": _most_at_once(group, ints(timeline.exchanges["start_us"])[row], groups),
    }


def _most_at_once(group: Ints, us: Ints, groups: int) -> Ints:
    """For each group the most of its instants that fall into any one second.

    >>> _most_at_once(np.array([0, 0, 0, 1]), np.array([0, 999_999, 1_000_000, 5]), 3).tolist()
    [2, 1, 0]
    """
    first_us = int(us.min(initial=0))
    span = int(us.max(initial=0)) - first_us + 2 * SECOND_US
    placed = group * span  # a group begins where none of another's second ends
    placed += us
    placed -= first_us
    placed.sort()
    most = np.zeros(groups, np.int64)
    for first in range(0, len(placed), AT_ONCE):
        some = placed[first : first + AT_ONCE]
        beside = np.arange(first, first + len(some)) - np.searchsorted(placed, some - SECOND_US, side="right") + 1
        np.maximum.at(most, some // span, beside)
    return most
