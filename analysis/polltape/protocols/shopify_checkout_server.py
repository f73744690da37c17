"""The server's side of Shopify's REST Admin checkout: bodies of the documented shape, and the rules they follow.

Pure functions over plain dictionaries whose keys, and their order, are those of the Checkout resource's
reference.  Money is decimal, in text with two decimals.  The mock keeps the clock; nothing here knows the time.

Which fields a client may set is :data:`WRITABLE`: a PUT of a whole checkout, as ActiveResource sends it,
changes these and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from urllib.parse import quote

from polltape.exchange import Header
from polltape.protocols.shopify_checkout import parse_path

Json = dict[str, Any]

WRITABLE: Final = frozenset(
    [
        "applied_discount",
        "billing_address",
        "buyer_accepts_marketing",
        "customer_id",
        "customer_locale",
        "discount_code",
        "email",
        "line_items",
        "note",
        "note_attributes",
        "phone",
        "presentment_currency",
        "shipping_address",
        "shipping_line",
        "source_identifier",
        "source_name",
        "source_url",
        "user_id",
    ]
)
"""Fields of a checkout that a client may set."""

SHOP_ID: Final = 548380009
_CENT: Final = Decimal("0.01")
_US_ZIP: Final = re.compile(r"[0-9]{5}(?:[- ]?[0-9]{4})?")
COUNTRIES: Final = {
    "AU": "Australia",
    "CA": "Canada",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "IE": "Ireland",
    "JP": "Japan",
    "NZ": "New Zealand",
    "US": "United States",
}
US_STATES: Final = dict(
    pair.split("=")
    for pair in re.split(
        r"\|\s*",
        """AL=Alabama|AK=Alaska|AZ=Arizona|AR=Arkansas|CA=California|CO=Colorado|CT=Connecticut|DE=Delaware|
        DC=District of Columbia|FL=Florida|GA=Georgia|HI=Hawaii|ID=Idaho|IL=Illinois|IN=Indiana|IA=Iowa|KS=Kansas|
        KY=Kentucky|LA=Louisiana|ME=Maine|MD=Maryland|MA=Massachusetts|MI=Michigan|MN=Minnesota|MS=Mississippi|
        MO=Missouri|MT=Montana|NE=Nebraska|NV=Nevada|NH=New Hampshire|NJ=New Jersey|NM=New Mexico|NY=New York|
        NC=North Carolina|ND=North Dakota|OH=Ohio|OK=Oklahoma|OR=Oregon|PA=Pennsylvania|RI=Rhode Island|
        SC=South Carolina|SD=South Dakota|TN=Tennessee|TX=Texas|UT=Utah|VT=Vermont|VA=Virginia|WA=Washington|
        WV=West Virginia|WI=Wisconsin|WY=Wyoming""",
    )
)
_ADDRESS: Final = [
    "first_name",
    "last_name",
    "phone",
    "company",
    "address1",
    "address2",
    "city",
    "province",
    "province_code",
    "country",
    "country_code",
    "zip",
]


def subject(path: str) -> str | None:
    """The checkout token that a path names, None where it names none.

    >>> subject("/admin/api/2020-10/checkouts/abc/payments.json")
    'abc'
    """
    endpoint = parse_path(path)
    return None if endpoint is None else endpoint.token


def money(value: Decimal) -> str:
    """An amount as Shopify writes it.

    >>> money(Decimal("11.938"))
    '11.94'
    """
    return str(value.quantize(_CENT, ROUND_HALF_UP))


# ------------------------------------------------------------------------------------------------ errors


def error(code: str, message: str, **options: object) -> list[Json]:
    """The list of one error that stands under a field of a 422."""
    return [{"code": code, "message": message, "options": options}]


def too_many(calls_per_s: float) -> Json:
    """The body of the rate limit's 429."""
    rate = f"{calls_per_s:g} calls per second"
    return {"errors": f"Exceeded {rate} for api client. Reduce request rates to resume uninterrupted service."}


def call_limit(used: int, size: int) -> Header:
    """The header that counts a client's calls.

    >>> call_limit(32, 40).value
    '32/40'
    """
    return Header("X-Shopify-Shop-Api-Call-Limit", f"{used}/{size}")


def line_item_errors(sent: object, variants: Mapping[int, Json]) -> Json:
    """What is wrong with the line items of a request, by index; empty where nothing is."""
    if not isinstance(sent, list):
        return {} if sent is None else {"line_items": error("invalid", "is invalid")}
    found: Json = {}
    for index, item in enumerate(sent):
        fields = item if isinstance(item, dict) else {}
        if _whole(fields.get("variant_id")) not in variants:
            message = "product is not published for this customer."
            found[str(index)] = {"variant_id": error("product_not_available", message)}
        elif "quantity" in fields and (_whole(fields["quantity"]) or 0) < 1:
            found[str(index)] = {"quantity": error("greater_than", "must be greater than 0", count=0)}
    return {"line_items": found} if found else {}


def address_errors(name: str, sent: object) -> Json:
    """What is wrong with an address of a request; empty where nothing is."""
    if not isinstance(sent, dict):
        return {}
    in_us = sent.get("country_code") == "US" or sent.get("country") in ("US", "United States")
    number = sent.get("zip")
    if not in_us or number is None or _US_ZIP.fullmatch(str(number).strip()):
        return {}
    message = "Enter a valid ZIP code for the United States"
    return {name: {"zip": error("invalid_for_country", message, country="United States")}}


def checkout_errors(sent: Json, variants: Mapping[int, Json], rates: Sequence[Json]) -> Json:
    """What is wrong with a request's checkout, shaped as the ``errors`` of a 422; empty where nothing is."""
    errors = line_item_errors(sent.get("line_items"), variants)
    for name in ("shipping_address", "billing_address"):
        errors |= address_errors(name, sent.get(name))
    line = sent.get("shipping_line")
    if isinstance(line, dict) and line.get("handle") not in [rate["handle"] for rate in rates]:
        errors["shipping_line"] = {"handle": error("invalid", "is invalid")}
    return errors


# ---------------------------------------------------------------------------------------------- checkout


def new_checkout(token: str, *, number: int, currency: str, source_name: str, created_at: str) -> Json:
    """A checkout without anything in it; URLs begin with ``/`` until :func:`located` gives them a host."""
    empty = "0.00"
    return {
        "completed_at": None,
        "created_at": created_at,
        "currency": currency,
        "presentment_currency": currency,
        "customer_id": None,
        "customer_locale": "en",
        "device_id": None,
        "discount_code": None,
        "discount_codes": [],
        "email": None,
        "legal_notice_url": None,
        "location_id": None,
        "name": f"#{number}",
        "note": "",
        "note_attributes": {},
        "order_id": None,
        "order_status_url": None,
        "order": None,
        "payment_due": empty,
        "payment_url": "/cardserver/sessions",
        "payments": [],
        "phone": None,
        "shopify_payments_account_id": None,
        "privacy_policy_url": None,
        "refund_policy_url": None,
        "requires_shipping": False,
        "reservation_time_left": 0,
        "reservation_time": None,
        "source_identifier": None,
        "source_name": source_name,
        "source_url": None,
        "subscription_policy_url": None,
        "subtotal_price": empty,
        "shipping_policy_url": None,
        "tax_exempt": False,
        "taxes_included": False,
        "terms_of_sale_url": None,
        "terms_of_service_url": None,
        "token": token,
        "total_price": empty,
        "total_tax": empty,
        "total_tip_received": empty,
        "total_line_items_price": empty,
        "updated_at": created_at,
        "user_id": None,
        "web_url": f"/{SHOP_ID}/checkouts/{quote(token, safe='')}",
        "line_items": [],
        "gift_cards": [],
        "tax_lines": [],
        "tax_manipulations": [],
        "shipping_line": None,
        "shipping_rate": None,
        "shipping_address": None,
        "credit_card": None,
        "billing_address": None,
        "applied_discount": None,
        "applied_discounts": [],
        "discount_violations": [],
    }


def line_item(item_id: str, sent: Json, variant: Json) -> Json:
    """One line of a checkout: what was sent, priced by the shop's own variant."""
    quantity = _whole(sent.get("quantity", 1)) or 1
    properties = sent.get("properties")
    return {
        "id": item_id,
        "key": item_id,
        "product_id": variant["product_id"],
        "variant_id": variant["id"],
        "sku": variant["sku"],
        "vendor": variant["vendor"],
        "title": variant["title"],
        "variant_title": variant["variant_title"],
        "image_url": variant["image_url"],
        "taxable": variant["taxable"],
        "requires_shipping": variant["requires_shipping"],
        "gift_card": False,
        "price": money(Decimal(variant["price"])),
        "compare_at_price": None,
        "line_price": money(Decimal(variant["price"]) * quantity),
        "properties": properties if isinstance(properties, dict) else {},
        "quantity": quantity,
        "grams": variant["grams"],
        "fulfillment_service": "manual",
        "applied_discounts": [],
        "discount_allocations": [],
        "tax_lines": [],
    }


def address(address_id: int, sent: Json, before: Json | None) -> Json:
    """An address of the documented shape: what was sent over what was there, names and codes completed."""
    merged = {**(before or {}), **sent}
    if "country_code" in sent and "country" not in sent:
        merged["country"] = COUNTRIES.get(str(sent["country_code"]), sent["country_code"])
    if "province_code" in sent and "province" not in sent:
        merged["province"] = US_STATES.get(str(sent["province_code"]), sent["province_code"])
    if "country_code" not in sent and sent.get("country"):
        merged["country_code"] = _code(COUNTRIES, sent["country"])
    if "province_code" not in sent and sent.get("province"):
        merged["province_code"] = _code(US_STATES, sent["province"])
    defaults: Json = {"company": None, "address2": ""}
    return {"id": address_id, **{name: merged.get(name, defaults.get(name)) for name in _ADDRESS}}


def priced(checkout: Json, tax_rate: Decimal) -> None:
    """Sum up a checkout in place: lines, shipping and, once there is an address to tax by, taxes."""
    items = checkout["line_items"]
    subtotal = sum((Decimal(item["line_price"]) for item in items), Decimal(0))
    rate = tax_rate if checkout["shipping_address"] and not checkout["tax_exempt"] else Decimal(0)
    taxes = Decimal(0)
    for item in items:
        tax = Decimal(money(Decimal(item["line_price"]) * rate)) if item["taxable"] else Decimal(0)
        taxes += tax
        item["tax_lines"] = [_tax_line(tax, rate, channel_liable=False)] if tax else []
    shipping = Decimal((checkout["shipping_line"] or {}).get("price") or 0)
    total = subtotal + taxes + shipping
    checkout.update(
        requires_shipping=any(item["requires_shipping"] for item in items),
        tax_lines=[_tax_line(taxes, rate, compare_at=float(rate))] if taxes else [],
        subtotal_price=money(subtotal),
        total_line_items_price=money(subtotal),
        total_tax=money(taxes),
        total_price=money(total),
        payment_due=money(total),
    )


def _tax_line(price: Decimal, rate: Decimal, **more: object) -> Json:
    return {"price": money(price), "rate": float(rate), "title": "Tax", **more}


def shipping_rate(title: str, price: str) -> Json:
    """A rate of the shop; its handle is made of its title and price, as Shopify makes it."""
    amount = money(Decimal(price))
    handle = f"shopify-{quote(title)}-{amount}"
    return {"handle": handle, "price": amount, "title": title}


def shipping_rates(checkout: Json, rates: Sequence[Json]) -> Json:
    """The body of shipping_rates.json: each rate with the totals it would lead to; none without an address."""
    if not checkout["requires_shipping"] or not checkout["shipping_address"]:
        return {"shipping_rates": []}
    net = Decimal(checkout["subtotal_price"]) + Decimal(checkout["total_tax"])
    return {
        "shipping_rates": [
            {
                "id": rate["handle"],
                "price": rate["price"],
                "title": rate["title"],
                "checkout": {
                    "total_tax": checkout["total_tax"],
                    "total_price": money(net + Decimal(rate["price"])),
                    "subtotal_price": checkout["subtotal_price"],
                },
                "phone_required": False,
                "delivery_range": None,
                "estimated_time_in_transit": None,
                "handle": rate["handle"],
            }
            for rate in rates
        ]
    }


def choose_rate(checkout: Json, sent: Json | None, rates: Sequence[Json]) -> None:
    """Set the shipping line, in place, to the rate whose handle was sent; None takes it away."""
    if sent is None:
        checkout["shipping_line"] = checkout["shipping_rate"] = None
        return
    rate = next(rate for rate in rates if rate["handle"] == sent.get("handle"))
    checkout["shipping_line"] = {**rate, "tax_lines": []}
    checkout["shipping_rate"] = {"id": rate["handle"], "price": rate["price"], "title": rate["title"]}


def complete(checkout: Json, order_id: int, completed_at: str) -> None:
    """Make an order of the checkout, in place."""
    status_url = f"{checkout['web_url']}/thank_you"
    checkout.update(
        completed_at=completed_at,
        updated_at=completed_at,
        order_id=order_id,
        order_status_url=status_url,
        order={"id": order_id, "name": f"#{order_id % 10_000}", "status_url": status_url},
    )


_URLS: Final = ("payment_url", "web_url", "order_status_url")


def located(checkout: Json, base: str) -> Json:
    """A copy of the checkout whose own URLs begin with ``base``."""
    made = {**checkout, **{name: base + checkout[name] for name in _URLS if checkout[name]}}
    if made["order"]:
        made["order"] = {**made["order"], "status_url": base + made["order"]["status_url"]}
    return made


# ---------------------------------------------------------------------------------------------- payments


def payment(payment_id: int, sent: Json) -> Json:
    """A payment that is being processed: its transaction is null.  Nothing of a card is kept."""
    return {
        "id": payment_id,
        "unique_token": sent.get("unique_token"),
        "payment_processing_error_message": None,
        "fraudulent": False,
        "transaction": None,
        "credit_card": None,
    }


def payment_resource(paid: Json, checkout: Json) -> Json:
    """A payment as its own resource shows it: with the buyer's next action, and the checkout that it pays for.

    https://shopify.dev/docs/api/admin-rest/latest/resources/payment; within a checkout it has neither.
    """
    made = {}
    for name, value in paid.items():
        made[name] = value
        if name == "payment_processing_error_message":
            made["next_action"] = {"redirect_url": None}
    return {**made, "checkout": checkout}


def settle(paid: Json, *, transaction_id: int, amount: str, currency: str, created_at: str, declined: bool) -> None:
    """End a payment, in place: with a transaction that succeeded, or one that was declined."""
    message = "Your card was declined." if declined else None
    paid["payment_processing_error_message"] = message
    paid["transaction"] = {
        "amount": amount,
        "amount_in": None,
        "amount_out": None,
        "amount_rounding": None,
        "authorization": None if declined else "authorization-key",
        "created_at": created_at,
        "currency": currency,
        "error_code": "card_declined" if declined else None,
        "parent_id": None,
        "gateway": "bogus",
        "id": transaction_id,
        "kind": "authorization",
        "message": message,
        "status": "failure" if declined else "success",
        "test": True,
        "receipt": {},
        "location_id": None,
        "user_id": None,
        "transaction_group_id": None,
        "device_id": None,
        "payment_details": {
            "credit_card_bin": None,
            "avs_result_code": None,
            "cvv_result_code": None,
            "credit_card_number": "•••• •••• •••• 4242",
            "credit_card_company": "Visa",
            "buyer_action_info": None,
            "credit_card_name": None,
            "credit_card_wallet": None,
            "credit_card_expiration_month": None,
            "credit_card_expiration_year": None,
            "payment_method_name": "visa",
        },
    }


def _whole(value: object) -> int | None:
    """A whole number, also where it is sent as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return None


def _code(names: Mapping[str, str], name: object) -> object:
    return next((code for code, known in names.items() if name in (code, known)), None)


# ------------------------------------------------------------------------------------- recorded answers


def sent_fields(body: object) -> Json:
    """What a write's body sets on a checkout: its writable fields."""
    checkout = body.get("checkout") if isinstance(body, dict) else None
    if not isinstance(checkout, dict):
        return {}
    return {name: value for name, value in checkout.items() if name in WRITABLE}


def echo(body: Json, fields: Json) -> None:
    """Show a client's own fields in a recorded answer, in place: over the recorded ones, no new fields.

    A line's price is summed up again; the totals stay as recorded, since taxes and discounts are the shop's.
    """
    holders = [body, body.get("payment")]
    for checkout in (holder.get("checkout") for holder in holders if isinstance(holder, dict)):
        if isinstance(checkout, dict):
            for name in fields.keys() & checkout.keys():
                checkout[name] = _over(name, fields[name], checkout[name])


def _over(name: str, sent: Any, recorded: Any) -> Any:
    if name.endswith("_address") and isinstance(sent, dict):
        before = recorded if isinstance(recorded, dict) else None
        return address(before.get("id", 1) if before else 1, sent, before)
    if name == "line_items" and isinstance(sent, list) and isinstance(recorded, list):
        return [
            _over_line(item, recorded[min(i, len(recorded) - 1)] if recorded else {}) for i, item in enumerate(sent)
        ]
    if isinstance(sent, dict) and isinstance(recorded, dict):
        return {**recorded, **sent}
    return sent


def _over_line(sent: Any, recorded: Any) -> Any:
    if not isinstance(sent, dict) or not isinstance(recorded, dict):
        return sent
    merged = {**recorded, **sent}
    try:
        merged["line_price"] = money(Decimal(str(merged["price"])) * int(merged["quantity"]))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        merged["line_price"] = recorded.get("line_price")
    return merged
