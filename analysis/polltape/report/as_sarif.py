"""The findings as SARIF 2.1.0 (OASIS), for code scanning: one result for each code and endpoint."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from polltape.report.code_pages import page
from polltape.report.places import Place, places

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS: Final = 25_000
"""What GitHub takes of one run."""
ERRORS: Final = frozenset({"OP002", "OP003", "CQ003"})
"""The answer is lost: level ``error``."""
NOTES: Final = frozenset({"RA006", "OP007", "CQ005", "PN003"})
"""No breach: level ``note``; every other finding is a ``warning``."""


def render(analysis: Analysis, *, uri: str | None = None) -> str:
    """One SARIF log with one run.

    ``uri``: the file, relative to the repository, that the results point at (line 1), since a result without a
    place makes code scanning refuse the log.  Left out, it is the capture.
    """
    found = places(analysis)
    codes = sorted({place.code for place in found})
    results = [_result(place, codes, uri or _uri(analysis)) for place in found[:MOST_RESULTS]]
    driver = {"name": "polltape", "version": version("polltape"), "rules": [_rule(code) for code in codes]}
    run: dict[str, Any] = {"tool": {"driver": driver}, "automationDetails": {"id": "polltape/"}, "results": results}
    if left := len(found) - len(results):
        note = {"level": "note", "message": {"text": f"{left} more results left out: code scanning takes no more"}}
        run["invocations"] = [{"executionSuccessful": True, "toolExecutionNotifications": [note]}]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def _level(code: str) -> str:
    return "error" if code in ERRORS else "note" if code in NOTES else "warning"


def _rule(code: str) -> dict[str, Any]:
    explained = page(code)
    what = " ".join(explained.sections["What it does"].split())
    return {
        "id": code,
        "shortDescription": {"text": explained.code.title},
        "fullDescription": {"text": what[:1024]},
        "help": {"text": explained.markdown, "markdown": explained.markdown},
        "defaultConfiguration": {"level": _level(code)},
        "properties": {"tags": [explained.code.fault]},
    }


def _result(place: Place, codes: list[str], uri: str) -> dict[str, Any]:
    where = f"{place.endpoint} {place.host}".strip()
    print_of = sha256("\0".join((place.code, place.host, place.endpoint)).encode(errors="replace")).hexdigest()[:16]
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
    }
    if where:
        location["logicalLocations"] = [{"fullyQualifiedName": where, "kind": "endpoint"}]
    return {
        "ruleId": place.code,
        "ruleIndex": codes.index(place.code),
        "level": _level(place.code),
        "message": {"text": f"{where}: {place.summary()}" if where else place.summary()},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": f"{print_of}:1"},
        "properties": {"count": len(place.findings), "evidence": place.lines()},
    }


def _uri(analysis: Analysis) -> str:
    """The first source as a relative reference; of a path that leads outside only its last name."""
    path = PurePosixPath(analysis.sources[0] if analysis.sources else "captures")
    inside = not path.is_absolute() and ".." not in path.parts
    return quote(str(path) if inside else path.name or "captures")
