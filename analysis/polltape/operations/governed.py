"""Which request each wait governs: the next one in its scope that starts at or after the response's end."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from polltape.operations.columns import Flags, Ints, among, at, coded, ints, known, numbered, spelled, whole
from polltape.operations.shapes import ragged
from polltape.operations.timeline import Timeline

UNDER_WAY_US: Final = 100_000
"""What is sent elsewhere this soon after the answer that throttles was under way."""
NEVER: Final = np.iinfo(np.int64).max
ASKING: Final = ("poll", "join", "resubmit")
"""The roles of the requests that an operation's wait may govern."""


def governing(timeline: Timeline, parts: pa.Table, opener: Ints, number: Ints, scope: Ints) -> Ints:
    """For each opener (a row of the exchanges) the row of the request that it governs, else :data:`NEVER`.

    ``parts``: the requests of operations; ``number``: of the opener's operation; ``scope``: a place in
    :data:`SCOPES`.
    """
    exchanges = timeline.exchanges
    server = ints(exchanges["server"])
    who = known(exchanges["client"])
    theirs = np.flatnonzero(who)
    # Of all requests, which are in the order of their starts, the first that starts after the end.
    since = np.searchsorted(ints(exchanges["starts"]), ints(exchanges["ends"])[opener])
    found = np.full(len(opener), NEVER)

    def govern(which: Flags, keys: Ints, after: Ints, sent: Requests) -> None:
        found[which] = np.minimum(found[which], sent.next(keys, after))

    def within(*scopes: str) -> Flags:
        return np.isin(scope, [SCOPES.index(name) for name in scopes])

    if (which := within("operation")).any():
        asking = among(parts["role"], ASKING)
        sent = Requests(ints(parts["number"])[asking], ints(parts["row"])[asking])
        govern(which, number[which], since[which], sent)
    if (which := within("request", "host") & who[opener]).any():
        place = numbered(server, ints(exchanges["line"]))
        govern(which, place[opener[which]], since[which], Requests(place[who], theirs))
    if (which := within("host") & who[opener]).any():
        # A request to elsewhere within 100 ms was under way, so the search for it begins behind that.
        after = rows_after(exchanges, ints(exchanges["end_us"])[opener[which]] + UNDER_WAY_US)
        govern(which, server[opener[which]], after, Requests(server[who], theirs))
    if (which := within("redirect") & who[opener] & known(exchanges["redirect"])[opener]).any():
        to, url = _addresses(timeline, opener[which], theirs)
        govern(which, to, since[which], Requests(url, theirs))
    return found


SCOPES: Final = ("host", "redirect", "operation", "request")


def _addresses(timeline: Timeline, redirecting: Ints, requests: Ints) -> tuple[Ints, Ints]:
    """Numbers of the client and the URL that each of these was redirected to, and that each request had."""
    away: Any = timeline.exchanges["redirect"].take(at(redirecting))
    texts = pa.concat_arrays([spelled(whole(away)), timeline.urls(requests)])
    clients = coded(timeline.exchanges["client"])
    number = numbered(clients[np.concatenate([redirecting, requests])], coded(texts))
    return number[: len(redirecting)], number[len(redirecting) :]


class Requests:
    """Requests by key, those of one key in the order of their starts: of each its key and its row."""

    def __init__(self, key: Ints, row: Ints) -> None:
        order = np.argsort(row, kind="stable")
        order = order[np.argsort(key[order], kind="stable")]
        self._rows, key = row[order], key[order]
        begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
        self._keys = key[begins]
        # The place of the key and the row in one number: some ten million of each stay far below 2^63.
        self._width = int(row.max(initial=0)) + 2
        self._numbered = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(key)))) * self._width
        self._numbered += self._rows

    def next(self, key: Ints, since: Ints) -> Ints:
        """For each the first request of that key from the row ``since`` on, else :data:`NEVER`.

        >>> sent = Requests(np.array([7, 7, 8]), np.array([1, 5, 3]))
        >>> sent.next(np.array([7, 7, 8, 9]), np.array([2, 6, 0, 0])).tolist() == [5, NEVER, 3, NEVER]
        True
        """
        at, ends = self._places(key, since)
        return np.where(at < ends, np.append(self._rows, NEVER)[at], NEVER)

    def between(self, key: Ints, since: Ints, until: Ints) -> tuple[Ints, Ints]:
        """All requests of those keys from the row ``since`` on, before ``until``: pairs of which one asks, and row.

        >>> sent = Requests(np.array([7, 7, 8]), np.array([1, 5, 3]))
        >>> which, row = sent.between(np.array([8, 7]), np.array([0, 0]), np.array([9, 5]))
        >>> which.tolist(), row.tolist()
        ([0, 1], [3, 1])
        """
        at, _ = self._places(key, since)
        end, _ = self._places(key, until)
        counts = np.maximum(end - at, 0)
        return np.repeat(np.arange(len(key)), counts), self._rows[ragged(at, counts)]

    def _places(self, key: Ints, since: Ints) -> tuple[Ints, Ints]:
        """Where the requests of each key from that row on begin, and where those of the key end."""
        place = np.searchsorted(self._keys, key)
        there = (place < len(self._keys)) & (np.append(self._keys, 0)[place] == key)
        first = np.minimum(since, self._width - 1) + place * self._width
        at, end = (np.searchsorted(self._numbered, number) for number in (first, (place + 1) * self._width))
        return np.where(there, at, end), end


def rows_after(exchanges: pa.Table, us: Ints) -> Ints:
    """The first of all requests that starts later than each instant; beyond all rows without one."""
    return np.searchsorted(ints(exchanges["start_us"]), us, side="right")
