"""One operation request by request: what the text timeline, the HTML waterfall and the figure all draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from polltape.report.plain import Row, rows

if TYPE_CHECKING:
    import pandas as pd

    from polltape.measures.analysis import Analysis

EVERY_EXCHANGE: Final = frozenset({"ST001", "ST002"})
"""Findings about each exchange that they name; any other is about the last one it names."""


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange of an operation; seconds count from the start of the operation's first request.

    ``asked_s``: how long its answer asked to wait; ``waited_s``, ``margin_s``, ``verdict``: what came of it;
    None where no wait was opened.  ``codes``: the findings about this exchange.
    """

    exchange: str
    role: str
    state: str | None
    method: str
    endpoint: str
    status: int | None
    error: str | None
    request_id: str | None
    start_s: float
    response_start_s: float | None
    end_s: float
    source: str | None
    raw: str | None
    klass: str | None
    asked_s: float | None
    waited_s: float | None
    margin_s: float | None
    verdict: str | None
    codes: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The status as text, or what took its place."""
        return str(self.status) if self.status is not None else self.error or "no response"


@dataclass(frozen=True, slots=True)
class Life:
    """An operation with its steps by request start, and the findings that name it or its exchanges.

    ``operation`` and ``findings`` are rows of the analysis; ``start_us`` is the instant that seconds count from.
    """

    operation: Row
    start_us: int
    steps: tuple[Step, ...]
    findings: tuple[Row, ...]

    @property
    def span_s(self) -> float:
        """Seconds to draw: to the last answer, and the wait promised with it where that is not much longer.

        A life of one instant is drawn on a second.
        """
        last = max(step.end_s for step in self.steps)
        promised = max(step.end_s + min(step.asked_s or 0.0, 1e6) for step in self.steps)
        return min(promised, max(2 * last, last + 1.0)) or 1.0


def lives_of(analysis: Analysis, operations: Iterable[str]) -> list[Life]:
    """The operations of these ids, in this order; those without a timeline are left out."""
    wanted = list(dict.fromkeys(operations))
    told = _grouped(analysis.timeline[analysis.timeline["operation"].isin(wanted)])
    exchanges = {row["exchange_id"] for steps in told.values() for row in steps}
    waits = {row["exchange_id"]: row for row in rows(analysis.waits[analysis.waits["exchange_id"].isin(exchanges)])}
    findings = _findings(analysis, set(wanted), exchanges)
    known = {row["id"]: row for row in rows(analysis.operations[analysis.operations["id"].isin(wanted)])}
    return [_life(known[name], told[name], waits, findings) for name in wanted if name in known and name in told]


def _grouped(timeline: pd.DataFrame) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows(timeline):
        found.setdefault(row["operation"], []).append(row)
    return found


def _findings(analysis: Analysis, operations: set[str], exchanges: set[str]) -> list[Row]:
    """Those of these operations, and those of no operation that name one of the exchanges."""
    table = analysis.findings
    theirs = [
        name in operations or (not isinstance(name, str) and not exchanges.isdisjoint(named))
        for name, named in zip(table["operation"], table["exchanges"], strict=True)
    ]
    return rows(table[theirs])


def _life(operation: Row, told: list[Row], waits: dict[str, Row], findings: list[Row]) -> Life:
    own = {row["exchange_id"] for row in told}
    about = [
        row
        for row in findings
        if row["operation"] == operation["id"] or (row["operation"] is None and not own.isdisjoint(row["exchanges"]))
    ]
    codes: dict[str, list[str]] = {}
    for row in about:
        for exchange in row["exchanges"] if row["code"] in EVERY_EXCHANGE else row["exchanges"][-1:]:
            codes.setdefault(exchange, []).append(row["code"])
    start_us = min(row["start_us"] for row in told)
    steps = tuple(_step(row, start_us, waits.get(row["exchange_id"], {}), codes) for row in told)
    return Life(operation, start_us, steps, tuple(about))


def _step(row: Row, start_us: int, wait: Row, codes: dict[str, list[str]]) -> Step:
    def since(us: int | None) -> float | None:
        return None if us is None else (us - start_us) / 1e6

    return Step(
        exchange=row["exchange_id"],
        role=row["role"],
        state=row["state"],
        method=row["method"],
        endpoint=row["endpoint"],
        status=row["status"],
        error=row["error"],
        request_id=row["request_id"],
        start_s=since(row["start_us"]) or 0.0,
        response_start_s=since(row["response_start_us"]),
        end_s=since(row["end_us"]) or 0.0,
        source=row["source"],
        raw=row["raw"],
        klass=row["klass"],
        asked_s=wait.get("asked_s"),
        waited_s=wait.get("waited_s"),
        margin_s=wait.get("margin_s"),
        verdict=wait.get("verdict"),
        codes=tuple(dict.fromkeys(codes.get(row["exchange_id"], ()))),
    )
