"""Findings by place: one entry for each code and endpoint, as CI servers want them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from polltape.measures.codes import CODES
from polltape.measures.words import clock, counted
from polltape.report.plain import Row, rows

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

MOST_LINES: Final = 20
"""Findings told one by one at a place; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Place:
    """All findings of one code at one endpoint.

    ``endpoint`` (``METHOD template``) and ``host`` are those of the exchange that a finding is about, empty
    where it is in no operation and names its endpoint in its message only.
    """

    code: str
    host: str
    endpoint: str
    findings: list[Row] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The findings, one line each, with what a support ticket needs."""
        told = [self._line(row) for row in self.findings[:MOST_LINES]]
        left = len(self.findings) - len(told)
        return [*told, f"… and {left} more"] if left else told

    @staticmethod
    def _line(row: Row) -> str:
        line = f"{clock(row['at_us'])} UTC: {row['message']}"
        if row["operation"]:
            line += f"; operation {row['operation']}"
        if row["request_ids"]:
            line += f"; X-Request-Id {', '.join(row['request_ids'][-3:])}"
        return line

    def summary(self) -> str:
        """One message for all of them."""
        text = str(self.findings[0]["message"])
        others = len(self.findings) - 1
        return f"{text} (and {counted(others, 'more like it', 'more like it')})" if others else text


def places(analysis: Analysis) -> list[Place]:
    """Every place, by the order of codes in the handbook, then endpoint and host."""
    where = _where(analysis)
    found: dict[tuple[str, str, str], Place] = {}
    for row in rows(analysis.findings):
        host, endpoint = where.get(row["exchanges"][-1] if row["exchanges"] else "", ("", ""))
        found.setdefault((row["code"], endpoint, host), Place(row["code"], host, endpoint)).findings.append(row)
    order = {code: number for number, code in enumerate(CODES)}
    return [found[key] for key in sorted(found, key=lambda key: (order.get(key[0], len(order)), *key))]


def _where(analysis: Analysis) -> dict[str, tuple[str, str]]:
    """Host and endpoint of each exchange of the timeline."""
    told = analysis.timeline[["exchange_id", "method", "endpoint", "url"]]
    return {
        exchange: (url.split("/")[2], f"{method} {endpoint}")
        for exchange, method, endpoint, url in told.itertuples(index=False)
    }
