"""An API that throttles, without a recording: every path answers 200 until its client's bucket is full.

==========================================  ===============================================================
request                                     answer
==========================================  ===============================================================
any                                         ``answer.status`` and what was asked: method, path, the bytes sent
any, with a full ``bucket``                 ``limit.status`` (429, or 503) with the bucket's instruction
POST ``…/graphql`` or ``…/graphql.json``    with ``limit.graphql``: HTTP 200 and ``errors`` with THROTTLED
any with more than ``limit.max_body``       413, with an instruction if ``limit.too_large_retry_after`` has one
==========================================  ===============================================================

RFC 6585 §4 (429), RFC 9110 §15.5.14 (413), §15.6.4 (503); ``X-Shopify-Shop-Api-Call-Limit``; the fields of
draft-ietf-httpapi-ratelimit-headers and their older form.
"""

from __future__ import annotations

from math import ceil
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from polltape.exchange import Header
from polltape.mock.buckets import Bucket, Buckets, Level
from polltape.mock.messages import Request, Response, json_response, request_id
from polltape.mock.scenario_tables import Hint, Scenario, hint_lines
from polltape.protocols.shopify_checkout_server import call_limit, too_many
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend

Json = dict[str, Any]


class Answer(Table, frozen=True):
    """What is answered where there is room."""

    status: Annotated[int, Meta(ge=200, le=299)] = 200


class ApiBucket(Bucket, frozen=True):
    """A bucket that is there."""

    size: Annotated[int, Meta(ge=0, le=10**6)] = 4
    retry_after: Hint = 1


class Limit(Table, frozen=True):
    """What the limit looks like from outside."""

    status: Literal[429, 503] = 429
    headers: Literal["none", "shopify", "ratelimit", "ratelimit-old"] = "none"
    graphql: bool = False
    max_body: Annotated[int, Meta(ge=0)] = 0
    too_large_retry_after: Hint = "none"


class ThrottledScenario(Scenario, frozen=True, kw_only=True):
    """The scenario of protocol ``throttle``."""

    built_in: ClassVar[str] = "throttled-api"

    protocol: Literal["throttle"]
    answer: Answer = Answer()
    bucket: ApiBucket = ApiBucket()
    limit: Limit = Limit()

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        return ThrottledApi(self, speed=speed, seed=seed)


class ThrottledApi:
    """The API of the module's text."""

    protocol: Final = "throttle"

    def __init__(self, scenario: ThrottledScenario, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._speed = speed
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._buckets = Buckets(self._scenario.bucket, self._speed)
        self._request_ids = Random(f"{self._seed}|requests")

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        limit = self._scenario.limit
        if limit.max_body and len(request.body) > limit.max_body:
            wait = hint_lines(limit.too_large_retry_after, self._speed, now)
            return self._say(413, {"error": f"more than {limit.max_body} bytes"}, wait)
        if not self._scenario.bucket.size:
            return self._served(request, ())
        level = self._buckets.take(request, now)
        told = self._told(level)
        if level.admitted:
            return self._served(request, told)
        if limit.graphql and _is_graphql(request):
            return self._say(200, self._throttled(level), told)
        body = too_many(self._scenario.bucket.leak_per_s)
        return self._say(limit.status, body, (*self._scenario.bucket.hint(self._speed, now), *told))

    def status(self, now: float) -> list[Json]:
        """Every bucket and its level."""
        return self._buckets.status(now)

    def _served(self, request: Request, told: tuple[Header, ...]) -> Response:
        if _is_graphql(request):
            return self._say(200, {"data": {}}, told)
        body = {"method": request.method, "path": request.path, "bytes": len(request.body)}
        return self._say(self._scenario.answer.status, body, told)

    def _told(self, level: Level) -> tuple[Header, ...]:
        """The headers that show the limit; seconds until the bucket is empty are rounded up."""
        size = self._scenario.bucket.size
        left, reset = max(0, size - level.used), ceil(level.empty_s)
        if self._scenario.limit.headers == "shopify":
            return (call_limit(level.used, size),)
        if self._scenario.limit.headers == "ratelimit":
            window = ceil(size / self._scenario.bucket.leak_per_s / self._speed)
            return (
                Header("RateLimit-Policy", f'"default";q={size};w={window}'),
                Header("RateLimit", f'"default";r={left};t={reset}'),
            )
        if self._scenario.limit.headers == "ratelimit-old":
            numbers = {"Limit": size, "Remaining": left, "Reset": reset}
            return tuple(Header(f"RateLimit-{name}", str(number)) for name, number in numbers.items())
        return ()

    def _throttled(self, level: Level) -> Json:
        """GraphQL's way to say it, as Shopify's Admin API does."""
        bucket = self._scenario.bucket
        cost = {
            "requestedQueryCost": 1,
            "actualQueryCost": None,
            "throttleStatus": {
                "maximumAvailable": float(bucket.size),
                "currentlyAvailable": max(0, bucket.size - level.used),
                "restoreRate": bucket.leak_per_s,
            },
        }
        problem = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
        return {"errors": [problem], "extensions": {"cost": cost}}

    def _say(self, status: int, body: Json, more: tuple[Header, ...]) -> Response:
        return json_response(status, body, (*more, Header("X-Request-Id", request_id(self._request_ids))))


def _is_graphql(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith(("/graphql", "/graphql.json"))
