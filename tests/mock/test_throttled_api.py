"""A throttled API without a recording: leaky buckets, how they are told, 413, GraphQL's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.mock.core import Mock, Request, Response
from polltape.mock.scenario import parse_scenario, scenario_text

NOW = 1_800_000_000.0
Ask = Callable[..., Request]


class Api:
    """The built-in scenario with these lines replaced."""

    def __init__(self, ask: Ask, *changes: tuple[str, str], **options: Any) -> None:
        text = scenario_text("throttled-api")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.mock = Mock.from_scenario(parse_scenario(text, "test"), **options)
        self._ask = ask

    def __call__(self, at: float, method: str = "GET", path: str = "/x", sent: object = None, **more: Any) -> Response:
        return self.mock.answer(self._ask(method, path, sent, **more), NOW + at)

    def statuses(self, *times: float) -> list[int]:
        return [self(at).status for at in times]


def test_four_fit_in_and_two_a_second_leak_out(ask: Ask) -> None:
    api = Api(ask)
    assert api.statuses(0, 0, 0, 0, 0, 0.4, 0.5, 0.5, 2.5, 2.5) == [200] * 4 + [429, 429, 200, 429, 200, 200]
    assert Api(ask, speed=10).statuses(0, 0, 0, 0, 0, 0.05) == [200] * 4 + [429, 200]


@given(st.lists(st.floats(0, 2), max_size=60))
def test_no_window_lets_more_through_than_the_bucket_and_what_leaks(ask: Ask, gaps: list[float]) -> None:
    api = Api(ask)
    at, admitted = 0.0, []
    for gap in gaps:
        at += gap
        if api(at).status == 200:
            admitted.append(at)
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], first):
            assert last - first + 1 <= 4 + (end - start) * 2 + 1e-4


def test_a_client_that_waits_as_it_is_asked_gets_in(ask: Ask) -> None:
    api = Api(ask)
    at, refused = 0.0, 0
    for _ in range(50):
        answer = api(at)
        if answer.status == 429:
            refused += 1
            at += float(answer.header("Retry-After") or 0)
            assert api(at).status == 200
    assert refused > 5


@pytest.mark.parametrize(
    ("hint", "lines"),
    [("2.0", ["2.0"]), ('"none"', []), ("[1, 5]", ["1", "5"]), ("{ date = 2 }", ["Fri, 15 Jan 2027 08:00:02 GMT"])],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_instruction_is_as_the_scenario_says(ask: Ask, hint: str, lines: list[str], status: int) -> None:
    api = Api(ask, ("retry_after = 1  ", f"retry_after = {hint}  "), ("status = 429", f"status = {status}"))
    assert api.statuses(0, 0, 0, 0) == [200] * 4
    refused = api(0)
    assert refused.status == status
    assert [header.value for header in refused.headers if header.name == "Retry-After"] == lines


@pytest.mark.parametrize(
    ("style", "told"),
    [
        ("none", {}),
        ("shopify", {"X-Shopify-Shop-Api-Call-Limit": "1/4"}),
        ("ratelimit", {"RateLimit-Policy": '"default";q=4;w=2', "RateLimit": '"default";r=3;t=1'}),
        ("ratelimit-old", {"RateLimit-Limit": "4", "RateLimit-Remaining": "3", "RateLimit-Reset": "1"}),
    ],
)
def test_the_limit_is_told_in_the_headers_of_its_style(ask: Ask, style: str, told: dict[str, str]) -> None:
    answer = Api(ask, ('headers = "none"', f'headers = "{style}"'))(0)
    shown = {header.name: header.value for header in answer.headers if "limit" in header.name.lower()}
    assert shown == told


def test_graphql_says_throttled_with_200(ask: Ask) -> None:
    api = Api(ask, ("graphql = false", "graphql = true"))
    answers = [api(0, "POST", "/admin/api/2024-04/graphql.json", {"query": "{ shop { name } }"}) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert answers[3].json() == {"data": {}}
    assert answers[4].json()["errors"][0]["extensions"] == {"code": "THROTTLED"}
    status = answers[4].json()["extensions"]["cost"]["throttleStatus"]
    assert status == {"maximumAvailable": 4.0, "currentlyAvailable": 0, "restoreRate": 2.0}


def test_a_body_that_is_too_large_is_answered_413_and_takes_no_room(ask: Ask) -> None:
    api = Api(ask, ("max_body = 0", "max_body = 10"), ('too_large_retry_after = "none"', "too_large_retry_after = 5"))
    for _ in range(9):
        refused = api(0, "POST", "/x", {"a": "b" * 20})
        assert (refused.status, refused.header("Retry-After")) == (413, "5")
    assert api(0, "POST", "/x", {}).status == 200


def test_the_status_page_shows_each_bucket_and_when_it_is_empty(ask: Ask) -> None:
    api = Api(ask)
    for token in ("a", "a", "a", "a", "b"):
        api(0, headers={"X-Shopify-Access-Token": token})
    shown = api.mock.status(NOW + 0.25)["operations"]
    assert [(one["key"], one["level"], one["completes_s"], one["state"]) for one in shown] == [
        ("shopify-access-token 1", 3.5, 2.0, "full"),
        ("shopify-access-token 2", 0.5, 0.5, "leaking"),
    ]
    assert api.mock.status(NOW + 2)["operations"][0]["state"] == "empty"


@pytest.mark.parametrize("style", ["shopify", "ratelimit-old"])
def test_what_is_told_of_the_room_is_what_is_let_in(ask: Ask, style: str) -> None:
    """Two have leaked out only in part: there is room for nobody, and none is told."""
    api = Api(ask, ('headers = "none"', f'headers = "{style}"'))
    answers = [api(at) for at in (0, 0.01, 0.02, 0.03, 0.04, 0.6)]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429, 200]
    shown = [
        answer.header("X-Shopify-Shop-Api-Call-Limit") or answer.header("RateLimit-Remaining") for answer in answers
    ]
    full = {"shopify": ["1/4", "2/4", "3/4", "4/4", "4/4", "4/4"], "ratelimit-old": ["3", "2", "1", "0", "0", "0"]}
    assert shown == full[style]
