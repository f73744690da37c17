"""Replay in virtual time: mock and replayer share a simulated clock, nobody waits, twice the same to the byte."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final

from polltape.exchange import Header, authority
from polltape.mock.core import Mock
from polltape.mock.messages import Request, Response
from polltape.operations.tables import uncollected
from polltape.replay.carrying import Outgoing
from polltape.replay.plan import Step
from polltape.replay.session import Answer, Instants, Session

ROUND_TRIP_S: Final = 0.001
"""An answer takes so long, in recorded seconds, where the recording does not tell: what comes upon it comes later."""
_SEND: Final = 1
_END: Final = 0
"""At one instant answers come before requests: who waits for an answer may send with it."""


@dataclass(order=True, slots=True)
class _Event:
    at_s: float
    what: int
    number: int
    step: Step = field(compare=False)
    sent: Outgoing | None = field(default=None, compare=False)
    answer: Answer | None = field(default=None, compare=False)
    instants: Instants | None = field(default=None, compare=False)


def run_virtually(session: Session, mock: Mock) -> None:
    """Send every step to the mock; ``session.manner.origin`` is the clock's beginning."""
    with uncollected():
        _Run(session, mock).run()


class _Run:
    def __init__(self, session: Session, mock: Mock) -> None:
        self._session = session
        self._mock = mock
        self._origin = session.manner.origin.timestamp()
        self._events: list[_Event] = []

    def run(self) -> None:
        self._go_on()
        while self._events:
            event = heapq.heappop(self._events)
            if event.what == _SEND:
                self._send(event)
            else:
                self._end(event)

    def _go_on(self) -> None:
        """Plan what has become ready."""
        for step in self._session.ready():
            heapq.heappush(self._events, _Event(self._session.due_s(step), _SEND, step.index, step))

    def _send(self, event: _Event) -> None:
        step, now_s, pace = event.step, event.at_s, self._session.manner.pace
        if self._session.is_needless(step):
            self._session.skip(step, now_s)
            self._go_on()
            return
        sent = self._session.outgoing(step)
        response = self._mock.answer(_request(step, sent), self._origin + now_s)
        told_s = step.latency_s if step.first_byte_s is None else step.first_byte_s
        took_s = ROUND_TRIP_S / pace.speed if told_s is None or not pace.holds else pace.held_s(told_s)
        first_s = now_s + max(response.hold_s, took_s)
        end_s = max(first_s, now_s + pace.held_s(step.latency_s))
        instants = Instants(now_s, now_s, first_s, end_s)
        heapq.heappush(self._events, _Event(end_s, _END, step.index, step, sent, _answer(response), instants))

    def _end(self, event: _Event) -> None:
        assert event.sent is not None
        assert event.instants is not None
        assert event.answer is not None
        self._session.returned(event.step, event.sent, event.instants, event.answer)
        self._go_on()


def _request(step: Step, sent: Outgoing) -> Request:
    named = authority(step.exchange.scheme, step.exchange.host, step.exchange.port)
    headers = (Header("Host", named), *sent.headers)
    if sent.body:
        headers = (*headers, Header("Content-Length", str(len(sent.body))))
    return Request(sent.method, step.exchange.scheme, named, sent.target, headers, sent.body)


def _answer(response: Response) -> Answer:
    return Answer(response.status, response.reason, response.headers, response.body)
