"""The page on the columns says what the schema says."""

from __future__ import annotations

from pathlib import Path

from polltape.capture.schema_doc import markdown
from polltape.exchange import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == markdown(), "run: python -m polltape.capture.schema_doc > docs/schema.md"


def test_every_column_has_a_line_with_a_meaning() -> None:
    lines = markdown().splitlines()
    for name, _, meaning in COLUMNS:
        assert any(line.startswith(f"| `{name}` |") and line.endswith(f"| {meaning} |") for line in lines)
        assert meaning
