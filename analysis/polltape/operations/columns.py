"""Columns of Arrow as arrays of numpy: arrays know no null, so each says what stands for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

Ints = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.uint64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


def ints(column: Any, null: int = 0) -> Ints:
    """Whole numbers."""
    return np.asarray(_array(column.fill_null(null)), dtype=np.int64)


def numbers(column: Any) -> Numbers:
    """Whole numbers without a sign, as hashes are; 0 for null."""
    return np.asarray(_array(column.fill_null(0))).astype(np.uint64)


def flags(column: Any) -> Flags:
    """Truths; false for null."""
    return np.asarray(_array(column.fill_null(False)), dtype=np.bool_)


def known(column: Any) -> Flags:
    """Which values are not null."""
    return np.asarray(_array(column.is_valid()), dtype=np.bool_)


def floats(column: Any) -> Floats:
    """Numbers; NaN for null."""
    return np.asarray(_array(column.cast(pa.float64())), dtype=np.float64)


def _array(column: Any) -> Any:
    """Of one array or several; what has to be copied is."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.to_numpy(zero_copy_only=False)
