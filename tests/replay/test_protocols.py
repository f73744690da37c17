"""Each protocol's recording against a server that issues other tokens: what was found is found again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import stories
import stories_of_protocols

from polltape.capture.reading import Capture
from polltape.exchange import Exchange, Header, first_header
from polltape.measures.analysis import analyse
from polltape.mock.core import Mock
from polltape.mock.messages import Request, Response
from polltape.protocols import observe
from polltape.replay.bundle import read_bundle, write_bundle
from polltape.replay.case import case_of, in_memory
from polltape.replay.runner import replay_on_mock

ISSUED = re.compile(
    "|".join(
        (
            r"Q2hlY2tvdXQtMQ\d{10}",
            stories_of_protocols.ATTEMPT,
            r"ord-\w{12}",
            stories_of_protocols.MONITOR,
            stories_of_protocols.NAMED,
        )
    )
)
"""What the recorded servers have issued."""


def renamed(text: str) -> str:
    return ISSUED.sub(lambda match: sha256(match[0].encode()).hexdigest()[:24], text)


class OtherServer:
    """Answers each recorded request as recorded, once, but only where it speaks in the words issued here."""

    def __init__(self, story: Sequence[Exchange]) -> None:
        self._left = list(story)
        self.strays: list[str] = []

    def answer(self, request: Request, now: float) -> Response:
        for index, one in enumerate(self._left):
            if self._is_it(one, request):
                del self._left[index]
                headers = tuple(Header(name, renamed(value)) for name, value in one.response_headers)
                body = renamed((one.response_body.content or b"").decode())
                return Response(one.status or 0, "", headers, body.encode())
        self.strays.append(f"{request.method} {request.target} {request.body!r}")
        return Response(404, "", (), b"")

    def _is_it(self, one: Exchange, request: Request) -> bool:
        target = one.path if one.query is None else f"{one.path}?{one.query}"
        expected = [one.method, target, (one.request_body.content or b"").decode(), _token(one.request_headers)]
        heard = [request.method, request.target, request.body.decode(), _token(request.headers)]
        return [text and renamed(text) for text in expected] == heard


def _token(headers: Sequence[Header]) -> str | None:
    return first_header(headers, "X-Checkout-Queue-Token")


@pytest.fixture
def other_server(monkeypatch: pytest.MonkeyPatch) -> OtherServer:
    """In the mock's place."""
    server = OtherServer(stories_of_protocols.together())
    monkeypatch.setattr(Mock, "answer", lambda self, request, now: server.answer(request, now))
    return server


def capture() -> Capture:
    found: Capture = stories.capture(stories_of_protocols.together(), 1900)
    return found


def test_tokens_are_carried_and_verdicts_and_findings_come_again(other_server: OtherServer) -> None:
    """Queue tokens that change with each poll, attempts, orders, monitors: in path, query, headers and bodies."""
    case = case_of(capture())
    kinds = [(target.protocol, target.kind, target.outcome) for target in case.targets]
    assert kinds == stories_of_protocols.OPERATIONS
    done = replay_on_mock(case, virtual=True)
    assert other_server.strays == []
    assert done.verdict.reproduced
    assert {c.standing for c in done.verdict.compared} == {"again"}
    assert {c.finding.code for c in done.verdict.compared} == {"RA001", "CQ001", "PN001"}
    assert all(life.went_alike for life in done.verdict.lives)
    assert [(d.pair.place, d.changed) for d in done.differences.differing] == []
    recorded, replayed = case.measured(), analyse(in_memory(done.exchanges, [done.coverage]))
    assert list(replayed.waits["verdict"]) == list(recorded.waits["verdict"])


def test_the_mock_plays_every_protocol_so_that_it_all_happens_again() -> None:
    case = case_of(capture())
    done = replay_on_mock(case, virtual=True)
    assert done.verdict.reproduced
    assert {c.standing for c in done.verdict.compared} == {"again"}
    assert all(life.went_alike for life in done.verdict.lives)


def test_who_obeys_is_never_early_whoever_gives_the_hint(other_server: OtherServer) -> None:
    """Retry-After, pollAfter and pollDelay; a queue that has released is not polled again."""
    done = replay_on_mock(case_of(capture()), virtual=True, timing="obey")
    assert {c.standing for c in done.verdict.compared if c.finding.code == "RA001"} == {"missing"}


def test_a_bundle_holds_all_that_its_operation_needs(tmp_path: Path, other_server: OtherServer) -> None:
    """The queue's whole chain of tokens, to the request that was sent again, and nothing of the others."""
    file = tmp_path / "BUG.polltape"
    write_bundle(case_of(capture(), ["shopify-queue:"]), file)
    case = read_bundle(file)
    assert [e.client for e in case.exchanges] == ["client-0"] * 5
    done = replay_on_mock(case, virtual=True)
    assert other_server.strays == []
    assert done.verdict.reproduced
    assert done.verdict.named > 0


def test_what_a_point_of_sale_signed_wrongly_or_called_by_an_unknown_word_comes_again() -> None:
    """Nobody can tell from the redacted digest; what the recorder thought of it goes with it."""
    sent = {"request_uid": "order-12345", "location_id": "loc-001"}
    signed, path = [("x-pch-digest", "0" * 64)], "/posnext/orders/order-12345"
    story = [
        stories.exchange(0, "POST", "/posnext/order/submit", 202, sent=sent, got={**sent, "status": "pending"}),
        stories.exchange(1, "GET", path, 200, got={**sent, "status": "cooking"}, more=signed),
        stories.exchange(2, "GET", path, 200, got={**sent, "status": "placed"}, more=signed),
    ]
    story[1:] = [observe(replace(one, digest_ok=right)) for one, right in zip(story[1:], (True, False), strict=True)]
    done = replay_on_mock(case_of(stories.capture(story, 60)), virtual=True)
    found = [(c.standing, c.finding.code, c.finding.place) for c in done.verdict.compared]
    assert found == [("again", "PN001", "submit"), ("again", "PN002", "poll 2"), ("again", "PN004", "poll 1")]
    assert not done.differences.differing
    assert done.notes == ()


@pytest.mark.parametrize("eta_s", [4, 40])
@pytest.mark.parametrize("speed", [1, 10])
def test_what_a_queue_foretold_is_right_or_wrong_at_any_speed(eta_s: int, speed: float) -> None:
    """At speed 10 the body says 1 s for 4 s, and 4 s for 40 s: the exact time is told beside it."""
    story = stories_of_protocols.queue()
    told = json.loads(story[1].response_body.content or b"")
    told["data"]["poll"]["queueEtaSeconds"] = eta_s
    story[1] = observe(replace(story[1], response_body=stories.body(told), observations=()))
    done = replay_on_mock(case_of(stories.capture(story, 60)), virtual=True, speed=speed)
    standing = {c.finding.code: c.standing for c in done.verdict.compared}
    assert standing == {"CQ001": "again", "RA001": "again"} | ({"CQ005": "again"} if eta_s == 40 else {})


def test_polls_after_a_state_that_went_backwards_are_answered_as_recorded() -> None:
    """Succeeded, then Running again, then Succeeded again: each in its place on the operation's clock."""
    path = "/operations/7d3c1f2a-0000-4000-8000-123456789abc"
    story = [
        stories.exchange(0, "POST", "/jobs", 202, sent={}, wait="1", more=[("Operation-Location", path)]),
        stories.exchange(1.1, "GET", path, 200, got={"status": "Running"}, wait="1"),
        stories.exchange(2.3, "GET", path, 200, got={"status": "Succeeded"}),
        stories.exchange(3.4, "GET", path, 200, got={"status": "Running"}, wait="1"),
        stories.exchange(4.5, "GET", path, 200, got={"status": "Succeeded"}),
    ]
    done = replay_on_mock(case_of(stories.capture(story, 60)), virtual=True)
    assert {(c.standing, c.finding.code) for c in done.verdict.compared} == {("again", "OP004"), ("again", "OP006")}
    assert not done.differences.differing


def test_what_a_get_begins_is_played_for_each_client() -> None:
    """FHIR's bulk export: GET $export is answered 202 with the address of its monitor."""
    monitor = "/bulk/9f8e7d6c5b4a39281706"
    given = [("Content-Location", f"https://{stories.HOST}{monitor}")]
    story = [
        stories.exchange(0, "GET", "/fhir/$export", 202, wait="1", more=given),
        stories.exchange(0.3, "GET", monitor, 202, wait="1"),
        stories.exchange(1.5, "GET", monitor, 200, got={"output": []}),
        stories.exchange(5, "GET", "/fhir/$export", 200, got={"output": []}),
    ]
    case = case_of(stories.capture(story, 60))
    done = replay_on_mock(case, virtual=True)
    assert [(c.standing, c.finding.code) for c in done.verdict.compared] == [("again", "RA001")]
    assert not done.differences.differing
    mock = Mock.from_capture(case.capture(), operation=case.targets[0].operation_id)
    asks = Request("GET", "http", "127.0.0.1:1", "/fhir/$export")
    given_out = [mock.answer(asks, now).header("Content-Location") or "" for now in (0.0, 1.0)]
    assert len(set(given_out)) == 2
    paths = [url.removeprefix("http://127.0.0.1:1") for url in given_out]
    assert [mock.answer(Request("GET", "http", "127.0.0.1:1", path), 2.0).status for path in paths] == [200, 202]
