"""A small recording of each protocol, with a bug in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import stories

from polltape.exchange import Exchange, Header
from polltape.protocols import observe

ATTEMPT = "1f0e3dad-9990-4b1a-8f3e-2a5f8c1d7b60"
ORDER = "ord-5b1f8c2e77aa"
MONITOR = "0f5a2c1e-1111-2222-3333-444455556666"
NAMED = "op-0123456789abcdef"


def sent_with(one: Exchange, *headers: tuple[str, str]) -> Exchange:
    return observe(
        replace(one, request_headers=(*one.request_headers, *(Header(*pair) for pair in headers)), observations=())
    )


def graphql(at: float, path: str, query: str, variables: dict[str, Any], data: dict[str, Any]) -> Exchange:
    sent = {"query": query, "variables": variables}
    return stories.exchange(
        at, "POST", path, 200, sent=sent, got={"data": data}, sent_headers=[("Content-Type", "application/json")]
    )


# -- the checkout queue: a token that changes with each poll, then the request again


def queue_poll(at: float, token: str, answer: dict[str, Any]) -> Exchange:
    return graphql(at, "/queue/poll", "{ poll(token: $token) { token pollAfter } }", {"token": token}, {"poll": answer})


def queue() -> list[Exchange]:
    """Queued, polled 1 s too early, released, sent again with the newest token."""
    first, *others = (f"Q2hlY2tvdXQtMQ{n:010d}" for n in range(1, 5))
    queued = stories.exchange(
        0.0,
        "PUT",
        stories.CHECKOUT,
        429,
        sent={"checkout": {"note": "x"}},
        more=[
            ("X-Checkout-Queue", "1"),
            ("X-Checkout-Queue-Token", first),
            ("Set-Cookie", f"_checkout_queue_token={first}; path=/"),
        ],
    )
    again = stories.exchange(
        6.0, "PUT", stories.CHECKOUT, 200, sent={"checkout": {"note": "x"}}, got=stories.checkout()
    )
    return [
        queued,
        queue_poll(0.5, first, {"__typename": "PollContinue", "token": others[0], "pollAfter": "2026-11-23T08:00:03Z"}),
        queue_poll(
            1.2, others[0], {"__typename": "PollContinue", "token": others[1], "pollAfter": "2026-11-23T08:00:05Z"}
        ),
        queue_poll(5.5, others[1], {"__typename": "PollComplete", "token": others[2]}),
        sent_with(again, ("X-Checkout-Queue-Token", others[2])),
    ]


# -- the Storefront's cart


def cart() -> list[Exchange]:
    """Submitted, polled before ``pollDelay`` was over, completed."""
    path = "/api/2026-04/graphql.json"
    submit = "mutation($a: String!) { cartSubmitForCompletion(cartId: $c, attemptToken: $a) { result { __typename } } }"
    ask = "query($attemptId: String!) { cartCompletionAttempt(attemptId: $attemptId) { __typename } }"
    processing = {"cartCompletionAttempt": {"__typename": "CartCompletionProcessing", "id": ATTEMPT, "pollDelay": 1000}}
    success = {"cartCompletionAttempt": {"__typename": "CartCompletionSuccess", "id": ATTEMPT, "orderId": "7"}}
    accepted = {"cartSubmitForCompletion": {"result": {"__typename": "SubmitSuccess", "attemptId": ATTEMPT}}}
    return [
        graphql(0.0, path, submit, {"a": "mine"}, accepted),
        graphql(0.3, path, ask, {"attemptId": ATTEMPT}, processing),
        graphql(0.7, path, ask, {"attemptId": ATTEMPT}, processing),
        graphql(2.0, path, ask, {"attemptId": ATTEMPT}, success),
    ]


# -- PAR POS Next, both spellings of its path


def par(orders: str, named: str = ORDER) -> list[Exchange]:
    """An order that answers 202 without digest, is polled too early, and placed."""

    def order(status: str) -> dict[str, Any]:
        return {"orderId": named, "status": status, "request_uid": f"ruid-{named[4:]}"}

    path = f"/posnext/{orders}/submit"
    sent = {"request_uid": f"ruid-{named[4:]}", "location_id": "loc-1"}
    there = [("Location", f"/posnext/orders/{named}")]
    return [
        stories.exchange(0.0, "POST", path, 202, sent=sent, got=order("pending"), wait="1", more=there),
        stories.exchange(0.4, "GET", f"/posnext/orders/{named}", 200, got=order("pending"), wait="1"),
        stories.exchange(1.9, "GET", f"/posnext/orders/{named}", 200, got=order("placed")),
    ]


# -- the long-running-operation family


def azure() -> list[Exchange]:
    """A PUT with Azure-AsyncOperation, its monitor polled too early, then the resource."""
    resource = "/subscriptions/s1/resourceGroups/g1/providers/P/widgets/w1"
    monitor = f"/subscriptions/s1/operations/{MONITOR}"
    address = f"https://{stories.HOST}{monitor}?api-version=2020-01-01"
    asked = "api-version=2020-01-01"
    first = stories.exchange(
        0.0,
        "PUT",
        resource,
        201,
        sent={"location": "westeurope"},
        got={"properties": {"provisioningState": "Creating"}},
        wait="1",
        more=[("Azure-AsyncOperation", address)],
    )
    polls = [
        stories.exchange(0.4, "GET", monitor, 200, got={"status": "InProgress"}, wait="1"),
        stories.exchange(1.9, "GET", monitor, 200, got={"status": "Succeeded"}),
    ]
    after = stories.exchange(2.0, "GET", resource, 200, got={"properties": {"provisioningState": "Succeeded"}})
    return [observe(replace(e, query=asked, observations=())) for e in (first, *polls, after)]


def aip() -> list[Exchange]:
    """Google's AIP-151: an Operation by name, asked until it is done."""
    name = f"projects/p1/operations/{NAMED}"
    pending = {"name": name, "done": False}
    return [
        stories.exchange(0.0, "POST", "/v1/projects/p1/widgets", 200, sent={"a": 1}, got=pending, wait="1"),
        stories.exchange(0.4, "GET", f"/v1/{name}", 200, got=pending, wait="1"),
        stories.exchange(1.9, "GET", f"/v1/{name}", 200, got={"name": name, "done": True, "response": {}}),
    ]


# -- throttling


def throttle() -> list[Exchange]:
    """Asked to wait 2 s, and asked again after 0.5 s."""
    path = "/v1/things"
    return [
        stories.exchange(0.0, "GET", path, 429, got={"error": "slow down"}, wait="2"),
        stories.exchange(0.5, "GET", path, 429, got={"error": "slow down"}, wait="2"),
        stories.exchange(3.0, "GET", path, 200, got={"things": []}),
    ]


OPERATIONS = [
    ("shopify-queue", "queue.wait", "completed"),
    ("shopify-cart", "cart.submit", "completed"),
    ("par-posnext", "order.submit", "completed"),
    ("par-posnext", "order.submit", "completed"),
    ("http-async", "async", "completed"),
    ("http-async", "async", "completed"),
    ("throttle", "throttle", "completed"),
]
"""What :func:`together` holds."""


def together() -> list[Exchange]:
    """One recording of them all, one after the other."""
    every = (queue(), cart(), par("order"), par("orders", "ord-77aa5b1f8c2e"), azure(), aip(), throttle())
    return [
        observe(
            replace(
                stories.moved(e, 20.0 * number), exchange_id=f"{e.exchange_id[:-1]}{number}", client=f"client-{number}"
            )
        )
        for number, story in enumerate(every)
        for e in story
    ]
