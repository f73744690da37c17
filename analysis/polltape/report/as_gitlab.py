"""The findings as a GitLab Code Quality report: one issue for each code and endpoint.

GitLab's documentation, "Code Quality report format": description, check_name, fingerprint, severity,
location.path (relative, without ``./``) and location.lines.begin are required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polltape.report.places import Place, committed_file, level, places
from polltape.report.plain import json_text

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

SEVERITIES: Final = {"error": "major", "warning": "minor", "note": "info"}


def render(analysis: Analysis, *, settings: str | None = None) -> str:
    """One JSON list.  ``settings``: the settings file in force, which the issues are shown at."""
    at = committed_file(analysis, settings)
    issues = [_issue(place, at) for place in places(analysis)]
    return json_text(issues)


def _issue(place: Place, at: str) -> dict[str, Any]:
    return {
        "description": place.summary(),
        "check_name": place.code,
        "fingerprint": place.fingerprint,
        "severity": SEVERITIES[level(place.code)],
        "location": {"path": at, "lines": {"begin": 1}},
    }
