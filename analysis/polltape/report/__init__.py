"""An analysis in every form that people and programs read; each form in its own module, loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

FORMATS: Final = (
    *("text", "concise", "json", "json-lines", "csv", "html"),
    *("junit", "github", "gitlab", "sarif"),
)
"""What ``polltape analyze --format`` takes."""

TABLES: Final = (
    *("operations", "durations", "waits", "compliance", "findings", "statuses"),
    *("journeys", "queues", "throttling", "polling", "pending_shares", "under_way", "breakdowns"),
)
"""What ``--table`` takes: CSV and JSON lines hold one table."""


def render(
    analysis: Analysis,
    form: str,
    *,
    to_terminal: bool = False,
    max_size: int | None = None,
    table: str | None = None,
    settings: str | None = None,
) -> str:
    """The analysis in one of :data:`FORMATS`.

    ``to_terminal``: it will be printed on standard output, so that text may take its width and its colours.
    ``max_size``: bytes that the HTML page may have at most; None for its default.  ``table``: which of
    :data:`TABLES` CSV holds (None: the operations) and JSON lines (None: the findings).  ``settings``: the
    settings file in force, at which code scanning shows the findings.
    """
    options: dict[str, object] = {}
    if form == "text":
        from polltape.report.terminal import colours, width

        options = {"width": width(to_terminal), "color": to_terminal and colours()}
    elif form == "html" and max_size is not None:
        options = {"max_size": max_size}
    elif form == "csv":
        options = {"table": table or "operations"}
    elif form == "json-lines":
        options = {"table": table or "findings"}
    elif form in ("github", "gitlab", "sarif"):
        options = {"settings": settings}
    module, function = _RENDERERS[form]
    rendered: str = getattr(import_module(f"polltape.report.{module}"), function)(analysis, **options)
    return rendered


_RENDERERS: Final = {
    "text": ("as_text", "render"),
    "concise": ("as_concise", "render"),
    "json": ("as_json", "to_json"),
    "json-lines": ("as_json", "to_json_lines"),
    "csv": ("as_csv", "render"),
    "html": ("as_html", "render"),
    "junit": ("as_junit", "render"),
    "github": ("as_github", "render"),
    "gitlab": ("as_gitlab", "render"),
    "sarif": ("as_sarif", "render"),
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
