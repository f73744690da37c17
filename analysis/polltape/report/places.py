"""Findings by place: one entry for each code and endpoint, as CI servers want them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from polltape.measures.codes import CODES
from polltape.measures.words import clock, counted
from polltape.report.plain import Row, rows

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

MOST_LINES: Final = 20
"""Findings told one by one at a place; the rest is counted."""
ERRORS: Final = frozenset({"OP002", "OP003", "CQ003"})
"""The answer is lost: level ``error``."""
NOTES: Final = frozenset({"RA006", "OP007", "CQ005", "PN003"})
"""No breach: level ``note``; every other finding is a ``warning``."""
Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Place:
    """All findings of one code at one endpoint.

    ``endpoint`` (``METHOD template``) and ``host`` are those of the exchange that a finding is about, empty
    where that is unknown.  ``count``: how many there are; ``findings``: the first of them.
    """

    code: str
    host: str
    endpoint: str
    count: int
    findings: list[Row]

    @property
    def name(self) -> str:
        """Where it is, in one line; empty where that is unknown."""
        return f"{self.endpoint} {self.host}".strip()

    @property
    def fingerprint(self) -> str:
        """The same for the same code and place in every run."""
        return sha256("\0".join((self.code, self.host, self.endpoint)).encode(errors="replace")).hexdigest()[:16]

    def lines(self) -> list[str]:
        """The findings, one line each, with what a support ticket needs."""
        left = self.count - len(self.findings)
        return [*map(evidence, self.findings), *([f"… and {left} more"] if left else [])]

    def summary(self) -> str:
        """One message for all of them: where, what the first says and its ticket, and how many more there are."""
        text = str(self.findings[0]["message"])
        if others := self.count - 1:
            text += f" (and {counted(others, 'more like it', 'more like it')})"
        return "; ".join([f"{self.name}: {text}" if self.name else text, *ticket(self.findings[0])])


def evidence(row: Row) -> str:
    """When a finding was, what it says, and what a support ticket needs, in one line."""
    line = f"{clock(row['at_us'])} UTC: {row['message']}"
    if row["operation"]:
        line += f"; operation {row['operation']}"
    return "; ".join([line, *ticket(row)])


def ticket(row: Row) -> list[str]:
    """The last three X-Request-Ids of a finding and the versions of the API, where they are known."""
    found = []
    if row["request_ids"]:
        found.append(f"X-Request-Id {', '.join(row['request_ids'][-3:])}")
    if row["api_versions"]:
        found.append(f"API version {', '.join(row['api_versions'])}")
    return found


def level(code: str) -> Level:
    """How bad a finding of this code is, in SARIF's words."""
    return "error" if code in ERRORS else "note" if code in NOTES else "warning"


def places(analysis: Analysis) -> list[Place]:
    """Every place, by the order of codes in the handbook, then endpoint and host."""
    table = analysis.findings.fillna({"host": "", "endpoint": ""})
    found = [
        Place(str(code), str(host), str(endpoint), len(group), rows(group.head(MOST_LINES)))
        for (code, endpoint, host), group in table.groupby(["code", "endpoint", "host"], sort=False)
    ]
    order = {code: number for number, code in enumerate(CODES)}
    return sorted(found, key=lambda place: (order[place.code], place.endpoint, place.host))


def committed_file(analysis: Analysis, settings: str | None) -> str:
    """The file, as a relative reference, that a finding is shown at where one has to be named.

    The settings file where there is one, since it lies in the repository; else the first source.  Of a path that
    leads outside only its last name.
    """
    path = PurePosixPath(settings or (analysis.sources[0] if analysis.sources else "captures"))
    inside = not path.is_absolute() and ".." not in path.parts
    return quote(str(path) if inside else path.name or "captures")
