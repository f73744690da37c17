"""Operations that are known by what their server gave out: the queue, carts, PAR's orders, plain HTTP.

A checkout is known by its path alone and is played by :mod:`polltape.mock.recorded`.  These are known by keys (a
token, an attempt, an order, an address), which the protocols read in every request:

==========================  ==================================================================================
request                     answer
==========================  ==================================================================================
that begins something       the n-th of its *slot* (protocol, method, endpoint, names in the query, GraphQL
                            operation) gets the n-th recorded one; after the last, the last again.  What the
                            server gave out is minted anew, so that every client has keys of its own
the same again              while its operation runs: what was answered to that, else the submit's answer
by a key that was given     by seconds since its submit (:meth:`polltape.mock.recording.Tape.at`), whichever key
out                         of the chain it names
cancel                      the recorded answer to the cancel, which ends the operation
in a queue, not released    429 again
in a queue, released        passes: answered as if there were no queue
==========================  ==================================================================================

Queueing stands before everything else: what passes is answered by the others.  Throttling is no chain: a throttled
answer comes back by time, like all traffic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from polltape.exchange import DEFAULT_PORTS, Body, Exchange, Observation
from polltape.mock.jobs import identity
from polltape.mock.messages import Request
from polltape.mock.minting import Mint
from polltape.mock.recording import Latency, Shape, Tape, clock_from, shape_of
from polltape.mock.template import Names
from polltape.protocols import http_async, observe, shopify_queue, throttle
from polltape.protocols.base import generic_template

UNCHAINED: Final = frozenset({"shopify-checkout", throttle.NAME})
"""Protocols that are played otherwise."""
_MARKS: Final = re.compile(r"([/?&=|#:])")
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)

Slot = tuple[str, str | None, Shape]
"""What begins alike: protocol, GraphQL operation, shape."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A recorded operation with its keys, as :func:`plain_key` has them; ``sent``: those of the submit's request.

    ``cancel``: the answer to the request that cancelled it.  ``bare``: it was sent again without its queue token.
    """

    tape: Tape
    keys: tuple[str, ...]
    sent: tuple[str, ...]
    path: str
    cancel: Exchange | None = None
    bare: bool = False


Script = Chain | Exchange | None
"""What a slot plays: an operation, an answer that ended in itself, or (in a queue's slot) nothing."""


@dataclass(frozen=True)
class Chains:
    """What was recorded, by slot in time order; ``truncated``: operations without their submit, by their first poll."""

    slots: dict[Slot, list[Script]] = field(default_factory=dict)
    truncated: dict[Slot, list[Chain]] = field(default_factory=dict)

    @property
    def all(self) -> Iterator[Chain]:
        """Every chain."""
        for scripts in self.slots.values():
            yield from (script for script in scripts if isinstance(script, Chain))
        for chains in self.truncated.values():
            yield from chains


class Take(NamedTuple):
    """What is answered, with the names to be replaced, and how many of the server's seconds it is held.

    ``age_s``: how many of them after its recorded place in the operation.  ``begins``: an operation, with this answer.
    """

    exchange: Exchange
    names: Names
    hold_s: float = 0.0
    age_s: float = 0.0
    begins: bool = False


@dataclass(slots=True)
class Living:
    """A client's operation; ``keys``: its own."""

    chain: Chain
    keys: tuple[str, ...]
    started: float
    names: Names
    polls: int = 0
    ended: bool = False


def plain_key(key: str) -> str:
    """A key without scheme and authority.

    >>> plain_key("http-async|https://shop.example/ops/1?v=2"), plain_key("par-posnext|shop.example|7")
    ('http-async|/ops/1?v=2', 'par-posnext|7')
    """
    protocol, _, rest = key.partition("|")
    if rest.startswith(("http://", "https://")):
        parts = urlsplit(rest)
        return f"{protocol}|{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    if protocol == http_async.NAME:  # name|authority|operations/7
        return f"{protocol}|name|{rest.split('|', 2)[-1]}"
    return f"{protocol}|{rest.partition('|')[2]}"


def slot_of(protocol: str, exchange: Exchange) -> Slot:
    """Where an observed exchange belongs."""
    return protocol, exchange.graphql, shape_of(exchange.method, exchange.path, exchange.query)


def live_exchange(request: Request) -> Exchange:
    """The request as the protocols read one, given that it is answered "not yet"."""
    parts = urlsplit(request.base)
    try:
        port = parts.port
    except ValueError:
        port = None
    return observe(
        Exchange(
            "", request.method, request.scheme, parts.hostname or "mock", port or DEFAULT_PORTS[request.scheme],
            request.path, _NOW, query=request.query, request_headers=request.headers,
            request_body=Body(content=request.body or None), status=202,
        )
    )  # fmt: skip


class Played:
    """Plays chains; pure like :class:`~polltape.mock.recorded.Recorded`, which asks it first."""

    def __init__(
        self,
        chains: Chains,
        *,
        speed: float,
        seed: int,
        by: Literal["time", "count"],
        pinned: Tape | None,
        latency: Latency = "none",
    ) -> None:
        self._chains = chains
        self._speed = speed
        self._seed = seed
        self._counted = by == "count"
        self._latency = latency
        self._pinned = next((chain for chain in chains.all if chain.tape is pinned), None)
        self._queues = any(slot[0] == shopify_queue.NAME for slot in chains.slots)
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._mint = Mint(f"{self._seed}|chains")
        self._begun: Counter[Slot] = Counter()
        self._known: dict[str, Living] = {}
        self._same: dict[bytes, Living] = {}
        self.living: list[Living] = []

    def answer(self, request: Request, now: float) -> Take | None:
        """What the request gets, None where no chain has to do with it."""
        if not self._chains.slots and not self._chains.truncated:
            return None
        live = live_exchange(request)
        if self._queues and (take := self._queued(request, live, now)) is not None:
            return take
        for seen in live.observations:
            if seen.protocol in UNCHAINED or seen.protocol == shopify_queue.NAME:
                continue
            take = self._chained(request, live, seen, now)
            if take is not None:
                return take
        return None

    def status(self, now: float) -> list[dict[str, Any]]:
        """As :meth:`Recorded.status`."""
        return [
            {
                "kind": living.chain.tape.kind,
                "key": living.keys[-1].partition("|")[2] if living.keys else "",
                "recorded": living.chain.tape.operation_id,
                "elapsed_s": round(self._elapsed(living, now), 6),
                "completes_s": living.chain.tape.completes if isfinite(living.chain.tape.completes) else None,
                "state": "pending" if self._open(living, now) else "ended",
            }
            for living in self.living
        ]

    # ------------------------------------------------------------------------------------------- queue

    def _queued(self, request: Request, live: Exchange, now: float) -> Take | None:
        """A poll of the queue, or 429; None for what is no business of a queue, and for what passes it."""
        seen = next((o for o in live.observations if o.protocol == shopify_queue.NAME), None)
        if seen is not None and seen.role == "read":
            living = self._by_key(seen.keys) or self._truncated(live, seen, now)
            return None if living is None else self._take(living, now)
        living = None if seen is None else self._by_key(seen.keys)
        slot = slot_of(shopify_queue.NAME, live)
        if living is None and (slot in self._chains.slots or self._pinned_for(slot)):
            same = self._same.get(identity(request))
            if same is None or (same.ended and not self._open(same, now)):
                script = self._next(slot)
                return self._begin(script, request, (), now) if isinstance(script, Chain) else None
            living = same
        if living is None:
            return None
        if self._open(living, now) or (seen is None and not living.chain.bare):
            return self._submitted(living)
        living.ended = True
        return None

    # ------------------------------------------------------------------------------------------ others

    def _chained(self, request: Request, live: Exchange, seen: Observation, now: float) -> Take | None:
        slot = slot_of(seen.protocol, live)
        living = self._by_key(seen.keys)
        # A GET may begin one, too (FHIR's $export); it asks for no key that was given out, and never joins.
        begins = seen.role == "write" or (seen.role == "read" and living is None)
        if begins and (slot in self._chains.slots or self._pinned_for(slot)):
            same = self._same.get(identity(request)) if seen.role == "write" else None
            if same is not None and self._open(same, now):
                return self._answered(same, now, *same.chain.tape.joined(self._elapsed(same, now)))
            script = self._next(slot)
            if isinstance(script, Exchange):
                return Take(script, _pairs(_sent(script, seen.protocol), map(plain_key, seen.keys)))
            return None if script is None else self._begin(script, request, tuple(map(plain_key, seen.keys)), now)
        if living is None and seen.role == "read":
            living = self._truncated(live, seen, now)
        if living is None:
            return None
        if seen.role == "cancel":
            living.ended = True
            return Take(living.chain.cancel, living.names) if living.chain.cancel is not None else None
        return self._take(living, now) if seen.role == "read" else None

    # ----------------------------------------------------------------------------------------- binding

    def _pinned_for(self, slot: Slot) -> bool:
        return self._pinned is not None and self._pinned.tape.protocol == slot[0] and slot in self._chains.slots

    def _next(self, slot: Slot) -> Script:
        """The n-th of its slot; a pinned operation of the slot instead of any other."""
        scripts = self._chains.slots[slot]
        if self._pinned is not None and self._pinned in scripts:
            return self._pinned
        number = self._begun[slot]
        self._begun[slot] += 1
        return scripts[min(number, len(scripts) - 1)]

    def _begin(self, chain: Chain, request: Request, sent: tuple[str, ...], now: float) -> Take:
        living = self._bind(chain, sent, request.path, now)
        self._same[identity(request)] = living
        return self._submitted(living)._replace(begins=True)

    def _truncated(self, live: Exchange, seen: Observation, now: float) -> Living | None:
        """An operation whose submit was not recorded begins with the first poll by a key of its kind."""
        slot = slot_of(seen.protocol, live)
        chains = self._chains.truncated.get(slot)
        if not chains:
            return None
        number = self._begun[slot]
        self._begun[slot] += 1
        chain = self._pinned if self._pinned in chains else chains[min(number, len(chains) - 1)]
        assert chain is not None
        return self._bind(chain, tuple(map(plain_key, seen.keys[:1])), live.path, now)

    def _bind(self, chain: Chain, sent: tuple[str, ...], path: str, now: float) -> Living:
        """A client's operation with keys of its own: what it sent stays, what was given out is minted."""
        names = dict(_pairs(chain.sent, sent)) | dict(_segments(chain.path, path))
        known = {part for key in chain.sent for part in _MARKS.split(key)} | set(_MARKS.split(chain.path))
        for key in chain.keys:
            for part in _given(key):
                if part not in names and part not in known:
                    names[part] = self._mint.fresh(part)
        keys = tuple(_renamed(key, names) for key in chain.keys)
        started = clock_from(chain.tape.submit, now, self._speed, self._latency)
        living = Living(chain, keys, started, tuple(names.items()))
        self.living.append(living)
        for key in (*keys, *(sent if chain.tape.protocol != http_async.NAME else ())):
            self._known[key] = living
        return living

    def _by_key(self, keys: Iterable[str]) -> Living | None:
        return next((living for key in keys if (living := self._known.get(plain_key(key))) is not None), None)

    # ---------------------------------------------------------------------------------------- answering

    def _elapsed(self, living: Living, now: float) -> float:
        return (now - living.started) * self._speed

    def _open(self, living: Living, now: float) -> bool:
        tape = living.chain.tape
        if living.ended:
            return False
        if self._counted:
            return not isfinite(tape.completes) or living.polls < len(tape.takes)
        return self._elapsed(living, now) < tape.completes

    def _take(self, living: Living, now: float) -> Take:
        tape = living.chain.tape
        number, living.polls = living.polls, living.polls + 1
        if self._counted:
            return Take(tape.nth(number), living.names)
        return self._answered(living, now, *tape.at(self._elapsed(living, now)))

    def _answered(self, living: Living, now: float, exchange: Exchange, hold_s: float) -> Take:
        elapsed = self._elapsed(living, now)
        return Take(exchange, living.names, hold_s, elapsed - living.chain.tape.place_of(exchange, elapsed))

    def _submitted(self, living: Living) -> Take:
        tape = living.chain.tape
        return Take(tape.submit or tape.at(0.0)[0], living.names)


def _sent(exchange: Exchange, protocol: str) -> tuple[str, ...]:
    """The keys of an exchange's request."""
    found = next((seen for seen in exchange.observations if seen.protocol == protocol), None)
    return () if found is None else tuple(map(plain_key, found.keys))


def _pairs(recorded: Sequence[str], live: Iterable[str]) -> Names:
    """Recorded names and the client's in their place, of keys that stand for each other."""
    found: dict[str, str] = {}
    for ours, theirs in zip(recorded, live, strict=False):
        found |= dict(_segments(ours, theirs))
    return tuple(found.items())


def _segments(recorded: str, live: str) -> Names:
    """The parts in which two texts of the same build differ."""
    ours, theirs = _MARKS.split(recorded), _MARKS.split(live)
    if len(ours) != len(theirs):
        return ()
    return tuple((a, b) for a, b in zip(ours, theirs, strict=True) if a != b and a and b)


def _renamed(key: str, names: dict[str, str]) -> str:
    """The client's key: a name may be all of it, marks and all (``…==``, ``gid://…``), or a part of an address."""
    protocol, _, rest = key.partition("|")
    if rest in names:
        return f"{protocol}|{names[rest]}"
    return "".join(names.get(part, part) for part in _MARKS.split(key))


def _given(key: str) -> list[str]:
    """The parts of a key that a server makes up: of an address what looks like an id, else all after the protocol."""
    protocol, _, rest = key.partition("|")
    if protocol != http_async.NAME:
        return [rest]
    path = rest.removeprefix("name|").partition("?")[0]
    return [part for part in path.split("/") if part and generic_template(part) == "{id}"]
