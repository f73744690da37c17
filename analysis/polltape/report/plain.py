"""Tables as plain Python values, and numbers as text: what every form of the report shares.

Everything recorded is untrusted: :func:`printable` is the only way for it to reach a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import TYPE_CHECKING, Any

import msgspec

from polltape.measures.words import clock, counted, iso, seconds

if TYPE_CHECKING:
    import pandas as pd

    from polltape.measures.analysis import Analysis

Row = dict[str, Any]


def rows(table: pd.DataFrame) -> list[Row]:
    """One dict a row, in the table's order; every value plain Python, every unknown None."""
    columns = {str(name): [_plain(value) for value in _cells(table[name])] for name in table.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _cells(column: pd.Series[Any]) -> Iterable[Any]:
    """The cells as objects; by way of numpy the whole numbers of a list would be floats beside an unknown one."""
    arrow = getattr(column.array, "__arrow_array__", None)
    return column.astype(object) if arrow is None else arrow().to_pylist()


def _plain(value: Any) -> Any:
    """None for NaN, NA, NaT and infinities; numpy's scalars and arrays as Python's own."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return None  # pandas' NA and NaT


def json_text(value: Any) -> str:
    """The value as indented JSON with a line break at its end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def capture_row(analysis: Analysis) -> Row:
    """What was read, for the JSON of what was made from it."""
    return {
        "sources": list(analysis.sources),
        "exchanges": analysis.exchanges,
        "operations": len(analysis.operations),
        "from": iso(analysis.from_us),
        "to": iso(analysis.to_us),
    }


def capture_facts(analysis: Analysis) -> list[str]:
    """The same for people, without the sources."""
    facts = [counted(analysis.exchanges, "exchange"), counted(len(analysis.operations), "operation"), span(analysis)]
    return [fact for fact in facts if fact]


def span(analysis: Analysis) -> str:
    """From when to when there are exchanges, for people; empty for none."""
    if analysis.from_us is None or analysis.to_us is None:
        return ""
    first, last = clock(analysis.from_us), clock(analysis.to_us)
    last = last[11:] if first[:10] == last[:10] else last
    return f"{first} to {last} UTC ({seconds((analysis.to_us - analysis.from_us) / 1e6)})"


def printable(value: object) -> str:
    """Text from a recording, safe on a terminal: no control, no bidirectional override, no line break.

    >>> printable("a" + chr(27) + "[2J" + chr(0x202e) + "b")
    'a�[2J�b'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in str(value))


def reached(quantile: float | None) -> str:
    """A quantile, or that the data does not reach it."""
    return "> last" if quantile is None else seconds(quantile)


def named(kind: Row) -> str:
    """What a row of durations or compliance is about: ``checkout.update on shop.example``."""
    what = kind["kind"] or kind["protocol"] or "outside any operation"
    return f"{what} on {kind['host']}"
