"""Tables in, tables out: the two small seams to Ibis and pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from ibis.util import gen_name


def keep(connection: Any, table: ir.Table | pd.DataFrame | pa.Table) -> ir.Table:
    """The result as a temporary table of the connection, so that it is computed once."""
    expression = table if isinstance(table, ir.Table) else ibis.memtable(table)
    kept: ir.Table = connection.create_table(gen_name("polltape"), expression, temp=True)
    return kept


def run(expression: ir.Table) -> pd.DataFrame:
    """The expression's result as a pandas table."""
    table: pd.DataFrame = expression.execute()
    return table


def records(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples (pandas' own types say only "some scalar" of each cell)."""
    yield from table.itertuples(index=False)
