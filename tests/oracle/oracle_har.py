"""What one HAR entry says: the exchange, its instants in integer microseconds, and who sent it.

Text cited as §n is docs "What is measured, exactly".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

Headers = list[tuple[str, str]]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUEUE_COOKIES = {"_checkout_queue_token", "_checkout_queue_checkout_token", "_queue_replay_data", "_ctd"}


@dataclass(eq=False)
class Ex:
    """One exchange.  Instants are microseconds since 1970; ``None`` is unknown.  ``tie`` stands for its id."""

    index: int
    tie: str
    method: str
    scheme: str
    host: str
    path: str
    query: str
    request_headers: Headers
    request_body: str
    status: int | None
    response_headers: Headers
    body: Any
    t_req: int
    t_req_end: int | None
    t_resp: int | None
    t_end: int
    client: str
    # SubmitThrottled, CartThrottled: "a wait with the scope of a 429"
    scope429: bool = False

    def header(self, name: str) -> str | None:
        return first(self.response_headers, name)

    def sent(self, name: str) -> str | None:
        return first(self.request_headers, name)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def request_json(self) -> Any:
        return parse_json(self.request_body)


def first(headers: Headers, name: str) -> str | None:
    return next((v for n, v in headers if n.lower() == name.lower()), None)


def every(headers: Headers, name: str) -> list[str]:
    return [v for n, v in headers if n.lower() == name.lower()]


def parse_json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def micros(instant: datetime) -> int:
    """Integer microseconds since 1970; an instant without zone is UTC."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    delta = aware - EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def iso(instant: int | None) -> str | None:
    """§8: ISO 8601, UTC, with microseconds."""
    if instant is None:
        return None
    seconds, rest = divmod(instant, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"


def known(timings: dict[str, Any], name: str) -> float | None:
    """A timing, None where absent or −1."""
    value = timings.get(name)
    return value if isinstance(value, int | float) and value >= 0 else None


def instants(entry: dict[str, Any]) -> tuple[int, int | None, int | None, int]:
    """§1 "From HAR": request started, request ended, response started, response ended."""
    timings = entry.get("timings") or {}
    began = micros(datetime.fromisoformat(entry["startedDateTime"]))
    # "request started = startedDateTime + blocked + dns + connect (−1 adds nothing; ssl lies inside connect)"
    ms = sum(known(timings, n) or 0 for n in ("blocked", "dns", "connect"))
    found: list[int | None] = [began + round(ms * 1000)]
    # "then send, wait, receive; an unknown one of these leaves what follows null"
    unknown = False
    for name in ("send", "wait"):
        step = known(timings, name)
        unknown = unknown or step is None
        ms += step or 0
        found.append(None if unknown else began + round(ms * 1000))
    # "response ended = startedDateTime + time (without it, the sum of the timings)"
    total = entry.get("time")
    if not isinstance(total, int | float) or total < 0:
        total = ms + (known(timings, "receive") or 0)
    start = found[0]
    assert start is not None
    return start, found[1], found[2], began + round(total * 1000)


def content_text(content: dict[str, Any]) -> str | None:
    text = content.get("text")
    if text is not None and content.get("encoding") == "base64":
        return base64.b64decode(text).decode("utf-8", "replace")
    return text


def request_text(request: dict[str, Any]) -> str:
    data = request.get("postData") or {}
    if data.get("text"):
        return str(data["text"])
    return "&".join(f"{p.get('name')}={p.get('value')}" for p in data.get("params") or [])


def segment(text: str) -> Any:
    """A JWT's base64url part as JSON, None where it is none."""
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error):
        return None


def bearer(token: str) -> str:
    """§1 Client: "JWT → (iss, azp or client_id, sub); another Bearer"."""
    parts = token.split(".")
    claims = segment(parts[1]) if len(parts) == 3 else None
    if isinstance(claims, dict):
        return f"jwt:{claims.get('iss')}|{claims.get('azp') or claims.get('client_id')}|{claims.get('sub')}"
    return f"bearer:{token}"


def basic(value: str) -> str:
    try:
        user = base64.b64decode(value).decode("utf-8", "replace").partition(":")[0]
    except (ValueError, binascii.Error):
        user = value
    return f"basic:{user}"


def identity(headers: Headers, address: str = "") -> str:
    """§1 Client, "first that is there", in the order of the text."""
    token = first(headers, "X-Shopify-Access-Token")
    if token:
        return f"shopify:{token}"
    scheme, _, value = (first(headers, "Authorization") or "").strip().partition(" ")
    if scheme.lower() == "basic":
        return basic(value.strip())
    if scheme.lower() == "bearer":
        return bearer(value.strip())
    for name in ("X-Api-Key", "Api-Key"):
        if first(headers, name):
            return f"key:{first(headers, name)}"
    cookies = [c.strip() for line in every(headers, "Cookie") for c in line.split(";")]
    others = sorted(c for c in cookies if c and c.partition("=")[0] not in QUEUE_COOKIES)
    if others:
        return f"cookies:{others}"
    storefront = first(headers, "X-Shopify-Storefront-Access-Token")
    if storefront:
        return f"storefront:{storefront}|{address}"
    # "The address is empty in a HAR."
    return f"address:{address}|{first(headers, 'User-Agent') or ''}"


def exchange(entry: dict[str, Any], index: int, tie: str) -> Ex:
    request, response = entry["request"], entry.get("response") or {}
    url = urlsplit(request["url"])
    port = url.port
    default = {"http": 80, "https": 443}.get(url.scheme)
    start, request_end, response_start, end = instants(entry)
    sent: Headers = [(h["name"], h["value"]) for h in request.get("headers") or []]
    # "status 0 is an error": no status, and nothing is read from what stands in the response's place
    status = response.get("status") or None
    status = status if status is not None and status > 0 else None
    got: Headers = [(h["name"], h["value"]) for h in response.get("headers") or []] if status else []
    return Ex(
        index=index,
        tie=tie,
        method=request["method"],
        scheme=url.scheme.lower(),
        host=(url.hostname or "").lower() + (f":{port}" if port and port != default else ""),
        path=url.path or "/",
        query=url.query,
        request_headers=sent,
        request_body=request_text(request),
        status=status,
        response_headers=got,
        body=parse_json(content_text(response.get("content") or {})) if status else None,
        t_req=start,
        t_req_end=request_end,
        t_resp=response_start,
        t_end=end,
        client=identity(sent),
    )


def exchanges(entries: Sequence[dict[str, Any]], ids: Sequence[str] | None) -> tuple[list[Ex], int]:
    """Every readable entry, and how many were skipped."""
    found, skipped = [], 0
    for index, entry in enumerate(entries):
        tie = ids[index] if ids else f"{index:06d}"
        try:
            found.append(exchange(entry, index, tie))
        except (KeyError, TypeError, ValueError):
            skipped += 1
    return found, skipped
