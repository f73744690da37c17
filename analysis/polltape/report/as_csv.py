"""One table of the analysis as CSV (RFC 4180), for a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from polltape.report.as_json import TABLES, rows_of

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def render(analysis: Analysis, table: str) -> str:
    """The table with the keys of the JSON as its head; unknown cells are empty, lists joined by blanks.

    ``table``: one of :data:`~polltape.report.as_json.TABLES`.  Recorded text that a spreadsheet would run as a
    formula gets a ``'`` before it.
    """
    columns = list(TABLES[table])
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows_of(analysis, table))
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return _cell(" ".join("none" if item is None else str(item) for item in value))
    if isinstance(value, dict):
        return " ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
