"""The mock as a whole: its own pages, its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polltape.errors import UsageError
from polltape.mock.core import Mock, Request

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
A, MINE = "a1" * 16, "d4" * 16
Ask = Callable[..., Request]


def path(token: str) -> str:
    return f"{ADMIN}/{token}.json"


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(tape: Any, speed: float) -> None:
    tape.update(A, 10.0, 3.0)
    with pytest.raises(UsageError, match="speed"):
        Mock.from_capture(tape.capture, speed=speed)


def test_the_mocks_own_pages(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture, speed=2)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    page = mock.answer(ask("GET", "/__polltape/advance?seconds=1"), NOW).json()
    assert page["served"] == 1
    assert page["operations"][0]["elapsed_s"] == 2.0
    assert page["operations"][0]["completes_s"] == pytest.approx(3.1)
    assert mock.answer(ask("GET", path(MINE)), NOW + 0.6).status == 200
    bad_ones = ("advance", "advance?seconds=-1", "advance?seconds=nan", "advance?seconds=x", "advance?seconds=1e9")
    for bad in bad_ones:
        assert mock.answer(ask("GET", f"/__polltape/{bad}"), NOW).status == 400
    assert mock.answer(ask("GET", "/__polltape/nonsense"), NOW).status == 404
    page = mock.answer(ask("GET", "/__polltape/reset"), NOW).json()
    assert (page["served"], page["clock"], page["operations"]) == (0, 0.0, [])


def test_every_answer_has_the_date_of_the_mocks_clock(ask: Ask) -> None:
    mock = Mock.from_scenario("shopify-checkout")
    mock.advance(3600)
    assert mock.answer(ask("GET", "/x"), NOW).header("Date") == "Fri, 15 Jan 2027 09:00:00 GMT"
    assert mock.answer(ask("GET", "/__polltape"), NOW).header("Date") == "Fri, 15 Jan 2027 09:00:00 GMT"


def test_the_last_unmatched_requests_are_kept_and_all_are_counted(ask: Ask) -> None:
    mock = Mock.from_scenario("shopify-checkout")
    for number in range(60):
        mock.answer(ask("GET", f"/x/{number}"), NOW)
    page = mock.status(NOW)
    assert (page["served"], page["unmatched"], len(page["last_unmatched"])) == (60, 60, 50)
    assert page["last_unmatched"][-1] == {"method": "GET", "target": "/x/59", "nearest": []}


def test_what_nothing_matched_is_kept_with_the_nearest_recording(tape: Any, ask: Ask) -> None:
    tape.add("GET", "/api/orders/17", 200, 1.0)
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("POST", "/api/orders/17"), NOW)
    (stray,) = mock.status(NOW)["last_unmatched"]
    assert stray["nearest"][0]["recorded"].startswith("GET /api/orders/")
    assert stray["nearest"][0]["differs"] == ["method: asked POST, recorded GET"]


def test_a_browser_gets_a_page_that_escapes_what_it_shows(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture, speed=2)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    for _ in range(2):
        mock.answer(ask("GET", "/<script>alert(1)</script>"), NOW)
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = mock.answer(ask("GET", "/__polltape", headers=browser), NOW + 0.5)
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert f"<code>{MINE}</code>" in page
    assert '<td class="number">1.0</td>' in page  # half a second at speed 2
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert page.count("<code>GET /&lt;script") == 1
    moved = mock.answer(ask("GET", "/__polltape/advance?seconds=60", headers=browser), NOW)
    assert (moved.status, moved.header("Location")) == (303, "/__polltape")
    assert "ended" in mock.answer(ask("GET", "/__polltape", headers=browser), NOW).body.decode()


def test_a_page_of_an_idle_mock_and_of_one_that_never_ends(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, None, polls=(1.0,))
    mock = Mock.from_capture(tape.capture)
    browser = {"Accept": "text/html"}
    assert "nobody has submitted anything" in mock.answer(ask("GET", "/__polltape", headers=browser), NOW).body.decode()
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    assert ">never<" in mock.answer(ask("GET", "/__polltape", headers=browser), NOW).body.decode()


# ------------------------------------------------------------------------------------- by count, recorded latency


def test_by_count_the_polls_move_it_on_whatever_the_time(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 30.0, polls=(1.0, 2.0))
    mock = Mock.from_capture(tape.capture, by="count")
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    answers = [mock.answer(ask("GET", path(MINE)), NOW) for _ in range(4)]
    assert [answer.status for answer in answers] == [202, 202, 200, 200]
    assert [answer.json()["checkout"]["note"] for answer in answers] == ["poll 1", "poll 2", "final", "final"]
    assert mock.status(NOW)["operations"][0]["state"] == "ended"
    mock.reset()
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    assert mock.answer(ask("GET", path(MINE)), NOW + 1000).status == 202


def test_by_count_other_traffic_is_answered_in_turn(tape: Any, ask: Ask) -> None:
    for number, status in enumerate((404, 200)):
        tape.add("GET", "/api/orders/17", status, float(number))
    mock = Mock.from_capture(tape.capture, by="count")
    assert [mock.answer(ask("GET", "/api/orders/17"), NOW).status for _ in range(3)] == [404, 200, 200]


def test_recorded_latency_is_played_at_the_mocks_speed(tape: Any, ask: Ask) -> None:
    tape.add("GET", "/api/orders/17", 200, 1.0, took=0.8)
    for latency, hold_s in (("none", 0.0), ("all", 0.4)):
        mock = Mock.from_capture(tape.capture, latency=latency, speed=2)
        assert mock.answer(ask("GET", "/api/orders/17"), NOW).hold_s == pytest.approx(hold_s)


@pytest.mark.parametrize(("latency", "held"), [("submits", [0.05, 0.0]), ("all", [0.05, 0.05])])
def test_an_operations_clock_starts_when_its_submit_has_been_answered(
    latency: Any, held: list[float], tape: Any, ask: Ask
) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture, latency=latency, speed=2)
    submit = mock.answer(ask("PUT", path(MINE), {}), NOW)
    poll = mock.answer(ask("GET", path(MINE)), NOW + 0.05)
    assert [submit.hold_s, poll.hold_s] == pytest.approx(held)
    assert mock.status(NOW + 0.05)["operations"][0]["elapsed_s"] == pytest.approx(0.0, abs=1e-5)
    assert mock.answer(ask("GET", path(MINE)), NOW + 0.05 + 1.49).status == 202
    assert mock.answer(ask("GET", path(MINE)), NOW + 0.05 + 1.5).status == 200


def test_a_head_is_answered_as_its_get_would_be(tape: Any, ask: Ask) -> None:
    """By a recording and by scenarios; whoever serves the mock leaves the body out."""
    tape.update(A, 10.0, 3.0)
    recorded = Mock.from_capture(tape.capture)
    recorded.answer(ask("PUT", path(MINE), {}), NOW)
    shop = Mock.from_scenario("shopify-checkout")
    made = shop.answer(ask("POST", f"{ADMIN}.json", {"checkout": {}}), NOW).json()["checkout"]["token"]
    for mock, token, late in ((recorded, MINE, 3.2), (shop, made, 2.0)):
        assert mock.answer(ask("HEAD", path(token)), NOW + 0.1).status == 202
        assert mock.answer(ask("HEAD", path(token)), NOW + late).status == 200
        assert mock.status(NOW)["unmatched"] == 0
        assert mock.answer(ask("HEAD", "/nowhere"), NOW).status == 404
        assert mock.status(NOW)["last_unmatched"][-1]["method"] == "HEAD"
