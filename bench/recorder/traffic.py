"""Traffic as a shop has it, for the benchmark: no two requests are equal, and no two responses.

Customers look at products and lists of them, fill carts, check out through the REST API with its 202s and polls, pay,
and order at a PAR till.  Names, addresses, tokens, ids, prices, stock and times are drawn anew wherever a shop would
have new ones; what a shop repeats (``shop.json``: header sets, field names, words) is repeated.  Requests have 0.3 to
1 KB, responses 1.6 KB of headers and mostly 1 to 7 KB of JSON.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

HOST: Final = "jsmith.myshopify.com"
API: Final = "/admin/api/2026-10/checkouts"
_SHOP: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "shop.json").read_text())


class Pair(NamedTuple):
    """A request and its response, as they are on the wire."""

    request: bytes
    response: bytes


class Draw(random.Random):
    """What a shop has new ones of."""

    clock = 1_795_600_000.0

    def hexadecimal(self, digits: int) -> str:
        return f"{self.getrandbits(4 * digits):0{digits}x}"

    def uuid(self) -> str:
        h = self.hexadecimal(32)
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"

    def token(self) -> str:
        return "".join(self.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=32))

    def ident(self) -> int:
        return self.randint(10**12, 10**13)

    def price(self) -> str:
        return f"{self.randint(3, 399)}.{self.choice(('00', '50', '90', '95', '99'))}"

    def time(self) -> str:
        """Up to three seconds after the last one."""
        self.clock += self.random() * 3
        seconds = int(self.clock) % 86_400
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def stamp(self) -> str:
        return f"2026-11-25T{self.time()}-05:00"

    def one(self, kind: str) -> str:
        return str(self.choice(_SHOP[kind]))

    def text(self, words: int) -> str:
        return " ".join(self.choices(_SHOP["words"], k=words)).capitalize() + "."

    def product(self, ident: int) -> dict[str, Any]:
        thing = self.one("things")
        title = f"{self.one('words').capitalize()} {thing}"
        sizes = self.sample(["XS", "S", "M", "L", "XL", "XXL"], self.randint(2, 5))
        variants = [
            {
                "id": ident + 7 * place,
                "product_id": ident,
                "title": size,
                "price": self.price(),
                "option1": size,
                "sku": f"{thing[:3].upper()}-{ident % 9973}-{size}",
                "position": place + 1,
                "barcode": str(self.ident()),
                "grams": self.randint(80, 2_000),
                **_SHOP["variant"],
            }
            for place, size in enumerate(sizes)
        ]
        image = (
            f"https://cdn.shopify.com/s/files/1/0005/4838/0009/products/{self.hexadecimal(24)}.jpg?v={ident % 10**9}"
        )
        return {
            "id": ident,
            "title": title,
            "handle": title.lower().replace(" ", "-"),
            "vendor": self.one("last"),
            "body_html": f"<p>{self.text(40)}</p><p>{self.text(25)}</p>",
            "product_type": thing,
            "tags": ", ".join(self.sample(_SHOP["words"], 5)),
            "variants": variants,
            **_SHOP["product"],
            "admin_graphql_api_id": f"gid://shopify/Product/{ident}",
            "image": {"id": ident + 99, "src": image},
        }

    def person(self) -> dict[str, Any]:
        return {
            "first_name": self.one("first"),
            "last_name": self.one("last"),
            "city": self.one("cities"),
            "address1": f"{self.one('streets')} {self.randint(1, 199)}",
            "zip": f"{self.randint(10_000, 99_999)}",
            "phone": f"+49 30 {self.randint(10**6, 10**8)}",
            "latitude": round(self.uniform(38, 60), 6),
            "longitude": round(self.uniform(-9, 24), 6),
            **_SHOP["person"],
        }

    def items(self, products: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for product in self.choices(products, k=self.randint(2, 9)):
            variant, count = self.choice(product["variants"]), self.randint(1, 4)
            price = float(variant["price"])
            taken = {name: variant[name] for name in ("product_id", "sku", "price", "grams")}
            tax = {"title": "VAT", "rate": 0.19, "price": f"{price * 0.19:.2f}"}
            made.append(
                {
                    "id": self.hexadecimal(32),
                    "variant_id": variant["id"],
                    "title": product["title"],
                    **taken,
                    "variant_title": variant["title"],
                    "vendor": product["vendor"],
                    "quantity": count,
                    "image_url": product["image"]["src"],
                    "line_price": f"{price * count:.2f}",
                    "tax_lines": [tax],
                    **_SHOP["item"],
                }
            )
        return made


class Traffic:
    """An endless mix; with ``gzipped`` the responses' bodies are compressed.

    Each request's number stands in its ``X-Request-Number``.
    """

    def __init__(self, seed: int, *, gzipped: bool = False) -> None:
        self._draw = Draw(seed)
        self._gzipped = gzipped
        self._number = 0
        self._keys = [self._draw.hexadecimal(32) for _ in range(40)]
        self._products = [self._draw.product(7_000_000_000_000 + 131 * n) for n in range(300)]

    def __iter__(self) -> Iterator[Pair]:
        stories = (self._checkout, self._browse, self._browse, self._par, self._cart)
        while True:
            yield from self._draw.choice(stories)()

    def _pair(self, line: str, sent: object, status: str, got: object, *more: str, key: str = "") -> Pair:
        self._number += 1
        draw, body, answer = self._draw, b"", json.dumps(got, separators=(",", ":")).encode()
        agent = draw.choice(_SHOP["agents"][:3]) if key else draw.one("agents")
        head = [f"{line} HTTP/1.1", f"Host: {HOST}", f"User-Agent: {agent}", "Accept-Encoding: gzip, deflate"]
        head += ["Accept: application/json", f"X-Request-Number: {self._number}"]
        visitor = f"Cookie: _shopify_y={draw.uuid()}; cart_currency=EUR; secure_customer_sig="
        head.append(f"X-Shopify-Access-Token: shpat_{key}" if key else visitor)
        if sent is not None:
            body = json.dumps(sent).encode()
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        if self._gzipped:
            answer, more = gzip.compress(answer, 6), (*more, "Content-Encoding: gzip")
        took = f"processing;dur={draw.randint(20, 900)}, db;dur={draw.randint(2, 80)}"
        back = [
            *(f"HTTP/1.1 {status}", f"Date: Wed, 25 Nov 2026 {draw.time()} GMT", f"Content-Length: {len(answer)}"),
            *(f"X-Sorting-Hat-PodId: {draw.randint(1, 300)}", f"X-Request-Id: {draw.uuid()}", *more),
            *(f"X-Shopify-Shop-Api-Call-Limit: {draw.randint(1, 39)}/40", f"CF-RAY: {draw.hexadecimal(16)}-FRA"),
            *(f"Server-Timing: {took}, cfRequestDuration;dur={draw.uniform(30, 900):.6f}", *_SHOP["response_headers"]),
            *(f"Content-Security-Policy: {_SHOP['policy']}{draw.uuid()}", f'ETag: W/"{draw.hexadecimal(32)}"'),
            f"Set-Cookie: _shopify_s={draw.uuid()}; path=/; domain={HOST}; SameSite=Lax",
        ]
        ends = ("", "")
        return Pair("\r\n".join([*head, *ends]).encode() + body, "\r\n".join([*back, *ends]).encode() + answer)

    # ------------------------------------------------------------------------------------------ stories

    def _checkout(self) -> Iterator[Pair]:
        """Create, address, rates, payment; polls between."""
        draw, token, key = self._draw, self._draw.token(), self._draw.choice(self._keys)
        person, items = draw.person(), draw.items(self._products)
        email = f"{person['first_name']}.{person['last_name']}{draw.randint(1, 9_999)}@mail.example".lower()
        path, total = f"{API}/{token}", f"{sum(float(item['line_price']) for item in items):.2f}"
        state: dict[str, Any] = {
            "created_at": draw.stamp(),
            "token": token,
            "name": f"#{draw.ident()}",
            "customer_id": draw.ident(),
            "email": email,
            "payment_due": total,
            "subtotal_price": total,
            "total_price": total,
            "web_url": f"https://{HOST}/548380009/checkouts/{token}",
            "line_items": items,
            **_SHOP["checkout"],
        }
        pending = ("Retry-After: 1", f"Location: https://{HOST}{path}.json")

        def ask(line: str, sent: object = None, *more: str) -> Pair:
            shown = {"checkout": {**state, "updated_at": draw.stamp()}}
            return self._pair(line, sent, "202 Accepted" if more else "200 OK", shown, *more, key=key)

        def polls(most: int) -> Iterator[Pair]:
            return (ask(f"GET {path}.json", None, *pending) for _ in range(draw.randint(0, most)))

        lines = [{"variant_id": item["variant_id"], "quantity": item["quantity"]} for item in items]
        yield ask(f"POST {API}.json", {"checkout": {"line_items": lines, "email": email}}, *pending)
        yield from polls(3)
        state["shipping_address"] = state["billing_address"] = {"id": draw.ident(), **person}
        yield ask(f"PUT {path}.json", {"checkout": {"token": token, "shipping_address": person}}, *pending)
        yield from polls(5)
        yield ask(f"GET {path}.json")
        rates = [{"id": f"shopify-{name}", "price": draw.price(), "title": name} for name in ("Standard", "Express")]
        line = f"GET {path}/shipping_rates.json"
        for _ in range(draw.randint(0, 3)):
            yield self._pair(line, None, "202 Accepted", {"shipping_rates": []}, *pending, key=key)
        yield self._pair(line, None, "200 OK", {"shipping_rates": rates}, key=key)
        state["shipping_line"] = {**rates[0], "tax_lines": []}
        yield from self._payment(path, state, key)
        state |= {"completed_at": draw.stamp(), "order_id": draw.ident()}
        yield ask(f"GET {path}.json")

    def _payment(self, path: str, state: dict[str, Any], key: str) -> Iterator[Pair]:
        draw, ident, unique = self._draw, self._draw.ident(), self._draw.uuid()
        details = {"ip_address": f"198.51.100.{draw.randint(1, 250)}", "accept_language": "de"}
        pay = {"request_details": details, "session_id": draw.token(), "amount": state["payment_due"]}
        payment = {"id": ident, "unique_token": unique, "payment_processing_error_message": None, "transaction": None}
        sent: object = {"payment": {**pay, "unique_token": unique}}
        line = f"POST {path}/payments.json"
        for _ in range(draw.randint(1, 5)):
            shown = {"payment": {**payment, "checkout": {**state, "updated_at": draw.stamp()}}}
            yield self._pair(line, sent, "202 Accepted", shown, "Retry-After: 1", key=key)
            line, sent = f"GET {path}/payments/{ident}.json", None

    def _browse(self) -> Iterator[Pair]:
        """Products as they are just now: stock and times move."""
        draw = self._draw
        for _ in range(draw.randint(1, 6)):
            shown = []
            for product in draw.choices(self._products, k=draw.choice((1, 1, 1, 6))):
                moving = [{"inventory_quantity": draw.randint(0, 900), "updated_at": draw.stamp()} for _ in range(6)]
                variants = [{**variant, **new} for variant, new in zip(product["variants"], moving, strict=False)]
                shown.append({**product, "updated_at": draw.stamp(), "variants": variants})
            if len(shown) > 1:
                line = f"GET /products.json?limit=6&page_info={draw.hexadecimal(40)}"
                yield self._pair(line, None, "200 OK", {"products": shown})
            else:
                yield self._pair(f"GET /products/{shown[0]['handle']}.json", None, "200 OK", {"product": shown[0]})

    def _cart(self) -> Iterator[Pair]:
        """Storefront GraphQL."""
        draw, token, key = self._draw, self._draw.token(), self._draw.hexadecimal(32)
        ident, url = f"gid://shopify/Cart/{token}?key={key}", f"https://{HOST}/cart/c/{token}?key={key}"
        nodes: list[dict[str, Any]] = []
        for item in draw.items(self._products):
            gid, count = f"gid://shopify/ProductVariant/{item['variant_id']}", item["quantity"]
            price = {"amount": item["price"], "currencyCode": "EUR"}
            line = {"id": f"gid://shopify/CartLine/{draw.uuid()}?cart={draw.hexadecimal(12)}", "quantity": count}
            nodes.append({**line, "merchandise": {"id": gid, "title": item["title"], "price": price}})
            variables = {"cartId": ident, "lines": [{"merchandiseId": gid, "quantity": count}]}
            cart = {"id": ident, "checkoutUrl": url, "totalQuantity": len(nodes), "lines": {"nodes": nodes}}
            got = {"data": {"cartLinesAdd": {"cart": cart, "userErrors": []}}}
            sent = {"query": _SHOP["mutation"], "variables": variables}
            yield self._pair("POST /api/2026-10/graphql.json", sent, "200 OK", got)

    def _par(self) -> Iterator[Pair]:
        draw, uid = self._draw, self._draw.uuid()
        taken = ("variant_id", "title", "quantity", "price")
        items = [{name: item[name] for name in taken} for item in draw.items(self._products)]
        place = {"request_uid": uid, "location_id": draw.randint(1, 400), "requested_time": draw.stamp()}
        order = {**place, "customer": draw.person(), "items": items}
        accepted = {"request_uid": uid, "status": "pending"}
        yield self._pair("POST /posnext/orders/submit", order, "202 Accepted", accepted, "Retry-After: 2")
        for _ in range(draw.randint(1, 4)):
            pending = {**order, "status": "pending", "checked_at": draw.stamp()}
            yield self._pair(f"GET /posnext/orders/{uid}", None, "200 OK", pending)
        placed = {**order, "status": "placed", "order_number": draw.randint(1, 9_999)}
        yield self._pair(f"GET /posnext/orders/{uid}", None, "200 OK", placed)
