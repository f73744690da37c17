"""What a request gets that no recording fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polltape.mock.core import Mock, Request

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
A, MINE = "a1" * 16, "d4" * 16
Ask = Callable[..., Request]


def path(token: str) -> str:
    return f"{ADMIN}/{token}.json"


def test_no_match_names_the_nearest_and_what_differs(tape: Any, ask: Ask) -> None:
    tape.add("GET", "/items/17", 200, 0.0, query="x=1", body={})
    tape.update(A, 10.0, 3.0, polls=(1.0,))
    mock = Mock.from_capture(tape.capture)
    answer = mock.answer(ask("POST", "/items/17?y=1"), NOW)
    assert answer.status == 404
    nearest = answer.json()["nearest"][0]
    assert nearest["recorded"] == "GET /items/{id}?x=…"
    assert nearest["differs"] == ["method: asked POST, recorded GET", "query: without x", "query: y was not recorded"]
    polled = mock.answer(ask("GET", path(MINE)), NOW)  # never submitted
    assert polled.status == 404
    assert "submit that first" in polled.json()["nearest"][0]["differs"][0]
    assert mock.status(NOW)["unmatched"] == 2
