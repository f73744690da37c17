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
import oracle_more
import oracle_queue
import oracle_traffic
import oracle_waits
from oracle_har import Ex, exchanges, iso, micros
from oracle_hints import Hint, instruction
from oracle_reading import Obs, checkout

SPECIFIC = {"shopify-checkout": checkout, "shopify-cart": oracle_more.cart, "par-posnext": oracle_more.par}
ALL = frozenset({*SPECIFIC, "shopify-queue", "http-async", "throttle"})
Interval = tuple[datetime, datetime]


def coverage_end(exs: list[Ex], coverage: Sequence[Interval] | None) -> int:
    """§1 "a HAR or flow file covers its first request start to its last response end"."""
    if coverage:
        return max(micros(end) for _, end in coverage)
    return max((ex.t_end for ex in exs), default=0)


def hint(ex: Ex, protocols: Collection[str]) -> Hint | None:
    """ "`pollAfter` or `pollDelay` in the body before Retry-After": only where a protocol knows them."""
    knows = "shopify-cart" in protocols and bool(oracle_more.cart(ex))
    knows = knows or ("shopify-queue" in protocols and oracle_queue.polled_token(ex) is not None)
    return (oracle_more.body_instruction(ex) if knows else None) or instruction(ex)


def readings(ex: Ex, protocols: Collection[str]) -> list[Obs]:
    """The specific protocols first, http-async where none recognises it, throttle always."""
    found = [obs for name in sorted(SPECIFIC) if name in protocols for obs in SPECIFIC[name](ex)]
    queue = "shopify-queue" in protocols and (oracle_queue.polled_token(ex) is not None or oracle_queue.queued(ex))
    if "http-async" in protocols and not found and not queue:
        found += oracle_more.http_async(ex)
    if "throttle" in protocols:
        found += oracle_more.throttle(ex)
    return found


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
    hints = {ex.index: hint(ex, protocols) for ex in exs}
    for ex in exs:
        ex.scope429 = "shopify-cart" in protocols and oracle_more.cart_throttled(ex)
    read = {ex.index: readings(ex, protocols) for ex in exs}
    lives = oracle_fold.fold([(ex, read[ex.index]) for ex in exs], "shopify-queue" in protocols)
    outcomes = {op: oracle_fold.settle(op, end, hints) for op in lives.ops}
    found = oracle_waits.waits(exs, lives, hints, end)
    case = oracle_findings.Case(exs, lives, hints, found, outcomes, "par-posnext" in protocols)
    told = oracle_findings.findings(case)
    listed = sorted(lives.ops, key=lambda op: (op.first.t_req, op.protocol, op.first.tie))
    journeys = oracle_traffic.journeys(listed, outcomes, found)
    shares, under_way = oracle_traffic.pending_shares(exs, read)
    return {
        "statuses": oracle_findings.statuses(exs),
        "operations": [oracle_fold.row(op, outcomes[op]) for op in listed],
        "durations": oracle_durations.durations(lives, outcomes),
        "waits": [oracle_waits.row(wait) for wait in found],
        "compliance": oracle_waits.compliance(found, end),
        "findings": told,
        "journeys": journeys,
        "queues": oracle_traffic.queues(journeys),
        "throttling": oracle_traffic.throttling(exs, lives, found, told),
        "polling": oracle_traffic.polling(exs, lives, outcomes, found),
        "pending_shares": shares,
        "under_way": under_way,
        "capture": {
            "exchanges": len(exs),
            "skipped": skipped,
            "from": iso(min((ex.t_req for ex in exs), default=None)),
            "to": iso(max((ex.t_end for ex in exs), default=None)),
            "sources": [],
        },
    }
