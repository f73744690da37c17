"""Rows of a table by what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from polltape.operations.columns import Ints, Numbers, distinct


def grouped(table: pd.DataFrame, by: Sequence[str]) -> tuple[Ints, pd.DataFrame]:
    """The number of each row's group, and the groups' names in order; unknown names come last."""
    number = np.zeros(len(table), np.int64)
    first = number[:0]
    for name in by:
        numbers, count = codes(table[name])
        number *= count + 1
        number += np.where(numbers < 0, count, numbers)  # small ones have room for their count, as pandas makes them
        first, which = distinct(number)
        number = which.astype(np.int64)
    names = table.iloc[first][list(by)].reset_index(drop=True)
    return number, names.astype({name: "str" for name in by if isinstance(names[name].dtype, pd.CategoricalDtype)})


def codes(names: pd.Series[Any]) -> tuple[Numbers, int]:
    """Equal names have equal numbers, in the order of the names; -1 for unknown ones.  And how many there are."""
    if isinstance(names.dtype, pd.CategoricalDtype):
        return np.asarray(names.cat.codes), len(names.cat.categories)
    numbers, known = pd.factorize(names, sort=True)
    return numbers, len(known)
