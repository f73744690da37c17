"""How many findings there are of each code: ``analyze --statistics``."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING, Final

import msgspec

from polltape.errors import UsageError
from polltape.measures.codes import CODES
from polltape.report.as_concise import total
from polltape.report.plain import Row, json_text

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

COLUMNS: Final = ("code", "fault", "count", "title")
FORMATS: Final = ("text", "concise", "json", "json-lines", "csv")
"""The forms that a table of numbers has."""


def statistics(analysis: Analysis) -> list[Row]:
    """One row a code that was found, the most frequent first."""
    counts = analysis.findings["code"].value_counts()
    found = sorted(((int(count), str(code)) for code, count in counts.items()), key=lambda pair: (-pair[0], pair[1]))
    return [
        {"code": code, "fault": CODES[code].fault, "count": count, "title": CODES[code].title} for count, code in found
    ]


def render(analysis: Analysis, form: str) -> str:
    """The table in one of :data:`FORMATS`.  Raises UsageError for another."""
    found = statistics(analysis)
    if form == "json":
        return json_text(found)
    if form == "json-lines":
        return "".join(msgspec.json.encode(row).decode() + "\n" for row in found)
    if form == "csv":
        text = StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
        return text.getvalue()
    if form not in FORMATS:
        raise UsageError(f"--statistics has no form {form!r}", hint=f"it can be: {', '.join(FORMATS)}")
    width = max((len(str(row["count"])) for row in found), default=1)
    lines = [f"{row['count']:>{width}}  {row['code']}  {row['fault']:7}  {row['title']}\n" for row in found]
    return "".join(lines) + total(analysis) + "\n"
