"""Until when somebody was there to see: the union of the recording sessions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np

from polltape.exchange import Coverage


class Covered:
    """The merged intervals of all sessions.

    What happened between two sessions was not seen, so an absence counts only up to the end of the interval
    in which it begins.
    """

    def __init__(self, coverage: Iterable[Coverage]) -> None:
        merged: list[list[int]] = []
        for start, end in sorted((_us(c.started_at), _us(c.ended_at)) for c in coverage):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        self._starts = [start for start, _ in merged]
        self._ends = [end for _, end in merged]

    def until(self, us: int) -> int:
        """The end of the interval that holds the instant (microseconds since 1970); else the instant itself."""
        index = bisect_right(self._starts, us) - 1
        return max(us, self._ends[index]) if index >= 0 else us

    def until_each(self, us: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """:meth:`until` of each of many instants."""
        if not self._ends:
            return us
        index = np.searchsorted(np.array(self._starts), us, side="right") - 1
        return np.where(index >= 0, np.maximum(us, np.array(self._ends)[index]), us)


def _us(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)
