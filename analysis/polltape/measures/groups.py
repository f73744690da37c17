"""Rows of a table by what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from polltape.operations.columns import Ints, distinct


def grouped(table: pd.DataFrame, by: Sequence[str]) -> tuple[Ints, pd.DataFrame]:
    """The number of each row's group, and the groups' names in order; unknown names come last."""
    number = np.zeros(len(table), np.int64)
    first = number[:0]
    for name in by:
        codes, count = _codes(table[name])
        first, number = distinct(number * (count + 1) + np.where(codes < 0, count, codes))
    names = table.iloc[first][list(by)].reset_index(drop=True)
    return number, names.astype({name: "str" for name in by if isinstance(names[name].dtype, pd.CategoricalDtype)})


def _codes(names: pd.Series[Any]) -> tuple[Ints, int]:
    """Equal names have equal numbers, in the order of the names; -1 for unknown ones.  And how many there are."""
    if isinstance(names.dtype, pd.CategoricalDtype):
        return np.asarray(names.cat.codes, dtype=np.int64), len(names.cat.categories)
    codes, known = pd.factorize(names, sort=True)
    return np.asarray(codes, dtype=np.int64), len(known)
