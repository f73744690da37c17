"""Throttling of any API: 429, 503, or 413 with an instruction, until the same request is answered otherwise.

RFC 6585 §4, RFC 9110 §15.6.4 and §15.5.14.  The same request is the same client, host, method and path, and
for GraphQL the same operation; bodies are not compared.  Only throttled answers are observed here: whichever
other request turns out to be the same one is found in :mod:`polltape.operations`, by :func:`retried_state`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from polltape.exchange import Exchange, Observation
from polltape.protocols.base import Protocol
from polltape.protocols.instruction import read_instruction
from polltape.protocols.shopify_queue import QUEUED_HEADER

NAME: Final = "throttle"
KIND: Final = "throttle"
THROTTLED: Final = frozenset({429, 503})
STILL: Final = frozenset({408, 425})
"""Answers to a retry, with 5xx, that show that it is still throttled, as far as anybody can tell."""


class Throttle(Protocol):
    """A throttled request and its retries."""

    name: ClassVar[str] = NAME
    kinds: ClassVar[tuple[str, ...]] = (KIND,)
    counts_at_once: ClassVar[bool] = False
    polls_after_end: ClassVar[bool] = False
    unpolled_is_fault: ClassVar[bool] = False
    general: ClassVar[bool] = True

    def template(self, path: str) -> str | None:
        """None: any path may be one."""
        return None

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation for a throttled answer, which a queue's is not."""
        if not _throttled(exchange):
            return ()
        return (
            Observation(
                protocol=self.name,
                kind=KIND,
                role="read",
                keys=(key_of(exchange),),
                state="pending",
                opens=exchange.response_header(QUEUED_HEADER) is None,
            ),
        )


def key_of(exchange: Exchange) -> str:
    """What the same request has in common."""
    name = f" {exchange.graphql}" if exchange.graphql else ""
    return f"{NAME}|{exchange.authority}|{exchange.client}|{exchange.method} {exchange.path}{name}"


def retried_state(status: int | None) -> str | None:
    """What another answer to the same request shows: pending, completed, or nothing (an error)."""
    if status is None:
        return None
    return "pending" if status in THROTTLED or status in STILL or status >= 500 else "completed"


def _throttled(exchange: Exchange) -> bool:
    if exchange.status == 413:
        return read_instruction(exchange.response_headers, None) is not None
    return exchange.status in THROTTLED
