"""Operations known by keys, beyond the plain story: falling back, cancelling, truncated, pinned, refused, reset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polltape.mock.chains import plain_key
from polltape.mock.core import Mock, Request

NOW = 1_800_000_000.0
Ask = Callable[..., Request]


def job(tape: Any, number: int, at: float, ends: float | None, *, submit: bool = True) -> None:
    """A job whose monitor is polled once a second, its submit answered at ``at``."""
    monitor = f"/monitors/{number}"
    if submit:
        tape.add("POST", "/jobs", 202, at - 0.1, sent={"n": number}, headers={"Location": monitor, "Retry-After": "1"})
    polls = range(1, int(ends or 3))
    for second in polls:
        tape.add(
            "GET", monitor, 202, at + second, headers={"Retry-After": "1"}, body={"second": second, "job_id": number}
        )
    if ends is not None:
        tape.add("GET", monitor, 200, at + ends, body={"id": number})


def begun(mock: Mock, ask: Ask, now: float, sent: object) -> str:
    answer = mock.answer(ask("POST", "/jobs", sent), now)
    assert answer.status == 202
    return str(answer.header("Location"))


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("http-async|https://shop.example:8443/ops/1?v=2", "http-async|/ops/1?v=2"),
        ("http-async|http://shop.example", "http-async|/"),
        ("http-async|name|shop.example|operations/7", "http-async|name|operations/7"),
        ("shopify-queue|shop.example|a|b", "shopify-queue|a|b"),
    ],
)
def test_a_key_is_the_same_under_another_name_of_the_server(key: str, plain: str) -> None:
    assert plain_key(key) == plain


def test_each_client_has_a_monitor_of_its_own_and_its_own_clock(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    first = begun(mock, ask, NOW, {"n": 1})
    second = begun(mock, ask, NOW + 2, {"n": 2})
    assert first != second
    assert [mock.answer(ask("GET", path), NOW + 3.2).status for path in (first, second)] == [200, 202]
    assert mock.answer(ask("GET", second), NOW + 5.2).json() == {"id": int(second.rpartition("/")[2])}
    states = {operation["key"]: operation["state"] for operation in mock.status(NOW + 4)["operations"]}
    assert states == {first: "ended", second: "pending"}


@pytest.mark.parametrize("token", ["Zm9vYmFyYmF6cXV4==", "gid://shopify/Attempt/7?key=1a2b3c"])
def test_a_token_with_marks_in_it_is_minted_and_known_again(token: str, tape: Any, ask: Ask) -> None:
    """Shopify's queue tokens end in ``==``, its cart attempts are global ids."""
    path, poll = "/api/2026-04/graphql.json", '{{ cartCompletionAttempt(attemptId: "{}") {{ __typename }} }}'
    submit = "mutation { cartSubmitForCompletion { result { __typename } } }"
    accepted = {"__typename": "SubmitSuccess", "attemptId": token}
    tape.add(
        "POST", path, 200, 0, sent={"query": submit}, body={"data": {"cartSubmitForCompletion": {"result": accepted}}}
    )
    for at, told in ((1, {"__typename": "CartCompletionProcessing"}), (2, {"__typename": "CartCompletionSuccess"})):
        body = {"data": {"cartCompletionAttempt": told}}
        tape.add("POST", path, 200, at, sent={"query": poll.format(token)}, body=body)
    mock = Mock.from_capture(tape.capture)
    given = mock.answer(ask("POST", path, {"query": submit}), NOW).json()["data"]["cartSubmitForCompletion"]["result"]
    assert given["attemptId"] != token
    for at, word in ((0.5, "CartCompletionProcessing"), (2.5, "CartCompletionSuccess")):
        told = mock.answer(ask("POST", path, {"query": poll.format(given["attemptId"])}), NOW + at).json()
        assert told["data"]["cartCompletionAttempt"]["__typename"] == word


def test_the_same_write_again_joins(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    assert begun(mock, ask, NOW, {"n": 1}) == begun(mock, ask, NOW + 1, {"n": 1})
    assert begun(mock, ask, NOW + 9, {"n": 1}) != begun(mock, ask, NOW + 9.5, {"n": 2})


def test_the_same_write_again_is_answered_as_it_was_then(tape: Any, ask: Ask) -> None:
    for at, told in ((1.0, "accepted"), (2.0, "already accepted")):
        tape.add("POST", "/jobs", 202, at, sent={}, body={"told": told}, headers={"Location": "/monitors/70001"})
    tape.add("GET", "/monitors/70001", 200, 6.0)
    mock = Mock.from_capture(tape.capture)
    told = [mock.answer(ask("POST", "/jobs", {}), NOW + second).json()["told"] for second in (0.0, 0.5, 3.0)]
    assert told == ["accepted", "already accepted", "already accepted"]


def test_an_instruction_is_no_part_of_an_address(tape: Any, ask: Ask) -> None:
    headers = {"Location": "/jobs/1", "Retry-After": "1", "X-Job-Id": "1", "X-Left": "1"}
    tape.add("POST", "/jobs", 202, 1.0, sent={}, headers=headers)
    tape.add("GET", "/jobs/1", 200, 3.0)
    answer = Mock.from_capture(tape.capture).answer(ask("POST", "/jobs", {}), NOW)
    minted = str(answer.header("X-Job-Id"))
    assert answer.header("Location") == f"/jobs/{minted}" != "/jobs/1"
    assert [answer.header(name) for name in ("Retry-After", "X-Left")] == ["1", "1"]


def test_a_hundred_clients_of_a_short_id_have_a_hundred_operations(tape: Any, ask: Ask) -> None:
    tape.add("POST", "/jobs", 202, 1.0, sent={}, headers={"Location": "/jobs/1"})
    tape.add("GET", "/jobs/1", 200, 3.0)
    mock = Mock.from_capture(tape.capture)
    monitors = [str(mock.answer(ask("POST", "/jobs", {"n": n}), NOW + n).header("Location")) for n in range(100)]
    assert len(set(monitors)) == 100
    assert mock.answer(ask("GET", monitors[0]), NOW + 99.5).status == 200
    assert mock.answer(ask("GET", monitors[99]), NOW + 99.5).status == 202


def test_two_clients_that_send_the_same_have_two_operations(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    one, other = (ask("POST", "/jobs", {"n": 1}, headers={"Authorization": f"Bearer {name}"}) for name in "ab")
    first, second, again = (mock.answer(request, NOW + 1).header("Location") for request in (one, other, one))
    assert first == again != second


def test_one_client_that_makes_the_same_with_two_queries_has_two_operations(tape: Any, ask: Ask) -> None:
    for number, kind in ((70001, "csv"), (70002, "pdf")):
        at = number - 70000.0
        tape.add("POST", "/exports", 202, at, headers={"Location": f"/monitors/{number}"}, query=f"format={kind}")
    mock = Mock.from_capture(tape.capture)
    one, two = (mock.answer(ask("POST", f"/exports?format={kind}"), NOW).header("Location") for kind in ("csv", "pdf"))
    assert one != two
    assert mock.answer(ask("POST", "/exports?format=csv"), NOW + 1).header("Location") == one


def test_a_server_that_fell_back_to_pending_falls_back_again(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    tape.add("GET", "/monitors/70001", 202, 15.0, headers={"Retry-After": "1"})
    tape.add("GET", "/monitors/70001", 200, 17.0, body={"done": "again"})
    mock = Mock.from_capture(tape.capture)
    monitor = begun(mock, ask, NOW, {"n": 1})
    statuses = [mock.answer(ask("GET", monitor), NOW + second).status for second in (2.0, 4.0, 5.5, 7.5)]
    assert statuses == [202, 200, 202, 200]


def test_a_cancel_is_answered_as_recorded(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, None)
    tape.add("DELETE", "/monitors/70001", 204, 14.0)
    mock = Mock.from_capture(tape.capture)
    monitor = begun(mock, ask, NOW, {"n": 1})
    assert mock.answer(ask("GET", monitor), NOW + 30).status == 202
    assert mock.answer(ask("DELETE", monitor), NOW + 31).status == 204
    assert mock.status(NOW + 31)["operations"][0]["state"] == "ended"


def test_an_operation_without_its_submit_begins_with_the_first_poll(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0, submit=False)
    mock = Mock.from_capture(tape.capture)
    assert mock.answer(ask("GET", "/monitors/99999"), NOW).json() == {"second": 1, "job_id": 99999}
    assert mock.answer(ask("GET", "/monitors/99999"), NOW + 2.2).status == 200


def test_one_operation_for_every_client(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    job(tape, 70002, 50.0, 8.0)
    pinned = f"http-async:{tape.exchanges[4].exchange_id}"
    assert tape.exchanges[4].method == "POST"
    mock = Mock.from_capture(tape.capture, operation=pinned)
    for number in range(2):
        monitor = begun(mock, ask, NOW, {"n": number})
        assert mock.answer(ask("GET", monitor), NOW + 7).status == 202
        assert mock.answer(ask("GET", monitor), NOW + 8.2).status == 200


def test_by_count_the_polls_move_it_on(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture, by="count")
    monitor = begun(mock, ask, NOW, {"n": 1})
    assert [mock.answer(ask("GET", monitor), NOW).status for _ in range(4)] == [202, 202, 200, 200]


def test_the_same_seed_mints_the_same_after_a_reset(tape: Any, ask: Ask) -> None:
    job(tape, 70001, 10.0, 3.0)
    mock = Mock.from_capture(tape.capture, seed=5)
    first = begun(mock, ask, NOW, {"n": 1})
    mock.reset()
    assert mock.status(NOW)["operations"] == []
    assert begun(mock, ask, NOW, {"n": 1}) == first


def test_a_write_that_was_refused_is_refused_for_as_long_as_it_was_told(tape: Any, ask: Ask) -> None:
    path = "/admin/api/2020-10/checkouts/" + "a1" * 16 + ".json"
    tape.add("PUT", path, 429, 0.0, sent={}, headers={"Retry-After": "2"})
    tape.update("a1" * 16, 5.0, 3.0)
    mock = Mock.from_capture(tape.capture)
    mine = path.replace("a1" * 16, "d4" * 16)
    assert [mock.answer(ask("PUT", mine, {}), NOW + second).status for second in (0.0, 1.0, 1.9, 2.1)] == [
        429,
        429,
        429,
        202,
    ]
