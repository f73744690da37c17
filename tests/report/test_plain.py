"""Cells become plain values, numbers become text with their unit."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.report import plain


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(plain).attempted > 5
    assert doctest.testmod(plain).failed == 0


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (pd.NA, None),
        (pd.NaT, None),
        (None, None),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.float64("nan"), None),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ([202, None, float("nan")], [202, None, None]),
        ({"completed": np.float64(1.0)}, {"completed": 1.0}),
        ("nan", "nan"),
    ],
)
def test_a_cell_is_plain(cell: object, value: object) -> None:
    found = plain.rows(pd.DataFrame({"cell": pd.Series([cell], dtype=object)}))[0]["cell"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_table_has_no_rows() -> None:
    assert plain.rows(pd.DataFrame()) == []
    assert plain.rows(pd.DataFrame(columns=["a", "b"])) == []


@given(st.floats(min_value=0, max_value=1e9))
def test_seconds_always_have_a_unit_and_are_near(value: float) -> None:
    text = plain.seconds(value)
    size = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
    parts = text.split(" ")
    shown = sum(float(n) * size[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    assert abs(shown - value) <= max(value * 0.06, 0.0005)


@given(st.text())
def test_printable_text_has_no_control(text: str) -> None:
    shown = plain.printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
