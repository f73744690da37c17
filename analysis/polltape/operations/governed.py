"""Which request each wait governs: the next one in its scope that starts at or after the response's end."""

from __future__ import annotations

from typing import Any, Final

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from ibis import _

from polltape.operations.columns import Flags, Ints, Numbers, ints, known, numbers
from polltape.operations.shapes import ragged
from polltape.operations.tables import asked, hashed, hashed_request, hashed_server
from polltape.operations.timeline import port_of, url_of

UNDER_WAY_US: Final = 100_000
"""What is sent elsewhere this soon after the answer that throttles was under way."""
NEVER: Final = np.iinfo(np.int64).max


def governing(connection: Any, rows: ir.Table, parts: ir.Table, opening: ir.Table) -> pa.Table:
    """For each usable one of the openers (``starts``) the request that it governs (``next_starts``, null without)."""
    waiting = asked(connection, _waiting, opening, rows)
    scope = waiting["scope"].combine_chunks()
    starts, ends, end_us = (ints(waiting[name]) for name in ("starts", "ends", "end_us"))
    whose = known(waiting["client"])
    next_starts = np.full(len(starts), NEVER)

    def govern(which: Flags, keys: Numbers, since: Ints, sent: Requests) -> None:
        next_starts[which] = np.minimum(next_starts[which], sent.next(keys[which], since[which]))

    def within(*scopes: str) -> Flags:
        return np.isin(scope.to_numpy(zero_copy_only=False), scopes)

    if (which := within("operation")).any():
        govern(which, numbers(waiting["number"]), ends, Requests.of(asked(connection, _asking, parts)))
    if (which := within("request", "host") & whose).any():
        govern(which, numbers(waiting["place"]), ends, Requests.of(asked(connection, _by_place, rows)))
    if (which := within("host") & whose).any():
        read = asked(connection, _by_server, rows)
        # A request to elsewhere within 100 ms was under way, so the search for it begins behind that.
        since = ranks_after(ints(read["starts"]), ints(read["start_us"]), end_us + UNDER_WAY_US)
        govern(which, numbers(waiting["server"]), since, Requests.of(read))
    if (which := within("redirect") & whose & known(waiting["to"])).any():
        govern(which, numbers(waiting["to"]), ends, Requests.of(asked(connection, _by_url, rows)))
    found: dict[str, Any] = {"starts": starts, "next_starts": pa.array(next_starts, mask=next_starts == NEVER)}
    return pa.table(found)


class Requests:
    """Requests by key, those of one key in the order of their starts.

    ``key``, ``starts``: of each request, the rank of its start.
    """

    def __init__(self, key: Numbers, starts: Ints) -> None:
        order = np.argsort(starts, kind="stable")
        self.order = order[np.argsort(key[order], kind="stable")]
        self._starts, key = starts[self.order], key[self.order]
        begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
        self._keys = key[begins]
        # The place of the key and the rank in one number: some ten million of each stay far below 2^63.
        self._width = int(starts.max(initial=0)) + 2
        self._numbered = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(key)))) * self._width
        self._numbered += self._starts

    @classmethod
    def of(cls, read: pa.Table) -> Requests:
        """From columns ``key`` and ``starts``."""
        return cls(numbers(read["key"]), ints(read["starts"]))

    def next(self, key: Numbers, since: Ints) -> Ints:
        """For each the start of the first request of that key from the rank ``since`` on, else :data:`NEVER`.

        >>> sent = Requests(np.array([7, 7, 8], np.uint64), np.array([1, 5, 3]))
        >>> sent.next(np.array([7, 7, 8, 9], np.uint64), np.array([2, 6, 0, 0])).tolist() == [5, NEVER, 3, NEVER]
        True
        """
        at, ends = self._places(key, since)
        return np.where(at < ends, np.append(self._starts, NEVER)[at], NEVER)

    def between(self, key: Numbers, since: Ints, until: Ints) -> tuple[Ints, Ints]:
        """All requests of those keys from the rank ``since`` on, before ``until``: pairs of which one asks, and row.

        >>> sent = Requests(np.array([7, 7, 8], np.uint64), np.array([1, 5, 3]))
        >>> which, row = sent.between(np.array([8, 7], np.uint64), np.array([0, 0]), np.array([9, 5]))
        >>> which.tolist(), row.tolist()
        ([0, 1], [2, 0])
        """
        at, _ = self._places(key, since)
        end, _ = self._places(key, until)
        counts = np.maximum(end - at, 0)
        return np.repeat(np.arange(len(key)), counts), self.order[ragged(at, counts)]

    def _places(self, key: Numbers, since: Ints) -> tuple[Ints, Ints]:
        """Where the requests of each key from that rank on begin, and where those of the key end."""
        place = np.searchsorted(self._keys, key)
        there = (place < len(self._keys)) & (np.append(self._keys, 0)[place] == key)
        first = np.minimum(since, self._width - 1) + place * self._width
        at, end = (np.searchsorted(self._numbered, number) for number in (first, (place + 1) * self._width))
        return np.where(there, at, end), end


def ranks_after(starts: Ints, start_us: Ints, us: Ints) -> Ints:
    """The rank of the first request of all that starts later than each instant; beyond all ranks without one."""
    order = np.argsort(starts, kind="stable")
    past_all = int(starts.max(initial=0)) + 1
    return np.append(starts[order], past_all)[np.searchsorted(start_us[order], us, side="right")]


def requests_within(server: Numbers, after_us: Ints, before_us: Ints, sent: pa.Table) -> tuple[Ints, Ints]:
    """All requests to those servers that start between the instants, both excluded: pairs of places.

    ``sent``: their ``server``, ``starts`` and ``start_us``.
    """
    starts, start_us = ints(sent["starts"]), ints(sent["start_us"])
    since, until = (ranks_after(starts, start_us, us) for us in (after_us, before_us - 1))
    return Requests(numbers(sent["server"]), starts).between(server, since, until)


def _waiting(opening: ir.Table, rows: ir.Table) -> ir.Table:
    told = rows.select(
        *("starts", "end_us", "client"),
        place=_place(rows),
        server=server_of(rows),
        to=rows.redirect.isnull().ifelse(ibis.null("uint64"), hashed(rows.client.concat(" ", rows.redirect))),
    )
    usable = opening.filter(_.usable).select("starts", "ends", "scope", number=_.number)
    return usable.join(told, "starts")


def _asking(parts: ir.Table) -> ir.Table:
    """The requests that an operation's wait may govern."""
    sent = parts.filter(_.role.isin(["poll", "join", "resubmit"]))
    return sent.select("starts", key="number")


def _by_place(rows: ir.Table) -> ir.Table:
    return rows.filter(_.client.notnull()).select("starts", key=_place(rows))


def _by_server(rows: ir.Table) -> ir.Table:
    return rows.filter(_.client.notnull()).select("starts", "start_us", key=server_of(rows))


def _by_url(rows: ir.Table) -> ir.Table:
    return rows.filter(_.client.notnull()).select("starts", key=hashed(rows.client.concat(" ", url_of(rows))))


def server_of(rows: ir.Table) -> ir.IntegerValue:
    """A number that is equal for requests of one client to one host and port."""
    return hashed_server(rows.client, rows.host, port_of(rows))


def _place(rows: ir.Table) -> ir.IntegerValue:
    return hashed_request(rows.client, rows.host, port_of(rows), rows.method, rows.path)
