"""PAR POS Next without a recording: statuses by elapsed time, digests with the key, answers to wrong clients."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text

NOW = 1_800_000_000.0
SHARED_ID = "0123456789ABCDEF"
ORDER = {
    "request_uid": "order-12345",
    "location_id": "loc-001",
    "request_datetime": "2025-01-02T15:04:05.678Z",
    "order_details": {"grand_total": 19.99, "subtotal": 18.50},
}
SIGNED = "17c3b79676faedb3470be0ce24e8605538fd99bb9867af6fb3e1fee17aaa51d2"
Ask = Callable[..., Request]


class Pos:
    """A point of sale of the built-in scenario with these lines replaced."""

    def __init__(self, ask: Ask, *changes: tuple[str, str], **options: Any) -> None:
        text = scenario_text("par-posnext")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def __call__(self, method: str, path: str, at: float, sent: object = None, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.mock.answer(self._ask(method, path, sent, headers=named), NOW + at)


@pytest.mark.parametrize("orders", ["order", "orders"])
def test_an_order_is_placed_when_its_time_is_over_under_either_spelling(ask: Ask, orders: str) -> None:
    pos = Pos(ask)
    made = pos("POST", f"/posnext/{orders}/submit", 0, ORDER)
    assert (made.status, made.json()["status"]) == (202, "pending")
    assert made.header("Location") == "/posnext/orders/order-12345"
    assert made.header("Retry-After") is None
    for spelling in ("order", "orders"):
        polls = [pos("GET", f"/posnext/{spelling}/order-12345", at) for at in (0.1, 2.9, 3.0, 99)]
        assert [poll.json()["status"] for poll in polls] == ["pending", "pending", "placed", "placed"]
        assert {poll.status for poll in polls} == {200}


def test_a_validate_is_answered_at_once(ask: Ask) -> None:
    made = Pos(ask)("POST", "/posnext/order/validate", 0, ORDER)
    assert (made.status, made.json()["status"], made.header("Location")) == (200, "validated", None)


def test_every_answer_repeats_the_order_exactly_and_is_signed(ask: Ask) -> None:
    pos = Pos(ask)
    sent = json.dumps(ORDER)
    answers = [pos("POST", "/posnext/order/submit", 0, ORDER), pos("GET", "/posnext/orders/order-12345", 5)]
    for answer in answers:
        body = answer.json()
        assert {name: body[name] for name in ORDER} == json.loads(sent)
        text = "order-12345|loc-001|0|1999|1850|1735830245"
        right = hmac.new(SHARED_ID[:10].encode(), text.encode(), hashlib.sha256).hexdigest()
        assert answer.header("x-pch-digest") == right


def test_the_digest_is_that_of_the_known_vector(ask: Ask) -> None:
    order = {**ORDER, "request_datetime": "2025-01-02T03:04:05.678Z"}
    assert Pos(ask)("POST", "/posnext/order/submit", 0, order).header("x-pch-digest") == SIGNED


def test_requests_are_checked_where_the_scenario_says_so(ask: Ask) -> None:
    pos = Pos(ask, ("check_requests = false", "check_requests = true"))
    order = {**ORDER, "request_datetime": "2025-01-02T03:04:05.678Z"}
    unsigned = pos("POST", "/posnext/order/submit", 0, order)
    wrong = pos("POST", "/posnext/order/submit", 0, order, x_pch_digest="0" * 64)
    assert (unsigned.status, unsigned.json()["errors"]) == (401, ["no x-pch-digest"])
    assert (wrong.status, wrong.json()["errors"]) == (401, ["x-pch-digest does not match the order"])
    assert pos("POST", "/posnext/order/submit", 0, order, x_pch_digest=SIGNED).status == 202


def test_answers_can_lack_their_digest_or_have_a_wrong_one(ask: Ask) -> None:
    missing = Pos(ask, ("missing = 0.0", "missing = 1.0"))("POST", "/posnext/order/submit", 0, ORDER)
    assert missing.header("x-pch-digest") is None
    wrong = Pos(ask, ("wrong = 0.0", "wrong = 1.0"))("POST", "/posnext/order/submit", 0, ORDER)
    assert wrong.header("x-pch-digest") == "0" * 64
    unsigned = Pos(ask, ('shared_id = "0123456789ABCDEF"', 'shared_id = ""'))
    assert unsigned("POST", "/posnext/order/submit", 0, ORDER).header("x-pch-digest") is None


def test_the_same_write_joins_and_another_is_refused_while_it_is_pending(ask: Ask) -> None:
    pos = Pos(ask)
    other = {**ORDER, "location_id": "loc-002"}
    sent = [(0.0, ORDER), (2.0, ORDER), (2.0, other), (3.0, ORDER), (4.0, other)]
    answers = [pos("POST", "/posnext/order/submit", at, order) for at, order in sent]
    assert [answer.status for answer in answers] == [202, 202, 409, 200, 202]
    assert answers[3].json()["status"] == "placed"


@pytest.mark.parametrize("word", ["errored", "rejected"])
def test_shares_of_the_orders_end_otherwise(ask: Ask, word: str) -> None:
    head, tail = scenario_text("par-posnext").split("[submit.outcomes]")
    pos = Pos(ask, (tail, tail.replace(f"{word} = 0.0", f"{word} = 1.0")))
    pos("POST", "/posnext/order/submit", 0, ORDER)
    assert pos("GET", "/posnext/orders/order-12345", 3).json()["status"] == word
    assert head


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/posnext/order/submit", {"location_id": "x"}, 400),
        ("POST", "/posnext/order/submit", [1], 400),
        ("POST", "/posnext/order/submit", {**ORDER, "order_details": {"grand_total": "much"}}, 400),
        ("GET", "/posnext/orders/unknown", None, 404),
        ("GET", "/posnext/order/submit", None, 405),
        ("DELETE", "/posnext/orders/x", None, 405),
        ("GET", "/elsewhere", None, 404),
        ("POST", "/posnext/menus", {}, 200),
    ],
)
def test_a_wrong_request_is_told_so(ask: Ask, method: str, path: str, sent: object, status: int) -> None:
    assert Pos(ask)(method, path, 0, sent).status == status


def test_a_bearer_token_can_be_wanted(ask: Ask) -> None:
    pos = Pos(ask, ("bearer = false", "bearer = true"))
    assert pos("POST", "/posnext/order/submit", 0, ORDER).status == 401
    assert pos("POST", "/posnext/order/submit", 0, ORDER, Authorization="Bearer a.b.c").status == 202


def test_a_stuck_order_stays_pending_and_the_status_page_says_so(ask: Ask) -> None:
    pos = Pos(ask, ("duration_s = 3.0\nstuck", "duration_s = inf\nstuck"))
    pos("POST", "/posnext/order/submit", 0, ORDER)
    assert pos("GET", "/posnext/orders/order-12345", 1e6).json()["status"] == "pending"
    (shown,) = pos.mock.status(NOW + 5)["operations"]
    assert shown == {
        "kind": "order.submit",
        "key": "order-12345",
        "elapsed_s": 5.0,
        "completes_s": None,
        "state": "pending",
    }


def test_a_pending_answer_can_say_a_word_of_its_own(ask: Ask) -> None:
    pos = Pos(ask, ("unknown = 0.0", "unknown = 1.0"))
    said = [
        pos("POST", "/posnext/order/submit", 0, ORDER),
        *(pos("GET", "/posnext/orders/order-12345", n) for n in (1, 3)),
    ]
    assert [answer.json()["status"] for answer in said] == ["queued", "queued", "placed"]
