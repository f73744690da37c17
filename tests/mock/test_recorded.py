"""A capture played by elapsed time: binding, tokens, clocks, what no recording fits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.mock.core import Mock, Request
from polltape.mock.recorded import Recorded
from polltape.mock.recording import Recording

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
A, B, C = "a1" * 16, "b2" * 16, "c3" * 16
MINE, YOURS = "d4" * 16, "e5" * 16
Ask = Callable[..., Request]


def path(token: str) -> str:
    return f"{ADMIN}/{token}.json"


@pytest.mark.parametrize(
    ("complete_at", "elapsed", "status", "note"),
    [
        ("upper", 0.0, 202, "poll 1"),
        ("upper", 0.99, 202, "poll 1"),
        ("upper", 1.99, 202, "poll 1"),
        ("upper", 2.0, 202, "poll 2"),
        ("upper", 2.999, 202, "poll 2"),
        ("upper", 3.1, 200, "final"),
        ("upper", 99.0, 200, "final"),
        ("lower", 1.999, 202, "poll 1"),
        ("lower", 2.0, 200, "final"),
        ("middle", 2.549, 202, "poll 2"),
        ("middle", 2.55, 200, "final"),
    ],
)
def test_a_poll_gets_what_was_recorded_by_that_time(
    tape: Any, ask: Ask, complete_at: Any, elapsed: float, status: int, note: str
) -> None:
    tape.update(A, 10.0, 3.0, polls=(1.0, 2.0))
    mock = Mock.from_capture(tape.capture, complete_at=complete_at)
    assert mock.answer(ask("PUT", path(MINE), {}), NOW).status == 202
    answer = mock.answer(ask("GET", path(MINE)), NOW + elapsed)
    assert (answer.status, answer.json()["checkout"]["note"], answer.hold_s) == (status, note, 0)


def test_a_poll_that_comes_while_the_ending_one_was_under_way_is_held_until_the_end(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0, polls=(1.0, 2.0), took=0.5)
    mock = Mock.from_capture(tape.capture, speed=2)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    held = mock.answer(ask("GET", path(MINE)), NOW + 1.6)  # 3.2 s of the recording, which ended at 3.5 s
    assert held.status == 200
    assert held.hold_s == pytest.approx(0.15)


@pytest.fixture(scope="module")
def three_seconds(new_tape: Callable[[], Any]) -> Recording:
    """One operation of 3 s; made once, since hypothesis asks it many times."""
    tape = new_tape()
    tape.update(A, 10.0, 3.0, polls=(0.5, 1.5, 2.5), took=0.0)
    return Recording.of(tape.capture, complete_at="upper", pinned=None)


@settings(max_examples=200, deadline=None)
@given(
    polls=st.lists(st.floats(0, 9, allow_nan=False), max_size=12).map(sorted),
    speed=st.sampled_from([0.5, 1.0, 4.0]),
)
def test_however_often_one_polls_the_end_comes_when_its_time_has_come(
    three_seconds: Recording, ask: Ask, polls: list[float], speed: float
) -> None:
    mock = Mock(Recorded(three_seconds, speed=speed))
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    for elapsed in polls:
        answer = mock.answer(ask("GET", path(MINE)), NOW + elapsed)
        assert answer.status == (200 if round((NOW + elapsed - NOW) * speed, 6) >= 3.0 else 202)


def test_two_keys_have_two_clocks(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    mock.answer(ask("PUT", path(YOURS), {}), NOW + 2)
    assert mock.answer(ask("GET", path(MINE)), NOW + 3.1).status == 200
    assert mock.answer(ask("GET", path(YOURS)), NOW + 3.1).status == 202
    assert mock.answer(ask("GET", path(YOURS)), NOW + 5.1).status == 200


def test_the_nth_new_key_gets_the_nth_operation_and_then_the_last_again(tape: Any, ask: Ask) -> None:
    tape.update(B, 20.0, 5.0)
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    ends = []
    for number in range(3):
        token = f"{number}f" * 16
        mock.answer(ask("PUT", path(token), {}), NOW)
        ends.append([mock.answer(ask("GET", path(token)), NOW + t).status for t in (2.9, 3.1, 4.9, 5.1)])
    assert ends == [[202, 200, 200, 200], [202, 202, 202, 200], [202, 202, 202, 200]]


def test_a_second_write_to_a_key_gets_its_second_recorded_operation(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 1.0)
    tape.update(A, 20.0, 4.0)
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("PUT", path(MINE), {"checkout": {"note": "1"}}), NOW)
    assert mock.answer(ask("GET", path(MINE)), NOW + 1.1).status == 200
    mock.answer(ask("PUT", path(MINE), {"checkout": {"note": "2"}}), NOW + 2)
    assert [mock.answer(ask("GET", path(MINE)), NOW + 2 + t).status for t in (1.1, 3.9, 4.1)] == [202, 202, 200]


def test_the_same_write_again_does_not_start_the_clock_anew(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    for at in (0.0, 1.0, 2.0):
        assert mock.answer(ask("PUT", path(MINE), {"checkout": {}}), NOW + at).status == 202
    assert mock.answer(ask("GET", path(MINE)), NOW + 3.1).status == 200


def test_a_write_is_the_same_whatever_its_query(tape: Any, ask: Ask) -> None:
    tape.update(A, 0.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("PUT", path(MINE), {"n": 1}), NOW)
    assert mock.answer(ask("PUT", path(MINE) + "?attempt=2", {"n": 1}), NOW + 2.0).status == 202
    assert mock.answer(ask("GET", path(MINE)), NOW + 3.5).status == 200


def test_the_same_write_again_may_be_what_ends_it(tape: Any, ask: Ask) -> None:
    for at, status in ((1.0, 202), (3.0, 200)):
        tape.add("PUT", path(A), status, at, sent={})
    mock = Mock.from_capture(tape.capture)
    answers = [mock.answer(ask("PUT", path(MINE), {}), NOW + second) for second in (0.0, 0.5, 1.95)]
    assert [answer.status for answer in answers] == [202, 202, 200]
    assert [answer.hold_s for answer in answers] == pytest.approx([0.0, 0.0, 0.05])


def test_one_operation_can_be_pinned(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 1.0)
    pinned = tape.update(B, 20.0, 5.0)
    mock = Mock.from_capture(tape.capture, operation=pinned)
    for token in (MINE, YOURS):
        mock.answer(ask("PUT", path(token), {}), NOW)
        assert [mock.answer(ask("GET", path(token)), NOW + t).status for t in (1.1, 5.1)] == [202, 200]


def test_what_goes_before_a_pinned_operation_is_of_its_own_thread(tape: Any, ask: Ask) -> None:
    for token, at, ends in ((A, 0.0, 1.0), (B, 20.0, 4.0)):
        tape.add("POST", f"{ADMIN}.json", 202, at - 0.1, body={"checkout": {"token": token}})
        tape.add("GET", path(token), 200, at + ends, body={"checkout": {"token": token}})
    tape.update(A, 50.0, 1.0)
    pinned = tape.update(B, 60.0, 2.0)
    mock = Mock.from_capture(tape.capture, operation=pinned)
    token = mock.answer(ask("POST", f"{ADMIN}.json", {}), NOW).json()["checkout"]["token"]
    assert [mock.answer(ask("GET", path(token)), NOW + t).status for t in (1.2, 4.2)] == [202, 200]
    mock.answer(ask("PUT", path(token), {}), NOW + 9)
    assert [mock.answer(ask("GET", path(token)), NOW + 9 + t).status for t in (1.2, 2.2)] == [202, 200]


def test_a_checkout_that_was_created_at_once_is_read_as_recorded(tape: Any, ask: Ask) -> None:
    tape.add("GET", path(B), 202, 0.0, body={"checkout": {"token": B, "note": "another"}})
    tape.add("POST", f"{ADMIN}.json", 201, 1.0, body={"checkout": {"token": A}})
    tape.add("GET", path(A), 202, 2.0, body={"checkout": {"token": A, "note": "its own"}})
    mock = Mock.from_capture(tape.capture)
    token = mock.answer(ask("POST", f"{ADMIN}.json", {}), NOW).json()["checkout"]["token"]
    assert token not in (A, B)
    shown = mock.answer(ask("GET", path(token)), NOW).json()["checkout"]
    assert (shown["token"], shown["note"]) == (token, "its own")


def test_an_operation_that_never_ended_stays_pending_for_ever(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, None, polls=(1.0, 2.0))
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    answer = mock.answer(ask("GET", path(MINE)), NOW + 1e6)
    assert (answer.status, answer.json()["checkout"]["note"]) == (202, "poll 2")
    assert mock.status(NOW)["operations"][0]["completes_s"] is None


def test_an_error_while_polling_comes_back_for_as_long_as_it_asked_to_wait(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 9.0, polls=(1.0,))
    tape.add("GET", path(A), 429, 12.0, headers={"Retry-After": "2.0"}, body={})
    mock = Mock.from_capture(tape.capture)
    mock.answer(ask("PUT", path(MINE), {}), NOW)
    got = [mock.answer(ask("GET", path(MINE)), NOW + t).status for t in (1.9, 2.0, 3.9, 4.0, 9.2)]
    assert got == [202, 429, 429, 202, 200]


# ------------------------------------------------------------------------------------------ own words


def test_answers_speak_the_clients_token_and_lead_to_the_mock(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    answer = mock.answer(ask("PUT", path(MINE), {}), NOW)
    assert A.encode() not in answer.body
    assert answer.header("Location") == f"http://127.0.0.1:9{path(MINE)}"
    shown = answer.json()["checkout"]
    assert (shown["token"], shown["web_url"]) == (MINE, f"http://127.0.0.1:9/548380009/checkouts/{MINE}")
    assert shown["payment_url"] == "http://unmatched.invalid/sessions"


def test_a_create_mints_tokens_of_the_same_alphabet_and_each_its_own(tape: Any, ask: Ask) -> None:
    body = {"checkout": {"token": A}}
    tape.add("POST", f"{ADMIN}.json", 202, 0.0, body=body, headers={"Location": f"https://shop.example{path(A)}"})
    tape.add("GET", path(A), 200, 2.1, body=body)
    mock = Mock.from_capture(tape.capture)
    tokens = []
    for at in (0.0, 1.0):
        answer = mock.answer(ask("POST", f"{ADMIN}.json", {"checkout": {}}), NOW + at)
        tokens.append(answer.json()["checkout"]["token"])
        assert answer.header("Location") == f"http://127.0.0.1:9{path(tokens[-1])}"
    assert len({A, *tokens}) == 3
    assert all(len(token) == 32 and set(token) <= set("0123456789abcdef") for token in tokens)
    got = [mock.answer(ask("GET", path(token)), NOW + 2.3) for token in tokens]
    assert [answer.status for answer in got] == [200, 202]
    assert [answer.json()["checkout"]["token"] for answer in got] == tokens


def test_what_was_created_goes_on_in_the_thread_it_was_bound_to(tape: Any, ask: Ask) -> None:
    tape.update(B, 1.0, 9.0)  # an earlier update, of another checkout
    tape.add("POST", f"{ADMIN}.json", 202, 20.0, body={"checkout": {"token": A}})
    tape.add("GET", path(A), 200, 21.0, body={"checkout": {"token": A}})
    tape.update(A, 30.0, 2.0)
    mock = Mock.from_capture(tape.capture)
    token = mock.answer(ask("POST", f"{ADMIN}.json", {}), NOW).json()["checkout"]["token"]
    mock.answer(ask("PUT", path(token), {}), NOW + 5)
    assert [mock.answer(ask("GET", path(token)), NOW + 5 + t).status for t in (1.9, 2.2)] == [202, 200]


def test_a_payment_gets_an_id_of_its_own_and_its_own_clock(tape: Any, ask: Ask) -> None:
    body: dict[str, Any] = {"payment": {"id": 25428999, "transaction": None, "checkout": {"token": A}}}
    tape.add("POST", f"{ADMIN}/{A}/payments.json", 202, 0.0, body=body)
    done = {"payment": {"id": 25428999, "transaction": {"status": "success"}}}
    tape.add("GET", f"{ADMIN}/{A}/payments/25428999.json", 200, 3.1, body=done)
    mock = Mock.from_capture(tape.capture)
    ids = []
    for token in (MINE, YOURS):
        shown = mock.answer(ask("POST", f"{ADMIN}/{token}/payments.json", {}), NOW).json()["payment"]
        assert shown["checkout"]["token"] == token
        ids.append(shown["id"])
    assert len({25428999, *ids}) == 3
    target = f"{ADMIN}/{MINE}/payments/{ids[0]}.json"
    assert [mock.answer(ask("GET", target), NOW + t).status for t in (2.9, 3.2)] == [202, 200]
    assert mock.answer(ask("GET", target), NOW + 4).json()["payment"]["id"] == ids[0]


def test_shipping_rates_begin_with_the_first_get_and_anew_after_a_write(tape: Any, ask: Ask) -> None:
    rates = f"{ADMIN}/{A}/shipping_rates.json"
    for start, ends in ((1.0, 2.0), (10.0, 5.0)):
        tape.add("GET", rates, 202, start - 0.1, body={"shipping_rates": []})
        tape.add("GET", rates, 200, start + ends, body={"shipping_rates": [{"id": f"after {ends}"}]})
    tape.update(A, 5.0, 1.0)
    mock = Mock.from_capture(tape.capture)
    target = f"{ADMIN}/{MINE}/shipping_rates.json"
    got = [mock.answer(ask("GET", target), NOW + t).status for t in (0, 1.9, 2.2, 3, 9)]
    assert got == [202, 202, 200, 200, 200]
    mock.answer(ask("PUT", path(MINE), {}), NOW + 10)
    got = [mock.answer(ask("GET", target), NOW + 10 + t).status for t in (0, 2.2, 5.2)]
    assert got == [202, 202, 200]


def test_what_the_client_sent_comes_back_for_its_key_only(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    sent = {
        "email": "me@mine.example",
        "completed_at": "2020-01-01",  # not a client's to set
        "line_items": [{"quantity": 3}],
        "shipping_address": {"zip": "90002", "province_code": "CA", "country_code": "US"},
    }
    mock.answer(ask("PUT", path(MINE), {"checkout": sent}), NOW)
    mock.answer(ask("PUT", path(YOURS), {}), NOW)
    shown = mock.answer(ask("GET", path(MINE)), NOW + 9).json()["checkout"]
    assert (shown["email"], shown["completed_at"]) == ("me@mine.example", None)
    assert shown["line_items"] == [{"id": "aa", "price": "199.00", "line_price": "597.00", "quantity": 3}]
    assert (shown["shipping_address"]["zip"], shown["shipping_address"]["province"]) == ("90002", "California")
    yours = mock.answer(ask("GET", path(YOURS)), NOW + 9).json()["checkout"]
    assert yours["email"] == "recorded@redacted.example"


def test_writes_that_ended_at_once_and_refusals_are_answered_as_recorded(tape: Any, ask: Ask) -> None:
    tape.add("PUT", path(A), 422, 0.0, body={"errors": {}})
    tape.add("PUT", path(A), 200, 1.0, body={"checkout": {"token": A}})
    mock = Mock.from_capture(tape.capture)
    assert mock.answer(ask("PUT", path(MINE), {"checkout": {"note": "bad"}}), NOW).status == 422
    answer = mock.answer(ask("PUT", path(MINE), {"checkout": {"note": "good"}}), NOW + 1)
    assert (answer.status, answer.json()["checkout"]["token"]) == (200, MINE)


# ---------------------------------------------------------------------------------- the other traffic


def test_an_idle_checkout_is_answered_as_recorded(tape: Any, ask: Ask) -> None:
    tape.add("GET", path(A), 202, 0.0, body={"checkout": {"token": A}})
    mock = Mock.from_capture(tape.capture)
    for at in (0.0, 1e5):
        answer = mock.answer(ask("GET", path(MINE)), NOW + at)
        assert (answer.status, answer.json()["checkout"]["token"]) == (202, MINE)


def test_unknown_traffic_is_matched_by_method_template_and_query_names_and_answered_by_time(
    tape: Any, ask: Ask
) -> None:
    for at, stock in ((0.0, 5), (3.0, 4)):
        tape.add("GET", "/items/17", 200, at, query="x=1", body={"stock": stock})
    tape.add("GET", "/items/18", 200, 4.0, query="x=1", body={"stock": 9, "self": "https://shop.example/items/18"})
    mock = Mock.from_capture(tape.capture)
    got = [mock.answer(ask("GET", "/items/17?x=2"), NOW + t).json()["stock"] for t in (0, 2.85, 2.9, 99)]
    assert got == [5, 5, 4, 4]
    assert mock.answer(ask("GET", "/items/44?x=2"), NOW).json()["stock"] == 5  # the first new one
    second = mock.answer(ask("GET", "/items/45?x=2"), NOW).json()
    assert second == {"stock": 9, "self": "http://127.0.0.1:9/items/45"}


@pytest.mark.parametrize(
    ("complete_at", "lets_in"), [("upper", 1.0), ("lower", 0.02), ("middle", 0.51)], ids=["upper", "lower", "middle"]
)
def test_who_was_throttled_is_let_in_where_one_chooses(complete_at: Any, lets_in: float, tape: Any, ask: Ask) -> None:
    """Between the end of the 429 and the next request."""
    tape.add("GET", "/things/1", 429, 0.0, headers={"Retry-After": "1"})
    tape.add("GET", "/things/1", 200, 1.1)
    mock = Mock.from_capture(tape.capture, complete_at=complete_at)
    assert mock.answer(ask("GET", "/things/1"), NOW).status == 429
    if complete_at != "lower":
        assert mock.answer(ask("GET", "/things/1"), NOW + lets_in - 0.02).status == 429
    assert mock.answer(ask("GET", "/things/1"), NOW + lets_in).status == 200


def test_a_truncated_operation_is_bound_where_a_read_finds_nothing_else(tape: Any, ask: Ask) -> None:
    target = f"{ADMIN}/{A}/payments/77.json"
    for at in (0.0, 1.0):
        tape.add("GET", target, 202, at, body={"payment": {"id": 77, "transaction": None}})
    tape.add("GET", target, 200, 3.0, body={"payment": {"id": 77, "transaction": {"status": "success"}}})
    mock = Mock.from_capture(tape.capture)
    mine = f"{ADMIN}/{MINE}/payments/123.json"
    got = [mock.answer(ask("GET", mine), NOW + t) for t in (0, 2.9, 3.2)]
    assert [answer.status for answer in got] == [202, 202, 200]
    assert got[-1].json()["payment"]["id"] == 123


# ------------------------------------------------------------------------------------------- as a whole


def story(mock: Mock, ask: Ask) -> list[Any]:
    answers = [mock.answer(ask("PUT", path(MINE), {}), NOW)]
    answers += [mock.answer(ask("GET", path(MINE)), NOW + t) for t in (1, 2, 3, 4)]
    answers.append(mock.answer(ask("POST", f"{ADMIN}.json", {}), NOW + 5))
    return answers


def test_the_same_requests_at_the_same_times_get_the_same_answers_also_after_a_reset(tape: Any, ask: Ask) -> None:
    tape.update(A, 10.0, 3.0, polls=(1.0,))
    tape.add("POST", f"{ADMIN}.json", 202, 30.0, body={"checkout": {"token": C}}, headers={"X-Request-Id": "1-2"})
    mock = Mock.from_capture(tape.capture, seed=5)
    first = story(mock, ask)
    assert first == story(Mock.from_capture(tape.capture, seed=5), ask)
    mock.reset()
    assert first == story(mock, ask)
    assert first[-1].body != story(Mock.from_capture(tape.capture, seed=6), ask)[-1].body


def test_request_ids_are_new_each_time(tape: Any, ask: Ask) -> None:
    tape.add("GET", "/a", 200, 0.0, headers={"X-Request-Id": "6aa12706-8d19-4aee-bbc4-24344821fcc3"}, body={})
    mock = Mock.from_capture(tape.capture)
    ids = [mock.answer(ask("GET", "/a"), NOW + t).header("X-Request-Id") for t in range(3)]
    ids.append("6aa12706-8d19-4aee-bbc4-24344821fcc3")
    assert len(set(ids)) == 4
    assert all(a is not None and b is not None and len(a) == len(b) for a, b in pairwise(ids))
