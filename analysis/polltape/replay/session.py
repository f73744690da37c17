"""One replay, without clock or sockets: what to send next, and what came back as exchanges like any other.

A driver (:mod:`~polltape.replay.virtual`, :mod:`~polltape.replay.sockets`) takes the steps that are
:meth:`Session.ready`, asks :meth:`Session.due_s` when each is to go, sends :meth:`Session.outgoing`, hands the
answer to :meth:`Session.returned`, and looks again what is ready.  Its seconds are those of the replay; instants
that are stored are of the recording's pace: seconds × speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from polltape.capture.content import decode
from polltape.exchange import Body, Coverage, Exchange, Header, all_headers, first_header
from polltape.mock.hints import DIGEST_HEADER, ETA_HEADER, WAIT_HEADER
from polltape.operations.fold import FINAL
from polltape.protocols import observe
from polltape.replay.carrying import Carrier, Outgoing
from polltape.replay.origins import OF_THE_MESSAGE, sources
from polltape.replay.plan import Ended, Lifetime, Pace, Step, plan

_JUDGED: Final = {"right": True, "wrong": False}
_NOT_SENT: Final = OF_THE_MESSAGE | {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
    *("accept-encoding", "content-encoding"),
}
"""Headers of a message, a hop or a coding; what is sent has its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the response, or the error in its place.  ``body`` is as transferred."""

    status: int | None
    reason: str = ""
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Instants:
    """Seconds of the replay: request's first and last byte, response's first and last (None without one)."""

    sent_s: float
    sent_end_s: float
    first_byte_s: float | None
    end_s: float


class Exact(NamedTuple):
    """Seconds of the replay that the mock asked to wait, and that its queue was to take; None where it did not say."""

    wait_s: float | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Server:
    """Whom the exchanges name as the server; None keeps what was recorded."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Manner:
    """How the exchanges of a replay are made.

    ``session_id`` stands in every exchange; ``origin`` is the instant at which the replay began.  ``server``
    is given where it is not the recorded one.  ``prepare`` is the last to change a request; ``clean`` makes
    of an exchange one that may be stored.
    """

    session_id: str
    origin: datetime
    pace: Pace = Pace()  # noqa: RUF009 - frozen
    server: Server | None = None
    prepare: Callable[[Outgoing, Exchange, Carrier], Outgoing] = lambda outgoing, recorded, carrier: outgoing
    clean: Callable[[Exchange], Exchange] = lambda exchange: exchange


class Session:
    """The state of one replay."""

    def __init__(self, exchanges: Iterable[Exchange], operations: Sequence[Lifetime], manner: Manner) -> None:
        recorded = list(exchanges)
        self.steps: list[Step] = plan(recorded, operations, sources(recorded))
        self.manner = manner
        self._carrier = Carrier(recorded)
        self._missing = {step.index: len(step.after) for step in self.steps}
        self._following: dict[int, list[Step]] = {}
        for step in self.steps:
            for index in step.after:
                self._following.setdefault(index, []).append(step)
        self._ready = [step for step in self.steps if not step.after]
        self._ended: dict[int, Ended] = {}
        self._over: set[int] = set()
        self._returned: dict[int, tuple[Exchange, Exact]] = {}

    # -- sending

    @property
    def has_answers(self) -> bool:
        """Whether any answer has come: what a request says may depend on it."""
        return bool(self._returned)

    def ready(self) -> list[Step]:
        """The steps whose last missing answer has come since this was asked before; at first those that need none."""
        found, self._ready = self._ready, []
        return found

    def due_s(self, step: Step) -> float:
        """When the step is to be sent; it must have been ready."""
        return self.manner.pace.due_s(step, self._ended)

    def is_needless(self, step: Step) -> bool:
        """Whether a client that obeys would not send it: it polls what has ended."""
        roles = {o.role for o in step.exchange.observations}
        return self.manner.pace.timing == "obey" and roles == {"read"} and step.behind in self._over

    def skip(self, step: Step, now_s: float) -> None:
        """Leave the step out."""
        self._over.add(step.index)
        self._end(step, Ended(now_s))

    def _end(self, step: Step, ended: Ended) -> None:
        self._ended[step.index] = ended
        for following in self._following.pop(step.index, ()):
            self._missing[following.index] -= 1
            if not self._missing[following.index]:
                self._ready.append(following)

    def outgoing(self, step: Step) -> Outgoing:
        """The step's request as it is to be sent now."""
        made = self._carrier.outgoing(step.exchange, _NOT_SENT)
        return self.manner.prepare(made, step.exchange, self._carrier)

    # -- what came back

    def returned(self, step: Step, sent: Outgoing, instants: Instants, answer: Answer) -> Exchange:
        """Take the answer to a step; the exchange that it makes, which may not be stored as it is.

        What can wait is left for :meth:`exchanges`: other requests are due.
        """
        raw = observe(self._exchange(step, sent, instants, answer))
        if answer.error is None:
            self._carrier.learn(step.exchange, raw)
        exact = Exact(_exact(answer, WAIT_HEADER), _exact(answer, ETA_HEADER))
        asked_s = exact.wait_s
        if asked_s is None and raw.instruction is not None:
            asked_s = raw.instruction.asked_s
        self._end(step, Ended(instants.end_s, asked_s))
        if any(o.state in FINAL or o.state == "released" for o in raw.observations):
            self._over.add(step.index)
        self._returned[step.index] = (raw, exact)
        return raw

    def _kept(self, step: Step, raw: Exchange, exact: Exact) -> Exchange:
        """The exchange as it may be stored, its hints in the recording's time.

        Equal bodies are told by their digests, which are keyed and of unredacted content: those of the
        recording stay, so that what was one write there is one write here.
        """
        clean = self.manner.clean(raw)
        clean = clean if clean is raw else observe(clean)
        body = replace(clean.request_body, digest=step.exchange.request_body.digest)
        kept = replace(clean, request_body=body)
        speed, asked = self.manner.pace.speed, kept.instruction
        if speed == 1:
            return kept
        if exact.wait_s is not None and asked is not None and asked.asked_s is not None:
            kept = replace(kept, instruction=replace(asked, asked_s=round(exact.wait_s * speed, 6)))
        if exact.eta_s is not None:
            eta_s = round(exact.eta_s * speed, 6)
            seen = (o if o.eta_s is None else replace(o, eta_s=eta_s) for o in kept.observations)
            kept = replace(kept, observations=tuple(seen))
        return kept

    def _exchange(self, step: Step, sent: Outgoing, instants: Instants, answer: Answer) -> Exchange:
        recorded, server = step.exchange, self.manner.server
        here = Server(recorded.scheme, recorded.host, recorded.port) if server is None else server
        no_answer = answer.error is not None
        return Exchange(
            exchange_id=_digest(self.manner.session_id, step.index),
            session_id=self.manner.session_id,
            seq=step.index + 1,
            client=recorded.client,  # throttling is each client's own
            method=sent.method,
            scheme=here.scheme,
            host=here.host,
            port=here.port,
            path=sent.path,
            query=sent.query,
            http_version="HTTP/1.1",
            request_started_at=self.instant(instants.sent_s),
            request_ended_at=self.instant(instants.sent_end_s),
            response_started_at=None if instants.first_byte_s is None else self.instant(instants.first_byte_s),
            response_ended_at=self.instant(instants.end_s),
            request_headers=sent.headers,
            request_body=Body(wire_size=len(sent.body), size=len(sent.body), content=sent.body or None),
            status=answer.status,
            reason=answer.reason or None,
            response_headers=answer.headers,
            response_body=Body() if no_answer else _body(answer),
            error=answer.error,
            digest_ok=_JUDGED.get(first_header(answer.headers, DIGEST_HEADER) or ""),
            key_id=recorded.key_id,
        )

    def instant(self, seconds: float) -> datetime:
        """Seconds of the replay as an instant at the recording's pace."""
        return self.manner.origin + timedelta(seconds=seconds * self.manner.pace.speed)

    def exchanges(self) -> list[Exchange]:
        """What came back until now as it may be stored, by request start."""
        kept = [self._kept(self.steps[index], *returned) for index, returned in self._returned.items()]
        return sorted(kept, key=lambda e: (e.request_started_at, e.exchange_id))

    def counterparts(self) -> dict[str, str]:
        """For each recorded exchange that was sent again, the id of the new one."""
        return {self.steps[index].exchange.exchange_id: raw.exchange_id for index, (raw, _) in self._returned.items()}

    def coverage(self, tail_s: float) -> Coverage:
        """From the first request to as long behind the last answer as the recording went on.

        Nothing is waited for: the replay has sent all there is to send, so nothing can follow any more.
        Without it an operation that was abandoned could never be told from one that was cut off.
        """
        last = max((raw.last_instant for raw, _ in self._returned.values()), default=self.manner.origin)
        end = last + timedelta(seconds=tail_s)
        return Coverage(self.manner.session_id, self.manner.origin, end, source="replay")


def _body(answer: Answer) -> Body:
    decoded = decode(answer.body, ",".join(all_headers(answer.headers, "Content-Encoding")))
    if decoded.content is None:
        return Body(wire_size=len(answer.body), not_stored=decoded.problem)
    size = len(decoded.content) if decoded.complete else None
    return Body(len(answer.body), size, decoded.content or None, truncated=not decoded.complete)


def _exact(answer: Answer, name: str) -> float | None:
    """Seconds of a header with which our mock tells what its speed has made too coarse."""
    text = first_header(answer.headers, name)
    try:
        seconds = None if text is None else float(text)
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds < 1e12 else None


def _digest(session_id: str, index: int) -> str:
    return blake2b(f"{session_id}\0{index}".encode(), digest_size=16).hexdigest()
