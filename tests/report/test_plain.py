"""Cells become plain values, numbers become text with their unit."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.report import plain


def test_examples_in_the_docstrings() -> None:
    found = doctest.testmod(plain)
    assert found.attempted > 0
    assert found.failed == 0


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


def test_a_list_in_arrow_keeps_its_whole_numbers_beside_an_unknown_one() -> None:
    lists = pd.Series([[202, None, 200]], dtype=pd.ArrowDtype(pa.list_(pa.int32())))
    (found,) = plain.rows(pd.DataFrame({"statuses": lists}))
    assert found["statuses"] == [202, None, 200]
    assert [type(status) for status in found["statuses"]] == [int, type(None), int]


def test_an_empty_table_has_no_rows() -> None:
    assert plain.rows(pd.DataFrame()) == []
    assert plain.rows(pd.DataFrame(columns=["a", "b"])) == []


@given(st.text())
def test_printable_text_has_no_control(text: str) -> None:
    shown = plain.printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
