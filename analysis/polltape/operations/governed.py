"""Which request each wait governs: the next one in its scope that starts at or after the response's end."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from polltape.operations.columns import (
    Flags,
    Ints,
    Numbers,
    among,
    at,
    coded,
    ints,
    known,
    numbered,
    numbers,
    spelled,
    whole,
)
from polltape.operations.shapes import ragged
from polltape.operations.timeline import Timeline

UNDER_WAY_US: Final = 100_000
"""What is sent elsewhere this soon after the answer that throttles was under way."""
NEVER: Final = np.iinfo(np.int32).max
"""The row of a request that never came."""
AT_ONCE: Final = 1 << 20
"""So many are looked for together."""
ASKING: Final = ("poll", "join", "resubmit")
"""The roles of the requests that an operation's wait may govern."""


def governing(timeline: Timeline, parts: pa.Table, opener: Numbers, number: Numbers, scope: Numbers) -> Numbers:
    """For each opener (a row of the exchanges) the row of the request that it governs, else :data:`NEVER`.

    ``parts``: the requests of operations; ``number``: of the opener's operation; ``scope``: a place in
    :data:`SCOPES`.
    """
    exchanges = timeline.exchanges
    who = known(exchanges["client"])
    # Of all requests, which are in the order of their starts, the first that starts after the end.
    since = np.searchsorted(ints(exchanges["starts"]), ints(exchanges["ends"])[opener])
    found = np.full(len(opener), NEVER, np.int32)

    def within(*scopes: str) -> Flags:
        return np.isin(scope, [SCOPES.index(name) for name in scopes])

    if (which := within("operation")).any():
        asking = among(parts["role"], ASKING)
        sent = Requests(numbers(parts["number"])[asking], numbers(parts["row"])[asking])
        found[which] = sent.next(number[which], since[which])
    if (which := within("request", "host") & who[opener]).any():
        server = numbers(exchanges["server"])
        asked = np.zeros(int(server.max()) + 1, np.bool_)
        asked[server[opener[which]]] = True
        theirs: Numbers = np.flatnonzero(who & asked[server]).astype(np.int32)
        place = numbered(server[theirs], numbers(exchanges["line"])[theirs])
        found[which] = Requests(place, theirs).next(place[np.searchsorted(theirs, opener[which])], since[which])
        # A request to elsewhere within 100 ms was under way, so the search for it begins behind that.
        which = within("host") & who[opener]
        after = rows_after(exchanges, ints(exchanges["end_us"])[opener[which]] + UNDER_WAY_US)
        elsewhere = Requests(server[theirs], theirs).next(server[opener[which]], after)
        found[which] = np.minimum(found[which], elsewhere)
    if (which := within("redirect") & who[opener] & known(exchanges["redirect"])[opener]).any():
        theirs = np.flatnonzero(who)
        to, url = _addresses(timeline, opener[which], theirs)
        found[which] = Requests(url, theirs).next(to, since[which])
    return found


SCOPES: Final = ("host", "redirect", "operation", "request")


def _addresses(timeline: Timeline, redirecting: Numbers, requests: Numbers) -> tuple[Numbers, Numbers]:
    """Numbers of the client and the URL that each of these was redirected to, and that each request had."""
    away: Any = timeline.exchanges["redirect"].take(at(redirecting))
    texts = pa.concat_arrays([spelled(whole(away)), timeline.urls(requests)])
    clients = coded(timeline.exchanges["client"])
    number = numbered(clients[np.concatenate([redirecting, requests])], coded(texts))
    return number[: len(redirecting)], number[len(redirecting) :]


class Requests:
    """Requests by key, those of one key in the order of their starts: of each its key and its row."""

    def __init__(self, key: Numbers, row: Numbers) -> None:
        # Key and row in one number: some ten million of each stay far below 2^63.
        self._width = int(row.max(initial=0)) + 2
        self._numbered = np.full(len(key) + 1, np.iinfo(np.int64).max)
        np.add(self._first(key), row, out=self._numbered[:-1])
        self._numbered.sort()

    def next(self, key: Numbers, since: Ints) -> Ints:
        """For each the first request of that key from the row ``since`` on, else :data:`NEVER`.

        >>> sent = Requests(np.array([7, 7, 8]), np.array([1, 5, 3]))
        >>> sent.next(np.array([7, 7, 8, 9]), np.array([2, 6, 0, 0])).tolist() == [5, NEVER, 3, NEVER]
        True
        """
        row = self._numbered[self._places(key, since)] - self._first(key)
        return np.where(row < self._width, row, NEVER)

    def between(self, key: Numbers, since: Ints, until: Ints) -> tuple[Ints, Ints]:
        """All requests of those keys from the row ``since`` on, before ``until``: pairs of which one asks, and row.

        >>> sent = Requests(np.array([7, 7, 8]), np.array([1, 5, 3]))
        >>> which, row = sent.between(np.array([8, 7]), np.array([0, 0]), np.array([9, 5]))
        >>> which.tolist(), row.tolist()
        ([0, 1], [3, 1])
        """
        at = self._places(key, since)
        counts = np.maximum(self._places(key, until) - at, 0)
        which = np.repeat(np.arange(len(key)), counts)
        return which, self._numbered[ragged(at, counts)] - self._first(key)[which]

    def _first(self, key: Numbers) -> Ints:
        """What those of a key begin with."""
        return key.astype(np.int64) * self._width

    def _places(self, key: Numbers, since: Ints) -> Ints:
        """Where the requests of each key from that row on begin; looked for in their order, which is much faster."""
        places = np.empty(len(key), np.int64)
        for some in (slice(first, first + AT_ONCE) for first in range(0, len(key), AT_ONCE)):
            wanted = self._first(key[some]) + np.minimum(since[some], self._width - 1)
            order = np.argsort(wanted)
            places[some][order] = np.searchsorted(self._numbered, wanted[order])
        return places


def rows_after(exchanges: pa.Table, us: Ints) -> Ints:
    """The first of all requests that starts later than each instant; beyond all rows without one."""
    return np.searchsorted(ints(exchanges["start_us"]), us, side="right")
