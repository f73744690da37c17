"""Shopify's Storefront GraphQL checkout of today, without a recording: a cart is submitted, the attempt is polled.

Everything is HTTP 200 from POST ``/api/{version}/graphql.json``; the type in the body tells:

============================  ==========================================================================
field                         answer
============================  ==========================================================================
cartCreate                    a cart
cartPrepareForCompletion      CartStatusReady; CartThrottled with ``pollAfter`` where the bucket is full
cartSubmitForCompletion       SubmitSuccess with an ``attemptId``; SubmitAlreadyAccepted for the same
                              attemptToken, or while an attempt for the cart runs; SubmitFailed for a share
                              of them, and for a cart that is an order; SubmitThrottled with ``pollAfter``
cartCompletionAttempt         CartCompletionProcessing with ``pollDelay`` in milliseconds, then
                              CartCompletionSuccess, CartCompletionFailed or CartCompletionActionRequired;
                              null for an attempt that is not there
anything else                 ``errors``
============================  ==========================================================================

The buyer's action is done by asking for the action's ``redirectUrl``: then the attempt goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote

from msgspec import Meta

from polltape.exchange import Header
from polltape.mock.buckets import Buckets, Leak
from polltape.mock.graphql_server import answered, asked, problem
from polltape.mock.hints import WAIT_HEADER, exact
from polltape.mock.jobs import Job
from polltape.mock.messages import Request, Response, json_response
from polltape.mock.scenario_tables import Drawn, Draws, Outcomes, Scenario, Seconds, Share, Timed, Wait
from polltape.protocols.graphql import GraphqlRequest

if TYPE_CHECKING:
    from polltape.mock.core import Backend

Json = dict[str, Any]
_PATH: Final = re.compile(r"^/api/[^/]+/graphql(?:\.json)?$")
_ACTION: Final = re.compile(r"^/checkouts/action/([0-9a-f]+)$")
_FIELDS: Final = ("cartSubmitForCompletion", "cartCompletionAttempt", "cartPrepareForCompletion", "cartCreate")


class SubmitKind(Timed, frozen=True):
    """A submission; ``refused`` is the share that is SubmitFailed at once."""

    duration_s: Seconds | Drawn = 3.0
    poll_delay_ms: Annotated[int, Meta(ge=0, lt=2**31)] | Literal["none"] = 1000
    refused: Share = 0.0


class Endings(Outcomes, frozen=True):
    """Shares of the attempts that end otherwise than well."""

    failed: Share = 0.0
    action_required: Share = 0.0


class CartBucket(Leak, frozen=True):
    """The throttle of submissions; ``poll_after_s``: how far ahead its ``pollAfter`` is."""

    poll_after_s: Wait = 1.0


class CartScenario(Scenario, frozen=True, kw_only=True):
    """The scenario of protocol ``shopify-cart``."""

    built_in: ClassVar[str] = "shopify-cart"

    protocol: Literal["shopify-cart"]
    submit: SubmitKind = SubmitKind()
    outcomes: Endings = Endings()
    bucket: CartBucket = CartBucket()

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        return CartShop(self, speed=speed, seed=seed)


@dataclass(slots=True)
class Attempt:
    """An attempt to complete a cart."""

    id: str
    cart: str
    job: Job
    order: int


class CartShop:
    """The storefront of the module's text."""

    protocol: Final = "shopify-cart"

    def __init__(self, scenario: CartScenario, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._speed = speed
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._chance = Random(f"{self._seed}|ids")
        self._draws = Draws(self._seed)
        self._buckets = Buckets(self._scenario.bucket, self._speed)
        self._attempts: dict[str, Attempt] = {}
        self._by_token: dict[str, Attempt] = {}
        self._by_cart: dict[str, Attempt] = {}

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        if action := _ACTION.match(request.path):
            return self._acted(action[1], now)
        if _PATH.match(request.path) is None:
            return json_response(404, {"errors": "Not Found"}, matched=False)
        query = asked(request)
        if query is None:
            return json_response(400, {"errors": [{"message": "no GraphQL query"}]})
        for field in _FIELDS:
            if re.search(rf"\b{field}\b", query.query):
                return self._field(request, now, field, query)
        return problem(f"Field {query.name!r} doesn't exist here; known: {', '.join(_FIELDS)}", matched=False)

    def status(self, now: float) -> list[Json]:
        """Every attempt and its clock."""
        return [attempt.job.status(attempt.id, now, self._speed) for attempt in self._attempts.values()]

    def _field(self, request: Request, now: float, field: str, query: GraphqlRequest) -> Response:
        if field == "cartCreate":
            number = f"{self._chance.getrandbits(128):032x}"
            cart = _cart(request, f"gid://shopify/Cart/{number}")
            return answered(query, field, {"cart": cart, "userErrors": []})
        if field == "cartCompletionAttempt":
            return self._polled(request, now, query)
        cart_id = query.argument("cartId")
        if cart_id is None:
            return problem(f"Field '{field}' is missing required arguments: cartId")
        throttled = self._throttled(request, now)
        if field == "cartPrepareForCompletion":
            cart = _cart(request, cart_id)
            ready = {"__typename": "CartStatusReady", "cart": cart, "checkoutUrl": cart["checkoutUrl"]}
            result = ready if throttled is None else {"__typename": "CartThrottled", "cart": cart, **throttled[0]}
        else:
            token = query.argument("attemptToken")
            if token is None:
                return problem(f"Field '{field}' is missing required arguments: attemptToken")
            result = (
                self._submitted(request, now, cart_id, token)
                if throttled is None
                else {"__typename": "SubmitThrottled", **throttled[0]}
            )
        wait = () if throttled is None else throttled[1]
        return answered(query, field, {"result": result, "userErrors": []}, wait)

    def _throttled(self, request: Request, now: float) -> tuple[Json, tuple[Header, ...]] | None:
        """``pollAfter`` and the exact wait where the client's bucket is full."""
        bucket = self._scenario.bucket
        if not bucket.size or self._buckets.take(request, now).admitted:
            return None
        instant = ceil((now + bucket.poll_after_s / self._speed) * 1000) / 1000
        return {"pollAfter": _iso(instant)}, (Header(WAIT_HEADER, exact(instant - now)),)

    def _submitted(self, request: Request, now: float, cart: str, token: str) -> Json:
        before = self._by_token.get(token) or self._by_cart.get(cart)
        if before is not None and (token in self._by_token or before.job.runs(now)):
            return {"__typename": "SubmitAlreadyAccepted", "attemptId": before.id}
        checkout_url = _cart(request, cart)["checkoutUrl"]
        if before is not None and before.job.outcome is None:
            return _refused("ERROR", "The cart has been completed", checkout_url)
        submit = self._scenario.submit
        if self._draws.next("refused").random() < submit.refused:
            code = "MERCHANDISE_NOT_ENOUGH_STOCK_AVAILABLE"
            return _refused(code, "Not enough stock is available", checkout_url)
        takes = submit.draw(self._draws.next("submit")) / self._speed
        outcome = self._scenario.outcomes.draw(self._draws.next("outcome"))
        job = Job("cart.submit", now, now + takes, outcome=outcome)
        attempt = Attempt(f"{self._chance.getrandbits(128):032x}", cart, job, self._chance.randrange(10**12, 10**13))
        self._attempts[attempt.id] = self._by_token[token] = self._by_cart[cart] = attempt
        return {
            "__typename": "SubmitSuccess",
            "attemptId": attempt.id,
            "redirectUrl": f"{request.base}/checkouts/{attempt.id}/processing",
        }

    def _polled(self, request: Request, now: float, query: GraphqlRequest) -> Response:
        attempt = self._attempts.get(query.argument("attemptId") or "")
        if attempt is None:
            return answered(query, "cartCompletionAttempt", None)
        told, wait = self._told(request, now, attempt)
        return answered(query, "cartCompletionAttempt", told, wait)

    def _told(self, request: Request, now: float, attempt: Attempt) -> tuple[Json, tuple[Header, ...]]:
        body: Json = {"__typename": "CartCompletionProcessing", "id": attempt.id}
        if attempt.job.runs(now):
            delay = self._scenario.submit.poll_delay_ms
            if delay == "none":
                return {**body, "pollDelay": None}, ()
            wait = (Header(WAIT_HEADER, exact(delay / 1000, self._speed)),)
            return {**body, "pollDelay": ceil(delay / self._speed)}, wait
        if attempt.job.outcome == "failed":
            errors = [{"code": "PAYMENT_CARD_DECLINED", "message": "The card was declined"}]
            return {**body, "__typename": "CartCompletionFailed", "errors": errors}, ()
        if attempt.job.outcome == "action_required":
            where = f"{request.base}/checkouts/action/{attempt.id}"
            action = {"__typename": "CompletePaymentChallenge", "redirectUrl": where}
            return {**body, "__typename": "CartCompletionActionRequired", "action": action}, ()
        done = {
            "__typename": "CartCompletionSuccess",
            "completedAt": _iso(attempt.job.ends),
            "orderId": f"gid://shopify/OrderIdentity/{attempt.order}",
            "orderUrl": f"{request.base}/orders/{attempt.order}",
        }
        return {**body, **done}, ()

    def _acted(self, number: str, now: float) -> Response:
        """The buyer has acted: the attempt goes on, and ends well."""
        attempt = self._attempts.get(number)
        if attempt is None:
            return json_response(404, {"errors": "Not Found"})
        if not attempt.job.runs(now) and attempt.job.outcome == "action_required":
            takes = self._scenario.submit.draw(self._draws.next("submit")) / self._speed
            attempt.job = Job("cart.submit", now, now + takes)
        return json_response(200, {})


def _cart(request: Request, cart_id: str) -> Json:
    number = cart_id.rpartition("/")[2].partition("?")[0]
    return {"id": cart_id, "checkoutUrl": f"{request.base}/cart/c/{quote(number)}"}


def _refused(code: str, message: str, checkout_url: str) -> Json:
    errors = [{"code": code, "message": message}]
    return {"__typename": "SubmitFailed", "checkoutUrl": checkout_url, "errors": errors}


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
