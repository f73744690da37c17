"""The mock's side of a capture: which recorded answer a request gets, by binding and by elapsed time.

=======================  ===================================================================================
request                  answer
=======================  ===================================================================================
write (a submit)         the n-th new thing of a kind is bound to the n-th recorded one that has an operation of
                         that kind, by submit time, after the last the last again; its m-th write of the kind
                         gets the m-th recorded one of that thread, likewise
the same write again     while its operation runs: what was answered to that, else the submit's answer; the clock
                         goes on
read of a running        by seconds since its submit, at the mock's speed (:meth:`Tape.at`)
or ended operation
reading that may open    a write of its own; after its end the final answer, until something else was written
any other                the same method, template and query names: the path as recorded, else the n-th new path
                         is bound to the n-th recorded one; by seconds since it was first asked
nothing of that          404 that names the nearest recordings and what differs; nothing is forwarded
=======================  ===================================================================================

Bodies, query values and credentials take no part in matching.  Operations whose submit was not recorded are bound
only where a read finds nothing else; their clock starts with the first read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from math import isfinite
from random import Random
from typing import Any, Final, Literal

from polltape.exchange import Exchange, Observation
from polltape.mock.chains import Played
from polltape.mock.jobs import identity
from polltape.mock.messages import Delivery, Request, Response
from polltape.mock.minting import Mint
from polltape.mock.nearest import no_match
from polltape.mock.recording import (
    PLAYED,
    Latency,
    Recording,
    Shape,
    Tape,
    Thread,
    clock_from,
    issued_tail,
    probe,
    shape_of,
    subject_of,
    tail_of,
    took_s,
)
from polltape.mock.rewriting import Change, Names, Rewriter
from polltape.protocols import shopify_checkout_server
from polltape.protocols.base import Protocol

_ECHOES: Final = {"shopify-checkout": (shopify_checkout_server.sent_fields, shopify_checkout_server.echo)}
"""For each protocol: the fields that a write sets, and how an answer shows them."""


@dataclass(slots=True)
class Running:
    """A client's operation: the tape that it is bound to and its own clock."""

    tape: Tape
    tail: str
    started: float
    write: bytes
    names: Names
    writes_before: int
    polls: int = 0

    def elapsed(self, now: float, speed: float) -> float:
        """Seconds since the submit, on the tape's time line."""
        return (now - self.started) * speed


@dataclass(slots=True)
class Thing:
    """What a client works on (a checkout): the recorded threads it is bound to, and what was sent about it."""

    subject: str
    home: Thread | None = None
    bound: dict[str, Thread] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    fields: dict[str, Any] = field(default_factory=dict)
    writes: int = 0


@dataclass(slots=True)
class Asked:
    """A path of unknown traffic that a client asks for: which recorded path it is bound to, since when, how often."""

    path: str
    since: float
    times: int = 0


class Recorded:
    """Answers as the module's text has it.

    ``by``: ``count`` answers the n-th poll with the n-th recorded one instead.  ``latency``: these answers take as long
    as the recorded ones took.  ``as_signed``: recorded signatures are passed on.
    ``protocols`` as in :func:`polltape.protocols.observe`.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        seed: int = 0,
        by: Literal["time", "count"] = "time",
        latency: Latency = "none",
        par_key: str | None = None,
        as_signed: bool = False,
        protocols: tuple[Protocol, ...] = PLAYED,
    ) -> None:
        self._recording = recording
        self._speed = speed
        self._counted = by == "count"
        self._latency = latency
        self._seed = seed
        self._protocols = protocols
        self._rewriter = Rewriter.of(recording.authorities, speed, par_key, as_signed=as_signed)
        self._chains = Played(recording.chains, speed=speed, seed=seed, by=by, pinned=recording.pinned, latency=latency)
        self._threads: dict[str, list[Thread]] = {}
        pinned = recording.pinned
        self._pinned_thread = next((t for t in recording.threads if pinned is not None and pinned in _tapes(t)), None)
        self.reset()

    @property
    def protocol(self) -> str:
        """What it speaks, for the status page."""
        names = {tape.protocol for thread in self._recording.threads for tape in _tapes(thread)}
        return ", ".join(sorted(names)) or "recorded traffic"

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._mint = Mint(f"{self._seed}|names")
        self._request_ids = Random(f"{self._seed}|requests")
        self._things: dict[tuple[str, str], Thing] = {}
        self._running: dict[tuple[str, str], Running] = {}
        self._bound: Counter[str] = Counter()
        self._asked: dict[tuple[Shape, str], Asked] = {}
        self._paths: Counter[Shape] = Counter()
        self._refused: dict[bytes, tuple[float, Exchange, Names]] = {}
        self._chains.reset()

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        if self._refused and (refusal := self._still_refused(request, now)) is not None:
            return refusal
        take = self._chains.answer(request, now)
        if take is not None:
            self._refuse(request, take.exchange, take.names, now)
            hold_s = take.hold_s / self._speed
            return self._said(
                take.exchange, request, now, None, take.names, hold_s, age_s=take.age_s, begins=take.begins
            )
        seen = probe(request.method, request.path, self._protocols)
        if seen is None:
            return self._other(request, now, None)
        if seen.role == "write" and seen.kind is not None:
            return self._write(request, now, seen, seen.kind)
        return self._read(request, now, seen)

    def status(self, now: float) -> list[dict[str, Any]]:
        """Every client's operation: kind, key, what it is bound to, its clock, when it ends."""
        return [
            {
                "kind": running.tape.kind,
                "key": running.tail,
                "recorded": running.tape.operation_id,
                "elapsed_s": round(running.elapsed(now, self._speed), 6),
                "completes_s": running.tape.completes if isfinite(running.tape.completes) else None,
                "state": "pending" if self._open(running, now) else "ended",
            }
            for running in self._running.values()
        ] + self._chains.status(now)

    # --------------------------------------------------------------------------------------- operations

    def _write(self, request: Request, now: float, seen: Observation, kind: str) -> Response:
        subject = subject_of(seen.protocol, request.path)
        if subject is not None and seen.keys:
            running = self._running.get((seen.protocol, tail_of(seen.keys[0])))
            if running is not None and running.write == request.identity and self._open(running, now):
                return self._joined(request, now, running)
        return self._script(request, now, seen, kind, subject)

    def _script(self, request: Request, now: float, seen: Observation, kind: str, subject: str | None) -> Response:
        """The next recorded write of that kind, and a clock where it opens an operation."""
        thing = Thing("") if subject is None else self._thing(seen.protocol, subject)
        script = self._next(thing, kind)
        if script is None:
            return no_match(self._recording, request)
        recorded = script.submit if isinstance(script, Tape) else script
        if recorded is None:
            return no_match(self._recording, request)
        thread = thing.bound.get(kind)
        own = thread.subject if thread is not None else None
        if subject is None and own is not None:
            thing.subject = self._mint.fresh(own)
            self._things[seen.protocol, thing.subject] = thing
        names: Names = () if own is None else ((own, thing.subject),)
        tail, names = self._tail(script, seen, own, thing, names)
        self._take_fields(seen, request, thing)
        if isinstance(script, Tape):
            started = clock_from(recorded, now, self._speed, self._latency)
            running = Running(script, tail, started, request.identity, names, thing.writes)
            self._running[seen.protocol, tail] = running
        elif recorded.status is not None and recorded.status < 300:
            self._running.pop((seen.protocol, tail), None)
        self._refuse(request, recorded, names, now)
        return self._said(recorded, request, now, seen.protocol, names, begins=isinstance(script, Tape))

    def _refuse(self, request: Request, exchange: Exchange, names: Names, now: float) -> None:
        """A write that was refused for a while is refused for as long as the answer says, 1 s without a word."""
        if exchange.status in (429, 503) and request.method not in ("GET", "HEAD") and not exchange.queued:
            asked = 1.0 if exchange.instruction is None else exchange.instruction.asked_s or 1.0
            self._refused[identity(request)] = (now + asked / self._speed, exchange, names)

    def _still_refused(self, request: Request, now: float) -> Response | None:
        until, exchange, names = self._refused.get(identity(request), (now, None, ()))
        if exchange is None or now >= until:
            return None
        return self._said(exchange, request, now, None, names)

    def _tail(
        self, script: Tape | Exchange, seen: Observation, own: str | None, thing: Thing, names: Names
    ) -> tuple[str, Names]:
        """The client's key for what is begun; names that the answer issues are minted."""
        if seen.keys:
            return tail_of(seen.keys[0]), names
        recorded = script.tail if isinstance(script, Tape) else issued_tail(script)
        if recorded is None or own is None or recorded == own:
            return thing.subject, names
        where, _, issued = recorded.removeprefix(f"{own}|").rpartition("|")
        minted = self._mint.fresh(issued)
        return "|".join((thing.subject, where, minted)), (*names, (issued, minted))

    def _read(self, request: Request, now: float, seen: Observation) -> Response:
        tail = tail_of(seen.keys[0]) if seen.keys else ""
        subject = subject_of(seen.protocol, request.path)
        running = self._running.get((seen.protocol, tail))
        thing = None if subject is None else self._things.get((seen.protocol, subject))
        if running is not None and not self._begins_anew(running, seen, thing, now):
            return self._played(running, request, now)
        if seen.opens and seen.kind is not None and self._candidates(seen.kind):
            return self._script(request, now, seen, seen.kind, subject)
        return self._truncated(request, now, seen, tail, subject) or self._other(request, now, thing, seen.protocol)

    def _begins_anew(self, running: Running, seen: Observation, thing: Thing | None, now: float) -> bool:
        """An opening read after the end begins anew once something else was written."""
        if not seen.opens or thing is None or self._open(running, now):
            return False
        return thing.writes > running.writes_before

    def _truncated(
        self, request: Request, now: float, seen: Observation, tail: str, subject: str | None
    ) -> Response | None:
        """A recorded operation without its submit, where other traffic has nothing to say; None for none."""
        found = self._recording.truncated.get(str(seen.kind))
        if subject is None or not found:
            return None
        if shape_of(request.method, request.path, request.query) in self._recording.others:
            return None
        number = self._bound[f"truncated {seen.kind}"]
        self._bound[f"truncated {seen.kind}"] += 1
        tape = self._pinned(str(seen.kind)) or found[min(number, len(found) - 1)]
        names = _aligned(tape.tail, tail)
        started = clock_from(None, now, self._speed, self._latency)
        running = self._running[seen.protocol, tail] = Running(tape, tail, started, b"", names, 0)
        return self._played(running, request, now)

    def _played(self, running: Running, request: Request, now: float) -> Response:
        """What a poll is answered: by the clock, or by how often it was asked."""
        tape = running.tape
        exchange, hold = (tape.nth(running.polls), 0.0) if self._counted else tape.at(running.elapsed(now, self._speed))
        running.polls += 1
        return self._said(exchange, request, now, tape.protocol, running.names, hold / self._speed)

    def _open(self, running: Running, now: float) -> bool:
        """Whether it has not ended."""
        if self._counted:
            return running.tape.final is None or running.polls < len(running.tape.takes)
        return running.elapsed(now, self._speed) < running.tape.completes

    # ------------------------------------------------------------------------------------------- binding

    def _thing(self, protocol: str, subject: str) -> Thing:
        return self._things.setdefault((protocol, subject), Thing(subject))

    def _next(self, thing: Thing, kind: str) -> Tape | Exchange | None:
        """The recorded write that this one gets; binds the thing where it is new for that kind."""
        pinned = self._pinned(kind)
        if pinned is not None:
            thing.bound[kind] = Thread(pinned.subject, {kind: [pinned]})
            thing.home = thing.home or self._pinned_thread
            return pinned
        if kind not in thing.bound:
            thread = self._bind(thing, kind)
            if thread is None:
                return None
            thing.bound[kind] = thread
            thing.home = thing.home or thread
        scripts = thing.bound[kind].scripts[kind]
        index = thing.count[kind]
        thing.count[kind] += 1
        return scripts[min(index, len(scripts) - 1)]

    def _bind(self, thing: Thing, kind: str) -> Thread | None:
        """Its own thread (or the pinned operation's) where that has the kind, else the n-th that has one."""
        candidates = self._candidates(kind)
        number = self._bound[kind]
        self._bound[kind] += 1
        home = thing.home or self._pinned_thread
        if home is not None and kind in home.scripts:
            return home
        return candidates[min(number, len(candidates) - 1)] if candidates else None

    def _candidates(self, kind: str) -> list[Thread]:
        """Threads with an operation of the kind, by its submit; without any, those with a write of it."""
        if kind not in self._threads:
            playing = [thread for thread in self._recording.threads if thread.plays(kind)]
            writing = [thread for thread in self._recording.threads if kind in thread.scripts]
            self._threads[kind] = sorted(playing or writing, key=lambda thread: _begins(thread, kind))
        return self._threads[kind]

    def _pinned(self, kind: str) -> Tape | None:
        pinned = self._recording.pinned
        return pinned if pinned is not None and pinned.kind == kind else None

    # -------------------------------------------------------------------------------------- other traffic

    def _other(self, request: Request, now: float, thing: Thing | None, protocol: str | None = None) -> Response:
        shape = shape_of(request.method, request.path, request.query)
        recorded = self._recording.others.get(shape)
        if recorded is None:
            return no_match(self._recording, request)
        asked = self._asked.get((shape, request.path))
        if asked is None:
            asked = self._asked[shape, request.path] = Asked(self._path(request, shape, recorded, thing), now)
        takes = recorded[asked.path]
        elapsed = round((now - asked.since) * self._speed, 6)
        instants = _sets_in(takes, self._recording.complete_at)
        fitting = [take for take, instant in zip(takes, instants, strict=True) if instant <= elapsed]
        chosen = takes[min(asked.times, len(takes) - 1)] if self._counted else fitting[-1]
        asked.times += 1
        return self._said(chosen, request, now, protocol, _aligned(asked.path, request.path, "/"))

    def _path(self, request: Request, shape: Shape, recorded: dict[str, list[Exchange]], thing: Thing | None) -> str:
        """The recorded path for a new one: the same, that of its own thread, else the n-th."""
        if request.path in recorded:
            return request.path
        number = self._paths[shape]
        self._paths[shape] += 1
        home = thing.home.subject if thing is not None and thing.home is not None else None
        own = [path for path in recorded if home is not None and home in path]
        return own[0] if own else list(recorded)[min(number, len(recorded) - 1)]

    # ----------------------------------------------------------------------------------------- answering

    def _joined(self, request: Request, now: float, running: Running) -> Response:
        """What the same write is answered while its operation runs."""
        exchange, hold_s = running.tape.joined(running.elapsed(now, self._speed))
        return self._said(exchange, request, now, running.tape.protocol, running.names, hold_s / self._speed)

    def _said(
        self,
        exchange: Exchange,
        request: Request,
        now: float,
        protocol: str | None,
        names: Names,
        hold_s: float = 0.0,
        *,
        age_s: float = 0.0,
        begins: bool = False,
    ) -> Response:
        """The recorded answer as it is given now; ``begins``: an operation, with this answer."""
        change = self._change(protocol, names)
        made = self._rewriter.response(
            exchange, request, now, names=names, change=change, hold_s=hold_s, age_s=age_s, chance=self._request_ids
        )
        if self._latency == "none" or (self._latency == "submits" and not begins):
            return made
        return _in_its_time(made, exchange, self._speed)

    def _change(self, protocol: str | None, names: Names) -> Change | None:
        """How the answer shows what this client has sent about the thing, None where it has sent nothing."""
        thing = self._things.get((protocol or "", names[0][1])) if names else None
        if protocol is None or thing is None or not thing.fields:
            return None
        return partial(_ECHOES[protocol][1], fields=thing.fields)

    def _take_fields(self, seen: Observation, request: Request, thing: Thing) -> None:
        if seen.role == "write":
            thing.writes += 1
        if seen.protocol in _ECHOES:
            thing.fields |= _ECHOES[seen.protocol][0](request.json())


def _sets_in(takes: list[Exchange], complete_at: str) -> list[float]:
    """From when on each of a path's answers is given: ``upper`` when it was asked for, ``lower`` when the one before
    had been given, or in the ``middle``.

    Seconds since the first answer: clients count their pauses from an answer, and the mock's comes at once.
    """
    begin = takes[0].last_instant
    asked = [(take.request_started_at - begin).total_seconds() for take in takes]
    given = [asked[0], *((take.last_instant - begin).total_seconds() for take in takes[:-1])]
    if complete_at == "upper":
        return asked
    lowers = [asked[0], *(lower + 1e-6 for lower in given[1:])]  # the answer before is given at least once
    if complete_at == "lower":
        return lowers
    return [(min(lower, upper) + upper) / 2 for lower, upper in zip(lowers, asked, strict=True)]


def _in_its_time(response: Response, exchange: Exchange, speed: float) -> Response:
    """The answer, as long under way as the recorded one was, its body too."""
    first_s, last_s = took_s(exchange)
    if not response.body:
        first_s = last_s
    hold_s = max(response.hold_s, first_s / speed)
    return replace(response, hold_s=hold_s, delivery=Delivery(body_s=(last_s - first_s) / speed))


def _tapes(thread: Thread) -> list[Tape]:
    played = [script for scripts in thread.scripts.values() for script in scripts if isinstance(script, Tape)]
    return [*played, *thread.truncated.values()]


def _begins(thread: Thread, kind: str) -> tuple[datetime, str]:
    """When the thread's first operation of the kind was submitted; without one, its first write."""
    scripts = thread.scripts[kind]
    first = next((script.submit for script in scripts if isinstance(script, Tape)), None) or scripts[0]
    exchange = first if isinstance(first, Exchange) else first.at(0.0)[0]
    return exchange.request_started_at, exchange.exchange_id


def _aligned(recorded: str, live: str, mark: str = "|") -> Names:
    """The parts in which two names of the same build differ."""
    ours, theirs = recorded.split(mark), live.split(mark)
    if len(ours) != len(theirs):
        return ()
    pairs = [(_bare(a), _bare(b)) for a, b in zip(ours, theirs, strict=True) if a != b]
    return tuple((a, b) for a, b in dict(pairs).items() if a and b)


def _bare(part: str) -> str:
    return part.removesuffix(".json")
