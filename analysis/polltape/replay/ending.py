"""How an operation would have gone on whose recorded client did not stay for its end: made up, for a client under test.

A client that took the 202 for the answer (OP003), stopped polling (OP002) or forgot the queued request (CQ003) leaves
a recording without an end.  Played as it is, its mended successor would poll for ever, or ask for what was never
recorded.  So the story is told on as each protocol has it: the poll after next is told the end, and a queue, once it
has let go, is asked again.

==================  ====================================================================================
protocol            the end
==================  ====================================================================================
shopify-checkout    200 and what was shown last; an order after complete, a transaction in a payment
shopify-queue       PollComplete, then the queued request answered as a shop without a queue does
shopify-cart        CartCompletionSuccess
par-posnext         ``placed``, of a validation ``validated``
http-async          the monitor's 200; where a word in the body tells, ``Succeeded`` or ``done: true``; JSON:API's
                    303 to a resource that shows what was sent
throttle            the request answered 200
==================  ====================================================================================

Operations that were stuck (OP001) stay so: their server is the bug.  Those of the user's own protocols stay pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from polltape.exchange import Body, Exchange, Header, Observation, all_headers
from polltape.protocols import http_async, observe, par_posnext, shopify_cart, shopify_queue, throttle
from polltape.protocols import shopify_checkout_server as shopify
from polltape.protocols.base import json_object
from polltape.protocols.graphql import objects
from polltape.protocols.shopify_checkout import ShopifyCheckout, parse_path
from polltape.replay.case import Case, Target, targets_of

Json = dict[str, Any]

_UNENDED: Final = frozenset({"abandoned", "pending"})
_STUCK: Final = "OP001"
_PATIENCE: Final = 2
"""The end comes after so many of the waits that were asked for last: who polls on is told once more "not yet".

The mock for clients ends an operation in the middle of its bracket, so the poll that is told lies twice as far away.
"""
_WAIT_S: Final = 1.0
"""The wait where the server asked for none."""
_TICK: Final = timedelta(milliseconds=10)
_OF_PENDING: Final = frozenset(
    {
        *("retry-after", "retry-after-ms", "x-ms-retry-after-ms", "location", "content-location"),
        *("operation-location", "azure-asyncoperation", "content-type", "set-cookie"),
        *("x-checkout-queue", "x-checkout-queue-token"),
    }
)
"""Headers of a "not yet" that an end does not repeat."""
_JSON: Final = Header("Content-Type", "application/json; charset=utf-8")
_POLL: Final = "{ poll(token: $token) { token pollAfter } }"
_ATTEMPT: Final = "query($attemptId: String!) { cartCompletionAttempt(attemptId: $attemptId) { __typename } }"


def with_ends(case: Case) -> list[Exchange]:
    """The recorded exchanges, and those that the recorded client would have seen had it stayed; by request start.

    Every operation among them gets an end, not only those that the case is about: a queued or throttled request that
    has been let in begins one, of which the case holds no more than its first answer.
    """
    analysis = case.measured()
    stuck = set(analysis.findings.loc[analysis.findings["code"] == _STUCK, "operation"])
    known = {exchange.exchange_id: exchange for exchange in case.exchanges}
    begun = analysis.operations.loc[~analysis.operations["truncated"].astype(bool), "id"]
    chosen = {*map(str, begun), *(target.operation_id for target in case.targets)}
    more = [
        made
        for target in targets_of(analysis, chosen)
        if target.outcome in _UNENDED and target.operation_id not in stuck and target.protocol in _ENDS
        for made in _ENDS[target.protocol](_Story.of(target, known))
    ]
    return sorted((*case.exchanges, *more), key=lambda e: (e.request_started_at, e.exchange_id))


@dataclass(frozen=True, slots=True)
class _Story:
    """An operation as far as it is known: ``polls`` are the reads about it, ``last`` the latest of its exchanges."""

    target: Target
    submit: Exchange
    polls: tuple[Exchange, ...]
    last: Exchange

    @classmethod
    def of(cls, target: Target, known: dict[str, Exchange]) -> _Story:
        submit, *others = (known[name] for name in target.exchanges)
        polls = tuple(e for e in others if (seen := _seen(e, target)) is not None and seen.role == "read")
        return cls(target, submit, polls, max((submit, *others), key=lambda e: e.last_instant))

    @property
    def shown(self) -> Exchange:
        """The latest poll that showed pending, else the submit."""
        pending = (e for e in reversed(self.polls) if (e.status or 500) < 400)
        return next(pending, self.submit)

    @property
    def at(self) -> datetime:
        """When the end is asked for."""
        asked = 0.0 if self.last.instruction is None else self.last.instruction.asked_s or 0.0
        return self.last.last_instant + timedelta(seconds=2 * _PATIENCE * (asked or _WAIT_S))

    @property
    def issued(self) -> tuple[str, ...]:
        """The keys that it is asked by, without protocol and authority; the newest last."""
        found = [
            key
            for e in (self.submit, *self.polls)
            if (seen := _seen(e, self.target))
            for key in (*seen.keys, *seen.issued)
        ]
        return tuple(key.split("|", 2)[-1] for key in found)


def _seen(exchange: Exchange, target: Target) -> Observation | None:
    return next((seen for seen in exchange.observations if seen.protocol == target.protocol), None)


def _get(like: Exchange, path: str, query: str | None = None) -> Exchange:
    """A GET of that path by the same client, not answered yet; a queue's token was for the request let in."""
    token = shopify_queue.TOKEN_HEADER.lower()
    headers = tuple(header for header in like.request_headers if header.name.lower() != token)
    return replace(like, method="GET", path=path, query=query, request_headers=headers, request_body=Body())


def _post(like: Exchange, path: str, sent: Json) -> Exchange:
    """A POST of JSON to that path by the same client, not answered yet."""
    headers = (*(h for h in like.request_headers if h.name.lower() != "content-type"), _JSON)
    body = _body(msgspec.json.encode(sent))
    return replace(like, method="POST", path=path, query=None, request_headers=headers, request_body=body)


def _answer(asked: Exchange, at: datetime, body: Json, *, status: int = 200, more: tuple[Header, ...] = ()) -> Exchange:
    """That request, asked and answered at that instant."""
    kept = (header for header in asked.response_headers if header.name.lower() not in _OF_PENDING)
    return observe(
        replace(
            asked,
            exchange_id=blake2b(f"{asked.exchange_id}|{at}|{asked.path}".encode(), digest_size=16).hexdigest(),
            request_started_at=at,
            request_ended_at=at,
            response_started_at=at,
            response_ended_at=at,
            request_started_mono_ns=None,  # of the exchange that this one is made of, and would go before ``at``
            request_ended_mono_ns=None,
            response_started_mono_ns=None,
            response_ended_mono_ns=None,
            status=status,
            reason=None,
            error=None,
            response_headers=(*kept, *more, _JSON),
            response_body=_body(msgspec.json.encode(body)),
            digest_ok=None,
            observations=(),
        )
    )


def _body(content: bytes) -> Body:
    return Body(len(content), len(content), content or None)


def _body_of(exchange: Exchange) -> Json:
    """A copy of the answer's JSON object; empty where there is none."""
    return deepcopy(json_object(exchange.response_body))


# --------------------------------------------------------------------------------------------- checkouts


def _checkout(story: _Story) -> Iterator[Exchange]:
    kind = (story.target.kind or "").removeprefix("checkout.")
    path = story.polls[-1].path if story.polls else _checkout_path(story, kind)
    if path is not None:
        yield _answer(_get(story.shown, path), story.at, _settled(kind, story.shown, story.at))


def _checkout_path(story: _Story, kind: str) -> str | None:
    """Where an operation that was never polled is asked for."""
    if kind == "shipping_rates":
        return story.submit.path
    beginning = story.submit.path.partition("/checkouts")[0]
    token, *others = next(reversed(story.issued), "").split("|")
    return "/".join((f"{beginning}/checkouts/{quote(token, safe='')}", *others)) + ".json" if token else None


def _settled(kind: str, shown: Exchange, at: datetime) -> Json:
    """The body when the shop has done it: what was shown, and what came of it."""
    body = _body_of(shown)
    done = at.isoformat()
    if kind == "shipping_rates":
        return {"shipping_rates": []}
    if kind == "payment":
        paid = body.setdefault("payment", {"id": 1})
        amount = str((paid.get("checkout") or {}).get("total_price", "0.00"))
        shopify.settle(paid, transaction_id=1, amount=amount, currency="USD", created_at=done, declined=False)
    elif kind == "complete":
        checkout = body.setdefault("checkout", {})
        checkout.setdefault("web_url", f"{shown.scheme}://{shown.authority}/checkouts")
        shopify.complete(checkout, 1001, done)
    return body


def _ordinary(request: Exchange, at: datetime) -> Iterator[Exchange]:
    """A request answered as by a shop that lets everybody in; a checkout that it is about can be read, too."""
    endpoint = parse_path(request.path)
    if endpoint is None or endpoint.what not in ("create", "checkout"):
        kind = "" if endpoint is None else _KINDS.get(endpoint.what, "")
        yield _answer(request, at, _settled(kind, replace(request, response_body=Body()), at))
        return
    token = endpoint.token or blake2b(request.exchange_id.encode(), digest_size=16).hexdigest()
    made = shopify.new_checkout(
        token, number=1, currency="USD", source_name="", created_at=at.isoformat(timespec="seconds")
    )
    base = f"{request.scheme}://{request.authority}"
    path = f"{request.path.partition('/checkouts')[0]}/checkouts/{quote(token, safe='')}.json"
    body = {"checkout": shopify.located(made, base)}
    if endpoint.token is None:
        yield _answer(request, at, body, status=201, more=(Header("Location", base + path),))
    else:
        yield _answer(request, at, body)
    yield _answer(_get(request, path), at + _TICK, body)


_KINDS: Final = {
    "complete": "complete",
    "payments": "payment",
    "payment": "payment",
    "shipping_rates": "shipping_rates",
    "calculate_shipping": "shipping_rates",
}


# ------------------------------------------------------------------------------------- queues, throttling


def _queue(story: _Story) -> Iterator[Exchange]:
    at, token = story.at, next(reversed(story.issued), None)
    if token is None:
        return
    poll = _post(story.submit, "/queue/poll", {"query": _POLL, "variables": {"token": token}})
    if not story.polls:
        told = {"__typename": "PollContinue", "token": token, "pollAfter": at.isoformat()}
        yield _answer(poll, story.submit.last_instant + _TICK, {"data": {"poll": told}})
    if not any(seen.state == "released" for e in story.polls if (seen := _seen(e, story.target))):
        yield _answer(poll, at, {"data": {"poll": {"__typename": "PollComplete", "token": token}}})
    pass_ = Header(shopify_queue.TOKEN_HEADER, token)
    yield from _ordinary(replace(story.submit, request_headers=(*story.submit.request_headers, pass_)), at + _TICK)


def _throttle(story: _Story) -> Iterator[Exchange]:
    yield from _ordinary(story.submit, story.at)


# --------------------------------------------------------------------------------------------- the others


def _cart(story: _Story) -> Iterator[Exchange]:
    attempt, shown = next(reversed(story.issued), None), story.shown
    if attempt is None:
        return
    success = {
        "__typename": "CartCompletionSuccess",
        "id": attempt,
        "completedAt": story.at.isoformat(timespec="seconds"),
        "orderId": "gid://shopify/OrderIdentity/1001",
        "orderUrl": None,
    }
    if shown is story.submit:
        poll = _post(shown, shown.path, {"query": _ATTEMPT, "variables": {"attemptId": attempt}})
        yield _answer(poll, story.at, {"data": {"cartCompletionAttempt": success}})
        return
    body = _body_of(shown)
    for found in objects(body):
        if found.get("__typename") == "CartCompletionProcessing" or "pollDelay" in found:
            found.clear()
            found.update(success)
            break
    yield _answer(shown, story.at, body)


def _order(story: _Story) -> Iterator[Exchange]:
    order = next(reversed(story.issued), None)
    if not story.polls and order is None:
        return
    path = story.polls[-1].path if story.polls else f"/posnext/orders/{quote(str(order), safe='')}"
    word = "validated" if story.target.kind == par_posnext.VALIDATE else "placed"
    yield _answer(_get(story.shown, path), story.at, {**_body_of(story.shown), "status": word})


def _monitor(story: _Story) -> Iterator[Exchange]:
    shown, at = story.shown, story.at
    issuing = [seen for e in (story.submit, *story.polls) if (seen := _seen(e, story.target)) and seen.issued]
    if not issuing:
        return
    url, reads_as = issuing[-1].issued[-1].partition("|")[2], issuing[0].reads_as
    asked = urlsplit(url)
    if story.polls:
        path, query = story.polls[-1].path, story.polls[-1].query
    elif url.startswith("name|"):
        path, query = f"/v1/{url.split('|', 2)[-1]}", None
    else:
        path, query = asked.path or "/", asked.query or None
    body, poll = _body_of(shown), _get(shown, path, query)
    if reads_as == "body":
        body = _succeeded(body if story.polls or url.startswith("name|") else {})
    elif reads_as == "content-location":
        if any(e.status == 200 for e in story.polls) or not (story.polls or _asked_for_async(story.submit)):
            yield from _elsewhere(story, poll)
            return
        yield _answer(poll, at - _TICK, body, status=202)
    yield _answer(poll, at, body)


def _asked_for_async(request: Exchange) -> bool:
    """Whether the client said ``Prefer: respond-async``, without which FHIR answers nobody later."""
    return any("respond-async" in value.lower() for value in all_headers(request.request_headers, "Prefer"))


def _elsewhere(story: _Story, poll: Exchange) -> Iterator[Exchange]:
    """JSON:API's end: 303 to the resource, which shows what was sent."""
    submit, at = story.submit, story.at
    path = submit.path
    if submit.method == "POST":
        path = f"{path.rstrip('/')}/{blake2b(submit.exchange_id.encode(), digest_size=16).hexdigest()}"
    where = Header("Location", f"{submit.scheme}://{submit.authority}{path}")
    yield _answer(poll, at, {}, status=303, more=(where,))
    yield _answer(_get(submit, path), at + _TICK, json_object(submit.request_body))


def _succeeded(body: Json) -> Json:
    """The monitor's body with the word that ends it, written as the one before was."""
    if "done" in body:
        return {**body, "done": True, "response": body.get("response") or {}}
    name = "status" if body.get("status") is not None or "state" not in body else "state"
    before = str(body.get(name, "Running"))
    word = "succeeded" if before.islower() else "SUCCEEDED" if before.isupper() else "Succeeded"
    return {**body, name: word}


_ENDS: Final[dict[str, Callable[[_Story], Iterator[Exchange]]]] = {
    ShopifyCheckout.name: _checkout,
    shopify_queue.ShopifyQueue.name: _queue,
    shopify_cart.ShopifyCart.name: _cart,
    par_posnext.NAME: _order,
    http_async.NAME: _monitor,
    throttle.NAME: _throttle,
}
