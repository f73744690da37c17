"""A capture made ready for playing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polltape.errors import InputError, UsageError
from polltape.mock.core import Mock, Request
from polltape.mock.recording import Recording, probe

NOW = 1_800_000_000.0
ADMIN = "/admin/api/2020-10/checkouts"
A, MINE = "a1" * 16, "d4" * 16
Ask = Callable[..., Request]


def path(token: str) -> str:
    return f"{ADMIN}/{token}.json"


def test_an_unknown_operation_and_an_empty_capture_are_refused(tape: Any) -> None:
    with pytest.raises(InputError, match="holds no answer"):
        Mock.from_capture(tape.capture)
    known = tape.update(A, 10.0, 3.0)
    with pytest.raises(UsageError, match="no operation") as caught:
        Mock.from_capture(tape.capture, operation=known + "9")
    assert caught.value.hint == f"did you mean {known}?"


def test_signatures_are_left_out_and_that_is_said(tape: Any, ask: Ask) -> None:
    tape.add("GET", "/a", 200, 0.0, headers={"x-pch-digest": "polltape-dropped"}, body={})
    mock = Mock.from_capture(tape.capture)
    assert mock.answer(ask("GET", "/a"), NOW).header("x-pch-digest") is None
    assert len(mock.notes) == 1
    assert "x-pch-digest (1 times)" in mock.notes[0]


def test_a_tape_has_its_end_where_it_was_asked_for(tape: Any) -> None:
    tape.update(A, 10.0, 3.0, polls=(1.0, 2.0), took=0.5)

    def ends(complete_at: Any) -> tuple[float, float]:
        recording = Recording.of(tape.capture, complete_at=complete_at, pinned="shopify-checkout:x0000")
        assert recording.pinned is not None
        return recording.pinned.final_from, recording.pinned.completes

    assert ends("upper") == (3.0, 3.5)
    assert ends("lower") == (2.0, 2.0)
    assert ends("middle") == (2.75, 2.75)


def test_a_pending_poll_beside_a_slow_final_one_is_not_overtaken(tape: Any) -> None:
    tape.update(A, 10.0, 1.0, took=2.0)  # asked at 1 s, answered 200 at 3 s
    tape.add("GET", path(A), 202, 12.0, body={"checkout": {"token": A}})  # asked at 2 s: still pending
    recording = Recording.of(tape.capture, complete_at="upper", pinned="shopify-checkout:x0000")
    assert recording.pinned is not None
    assert (recording.pinned.final_from, recording.pinned.completes) == (3.0, 3.0)


def test_hosts_and_shapes_of_everything_are_known(tape: Any) -> None:
    tape.update(A, 10.0, 3.0)
    tape.add("GET", "/x/17", 200, 0.0, host="pay.example", query="b=1&a=2&a=3", body={})
    recording = Recording.of(tape.capture, complete_at="upper", pinned=None)
    assert recording.hosts == ("pay.example", "shop.example")
    assert recording.shapes["GET", "/x/{id}", ("a", "b")] == 1


@pytest.mark.parametrize(
    ("method", "target", "role", "opens"),
    [
        ("PUT", path(A), "write", True),
        ("GET", path(A), "read", False),
        ("GET", f"{ADMIN}/{A}/shipping_rates.json", "read", True),
    ],
)
def test_a_request_alone_tells_what_it_may_open(method: str, target: str, role: str, opens: bool) -> None:
    seen = probe(method, target)
    assert seen is not None
    assert (seen.role, seen.opens) == (role, opens)


def test_a_request_that_no_protocol_knows_is_nothing_to_them() -> None:
    assert probe("GET", "/elsewhere") is None
