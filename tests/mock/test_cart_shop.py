"""The Storefront cart without a recording: submission, attempts by elapsed time, throttling, the buyer's action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text

NOW = 1_800_000_000.0
API = "/api/2026-04/graphql.json"
CART = "gid://shopify/Cart/c1"
SUBMIT = """mutation Submit($attemptToken: String!, $cartId: ID!) {
  cartSubmitForCompletion(attemptToken: $attemptToken, cartId: $cartId) { result { __typename
    ... on SubmitSuccess { attemptId redirectUrl } ... on SubmitThrottled { pollAfter } } userErrors { message } } }"""
POLL = """query Poll($id: String!) { cartCompletionAttempt(attemptId: $id) { __typename
    ... on CartCompletionProcessing { id pollDelay } ... on CartCompletionSuccess { orderId } } }"""
Ask = Callable[..., Request]


class Store:
    """The built-in scenario with these lines replaced; asked at seconds since its start."""

    def __init__(self, ask: Ask, *changes: tuple[str, str], **options: Any) -> None:
        text = scenario_text("shopify-cart")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def query(self, at: float, query: str, variables: dict[str, str] | None = None) -> Response:
        return self.mock.answer(self._ask("POST", API, {"query": query, "variables": variables or {}}), NOW + at)

    def submit(self, at: float, token: str = "t1", cart: str = CART) -> dict[str, Any]:
        answer = self.query(at, SUBMIT, {"attemptToken": token, "cartId": cart})
        result: dict[str, Any] = answer.json()["data"]["cartSubmitForCompletion"]["result"]
        return result

    def poll(self, at: float, attempt: str) -> dict[str, Any]:
        told: dict[str, Any] = self.query(at, POLL, {"id": attempt}).json()["data"]["cartCompletionAttempt"]
        return told


def test_an_attempt_is_processing_until_its_time_is_over(ask: Ask) -> None:
    store = Store(ask)
    made = store.submit(0)
    assert made["__typename"] == "SubmitSuccess"
    polls = [store.poll(at, made["attemptId"]) for at in (0, 1, 2.9, 3, 50)]
    assert [told["__typename"].removeprefix("CartCompletion") for told in polls] == [
        *["Processing"] * 3,
        *["Success"] * 2,
    ]
    assert polls[0]["pollDelay"] == 1000
    assert polls[3]["completedAt"] == "2027-01-15T08:00:03.000Z"
    assert polls[3]["orderId"].startswith("gid://shopify/OrderIdentity/")


def test_a_submission_again_is_accepted_already(ask: Ask) -> None:
    store = Store(ask)
    made = store.submit(0)
    for at, token in ((1, "t1"), (1, "t2"), (9, "t1")):
        assert store.submit(at, token) == {"__typename": "SubmitAlreadyAccepted", "attemptId": made["attemptId"]}
    refused = store.submit(9, "t3")
    assert (refused["__typename"], refused["errors"][0]["code"]) == ("SubmitFailed", "ERROR")
    assert store.submit(9, "t4", f"{CART}2")["__typename"] == "SubmitSuccess"


def test_an_attempt_that_failed_can_be_tried_again(ask: Ask) -> None:
    store = Store(ask, ("\nfailed = 0.0", "\nfailed = 1.0"))
    first = store.submit(0)
    told = store.poll(3, first["attemptId"])
    assert (told["__typename"], told["errors"][0]["code"]) == ("CartCompletionFailed", "PAYMENT_CARD_DECLINED")
    second = store.submit(4, "t2")
    assert second["__typename"] == "SubmitSuccess"
    assert second["attemptId"] != first["attemptId"]


def test_the_buyers_action_lets_the_attempt_go_on(ask: Ask) -> None:
    store = Store(ask, ("action_required = 0.0", "action_required = 1.0"))
    attempt = store.submit(0)["attemptId"]
    told = store.poll(3, attempt)
    assert told["__typename"] == "CartCompletionActionRequired"
    where = told["action"]["redirectUrl"].removeprefix("http://127.0.0.1:9")
    assert store.mock.answer(ask("GET", where), NOW + 10).status == 200
    assert [store.poll(at, attempt)["__typename"] for at in (11, 13)] == [
        "CartCompletionProcessing",
        "CartCompletionSuccess",
    ]


def test_a_share_is_refused_at_once(ask: Ask) -> None:
    refused = Store(ask, ("refused = 0.0", "refused = 1.0")).submit(0)
    assert refused["__typename"] == "SubmitFailed"
    assert refused["errors"][0]["code"] == "MERCHANDISE_NOT_ENOUGH_STOCK_AVAILABLE"


def test_who_submits_too_often_is_throttled(ask: Ask) -> None:
    store = Store(ask, ("\nsize = 0", "\nsize = 1"))
    store.submit(0)
    throttled = store.submit(0.1, "t2", f"{CART}2")
    assert throttled == {"__typename": "SubmitThrottled", "pollAfter": "2027-01-15T08:00:01.100Z"}
    ready = f'query {{ cartPrepareForCompletion(cartId: "{CART}") {{ result {{ __typename }} }} }}'
    result = store.query(0.1, ready).json()["data"]["cartPrepareForCompletion"]["result"]
    assert (result["__typename"], result["cart"]["id"]) == ("CartThrottled", CART)
    assert store.submit(1.1, "t2", f"{CART}2")["__typename"] == "SubmitSuccess"


def test_poll_delay_is_whole_milliseconds_at_any_speed_or_missing(ask: Ask) -> None:
    fast = Store(ask, speed=3)
    attempt = fast.submit(0)["attemptId"]
    assert fast.poll(0.9, attempt)["pollDelay"] == 334
    assert fast.poll(1.0, attempt)["__typename"] == "CartCompletionSuccess"
    silent = Store(ask, ("poll_delay_ms = 1000", 'poll_delay_ms = "none"'))
    assert silent.poll(0, silent.submit(0)["attemptId"])["pollDelay"] is None


def test_a_cart_can_be_made_and_fields_have_their_alias(ask: Ask) -> None:
    answer = Store(ask).query(0, "mutation { made: cartCreate { cart { id checkoutUrl } } }")
    assert answer.json()["data"]["made"]["cart"]["id"].startswith("gid://shopify/Cart/")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("{ shop { name } }", "doesn't exist"),
        ("mutation { cartSubmitForCompletion { result { __typename } } }", "missing required arguments: cartId"),
        ('mutation { cartSubmitForCompletion(cartId: "c") { result } }', "missing required arguments: attemptToken"),
    ],
)
def test_a_wrong_query_gets_errors(ask: Ask, query: str, says: str) -> None:
    answer = Store(ask).query(0, query)
    assert answer.status == 200
    assert says in answer.json()["errors"][0]["message"]


def test_what_is_not_there_is_null_or_404(ask: Ask) -> None:
    store = Store(ask)
    assert store.poll(0, "none") is None
    assert store.mock.answer(ask("GET", "/elsewhere"), NOW).status == 404
    assert store.mock.answer(ask("GET", "/checkouts/action/00"), NOW).status == 404
    assert store.mock.answer(ask("POST", API, [1]), NOW).status == 400


def test_a_cart_has_one_checkout_url(ask: Ask) -> None:
    store = Store(ask)
    cart = store.query(0, "mutation { cartCreate { cart { id checkoutUrl } } }").json()["data"]["cartCreate"]["cart"]
    prepare = "mutation P($id: ID!) { cartPrepareForCompletion(cartId: $id) { result { __typename } } }"
    ready = store.query(1, prepare, {"id": cart["id"]}).json()["data"]["cartPrepareForCompletion"]["result"]
    assert ready["cart"] == cart
    assert ready["checkoutUrl"] == cart["checkoutUrl"]
