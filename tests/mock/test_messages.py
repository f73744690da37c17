"""Requests and answers as plain data."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from polltape.exchange import Header
from polltape.mock.messages import Request, http_date, json_response, reason_of, request_id

Ask = Callable[..., Request]


@pytest.mark.parametrize(
    ("target", "path", "query"), [("/a", "/a", None), ("/a?", "/a", ""), ("/a?b=c?d", "/a", "b=c?d")]
)
def test_a_target_has_a_path_and_a_query(ask: Ask, target: str, path: str, query: str | None) -> None:
    request = ask("GET", target)
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    assert Request("POST", "http", "x", "/", (), body).json() is None


def test_a_json_answer_has_its_type_and_length() -> None:
    answer = json_response(422, {"é": 1}, (Header("A", "b"),))
    assert (answer.status, answer.reason, answer.json()) == (422, "Unprocessable Entity", {"é": 1})
    assert answer.header("content-length") == str(len(answer.body)) == "8"


def test_unknown_statuses_have_no_reason() -> None:
    assert (reason_of(202), reason_of(430)) == ("Accepted", "")


def test_dates_are_cut_to_the_second() -> None:
    assert http_date(784111777.999) == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_request_ids_are_uuids_and_follow_the_seed() -> None:
    first, again = Random(1), Random(1)
    made = [request_id(first) for _ in range(3)]
    assert made == [request_id(again) for _ in range(3)]
    assert len(set(made)) == 3
    assert all(len(one) == 36 and one[14] == "4" for one in made)
