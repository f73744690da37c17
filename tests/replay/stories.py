"""Small recordings, built by hand: each exchange in one line, instants in seconds since the story's beginning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from polltape.exchange import Body, Coverage, Exchange, Header
from polltape.protocols import observe
from polltape.replay.case import in_memory

BEGINNING = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
HOST = "shop.example"
TOKEN = "4207896aad57dfb159d3c2fb0a5f7e10"
CHECKOUT = f"/admin/api/2020-10/checkouts/{TOKEN}.json"
CREATE = "/admin/api/2020-10/checkouts.json"
SESSION = "session-1"


def instant(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)


def body(value: Any) -> Body:
    content = b"" if value is None else json.dumps(value).encode()
    return Body(len(content), len(content), content or None, digest=sha256(content).hexdigest()[:32])


def exchange(
    at: float,
    method: str,
    path: str,
    status: int,
    *,
    took: float = 0.01,
    wait: str | None = None,
    sent: Any = None,
    got: Any = None,
    more: Sequence[tuple[str, str]] = (),
    sent_headers: Sequence[tuple[str, str]] = (),
) -> Exchange:
    """One exchange: begins ``at``, ``took`` so long, the answer asks to ``wait``."""
    headers = [("Content-Type", "application/json"), *more]
    if wait is not None:
        headers.append(("Retry-After", wait))
    end = instant(at + took)
    return observe(
        Exchange(
            exchange_id=sha256(f"{at} {method} {path}".encode()).hexdigest()[:32],
            session_id=SESSION,
            client="client-a",
            key_id="00000000",
            method=method,
            scheme="https",
            host=HOST,
            port=443,
            path=path,
            http_version="HTTP/1.1",
            request_started_at=instant(at),
            request_ended_at=instant(at),
            request_headers=tuple(Header(*pair) for pair in (("Host", HOST), *sent_headers)),
            request_body=body(sent),
            status=status,
            response_started_at=end,
            response_ended_at=end,
            response_headers=tuple(Header(*pair) for pair in headers),
            response_body=body(got),
        )
    )


def checkout(token: str = TOKEN, **fields: Any) -> dict[str, Any]:
    return {"checkout": {"token": token, "completed_at": None, **fields}}


def coverage(until: float) -> Coverage:
    return Coverage(SESSION, instant(-1), instant(until))


def capture(exchanges: Sequence[Exchange], until: float) -> Any:
    """The exchanges as a capture whose recording went on ``until``."""
    return in_memory([replace(e, seq=number) for number, e in enumerate(exchanges, 1)], [coverage(until)])


def put(at: float, status: int = 202, **options: Any) -> Exchange:
    options.setdefault("got", checkout())
    return exchange(at, "PUT", CHECKOUT, status, sent={"checkout": {"note": "x"}}, **options)


def poll(at: float, status: int = 202, **options: Any) -> Exchange:
    options.setdefault("got", checkout())
    return exchange(at, "GET", CHECKOUT, status, **options)


def early(scale: float = 1.0) -> list[Exchange]:
    """An update with `Retry-After: 1`, polled after 0.4 s, 0.8 s and at last after 1.9 s, when it is done."""
    return [
        put(0.0, wait="1"),
        poll(0.41 * scale, wait="1"),
        poll(0.82 * scale, wait="1"),
        poll(1.9 * scale, 200, got=checkout(completed_at="2026-11-23T08:00:01Z")),
    ]


def polite() -> list[Exchange]:
    return [put(0.0, wait="1"), poll(1.1, wait="1"), poll(2.3, 200)]


def twice() -> list[Exchange]:
    """The same update again while it is pending."""
    return [put(0.0, wait="1"), put(1.1, wait="1"), poll(2.3, 200)]


def stuck() -> list[Exchange]:
    """Polled politely for 26 s, never done, then given up."""
    return [put(0.0, wait="5"), *(poll(5.2 * n, wait="5") for n in range(1, 6))]


def created() -> list[Exchange]:
    """A checkout is created at once, and half an hour later updated and polled too early."""
    new = exchange(
        0.0,
        "POST",
        CREATE,
        201,
        sent={"checkout": {"line_items": []}},
        got=checkout(),
        more=[("Location", f"https://{HOST}{CHECKOUT}")],
    )
    return [new, *(moved(e, 1800.0) for e in early())]


def moved(one: Exchange, seconds: float) -> Exchange:
    """The same exchange so much later, under another id."""
    names = ("request_started_at", "request_ended_at", "response_started_at", "response_ended_at")
    later = {name: getattr(one, name) + timedelta(seconds=seconds) for name in names}
    return replace(one, exchange_id=f"{one.exchange_id[:-2]}zz", **later)
