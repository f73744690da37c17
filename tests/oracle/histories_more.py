"""Hypothesis strategies for the other protocols: the queue, carts, PAR orders, long-running operations, throttling.

Few tokens, paths and clients, so that exchanges meet on one key; every step can go alone, so that a failing
history shrinks.  ``everything()`` mixes them with checkouts.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from histories import EPOCH, HOSTS, Entry, exchange, histories, pauses, starts
from hypothesis import strategies as st

HOST = HOSTS[0]
few = st.integers(0, 5)
instants = st.integers(0, 5000).map(lambda ms: (EPOCH + timedelta(milliseconds=ms)).isoformat().replace("+00:00", "Z"))


def sent_with(entry: Entry, name: str, value: str) -> Entry:
    entry["request"]["headers"].append({"name": name, "value": value})
    return entry


def answered_with(entry: Entry, name: str, value: str) -> Entry:
    if entry["response"]["status"]:
        entry["response"]["headers"].append({"name": name, "value": value})
    return entry


def moved_to(entry: Entry, micros: int) -> Entry:
    entry["startedDateTime"] = (EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")
    entry["request"]["url"] = entry["request"]["url"].replace(HOSTS[1], HOST)
    return entry


def end_of(entry: Entry) -> int:
    begun = datetime.fromisoformat(entry["startedDateTime"]) - EPOCH
    return begun // timedelta(microseconds=1) + round(entry["time"] * 1000)


@st.composite
def one_after_another(draw: st.DrawFn, step: st.SearchStrategy[Entry], most: int = 8) -> list[Entry]:
    """Steps of a client that goes on, each after the last one's end or a little before it."""
    at, entries = draw(starts), []
    for _ in range(draw(st.integers(1, most))):
        entry = moved_to(draw(step), at)
        entries.append(entry)
        at = max(0, end_of(entry) + draw(pauses))
    return entries


# --------------------------------------------------------------------------------------------- queue

TOKENS = ("qa", "qb", "qc")
tokens = st.sampled_from(TOKENS[:2] * 2 + TOKENS)
QUEUED = "/admin/api/2024-01/checkouts/tok1.json"
QUEUE_POLL = "query poll($token: String!) { poll(token: $token) { token } }"
queued_paths = st.sampled_from([QUEUED] * 4 + ["/cart.js"])


@st.composite
def queued_request(draw: st.DrawFn) -> Entry:
    """The request that the queue holds back: 429 with a token; sent again with it, in one of its places, or without."""
    status = draw(st.sampled_from([429, 429, 429, 200, 202, 422, 503, 500, 0]))
    path = draw(queued_paths)
    entry = draw(
        exchange("PUT", path, {"checkout": {"token": "tok1"}}, draw(st.sampled_from(["{}"] * 3 + ["[1]"])), status)
    )
    if status == 429 and draw(few):
        answered_with(entry, "X-Checkout-Queue", "1")
        match draw(few):
            case 0:
                pass
            case 1:
                answered_with(entry, "Set-Cookie", f"_checkout_queue_token={draw(tokens)}; path=/")
            case _:
                answered_with(entry, "X-Checkout-Queue-Token", draw(tokens))
    match draw(few):
        case 0 | 1:
            sent_with(entry, "X-Checkout-Queue-Token", draw(tokens))
        case 2:
            sent_with(entry, "Cookie", f"a=b; _checkout_queue_token={draw(tokens)}")
    return entry


@st.composite
def queue_poll(draw: st.DrawFn) -> Entry:
    token = draw(tokens)
    sent = json.dumps(
        {"query": "query poll($token: String!) { poll(token: $token) { token } }", "variables": {"token": token}}
    )
    answer: dict[str, Any] = {"__typename": draw(st.sampled_from(["PollContinue"] * 3 + ["PollComplete"]))}
    if draw(few):
        answer["token"] = draw(tokens)
    if answer["__typename"] == "PollContinue":
        if draw(few):
            answer["pollAfter"] = (
                (EPOCH + timedelta(milliseconds=draw(st.integers(0, 5000)))).isoformat().replace("+00:00", "Z")
            )
        if draw(few):
            answer["queueEtaSeconds"] = draw(st.sampled_from([0, 1, 2, 10]))
    status = draw(st.sampled_from([200] * 8 + [429, 500, 404]))
    return draw(exchange("POST", "/queue/poll", {"data": {"poll": answer}}, sent, status))


queue_steps = st.one_of(queued_request(), queue_poll(), queue_poll())


@st.composite
def queues(draw: st.DrawFn) -> list[Entry]:
    return draw(st.permutations([*draw(one_after_another(queue_steps)), *draw(st.lists(queue_steps, max_size=5))]))


# ---------------------------------------------------------------------------------------------- cart

STOREFRONT = "/api/2026-04/graphql.json"
attempts = st.sampled_from(["a1", "a1", "a2"])
SUBMIT = "mutation S($attemptId: String!) { cartSubmitForCompletion(attemptId: $attemptId) { result { __typename } } }"
POLL = "query P($attemptId: String!) { cartCompletionAttempt(attemptId: $attemptId) { __typename } }"
delays = st.sampled_from([100, 500, 1500, 0, -1, "x"])


@st.composite
def cart_submit(draw: st.DrawFn) -> Entry:
    attempt = draw(attempts)
    name = draw(st.sampled_from(["SubmitSuccess"] * 3 + ["SubmitAlreadyAccepted", "SubmitFailed", "SubmitThrottled"]))
    result: dict[str, Any] = {"__typename": name}
    if name.startswith(("SubmitS", "SubmitA")):
        result["attemptId"] = attempt
    if name == "SubmitThrottled" and draw(few):
        result["pollAfter"] = (
            (EPOCH + timedelta(milliseconds=draw(st.integers(0, 5000)))).isoformat().replace("+00:00", "Z")
        )
    variables = {"attemptId": attempt, "note": draw(st.sampled_from(["", "", "x"]))}
    sent = json.dumps({"query": SUBMIT, "variables": variables})
    body = {"data": {"cartSubmitForCompletion": {"result": result}}}
    return draw(
        exchange("POST", "/api/2026-04/graphql.json", body, sent, draw(st.sampled_from([200] * 8 + [429, 503, 401, 0])))
    )


@st.composite
def cart_poll(draw: st.DrawFn) -> Entry:
    name = draw(
        st.sampled_from(
            ["CartCompletionProcessing"] * 4
            + ["CartCompletionSuccess", "CartCompletionFailed", "CartCompletionActionRequired", "CartThrottled"]
        )
    )
    result: dict[str, Any] = {"__typename": name}
    if name == "CartCompletionProcessing" and draw(few):
        result["pollDelay"] = draw(delays)
    sent = json.dumps({"query": POLL, "variables": {"attemptId": draw(attempts)}})
    body = {"data": {"cartCompletionAttempt": result}}
    return draw(
        exchange("POST", "/api/2026-04/graphql.json", body, sent, draw(st.sampled_from([200] * 8 + [429, 503, 404])))
    )


cart_steps = st.one_of(cart_submit(), cart_poll(), cart_poll())


@st.composite
def carts(draw: st.DrawFn) -> list[Entry]:
    return draw(st.permutations([*draw(one_after_another(cart_steps)), *draw(st.lists(cart_steps, max_size=5))]))


# ----------------------------------------------------------------------------------------------- PAR

ORDER_STATUSES = ("pending", "pending", "validated", "validated", "placed", "errored", "rejected", "baking")


@st.composite
def order_body(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if draw(few):
        body["status"] = draw(st.sampled_from(ORDER_STATUSES))
    if draw(st.booleans()):
        body["orderId"] = draw(st.sampled_from(["o1", "o1", "o2"]))
    return body


@st.composite
def par_write(draw: st.DrawFn) -> Entry:
    what = draw(st.sampled_from(["validate", "submit", "submit"]))
    orders = draw(st.sampled_from(["order", "orders", "orders"]))
    sent = json.dumps(
        {"request_uid": draw(st.sampled_from(["u1", "u1", "u2"])), "total": draw(st.sampled_from([1, 1, 2]))}
    )
    status = draw(st.sampled_from([202, 202, 202, 200, 200, 201, 422, 500, 429]))
    entry = draw(exchange("POST", f"/v1/posnext/{orders}/{what}", draw(order_body()), sent, status))
    return _digest(draw, _located(draw, entry, "/v1/posnext/orders"))


@st.composite
def par_read(draw: st.DrawFn) -> Entry:
    name = draw(st.sampled_from(["u1", "u1", "o1", "o1", "o2"]))
    status = draw(st.sampled_from([202, 202, 200, 200, 200, 404, 429, 503]))
    entry = draw(exchange("GET", f"/v1/posnext/orders/{name}", draw(order_body()), None, status))
    return _digest(draw, _located(draw, entry, "/v1/posnext/orders"))


def _located(draw: st.DrawFn, entry: Entry, base: str) -> Entry:
    """Where the generator gave a Location, it names an order."""
    for header in entry["response"]["headers"]:
        if header["name"] == "Location":
            header["value"] = f"https://{HOST}{base}/{draw(st.sampled_from(['o1', 'o1', 'u1', 'o2']))}"
    return entry


def _digest(draw: st.DrawFn, entry: Entry) -> Entry:
    return answered_with(entry, "x-pch-digest", "abc") if draw(few) else entry


par_steps = st.one_of(par_write(), par_read(), par_read())


@st.composite
def orders(draw: st.DrawFn) -> list[Entry]:
    return draw(st.permutations([*draw(one_after_another(par_steps)), *draw(st.lists(par_steps, max_size=5))]))


# ---------------------------------------------------------------------------------------- http-async

PATHS = ("/jobs", "/jobs/1", "/jobs/2", "/v1/operations/1")
ADDRESSES = ("Azure-AsyncOperation", "Operation-Location", "Location", "Location", "Content-Location")
WORDS = ("InProgress", "Running", "Succeeded", "completed", "Failed", "Canceled", "requires_action", "odd")


@st.composite
def job_body(draw: st.DrawFn) -> Any:
    match draw(st.integers(0, 6)):
        case 0:
            return {
                "name": "operations/1",
                "done": draw(st.booleans()),
                **draw(st.sampled_from([{}, {"response": {}}, {"error": {"code": 3}}])),
            }
        case 1:
            return {"status_url": draw(st.sampled_from(["/jobs/1", "/jobs/2"])), "status": draw(st.sampled_from(WORDS))}
        case 2:
            return {"links": {"self": f"https://{HOST}/jobs/1"}}
        case 3:
            return []
        case _:
            return {draw(st.sampled_from(["status", "status", "state"])): draw(st.sampled_from(WORDS))}


@st.composite
def job(draw: st.DrawFn, method: str, path: str) -> Entry:
    status = draw(st.sampled_from([202, 202, 202, 200, 200, 200, 201, 204, 303, 404, 429, 500]))
    sent = draw(st.sampled_from(["{}", "{}", "[]"])) if method == "POST" else None
    entry = draw(exchange(method, path, draw(job_body()), sent, status))
    entry["response"]["headers"] = [h for h in entry["response"]["headers"] if h["name"] != "Location"]
    if draw(few) > 1:
        target = draw(st.sampled_from(["/jobs/1", "/jobs/1", "/jobs/2", path, f"https://{HOST.upper()}:443/jobs/2#x"]))
        answered_with(entry, draw(st.sampled_from(ADDRESSES)), target)
    return entry


@st.composite
def job_step(draw: st.DrawFn) -> Entry:
    method = draw(st.sampled_from(["POST", "POST", "GET", "GET", "GET", "GET", "DELETE"]))
    return draw(job(method, draw(st.sampled_from(PATHS[:1] * 2 + PATHS if method == "POST" else PATHS[1:] + PATHS))))


@st.composite
def jobs(draw: st.DrawFn) -> list[Entry]:
    return draw(st.permutations([*draw(one_after_another(job_step())), *draw(st.lists(job_step(), max_size=5))]))


# ------------------------------------------------------------------------------------------ throttle


@st.composite
def any_request(draw: st.DrawFn) -> Entry:
    status = draw(st.sampled_from([429, 429, 503, 413, 200, 200, 404, 500, 425, 408, 0, 202]))
    if draw(st.booleans()):
        sent = json.dumps(
            {"query": draw(st.sampled_from(["query A { shop { id } }", "{ shop { id } }", "query B { shop { id } }"]))}
        )
        return draw(exchange("POST", "/graphql", {}, sent, status))
    return draw(exchange("GET", draw(st.sampled_from(["/a", "/a", "/b"])), {}, None, status))


@st.composite
def throttles(draw: st.DrawFn) -> list[Entry]:
    return draw(st.permutations([*draw(one_after_another(any_request())), *draw(st.lists(any_request(), max_size=5))]))


@st.composite
def everything(draw: st.DrawFn) -> list[Entry]:
    """Some of each."""
    parts = (queues(), carts(), orders(), jobs(), throttles(), histories())
    chosen = draw(st.lists(st.sampled_from(range(len(parts))), min_size=1, max_size=3, unique=True))
    return draw(st.permutations([entry for index in chosen for entry in draw(parts[index])]))
