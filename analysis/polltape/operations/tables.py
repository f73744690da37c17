"""Tables in, tables out: the two small seams to Ibis and pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ibis.expr.types as ir
import pandas as pd


def run(expression: ir.Table) -> pd.DataFrame:
    """The expression's result as a pandas table."""
    table: pd.DataFrame = expression.execute()
    return table


def records(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples (pandas' own types say only "some scalar" of each cell)."""
    yield from table.itertuples(index=False)
