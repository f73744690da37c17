"""When everything happened: on one clock, in one order, each exchange once.

Rows here are those of the capture's sources in the order in which they are read; nothing depends on that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.capture.coverage import CLOCK_STEP_US
from polltape.operations.columns import Flags, Ints, ints, known
from polltape.operations.shapes import coded, over

_MONOTONIC: Final = ("request_started_mono_ns", "response_started_mono_ns", "response_ended_mono_ns")


class Step(NamedTuple):
    """The recorder's wall clock was set: in which session, when (microseconds since 1970), how far (seconds)."""

    session: str | None
    at_us: int
    moved_s: float


@dataclass
class Instants:
    """Request start, response start (where ``answered``) and response end of each row, microseconds since 1970."""

    start_us: Ints
    response_start_us: Ints
    end_us: Ints
    answered: Flags

    @classmethod
    def of(cls, read: pa.Table) -> Instants:
        """As the wall clock told them: ``wall_start_us``, ``wall_response_us`` (may be null), ``wall_end_us``."""
        start_us, response_us, end_us = (ints(read[f"wall_{name}_us"]).copy() for name in ("start", "response", "end"))
        return cls(start_us, response_us, end_us, known(read["wall_response_us"]))

    def columns(self) -> dict[str, Any]:
        """As columns; a HAR's numbers may contradict each other, but nothing ends before it starts."""
        return {
            "start_us": self.start_us,
            "response_start_us": pa.array(self.response_start_us, mask=~self.answered),
            "end_us": np.maximum(self.start_us, self.end_us),
        }


def each_once(ids: Any, names: Callable[[], pa.Table]) -> Flags:
    """Which rows to take so that each exchange counts once: of copies the one that starts first.

    ``ids``: hashes of the exchanges' ids, so that nearly always nobody has to look at ``names``: ``exchange_id``,
    ``session_id`` and ``wall_start_us``.
    """
    once = np.ones(len(ids), np.bool_)
    if pc.count_distinct(ids).as_py() == len(ids):
        return once
    found = names()
    exchange, session = (_order(found[name]) for name in ("exchange_id", "session_id"))
    order = np.lexsort((session, ints(found["wall_start_us"]), exchange))
    once[order[1:]] = np.diff(exchange[order]) != 0
    return once


def on_one_clock(instants: Instants, read: pa.Table) -> tuple[Step, ...]:
    """Move the instants as if the wall clock had never been set after a session's first reading; when it was set.

    ``read``: ``session_id``, and the monotonic clock of each instant, null where it was not read.
    """
    walls = (instants.start_us, instants.response_start_us, instants.end_us)
    monotonic = [read[name] for name in _MONOTONIC]
    told = [known(mono) for mono in monotonic]
    told[1] = told[1] & instants.answered
    row = np.concatenate([np.flatnonzero(there) for there in told])
    wall_us, mono_ns = (
        np.concatenate([values[there] for values, there in zip(columns, told, strict=True)])
        for columns in (walls, [ints(mono) for mono in monotonic])
    )
    apart_us = wall_us - mono_ns // 1000
    session = coded(read["session_id"].combine_chunks())[row]
    if not _set_anywhere(session, apart_us):
        return ()  # the cheap answer, nearly always
    order = np.lexsort((wall_us, mono_ns, session))
    begins = np.flatnonzero(np.diff(session[order], prepend=-1))
    change = np.diff(apart_us[order], prepend=0)
    change[begins] = 0
    change[np.abs(change) <= CLOCK_STEP_US] = 0
    total = np.cumsum(change)
    offset_us = np.empty(len(order), np.int64)
    offset_us[order] = total - np.repeat(total[begins], np.diff(np.append(begins, len(order))))
    ends = np.cumsum([np.count_nonzero(there) for there in told])
    for values, there, offsets in zip(walls, told, np.split(offset_us, ends[:-1]), strict=True):
        values[there] -= offsets
    set_at = np.flatnonzero(change)
    sessions = read["session_id"].take(pa.array(row[order[set_at]])).to_pylist()
    steps = zip(sessions, wall_us[order[set_at]].tolist(), (change[set_at] / 1e6).tolist(), strict=True)
    return tuple(sorted(starmap(Step, steps), key=lambda step: step.session or ""))


def _set_anywhere(session: Ints, apart_us: Ints) -> bool:
    """Whether a session may have a step: its two clocks were not always equally far apart."""
    limits = np.iinfo(np.int64)
    least, most = (np.full(int(session.max(initial=0)) + 1, limit) for limit in (limits.max, limits.min))
    np.minimum.at(least, session, apart_us)
    np.maximum.at(most, session, apart_us)
    seen = most >= least
    return bool((most[seen] - least[seen] > CLOCK_STEP_US).any())


def ranks(instants: Instants, once: Flags, ids: Callable[[], Any]) -> tuple[Ints, Ints]:
    """The places of each row's start and end in the one order of all of them; rows that do not count have none (-1).

    At one instant the ends of earlier requests come first, then the requests that took no time at all, one after
    the other, then the starts of the others; else exchange ids decide, and are looked up only then.
    """
    rows = np.flatnonzero(once)
    start_us = instants.start_us[rows]
    end_us = np.maximum(start_us, instants.end_us[rows])
    lasts = end_us > start_us
    # Three places within each microsecond.
    when = np.concatenate([start_us * 3 + np.where(lasts, 2, 1), end_us * 3 + np.where(lasts, 0, 1)])
    row = np.concatenate([rows, rows])
    order = np.argsort(when, kind="stable")
    tied = _tied(when[order], row[order])
    if len(tied):
        events = order[tied]
        among, which = np.unique(row[events], return_inverse=True)
        names = _order(ids().take(pa.array(among)))[which]
        order[tied] = events[np.lexsort((names, when[events]))]
    places = np.full((2, len(once)), -1, np.int64)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    places[:, rows] = place.reshape(2, -1)
    return places[0], places[1]


def _tied(when: Ints, row: Ints) -> Ints:
    """The places of those in order that share their instant with another row."""
    same = np.diff(when) == 0
    begins = np.flatnonzero(np.append(True, ~same)[: len(when)])
    mixed = over(np.maximum, row, begins) != over(np.minimum, row, begins)
    return np.flatnonzero(np.repeat(mixed, np.diff(np.append(begins, len(when)))))


def _order(texts: Any) -> Ints:
    """The place of each text among those that differ, in their order; unknown ones are last."""
    return np.asarray(pc.rank(texts, sort_keys="ascending", tiebreaker="dense").to_numpy(), dtype=np.int64)
