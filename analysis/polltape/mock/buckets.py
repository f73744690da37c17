"""Leaky buckets: one a client, as Shopify's REST rate limit has it, and what an overflow is answered."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from polltape.capture.identity import identity_of, without_port
from polltape.exchange import Header
from polltape.mock.messages import Request
from polltape.mock.scenario_tables import Hint, hint_lines
from polltape.toml_file import Table

_QUEUE_COOKIES: Final = frozenset({"checkoutqueuetoken", "checkoutqueuecheckouttoken", "ctd"})

_ROUNDING: Final = 1e-5
"""Seconds since 1970 have a resolution of 0.2 µs: who comes exactly when there is room must not be refused."""


class Leak(Table, frozen=True):
    """A leaky bucket of ``size`` requests (0: none) out of which ``leak_per_s`` leak each second.

    ``by``: what has a bucket of its own: a client (as the analysis tells them apart), an address, or ``all``
    together.
    """

    size: Annotated[int, Meta(ge=0, le=10**6)] = 0
    leak_per_s: Annotated[float, Meta(ge=1e-6, le=1e6)] = 2.0
    by: Literal["client", "address", "all"] = "client"


class Bucket(Leak, frozen=True):
    """A leaky bucket whose overflow asks to wait by Retry-After."""

    retry_after: Hint = 2.0

    def hint(self, speed: float, now: float) -> tuple[Header, ...]:
        """The header lines of an overflow."""
        return hint_lines(self.retry_after, speed, now)


@dataclass(frozen=True, slots=True)
class Level:
    """What a request found: whether it got in, the requests in the bucket after it, and seconds until it is empty.

    A request that has only partly leaked out still takes its whole place: who reads that there is room gets in.
    """

    admitted: bool
    used: int
    empty_s: float


class Buckets:
    """The buckets of all clients by one table of a scenario; time goes ``speed`` times as fast in them."""

    def __init__(self, table: Leak, speed: float) -> None:
        self.table = table
        self._speed = speed
        self._levels: dict[tuple[str, ...], tuple[float, float]] = {}  # level, and when it was so

    def take(self, request: Request, now: float) -> Level:
        """Put a request into its client's bucket, where there is room."""
        key = self._key(request)
        level = self._level(key, now)
        admitted = level + 1 <= self.table.size + _ROUNDING
        level = level + 1 if admitted else level
        self._levels[key] = (level, now)
        return Level(admitted, ceil(level - _ROUNDING), level / self.table.leak_per_s / self._speed)

    def status(self, now: float) -> list[dict[str, Any]]:
        """Each bucket for the status page: a name that gives no credential away, and its level now.

        Its clock runs from its last request until it is empty.
        """
        return [self._shown(f"{key[0]} {number}", key, now) for number, key in enumerate(self._levels, 1)]

    def _shown(self, name: str, key: tuple[str, ...], now: float) -> dict[str, Any]:
        level, since = self._levels[key]
        left = self._level(key, now)
        return {
            "kind": "bucket",
            "key": name,
            "elapsed_s": round((now - since) * self._speed, 6),
            "completes_s": round(level / self.table.leak_per_s, 6),
            "state": "full" if left + 1 > self.table.size + _ROUNDING else "leaking" if left else "empty",
            "level": round(left, 3),
        }

    def _level(self, key: tuple[str, ...], now: float) -> float:
        level, since = self._levels.get(key, (0.0, now))
        return max(0.0, level - (now - since) * self.table.leak_per_s * self._speed)

    def _key(self, request: Request) -> tuple[str, ...]:
        if self.table.by == "all":
            return ("all",)
        if self.table.by == "address":
            return ("address", without_port(request.address))
        return identity_of(request.headers, request.query, request.address, _QUEUE_COOKIES)
