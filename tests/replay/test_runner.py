"""Whole replays against the mock in virtual time: what was found is found again, and twice the same."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import stories
import stories_of_protocols as protocols

from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import open_capture, read_exchanges
from polltape.cli import main
from polltape.exchange import Exchange, Header
from polltape.mock.core import Mock
from polltape.mock.messages import Request, Response
from polltape.protocols import observe
from polltape.replay.case import Case, case_of
from polltape.replay.plan import Timing
from polltape.replay.runner import replay_on_mock
from polltape.replay.verdict import Verdict


def case_from(story: list[Exchange], until: float = 120) -> Case:
    return case_of(stories.capture(story, until))


def standings(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [(c.standing, c.finding.code, c.finding.place) for c in verdict.compared]


@pytest.mark.parametrize(
    ("story", "found"),
    [
        (stories.early(), [("again", "RA001", "poll 1"), ("again", "RA001", "poll 2")]),
        (stories.twice(), [("again", "OP005", "join 1")]),
        (stories.stuck(), [("again", "OP001", "operation"), ("again", "OP002", "operation")]),
        ([stories.put(0, wait="1")], [("again", "OP003", "operation")]),
        ([stories.put(0), stories.poll(1, 200)], [("again", "RA003", "submit")]),
        ([stories.put(0, wait="2.0"), stories.poll(2.1, 200)], [("again", "RA004", "submit")]),
        ([stories.put(0, wait="1"), stories.poll(9, 200)], [("again", "RA006", "poll 1")]),
        (
            [stories.put(0, wait="1"), stories.poll(1.2, 200), stories.poll(4.5, wait="1"), stories.poll(9, 200)],
            [("again", "OP006", "beside it")],
        ),
    ],
    ids=["early", "joined", "stuck", "taken for the answer", "no hint", "fraction", "late", "backwards"],
)
def test_a_bug_is_reproduced_in_virtual_time(story: list[Exchange], found: list[tuple[str, str, str]]) -> None:
    done = replay_on_mock(case_from(story), virtual=True)
    assert standings(done.verdict) == found
    assert done.verdict.reproduced
    life = done.verdict.lives[0]
    assert (life.replayed_outcome, life.replayed_statuses) == (life.recorded_outcome, life.recorded_statuses)


def test_a_slow_server_is_replayed_as_slow() -> None:
    """0.9 s after the answer is too early, though 1.3 s after the request; what is seen when depends on it, too."""
    story = [stories.put(0, took=0.4, wait="1"), stories.poll(1.3, took=0.5, wait="1"), stories.poll(2.9, 200)]
    done = replay_on_mock(case_from(story), virtual=True)
    assert standings(done.verdict) == [("again", "RA001", "poll 1")]
    assert done.verdict.lives[0].replayed_statuses == (202, 202, 200)


def test_a_virtual_replay_is_twice_the_same() -> None:
    case = case_from(stories.early())
    assert replay_on_mock(case, virtual=True) == replay_on_mock(case, virtual=True)


def test_the_token_that_the_mock_issues_is_carried_on() -> None:
    case = case_of(stories.capture(stories.created(), 1900), ["3cab"])
    done = replay_on_mock(case, virtual=True)
    assert done.verdict.reproduced
    tokens = {e.path for e in done.exchanges[1:]}
    assert len(tokens) == 1
    assert stories.CHECKOUT not in tokens
    issued = done.exchanges[0].observations[0].issued
    assert all(e.observations[0].keys == issued for e in done.exchanges[1:])


def test_equal_writes_stay_equal_and_different_ones_different() -> None:
    """Redaction can make two bodies look alike: their digests tell them apart, in the replay as well."""
    body = replace(stories.body({"checkout": {"note": "x"}}), digest="0" * 32)
    other = replace(stories.put(1.1, wait="1"), request_body=body)
    case = case_of(stories.capture([stories.put(0, wait="1"), other, stories.poll(2.3, 200)], 60))
    assert case.targets[0].outcome == "superseded"
    done = replay_on_mock(case, virtual=True)
    assert done.exchanges[1].request_body.digest == "0" * 32


def test_who_obeys_what_the_server_says_now_does_not_poll_early() -> None:
    done = replay_on_mock(case_from(stories.early()), timing="obey", virtual=True)
    assert standings(done.verdict) == [("missing", "RA001", "poll 1"), ("missing", "RA001", "poll 2")]
    assert not done.verdict.reproduced
    assert done.verdict.lives[0].replayed_statuses == (202, 202, 200)


def test_as_soon_as_possible_polls_far_too_early() -> None:
    done = replay_on_mock(case_from(stories.early()), timing="asap", virtual=True)
    assert [c.finding.code for c in done.verdict.compared if c.standing == "new"].count("RA002") == 3


@pytest.mark.parametrize("speed", [0.1, 10, 1000])
def test_at_any_speed_the_measures_are_those_of_the_recording(speed: float) -> None:
    done = replay_on_mock(case_from(stories.early()), speed=speed, virtual=True)
    assert done.verdict.reproduced
    assert [e.instruction.asked_s for e in done.exchanges if e.instruction] == [1.0, 1.0, 1.0]
    last = done.exchanges[-1].request_started_at - done.exchanges[0].request_started_at
    assert last.total_seconds() == pytest.approx(1.9, abs=1e-5)


@cache
def case_waiting(waited: float, took: float) -> Case:
    """A client that waits so long before each of three polls, where it was asked for a second."""
    story, at = [stories.put(0, took=took, wait="1")], took
    for status in (202, 202, 200):
        story.append(stories.poll(round(at + waited, 6), status, took=0.0002, wait="1" if status == 202 else None))
        at += waited + 0.0002
    return case_from(story)


@pytest.mark.parametrize("speed", [0.3, 1, 7])
@pytest.mark.parametrize("took", [0.0, 0.0003, 0.5])
@pytest.mark.parametrize(
    ("waited", "code"),
    [(0.099999, "RA002"), (0.1, "RA001"), (0.989999, "RA001"), (0.99, None), (2.0, None), (2.000001, "RA006")],
)
def test_margins_are_kept_to_the_microsecond(waited: float, code: str | None, took: float, speed: float) -> None:
    done = replay_on_mock(case_waiting(waited, took), speed=speed, virtual=True)
    assert standings(done.verdict) == ([] if code is None else [("again", code, f"poll {n}") for n in (1, 2, 3)])
    assert not done.differences.differing


def test_a_submit_whose_body_is_slow_is_judged_as_recorded() -> None:
    """0.6 s after its end is not too early where its beginning was 1.1 s ago."""
    slow = stories.put(0, took=0.6, wait="1")
    slow = replace(slow, response_started_at=stories.instant(0.1))
    done = replay_on_mock(case_from([slow, stories.poll(1.2, 200)]), virtual=True)
    assert standings(done.verdict) == []


def test_not_reproduced_when_the_server_does_not_do_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock that is done at once: nobody can come back too early."""

    def done_at_once(self: Mock, request: Request, now: float) -> Response:
        return Response(200, "OK", (), b"{}")

    case = case_from(stories.early())
    monkeypatch.setattr(Mock, "answer", done_at_once)
    done = replay_on_mock(case, virtual=True)
    assert not done.verdict.reproduced
    assert [c.standing for c in done.verdict.compared] == ["missing", "missing"]
    assert done.verdict.lives[0].replayed_id is None


def test_not_reproduced_when_it_happens_at_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_from(stories.early())
    elsewhere = replace(case, findings=(replace(case.findings[0], place="poll 9"),))
    done = replay_on_mock(elsewhere, virtual=True)
    assert not done.verdict.reproduced
    assert ("missing", "RA001", "poll 9") in standings(done.verdict)
    assert ("new", "RA001", "poll 1") in standings(done.verdict)


def test_without_findings_there_is_nothing_to_miss() -> None:
    done = replay_on_mock(case_from(stories.polite()), virtual=True)
    assert done.verdict.reproduced
    assert done.verdict.named == 0


def test_a_recording_that_was_cut_off_is_cut_off_again() -> None:
    story = [stories.put(0, wait="1"), stories.poll(1.1, wait="1")]
    assert replay_on_mock(case_from(story, 5), virtual=True).verdict.lives[0].replayed_outcome == "pending"
    assert replay_on_mock(case_from(story, 50), virtual=True).verdict.lives[0].replayed_outcome == "abandoned"


def test_what_comes_back_is_a_capture_like_any_other(tmp_path: Path) -> None:
    done = replay_on_mock(case_from(stories.early()), virtual=True)
    done.write(tmp_path)
    capture = open_capture([tmp_path], redact=lambda e: e, observe=lambda e: e)
    assert tuple(read_exchanges(capture)) == done.exchanges
    assert capture.coverage == (done.coverage,)


def test_a_request_body_that_was_not_kept_is_told() -> None:
    lacking = replace(stories.put(0, wait="1"), request_body=replace(stories.body(None), not_stored="too-large"))
    done = replay_on_mock(case_from([lacking, stories.poll(1.1, 200)]), virtual=True)
    assert done.notes == (
        "request bodies that are not whole in the recording: 1; "
        "the first, PUT /admin/api/{version}/checkouts/{token}.json: too-large",
    )


def test_all_operations_of_a_capture_are_replayed_side_by_side() -> None:
    other = [
        replace(e, path=e.path.replace(stories.TOKEN, "f" * 32), exchange_id=f"{e.exchange_id[:-1]}y", observations=())
        for e in stories.early()
    ]
    case = case_from([*stories.early(), *(stories.moved(observe(e), 0.2) for e in other)])
    assert len(case.targets) == 2
    done = replay_on_mock(case, virtual=True)
    assert [c.standing for c in done.verdict.compared] == ["again"] * 4
    span = done.exchanges[-1].last_instant - done.exchanges[0].request_started_at
    assert span.total_seconds() == pytest.approx(2.1, abs=0.02)


def test_ten_minutes_replay_twice_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits: the mock's clock and the replayer's are one, and it is not the computer's."""
    polls = [stories.poll(5.2 * n, 202 if n < 115 else 200, wait="5") for n in range(1, 116)]
    write_exchanges(tmp_path / "captures", "long", [stories.put(0.0, wait="5"), *polls], [stories.coverage(700)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("somebody waits"))
    told = []
    for name in ("one", "two"):
        assert main(["replay", "captures", "--virtual", "--exact", "--format", "json", "--record", name]) == 0
        files = sorted((tmp_path / name).rglob("*.parquet"))
        told.append((capsys.readouterr().out, [(f.relative_to(tmp_path / name), f.read_bytes()) for f in files]))
    assert told[0] == told[1]
    assert len(told[0][1]) == 1
    assert json.loads(told[0][0])["operations"][0]["replayed"]["statuses"] == [202] * 115 + [200]


def test_an_instant_is_as_far_ahead_of_its_date_as_it_was() -> None:
    """Real time: a Date has no fractions, so what an instant asks for depends on the part of a second."""
    token = "Q2hlY2tvdXQtMQ0000000001"
    queued = stories.exchange(
        0.7, "POST", stories.CREATE, 429, sent={}, more=[("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", token)]
    )
    told = {"__typename": "PollContinue", "token": token, "pollAfter": "2026-11-23T08:00:02.300Z"}
    poll = protocols.queue_poll(0.8, token, told)
    dated = (*poll.response_headers, Header("Date", "Mon, 23 Nov 2026 08:00:00 GMT"))
    case = case_from([queued, observe(replace(poll, response_headers=dated))])
    recorded, replayed = case.exchanges[1].instruction, replay_on_mock(case).exchanges[1].instruction
    assert recorded is not None
    assert replayed is not None
    assert recorded.asked_s == 2.3
    assert replayed.asked_s == pytest.approx(2.3, abs=0.15)


def test_what_a_busy_computer_misses_leads_to_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Mock, request: Request, now: float) -> Response:
        answer = answers(self, request, now)
        return replace(answer, headers=tuple(h for h in answer.headers if h.name != "Retry-After"))

    answers = Mock.answer
    monkeypatch.setattr(Mock, "answer", late)
    case = case_from([stories.put(0, wait="1"), stories.poll(0.2, 200)], until=40)
    assert any("--virtual" in note for note in replay_on_mock(case).notes)
    assert replay_on_mock(case, virtual=True).notes == ()


def throttled_payment() -> list[Exchange]:
    """A checkout, and its payment refused thrice with 429: throttled by its path, no key links it to the checkout."""
    path = f"/admin/api/2020-10/checkouts/{stories.TOKEN}/payments.json"
    pay = [
        stories.exchange(at, "POST", path, 429, wait="1", sent={"payment": {"amount": "1"}}) for at in (0.4, 0.7, 1.2)
    ]
    return [stories.exchange(0, "POST", stories.CREATE, 201, sent={}, got=stories.checkout()), *pay]


@pytest.mark.parametrize("timing", ["recorded", "asap"])
def test_over_sockets_a_request_waits_for_the_answer_that_gave_it_its_words(timing: Timing) -> None:
    done = replay_on_mock(case_from(throttled_payment()), timing=timing)
    first, *others = done.exchanges
    token = json.loads(first.response_body.content or b"")["checkout"]["token"]
    assert token != stories.TOKEN
    assert {e.path for e in others} == {f"/admin/api/2020-10/checkouts/{token}/payments.json"}
    assert {life.replayed_statuses for life in done.verdict.lives} == {(429, 429, 429)}
    assert timing == "recorded" or not done.notes  # who polls otherwise on purpose blames no computer
