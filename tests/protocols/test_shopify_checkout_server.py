"""The server's side of the checkout: errors, addresses, sums, echoes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.protocols import shopify_checkout_server as shopify

VARIANT = {
    "id": 1,
    "product_id": 2,
    "sku": "S",
    "vendor": "V",
    "title": "T",
    "variant_title": "",
    "image_url": None,
    "taxable": True,
    "requires_shipping": True,
    "price": "19.99",
    "grams": 5,
}


def checkout(**more: Any) -> dict[str, Any]:
    made = shopify.new_checkout("t", number=1, currency="USD", source_name="web", created_at="now")
    return {**made, **more}


@pytest.mark.parametrize(
    ("sent", "bad"),
    [
        ({"zip": "90002", "country_code": "US"}, False),
        ({"zip": "90002-1234", "country_code": "US"}, False),
        ({"zip": "1234", "country_code": "US"}, True),
        ({"zip": "90002x", "country": "United States"}, True),
        ({"zip": "1234", "country_code": "DE"}, False),
        ({"country_code": "US"}, False),
        (None, False),
        ("text", False),
    ],
)
def test_a_zip_is_judged_by_its_country(sent: object, bad: bool) -> None:
    assert bool(shopify.address_errors("shipping_address", sent)) == bad


@pytest.mark.parametrize(
    ("item", "bad"),
    [
        ({"variant_id": 1}, False),
        ({"variant_id": "1", "quantity": "2"}, False),
        ({"variant_id": 1, "quantity": 0}, True),
        ({"variant_id": 1, "quantity": None}, True),
        ({"variant_id": 1, "quantity": 1.5}, True),
        ({"variant_id": True}, True),
        ({"variant_id": 2}, True),
        ({}, True),
        (None, True),
    ],
)
def test_a_line_is_judged_by_variant_and_quantity(item: object, bad: bool) -> None:
    errors = shopify.line_item_errors([{"variant_id": 1}, item], {1: VARIANT})
    assert list(errors.get("line_items", {})) == (["1"] if bad else [])


@given(st.lists(st.tuples(st.decimals(0, 9999, places=2), st.integers(1, 99)), max_size=5))
def test_totals_are_exact_sums(lines: list[tuple[Decimal, int]]) -> None:
    items = [
        shopify.line_item("x", {"quantity": quantity}, {**VARIANT, "price": str(price)}) for price, quantity in lines
    ]
    made = checkout(line_items=items, shipping_line={"price": "10.00"}, shipping_address={"zip": "1"})
    shopify.priced(made, Decimal("0.06"))
    subtotal = sum((price * quantity for price, quantity in lines), Decimal(0))
    assert Decimal(made["subtotal_price"]) == subtotal
    assert Decimal(made["total_price"]) == subtotal + Decimal(made["total_tax"]) + 10
    taxes = sum(Decimal(line["price"]) for item in items for line in item["tax_lines"])
    assert Decimal(made["total_tax"]) == taxes
    assert abs(taxes - subtotal * Decimal("0.06")) <= Decimal("0.005") * len(lines)


def test_without_an_address_there_is_no_tax() -> None:
    made = checkout(line_items=[shopify.line_item("x", {"quantity": 5}, VARIANT)])
    shopify.priced(made, Decimal("0.06"))
    assert (made["total_tax"], made["tax_lines"], made["total_price"]) == ("0.00", [], "99.95")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"country_code": "US", "province_code": "CA"}, ("United States", "US", "California", "CA")),
        ({"country": "United States", "province": "California"}, ("United States", "US", "California", "CA")),
        ({"country_code": "XX", "province_code": "YY"}, ("XX", "XX", "YY", "YY")),
        ({"country": "Nowhere"}, ("Nowhere", None, None, None)),
    ],
)
def test_an_address_has_names_and_codes(sent: dict[str, Any], said: tuple[str | None, ...]) -> None:
    made = shopify.address(1, sent, None)
    assert tuple(made[name] for name in ("country", "country_code", "province", "province_code")) == said


def test_an_address_is_changed_field_by_field() -> None:
    before = shopify.address(1, {"city": "A", "zip": "1"}, None)
    assert shopify.address(1, {"zip": "2"}, before) == {**before, "zip": "2"}


def test_urls_get_their_host_and_the_original_stays() -> None:
    made = checkout()
    shopify.complete(made, 450781001, "then")
    shown = shopify.located(made, "http://mock")
    assert shown["web_url"] == f"http://mock/{shopify.SHOP_ID}/checkouts/t"
    assert shown["order"]["status_url"] == shown["order_status_url"] == shown["web_url"] + "/thank_you"
    assert made["web_url"].startswith("/")
    assert made["order"]["status_url"].startswith("/")


def test_nothing_of_a_card_is_kept_in_a_payment() -> None:
    made = shopify.payment(7, {"unique_token": "u", "session_id": "s", "credit_card": {"number": "4242424242424242"}})
    assert "4242424242424242" not in str(made)
    assert made["transaction"] is None


@pytest.mark.parametrize("body", [None, [], "x", {"checkout": 5}, {"other": {}}])
def test_what_sets_nothing_sets_nothing(body: object) -> None:
    assert shopify.sent_fields(body) == {}


def test_an_echo_shows_what_was_sent_and_adds_no_field() -> None:
    fields = shopify.sent_fields(
        {
            "checkout": {
                "email": "me@x.example",
                "phone": "1",
                "token": "forged",
                "line_items": [{"quantity": 2}, {"quantity": 3, "price": "bad"}],
                "note_attributes": {"a": "b"},
            }
        }
    )
    body = {
        "checkout": {
            "token": "t",
            "email": None,
            "line_items": [{"price": "5.00", "line_price": "5.00", "quantity": 1}],
            "note_attributes": {"c": "d"},
        }
    }
    shopify.echo(body, fields)
    assert body == {
        "checkout": {
            "token": "t",
            "email": "me@x.example",
            "line_items": [
                {"price": "5.00", "line_price": "10.00", "quantity": 2},
                {"price": "bad", "line_price": "5.00", "quantity": 3},
            ],
            "note_attributes": {"a": "b", "c": "d"},
        }
    }
