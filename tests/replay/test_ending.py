"""What a client that stays is told where the recorded one went away: for each protocol, an end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
import stories
import stories_of_protocols as protocols

from polltape.exchange import Exchange, Header
from polltape.measures.analysis import analyse
from polltape.mock.core import Request
from polltape.protocols import observe
from polltape.replay.case import case_of, in_memory
from polltape.replay.client import mock_for_clients
from polltape.replay.ending import with_ends

LOCATED = [("Location", "/v1/jobs/77")]
FHIR = [("Content-Location", "https://shop.example/bulk/9f8e7d6c5b4a39281706")]


JSON_API = [("Content-Location", "https://shop.example/photos/jobs/5234")]
SECOND_NS = 1_000_000_000


def by_our_recorder(story: Sequence[Exchange]) -> list[Exchange]:
    """With the monotonic clock that our recorder reads beside the wall's, observed."""

    def ns(instant: datetime | None) -> int | None:
        return None if instant is None else int((instant - story[0].request_started_at).total_seconds() * SECOND_NS)

    return [
        observe(
            replace(
                e,
                request_started_mono_ns=ns(e.request_started_at),
                request_ended_mono_ns=ns(e.request_ended_at),
                response_started_mono_ns=ns(e.response_started_at),
                response_ended_mono_ns=ns(e.response_ended_at),
            )
        )
        for e in story
    ]


def outcomes(story: Sequence[Exchange], until: float = 700) -> tuple[list[str], list[str]]:
    """As recorded, and with the end."""
    case = case_of(stories.capture(by_our_recorder(story), until))
    ended = analyse(in_memory(with_ends(case), case.coverage))
    return [target.outcome for target in case.targets], list(ended.operations["outcome"])


def created(status: int = 202) -> Exchange:
    return stories.exchange(0, "POST", stories.CREATE, status, sent={"checkout": {}}, got=stories.checkout(), wait="1")


def write(what: str, got: object) -> Exchange:
    return stories.exchange(0, "POST", stories.CHECKOUT.replace(".json", what), 202, sent={}, got=got, wait="1")


@pytest.mark.parametrize(
    "story",
    [
        pytest.param(stories.early()[:1], id="an update, never polled"),
        pytest.param(stories.early()[:3], id="an update"),
        pytest.param([created()], id="a create, never polled"),
        pytest.param([write("/complete.json", stories.checkout())], id="a complete"),
        pytest.param([write("/payments.json", {"payment": {"id": 7, "transaction": None}})], id="a payment"),
        pytest.param(protocols.queue()[:1], id="a queue, never polled"),
        pytest.param(protocols.queue()[:2], id="a queue"),
        pytest.param(protocols.queue()[:4], id="a queue that has let go"),
        pytest.param(protocols.cart()[:1], id="a cart, never polled"),
        pytest.param(protocols.cart()[:2], id="a cart"),
        pytest.param(protocols.par("order")[:1], id="an order, never polled"),
        pytest.param(protocols.par("order")[:2], id="an order"),
        pytest.param(protocols.azure()[:1], id="Azure, never polled"),
        pytest.param(protocols.azure()[:2], id="Azure"),
        pytest.param(protocols.aip()[:1], id="AIP-151, never polled"),
        pytest.param(protocols.aip()[:2], id="AIP-151"),
        pytest.param([stories.exchange(0, "POST", "/v1/x", 202, more=LOCATED)], id="Location, never polled"),
        pytest.param([stories.exchange(0, "POST", "/v1/x", 202, more=FHIR)], id="Content-Location, never polled"),
        pytest.param([stories.exchange(0, "POST", "/v1/x", 202, more=JSON_API)], id="JSON:API, never polled"),
        pytest.param(protocols.throttle()[:2], id="throttling"),
    ],
)
def test_every_operation_that_was_left_has_an_end(story: Sequence[Exchange]) -> None:
    before, after = outcomes(story)
    assert set(before) == {"abandoned"}
    assert set(after) == {"completed"}


def test_who_polls_on_is_told_not_yet_once_more_and_then_the_end() -> None:
    """The last wait asked for was 1 s: the end comes after two of them."""
    case = case_of(stories.capture(stories.early()[:1], 60))
    mock = mock_for_clients(case)
    token = "another0token0of0this0client0000"
    path = stories.CHECKOUT.replace(stories.TOKEN, token)
    write = Request("PUT", "http", "127.0.0.1:1", path, (), b'{"checkout": {"note": "mine"}}')
    assert mock.answer(write, 0.0).status == 202
    answers = [mock.answer(Request("GET", "http", "127.0.0.1:1", path), now) for now in (1.0, 1.9, 2.1)]
    assert [answer.status for answer in answers] == [202, 202, 200]
    assert answers[2].json()["checkout"]["token"] == token


def test_a_queue_that_has_let_go_lets_the_request_in() -> None:
    """The recorded client forgot it (CQ003): whoever sends it again gets a checkout, and may read it."""
    queued = stories.exchange(
        0.0,
        "POST",
        stories.CREATE,
        429,
        sent={"checkout": {}},
        more=[("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", "UWtuYXJmZWxWYXJzdGVpMA")],
    )
    released = protocols.queue_poll(2.0, "UWtuYXJmZWxWYXJzdGVpMA", {"__typename": "PollComplete", "token": "T" * 22})
    case = case_of(stories.capture([queued, released], 60))
    assert [found.code for found in case.findings] == ["CQ003"]
    mock = mock_for_clients(case)
    asks = Request("POST", "http", "127.0.0.1:1", stories.CREATE, (), b'{"checkout": {"email": "a@b.example"}}')
    first = mock.answer(asks, 0.0)
    assert first.status == 429
    token = Header("X-Checkout-Queue-Token", first.header("X-Checkout-Queue-Token") or "")
    again = mock.answer(replace(asks, headers=(token,)), 3.0)
    assert again.status == 201
    location = again.header("Location") or ""
    assert location.startswith("http://127.0.0.1:1/admin/")
    read = mock.answer(Request("GET", "http", "127.0.0.1:1", location.removeprefix("http://127.0.0.1:1")), 3.1)
    assert read.status == 200
    assert read.json()["checkout"]["token"] == again.json()["checkout"]["token"]


def test_what_was_stuck_stays_so() -> None:
    """Its server is the bug (OP001)."""
    case = case_of(stories.capture(stories.stuck(), 700))
    assert with_ends(case) == list(case.exchanges)


def test_what_has_ended_has_no_other_end() -> None:
    case = case_of(stories.capture(stories.early(), 60))
    assert with_ends(case) == list(case.exchanges)


def test_json_api_ends_with_a_303_to_what_was_sent() -> None:
    """While it runs its monitor answers 200, which is therefore no end."""
    monitor = "/photos/jobs/5234"
    sent = {"data": {"type": "photos"}}
    submit = stories.exchange(0, "POST", "/photos", 202, sent=sent, more=JSON_API, wait="1")
    poll = stories.exchange(1, "GET", monitor, 200, got={"data": {"attributes": {"status": "Pending"}}}, wait="1")
    case = case_of(stories.capture(by_our_recorder([submit, poll]), 60))
    assert [found.code for found in case.findings] == ["OP002"]
    mock = mock_for_clients(case)
    asks = Request("POST", "http", "127.0.0.1:1", "/photos", (), b'{"data": {"type": "photos"}}')
    accepted = mock.answer(asks, 0.0)
    where = (accepted.header("Content-Location") or "").removeprefix("http://127.0.0.1:1")
    polls = [mock.answer(Request("GET", "http", "127.0.0.1:1", where), at) for at in (1.0, 2.0, 4.0)]
    assert [answer.status for answer in polls] == [200, 200, 303]
    there = (polls[-1].header("Location") or "").removeprefix("http://127.0.0.1:1")
    assert there.startswith("/photos/")
    assert mock.answer(Request("GET", "http", "127.0.0.1:1", there), 4.1).json() == sent


def test_what_a_queue_let_in_has_an_end_although_the_bundle_is_about_the_queue() -> None:
    """A bundle of the wait ends with the request that was let in; what that began goes on beyond it."""
    token = "UWtuYXJmZWxWYXJzdGVpMA"
    queued = stories.exchange(
        0, "POST", stories.CREATE, 429, sent={}, more=[("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", token)]
    )
    released = protocols.queue_poll(2, token, {"__typename": "PollComplete", "token": "T" * 22})
    let_in = stories.exchange(3, "POST", stories.CREATE, 202, sent={}, got=stories.checkout(), wait="1")
    let_in = replace(let_in, request_headers=(*let_in.request_headers, Header("X-Checkout-Queue-Token", "T" * 22)))
    capture = stories.capture(by_our_recorder([queued, released, let_in]), 4)
    (wait,) = (name for name in analyse(capture).operations["id"] if name.startswith("shopify-queue"))
    case = case_of(capture, [wait])
    mock = mock_for_clients(case)
    asks = Request("POST", "http", "127.0.0.1:1", stories.CREATE, (), b"{}")
    entered = mock.answer(asks, 0).header("X-Checkout-Queue-Token") or ""
    begun = mock.answer(replace(asks, headers=(Header("X-Checkout-Queue-Token", entered),)), 5)
    assert begun.status == 202
    path = stories.CREATE.replace(".json", f"/{begun.json()['checkout']['token']}.json")
    assert [mock.answer(Request("GET", "http", "127.0.0.1:1", path), at).status for at in (6, 8)] == [202, 200]
