"""When everything happened: on one clock, in one order, each exchange once.

Rows here are those of the capture's sources in the order in which they are read; nothing depends on that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.capture.coverage import CLOCK_STEP_US
from polltape.operations.columns import Flags, Ints, coded, ints, known, ranked, whole
from polltape.operations.shapes import over

ROWS_AT_ONCE: Final = 1 << 20
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
    def of(cls, sent_us: Any, asked_us: Any, response_us: Any, answered_us: Any) -> Instants:
        """As the wall clock told a request's start and end and its answer's; ends are the latest that is known."""
        end_us = pc.coalesce(answered_us, response_us, asked_us, sent_us)
        start, response, end = (ints(column).copy() for column in (sent_us, response_us, end_us))
        return cls(start, response, end, known(response_us))

    def columns(self) -> dict[str, Any]:
        """As columns; a HAR's numbers may contradict each other, but nothing ends before it starts."""
        return {
            "start_us": pa.array(self.start_us),
            "response_start_us": pa.array(self.response_start_us, mask=~self.answered),
            "end_us": pa.array(np.maximum(self.start_us, self.end_us)),
        }


def each_once(read: Mapping[str, Any] | pa.Table, instants: Instants) -> Flags:
    """Which rows to take so that each exchange (``exchange_id``) counts once: of copies the one that starts first.

    Of those that start together the one of the first session (``session_id``).
    """
    once = np.ones(len(read["exchange_id"]), np.bool_)
    if _all_differ(read["exchange_id"]):
        return once
    exchange, session = (ranked(read[name].cast(pa.string())) for name in ("exchange_id", "session_id"))
    order = np.lexsort((session, instants.start_us, exchange))
    once[order[1:]] = np.diff(exchange[order]) != 0
    return once


def _all_differ(ids: Any) -> bool:
    """Whether no id stands there twice.  Equal hashes of different ones are a no, too: then all are looked at."""
    texts = whole(ids)
    lengths = pc.unique(pc.binary_length(texts)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        return bool(pc.count_distinct(texts).as_py() == len(texts))
    # Of one length, as ids of one kind are: whole words of all of them at once, mixed as hashes do.
    width = lengths[0]
    text = np.frombuffer(texts.buffers()[2], np.uint8, len(texts) * width, width * texts.offset).reshape(-1, width)
    mixed = np.empty(len(texts), np.uint64)
    for first in range(0, len(texts), ROWS_AT_ONCE):
        mixed[first : first + ROWS_AT_ONCE] = _mixed(text[first : first + ROWS_AT_ONCE])
    mixed.sort()
    return not bool((mixed[1:] == mixed[:-1]).any())


def _mixed(text: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """A hash of each row of bytes."""
    width = text.shape[1]
    padded = np.zeros((len(text), -(-width // 8) * 8), np.uint8)
    padded[:, :width] = text
    mixed = np.zeros(len(text), np.uint64)
    for word in padded.view(np.uint64).T:
        mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed


def on_one_clock(instants: Instants, read: Mapping[str, Any] | pa.Table) -> tuple[Step, ...]:
    """Move the instants as if the wall clock had never been set after a session's first reading; when it was set.

    ``read``: ``session_id``, and the monotonic clock of each instant, null where it was not read.
    """
    walls = (instants.start_us, instants.response_start_us, instants.end_us)
    monotonic = [read[name] for name in _MONOTONIC]
    told = [known(mono) for mono in monotonic]
    told[1] = told[1] & instants.answered
    session = coded(read["session_id"])
    apart = (
        (session[there], wall[there] - ints(mono)[there] // 1000)
        for wall, mono, there in zip(walls, monotonic, told, strict=True)
    )
    if not _set_anywhere(int(session.max(initial=0)) + 1, apart):
        return ()  # the cheap answer, nearly always
    row = np.concatenate([np.flatnonzero(there) for there in told])
    wall_us, mono_ns = (
        np.concatenate([values[there] for values, there in zip(columns, told, strict=True)])
        for columns in (walls, [ints(mono) for mono in monotonic])
    )
    apart_us = wall_us - mono_ns // 1000
    session = session[row]
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


def _set_anywhere(sessions: int, apart: Iterable[tuple[Ints, Ints]]) -> bool:
    """Whether a session may have a step: its two clocks were not always equally far apart (session, microseconds)."""
    limits = np.iinfo(np.int64)
    least, most = (np.full(sessions, limit) for limit in (limits.max, limits.min))
    for session, apart_us in apart:
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
    count = len(rows)
    when = _events(instants, rows)
    order = np.argsort(when, kind="stable")  # of starts, then ends
    tied = _tied(when, order, count)
    if len(tied):
        events = order[tied]
        among, which = np.unique(rows[events % count], return_inverse=True)
        names = ranked(ids().take(pa.array(among)))[which]
        order[tied] = events[np.lexsort((names, when[events]))]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    places = np.full((2, len(once)), -1, np.int64)
    places[:, rows] = place.reshape(2, -1)
    return places[0], places[1]


def _events(instants: Instants, rows: Ints) -> Ints:
    """All starts, then all ends of these rows, with three places within each microsecond."""
    start_us = instants.start_us[rows]
    end_us = np.maximum(start_us, instants.end_us[rows])
    lasts = end_us > start_us
    return np.concatenate([start_us * 3 + np.where(lasts, 2, 1), end_us * 3 + np.where(lasts, 0, 1)])


def _tied(when: Ints, order: Ints, count: int) -> Ints:
    """The places in the order of those events that share their instant with one of another row."""
    same = np.diff(when[order]) == 0
    sharing = np.flatnonzero(np.append(False, same) | np.append(same, False)[: len(order)])
    row = order[sharing] % max(1, count)
    begins = np.flatnonzero(~np.append(False, same)[sharing])
    mixed = over(np.maximum, row, begins) != over(np.minimum, row, begins)
    tied: Ints = sharing[np.repeat(mixed, np.diff(np.append(begins, len(sharing))))]
    return tied
