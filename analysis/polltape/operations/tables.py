"""Tables in, tables out: the two small seams to Ibis and pandas.

A query is a function from tables to an expression.  Ibis takes some ten milliseconds to turn an expression into SQL,
more than DuckDB takes to run it over a small capture; so the SQL is kept, and a second analysis only runs it.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from polltape.operations.columns import numbers, spelled, whole

Query = Callable[..., ir.Table]
"""Tables to an expression; a function of a module, so that it is known again."""

_KNOWN: Final = 512
"""Queries whose SQL is kept."""


@lru_cache(maxsize=_KNOWN)
def _compiled(query: Query, tables: tuple[tuple[str, ibis.Schema], ...]) -> tuple[str, ibis.Schema]:
    """The SQL, and what it results in."""
    expression = query(*(ibis.table(schema, name=name) for name, schema in tables))
    return ibis.to_sql(expression, dialect="duckdb"), expression.schema()


def run(query: Query, *tables: ir.Table) -> pd.DataFrame:
    """What a query over kept tables results in, in no order."""
    sql, schema = _compiled(query, tuple((name_of(table), table.schema()) for table in tables))
    found: pa.Table = connection_of(tables[0]).con.sql(sql).to_arrow_table()
    wanted = schema.to_pyarrow()
    return framed(found if found.schema.equals(wanted) else found.cast(wanted))


def lent(connection: Any, name: str, table: pa.Table) -> ir.Table:
    """A table from outside under a name, where it is; DuckDB reads it each time that it is used."""
    connection.con.register(name, table)
    found: ir.Table = ops.DatabaseTable(name, ibis.Schema.from_pyarrow(table.schema), connection).to_expr()
    return found


def lent_frame(connection: Any, name: str, table: pd.DataFrame) -> ir.Table:
    """A table of pandas under a name; columns of texts are texts even when empty."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata()
    texts = [field.with_type(pa.string()) if _textual(field.type) else field for field in arrow.schema]
    return lent(connection, name, arrow.cast(pa.schema(texts)))


def _textual(kind: pa.DataType) -> bool:
    return pa.types.is_large_string(kind) or pa.types.is_null(kind)


def name_of(table: ir.Table) -> str:
    """The name under which queries see it, without catalogue and schema."""
    operation: Any = table.op()
    return str(operation.name)


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


def ahead[Made](work: Iterable[Callable[[], Made]]) -> Iterator[Made]:
    """What each piece of work makes, in their order, two at a time: numpy and Arrow do not hold each other up."""
    with ThreadPoolExecutor(max_workers=2) as threads:
        under_way: deque[Future[Made]] = deque()
        for piece in work:
            under_way.append(threads.submit(piece))
            if len(under_way) == 2:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def give_back() -> None:
    """Let the system have the memory that is free: what a step lays out is often as much as all that is there."""
    pa.default_memory_pool().release_unused()


def connection_of(table: ir.Table) -> Any:
    """Where a table is kept."""
    operation: Any = table.op()
    return operation.source


def framed(table: pa.Table, *, names: Sequence[str] = (), categories: bool = False) -> pd.DataFrame:
    """As a pandas table; lists stay in Arrow, each is a Python list when it is looked at.

    ``names``: columns that stay numbers into all names there are, each a text when it is looked at.  ``categories``:
    other texts that are numbers into a dictionary stay so, too, as categories in the order of texts.
    """
    coded = [name for name in table.column_names if pa.types.is_dictionary(table[name].type)]
    sorted_out = [name for name in coded if categories and name not in names]
    columns: dict[str, Any] = {
        name: spelled(table[name]) if name in coded and name not in names else table[name]
        for name in table.column_names
        if name not in sorted_out
    }
    plain = pa.table(columns)
    in_arrow = {field.type for field in plain.schema if field.name in names or pa.types.is_nested(field.type)}
    found: pd.DataFrame = plain.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if kind in in_arrow else None)
    told = {name: _categories(table[name]) for name in sorted_out}
    return found.assign(**told)[table.column_names] if told else found


def _categories(column: Any) -> pd.Categorical:
    coded = whole(column)
    order = pc.sort_indices(coded.dictionary)
    place = np.append(np.empty(len(order), np.int32), np.int32(-1))  # the last by the index -1
    place[order.to_numpy()] = np.arange(len(order))
    texts = pd.Index(coded.dictionary.take(order), dtype="str")
    return pd.Categorical.from_codes(place[numbers(coded.indices, -1)], texts)


def records(table: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples (pandas' own types say only "some scalar" of each cell)."""
    yield from table.itertuples(index=False)
