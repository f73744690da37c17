"""A second, plain implementation of the definitions, from their text alone: the tests' oracle.

``analyze(entries)`` takes the entries of a HAR 1.2 log (plain dicts) and gives one dict with the keys of the
JSON contract.  Exchanges are named by the entry's index, operations by ``(protocol, index of the submit)``
(of the first exchange, where the submit is missing), clients by their raw identity, keys by ``host|key``.
Standard library only; nothing of polltape.  Naive on purpose: quadratic, exact fractions, no caches.
What the text leaves open, and which reading is taken here, stands in READINGS.md.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import oracle_durations
import oracle_findings
import oracle_fold
import oracle_waits
from oracle_har import Ex, exchanges, iso, micros
from oracle_hints import instruction
from oracle_reading import checkout

READERS = {"shopify-checkout": checkout}
Interval = tuple[datetime, datetime]


def coverage_end(exs: list[Ex], coverage: Sequence[Interval] | None) -> int:
    """§1 "a HAR or flow file covers its first request start to its last response end"."""
    if coverage:
        return max(micros(end) for _, end in coverage)
    return max((ex.t_end for ex in exs), default=0)


def analyze(
    entries: Sequence[dict[str, Any]],
    *,
    coverage: Sequence[Interval] | None = None,
    protocols: Collection[str] = frozenset({"shopify-checkout"}),
    ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The analysis of one capture.

    ``coverage``: the recording sessions as (start, end); without it the entries' own span.  ``protocols``:
    which ones are on.  ``ids``: the exchange id of each entry, in the entries' order; only their order
    counts, where two instants are equal ("by instant, then id"); without them the entries' order decides.
    """
    exs, skipped = exchanges(entries, ids)
    end = coverage_end(exs, coverage)
    hints = {ex.index: instruction(ex) for ex in exs}
    readers = [READERS[name] for name in sorted(protocols)]
    lives = oracle_fold.fold([(ex, [obs for read in readers for obs in read(ex)]) for ex in exs])
    outcomes = {op: oracle_fold.settle(op, end, hints) for op in lives.ops}
    found = oracle_waits.waits(exs, lives, hints, end)
    case = oracle_findings.Case(exs, lives, hints, found, outcomes)
    listed = sorted(lives.ops, key=lambda op: (op.first.t_req, op.first.tie))
    return {
        "statuses": oracle_findings.statuses(exs),
        "operations": [oracle_fold.row(op, outcomes[op]) for op in listed],
        "durations": oracle_durations.durations(lives, outcomes),
        "waits": [oracle_waits.row(wait) for wait in found],
        "compliance": oracle_waits.compliance(found, end),
        "findings": oracle_findings.findings(case),
        "capture": {
            "exchanges": len(exs),
            "skipped": skipped,
            "from": iso(min((ex.t_req for ex in exs), default=None)),
            "to": iso(max((ex.t_end for ex in exs), default=None)),
            "sources": [],
        },
    }
