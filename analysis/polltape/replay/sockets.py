"""Replay over real sockets, in real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from polltape.errors import PolltapeError
from polltape.exchange import Exchange, Header, authority
from polltape.operations.tables import uncollected
from polltape.replay.carrying import Outgoing
from polltape.replay.plan import Step
from polltape.replay.session import Instants, Session
from polltape.replay.wire import ANSWER_WITHIN_S, Client, Peer, sleep_until

Said = Callable[[Exchange], None]

CONNECT_S: Final = 0.05
"""A connection is made so long before it is needed: neither late nor long ahead."""
LEAD_S: Final = 2 * CONNECT_S
"""The clock starts so long after everything is prepared, that the first requests too find their connections made."""
_START_S: Final = 50e-6
"""What it takes to set one session going; many at once need a longer lead."""


def run_on_sockets(
    session: Session,
    peer: Peer,
    *,
    as_recorded: bool,
    answer_within_s: float = ANSWER_WITHIN_S,
    phase_s: float | None = None,
    said: Said = lambda exchange: None,
) -> None:
    """Send every step to the peer; ``said`` hears each exchange as it ends.

    ``as_recorded``: the requests name the recorded host, whoever gets them (the mock does: it answers for all).
    ``phase_s``: at which part of a second of the wall clock to begin, where that matters.
    Raises ServiceError where the peer refuses or hangs.
    """
    client = Client(peer, answer_within_s)
    with uncollected():  # a look through all that was recorded would make every request late that is due meanwhile
        asyncio.run(_Run(session, client, None if as_recorded else peer.authority, phase_s, said).run())


class _Run:
    def __init__(self, session: Session, client: Client, host: str | None, phase_s: float | None, said: Said) -> None:
        self._session = session
        self._client = client
        self._host = host
        self._phase_s = phase_s
        self._said = said
        self._start = 0.0

    async def run(self) -> None:
        first = self._session.ready()
        sent = [self._session.outgoing(step) for step in first]  # worked out before the clock runs
        self._start = time.monotonic() + LEAD_S + len(first) * _START_S
        if self._phase_s is not None:
            self._start += (self._phase_s - (time.time() - time.monotonic() + self._start)) % 1
        try:
            async with asyncio.TaskGroup() as group:
                for step, outgoing in zip(first, sent, strict=True):
                    group.create_task(self._step(step, group, outgoing))
        except* PolltapeError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._client.close()

    async def _step(self, step: Step, group: asyncio.TaskGroup, sent: Outgoing | None = None) -> None:
        due_s = self._session.due_s(step)
        if self._session.is_needless(step):
            self._session.skip(step, due_s)
        else:
            await self._exchange(step, sent, due_s)
        for following in self._session.ready():
            group.create_task(self._step(following, group))

    async def _exchange(self, step: Step, sent: Outgoing | None, due_s: float) -> None:
        session, pace = self._session, self._session.manner.pace
        await sleep_until(self._start + due_s - CONNECT_S)
        connection = await self._client.connection()
        if sent is None or session.has_answers:  # not sooner: it may speak of what came until now
            sent = session.outgoing(step)
        await sleep_until(self._start + due_s)
        if connection.closed:  # the server let go of it in the meantime
            connection = await self._client.connection()
        sent_s = self._now()
        recorded = step.exchange
        named = authority(recorded.scheme, recorded.host, recorded.port)
        more = () if self._host else (Header("X-Forwarded-Proto", recorded.scheme),)
        received = await self._client.ask(connection, sent, self._host or named, more)
        first_s = None
        if received.first_byte is not None:
            first_s = max(received.first_byte - self._start, sent_s + pace.held_s(step.first_byte_s))
        end_s = max(received.end - self._start, sent_s + pace.held_s(step.latency_s), first_s or 0.0)
        await sleep_until(self._start + end_s)
        self._said(session.returned(step, sent, Instants(sent_s, sent_s, first_s, end_s), received.answer))

    def _now(self) -> float:
        return time.monotonic() - self._start
