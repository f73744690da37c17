"""Captures in memory and requests, for every test of the mock.

Puts this folder on the path: what several tests use is a plain module beside them, no package.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polltape.capture.reading import Capture
from polltape.exchange import Body, Coverage, Exchange, Header, to_table
from polltape.mock.core import Request
from polltape.protocols import observe

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
SHOP = "shop.example"
ADMIN = "/admin/api/2020-10/checkouts"


class Tape:
    """Builds a capture, exchange by exchange; instants in seconds since its start."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(
        self,
        method: str,
        path: str,
        status: int,
        at: float,
        *,
        took: float = 0.1,
        body: object = None,
        sent: object = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        host: str = SHOP,
        query: str | None = None,
    ) -> Exchange:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = None if sent is None else json.dumps(sent).encode()
        pairs = list(headers.items()) if isinstance(headers, dict) else headers or []
        start = T0 + timedelta(seconds=at)
        end = start + timedelta(seconds=took)
        exchange = observe(
            Exchange(
                exchange_id=f"x{len(self.exchanges):04d}",
                method=method,
                scheme="https",
                host=host,
                port=443,
                path=path,
                query=query,
                request_started_at=start,
                request_ended_at=start,
                response_started_at=end,
                response_ended_at=end,
                request_body=Body(content=request, digest=None if request is None else request.hex()[:64]),
                status=status,
                reason={200: "OK", 202: "Accepted"}.get(status),
                response_headers=tuple(Header(*pair) for pair in pairs),
                response_body=Body(content=content, size=None if content is None else len(content)),
                session_id="s",
            )
        )
        self.exchanges.append(exchange)
        return exchange

    def update(
        self, token: str, at: float, ends: float | None, *, polls: tuple[float, ...] = (), took: float = 0.1
    ) -> str:
        """An update that is polled at ``polls`` and, at ``ends``, answered 200; gives its operation's id.

        All instants count from t0 of the submit; ``took`` is how long the ending poll took.
        """
        path = f"{ADMIN}/{token}.json"
        wait = {"Retry-After": "1", "Location": f"https://{SHOP}{path}"}
        body = {"checkout": checkout(token)}
        submit = self.add("PUT", path, 202, at - 0.1, body=body, headers=wait)
        for number, poll in enumerate(polls, 1):
            body = {"checkout": checkout(token, note=f"poll {number}")}
            self.add("GET", path, 202, at + poll, body=body, headers=wait)
        if ends is not None:
            self.add("GET", path, 200, at + ends, took=took, body={"checkout": checkout(token, note="final")})
        return f"shopify-checkout:{submit.exchange_id}"

    @property
    def capture(self) -> Capture:
        covered = Coverage("s", T0, T0 + timedelta(hours=1))
        return Capture((), to_table(self.exchanges), (covered,), 0, ("test",), ())


def checkout(token: str, **more: Any) -> dict[str, Any]:
    return {
        "token": token,
        "email": "recorded@redacted.example",
        "note": "",
        "completed_at": None,
        "web_url": f"https://{SHOP}/548380009/checkouts/{token}",
        "payment_url": "https://vault.example/sessions",
        "line_items": [{"id": "aa", "price": "199.00", "line_price": "199.00", "quantity": 1}],
        "shipping_address": None,
        **more,
    }


def ask(
    method: str,
    target: str,
    sent: object = None,
    *,
    headers: dict[str, str] | None = None,
    authority: str = "127.0.0.1:9",
    scheme: str = "http",
) -> Request:
    body = b"" if sent is None else json.dumps(sent).encode()
    lines = tuple(Header(name, value) for name, value in (headers or {}).items())
    return Request(method, scheme, authority, target, lines, body)


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture(scope="session")
def new_tape() -> type[Tape]:
    return Tape


@pytest.fixture(name="ask", scope="session")
def ask_fixture() -> Callable[..., Request]:
    return ask


@pytest.fixture(scope="session")
def reference() -> list[dict[str, Any]]:
    """The examples of the Checkout resource's reference: title, method, path, request, status, response."""
    text = (Path(__file__).parent / "shopify_reference.json").read_text(encoding="utf-8")
    examples: list[dict[str, Any]] = json.loads(text)
    return examples
