"""Findings before their exchanges are looked up: one by one as :class:`Draft`, or many at once as columns.

A rule that finds one in a thousand exchanges may go row by row; one that finds every tenth may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from polltape.measures.statistics import Floats, Ints
from polltape.measures.words import seconds
from polltape.operations.columns import NONE, as_lists, narrow, whole

_KINDS: Final[dict[str, pa.DataType]] = {
    "code": pa.string(),
    "message": pa.string(),
    "operation": pa.int32(),
    "exchanges": pa.list_(pa.int32()),
}
SCHEMA: Final = pa.schema(_KINDS)


class Draft(NamedTuple):
    """A finding before its exchanges are looked up: rows of them, the last one is the one that it is about.

    ``operation``: its number, or None.
    """

    code: str
    message: str
    operation: int | None
    exchanges: Sequence[int]


def drafted(code: str, message: Any, operation: Ints, *exchanges: Ints) -> pa.Table:
    """Many drafts of a code: columns of equal length, the exchanges in their order; one message may be for all."""
    count, each = len(operation), len(exchanges)
    return drafted_lists(
        code,
        pa.repeat(pa.scalar(message, pa.string()), count) if isinstance(message, str) else message,
        operation,
        as_lists(np.arange(count + 1) * each, narrow(np.stack(exchanges, axis=1).ravel())),
    )


def drafted_lists(code: str, messages: Any, operation: Ints, exchanges: Any) -> pa.Table:
    """Many drafts of a code, each with a message and a list of exchanges of its own."""
    codes = pa.repeat(pa.scalar(code, pa.string()), len(operation))
    return pa.table([codes, texts(messages), narrow(operation, operation == NONE), exchanges], schema=SCHEMA)


def together(drafts: Iterable[Draft | pa.Table]) -> pa.Table:
    """All of them as one table."""
    alone: list[Draft] = []
    tables = []
    for each in drafts:
        if isinstance(each, Draft):
            alone.append(each)
        else:
            tables.append(each)
    columns: list[Any] = [list(column) for column in zip(*alone, strict=True)] or [[], [], [], []]
    tables.append(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))
    return pa.concat_tables(tables).combine_chunks()


def texts(column: Any) -> Any:
    """A column of texts as one array of Arrow."""
    found = pa.array(column) if isinstance(column, (np.ndarray, list)) else column
    return whole(found).cast(pa.string())


def told(values: Any, tell: Any) -> Any:
    """What ``tell`` says of each value, as an array; asked once for each that differs."""
    numbers, distinct = pd.factorize(values)
    words: Any = pa.array([tell(value) for value in distinct], pa.string())
    return words.take(pa.array(numbers))


def in_seconds(values: Any) -> Any:
    """:func:`~polltape.measures.words.seconds` of each of many, as an array: asked once for all that read the same."""
    numbers = np.asarray(values, dtype=np.float64)
    first, which = _alike(numbers)
    spoken: Any = pa.array([seconds(float(value)) for value in numbers[first]], pa.string())
    return spoken.take(pa.array(which))


def _alike(values: Floats) -> tuple[Ints, Ints]:
    """Numbers that are told alike: where each kind stands first, and the kind of each.

    By their size and digits as :func:`~polltape.measures.words.seconds` rounds them; what is near the middle
    between two roundings stands for itself, as formatting may round otherwise.
    """
    sizes = np.abs(values)
    edges = [sizes == 0, sizes < 0.0095, sizes < 9.9995, sizes < 100, sizes < 600]
    scaled = sizes * np.select(edges, [1.0, 1e4, 1e3, 1e2, 10.0], 1.0)
    whole = np.rint(scaled)
    unsure = np.abs(np.abs(scaled - whole) - 0.5) < 1e-3
    own = np.where(unsure, values, 0.0)
    kinds = pd.DataFrame({"size": np.select(edges, range(5), 5), "sign": values < 0, "whole": whole, "own": own})
    groups = kinds.groupby(["size", "sign", "whole", "own"], sort=False)
    which: Ints = groups.ngroup().to_numpy().astype(np.int64)
    first = np.zeros(int(which.max(initial=-1)) + 1, np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    return first, which
