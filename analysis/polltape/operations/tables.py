"""Tables in, tables out: the two small seams to Ibis and pandas."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


def drop(connection: Any, kept: ir.Table) -> None:
    """Forget what :func:`keep` has kept; its name stands with catalogue and schema."""
    connection.raw_sql(f"DROP TABLE {kept.get_name()}")


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for garbage in cycles: measuring makes millions of objects and hardly a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def observations(rows: ir.Table) -> ir.Table:
    """One row an observation: ``observations`` is the struct.

    Not ``Table.unnest``: that is a lateral join, for which DuckDB hashes whole rows, lists and all.
    """
    return rows.mutate(observations=rows.observations.unnest())


def run(expression: ir.Table, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """The expression's result as a pandas table, in the order of these columns; lists are Python's own.

    Sorted behind the query: what sorts in DuckDB carries every column along.
    """
    table = expression.to_pyarrow()
    if by:
        table = table.sort_by([(name, "ascending") for name in by])
    return framed(table)


def framed(table: pa.Table) -> pd.DataFrame:
    """As a pandas table; lists stay in Arrow, each is a Python list when it is looked at."""
    found: pd.DataFrame = table.to_pandas(
        types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None
    )
    return found


def records(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples (pandas' own types say only "some scalar" of each cell)."""
    yield from table.itertuples(index=False)
