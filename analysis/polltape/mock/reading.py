"""From a capture to what the mock plays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, Final

from polltape.errors import InputError, UsageError
from polltape.exchange import Exchange
from polltape.mock.chains import UNCHAINED, Chain, Chains, Script, Slot, plain_key, slot_of
from polltape.mock.recording import (
    SIGNATURES,
    Recording,
    Shape,
    Tape,
    Thread,
    issued_tail,
    names_in,
    probe,
    shape_of,
    subject_of,
    tail_of,
)
from polltape.protocols import endpoint as template_of
from polltape.protocols import http_async, par_posnext, shopify_queue, throttle

if TYPE_CHECKING:
    from polltape.capture.reading import Capture
    from polltape.operations.fold import Folded, Member, Operation, Seen

_PASSING_S: Final = 1.0
_REFUSED: Final = frozenset({408, 425, 429})


def recording_of(capture: Capture, *, complete_at: str, pinned: str | None, signed: bool = False) -> Recording:
    """As :meth:`Recording.of`."""
    from polltape.capture.reading import read_exchanges
    from polltape.operations.lives import folded_of
    from polltape.operations.tables import uncollected

    with uncollected():
        exchanges = [exchange for exchange in read_exchanges(capture) if exchange.status is not None]
        if not exchanges:
            source = ", ".join(capture.sources)
            raise InputError(f"{source}: holds no answer to play", hint="record some traffic first: polltape record")
        folded = folded_of(capture)
        if pinned is not None:
            _known(pinned, [operation for group in folded for operation in group.operations])
        return _Reading(exchanges, complete_at, signed=signed).recording(folded, pinned)


def _known(pinned: str, operations: Iterable[Operation]) -> None:
    names = [operation.operation_id for operation in operations]
    if pinned in names:
        return
    near = get_close_matches(pinned, names, 1)
    told = f"did you mean {near[0]}?" if near else f"there are {len(names)}; `polltape show PATH` lists them"
    raise UsageError(f"no operation {pinned!r} in the capture", hint=told)


class _Reading:
    """From exchanges and operations to a :class:`Recording`."""

    def __init__(self, exchanges: list[Exchange], complete_at: str, *, signed: bool) -> None:
        self._exchanges = exchanges
        self._signed = signed
        self._by_id = {exchange.exchange_id: exchange for exchange in exchanges}
        self._complete_at = complete_at
        self._threads: dict[tuple[str, str], Thread] = {}
        self._others: dict[Shape, dict[str, list[Exchange]]] = {}
        self._tapes: dict[str, Tape] = {}
        self._chains: dict[str, Chain] = {}
        self._truncated: dict[Slot, list[Chain]] = defaultdict(list)
        self._members: set[str] = set()
        self._afterwards: dict[str, list[Seen]] = defaultdict(list)

    def recording(self, folded: list[Folded], pinned: str | None) -> Recording:
        for group in folded:
            for seen, operation in (*group.backwards, *group.polled_on):
                self._afterwards[operation.operation_id].append(seen)
        operations = (operation for group in folded for operation in group.operations)
        pin = None
        for operation in sorted(operations, key=lambda o: (o.first.start_us, o.operation_id)):
            tape = self._take_up(operation)
            if tape is not None and operation.operation_id == pinned:
                pin = tape
        slots = self._slots()
        for exchange in self._exchanges:
            self._place(exchange)
        return Recording(
            threads=tuple(self._threads.values()),
            chains=Chains(slots, dict(self._truncated)),
            others=self._others,
            shapes=self._shapes(),
            authorities=frozenset(exchange.authority for exchange in self._exchanges),
            pinned=pin,
            notes=self._notes(),
            complete_at=self._complete_at,
        )

    def _take_up(self, operation: Operation) -> Tape | None:
        """Put an operation where it will be played; throttling is played as the traffic that it is."""
        if operation.protocol == throttle.NAME:
            return None
        queue = operation.protocol == shopify_queue.NAME
        members = operation.members
        # What a queue let pass is answered as if there were no queue.
        self._members |= {m.seen.exchange_id for m in members if not queue or m.role in ("submit", "poll")}
        tape = self._tape(operation)
        if tape is None:
            return None
        if operation.protocol not in UNCHAINED:
            self._chain(operation, tape)
        elif tape.submit is not None:
            self._tapes[tape.submit.exchange_id] = tape
        else:
            self._thread(tape.protocol, tape.subject, tape.operation_id).truncated.setdefault(tape.kind, tape)
        return tape

    # ------------------------------------------------------------------------------------------ chains

    def _chain(self, operation: Operation, tape: Tape) -> None:
        first = self._by_id[operation.first.exchange_id]
        chain = Chain(
            tape=tape,
            keys=tuple(dict.fromkeys(map(plain_key, operation.types))),
            sent=tuple(map(plain_key, operation.first.keys)),
            path=first.path,
            cancel=self._cancelled(operation),
            bare=any(member.seen.role == "resubmit-bare" for member in operation.members),
        )
        if tape.submit is None:
            self._truncated[slot_of(tape.protocol, first)].append(chain)
        else:
            self._chains[first.exchange_id] = chain

    def _cancelled(self, operation: Operation) -> Exchange | None:
        end = operation.ended_by
        return None if end is None or end.role != "cancel" else self._by_id.get(end.exchange_id)

    def _slots(self) -> dict[Slot, list[Script]]:
        """What each slot plays, in time order: its operations, and what was answered at once between them."""
        slots: dict[Slot, list[Script]] = {}
        for exchange_id, chain in self._chains.items():
            slots[slot_of(chain.tape.protocol, self._by_id[exchange_id])] = []
        queues = any(slot[0] == shopify_queue.NAME for slot in slots)
        for exchange in self._exchanges:
            chain_of = self._chains.get(exchange.exchange_id)
            if queues:
                self._wait_in_line(slots, exchange, chain_of)
            for seen in exchange.observations:
                if seen.protocol in UNCHAINED or seen.protocol == shopify_queue.NAME:
                    continue
                slot = slot_of(seen.protocol, exchange)
                if seen.role != "write" and (seen.role != "read" or slot not in slots):  # a GET may begin one
                    continue
                if chain_of is not None and chain_of.tape.protocol == seen.protocol:
                    slots[slot].append(chain_of)
                elif exchange.exchange_id in self._members or exchange.queued:
                    continue
                elif slot in slots or seen.protocol != http_async.NAME:
                    slots.setdefault(slot, []).append(exchange)
                    self._members.add(exchange.exchange_id)
        return slots

    def _wait_in_line(self, slots: dict[Slot, list[Script]], exchange: Exchange, chain: Chain | None) -> None:
        """A queue's slot: who was queued, and (None) who came through at once, with no token."""
        slot = slot_of(shopify_queue.NAME, exchange)
        if slot not in slots:
            return
        if chain is not None and chain.tape.protocol == shopify_queue.NAME:
            slots[slot].append(chain)
        elif not any(seen.protocol == shopify_queue.NAME for seen in exchange.observations):
            slots[slot].append(None)

    # ------------------------------------------------------------------------------- checkouts and others

    def _place(self, exchange: Exchange) -> None:
        """Put an exchange where the mock will look for it; polls and joins are on their tape already."""
        tape = self._tapes.get(exchange.exchange_id)
        if tape is not None:
            thread = self._thread(tape.protocol, tape.subject, tape.operation_id)
            thread.scripts.setdefault(tape.kind, []).append(tape)
            return
        if exchange.exchange_id in self._members or exchange.queued:
            return
        asked = probe(exchange.method, exchange.path)
        if asked is not None and asked.kind is not None and (asked.role == "write" or asked.opens):
            subject = subject_of(asked.protocol, exchange.path) or issued_tail(exchange)
            thread = self._thread(asked.protocol, subject, exchange.exchange_id)
            thread.scripts.setdefault(asked.kind, []).append(exchange)
        else:
            shape = shape_of(exchange.method, exchange.path, exchange.query)
            self._others.setdefault(shape, {}).setdefault(exchange.path, []).append(exchange)

    def _thread(self, protocol: str, subject: str | None, alone: str) -> Thread:
        """The thread of that thing; what is about nothing stands alone."""
        return self._threads.setdefault((protocol, alone if subject is None else subject), Thread(subject))

    def _tape(self, operation: Operation) -> Tape | None:
        first = self._by_id.get(operation.first.exchange_id)
        if first is None or operation.kind is None:
            return None
        t0 = operation.first.start_us if operation.opened_us is None else operation.opened_us
        polls = [member for member in operation.by_start if member.role == "poll"]
        pending = [member.seen for member in polls if _shows_no_end(member)]
        end = operation.ended_by
        if operation.protocol == shopify_queue.NAME and operation.released is not None:
            end = operation.released
        end = None if end is None or end.role == "cancel" else end
        final = end is not None and not end.role.startswith("resubmit")
        later = sorted(self._afterwards[operation.operation_id], key=lambda seen: seen.start_us)
        tail = tail_of(operation.key)
        completes, final_from = self._end(operation, end, t0)
        return Tape(
            operation_id=operation.operation_id,
            protocol=operation.protocol,
            kind=operation.kind,
            tail=tail,
            subject=subject_of(operation.protocol, first.path) or tail,
            submit=None if operation.truncated else first,
            pending=tuple((_since(seen, t0), self._by_id[seen.exchange_id]) for seen in pending),
            passing=self._passing(polls, t0),
            final=self._by_id.get(end.exchange_id) if end is not None and final else None,
            final_from=final_from,
            completes=completes,
            takes=tuple(self._by_id[m.seen.exchange_id] for m in polls if m.seen.exchange_id in self._by_id),
            afterwards=self._timed(later, t0),
            joins=self._timed([member.seen for member in operation.by_start if member.role == "join"], t0),
        )

    def _timed(self, seen: Iterable[Seen], t0: int) -> tuple[tuple[float, Exchange], ...]:
        """When each was asked, and what it was answered."""
        return tuple((_since(s, t0), self._by_id[s.exchange_id]) for s in seen if s.exchange_id in self._by_id)

    def _end(self, operation: Operation, end: Seen | None, t0: int) -> tuple[float, float]:
        """When it completes, and from when on the final answer is on its way.

        ``upper``: the response start of the ending exchange, so never sooner than it was seen.  The recorded
        server took from that request's start until then; a poll in that time is held as the recorded one was.
        """
        if end is None:
            return inf, inf
        seen_us = end.end_us if end.response_start_us is None else end.response_start_us
        upper = max(0, seen_us - t0) / 1e6
        last = operation.last_pending_us()
        lower = 0.0 if last is None else max(0, last - t0) / 1e6
        if self._complete_at == "upper":
            asked = _since(end, t0)
            return upper, (asked if lower < asked < upper else upper)
        instant = lower if self._complete_at == "lower" else round((lower + upper) / 2, 6)
        return instant, instant

    def _passing(self, polls: list[Member], t0: int) -> tuple[tuple[float, float, Exchange], ...]:
        """Answers that say nothing of the state: each stands for as long as it asked to wait, 1 s without a
        word, or until the next recorded poll."""
        found = []
        for member, following in zip_longest(polls, polls[1:]):
            seen = member.seen
            if member.state is not None or seen.status is None or seen.status < 400:
                continue
            start = _since(seen, t0)
            until = start + max(seen.asked_s or 0.0, _PASSING_S)
            until = until if following is None else min(until, _since(following.seen, t0))
            found.append((start, until, self._by_id[seen.exchange_id]))
        return tuple(found)

    def _shapes(self) -> dict[Shape, int]:
        """How often each shape was asked for, by the endpoints that were read when it was recorded."""
        told = Counter((e.method, e.endpoint or template_of(e.path), e.query) for e in self._exchanges)
        found: Counter[Shape] = Counter()
        for (method, endpoint, query), count in told.items():
            found[method, endpoint, names_in(query)] += count
        return dict(found)

    def _notes(self) -> tuple[str, ...]:
        told = SIGNATURES - {par_posnext.DIGEST_HEADER} if self._signed else SIGNATURES
        signed: Counter[str] = Counter()
        for name, count in Counter(h.name for e in self._exchanges for h in e.response_headers).items():
            if name.lower() in told:
                signed[name.lower()] += count
        if not signed:
            return ()
        names = ", ".join(f"{name} ({count} times)" for name, count in sorted(signed.items()))
        return (f"recorded signatures are left out, as they sign other bodies than the mock's: {names}",)


def _shows_no_end(member: Member) -> bool:
    """Whether a poll was answered pending, or with a success that nobody understands (PN004)."""
    status = member.seen.status
    return member.state == "pending" or (member.state is None and status is not None and status < 400)


def _since(seen: Seen, t0: int) -> float:
    return max(0, seen.start_us - t0) / 1e6
