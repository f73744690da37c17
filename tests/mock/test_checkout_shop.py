"""The scenario's shop: every endpoint, by elapsed time, with bodies of the reference's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.exchange import Body, Exchange
from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text
from polltape.protocols import observe

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2024-04/checkouts"
GREEN, RED = 39072856, 49148385
HOME = {"first_name": "John", "last_name": "Smith", "address1": "126 York St.", "city": "Los Angeles"} | {
    "province_code": "CA",
    "country_code": "US",
    "phone": "(123)456-7890",
    "zip": "90002",
}
Ask = Callable[..., Request]


class Shop:
    """A mock of the built-in scenario with these lines of it replaced, and a client."""

    def __init__(self, ask: Ask, changes: Sequence[tuple[str, str]] = (), **options: Any) -> None:
        text = scenario_text("shopify-checkout")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def __call__(self, method: str, path: str, at: float, sent: object = None, **more: Any) -> Response:
        return self.mock.answer(self._ask(method, path, sent, **more), NOW + at)

    def create(self, at: float = 0.0, **fields: Any) -> str:
        answer = self("POST", f"{ADMIN}.json", at, {"checkout": fields})
        assert answer.status == 202
        token: str = answer.json()["checkout"]["token"]
        return token

    def statuses(self, path: str, *times: float) -> list[int]:
        return [self("GET", path, at).status for at in times]


@pytest.fixture
def shop(ask: Ask) -> Shop:
    return Shop(ask)


def shape(value: object) -> object:
    """The keys of a JSON value, in order, at every depth; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def keys(value: Any, *path: Any) -> list[str]:
    for step in path:
        value = value[step]
    return list(value)


def test_bodies_have_the_keys_of_the_reference_in_its_order(shop: Shop, reference: list[dict[str, Any]]) -> None:
    by_title = {example["title"]: example for example in reference}
    first = by_title["Create a checkout with a product variant and quantity"]
    made = shop("POST", f"{ADMIN}.json", 0, first["request"])
    assert made.status == first["status"]
    assert shape(made.json()) == shape(first["response"])
    empty = by_title["Create a checkout without any line items"]
    assert shape(shop("POST", f"{ADMIN}.json", 0, empty["request"]).json()) == shape(empty["response"])

    token = made.json()["checkout"]["token"]
    path = f"{ADMIN}/{token}.json"
    addressed = by_title["Update the shipping address and email of a checkout"]
    changed = shop("PUT", path, 2, addressed["request"]).json()
    documented = addressed["response"]
    assert keys(changed, "checkout", "shipping_address") == keys(documented, "checkout", "shipping_address")
    assert keys(changed, "checkout", "tax_lines", 0) == keys(documented, "checkout", "tax_lines", 0)
    line = ("checkout", "line_items", 0, "tax_lines", 0)
    assert keys(changed, *line) == keys(documented, *line)
    assert changed["checkout"]["shipping_address"] == {
        **documented["checkout"]["shipping_address"],
        "id": changed["checkout"]["shipping_address"]["id"],
    }

    chosen = by_title["Select a shipping rate"]
    shipped = shop("PUT", path, 5, chosen["request"]).json()
    for name in ("shipping_line", "shipping_rate"):
        assert shipped["checkout"][name] == chosen["response"]["checkout"][name]

    completing = shop("POST", f"{ADMIN}/{token}/complete.json", 10, {})
    assert completing.status == 202
    assert keys(completing.json(), "checkout") == keys(first["response"], "checkout")
    completed = shop("GET", path, 20)
    documented = by_title["Retrieve a completed checkout"]["response"]
    assert completed.status == 200
    assert keys(completed.json(), "checkout") == keys(documented, "checkout")
    assert keys(completed.json(), "checkout", "order") == keys(documented, "checkout", "order")


@pytest.mark.parametrize(
    "title",
    [
        "Creating a checkout with errors, such as using the ID of a variant that doesn't exist or that isn't"
        " published to your sales channel, fails with a 422 response and returns errors",
        "Creating a checkout with line item errors fails and returns the errors mapped by index",
    ],
)
def test_a_create_is_refused_to_the_letter_of_the_reference(
    shop: Shop, reference: list[dict[str, Any]], title: str
) -> None:
    example = next(example for example in reference if example["title"] == title)
    answer = shop("POST", f"{ADMIN}.json", 0, example["request"])
    assert (answer.status, answer.json()) == (422, example["response"])


def test_a_bad_zip_is_refused_to_the_letter_and_changes_nothing(shop: Shop, reference: list[dict[str, Any]]) -> None:
    example = next(example for example in reference if example["method"] == "PUT" and example["status"] == 422)
    path = f"{ADMIN}/{shop.create()}.json"
    answer = shop("PUT", path, 2, example["request"])
    assert (answer.status, answer.json()) == (422, example["response"])
    settled = shop("GET", path, 2.1)
    assert (settled.status, settled.json()["checkout"]["shipping_address"]) == (200, None)


def test_shipping_rates_have_the_shape_of_the_reference_and_the_totals_they_lead_to(
    shop: Shop, reference: list[dict[str, Any]]
) -> None:
    documented = [e for e in reference if "shipping_rates" in e["path"]]
    token = shop.create(line_items=[{"variant_id": GREEN, "quantity": 2}], shipping_address=HOME)
    path = f"{ADMIN}/{token}/shipping_rates.json"
    waiting = shop("GET", path, 2)
    assert (waiting.status, waiting.json()) == (202, {"shipping_rates": []})
    ready = shop("GET", path, 4.5)
    assert ready.status == 200
    assert shape(ready.json()) == shape(documented[0]["response"])
    free, standard = ready.json()["shipping_rates"]
    assert free["handle"] == "shopify-Free%20Shipping-0.00"
    assert standard["checkout"] == {"total_tax": "23.88", "total_price": "431.88", "subtotal_price": "398.00"}


def test_without_an_address_there_are_no_rates(shop: Shop) -> None:
    path = f"{ADMIN}/{shop.create(line_items=[{'variant_id': GREEN}])}/shipping_rates.json"
    assert shop.statuses(path, 0, 2.4, 2.5) == [202, 202, 200]
    assert shop("GET", path, 3).json() == {"shipping_rates": []}


# ------------------------------------------------------------------------------------------------ time


def test_a_poll_after_an_updates_202_gets_its_200_when_the_work_is_over(shop: Shop) -> None:
    path = f"{ADMIN}/{shop.create()}.json"
    assert shop.statuses(path, 0.0, 1.4, 1.5, 9.0) == [202, 202, 200, 200]
    accepted = shop("PUT", path, 10, {"checkout": {"note": "x"}})
    assert accepted.status == 202
    assert accepted.header("Retry-After") == "1"
    assert accepted.header("Location") == f"http://127.0.0.1:9{path}"
    assert shop.statuses(path, 10.0, 12.49, 12.5, 1e6) == [202, 202, 200, 200]
    assert shop("GET", path, 1e6).header("Retry-After") is None


def test_settled_202_is_the_reference_to_the_letter(ask: Ask) -> None:
    shop = Shop(ask, [("settled_status = 200", "settled_status = 202")])
    token = shop.create()
    assert shop.statuses(f"{ADMIN}/{token}.json", 1, 99) == [202, 202]
    shop("POST", f"{ADMIN}/{token}/complete.json", 100)
    assert shop.statuses(f"{ADMIN}/{token}.json", 103.4, 103.5) == [202, 200]


def test_an_idle_checkout_answers_202_for_ever_until_it_is_written_to(ask: Ask) -> None:
    shop = Shop(ask, [("idle = []", 'idle = ["abc"]')])
    path = f"{ADMIN}/abc.json"
    assert shop.statuses(path, 0, 1e6) == [202, 202]
    assert shop("GET", path, 1e6).header("Retry-After") is None
    assert shop("PATCH", path, 1e6, {"checkout": {}}).status == 202
    assert shop.statuses(path, 1e6 + 2.4, 1e6 + 2.5) == [202, 200]


def test_a_completed_checkout_has_its_order(shop: Shop) -> None:
    token = shop.create()
    assert shop("POST", f"{ADMIN}/{token}/complete.json", 2).status == 202
    shown = shop("GET", f"{ADMIN}/{token}.json", 5.5).json()["checkout"]
    assert shown["completed_at"] == "2027-01-15T08:00:05+00:00"
    assert shown["order"]["id"] == shown["order_id"]
    assert shown["order_status_url"].startswith(f"http://127.0.0.1:9/548380009/checkouts/{token}/")
    assert shop("PUT", f"{ADMIN}/{token}.json", 6, {"checkout": {}}).status == 422


def test_while_an_order_is_made_other_writes_wait_outside(shop: Shop) -> None:
    token = shop.create()
    shop("POST", f"{ADMIN}/{token}/complete.json", 2)
    assert shop("PUT", f"{ADMIN}/{token}.json", 3, {"checkout": {}}).status == 409
    assert shop("POST", f"{ADMIN}/{token}/complete.json", 3).status == 202  # the same again joins
    assert shop.statuses(f"{ADMIN}/{token}.json", 5.4, 5.5) == [202, 200]


def test_a_payment_is_polled_at_its_own_address_and_makes_the_order(shop: Shop) -> None:
    token = shop.create(line_items=[{"variant_id": RED}])
    sent = {"payment": {"unique_token": "u1", "session_id": "east-1", "amount": "199.00"}}
    accepted = shop("POST", f"{ADMIN}/{token}/payments.json", 2, sent)
    payment = accepted.json()["payment"]
    path = f"{ADMIN}/{token}/payments/{payment['id']}.json"
    assert (accepted.status, payment["transaction"], accepted.header("Location")) == (
        202,
        None,
        f"http://127.0.0.1:9{path}",
    )
    assert shop("POST", f"{ADMIN}/{token}/payments.json", 3, sent).json()["payment"]["id"] == payment["id"]
    assert shop.statuses(path, 5.4, 5.5) == [202, 200]
    done = shop("GET", path, 6).json()["payment"]
    assert (done["transaction"]["status"], done["transaction"]["amount"]) == ("success", "199.00")
    assert done["checkout"]["order"]["id"]
    assert shop.statuses(f"{ADMIN}/{token}.json", 5.4, 5.5)[1] == 200
    listed = shop("GET", f"{ADMIN}/{token}/payments.json", 6)
    assert (listed.status, [p["id"] for p in listed.json()["payments"]]) == (200, [payment["id"]])


def test_a_declined_payment_says_so_and_makes_no_order(ask: Ask) -> None:
    shop = Shop(ask, [("declined = 0.0", "declined = 1.0")])
    token = shop.create(line_items=[{"variant_id": RED}])
    number = shop("POST", f"{ADMIN}/{token}/payments.json", 2, {"payment": {}}).json()["payment"]["id"]
    failed = shop("GET", f"{ADMIN}/{token}/payments/{number}.json", 6).json()["payment"]
    assert failed["payment_processing_error_message"] == "Your card was declined."
    assert failed["checkout"]["completed_at"] is None


@settings(max_examples=60, deadline=None)
@given(polls=st.lists(st.floats(0, 5), max_size=10).map(sorted), writes=st.integers(1, 3))
def test_never_200_before_the_work_is_over_and_never_202_after(ask: Ask, polls: list[float], writes: int) -> None:
    shop = Shop(ask)
    path = f"{ADMIN}/{shop.create()}.json"
    for _ in range(writes):
        shop("PUT", path, 10, {"checkout": {"note": "the same"}})  # again and again: one job
    for at in polls:
        over = NOW + 10 + at >= NOW + 12.5
        assert shop("GET", path, 10 + at).status == (200 if over else 202)


def test_two_checkouts_have_two_clocks(shop: Shop) -> None:
    first, second = shop.create(0.0), shop.create(1.0)
    assert shop.statuses(f"{ADMIN}/{first}.json", 1.6) == [200]
    assert shop.statuses(f"{ADMIN}/{second}.json", 1.6, 2.5) == [202, 200]


def test_durations_can_be_drawn_and_are_the_same_for_the_same_seed(ask: Ask) -> None:
    def ends(seed: int) -> list[float]:
        shop = Shop(ask, [("duration_s = 1.5", "duration_s = { median = 1.5, sigma = 0.5 }")], seed=seed)
        for _ in range(200):
            shop.create()
        return [operation["completes_s"] for operation in shop.mock.status(NOW)["operations"]]

    drawn = sorted(ends(1))
    assert drawn == sorted(ends(1)) != sorted(ends(2))
    assert 1.3 < drawn[100] < 1.75
    assert len(set(drawn)) == 200


def test_inf_is_stuck_for_ever(ask: Ask) -> None:
    shop = Shop(ask, [("duration_s = 1.5", "duration_s = inf")])
    token = shop.create()
    assert shop.statuses(f"{ADMIN}/{token}.json", 1e8) == [202]
    assert shop.mock.status(NOW)["operations"][0]["completes_s"] is None


def test_speed_divides_durations_and_hints_but_never_to_nothing(ask: Ask) -> None:
    shop = Shop(ask, [("duration_s = 1.5\nretry_after = 1", "duration_s = 1.5\nretry_after = 4.0")], speed=10)
    accepted = shop("POST", f"{ADMIN}.json", 0, {"checkout": {}})
    assert accepted.header("Retry-After") == "0.4"
    path = f"{ADMIN}/{accepted.json()['checkout']['token']}.json"
    assert shop.statuses(path, 0.149, 0.15) == [202, 200]
    changed = shop("PUT", path, 1, {"checkout": {}})
    assert (changed.header("Retry-After"), changed.header("X-Polltape-Wait")) == ("1", "0.1")


# ------------------------------------------------------------------------------------- what was sent


def test_lines_and_totals_are_summed_as_decimals(ask: Ask) -> None:
    shop = Shop(ask, [('price = "199.00"\ngrams = 567', 'price = "0.10"\ngrams = 567')])
    items = [{"variant_id": GREEN, "quantity": 3}, {"variant_id": RED, "quantity": 2}]
    sent: dict[str, Any] = {
        "line_items": items,
        "shipping_address": HOME,
        "shipping_line": {"handle": "shopify-Standard-10.00"},
    }
    token = shop.create(**sent)
    shown = shop("GET", f"{ADMIN}/{token}.json", 2).json()["checkout"]
    assert [line["line_price"] for line in shown["line_items"]] == ["0.30", "398.00"]
    assert [line["quantity"] for line in shown["line_items"]] == [3, 2]
    totals = [shown[name] for name in ("subtotal_price", "total_tax", "total_price", "payment_due")]
    assert totals == ["398.30", "23.90", "432.20", "432.20"]
    assert shown["requires_shipping"] is True


def test_a_put_of_the_whole_checkout_changes_only_what_a_client_may_set(shop: Shop) -> None:
    token = shop.create(email="a@b.example", line_items=[{"variant_id": GREEN}], shipping_address=HOME)
    path = f"{ADMIN}/{token}.json"
    whole = shop("GET", path, 2).json()["checkout"]
    forged = {**whole, "email": "c@d.example", "token": "x", "total_price": "0.01", "completed_at": "2020", "order": {}}
    assert shop("PUT", path, 3, {"checkout": forged}).status == 202
    again = shop("GET", path, 9).json()["checkout"]
    assert {name for name in whole if whole[name] != again[name]} == {"email", "updated_at"}


def test_another_cart_needs_another_shipping_rate(shop: Shop) -> None:
    path = f"{ADMIN}/{shop.create(line_items=[{'variant_id': GREEN}], shipping_address=HOME)}.json"
    shop("PUT", path, 2, {"checkout": {"shipping_line": {"handle": "shopify-Standard-10.00"}}})
    assert shop("GET", path, 9).json()["checkout"]["shipping_rate"]["price"] == "10.00"
    shop("PUT", path, 10, {"checkout": {"line_items": [{"variant_id": RED}]}})
    assert shop("GET", path, 19).json()["checkout"]["shipping_line"] is None
    unknown = shop("PUT", path, 20, {"checkout": {"shipping_line": {"handle": "pigeon"}}})
    assert list(unknown.json()["errors"]) == ["shipping_line"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", f"{ADMIN}/unknown.json", None, 404),
        ("PUT", f"{ADMIN}/unknown.json", {"checkout": {}}, 404),
        ("GET", "/admin/api/2024-04/orders.json", None, 404),
        ("DELETE", f"{ADMIN}.json", None, 404),
        ("POST", f"{ADMIN}.json", None, 400),
        ("POST", f"{ADMIN}.json", [], 400),
        ("POST", f"{ADMIN}.json", {"checkout": 5}, 400),
        ("POST", f"{ADMIN}.json", {"checkout": {"line_items": ["x"]}}, 422),
        ("POST", f"{ADMIN}.json", {"checkout": {"line_items": 5}}, 422),
        ("POST", f"{ADMIN}.json", {"checkout": {"line_items": [{"variant_id": GREEN, "quantity": -1}]}}, 422),
        ("POST", "/cardserver/sessions", {"credit_card": {}}, 200),
        ("GET", "/cardserver/sessions", None, 404),
    ],
)
def test_odd_requests_get_their_status(shop: Shop, method: str, path: str, sent: object, status: int) -> None:
    assert shop(method, path, 0, sent).status == status


def test_an_unknown_checkout_is_not_found_in_shopifys_words(shop: Shop) -> None:
    assert shop("GET", f"{ADMIN}/unknown.json", 0).json() == {"errors": "Not Found"}


# ------------------------------------------------------------------------------------------- options


def test_credentials_can_be_required(ask: Ask) -> None:
    shop = Shop(ask, [("access_token = false", "access_token = true")])
    assert shop("POST", f"{ADMIN}.json", 0, {"checkout": {}}).status == 401
    sent: dict[str, Any] = {"checkout": {}}
    assert shop("POST", f"{ADMIN}.json", 0, sent, headers={"X-Shopify-Access-Token": "t"}).status == 202


def test_location_can_be_missing(ask: Ask) -> None:
    shop = Shop(ask, [("location = true", "location = false")])
    answer = shop("POST", f"{ADMIN}.json", 0, {"checkout": {}})
    assert (answer.header("Location"), answer.header("Retry-After")) == (None, "1")


def test_the_storefronts_own_paths_give_what_its_client_carries_to_its_polls(shop: Shop) -> None:
    name = "X-Shopify-Checkout-Authorization-Token"
    created = shop("POST", "/wallets/checkouts.json", 0, {"checkout": {}})
    path = f"/wallets/checkouts/{created.json()['checkout']['token']}.json"
    updated = shop("PUT", path, 5, {"checkout": {"email": "a@b.example"}})
    other = shop("POST", "/wallets/checkouts.json", 9, {"checkout": {}})
    assert created.header(name) == updated.header(name) != other.header(name)
    assert created.header(name)
    assert shop("POST", f"{ADMIN}.json", 9, {"checkout": {}}).header(name) is None


def test_a_strict_shop_wants_a_way_to_write_to_the_buyer(ask: Ask) -> None:
    shop = Shop(ask, [("strict = false", "strict = true")])
    token = shop.create()
    assert list(shop("POST", f"{ADMIN}/{token}/complete.json", 2).json()["errors"]) == ["email"]
    shop("PUT", f"{ADMIN}/{token}.json", 3, {"checkout": {"email": "a@b.example"}})
    assert shop("POST", f"{ADMIN}/{token}/complete.json", 9).status == 202


def test_the_bucket_leaks_two_a_second_and_overflows_with_429(ask: Ask) -> None:
    shop = Shop(ask, [("\nsize = 0", "\nsize = 3")])
    path = f"{ADMIN}/{shop.create()}.json"
    assert shop("GET", path, 0).header("X-Shopify-Shop-Api-Call-Limit") == "2/3"
    assert shop.statuses(path, 0, 0, 0.4, 0.5) == [202, 429, 429, 202]
    assert shop("GET", path, 0.5).header("Retry-After") == "2.0"


def test_every_answer_has_its_own_request_id_and_the_version_of_its_path(shop: Shop) -> None:
    answers = [shop("GET", f"{ADMIN}/x.json", 0) for _ in range(3)]
    assert len({answer.header("X-Request-Id") for answer in answers}) == 3
    assert {answer.header("X-Shopify-API-Version") for answer in answers} == {"2024-04"}
    assert answers[0].header("Date") == "Fri, 15 Jan 2027 08:00:00 GMT"


def test_the_analysis_reads_the_shops_answers_as_they_are_meant(shop: Shop) -> None:
    def states(method: str, path: str, at: float, sent: object = None) -> tuple[str | None, bool]:
        answer = shop(method, path, at, sent)
        seen = observe(
            Exchange(
                *("x", method, "http", "mock", 80, path, datetime.now(UTC)),
                status=answer.status,
                response_headers=answer.headers,
                response_body=Body(content=answer.body),
            )
        ).observations[0]
        return seen.state, seen.opens

    token = shop.create()
    path = f"{ADMIN}/{token}.json"
    assert states("PUT", path, 2, {"checkout": {}}) == ("pending", True)
    assert states("GET", path, 3) == ("pending", False)
    assert states("GET", path, 5) == ("completed", False)
    assert states("PUT", path, 5, {"checkout": {"line_items": [{"variant_id": 1}]}})[0] == "rejected"
    assert states("GET", f"{ADMIN}/{token}/shipping_rates.json", 5) == ("pending", True)
    assert states("POST", f"{ADMIN}/{token}/payments.json", 6, {"payment": {}}) == ("pending", True)


def test_more_new_checkouts_a_minute_than_allowed_are_answered_303_without_location(ask: Ask) -> None:
    shop = Shop(ask, [("per_minute = 0", "per_minute = 2")])
    answers = [shop("POST", f"{ADMIN}.json", at, {"checkout": {}}) for at in (0, 1, 2, 59.9, 60)]
    assert [answer.status for answer in answers] == [202, 202, 303, 303, 202]
    assert answers[2].header("Location") is None


def test_a_checkout_is_made_at_once_unless_its_tax_takes_time(ask: Ask) -> None:
    shop = Shop(ask, [("status = 202  ", "status = 201  "), ("asynchronous_tax = false", "asynchronous_tax = true")])
    made = shop("POST", f"{ADMIN}.json", 0, {"checkout": {}})
    assert (made.status, made.header("Retry-After")) == (201, None)
    assert shop("GET", f"{ADMIN}/{made.json()['checkout']['token']}.json", 0).status == 200
    taxed = shop("POST", f"{ADMIN}.json", 0, {"checkout": {"shipping_address": HOME}})
    assert (taxed.status, taxed.header("Retry-After")) == (202, "1")


@pytest.mark.parametrize(("by", "statuses"), [("client", [404, 404, 429]), ("all", [404, 429, 429])])
def test_a_bucket_is_of_one_client_or_of_all(ask: Ask, by: str, statuses: list[int]) -> None:
    shop = Shop(ask, [("\nsize = 0", "\nsize = 1"), ('by = "client"', f'by = "{by}"')])
    sent = [shop("GET", "/x.json", 0, headers={"X-Shopify-Access-Token": token}) for token in "aba"]
    assert [answer.status for answer in sent] == statuses


def test_an_update_that_still_runs_does_not_let_writes_in_while_a_payment_is_made(shop: Shop) -> None:
    path = f"{ADMIN}/{shop.create()}"
    assert shop("PUT", f"{path}.json", 2, {"checkout": {"note": "a"}}).status == 202  # until 4.5
    assert shop("POST", f"{path}/payments.json", 3, {"payment": {"amount": "1.00"}}).status == 202  # until 6.5
    assert [shop("PUT", f"{path}.json", at, {"checkout": {"note": "b"}}).status for at in (4, 5, 7)] == [409, 409, 422]


def test_a_payment_of_its_own_has_a_next_action_and_its_checkout(shop: Shop) -> None:
    path = f"{ADMIN}/{shop.create()}"
    paid = shop("POST", f"{path}/payments.json", 2, {"payment": {"amount": "1.00"}}).json()["payment"]
    assert list(paid)[:4] == ["id", "unique_token", "payment_processing_error_message", "next_action"]
    assert paid["next_action"] == {"redirect_url": None}
    (listed,) = shop("GET", f"{path}/payments.json", 7).json()["payments"]
    assert listed["checkout"]["order"]["status_url"].endswith("/thank_you")
    (inside,) = listed["checkout"]["payments"]
    assert "next_action" not in inside
    assert "checkout" not in inside
