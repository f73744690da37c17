"""Every built-in scenario over a real socket, with the standard library's client: a polite one gets through."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from polltape.mock.core import Mock
from polltape.mock.scenario import scenario_names
from polltape.mock.server import serving

SPEED = 50.0
PATIENCE_S = 30.0


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Client:
    """Sends JSON, and waits as long as it is asked to."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.headers: Mapping[str, str] = {}
        self._opener = build_opener(_Stay)

    def __call__(self, method: str, url: str, sent: object = None, **headers: str) -> tuple[int, Any]:
        """The status and the body; ``self.headers`` are the answer's."""
        body = None if sent is None else json.dumps(sent).encode()
        request = Request(urljoin(self.base, url), body, {"Content-Type": "application/json", **headers}, method=method)
        try:
            answer = self._opener.open(request, timeout=PATIENCE_S)
        except HTTPError as refused:
            answer = refused
        with answer:
            self.headers = answer.headers
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def until(self, over: Callable[[int, Any], bool], method: str, url: str, *sent: object) -> Any:
        """The body of the first answer that is ``over``."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            status, body = self(method, url, *sent)
            if over(status, body):
                return body
            time.sleep(float(self.headers.get("X-Polltape-Wait") or 0.01))
        raise AssertionError(f"{url} is not over after {PATIENCE_S} s")


def buy(client: Client) -> None:
    status, body = client("POST", "/admin/api/2024-04/checkouts.json", {"checkout": {"email": "a@b.example"}})
    assert status == 202
    path = f"/admin/api/2024-04/checkouts/{body['checkout']['token']}.json"
    assert client.until(lambda status, _: status == 200, "GET", path)["checkout"]["email"] == "a@b.example"


def order(client: Client) -> None:
    status, _ = client("POST", "/posnext/order/submit", {"request_uid": "o1", "order_details": {"grand_total": 19.99}})
    assert status == 202
    where = client.headers["Location"]
    assert len(client.headers["x-pch-digest"]) == 64
    done = client.until(lambda _, body: body["status"] != "pending", "GET", where)
    assert (done["status"], done["order_details"]["grand_total"]) == ("placed", 19.99)


def deploy(client: Client) -> None:
    status, _ = client("PUT", "/vms/one?api-version=2024-07-01", {"properties": {}})
    assert status == 201
    monitor, result = client.headers["Azure-AsyncOperation"], client.headers["Location"]
    done = client.until(lambda _, body: body["status"] != "InProgress", "GET", monitor)
    assert done["status"] == "Succeeded"
    assert client("GET", result)[1]["properties"]["provisioningState"] == "Succeeded"


def call(client: Client) -> None:
    seen = []
    for number in range(40):
        client.until(lambda status, _: seen.append(status) or status == 200, "GET", f"/things/{number}")
    assert seen.count(200) == 40


def queue(client: Client) -> None:
    path, sent = "/admin/api/2024-04/checkouts.json", {"checkout": {}}
    status, body = client("POST", path, sent)
    assert (status, body, client.headers["X-Checkout-Queue"]) == (429, {}, "true")
    token = client.headers["X-Checkout-Queue-Token"]
    query = "{ poll(token: $token) { token pollAfter queueEtaSeconds } }"
    told: dict[str, Any] = {"__typename": "PollContinue"}
    while told["__typename"] == "PollContinue":
        answer = client("POST", "/queue/poll", {"query": query, "variables": {"token": token}})[1]
        told = answer["data"]["poll"]
        token = told["token"]
        time.sleep(float(client.headers.get("X-Polltape-Wait") or 0))
    assert client("POST", path, sent, **{"X-Checkout-Queue-Token": token})[0] == 202


def submit(client: Client) -> None:
    def ask(query: str) -> dict[str, Any]:
        found: dict[str, Any] = client("POST", "/api/2026-04/graphql.json", {"query": query})[1]["data"]
        return found

    cart = ask("mutation { cartCreate { cart { id } } }")["cartCreate"]["cart"]["id"]
    arguments = f'attemptToken: "t", cartId: "{cart}"'
    sent = ask(f"mutation {{ cartSubmitForCompletion({arguments}) {{ result {{ __typename }} }} }}")
    attempt = sent["cartSubmitForCompletion"]["result"]["attemptId"]
    query = {"query": f'{{ cartCompletionAttempt(attemptId: "{attempt}") {{ __typename }} }}'}
    done = client.until(
        lambda _, body: body["data"]["cartCompletionAttempt"]["__typename"] != "CartCompletionProcessing",
        *("POST", "/api/2026-04/graphql.json", query),
    )
    assert done["data"]["cartCompletionAttempt"]["__typename"] == "CartCompletionSuccess"


STORIES: Mapping[str, Callable[[Client], None]] = {
    "azure-lro": deploy,
    "par-posnext": order,
    "shopify-cart": submit,
    "shopify-checkout": buy,
    "shopify-queue": queue,
    "throttled-api": call,
}


def test_every_scenario_has_a_story() -> None:
    assert sorted(STORIES) == scenario_names()


@pytest.mark.parametrize("name", sorted(STORIES))
def test_a_client_that_waits_as_it_is_asked_gets_through(name: str) -> None:
    mock = Mock.from_scenario(name, speed=SPEED)
    with serving(mock) as base:
        client = Client(base)
        STORIES[name](client)
        told = client("GET", "/__polltape")[1]
        assert told["unmatched"] == 0
        shown = build_opener().open(Request(f"{base}/__polltape", headers={"Accept": "text/html"}), timeout=PATIENCE_S)
        with shown:
            page = shown.read().decode()
        assert {operation["kind"] for operation in told["operations"]} <= {*re.findall(r"<td>(.*?)</td>", page)}
        assert told["operations"]
