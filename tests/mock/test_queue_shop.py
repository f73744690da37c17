"""The checkout queue without a recording: who waits how long, and which token is good for what."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from polltape.exchange import Header
from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text

NOW = 1_800_000_000.0
CREATE = "/admin/api/2020-10/checkouts.json"
QUERY = "{ poll(token: $token) { token pollAfter queueEtaSeconds productVariantAvailability { id available } } }"
Ask = Callable[..., Request]


class Shop:
    """The built-in scenario with these lines replaced; asked at seconds since its start."""

    def __init__(self, ask: Ask, *changes: tuple[str, str], **options: Any) -> None:
        text = scenario_text("shopify-queue")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def create(self, at: float, token: str | None = None, **headers: str) -> Response:
        named = headers | ({"X-Checkout-Queue-Token": token} if token else {})
        return self.mock.answer(self._ask("POST", CREATE, {"checkout": {}}, headers=named), NOW + at)

    def enter(self, at: float) -> str:
        """The token that a new request is queued with."""
        refused = self.create(at)
        assert refused.status == 429
        token = refused.header("X-Checkout-Queue-Token")
        assert token is not None
        return token

    def poll(self, token: str, at: float, query: str = QUERY) -> dict[str, Any]:
        sent = {"query": query, "variables": {"token": token}}
        answer = self.mock.answer(self._ask("POST", "/queue/poll", sent), NOW + at)
        assert answer.status == 200
        told: dict[str, Any] = answer.json()["data"]["poll"]
        return told


def test_a_queued_request_gets_429_with_its_token_in_header_and_cookie(ask: Ask) -> None:
    refused = Shop(ask).create(0)
    token = refused.header("X-Checkout-Queue-Token") or ""
    assert (refused.status, refused.body) == (429, b"{}")
    assert refused.header("X-Checkout-Queue") == "true"
    assert refused.header("Set-Cookie") == f"_checkout_queue_token={quote(token, safe='')}; path=/; max-age=3600"
    assert refused.header("Retry-After") is None
    assert quote(token, safe="").endswith("%3D%3D")


def test_whoever_polls_as_told_is_released_in_turn_and_sends_the_request_again(ask: Ask) -> None:
    shop = Shop(ask)
    token = shop.enter(0)
    seen = []
    for at in (0.1, 1.2, 2.3):
        told = shop.poll(token, at)
        assert told["token"] != token
        token = told["token"]
        assert datetime.fromisoformat(told["pollAfter"]).timestamp() == pytest.approx(NOW + at + 1, abs=0.002)
        seen.append((told["__typename"], told["queueEtaSeconds"]))
    assert seen == [("PollContinue", 3), ("PollContinue", 2), ("PollContinue", 1)]
    assert told["productVariantAvailability"] == [
        {"id": "gid://shopify/ProductVariantMerchandise/39072856", "available": True}
    ]
    done = shop.poll(token, 3.4)
    assert done.keys() == {"__typename", "token"}
    assert done["__typename"] == "PollComplete"
    assert shop.poll(done["token"], 3.5) == done
    assert shop.create(4, done["token"]).status == 202
    assert shop.create(5, done["token"]).status == 429  # good for one request


def test_the_cookie_is_as_good_as_the_header(ask: Ask) -> None:
    shop = Shop(ask)
    token = shop.poll(shop.enter(0), 4)["token"]
    assert shop.create(4, Cookie=f"a=b; _checkout_queue_token={quote(token, safe='')}").status == 202


def test_nobody_in_line_is_let_in_and_a_burst_makes_a_line(ask: Ask) -> None:
    shop = Shop(ask, ("length = 3", "length = 0"))
    assert [shop.create(at).status for at in (0, 0.1, 0.2, 5)] == [202, 429, 429, 202]
    first, second = Shop(ask), Shop(ask, speed=10)
    for shop, pace in ((first, 1.0), (second, 0.1)):
        tokens = [shop.enter(0) for _ in range(3)]
        turns = [3 * pace, 4 * pace, 5 * pace]
        for token, turn in zip(tokens, turns, strict=True):
            assert shop.poll(token, turn + 0.001)["__typename"] == "PollComplete"


def test_polls_before_poll_after_are_ignored(ask: Ask) -> None:
    shop = Shop(ask)
    told = shop.poll(shop.enter(0), 2.5)
    assert shop.poll(told["token"], 3.4) == {**told, "queueEtaSeconds": 0}  # its turn has come, but nobody looks
    assert shop.poll(told["token"], 3.6)["__typename"] == "PollComplete"
    lenient = Shop(ask, ('early = "ignored"', 'early = "answered"'))
    assert lenient.poll(lenient.poll(lenient.enter(0), 2.5)["token"], 3.4)["__typename"] == "PollComplete"


def test_an_older_token_loses_its_place(ask: Ask) -> None:
    shop = Shop(ask)
    first = shop.enter(0)
    shop.poll(first, 0.1)
    requeued = shop.poll(first, 3.5)
    assert (requeued["__typename"], requeued["queueEtaSeconds"]) == ("PollContinue", 3)
    assert shop.poll(requeued["token"], 6.6)["__typename"] == "PollComplete"
    lenient = Shop(ask, ('stale = "requeued"', 'stale = "answered"'))
    first = lenient.enter(0)
    lenient.poll(first, 0.1)
    assert lenient.poll(first, 3.5)["__typename"] == "PollComplete"


def test_an_unknown_token_begins_at_the_end_of_the_line(ask: Ask) -> None:
    shop = Shop(ask)
    told = shop.poll("lost", 0)
    assert (told["__typename"], told["queueEtaSeconds"]) == ("PollContinue", 3)
    assert shop.create(1, "lost").header("X-Checkout-Queue-Token") not in (None, "lost")
    assert shop.create(4, shop.poll(told["token"], 3.1)["token"]).status == 202


def test_the_server_can_lose_the_place(ask: Ask) -> None:
    shop = Shop(ask, ("lost = 0.0", "lost = 1.0"))
    token = shop.enter(0)
    for at in (1, 5, 9):
        told = shop.poll(token, at)
        assert (told["__typename"], told["queueEtaSeconds"]) == ("PollContinue", 3)
        token = told["token"]


def test_a_request_that_does_not_wait_for_poll_complete_keeps_its_place(ask: Ask) -> None:
    shop = Shop(ask)
    token = shop.enter(0)
    again = shop.create(10, token)
    assert (again.status, again.header("X-Checkout-Queue-Token")) == (429, token)


def test_only_what_the_scenario_names_has_to_queue(ask: Ask) -> None:
    shop = Shop(ask, ('queued = ["create"]', 'queued = ["update"]'))
    made = shop.create(0)
    assert made.status == 202
    path = CREATE.replace(".json", f"/{made.json()['checkout']['token']}.json")
    assert shop.mock.answer(ask("GET", path), NOW + 3).status == 200
    assert shop.mock.answer(ask("PUT", path, {"checkout": {}}), NOW + 3).status == 429


def test_a_token_is_good_for_the_request_that_was_queued(ask: Ask) -> None:
    shop = Shop(ask, ('queued = ["create"]', 'queued = ["create", "update"]'))
    token = shop.poll(shop.enter(0), 4)["token"]
    other = ask("PUT", CREATE.replace(".json", "/x.json"), {}, headers={"X-Checkout-Queue-Token": token})
    assert shop.mock.answer(other, NOW + 4).status == 429
    assert shop.create(4, token).status == 202


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("{ poll(token: $token) { token pollAfter } }", {"__typename", "token", "pollAfter"}),
        (QUERY, {"__typename", "token", "pollAfter", "queueEtaSeconds", "productVariantAvailability"}),
        ("query Q($t: String!) { poll(token: $t) { token } }", None),
    ],
)
def test_an_answer_has_the_fields_that_are_asked_for(ask: Ask, query: str, fields: set[str] | None) -> None:
    shop = Shop(ask)
    if fields is None:
        sent = {"query": query, "variables": {"t": shop.enter(0)}}
        answer = shop.mock.answer(ask("POST", "/queue/poll", sent), NOW)
        assert answer.json()["data"]["poll"].keys() == {"__typename", "token"}
    else:
        assert shop.poll(shop.enter(0), 1, query).keys() == fields


def test_a_form_is_taken_as_well(ask: Ask) -> None:
    shop = Shop(ask)
    form = urlencode({"query": QUERY, "variables[token]": shop.enter(0)}).encode()
    kind = (Header("Content-Type", "application/x-www-form-urlencoded"),)
    request = Request("POST", "http", "127.0.0.1:9", "/queue/poll", kind, form)
    assert shop.mock.answer(request, NOW).json()["data"]["poll"]["__typename"] == "PollContinue"


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("GET", None, 400),
        ("POST", None, 400),
        ("POST", {"query": "{ shop { name } }"}, 200),
        ("POST", {"query": QUERY}, 200),
    ],
)
def test_a_wrong_poll_gets_errors(ask: Ask, method: str, sent: object, status: int) -> None:
    answer = Shop(ask).mock.answer(ask(method, "/queue/poll", sent), NOW)
    assert (answer.status, [*json.loads(answer.body)]) == (status, ["errors"])


def test_poll_after_is_written_as_the_scenario_says(ask: Ask) -> None:
    shop = Shop(ask, ('utc_offset = "Z"', 'utc_offset = "-04:00"'))
    assert shop.poll(shop.enter(0), 0)["pollAfter"] == "2027-01-15T04:00:01.000-04:00"
    assert Shop(ask).poll("x", 0)["pollAfter"] == "2027-01-15T08:00:01.000Z"
    silent = Shop(ask, ("poll_after_s = 1.0", 'poll_after_s = "none"'))
    assert silent.poll("x", 0)["pollAfter"] is None


def test_a_wait_is_drawn_or_never_ends(ask: Ask) -> None:
    drawn = Shop(ask, ('duration_s = "line"', "duration_s = 5.0"))
    tokens = [drawn.enter(0) for _ in range(3)]
    assert [drawn.poll(token, 4.9)["__typename"] for token in tokens] == ["PollContinue"] * 3
    assert drawn.poll(drawn.enter(0), 5)["__typename"] == "PollComplete"
    stuck = Shop(ask, ("stuck = 0.0", "stuck = 1.0"))
    told = stuck.poll(stuck.enter(0), 1e6)
    assert (told["__typename"], told["queueEtaSeconds"]) == ("PollContinue", None)


def test_the_status_page_shows_each_place_once(ask: Ask) -> None:
    shop = Shop(ask)
    token = shop.enter(0)
    shop.poll(token, 1)
    shown = shop.mock.status(NOW + 2)["operations"]
    assert [(one["kind"], one["key"], one["elapsed_s"], one["completes_s"], one["state"]) for one in shown] == [
        ("queue.wait", token, 2.0, 3.0, "pending")
    ]


@pytest.mark.parametrize(("eta", "told"), [("1.0", 3), ("3.0", 9), ("0.0", 0)])
def test_the_estimate_can_be_wrong(ask: Ask, eta: str, told: int) -> None:
    shop = Shop(ask, ("eta = 1.0", f"eta = {eta}"))
    assert shop.poll(shop.enter(0), 0)["queueEtaSeconds"] == told


@pytest.mark.parametrize("cookies", ['_y={"a":[1, 2]}; ', "a b; =; "])
def test_the_cookie_is_found_among_cookies_that_are_none(ask: Ask, cookies: str) -> None:
    shop = Shop(ask)
    token = shop.poll(shop.enter(0), 4)["token"]
    assert shop.create(4, Cookie=f"{cookies}_checkout_queue_token={quote(token, safe='')}").status == 202


def test_the_cookies_text_is_taken_in_the_header_as_it_stands(ask: Ask) -> None:
    shop = Shop(ask)
    token = shop.poll(shop.enter(0), 4)["token"]
    assert shop.create(4, token=quote(token, safe="")).status == 202
