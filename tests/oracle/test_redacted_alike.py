"""A redacted capture says what the unredacted one says: analysis, mock and replay give the same.

Both come from one HAR.  The unredacted one has only what redaction adds (the client, the key's id, the digests);
in its JSON every token is then replaced by the pseudonym that redaction gives it, and the two must be equal.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from histories import TOKENS, histories
from hypothesis import HealthCheck, given, settings

from polltape.capture.keys import Key
from polltape.capture.reading import Capture, Step, open_capture, read_exchanges
from polltape.capture.redaction import Redactor
from polltape.exchange import Exchange
from polltape.measures.analysis import analyse
from polltape.mock.core import Mock, Request
from polltape.protocols import observe
from polltape.replay.case import case_of
from polltape.replay.runner import replay_on_mock
from polltape.report import render

Entries = list[dict[str, Any]]
KEY = Key(b"0123456789abcdef0123456789abcdef", "test")
REDACTOR = Redactor(KEY)
REFERENCE = Path(__file__).parents[1] / "mock" / "shopify_reference.json"
T0 = datetime(2026, 11, 23, 8, tzinfo=UTC)
NOW = 1_800_000_000.0


def bare(exchange: Exchange) -> Exchange:
    """The exchange as it was, with what redaction adds."""
    redacted = REDACTOR.redact(exchange)
    sent = replace(exchange.request_body, digest=redacted.request_body.digest, size=redacted.request_body.size)
    answered = replace(exchange.response_body, digest=redacted.response_body.digest, size=redacted.response_body.size)
    return replace(exchange, client=redacted.client, key_id=redacted.key_id, request_body=sent, response_body=answered)


def opened(entries: Entries, folder: Path, redact: Step) -> Capture:
    path = folder / "history.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}), encoding="utf-8")
    return open_capture([path], redact=redact, observe=observe, key=KEY)


def analysed(capture: Capture) -> str:
    return render(analyse(capture), "json")


def pseudonymised(text: str, tokens: tuple[str, ...]) -> str:
    """The text with the pseudonyms of these tokens in their places."""
    pattern = "|".join(sorted(map(re.escape, tokens), key=len, reverse=True))
    return re.sub(pattern, lambda match: REDACTOR.pseudonym(match[0]), text)


def played(capture: Capture, sent: list[Exchange], tokens: tuple[str, ...]) -> list[tuple[int, bool]]:
    """The statuses, and whether it knew the request, of a mock of the capture that gets these requests when they
    were sent, by a client whose tokens nobody has recorded."""
    mock = Mock.from_capture(capture)
    heard = []
    for exchange in sent:
        path, body = exchange.path, exchange.request_body.content or b""
        for number, token in enumerate(tokens):
            fresh = f"{number:02}fe" * 8
            path, body = path.replace(token, fresh), body.replace(token.encode(), fresh.encode())
        request = Request(
            exchange.method, exchange.scheme, exchange.authority, path, exchange.request_headers[:0], body
        )
        answer = mock.answer(request, NOW + (exchange.request_started_at - T0).total_seconds())
        heard.append((answer.status, answer.matched))
    return heard


def check(entries: Entries, tokens: tuple[str, ...], folder: Path) -> tuple[Capture, Capture]:
    """That analysis and mock of both are alike; both captures."""
    plain, redacted = opened(entries, folder, bare), opened(entries, folder, REDACTOR.redact)
    assert json.loads(analysed(redacted)) == json.loads(pseudonymised(analysed(plain), tokens))
    sent = list(read_exchanges(plain))
    if any(exchange.status for exchange in sent):
        assert played(redacted, sent, tokens) == played(plain, sent, tokens)
    return plain, redacted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alike")


EXAMPLES = max(10, int(os.environ.get("POLLTAPE_AGREEMENT_EXAMPLES", "0")))


@settings(
    deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(entries=histories())
def test_histories(entries: Entries, folder: Path) -> None:
    check(entries, TOKENS, folder)


# ------------------------------------------------------------------------------- bodies as Shopify documents them


def entry(method: str, path: str, status: int, at: float, sent: object, answered: object) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": method,
        "url": f"https://jsmith.myshopify.com{path}",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "X-Shopify-Access-Token", "value": "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"}],
    }
    if sent is not None and method != "GET":
        request["headers"].append({"name": "Content-Type", "value": "application/json"})
        request["postData"] = {"mimeType": "application/json", "text": json.dumps(sent)}
    headers = [{"name": "Content-Type", "value": "application/json; charset=utf-8"}]
    if status == 202:
        headers += [{"name": "Retry-After", "value": "1"}, {"name": "Location", "value": request["url"]}]
    text = json.dumps(answered)
    return {
        "startedDateTime": (T0 + timedelta(seconds=at)).isoformat(),
        "time": 100,
        "request": request,
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "headers": headers,
            "content": {"size": len(text), "mimeType": "application/json", "text": text},
        },
        "timings": {"send": 0, "wait": 100, "receive": 0},
    }


def shop_story() -> tuple[Entries, tuple[str, ...]]:
    """Every documented example, one after the other; what is accepted is polled, too early, in time, and to its end."""
    entries: Entries = []
    at = 0.0
    examples = json.loads(REFERENCE.read_text(encoding="utf-8"))
    for example in examples:
        sent, answered = example["request"], example["response"]
        entries.append(entry(example["method"], example["path"], example["status"], at, sent, answered))
        checkout = answered.get("checkout") if isinstance(answered, dict) else None
        if example["status"] == 202 and checkout and checkout.get("token"):
            poll = f"{example['path'].partition('/checkouts')[0]}/checkouts/{checkout['token']}.json"
            for wait, status in ((0.5, 202), (2.0, 202), (3.5, 200)):
                entries.append(entry("GET", poll, status, at + wait, None, answered))
        at += 10
    found = re.findall(r"(?:checkouts/|\"token\": \")([0-9a-z]{32})", json.dumps(examples))
    return entries, tuple(sorted(set(found)))


def test_bodies_as_shopify_documents_them(folder: Path) -> None:
    entries, tokens = shop_story()
    plain, redacted = check(entries, tokens, folder)
    found = json.loads(analysed(plain))
    assert len(found["operations"]) > 5
    assert {row["code"] for row in found["findings"]} >= {"RA001"}
    assert all(token not in analysed(redacted) for token in tokens)
    operations = {row["kind"]: row["id"] for row in found["operations"]}
    for operation in list(operations.values())[:3]:
        alike = [replay_on_mock(case_of(capture, [operation]), virtual=True) for capture in (plain, redacted)]
        one, other = (done.verdict for done in alike)
        assert [(c.standing, c.finding.code, c.finding.place) for c in one.compared] == [
            (c.standing, c.finding.code, c.finding.place) for c in other.compared
        ]
        assert [(e.method, e.status) for e in alike[0].exchanges] == [(e.method, e.status) for e in alike[1].exchanges]
        assert [(life.replayed_outcome, life.replayed_statuses) for life in one.lives] == [
            (life.replayed_outcome, life.replayed_statuses) for life in other.lives
        ]


QUEUE_TOKENS = [f"Aqk{n}3xNzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA=" for n in range(4)]
ORDER, REQUEST_UID = "5f2b8c1e-7d34-4a6b-9c0e-12ab34cd56ef", "c0ffee00-1234-4bcd-8ef0-9876543210ab"
ATTEMPT = "gid://shopify/CartCompletionAttempt/8f14e45fceea167a5a36dedd4bea2543"
MONITOR = "/subscriptions/0b1f6471-1bf0-4dda-aec3-cb9272f09590/providers/x/operations/7c9e6679-7425-40de-944b"


def told(at: float, method: str, path: str, status: int, sent: object, answered: object, **headers: str) -> Any:
    made = entry(method, path, status if status != 202 else 200, at, sent, answered)
    made["response"]["status"] = status
    made["response"]["headers"] += [{"name": name.replace("_", "-"), "value": v} for name, v in headers.items()]
    return made


def queue_poll(at: float, number: int, answer: dict[str, Any]) -> Any:
    query = "query poll($token: String!) { poll(token: $token) { __typename token pollAfter queueEtaSeconds } }"
    sent = {"query": query, "variables": {"token": QUEUE_TOKENS[number]}}
    return told(at, "POST", "/queue/poll", 200, sent, {"data": {"poll": {"token": QUEUE_TOKENS[number + 1], **answer}}})


def other_stories() -> Entries:
    """A queue, an order, a cart and a long-running operation, with tokens and ids as long as real ones."""
    held = "/admin/api/2024-04/checkouts/c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6.json"
    queued = {"X_Checkout_Queue": "true", "X_Checkout_Queue_Token": QUEUE_TOKENS[0]}
    again = told(9, "PUT", held, 200, {}, {"checkout": {}})
    again["request"]["headers"].append({"name": "Cookie", "value": f"_checkout_queue_token={QUEUE_TOKENS[2]}"})
    submit, poll = (f"query ($attemptId: ID!) {{ {what}(attemptId: $attemptId) {{ id }} }}" for what in CART)
    return [
        told(0, "PUT", held, 429, {}, None, **queued),
        queue_poll(1, 0, {"__typename": "PollContinue", "pollAfter": "2026-11-23T08:00:05Z", "queueEtaSeconds": 30}),
        queue_poll(3, 1, {"__typename": "PollComplete"}),
        again,
        told(20, "POST", "/posnext/orders/submit", 202, {"request_uid": REQUEST_UID}, {"orderId": ORDER}),
        told(21.5, "GET", f"/posnext/orders/{ORDER}", 202, None, {"status": "pending"}, Retry_After="1"),
        told(23, "GET", f"/posnext/orders/{ORDER}", 200, None, {"status": "placed", "request_uid": REQUEST_UID}),
        told(30, "POST", "/api/2026-04/graphql.json", 200, {"query": submit, "variables": {"attemptId": ATTEMPT}},
             {"data": {CART[0]: {"result": {"__typename": "SubmitSuccess", "attemptId": ATTEMPT}}}}),
        told(31, "POST", "/api/2026-04/graphql.json", 200, {"query": poll, "variables": {"attemptId": ATTEMPT}},
             {"data": {CART[1]: {"__typename": "CartCompletionProcessing", "pollDelay": 500}}}),
        told(32, "POST", "/api/2026-04/graphql.json", 200, {"query": poll, "variables": {"attemptId": ATTEMPT}},
             {"data": {CART[1]: {"__typename": "CartCompletionSuccess"}}}),
        told(40, "PUT", "/things/1", 201, {}, {}, Azure_AsyncOperation=f"https://jsmith.myshopify.com{MONITOR}?v=1"),
        told(41, "GET", f"{MONITOR}?v=1", 200, None, {"status": "InProgress"}, Retry_After="1"),
        told(42.1, "GET", f"{MONITOR}?v=1", 200, None, {"status": "Succeeded"}),
    ]  # fmt: skip


CART = ("cartSubmitForCompletion", "cartCompletionAttempt")
OPERATION = ("protocol", "kind", "outcome", "polls", "statuses", "duration_s", "lower_s", "upper_s", "exchanges")
WAIT = ("operation", "exchange", "next_exchange", "source", "asked_s", "waited_s", "verdict")
FINDING = ("code", "operation", "exchanges", "at")


def test_the_other_protocols_with_real_tokens(folder: Path) -> None:
    entries = other_stories()
    plain, redacted = (json.loads(analysed(opened(entries, folder, step))) for step in (bare, REDACTOR.redact))
    assert [(row["protocol"], row["outcome"]) for row in plain["operations"]] == [
        ("shopify-queue", "completed"),
        ("par-posnext", "completed"),
        ("shopify-cart", "completed"),
        ("http-async", "completed"),
    ]
    for table, names in (("operations", OPERATION), ("waits", WAIT), ("findings", FINDING)):
        told_plain, told_redacted = ([[row[name] for name in names] for row in one[table]] for one in (plain, redacted))
        assert told_redacted == told_plain, table
    secret = json.dumps(redacted)
    assert not [token for token in (*QUEUE_TOKENS, ORDER, REQUEST_UID) if token in secret]


def test_the_two_do_differ(folder: Path) -> None:
    """Else nothing above would prove anything."""
    entries, _ = shop_story()
    plain, redacted = (list(read_exchanges(opened(entries, folder, step))) for step in (bare, REDACTOR.redact))
    assert [e.path for e in plain] != [e.path for e in redacted]
    assert [e.client for e in plain] == [e.client for e in redacted]
    assert [e.response_body.digest for e in plain] == [e.response_body.digest for e in redacted]
