"""An analysis in every form that people and programs read; each form in its own module, loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

FORMATS: Final = ("text", "json", "csv", "html", "sarif", "junit")
"""What ``polltape analyze --format`` takes."""


TABLES: Final = ("operations", "durations", "waits", "compliance", "findings", "statuses")
"""What ``--table`` takes: CSV holds one table."""


def render(
    analysis: Analysis,
    form: str,
    *,
    to_terminal: bool = False,
    max_size: int | None = None,
    table: str = TABLES[0],
) -> str:
    """The analysis in one of :data:`FORMATS`.

    ``to_terminal``: it will be printed on standard output, so that text may take its width and its colours.
    ``max_size``: bytes that the HTML page may have at most; None for its default.  ``table``: which of
    :data:`TABLES` CSV holds.
    """
    if form == "text":
        from polltape.report.as_text import render as text
        from polltape.report.terminal import colours, width

        return text(analysis, width=width(to_terminal), color=to_terminal and colours())
    if form == "html" and max_size is not None:
        from polltape.report.as_html import render as html

        return html(analysis, max_size)
    if form == "csv":
        from polltape.report.as_csv import render as csv

        return csv(analysis, table)
    module, function = _RENDERERS[form]
    rendered: str = getattr(import_module(f"polltape.report.{module}"), function)(analysis)
    return rendered


_RENDERERS: Final = {
    "json": ("as_json", "to_json"),
    "html": ("as_html", "render"),
    "sarif": ("as_sarif", "render"),
    "junit": ("as_junit", "render"),
}


def show_operations(analysis: Analysis) -> str:
    """The operations of the analysis as text for standard output."""
    from polltape.report.terminal import colours, width
    from polltape.report.timeline import operations

    return operations(analysis, width=width(True), color=colours())


def show_operation(analysis: Analysis, operation: str) -> str:
    """One operation's timeline as text for standard output.

    ``operation``: its id or the beginning of it, with or without its protocol.  Raises UsageError where that
    names none or several.
    """
    from polltape.report.terminal import colours, width
    from polltape.report.timeline import render as timeline

    return timeline(analysis, operation, width=width(True), color=colours())
