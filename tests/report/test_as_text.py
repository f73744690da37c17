"""The text report: right in every line (golden file), within its width, safe on a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from polltape.measures.analysis import Analysis
from polltape.report.as_text import render

ANY_NUMBER_OF_SECONDS = re.compile(r"\d s\b")


def test_small_analysis(small: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("small.txt", render(small, width=80))


def test_empty_sections_say_why(empty: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("empty.txt", render(empty, width=80))


def test_what_waiting_costs(busy: Analysis, golden: Callable[[str, str], None]) -> None:
    text = render(busy, width=80)
    golden("busy.txt", text[text.index("Queue  ") : text.index("Findings\n")])


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("fixture", ["small", "busy", "empty", "hostile", "thousands"])
def test_no_line_is_longer_than_the_width_but_commands(
    fixture: str, width: int, request: pytest.FixtureRequest
) -> None:
    text = render(request.getfixturevalue(fixture), width=width)
    too_long = [line for line in text.splitlines() if len(line) > width and not line.startswith("  polltape ")]
    assert too_long == []


def test_colours_only_where_asked_for(small: Analysis) -> None:
    plain, coloured = render(small), render(small, color=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    undone = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in undone.splitlines()] == plain.splitlines()


def test_what_was_recorded_cannot_steer_the_terminal(hostile: Analysis) -> None:
    text = render(hostile)
    assert "alert(1)" in text
    assert not set(text) & {"\x1b", "\u202e", "\x07"}


def test_findings_come_by_code_with_count_and_next_commands(thousands: Analysis) -> None:
    text = render(thousands)
    assert "RA001  asked to wait, came back early (client, 3000 ×)" in text
    assert "\n  polltape explain RA001\n  polltape show captures/shop x1-0\n" in text


def test_several_sources_leave_the_path_to_the_user(small: Analysis) -> None:
    text = render(replace(small, sources=("a", "b c.har")))
    assert text.startswith("a, b c.har\n")
    assert "polltape show PATH x2-0" in text


def test_a_rate_is_not_made_up_without_rated_waits(small: Analysis) -> None:
    none = small.compliance.assign(kept=0, late=0, early=0, rate=None, low=None, high=None)
    assert "no rate: no wait had both a deadline within the recording" in render(replace(small, compliance=none))


def test_an_interval_that_the_data_does_not_give_is_not_made_up(small: Analysis) -> None:
    known = small.durations.assign(p50_s=1.5, p50_low_s=float("nan"), p50_high_s=float("nan"))
    text = render(replace(small, durations=known))
    assert "no 95 % interval of p50" in text
    assert "> last to" not in text
