"""The other protocols' readings (§2): throttle, par-posnext, shopify-cart, http-async."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from typing import Any
from urllib.parse import urljoin, urlsplit

from oracle_har import Ex, micros, parse_json
from oracle_hints import Hint, from_instant, instruction
from oracle_reading import ADDRESS_HEADERS, Obs, by_status, has_address

# ------------------------------------------------------------------------------------------ throttle


def graphql_name(ex: Ex) -> str:
    """The GraphQL operation of a request: its name, else its first field."""
    body = parse_json(ex.request_body)
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        return ""
    named = re.search(r"\b(?:query|mutation|subscription)\s+(\w+)", body["query"])
    field = re.search(r"\{\s*(\w+)", body["query"])
    return str(body.get("operationName") or (named and named[1]) or (field and field[1]) or "")


def throttle(ex: Ex) -> list[Obs]:
    """ "429, 503 (413 with a hint)"; "pending: the same again, 408, 425, 5xx"; answered otherwise: completed."""
    hinted413 = ex.status == 413 and instruction(ex) is not None
    same = ex.status in (429, 503) or hinted413
    state: str | None = "completed"
    if ex.status is None:
        state = None
    elif same or ex.status in (408, 425) or ex.status >= 500:
        state = "pending"
    key = f"{ex.client}|{ex.host}|{ex.method}|{ex.path}|{graphql_name(ex)}"
    opens = same and ex.header("X-Checkout-Queue") is None
    return [Obs("throttle", "throttle", "opening-read", (key,), state, opens=opens)]


# --------------------------------------------------------------------------------------- par-posnext

PAR = re.compile(r"(?:.*)/posnext/orders?/(?P<id>[^/]+)")
PAR_STATES = {"placed": "completed", "errored": "failed", "rejected": "rejected", "pending": "pending"}
PAR_STATUSES = {*PAR_STATES, "validated"}


def par_word(ex: Ex) -> str | None:
    word = ex.body.get("status") if isinstance(ex.body, dict) else None
    return word if word in PAR_STATUSES else None


def par_state(kind: str, ex: Ex) -> str | None:
    """The row; "`validated` on a submit" is pending, on a validate it completes."""
    if ex.status is None or not 200 <= ex.status < 300:
        return by_status(ex.status)
    word = par_word(ex)
    if word == "validated":
        return "pending" if kind == "order.submit" else "completed"
    return PAR_STATES[word] if word else "pending" if ex.status == 202 else None


def par_keys(ex: Ex, path_id: str | None) -> tuple[str, ...]:
    """request_uid sent or answered, orderId in the path or in Location."""
    sent = parse_json(ex.request_body)
    found = [path_id]
    for body in (sent, ex.body):
        found += [body.get("request_uid"), body.get("orderId")] if isinstance(body, dict) else []
    location = PAR.fullmatch(urlsplit(urljoin(ex.url, ex.header("Location") or "")).path)
    if ex.header("Location") and location:
        found.append(location["id"])
    return tuple(sorted({f"{ex.host}|{k}" for k in found if k}))


def par(ex: Ex) -> list[Obs]:
    match = PAR.fullmatch(ex.path)
    if match is None:
        return []
    if ex.method == "POST" and match["id"] in ("validate", "submit"):
        kind = f"order.{match['id']}"
        state = par_state(kind, ex)
        keys = par_keys(ex, None)
        return [
            Obs("par-posnext", kind, "write", keys, state, opens=state == "pending", address=has_address(ex),
                issued=keys, reads_as="order")
        ]  # fmt: skip
    if ex.method != "GET":
        return []
    state = par_state("order.submit", ex)
    # a GET's `validated` goes by its operation's kind; without one it shows nothing to open
    truncates = state == "pending" and par_word(ex) != "validated"
    keys = (f"{ex.host}|{match['id']}",)
    return [
        Obs("par-posnext", "order.submit", "read", keys, state, truncates=truncates, address=has_address(ex),
            issued=par_keys(ex, match["id"]), reads_as="order", in_op=lambda op: par_state(op.kind, ex))
    ]  # fmt: skip


# -------------------------------------------------------------------------------------- shopify-cart

CART_STATES: dict[str, str | None] = {
    "SubmitSuccess": "pending",
    "SubmitAlreadyAccepted": "pending",
    "SubmitFailed": "failed",
    "SubmitThrottled": None,
    "CartThrottled": None,
    "CartCompletionProcessing": "pending",
    "CartCompletionSuccess": "completed",
    "CartCompletionFailed": "failed",
    "CartCompletionActionRequired": "action_required",
}


def typed(value: Any) -> dict[str, Any] | None:
    """The first object whose __typename is one of the cart's."""
    if isinstance(value, dict):
        if value.get("__typename") in CART_STATES:
            return value
        value = list(value.values())
    if isinstance(value, list):
        return next((found for item in value if (found := typed(item))), None)
    return None


def cart(ex: Ex) -> list[Obs]:
    request = parse_json(ex.request_body)
    if not isinstance(request, dict) or not re.search(r"/graphql(\.json)?$", ex.path):
        return []
    query, variables = str(request.get("query") or ""), request.get("variables") or {}
    submits, polls = "cartSubmitForCompletion" in query, "cartCompletionAttempt" in query
    if not submits and not polls:
        return []
    answer = (typed(ex.body) if ex.status is not None and 200 <= ex.status < 300 else None) or {}
    name = str(answer.get("__typename") or "")
    state = CART_STATES.get(name) if name else by_status(ex.status)
    inline = re.search(r'attemptId\s*:\s*"([^"]+)"', query)
    ids = [variables.get("attemptId"), inline and inline[1], answer.get("attemptId")]
    keys = tuple(sorted({f"{ex.host}|{i}" for i in ids if i}))
    pending = name == "CartCompletionProcessing"
    return [
        Obs("shopify-cart", "cart.submit", "write" if submits else "read", keys, state,
            opens=submits and state == "pending", truncates=polls and pending,
            address=bool(answer.get("attemptId")), hint_expected=pending)
    ]  # fmt: skip


def cart_throttled(ex: Ex) -> bool:
    return any((typed(ex.body) or {}).get("__typename") == name for name in ("SubmitThrottled", "CartThrottled"))


def seek(value: Any, name: str) -> Any:
    """The first value of that name, at any depth."""
    if isinstance(value, dict):
        if value.get(name) is not None:
            return value[name]
        value = list(value.values())
    if isinstance(value, list):
        return next((found for item in value if (found := seek(item, name)) is not None), None)
    return None


def body_instruction(ex: Ex) -> Hint | None:
    """ "pollAfter or pollDelay in the body before Retry-After"."""
    after, delay = seek(ex.body, "pollAfter"), seek(ex.body, "pollDelay")
    if after is not None:
        try:
            at = Fraction(micros(datetime.fromisoformat(str(after))), 1_000_000)
        except ValueError:
            return Hint("pollAfter", str(after), "invalid", None)
        return from_instant(ex, "pollAfter", str(after), "poll-after", at)
    if delay is None:
        return None
    good = isinstance(delay, int | float) and not isinstance(delay, bool) and delay >= 0
    asked = Fraction(delay) / 1000 if good else None
    return Hint("pollDelay", str(delay), "poll-delay" if good else "invalid", asked)


# ---------------------------------------------------------------------------------------- http-async

LINKS = ("status_url", "statusUrl", "statusQueryGetUri", "poll_url", "polling_url", "operation_url")
BY_BODY = ("Azure-AsyncOperation", "Operation-Location", "link")
BODY_STATES = {
    **dict.fromkeys(("succeeded", "completed", "complete", "jobcomplete"), "completed"),
    **dict.fromkeys(("failed", "aborted", "error"), "failed"),
    **dict.fromkeys(("canceled", "cancelled", "voided"), "rejected"),
    **dict.fromkeys(("requires_action", "action_required", "payer_action_required"), "action_required"),
}


def normal(url: str) -> str:
    """ "scheme and host lower case, default port and fragment off, query kept"."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme.lower())
    port = f":{parts.port}" if parts.port and parts.port != default else ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}{port}{parts.path or '/'}{query}"


def link(body: Any) -> str | None:
    if not isinstance(body, dict):
        return None
    for name in LINKS:
        if isinstance(body.get(name), str) and body[name]:
            return str(body[name])
    for holder in ("links", "_links"):
        inside = body.get(holder)
        for name in ("status", "monitor", "self"):
            found = inside.get(name) if isinstance(inside, dict) else None
            found = found.get("href") if isinstance(found, dict) else found
            if isinstance(found, str) and found:
                return found
    return None


def aip(ex: Ex) -> str | None:
    """ "AIP-151 `name` + `done: false`"."""
    body = ex.body if isinstance(ex.body, dict) else {}
    return str(body["name"]) if body.get("name") and body.get("done") is False else None


def address(ex: Ex) -> tuple[str, str] | None:
    """(type, key) of the first poll address that is there."""
    for name in ADDRESS_HEADERS:
        value = ex.header(name)
        if value:
            return name, normal(urljoin(ex.url, value))
    found = link(ex.body)
    if found:
        return "link", normal(urljoin(ex.url, found))
    operation = aip(ex)
    return ("link", f"aip|{ex.host}|{operation}") if operation else None


def body_says(ex: Ex) -> str:
    """ "the body's `status`, else `state`, without case"; `done: true` with response or error."""
    body = ex.body if isinstance(ex.body, dict) else {}
    if body.get("done") is True and (body.get("error") is not None or "response" in body):
        return "failed" if body.get("error") is not None else "completed"
    word = body.get("status") if body.get("status") is not None else body.get("state")
    return BODY_STATES.get(str(word).lower(), "pending")


def monitor_state(ex: Ex, kind: str, answered_202: bool) -> str | None:
    """§2 State of a monitor, by the type under which it was first issued."""
    if ex.status is None or ex.status in (401, 403, 406, 408, 425, 429) or ex.status >= 400:
        return by_status(ex.status)
    if kind in BY_BODY:
        return body_says(ex) if 200 <= ex.status < 300 else None
    if ex.status == 202:
        return "pending"
    if kind == "Content-Location":
        if ex.status == 200:
            return "completed" if answered_202 else "pending"
        return "completed" if ex.status == 303 else None
    return "completed" if ex.status in (200, 201, 204, 303) else None


def in_operation(ex: Ex, keys: tuple[str, ...], op: Any) -> str | None:
    key = next((k for k in keys if k in op.types), None)
    if key is None:  # a join by the key that its answer issued
        return monitor_state(ex, "self", False)
    state = monitor_state(ex, op.types[key], op.answered_202)
    # the monitor is one, however often its address moves
    op.answered_202 = op.answered_202 or (ex.status == 202 and ex.method in ("GET", "HEAD"))
    return state


def http_async(ex: Ex) -> list[Obs]:
    own, given = normal(ex.url), address(ex)
    parts = ex.path.split("/")
    suffixes = tuple(f"aip|{ex.host}|{'/'.join(parts[i:])}" for i in range(1, len(parts)))
    good = ex.status is not None and 200 <= ex.status < 300
    reads = ex.method in ("GET", "HEAD")
    by_header = ex.status in (200, 201) and given is not None and given[0] in BY_BODY[:2]
    opens = (ex.status == 202 and (given or instruction(ex)) is not None) or by_header or bool(good and aip(ex))
    kind, issued = given or ("self", own)
    keys = (own, *suffixes)
    if reads:
        itself = given is None or given[1] in keys
        shows = ex.status == 202 or aip(ex) is not None
        return [
            Obs("http-async", "async", "read", keys, "pending" if shows else None,
                # "with the address of another resource it is a submit"
                opens=bool(opens and not itself), truncates=bool(good and shows and itself),
                issued=(issued,), reads_as=kind if given else None, address=given is not None,
                in_op=lambda op: in_operation(ex, keys, op))
        ]  # fmt: skip
    sent = (own, issued) if good else (own,)
    role = "cancel" if ex.method == "DELETE" else "write"
    return [
        Obs("http-async", "async", role, sent, "pending" if opens else monitor_state(ex, "self", False),
            opens=bool(opens), issued=(issued,), reads_as=kind, address=given is not None)
    ]  # fmt: skip
