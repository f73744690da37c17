"""The findings as SARIF 2.1.0 (OASIS), for code scanning: one result for each code and endpoint."""

from __future__ import annotations

from gzip import compress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from polltape.measures.words import counted
from polltape.report.code_pages import page
from polltape.report.places import Place, committed_file, level, places
from polltape.report.plain import json_text

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS: Final = 25_000
"""What GitHub takes of one run."""
LARGEST: Final = 10_000_000
"""Bytes that GitHub takes, packed with gzip."""
LEVELS: Final = ("error", "warning", "note")


def render(analysis: Analysis, *, settings: str | None = None) -> str:
    """One SARIF log with one run; as many results as code scanning takes, worst first, and how many are left out.

    ``settings``: the settings file in force.  The results point at it (line 1), without one at the capture, since
    a result without a place makes code scanning refuse the log.
    """
    found = sorted(places(analysis), key=lambda place: LEVELS.index(level(place.code)))
    most = min(len(found), MOST_RESULTS)
    while True:
        text = _log(analysis, found[:most], len(found) - most, committed_file(analysis, settings))
        data = text.encode()
        if most == 0 or len(data) <= LARGEST or len(compress(data)) <= LARGEST:
            return text
        most //= 2


def _log(analysis: Analysis, shown: list[Place], left: int, uri: str) -> str:
    codes = sorted({place.code for place in shown})
    driver = {"name": "polltape", "version": version("polltape"), "rules": [_rule(code) for code in codes]}
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "polltape/"},
        "results": [_result(place, codes, uri) for place in shown],
    }
    hidden = sum(count for _, count in analysis.suppressed)
    notes = [f"{left} more results left out: code scanning takes no more"] if left else []
    notes += [f"{counted(hidden, 'finding')} suppressed by the settings file"] if hidden else []
    if notes:
        told = [{"level": "note", "message": {"text": note}} for note in notes]
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": told}]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json_text(log)


def _rule(code: str) -> dict[str, Any]:
    explained = page(code)
    what = " ".join(explained.sections["What it does"].split())
    return {
        "id": code,
        "shortDescription": {"text": explained.code.title},
        "fullDescription": {"text": what[:1024]},
        "help": {"text": explained.markdown, "markdown": explained.markdown},
        "defaultConfiguration": {"level": level(code)},
        "properties": {"tags": [explained.code.fault]},
    }


def _result(place: Place, codes: list[str], uri: str) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
    }
    if place.name:
        location["logicalLocations"] = [{"fullyQualifiedName": place.name, "kind": "endpoint"}]
    return {
        "ruleId": place.code,
        "ruleIndex": codes.index(place.code),
        "level": level(place.code),
        "message": {"text": place.summary()},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": f"{place.fingerprint}:1"},
        "properties": {"count": place.count, "evidence": place.lines()},
    }
