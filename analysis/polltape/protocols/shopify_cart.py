"""Shopify's Storefront GraphQL checkout of today: a cart is submitted, and the attempt is polled.

Reference: ``cartSubmitForCompletion`` and ``cartCompletionAttempt`` of the Storefront API (2026-04).  All
answers are HTTP 200; the type in the body tells:

============================  ==========================================================================
type                          meaning
============================  ==========================================================================
SubmitSuccess,                opens ``cart.submit`` under its ``attemptId``
SubmitAlreadyAccepted
SubmitFailed                  the write failed at once
SubmitThrottled,              says nothing of the state; ``pollAfter`` is a wait with the scope of a 429
CartThrottled
CartCompletionProcessing      pending; ``pollDelay`` in milliseconds
CartCompletionActionRequired  the buyer is to act: an end that may be followed by a new operation
CartCompletionFailed,         ends
CartCompletionSuccess
============================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from polltape.exchange import Exchange, Observation
from polltape.protocols.base import Protocol, json_object, polled_state
from polltape.protocols.graphql import GraphqlRequest, graphql_request, objects

NAME: Final = "shopify-cart"
SUBMIT: Final = "cartSubmitForCompletion"
ATTEMPT: Final = "cartCompletionAttempt"
_PATH: Final = re.compile(r"/graphql(?:\.json)?$")
STATES: Final[dict[str, str | None]] = {
    "SubmitSuccess": "pending",
    "SubmitAlreadyAccepted": "pending",
    "SubmitFailed": "failed",
    "SubmitThrottled": None,
    "CartThrottled": None,
    "CartCompletionProcessing": "pending",
    "CartCompletionSuccess": "completed",
    "CartCompletionFailed": "failed",
    "CartCompletionActionRequired": "action_required",
}
_THROTTLED: Final = frozenset({"SubmitThrottled", "CartThrottled"})
_TELLING: Final = {
    SUBMIT: (
        ("attemptId", "SubmitSuccess"),
        ("pollAfter", "SubmitThrottled"),
        ("checkoutUrl", "SubmitFailed"),
        ("errors", "SubmitFailed"),
    ),
    ATTEMPT: (
        ("pollDelay", "CartCompletionProcessing"),
        ("orderId", "CartCompletionSuccess"),
        ("orderUrl", "CartCompletionSuccess"),
        ("completedAt", "CartCompletionSuccess"),
        ("action", "CartCompletionActionRequired"),
        ("errors", "CartCompletionFailed"),
    ),
}
"""Fields that tell the type where the client did not ask for ``__typename``; the first that is there decides."""


class ShopifyCart(Protocol):
    """Cart submission of the Storefront API; see the module's text."""

    name: ClassVar[str] = NAME
    kinds: ClassVar[tuple[str, ...]] = ("cart.submit",)

    def template(self, path: str) -> str | None:
        """``/api/{version}/graphql.json`` of a storefront."""
        return re.sub(r"^/api/[^/]+/graphql", "/api/{version}/graphql", path) if _is_storefront(path) else None

    def hint(self, exchange: Exchange) -> tuple[str, object] | None:
        """``pollAfter`` or ``pollDelay`` of the answer."""
        if (asked := _asked(exchange)) is None:
            return None
        answer = _answered(exchange, asked[1])[1]
        return next(((name, answer[name]) for name in ("pollAfter", "pollDelay") if answer.get(name) is not None), None)

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation for a submission or a poll of an attempt, none for another GraphQL request."""
        asked = _asked(exchange)
        if asked is None:
            return ()
        request, what = asked
        name, answer = _answered(exchange, what)
        state = STATES[name] if name else polled_state(exchange.status)
        processing = name == "CartCompletionProcessing"
        sent, given = request.argument("attemptId"), answer.get("attemptId")
        return (
            Observation(
                protocol=self.name,
                kind="cart.submit",
                role="write" if what == SUBMIT else "read",
                keys=_keys(exchange, sent),
                issued=_keys(exchange, sent if what == SUBMIT else None, given),
                state=state,
                opens=what == SUBMIT and state == "pending",
                truncates="unwritten" if processing else None,
                address=bool(given),
                hint_expected=processing or name in _THROTTLED,
                throttled=name in _THROTTLED,
            ),
        )


def _is_storefront(path: str) -> bool:
    return path.startswith("/api/") and _PATH.search(path) is not None


def _asked(exchange: Exchange) -> tuple[GraphqlRequest, str] | None:
    """The request, and which of the two fields it is about."""
    if _PATH.search(exchange.path) is None:
        return None
    request = graphql_request(exchange)
    if request is None:
        return None
    for what in (SUBMIT, ATTEMPT):
        if what in request.query or request.operation_name == what:
            return request, what
    return None


def _answered(exchange: Exchange, what: str) -> tuple[str | None, dict[str, Any]]:
    """The type of the answer and its object; (None, {}) where it has none of the known ones."""
    if exchange.status is None or not 200 <= exchange.status < 300:
        return None, {}
    body = json_object(exchange.response_body)
    for found in objects(body):
        if isinstance(name := found.get("__typename"), str) and name in STATES:
            return name, found
    data = body.get("data")
    for found in objects(data if isinstance(data, dict) else {}):
        for name, kind in _TELLING[what]:
            if found.get(name):
                return kind, found
    return None, {}


def _keys(exchange: Exchange, *attempts: object) -> tuple[str, ...]:
    """Each attempt's key once, the newest last."""
    named = [f"{NAME}|{exchange.authority}|{attempt}" for attempt in attempts if isinstance(attempt, str) and attempt]
    return tuple(dict.fromkeys(named))
