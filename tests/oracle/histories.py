"""Hypothesis strategies: random but plausible HAR histories of shopify-checkout.

``histories()`` draws a list of HAR entries, ``coverages(entries)`` recording sessions to go with them.
A history is a list of small steps (a write, a poll, a payment, …); each one shrinks by itself and can go
alone, so a failing history shrinks to the two or three exchanges that matter.  Times lie on a grid of 50 ms
(ties are wanted), some off it; every duration is a whole number of microseconds and at least 1 ms.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from hypothesis import strategies as st

EPOCH = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
HOSTS = ("one.example", "two.example")
CLIENTS = ("client-a", "client-b")
TOKENS = ("tok1", "tok2")
FORMS = ("/admin/api/2024-01", "/wallets", "/api")
BODIES = ('{"checkout":{"email":"x"}}', '{"checkout":{"email":"y"}}')

PENDING_OR_DONE = (202, 200)
OTHER_STATUSES = (201, 204, 303, 401, 404, 422, 429, 500, 503, 0, 409, 413, 307)

Entry = dict[str, Any]

# ------------------------------------------------------------------------------------------- instants

on_grid = st.integers(0, 60).map(lambda n: n * 50_000)
off_grid = st.integers(0, 4_000_000)
far = st.sampled_from([20_100_000, 30_000_000, 30_100_000, 45_000_000, 300_000_000])
starts = st.one_of(on_grid, on_grid, off_grid, st.builds(lambda a, b: a + b, on_grid, far))
durations = st.one_of(st.sampled_from([50_000, 100_000, 1_000, 500_000, 2_000_000]), st.integers(1_000, 3_000_000))

# --------------------------------------------------------------------------------------- instructions


def http_date(micros: int, seconds: int) -> str:
    """An IMF-fixdate so many seconds after the instant, which is cut to whole seconds."""
    at = EPOCH + timedelta(microseconds=micros) + timedelta(seconds=seconds)
    return format_datetime(at.replace(microsecond=0), usegmt=True)


def obsolete(date: str, form: str) -> str:
    at = datetime.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")
    return {
        "rfc850": at.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        "asctime": at.strftime("%a %b ") + f"{at.day:2d}" + at.strftime(" %H:%M:%S %Y"),
        "zone": date.replace("GMT", "+0000"),
        "case": date.lower(),
        "iso": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "imf": date,
    }[form]


plain_values = st.sampled_from(["1", "0", "2", " 1 ", "10", "2.0", "0.5", "-5", "", "abc", "+3", "1e3", "1, 2"])
# a value is a text, or how far ahead a date lies and in which form
date_values = st.tuples(st.sampled_from(["imf", "imf", "rfc850", "asctime", "zone", "case", "iso"]), st.integers(-2, 5))
lines = st.one_of(
    st.just([]),
    st.just(["1"]),
    st.lists(plain_values, min_size=1, max_size=1),
    st.lists(date_values, min_size=1, max_size=1),
    st.lists(st.one_of(plain_values, date_values), min_size=2, max_size=2),
    st.just(["1", "1"]),
)
vendors = st.one_of(st.just(None), st.just(None), st.sampled_from(["retry-after-ms", "x-ms-retry-after-ms"]))


@st.composite
def hint_headers(draw: st.DrawFn, ended: int) -> list[tuple[str, str]]:
    """Date (or none), Retry-After lines, a vendor's header."""
    headers = []
    if draw(st.integers(0, 3)):
        headers.append(("Date", http_date(ended, 0)))
    for line in draw(lines):
        text = line if isinstance(line, str) else obsolete(http_date(ended, line[1]), line[0])
        headers.append(("Retry-After", text))
    vendor = draw(vendors)
    if vendor:
        headers.append((vendor, draw(st.sampled_from(["250", "1500"]))))
    return headers


# -------------------------------------------------------------------------------------------- entries


statuses = st.sampled_from(PENDING_OR_DONE * 5 + OTHER_STATUSES)
"""Mostly 202 and 200, all others now and then."""


@st.composite
def exchange(
    draw: st.DrawFn, method: str, path: str, body: Any, sent: str | None = None, status: int | None = None
) -> Entry:
    """One HAR entry; ``body`` is dropped where the status carries none."""
    start, took = draw(starts), draw(durations)
    wait = draw(st.sampled_from([took, took, took - took // 4, took // 2, -1_000]))
    before = draw(st.sampled_from([-1_000, -1_000, 0, 50_000]))
    status = draw(statuses) if status is None else status
    host = draw(st.sampled_from(HOSTS[:1] * 4 + HOSTS[1:]))
    lead = max(before, 0)
    headers = draw(hint_headers(start + lead + took)) if status else []
    if draw(st.integers(0, 3)) == 0 and status:
        headers.append(("Location", f"https://{host}{path}"))
    if draw(st.integers(0, 5)) == 0 and status:
        headers.append(("X-Request-Id", draw(st.sampled_from(["r1", "r2"]))))
    request: dict[str, Any] = {
        "method": method,
        "url": f"https://{host}{path}",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "X-Shopify-Access-Token", "value": draw(st.sampled_from(CLIENTS[:1] * 3 + CLIENTS))}],
        "queryString": [],
        "cookies": [],
        "headersSize": -1,
        "bodySize": len(sent or ""),
    }
    if sent is not None:
        request["headers"].append({"name": "Content-Type", "value": "application/json"})
        request["postData"] = {"mimeType": "application/json", "text": sent}
    content: dict[str, Any] = {"size": 0, "mimeType": "application/json"}
    if body is not None and status and status not in (204, 303, 307) and status < 400:
        content["text"] = json.dumps(body)
        content["size"] = len(content["text"])
        headers.append(("Content-Type", "application/json"))
    return {
        "startedDateTime": (EPOCH + timedelta(microseconds=start)).isoformat().replace("+00:00", "Z"),
        "time": (lead + took) / 1000,
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": n, "value": v} for n, v in headers],
            "cookies": [],
            "content": content,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
        "cache": {},
        "timings": {"blocked": before / 1000, "send": 0, "wait": wait / 1000, "receive": (took - max(wait, 0)) / 1000},
    }


final_order: dict[str, Any] = {"id": 5, "name": "#5", "status_url": "https://one.example/5"}
checkout_fields: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"completed_at": None, "order": None}, {"completed_at": "2026-11-23T08:00:09Z"}, {"order": final_order}]
)
paths = st.builds(
    lambda form, token: (f"{form}/checkouts", token),
    st.sampled_from(FORMS[:1] * 8 + FORMS),
    st.sampled_from(TOKENS[:1] * 6 + TOKENS),
)


@st.composite
def create(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    body = {"checkout": {"token": token, **draw(checkout_fields)}}
    return draw(exchange("POST", f"{base}.json", body, draw(st.sampled_from(BODIES))))


@st.composite
def update(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    body = {"checkout": {"token": token, **draw(checkout_fields)}}
    method = draw(st.sampled_from(["PUT", "PUT", "PATCH"]))
    return draw(exchange(method, f"{base}/{token}.json", body, draw(st.sampled_from(BODIES))))


@st.composite
def complete(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    body = {"checkout": {"token": token, **draw(checkout_fields)}}
    return draw(exchange("POST", f"{base}/{token}/complete.json", body, "{}"))


@st.composite
def get(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    body = {"checkout": {"token": token, **draw(checkout_fields)}}
    return draw(exchange("GET", f"{base}/{token}.json", body))


@st.composite
def shipping(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    name, method = draw(
        st.sampled_from(
            [("shipping_rates", "GET")] * 4 + [("calculate_shipping", "GET"), ("calculate_shipping", "POST")]
        )
    )
    return draw(
        exchange(method, f"{base}/{token}/{name}.json", {"shipping_rates": []}, "{}" if method == "POST" else None)
    )


@st.composite
def payment_body(draw: st.DrawFn) -> tuple[int, Any]:
    """A payment's id and its body: processing, done, failed, failed with a message."""
    number = draw(st.sampled_from([7, 7, 8]))
    shown: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"transaction": None},
                {"transaction": None},
                {"transaction": {"status": "success", "kind": "sale"}},
                {"transaction": {"status": "failure", "kind": "sale"}},
                {"transaction": {"status": "error"}, "payment_processing_error_message": "declined"},
            ]
        )
    )
    return number, {"payment": {"id": number, "payment_processing_error_message": None, **shown}}


@st.composite
def pay(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    _, body = draw(payment_body())
    # a 200 or 201 that still says "transaction": null is left out: the text gives it no meaning (READINGS.md)
    open_ended = body["payment"]["transaction"] is None
    status = (
        202
        if open_ended and draw(st.integers(0, 5))
        else draw(st.sampled_from(OTHER_STATUSES[1:] if open_ended else (200, 201, 202)))
    )
    return draw(exchange("POST", f"{base}/{token}/payments.json", body, draw(st.sampled_from(BODIES)), status))


@st.composite
def payment(draw: st.DrawFn) -> Entry:
    base, token = draw(paths)
    number, body = draw(payment_body())
    return draw(exchange("GET", f"{base}/{token}/payments/{number}.json", body))


@st.composite
def stranger(draw: st.DrawFn) -> Entry:
    """A request that is no checkout's."""
    path = draw(st.sampled_from(["/admin/api/2024-01/shop.json", "/other/123"]))
    return draw(exchange(draw(st.sampled_from(["GET", "POST"])), path, {}))


steps = st.one_of(
    update(), get(), get(), update(), create(), complete(), shipping(), shipping(), payment(), pay(), stranger()
)


FLOWS = {
    # kind: (method, path and body of the first request), (path and body of the polls)
    "create": (("POST", ".json", "{}"), "/{token}.json"),
    "update": (("PUT", "/{token}.json", BODIES[0]), "/{token}.json"),
    "complete": (("POST", "/{token}/complete.json", "{}"), "/{token}.json"),
    "rates": (("GET", "/{token}/shipping_rates.json", None), "/{token}/shipping_rates.json"),
    "calculate": (("POST", "/{token}/calculate_shipping.json", "{}"), "/{token}/shipping_rates.json"),
    "pay": (("POST", "/{token}/payments.json", "{}"), "/{token}/payments/7.json"),
}
pauses = st.sampled_from([0, 50_000, 990_000, 989_999, 1_000_000, 2_000_000, 2_000_001, -50_000, -200_000, 20_000_000])


def flow_body(kind: str, token: str, done: bool) -> Any:
    if kind == "pay":
        return {"payment": {"id": 7, "transaction": {"status": "success"} if done else None}}
    return {"checkout": {"token": token}} if kind in ("create", "update", "complete") else {"shipping_rates": []}


@st.composite
def flows(draw: st.DrawFn) -> list[Entry]:
    """One write and the polls of a client that goes on, each after the last one's end or a little before it."""
    base, token = draw(paths)
    kind = draw(st.sampled_from(sorted(FLOWS)))
    (method, path, sent), polled = FLOWS[kind]
    at = draw(starts)
    entries: list[Entry] = []
    for number in range(draw(st.integers(1, 5))):
        status = 202 if number == 0 else draw(st.one_of(st.just(202), statuses))
        body = flow_body(kind, token, done=number > 0 and status == 200)
        where = f"{base}{(polled if number else path).replace('{token}', token)}"
        one = draw(exchange("GET" if number else method, where, body, None if number else sent, status))
        one["startedDateTime"] = (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
        one["request"]["url"] = f"https://{HOSTS[0]}{where}"
        entries.append(one)
        at = max(0, at + round(one["time"] * 1000) + draw(pauses))
    return entries


@st.composite
def histories(draw: st.DrawFn, max_size: int = 14) -> list[Entry]:
    """Entries in any order: whole flows and single steps mixed."""
    whole = [e for flow in draw(st.lists(flows(), max_size=2)) for e in flow]
    return draw(st.permutations([*whole, *draw(st.lists(steps, max_size=max_size - 8))]))


@st.composite
def coverages(draw: st.DrawFn, entries: list[Entry]) -> list[tuple[datetime, datetime]] | None:
    """None (the entries' own span), or one session that holds them all and goes on for a while."""
    if not entries or draw(st.booleans()):
        return None
    begun = [datetime.fromisoformat(e["startedDateTime"]) for e in entries]
    ended = max(b + timedelta(milliseconds=e["time"]) for b, e in zip(begun, entries, strict=True))
    more = draw(st.sampled_from([0, 1, 29.95, 30, 31, 100, 1000]))
    return [(min(begun), ended + timedelta(seconds=more))]
