"""Polite clients of the built-in scenarios, for tests in virtual time and over real sockets.

Each waits as long as it is asked to, and ends when its operation does.
"""

from __future__ import annotations

from typing import Any, Protocol

from polltape.mock.core import Response

CREATE = "/admin/api/2024-04/checkouts.json"
SUBMIT = "/posnext/order/submit"
STORE = "/api/2026-04/graphql.json"
VM = "/vms/one?api-version=2024-07-01"
POLL = "{ poll(token: $token) { token pollAfter queueEtaSeconds } }"
SHARED_ID = "0123456789ABCDEF"


class Talker(Protocol):
    """What sends a request and waits, in its own kind of time."""

    def __call__(self, method: str, url: str, sent: object = None, **headers: str) -> Response: ...

    def wait(self, answer: Response, default: float = 1.0) -> None: ...


def query(client: Talker, text: str) -> tuple[Response, Any]:
    """The answer to a query of the Storefront API, and the one field of its data."""
    answer = client("POST", STORE, {"query": text})
    return answer, next(iter(answer.json()["data"].values()))


def buys(client: Talker) -> None:
    made = client("POST", CREATE, {"checkout": {"email": "a@b.example"}})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    while made.status == 202:
        client.wait(made)
        made = client("GET", path)


def queues(client: Talker) -> None:
    refused = client("POST", CREATE, {"checkout": {}})
    token = refused.header("X-Checkout-Queue-Token")
    told = {"__typename": "PollContinue"}
    while told["__typename"] == "PollContinue":
        answer = client("POST", "/queue/poll", {"query": POLL, "variables": {"token": token}})
        told = answer.json()["data"]["poll"]
        token = told["token"]
        client.wait(answer, 0.1)
    made = client(*("POST", CREATE, {"checkout": {}}), **{"X-Checkout-Queue-Token": token})
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    while made.status == 202:
        client.wait(made)
        made = client("GET", path)


def submission(cart: str) -> str:
    arguments = f'attemptToken: "t", cartId: "gid://shopify/Cart/{cart}"'
    return f"mutation {{ cartSubmitForCompletion({arguments}) {{ result {{ __typename }} }} }}"


def attempt_query(attempt: str) -> str:
    return f'query {{ cartCompletionAttempt(attemptId: "{attempt}") {{ __typename }} }}'


def submits(client: Talker) -> str:
    attempt: str = query(client, submission("c1"))[1]["result"]["attemptId"]
    while True:
        answer, told = query(client, attempt_query(attempt))
        if told["__typename"] != "CartCompletionProcessing":
            return attempt
        client.wait(answer)


def order(uid: str = "o1") -> dict[str, Any]:
    details = {"grand_total": 19.99, "subtotal": 18.5}
    return {"request_uid": uid, "location_id": "l", "request_datetime": "2025-01-02T03:04:05.678Z"} | {
        "order_details": details
    }


def orders(client: Talker, uid: str = "o1") -> None:
    answer = client("POST", SUBMIT, order(uid))
    while answer.json()["status"] == "pending":
        client.wait(answer)
        answer = client("GET", f"/posnext/orders/{uid}")


def deploys(client: Talker, vm: str = VM) -> str:
    made = client("PUT", vm, {"properties": {}})
    monitor = made.header("Azure-AsyncOperation")
    assert monitor is not None
    client.wait(made)
    while (answer := client("GET", monitor)).json()["status"] == "InProgress":
        client.wait(answer)
    client("GET", vm)
    return monitor


def calls(client: Talker, times: int = 12) -> None:
    for number in range(times):
        while (answer := client("GET", f"/things/{number}")).status == 429:
            client.wait(answer)
