"""The analysis as JSON: the contract of the handbook's page on the JSON, its keys first, more behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from polltape.measures.words import instant, iso
from polltape.report.plain import Row, json_text, rows

if TYPE_CHECKING:
    from polltape.exchange import Coverage
    from polltape.measures.analysis import Analysis
    from polltape.measures.suppressions import Suppression

SCHEMA: Final = "polltape.analysis/1"
"""Raised when a key changes its meaning or goes, not for a new one."""

Names = dict[str, str]
"""Key of the JSON → column of the table, in the order of the JSON."""


def _same(*names: str) -> Names:
    return dict(zip(names, names, strict=True))


STATUSES: Final = _same("host", "endpoint", "status", "count", "meaning", "fault")
OPERATIONS: Final = (
    _same("id", "protocol", "kind", "key", "host", "client", "truncated")
    | {"submitted_at": "submitted_us", "accepted_at": "accepted_us", "ended_at": "ended_us"}
    | _same("outcome", "polls", "statuses", "duration_s", "lower_s", "upper_s", "observed_s", "exchanges")
)
OUTCOMES: Final = ("completed", "failed", "rejected", "action_required", "superseded", "abandoned", "pending")
DURATIONS: Final = _same(
    *("protocol", "kind", "host", "operations", *OUTCOMES, "truncated", "at_once"),
    *("p50_s", "p50_low_s", "p50_high_s", "p50_lower_s", "p90_s", "p95_s", "p99_s", "bracket_s"),
    *("p90_lower_s", "p95_lower_s", "p99_lower_s", "p50_turnbull_low_s", "p50_turnbull_high_s", "longest_s"),
    *("horizon_s", "shares", "abandoned_share", "superseded_share"),
)
WAITS: Final = (
    {"operation": "operation", "exchange": "exchange_id", "next_exchange": "next_exchange", "source": "source"}
    | {"raw": "raw", "class": "klass", "clock": "clock"}
    | _same("asked_s", "waited_s", "margin_s", "verdict", "rated", "scope")
    | _same("protocol", "kind", "host", "endpoint", "client", "status")
    | {"received_at": "end_us"}
)
COMPLIANCE: Final = _same(
    *("protocol", "kind", "host", "kept", "late", "early", "unanswered", "open", "void"),
    *("rate", "low", "high", "operations", "operations_clean", "clients", "late_s"),
    *("cluster_low", "cluster_high"),
)
BREAKDOWNS: Final = (
    _same("by", "protocol", "kind", "host", "endpoint", "client", "status")
    | {"hour": "hour_us"}
    | {name: name for name in COMPLIANCE if name not in ("protocol", "kind", "host")}
)
FINDINGS: Final = _same("code", "fault", "message", "operation", "exchanges", "request_ids") | {
    "at": "at_us",
    "api_versions": "api_versions",
    "host": "host",
    "endpoint": "endpoint",
}
JOURNEYS: Final = (
    _same("operation", "host", "client", "outcome", "truncated")
    | {"released_at": "released_us"}
    | _same("release_s", "result_s", "observed_s", "eta_s", "eta_error_s", "eta_error_share", "polls", "polls_ignored")
)
QUEUES: Final = _same(
    *("host", "journeys", "released", "completed", "truncated"),
    *("release_p50_s", "release_p90_s", "result_p50_s", "result_p90_s"),
    *("estimated", "eta_error_p50_s", "eta_off_p50", "eta_wrong", "polls", "polls_ignored"),
)
THROTTLING: Final = _same(
    *("host", "requests", "throttled", "share", "operations", "ended", "clients", "lost_s", "longest_s"),
    *("again", "early"),
)
POLLING: Final = _same(
    *("protocol", "kind", "host", "operations", "completed", "polls", "polls_per_completed", "polls_p50"),
    *("polls_max", "requests", "share", "early", "peak_per_s"),
)
WRITES: Final = _same("writes", "pending", "share", "low", "high")
PENDING_SHARES: Final = _same("protocol", "host", "endpoint") | WRITES | _same("threshold", "exception")
UNDER_WAY: Final = _same("protocol", "host", "endpoint", "under_way_from", "under_way_to") | WRITES
TABLES: Final[dict[str, Names]] = {
    "statuses": STATUSES,
    "operations": OPERATIONS,
    "durations": DURATIONS,
    "waits": WAITS,
    "compliance": COMPLIANCE,
    "findings": FINDINGS,
    "journeys": JOURNEYS,
    "queues": QUEUES,
    "throttling": THROTTLING,
    "polling": POLLING,
    "pending_shares": PENDING_SHARES,
    "under_way": UNDER_WAY,
    "breakdowns": BREAKDOWNS,
}
"""Each list of the JSON, which is also the name of the table in the analysis."""
ON_DEMAND: Final = frozenset({"breakdowns"})
"""Tables that are made only when they are asked for, and so are no list of the JSON."""


def to_json(analysis: Analysis) -> str:
    """The analysis as one indented JSON object with a line break at its end.

    Instants are ISO 8601 UTC with microseconds, durations seconds, shares 0 to 1; what is unknown is null,
    never 0 and never NaN.  The order of keys and rows is the same in every run.
    """
    return json_text(document(analysis))


def document(analysis: Analysis) -> dict[str, Any]:
    """What :func:`to_json` prints, as plain Python values."""
    return (
        {"schema": SCHEMA, "capture": _capture(analysis)}
        | {table: rows_of(analysis, table) for table in TABLES if table not in ON_DEMAND}
        | {"suppressed": [_hidden(suppression, count) for suppression, count in analysis.suppressed]}
        | {"coverage": [session_row(session) for session in analysis.coverage]}
    )


def to_json_lines(analysis: Analysis, table: str) -> str:
    """One table, each row a JSON object on a line of its own."""
    return "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows_of(analysis, table))


def _hidden(suppression: Suppression, count: int) -> Row:
    names = ("code", "host", "route", "reason", "where")
    return {name: getattr(suppression, name) for name in names} | {"count": count}


def rows_of(analysis: Analysis, table: str) -> list[Row]:
    """The rows of one table with the keys of the JSON."""
    names = TABLES[table]
    return [_row(row, names) for row in rows(getattr(analysis, table))]


def _row(row: Row, names: Names) -> Row:
    return {key: iso(row.get(name)) if name.endswith("_us") else row.get(name) for key, name in names.items()}


def _capture(analysis: Analysis) -> Row:
    return {
        "exchanges": analysis.exchanges,
        "skipped": analysis.skipped,
        "from": iso(analysis.from_us),
        "to": iso(analysis.to_us),
        "sources": list(analysis.sources),
        "warnings": list(analysis.warnings),
    }


def session_row(session: Coverage) -> Row:
    """When one session was there to see, instants as text."""
    return {
        "session": session.session_id,
        "from": instant(session.started_at),
        "to": instant(session.ended_at),
        "clean": session.clean,
        "filter": session.filter,
        "gaps": session.gaps,
        "source": session.source,
    }
