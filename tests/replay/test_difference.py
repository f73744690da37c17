"""What differs between two exchanges, field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import stories

from polltape.exchange import Exchange
from polltape.replay.difference import ABSENT, Comparing, Differences, Pair, differences
from polltape.replay.sides import Side
from polltape.replay.volatile import Ignored


def compared(
    one: Side, other: Side, comparing: Comparing | None = None
) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
    """The changed fields with both values, and the volatile ones."""
    found = differences([Pair(None, "poll 1", one, other)], comparing or Comparing()).every[0]
    return {c.field: (c.recorded, c.replayed) for c in found.changed}, list(found.volatile)


def bodies(one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    return compared(Side(stories.poll(0, got=one), 0), Side(stories.poll(0, got=other), 0))[0]


def headers(*more: tuple[str, str], **options: Any) -> Side:
    return Side(stories.poll(0, more=list(more), **options), 0)


def test_an_exchange_does_not_differ_from_itself() -> None:
    side = Side(stories.poll(0, wait="1"), 0, 1.0, 2.0, "early", ("RA001",))
    assert compared(side, side) == ({}, [])


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, {"body:a.b.1": (2, 3)}),
        ({"a": 1}, {}, {"body:a": (1, ABSENT)}),
        ({"a": None}, {"a": {}}, {"body:a": (None, {})}),
        ({"a": 1}, {"a": True}, {"body:a": (1, True)}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"at": "2026-01-01T00:00:00Z"}, {"at": "2027-01-01T00:00:00Z"}, {}),
        ({"email": "a@b.example"}, {"email": "c@d.example"}, {}),  # redaction made both up
        ({"email": "a@b.example"}, {}, {"body:email": ("a@b.example", ABSENT)}),
        ({"url": "https://shop.example/x"}, {"url": "http://127.0.0.1:9/x"}, {}),
        ([1, 2], [1], {"body:1": (2, ABSENT)}),
        ("x", "y", {"body:": ("x", "y")}),
    ],
)
def test_bodies_are_compared_value_by_value(one: Any, other: Any, found: dict[str, tuple[Any, Any]]) -> None:
    assert bodies(one, other) == found


def test_a_body_that_is_no_json_is_compared_as_a_whole_and_one_that_was_not_kept_not_at_all() -> None:
    side = Side(stories.poll(0), 0)

    def with_content(content: bytes, **options: Any) -> Side:
        body = replace(side.exchange.response_body, content=content, **options)
        return replace(side, exchange=replace(side.exchange, response_body=body))

    assert compared(with_content(b"<a>"), with_content(b"<b>"))[0] == {"body:": ("<a>", "<b>")}
    assert compared(with_content(b"<a>"), with_content(b"<b>", not_stored="too-large"))[0] == {}


def test_headers_and_cookies_are_compared_by_name() -> None:
    one = headers(("X-A", "1"), ("Set-Cookie", "a=1; path=/"), ("Date", "x"))
    other = headers(("x-a", "2"), ("set-cookie", "a=2; path=/x"), ("Date", "y"), ("X-New", "1"))
    changed, volatile = compared(one, other)
    assert changed == {"header:x-a": ("1", "2"), "header:set-cookie.a": ("1", "2"), "header:x-new": (ABSENT, "1")}
    assert volatile == ["header:date"]


def test_the_wait_asked_for_is_compared_in_seconds() -> None:
    changed, _ = compared(headers(wait="1"), headers(wait="1.0"))
    assert changed == {"header:retry-after": ("1", "1.0")}
    assert compared(headers(wait="1"), headers(wait="2"))[0]["asked_s"] == (1.0, 2.0)
    assert compared(headers(wait="1"), headers())[0]["asked_s"] == (1.0, None)


def test_times_are_the_same_within_a_tolerance_and_only_where_the_pace_is_kept() -> None:
    def at(seconds: float) -> Side:
        return Side(stories.poll(0), 0, seconds)

    assert compared(at(0.4), at(0.44))[0] == {}
    assert compared(at(10), at(10.4))[0] == {}
    assert compared(at(0.4), at(0.5))[0] == {"waited_s": (0.4, 0.5)}
    assert compared(at(0.4), at(0.5), Comparing(timing=False))[0] == {}


def test_own_rules_make_a_field_volatile() -> None:
    one, other = (Side(stories.poll(0, got={"a": n}), 0) for n in (1, 2))
    assert compared(one, other, Comparing(Ignored(["body:a"]))) == ({}, ["body:a"])


def test_status_error_verdict_and_findings_are_fields_as_well() -> None:
    exchange: Exchange = stories.poll(0)
    cut = replace(exchange, status=None, error="reset")
    changed, _ = compared(Side(exchange, 0, verdict="early", findings=("RA001",)), Side(cut, 0))
    assert changed == {
        "status": (202, None),
        "error": (None, "reset"),
        "verdict": ("early", None),
        "findings": (["RA001"], []),
    }


def test_a_missing_side_differs() -> None:
    side = Side(stories.poll(0), 0)
    found: Differences = differences([Pair(None, "x", side, None), Pair(None, "x", None, side)], Comparing())
    assert len(found.differing) == 2
