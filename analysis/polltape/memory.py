"""Giving memory back to the system between the stages of a long computation."""

from __future__ import annotations

import ctypes
import sys
from typing import Any, Final

import pyarrow as pa

_TRIM: Final[Any] = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
"""glibc's; other C libraries have none."""


def give_back() -> None:
    """Return what Arrow and the C library have freed but keep for later.

    A stage lays out several times what is left of it: kept, that of one adds to that of the next, which asks for
    pieces of other sizes.  A few milliseconds, so once a stage and not in a loop over rows.
    """
    pa.default_memory_pool().release_unused()
    if _TRIM is not None:
        _TRIM(0)
