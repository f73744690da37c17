"""The findings as workflow commands, which GitHub Actions shows as annotations: one for each code and endpoint.

GitHub's reference, "Workflow commands for GitHub Actions": ``::warning file=…,line=…,title=…::message``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from polltape.measures.codes import CODES
from polltape.report.as_concise import total
from polltape.report.places import Place, committed_file, level, places
from polltape.report.plain import printable

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


def render(analysis: Analysis, *, settings: str | None = None) -> str:
    """One line a place, errors first since a step shows ten of each, then the sum as a plain line.

    ``settings``: the settings file in force, which the annotations are shown at.
    """
    at = committed_file(analysis, settings)
    found = sorted(places(analysis), key=lambda place: list(COMMANDS).index(level(place.code)))
    return "".join(f"{_command(place, at)}\n" for place in found) + total(analysis) + "\n"


def _command(place: Place, at: str) -> str:
    title = f"{place.code}: {CODES[place.code].title}"
    command = COMMANDS[level(place.code)]
    return f"::{command} file={_property(at)},line=1,title={_property(title)}::{_data(printable(place.summary()))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
