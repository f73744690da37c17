"""Rows of many files in one order, each exchange once, with bounded memory.

The order is that of the request's start, then of the id.  Row groups are read by their earliest start; what
starts before every group not yet read can go out.  Recordings and HAR files are nearly in order, so that few
groups are held at a time; an import is spooled in sorted runs (:mod:`polltape.capture.importing`), which makes
this the merge of an external sort.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

STARTS: Final = "request_started_at"

_ORDER: Final[list[tuple[str, Literal["ascending", "descending"]]]] = [
    (STARTS, "ascending"),
    ("exchange_id", "ascending"),
    ("session_id", "ascending"),
]


@dataclass(frozen=True)
class Part:
    """Rows that can be had when they are wanted; ``first`` is the earliest request start among them."""

    first: datetime
    load: Callable[[], pa.Table]


def in_order(table: pa.Table) -> pa.Table:
    """The rows by request start, id and session."""
    return table.take(pc.sort_indices(table, sort_keys=_ORDER))


def merged_tables(parts: Iterable[Part]) -> Iterator[pa.Table]:
    """The rows of all parts in order, each exchange once; of several the one that comes first."""
    runs: list[_Run] = []
    seen: set[str] = set()
    for part in sorted(parts, key=lambda part: part.first):
        yield from _before(runs, part.first, seen)
        runs = [run for run in runs if run.at < len(run.starts)]
        runs.append(_Run(in_order(part.load())))
    yield from _before(runs, None, seen)


def each_once(table: pa.Table, seen: set[str]) -> pa.Table:
    """The rows whose id is met for the first time."""
    fresh = []
    for name in cast("list[str]", table["exchange_id"].to_pylist()):
        fresh.append(name not in seen)
        seen.add(name)
    return table if all(fresh) else table.filter(pa.array(fresh))


class _Run:
    """A table in order, of which the rows up to ``at`` have gone out."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.starts = cast("list[datetime]", table[STARTS].to_pylist())
        self.at = 0

    def until(self, instant: datetime | None) -> pa.Table:
        end = len(self.starts) if instant is None else bisect_left(self.starts, instant, self.at)
        rows = self.table.slice(self.at, end - self.at)
        self.at = end
        return rows


def _before(runs: list[_Run], instant: datetime | None, seen: set[str]) -> Iterator[pa.Table]:
    pieces = [rows for run in runs if (rows := run.until(instant)).num_rows]
    if pieces:
        yield each_once(pieces[0] if len(pieces) == 1 else in_order(pa.concat_tables(pieces)), seen)
