"""A small server and a client for each protocol, and a recorder between them; one clock that only they move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from polltape.capture.reading import Capture
from polltape.exchange import Body, Coverage, Exchange, Header, to_table
from polltape.mock.core import Mock, Request
from polltape.protocols import observe
from polltape.protocols.par_digest import judged, signature

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)
TOOK_S = 0.05
KEY = "0123456789ABCDEF"
Answer = tuple[int, dict[str, str], Any]
Serve = Callable[["Asked", float], Answer]


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: Any


@dataclass
class Wire:
    """What clients ask through; keeps every exchange."""

    serve: Callable[[Asked, float], tuple[int, list[tuple[str, str]], bytes]]
    host: str = "shop.example"
    now: float = 0.0
    client: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """One request; the answer's headers with small names."""
        if "://" in target:
            parts = urlsplit(target)
            assert parts.netloc == self.host, f"led to {target}"
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        start, self.now = self.now, self.now + TOOK_S
        status, lines, content = self.serve(Asked(method, target, sent, body), self.now)
        path, _, query = target.partition("?")
        request = None if body is None else json.dumps(body).encode()
        at, end = (BEGIN + timedelta(seconds=instant) for instant in (start, self.now))
        exchange = Exchange(
            f"x{len(self.exchanges):04d}", method, "https", self.host, 443, path, at, query=query or None,
            request_ended_at=at, response_started_at=end, response_ended_at=end, client=self.client, session_id="s",
            request_headers=tuple(Header(*pair) for pair in sent.items()),
            request_body=Body(content=request, digest=None if request is None else request.hex()), status=status,
            response_headers=tuple(Header(*pair) for pair in lines),
            response_body=Body(content=content, size=len(content)),
        )  # fmt: skip
        self.exchanges.append(observe(judged(exchange, KEY)))
        return status, {name.lower(): value for name, value in lines}, json.loads(content or b"null")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @property
    def capture(self) -> Capture:
        covered = Coverage("s", BEGIN - timedelta(seconds=1), BEGIN + timedelta(seconds=self.now + 3600))
        return Capture((), to_table(self.exchanges), (covered,), 0, ("test",), ())


def of_servers(servers: dict[str, Serve]) -> Wire:
    """The real thing: each server at its own path."""

    def serve(asked: Asked, now: float) -> tuple[int, list[tuple[str, str]], bytes]:
        name = next(prefix for prefix in servers if asked.target.startswith(prefix))
        status, headers, body = servers[name](asked, now)
        return status, list(headers.items()), b"" if body is None else json.dumps(body).encode()

    return Wire(serve)


def of_mock(mock: Mock) -> Wire:
    """The mock in its place, under its own name."""

    def serve(asked: Asked, now: float) -> tuple[int, list[tuple[str, str]], bytes]:
        lines = tuple(Header(*pair) for pair in asked.headers.items())
        content = b"" if asked.body is None else json.dumps(asked.body).encode()
        request = Request(asked.method, "https", "mock.example", asked.target, lines, content)
        answer = mock.answer(request, BEGIN.timestamp() + now)
        assert answer.hold_s == 0
        return answer.status, [tuple(header) for header in answer.headers], answer.body

    return Wire(serve, "mock.example")


def iso(now: float) -> str:
    return (BEGIN + timedelta(seconds=now)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# ------------------------------------------------------------------------------------------------- queue

CART = "/admin/api/2024-04/carts"


class Queue:
    """Everybody waits 25 s; the token changes with each poll."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def __call__(self, asked: Asked, now: float) -> Answer:
        if asked.target == "/queue/poll":
            token = asked.body["variables"]["token"]
            name, number = token.removesuffix("==").rsplit("-", 1)
            newer = f"{name}-{int(number) + 1}=="
            if now >= self.since[name] + 25:
                return 200, {}, {"data": {"poll": {"__typename": "PollComplete", "token": newer}}}
            told = {"token": newer, "pollAfter": iso(now + 10), "queueEtaSeconds": 20}
            return 200, {}, {"data": {"poll": {"__typename": "PollContinue", **told}}}
        if "X-Checkout-Queue-Token" in asked.headers:
            return 200, {}, {"cart": "yours"}
        name = f"queuetoken{len(self.since):04d}abcdef"
        self.since[name] = now
        headers = {"X-Checkout-Queue": "true", "X-Checkout-Queue-Token": f"{name}-1=="}
        return 429, {**headers, "Set-Cookie": f"_checkout_queue_token={name}-1%3D%3D; path=/"}, None


def queue_client(wire: Wire, number: int) -> None:
    path = f"{CART}/{number}.json"
    status, headers, _ = wire.ask("PUT", path, {"n": number})
    assert status == 429
    token = headers["x-checkout-queue-token"]
    query = "query ($token: String!) { poll(token: $token) { token pollAfter } }"
    while True:
        _, _, body = wire.ask("POST", "/queue/poll", {"query": query, "variables": {"token": token}})
        poll = body["data"]["poll"]
        token = poll["token"]
        if poll["__typename"] == "PollComplete":
            break
        after = datetime.fromisoformat(poll["pollAfter"])
        wire.sleep(max(0.0, (after - BEGIN).total_seconds() - wire.now))
    assert wire.ask("PUT", path, {"n": number}, X_Checkout_Queue_Token=token)[0] == 200


# -------------------------------------------------------------------------------------------------- cart


def cart(asked: Asked, now: float, begun: dict[str, float]) -> Answer:
    attempt = asked.body["variables"]["attemptId"]
    if "cartSubmitForCompletion" in asked.body["query"]:
        begun[attempt] = now
        return (
            200,
            {},
            {"data": {"cartSubmitForCompletion": {"result": {"__typename": "SubmitSuccess", "attemptId": attempt}}}},
        )
    if now < begun[attempt] + 15:
        return (
            200,
            {},
            {"data": {"cartCompletionAttempt": {"__typename": "CartCompletionProcessing", "pollDelay": 10000}}},
        )
    done = {"__typename": "CartCompletionSuccess", "orderId": f"gid://shopify/Order/{attempt}"}
    return 200, {}, {"data": {"cartCompletionAttempt": done}}


def cart_client(wire: Wire, number: int) -> None:
    variables = {"attemptId": f"attempt-of-{wire.host}-{number}"}
    path = "/api/2026-04/graphql.json"

    def ask(what: str) -> Any:
        query = f"mutation Q($attemptId: String!) {{ {what}(attemptId: $attemptId) {{ __typename }} }}"
        return wire.ask("POST", path, {"query": query, "variables": variables})[2]["data"][what]

    assert ask("cartSubmitForCompletion")["result"]["attemptId"] == variables["attemptId"]
    while (answer := ask("cartCompletionAttempt"))["__typename"] == "CartCompletionProcessing":
        wire.sleep(answer["pollDelay"] / 1000)
    assert answer["orderId"].endswith(variables["attemptId"])


# --------------------------------------------------------------------------------------------------- PAR


def par(asked: Asked, now: float, begun: dict[str, tuple[float, str]]) -> Answer:
    def order(uid: str, status: str) -> Answer:
        number = f"9b3f00{len(begun):02d}-0000-4000-8000-0123456789ab"
        body = {"request_uid": uid, "orderId": number, "status": status, "order_details": {"grand_total": "19.99"}}
        accepted = status == "pending"
        begun.setdefault(number, (now, uid))
        headers = {"x-pch-digest": str(signature(json.dumps(body).encode(), KEY))}
        wait = {"Retry-After": "10", "Location": f"https://shop.example/posnext/orders/{number}"} if accepted else {}
        return 202 if accepted else 200, headers | wait, body

    if asked.method == "POST":
        return order(asked.body["request_uid"], "validated" if asked.target.endswith("validate") else "pending")
    number = asked.target.rpartition("/")[2]
    since, uid = begun[number]
    status = "pending" if now < since + 15 else "placed"
    body = {"request_uid": uid, "orderId": number, "status": status, "order_details": {"grand_total": "19.99"}}
    headers = {"x-pch-digest": str(signature(json.dumps(body).encode(), KEY))}
    return (202, headers | {"Retry-After": "10"}, body) if status == "pending" else (200, headers, body)


def par_client(wire: Wire, number: int) -> None:
    sent = {"request_uid": f"uid-{wire.host}-{number}", "location_id": "l"}
    assert wire.ask("POST", "/posnext/orders/validate", sent)[0] == 200
    status, headers, body = wire.ask("POST", "/posnext/orders/submit", sent)
    location = headers["location"]
    while status == 202:
        assert body["request_uid"] == sent["request_uid"]
        assert headers["x-pch-digest"] == signature(json.dumps(body).encode(), KEY)
        wire.sleep(float(headers["retry-after"]))
        status, headers, body = wire.ask("GET", location)
    assert (status, body["status"], body["orderId"]) == (200, "placed", location.rpartition("/")[2])


# ------------------------------------------------------------------------------------------- http-async


class Jobs:
    """Azure's monitor, 202 with Location and 303, AIP-151; 15 s each."""

    def __init__(self) -> None:
        self.since: list[float] = []

    def __call__(self, asked: Asked, now: float) -> Answer:
        _, _, how, *rest = asked.target.partition("?")[0].split("/")
        if not rest[1:]:
            return self._begin(how, now)
        if rest[0] == "result":
            return 200, {}, {"id": rest[1], "made": True}
        done = now >= self.since[int(rest[1]) - 70001] + 15
        wait = {} if done else {"Retry-After": "10"}
        if how == "azure":
            return 200, wait, {"status": "Succeeded" if done else "InProgress"}
        if how == "location":
            return (303, {"Location": f"/jobs/location/result/{rest[1]}"}, None) if done else (202, wait, None)
        ended = {"done": True, "response": {}} if done else {"done": False}
        return 200, wait, {"name": f"operations/{rest[1]}", **ended}

    def _begin(self, how: str, now: float) -> Answer:
        self.since.append(now)
        number = 70000 + len(self.since)
        if how == "azure":
            monitor = f"https://shop.example/jobs/azure/operations/{number}?api-version=2024-01-01"
            return 201, {"Azure-AsyncOperation": monitor, "Retry-After": "10"}, {"status": "Accepted"}
        if how == "location":
            return 202, {"Location": f"/jobs/location/monitor/{number}", "Retry-After": "10"}, None
        return 200, {"Retry-After": "10"}, {"name": f"operations/{number}", "done": False}


def azure_client(wire: Wire, number: int) -> None:
    _, headers, _ = wire.ask("PUT", f"/jobs/azure/thing{number}", {"n": number})
    monitor = headers["azure-asyncoperation"]
    while True:
        wire.sleep(float(headers["retry-after"]))
        _, headers, body = wire.ask("GET", monitor)
        if body["status"] == "Succeeded":
            return


def location_client(wire: Wire, number: int) -> None:
    status, headers, _ = wire.ask("POST", "/jobs/location/new", {"n": number})
    monitor = headers["location"]
    while status == 202:
        wire.sleep(float(headers["retry-after"]))
        status, headers, _ = wire.ask("GET", monitor)
    assert wire.ask("GET", headers["location"])[0] == 200


def aip_client(wire: Wire, number: int) -> None:
    _, headers, body = wire.ask("POST", "/jobs/aip/new", {"n": number})
    while not body["done"]:
        wire.sleep(float(headers["retry-after"]))
        _, headers, body = wire.ask("GET", f"/jobs/aip/{body['name']}")


# ---------------------------------------------------------------------------------------------- throttle


def throttled(asked: Asked, now: float, first: list[float]) -> Answer:
    first.append(now)
    return (429, {"Retry-After": "10"}, None) if now < first[0] + 15 else (200, {}, {"fine": True})


def throttled_client(wire: Wire, number: int) -> None:
    while True:
        status, headers, _ = wire.ask("GET", "/throttled/things")
        if status == 200:
            return
        wire.sleep(float(headers["retry-after"]))


def servers() -> dict[str, Serve]:
    queue = Queue()
    return {
        "/queue": queue,
        CART: queue,
        "/api/": partial(cart, begun={}),
        "/posnext": partial(par, begun={}),
        "/jobs": Jobs(),
        "/throttled": partial(throttled, first=[]),
    }


CLIENTS: dict[str, tuple[Callable[[Wire, int], None], int]] = {
    "shopify-queue": (queue_client, 2),
    "shopify-cart": (cart_client, 2),
    "par-posnext": (par_client, 2),
    "azure": (azure_client, 2),
    "location": (location_client, 2),
    "aip": (aip_client, 2),
    "throttle": (throttled_client, 1),
}
"""For each story its client, and how many of them come."""


def lived(wire: Wire) -> dict[str, list[Exchange]]:
    """Every story told once by each of its clients, one after another; its exchanges."""
    told = {}
    for name, (client, count) in CLIENTS.items():
        before = len(wire.exchanges)
        for number in range(count):
            wire.client = f"{name} {number}"
            client(wire, number)
            wire.sleep(60.0)
        told[name] = wire.exchanges[before:]
    return told
