"""Numbers and dates scaled in their own grammar."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.exchange import Instruction
from polltape.mock.hints import date_in, exact, move_fields, scaled_number, wait_of


@given(asked=st.integers(0, 10**6), speed=st.sampled_from([0.5, 1.0, 3.0, 7.0, 10.0, 1000.0]))
def test_whole_seconds_stay_whole_and_never_ask_for_less_than_the_exact_wait(asked: int, speed: float) -> None:
    scaled = scaled_number(str(asked), speed)
    assert scaled.isdigit()
    assert 0 <= int(scaled) - asked / speed < 1 + 1e-9
    assert (int(scaled) == 0) == (asked == 0)


@given(asked=st.decimals(0, 1000, places=2), speed=st.sampled_from([1.0, 3.0, 8.0]))
def test_a_fraction_keeps_its_decimals(asked: object, speed: float) -> None:
    scaled = scaled_number(f"{asked}", speed)
    whole, _, decimals = scaled.partition(".")
    assert whole.isdigit()
    assert 1 <= len(decimals) <= 3
    assert -1e-9 <= float(scaled) - float(f"{asked}") / speed < 0.001 + 1e-9


def test_exact_waits_are_plain_decimals() -> None:
    assert [exact(value) for value in (0, 1, 0.25, 1e-6, 1e9)] == ["0", "1", "0.25", "0.000001", "1000000000"]


def test_a_date_is_rounded_up_to_the_second() -> None:
    assert date_in(1.2, 784111775.5) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert date_in(2, 784111775.5, like="Sunday, 06-Nov-94 08:49:37 GMT") == "Sunday, 06-Nov-94 08:49:37 GMT"
    assert date_in(2, 784111775.5, like="Sun Nov  6 08:49:37 1994") == "Sun Nov  6 08:49:37 1994"


@pytest.mark.parametrize(
    ("source", "raw", "asked_s", "wait"),
    [
        ("pollAfter", "2026-11-01T12:00:02.500Z", 2.5, 1.75),  # its Date said 12:00:00, cut off
        ("pollAfter", "2026-11-01T12:00:00.500Z", 0.5, 0.0),
        ("pollAfter", "2026-11-01T12:00:02.500", 2.5, 2.5),  # no zone
        ("retry-after", "2", 2.0, 2.0),
        ("retry-after", "soon", None, None),
    ],
)
def test_poll_after_counts_from_the_answers_end(
    source: str, raw: str, asked_s: float | None, wait: float | None
) -> None:
    began = datetime(2026, 11, 1, 12, 0, 0, 750_000, tzinfo=UTC)
    instruction = Instruction(source=source, raw=raw, klass="x", asked_s=asked_s, clock="server")
    assert wait_of(instruction, began) == wait


@pytest.mark.parametrize(
    ("age_s", "told"),
    [
        (0.0, "2026-11-24T08:00:10Z"),
        (4.0, "2026-11-24T08:00:06Z"),  # the instant stays where it was in the operation
        (-0.5, "2026-11-24T08:00:11Z"),  # as precise as it was written, never sooner
        (10.0, "2026-11-24T08:00:10Z"),  # it has passed: the whole wait again
        (99.0, "2026-11-24T08:00:10Z"),
    ],
)
def test_an_instant_keeps_its_place_in_the_operation(age_s: float, told: str) -> None:
    body = {"data": {"poll": {"pollAfter": "2026-11-23T08:00:20Z"}}}
    began = datetime(2026, 11, 23, 8, 0, 10, tzinfo=UTC)
    move_fields(body, began, 1.0, datetime(2026, 11, 24, 8, tzinfo=UTC).timestamp(), age_s)
    assert body["data"]["poll"]["pollAfter"] == told
