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
    for bad in ("advance", "advance?seconds=-1", "advance?seconds=nan", "advance?seconds=x"):
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
    assert page["last_unmatched"][-1] == {"method": "GET", "target": "/x/59"}
