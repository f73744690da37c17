"""The stories of each protocol, through the whole analysis: what its users would look for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from polltape.measures.analysis import Analysis

Make = Callable[..., Any]


@pytest.fixture
def told(analysed: Make) -> Make:
    """What the whole program makes of these entries."""
    return lambda *entries: analysed(list(entries))


def codes(analysis: Analysis) -> list[str]:
    return sorted(analysis.findings["code"])


def outcomes(analysis: Analysis) -> list[tuple[str, str, str, int]]:
    table = analysis.operations
    return list(zip(table["protocol"], table["kind"], table["outcome"], table["polls"], strict=True))


# --------------------------------------------------------------------------------------------- queue

QUEUED = "/admin/api/2024-04/checkouts/t1.json"


def poll(entry: Make, at: float, token: str, answer: dict[str, Any], *, form: bool = False, **more: Any) -> Any:
    query = "query ($token: String!) { poll(token: $token) { token } }"
    sent = json.dumps({"query": query, "variables": {"token": token}})
    if form:
        sent = f"query=query+%7B+poll+%7D&variables%5Btoken%5D={token}"
    made = entry(at, "POST", "/queue/poll", 200, sent=sent, body={"data": {"poll": answer}}, **more)
    if form:
        made["request"]["postData"]["mimeType"] = "application/x-www-form-urlencoded"
        made["request"]["headers"].append({"name": "Content-Type", "value": "application/x-www-form-urlencoded"})
    return made


def goes_on(token: str, seconds: int, eta: int | None = None) -> dict[str, Any]:
    after = f"2026-11-23T08:00:{seconds:02d}Z"
    return {"__typename": "PollContinue", "token": token, "pollAfter": after, "queueEtaSeconds": eta}


def queued(entry: Make, at: float, token: str, **more: Any) -> Any:
    headers = [("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", token)]
    return entry(at, "PUT", QUEUED, 429, sent="{}", headers=headers, **more)


def carrying(entry: Any, name: str, value: str) -> Any:
    entry["request"]["headers"].append({"name": name, "value": value})
    return entry


def test_a_queue_is_followed_through_its_changing_tokens_to_the_request_sent_again(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", goes_on("b", 1, 2)),
        poll(entry, 3, "b", {"__typename": "PollComplete", "token": "c"}, form=True),
        carrying(entry(3.5, "PUT", QUEUED, 200, sent="{}"), "X-Checkout-Queue-Token", "c"),
    )
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "completed", 2)]
    assert codes(analysis) == []
    assert analysis.operations["statuses"][0] == [429, 200, 200, 200]
    assert analysis.operations["duration_s"][0] == 3.5


@pytest.mark.parametrize("eta", [10**400, 1e308, -5, True, "60", None])
def test_an_estimate_that_is_none_is_unknown(entry: Make, told: Make, eta: object) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", {**goes_on("b", 1), "queueEtaSeconds": eta}),
        poll(entry, 3, "b", {"__typename": "PollComplete", "token": "c"}),
    )
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "pending", 2)]
    assert codes(analysis) == []


def test_a_token_as_it_stands_in_the_cookie_is_the_token(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a-1=="),
        poll(entry, 1, "a-1%3D%3D", {"__typename": "PollComplete", "token": "b/2=="}),
        carrying(entry(3.5, "PUT", QUEUED, 200, sent="{}"), "X-Checkout-Queue-Token", "b%2F2%3D%3D"),
    )
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "completed", 1)]
    assert codes(analysis) == []


def test_a_resubmit_is_the_write_that_it_is_as_well(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", {"__typename": "PollComplete", "token": "b"}),
        carrying(entry(2, "PUT", QUEUED, 202, sent="{}", hint="1"), "Cookie", "x=1; _checkout_queue_token=b"),
        entry(3.1, "GET", QUEUED, 200),
    )
    assert outcomes(analysis) == [
        ("shopify-queue", "queue.wait", "completed", 1),
        ("shopify-checkout", "checkout.update", "completed", 1),
    ]


def test_what_goes_wrong_in_a_queue(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", goes_on("b", 10, 2)),
        poll(entry, 2, "a", goes_on("c", 12)),  # an old token, and long before pollAfter
        poll(entry, 14, "c", {"__typename": "PollComplete", "token": "d"}),  # 13 s instead of 2
        entry(15, "PUT", QUEUED, 200, sent="{}"),  # without the token
    )
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "completed", 3)]
    assert codes(analysis) == ["CQ001", "CQ002", "CQ004", "CQ005", "RA002"]


def test_a_request_that_is_sent_again_too_early_is_no_poll_that_the_queue_ignores(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", goes_on("b", 6)),
        carrying(entry(2, "PUT", QUEUED, 200, sent="{}"), "X-Checkout-Queue-Token", "b"),
        entry(30, "GET", "/", 200),
    )
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "completed", 1)]
    assert codes(analysis) == ["RA001"]
    assert list(analysis.journeys["polls_ignored"]) == [0]


def test_released_and_never_sent_again(entry: Make, told: Make) -> None:
    analysis = told(
        queued(entry, 0, "a"),
        poll(entry, 1, "a", {"__typename": "PollComplete", "token": "b"}),
        entry(100, "GET", "/other", 200),
    )
    assert codes(analysis) == ["CQ003"]


def test_a_chain_of_hundreds_of_tokens_is_one_operation(entry: Make, told: Make) -> None:
    polls = [poll(entry, n, f"t{n}", goes_on(f"t{n + 1}", 0)) for n in range(1, 300)]
    analysis = told(queued(entry, 0, "t1"), *reversed(polls))
    assert outcomes(analysis) == [("shopify-queue", "queue.wait", "pending", 299)]


# ---------------------------------------------------------------------------------------------- cart

CART = "/api/2026-04/graphql.json"


def cart(entry: Make, at: float, what: str, result: dict[str, Any], **more: Any) -> Any:
    sent = {"query": f"query Q($attemptId: String!) {{ {what}(attemptId: $attemptId) {{ __typename }} }}"}
    sent |= {"variables": {"attemptId": "x1"}}  # type: ignore[dict-item]
    return entry(at, "POST", CART, 200, sent=json.dumps(sent), body={"data": {what: result}}, **more)


def test_a_cart_is_polled_after_its_delay_in_milliseconds(entry: Make, told: Make) -> None:
    analysis = told(
        cart(entry, 0, "cartSubmitForCompletion", {"result": {"__typename": "SubmitSuccess", "attemptId": "x1"}}),
        cart(entry, 1, "cartCompletionAttempt", {"__typename": "CartCompletionProcessing", "pollDelay": 500}),
        cart(entry, 2, "cartCompletionAttempt", {"__typename": "CartCompletionSuccess", "orderId": "1"}),
    )
    assert outcomes(analysis) == [("shopify-cart", "cart.submit", "completed", 2)]
    (wait,) = analysis.waits.itertuples()
    assert (wait.source, wait.asked_s, wait.verdict) == ("pollDelay", 0.5, "kept")
    assert set(analysis.statuses["endpoint"]) == {"POST /api/{version}/graphql.json"}


def test_a_throttled_cart_without_an_instant_to_come_back(entry: Make, told: Make) -> None:
    analysis = told(cart(entry, 0, "cartSubmitForCompletion", {"result": {"__typename": "SubmitThrottled"}}))
    assert outcomes(analysis) == []
    assert codes(analysis) == ["RA003"]


def test_the_buyers_action_ends_one_operation_and_the_next_pending_answer_opens_another(
    entry: Make, told: Make
) -> None:
    processing = {"__typename": "CartCompletionProcessing", "pollDelay": 100}
    analysis = told(
        cart(entry, 0, "cartSubmitForCompletion", {"result": {"__typename": "SubmitSuccess", "attemptId": "x1"}}),
        cart(entry, 1, "cartCompletionAttempt", {"__typename": "CartCompletionActionRequired", "action": {"url": "u"}}),
        cart(entry, 9, "cartCompletionAttempt", processing),
        cart(entry, 10, "cartCompletionAttempt", {"__typename": "CartCompletionSuccess", "orderId": "1"}),
    )
    assert [outcome for _, _, outcome, _ in outcomes(analysis)] == ["action_required", "completed"]
    assert codes(analysis) == []


def test_a_final_answer_after_the_buyers_action_is_once_at_once_and_then_the_end(entry: Make, told: Make) -> None:
    done = {"__typename": "CartCompletionSuccess", "orderId": "1"}
    history = [
        cart(entry, 0, "cartSubmitForCompletion", {"result": {"__typename": "SubmitSuccess", "attemptId": "x1"}}),
        cart(entry, 1, "cartCompletionAttempt", {"__typename": "CartCompletionActionRequired", "action": {"url": "u"}}),
        cart(entry, 9, "cartCompletionAttempt", done),
        cart(entry, 10, "cartCompletionAttempt", done),
    ]
    analysis = told(*history)
    assert [outcome for _, _, outcome, _ in outcomes(analysis)] == ["action_required"]
    assert list(analysis.durations["at_once"]) == [1]
    assert codes(analysis) == ["OP004"]
    # the first pending answer after the action is a new beginning, whatever was answered between them
    processing = {"__typename": "CartCompletionProcessing", "pollDelay": 100}
    analysis = told(*history, cart(entry, 11, "cartCompletionAttempt", processing))
    assert [outcome for _, _, outcome, _ in outcomes(analysis)] == ["action_required", "pending"]
    assert not analysis.operations["truncated"].any()
    assert codes(analysis) == ["OP004"]


# ----------------------------------------------------------------------------------------------- PAR

SIGNED = [("x-pch-digest", "abc")]


def test_an_order_is_validated_at_once_and_submitted_with_polls(entry: Make, told: Make) -> None:
    sent = json.dumps({"request_uid": "u1"})
    analysis = told(
        entry(0, "POST", "/v1/posnext/order/validate", 200, sent=sent, body={"status": "validated"}),
        entry(1, "POST", "/v1/posnext/orders/submit", 202, sent=sent, hint="1", body={"orderId": "o1"}, headers=SIGNED),
        entry(2.2, "GET", "/v1/posnext/orders/o1", 202, hint="1", body={"status": "validated"}, headers=SIGNED),
        entry(3.4, "GET", "/v1/posnext/orders/u1", 200, body={"status": "placed"}),
    )
    assert outcomes(analysis) == [("par-posnext", "order.submit", "completed", 2)]
    assert codes(analysis) == []


def test_what_a_single_answer_of_par_gives_away(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/posnext/orders/submit", 202, sent='{"request_uid": "u1"}', hint="1"),
        entry(1.2, "GET", "/posnext/orders/u1", 200, body={"status": "baking"}),
    )
    assert codes(analysis) == ["PN001", "PN004"]


def test_202_is_to_be_an_exception(entry: Make, told: Make) -> None:
    def write(number: int, status: int) -> Any:
        sent = json.dumps({"request_uid": f"u{number}"})
        body = {"status": "placed"} if status == 200 else {"status": "errored"}
        return entry(number, "POST", "/posnext/orders/submit", status, sent=sent, body=body, headers=SIGNED)

    one = [write(n, 202 if n == 0 else 200) for n in range(20)]
    assert "PN003" not in codes(told(*one))
    assert "PN003" not in codes(told(*(write(n, 202) for n in range(19))))
    assert codes(told(*one[:19], write(20, 202))) == ["PN003"]


# ---------------------------------------------------------------------------------------- http-async


def test_azure_is_read_by_the_body_of_its_monitor(entry: Make, told: Make) -> None:
    monitor = [("Azure-AsyncOperation", "https://SHOP.example:443/ops/1?v=2"), ("Location", "/result/1")]
    analysis = told(
        entry(0, "PUT", "/things/1", 201, sent="{}", hint="1", headers=monitor),
        entry(1.5, "GET", "/ops/1?v=2", 200, hint="1", body={"status": "InProgress"}),
        entry(3, "GET", "/ops/1?v=2", 200, body={"status": "Succeeded"}),
        entry(4, "GET", "/ops/1?v=2", 200, body={"status": "Succeeded"}),
    )
    assert outcomes(analysis) == [("http-async", "async", "completed", 2)]
    assert codes(analysis) == ["OP004"]


def test_a_monitor_that_moves_is_followed(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/jobs", 202, sent="{}", headers=[("Location", "/m/1")]),
        entry(1, "GET", "/m/1", 202, headers=[("Location", "m2")]),
        entry(2, "GET", "/m/m2", 202, headers=[("Location", "../m/3")]),
        entry(3, "GET", "/m/3", 303, headers=[("Location", "/result")]),
    )
    assert outcomes(analysis) == [("http-async", "async", "completed", 3)]
    assert analysis.operations["key"][0] == "https://shop.example/m/3"


def test_a_monitor_that_moves_is_one_that_has_answered_202(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/jobs", 202, sent="{}", headers=[("Content-Location", "/m/1")]),
        entry(1, "GET", "/m/1", 202, headers=[("Content-Location", "/m/2")]),
        entry(2, "GET", "/m/2", 200),
    )
    assert outcomes(analysis) == [("http-async", "async", "completed", 2)]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"done": True, "status": "Succeeded"}, "completed"),
        ({"done": True, "state": "failed"}, "failed"),
        ({"done": True, "status": "running"}, "pending"),
        ({"done": True}, "pending"),
        ({"done": True, "response": {}, "status": "running"}, "completed"),
        ({"done": True, "error": {"code": 3}, "response": {}}, "failed"),
        ({"done": False, "status": "canceled"}, "rejected"),
    ],
)
def test_a_body_that_says_done_may_say_the_rest_by_its_status(
    entry: Make, told: Make, body: dict[str, Any], outcome: str
) -> None:
    analysis = told(
        entry(0, "POST", "/jobs", 202, sent="{}", headers=[("Operation-Location", "/ops/1")]),
        entry(1, "GET", "/ops/1", 200, body=body),
    )
    assert [found for _, _, found, _ in outcomes(analysis)] == [outcome]


def test_google_names_its_operation(entry: Make, told: Make) -> None:
    running = {"name": "projects/p/operations/77", "done": False}
    analysis = told(
        entry(0, "POST", "/v1/projects/p:import", 200, sent="{}", body=running),
        entry(1, "GET", "/v1/projects/p/operations/77", 200, body=running),
        entry(2, "GET", "/v1/projects/p/operations/77", 200, body={**running, "done": True, "error": {"code": 3}}),
    )
    assert outcomes(analysis) == [("http-async", "async", "failed", 2)]


def test_a_deleted_monitor_is_a_cancelled_operation(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/jobs", 202, sent="{}", headers=[("Content-Location", "/jobs/9")]),
        entry(1, "GET", "/jobs/9", 200, body={"progress": 10}),
        entry(2, "DELETE", "/jobs/9", 202),
    )
    assert outcomes(analysis) == [("http-async", "async", "rejected", 1)]


def test_plain_rest_traffic_is_no_operation(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/things", 201, sent="{}", headers=[("Location", "/things/1")]),
        entry(1, "GET", "/things/1", 200, body={"links": {"self": "/things/1"}}),
        entry(2, "DELETE", "/things/1", 204),
        entry(3, "POST", "/events", 202, sent="{}"),
    )
    assert outcomes(analysis) == []


# ------------------------------------------------------------------------------------------ throttle


def test_a_throttled_request_is_followed_to_its_answer(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "GET", "/a", 429, hint="1"),
        entry(1.2, "GET", "/a", 503, hint="1"),
        entry(2.4, "GET", "/a", 404),
        entry(3, "GET", "/b", 429, hint="1"),
    )
    assert outcomes(analysis) == [("throttle", "throttle", "completed", 2), ("throttle", "throttle", "pending", 0)]


def test_graphql_requests_are_told_apart_by_their_operation(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "POST", "/graphql", 429, hint="1", sent='{"query": "query A { x }"}'),
        entry(1, "POST", "/graphql", 200, sent='{"query": "query B { x }"}'),
        entry(2, "POST", "/graphql", 200, sent='{"query": "query A { x y }"}'),
    )
    assert outcomes(analysis) == [("throttle", "throttle", "completed", 1)]
    names = analysis.timeline["exchange_id"]
    assert analysis.operations["exchanges"][0] == [names.iloc[0], names.iloc[-1]]


def test_a_429_inside_an_operation_opens_no_throttle(entry: Make, told: Make) -> None:
    analysis = told(
        entry(0, "PUT", QUEUED, 202, sent="{}", hint="1"),
        entry(1.1, "GET", QUEUED, 429, hint="1"),
        entry(2.3, "GET", QUEUED, 200),
    )
    assert outcomes(analysis) == [("shopify-checkout", "checkout.update", "completed", 2)]
