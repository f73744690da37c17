"""A checkout from cart to order over the REST Admin API, and the one line in which clients differ.

``buy(pause)`` creates a checkout, changes it, fetches shipping rates and completes it.  Whenever the shop
answers 202 it polls until the answer is another; before each poll it calls ``pause(Retry-After)``.

Standard library only.  The shop is ``POLLTAPE_BASE_URL`` where that is set (a mock), else ``https://SHOP``.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Callable
from typing import Any

BASE = os.environ.get("POLLTAPE_BASE_URL") or f"https://{os.environ.get('SHOP', 'demo-shop.myshopify.com')}"
API = f"{BASE}/admin/api/2024-04/checkouts"
ADDRESS = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "address1": "126 York St.",
    "city": "Los Angeles",
    "province_code": "CA",
    "country_code": "US",
    "phone": "(213)456-7890",
    "zip": "90002",
}

Pause = Callable[[str | None], None]


def send(method: str, url: str, body: dict[str, Any] | None = None) -> tuple[int, str | None, dict[str, Any]]:
    """One exchange: status, Retry-After, body."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Shopify-Access-Token": os.environ.get("TOKEN", "shpat_demo")},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.headers.get("Retry-After"), json.loads(response.read() or b"{}")


def finish(pause: Pause, poll: str, status: int, retry_after: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """Poll until the answer is no longer 202."""
    while status == 202:
        pause(retry_after)
        status, retry_after, body = send("GET", poll)
    return body


def buy(pause: Pause) -> str:
    """One purchase; returns the order's name."""
    status, hint, body = send(
        "POST", f"{API}.json", {"checkout": {"line_items": [{"variant_id": 39072856, "quantity": 2}]}}
    )
    own = f"{API}/{body['checkout']['token']}"
    finish(pause, f"{own}.json", status, hint, body)
    changed = {"checkout": {"email": "ada@mail.example.com", "shipping_address": ADDRESS}}
    finish(pause, f"{own}.json", *send("PUT", f"{own}.json", changed))
    rates = finish(pause, f"{own}/shipping_rates.json", *send("GET", f"{own}/shipping_rates.json"))
    handle = rates["shipping_rates"][0]["handle"]
    finish(pause, f"{own}.json", *send("PUT", f"{own}.json", {"checkout": {"shipping_line": {"handle": handle}}}))
    done = finish(pause, f"{own}.json", *send("POST", f"{own}/complete.json", {}))
    return str(done["checkout"]["order"]["name"])
