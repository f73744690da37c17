"""What redaction costs, beside what it costs to read the same JSON: one run, the two in turns.

Traffic is a PUT of a checkout and its answer, with credentials.  Three kinds of body: *seen*, the same values
again; *new*, a token, an address, ids and times of its own in every exchange; *long*, a few long texts of
random hexadecimal digits.  ``ratio`` is redacting divided by decoding both bodies with msgspec: the machine
cancels out.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from polltape.capture.keys import Key
from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Exchange, Header

COUNT = 300
ROUNDS = 9


def digits(count: int) -> int:
    return secrets.randbelow(9 * 10 ** (count - 1)) + 10 ** (count - 1)


def checkout(token: str, *, new: bool) -> dict[str, Any]:
    """A checkout as Shopify answers it, 2.7 KB; with values of its own or the usual ones."""
    own = secrets.token_hex(4) if new else "0badcafe"
    ids = [digits(9) if new else 900_000_000 + n for n in range(8)]
    at = f"2026-11-{1 + ids[0] % 28:02}T{ids[1] % 24:02}:{ids[2] % 60:02}:{ids[3] % 60:02}-05:00"
    address = {
        "id": ids[0], "first_name": f"Zoe{own}", "last_name": f"Smithers-{own}",
        "phone": f"(502)459-{ids[1] % 10000:04}", "company": None, "address2": "",
        "address1": f"{ids[2] % 999} Yorkshire Terrace",
        "city": f"Louis{own}",
        "province": "Kentucky", "province_code": "KY", "country": "United States", "country_code": "US",
        "zip": f"{ids[3] % 100000:05}",
    }  # fmt: skip
    item = {
        "id": secrets.token_hex(16) if new else "26904b590b50d69f95497fac1dbab037", "product_id": 632910392,
        "variant_id": 39072856, "sku": "IPOD2008GREEN", "vendor": "Apple", "title": "IPod Nano - 8GB",
        "variant_title": "Green", "taxable": True, "requires_shipping": True, "gift_card": False,
        "image_url": "https://cdn.shopify.com/s/files/1/0005/4838/0009/products/ipod-nano.png?v=1735834183",
        "price": "199.00", "compare_at_price": None, "line_price": "995.00", "properties": {}, "quantity": 5,
        "grams": 567, "fulfillment_service": "manual", "applied_discounts": [], "tax_lines": [],
    }  # fmt: skip
    return {
        "completed_at": None, "created_at": at, "currency": "USD", "presentment_currency": "USD", "customer_id": ids[4],
        "customer_locale": "en", "device_id": None, "discount_code": None, "discount_codes": [],
        "email": f"{own}@mail.example", "legal_notice_url": None, "location_id": None, "name": f"#{ids[5]}",
        "note": "", "note_attributes": {}, "order_id": None, "order_status_url": None, "order": None,
        "payment_due": "995.00", "payment_url": "https://app.local/cardserver/sessions", "payments": [],
        "phone": None, "privacy_policy_url": None, "requires_shipping": True, "reservation_time_left": 0,
        "source_name": "755357713", "subtotal_price": "995.00", "tax_exempt": False, "taxes_included": False,
        "token": token, "total_price": f"{ids[6] % 1000}.00", "total_tax": "0.00", "total_tip_received": "0.00",
        "total_line_items_price": "995.00", "updated_at": at, "user_id": None,
        "web_url": f"https://jsmith.myshopify.com/548380009/checkouts/{token}", "line_items": [item],
        "gift_cards": [], "tax_lines": [], "tax_manipulations": [], "shipping_rate": None, "credit_card": None,
        "shipping_line": {"handle": "shopify-Standard-5.00", "price": "5.00", "title": "Standard", "tax_lines": []},
        "shipping_address": address, "billing_address": address, "applied_discount": None, "discount_violations": [],
    }  # fmt: skip


def bodies(kind: str, token: str) -> tuple[bytes, bytes]:
    if kind == "long":
        texts = [secrets.token_hex(600) for _ in range(2)]
        return tuple(json.dumps({"a": text, "b": texts[0][::-1]}).encode() for text in texts)  # type: ignore[return-value]
    one = checkout(token, new=kind == "new")  # the answer shows what was sent, with values of its own beside it
    own = {"created_at": one["updated_at"].replace("-05", "-04"), "name": f"#{digits(9)}"} if kind == "new" else {}
    answered = {**one, **own}
    return json.dumps({"checkout": one}).encode(), json.dumps({"checkout": answered}).encode()


def exchange(kind: str) -> Exchange:
    new = kind != "seen"
    token = secrets.token_hex(16) if new else "5cb4149503d186d8eec0ad2c4b9c6ea7"
    sent, answered = bodies(kind, token)
    request = {
        "Host": "jsmith.myshopify.com", "User-Agent": "python-requests/2.32.5", "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*", "Connection": "keep-alive", "Content-Type": "application/json",
        "X-Shopify-Access-Token": "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", "Content-Length": str(len(sent)),
    }  # fmt: skip
    response = {
        "Date": "Mon, 23 Nov 2026 08:00:00 GMT", "Content-Type": "application/json; charset=utf-8",
        "Retry-After": "1", "Location": f"https://jsmith.myshopify.com/admin/api/2026-10/checkouts/{token}.json",
        "X-Request-Id": secrets.token_hex(16) if new else "0123456789abcdef0123456789abcdef",
        "X-Shopify-Shop-Api-Call-Limit": "1/40", "Vary": "Accept", "Cache-Control": "no-cache", "Server": "cloudflare",
    }  # fmt: skip
    return Exchange(
        "1", "PUT", "https", "jsmith.myshopify.com", 443, f"/admin/api/2026-10/checkouts/{token}.json",
        datetime(2026, 11, 23, 8, tzinfo=UTC), client_address="192.0.2.1:4711", status=202, reason="Accepted",
        request_headers=tuple(map(Header._make, request.items())), request_body=Body(content=sent),
        response_headers=tuple(map(Header._make, response.items())), response_body=Body(content=answered),
    )  # fmt: skip


def seconds(work: Callable[[Exchange], object], exchanges: list[Exchange]) -> float:
    """For one of them, on average."""
    begun = time.perf_counter()
    for one in exchanges:
        work(one)
    return (time.perf_counter() - begun) / len(exchanges)


def decode(one: Exchange) -> None:
    msgspec.json.decode(one.request_body.content or b"")
    msgspec.json.decode(one.response_body.content or b"")


def main() -> None:
    redactor = Redactor(Key.of(secrets.token_bytes(32)))
    print(f"{'bodies':8}{'bytes':>8}{'decode ms':>12}{'redact ms':>12}{'ratio':>8}")
    for kind in sys.argv[1:] or ("seen", "new", "long"):
        rounds = []
        for _ in range(ROUNDS):
            exchanges = [exchange(kind) for _ in range(COUNT)]
            rounds.append((seconds(decode, exchanges), seconds(redactor.redact, exchanges)))
        read, redacted = (statistics.median(times) * 1000 for times in zip(*rounds, strict=True))
        size = sum(len(body.content or b"") for body in (exchanges[0].request_body, exchanges[0].response_body))
        print(f"{kind:8}{size:8}{read:12.4f}{redacted:12.4f}{redacted / read:8.1f}")


if __name__ == "__main__":
    main()
