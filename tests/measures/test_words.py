"""Numbers become text with their unit."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from polltape.measures import words


def test_examples_in_the_docstrings() -> None:
    found = doctest.testmod(words)
    assert found.attempted > 5
    assert found.failed == 0


@given(st.floats(min_value=0, max_value=1e9))
def test_seconds_always_have_a_unit_and_are_near(value: float) -> None:
    text = words.seconds(value)
    size = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
    parts = text.split(" ")
    shown = sum(float(n) * size[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    assert abs(shown - value) <= max(value * 0.06, 0.0005)
