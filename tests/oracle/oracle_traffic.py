"""The queue, throttling, polling and "not yet" by endpoint, plainly: as docs/analyze.md defines them.

Naive on purpose, as the rest of the oracle: every request is compared with every other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from statistics import median
from typing import Any

import oracle_queue
from oracle_durations import quantile
from oracle_fold import Lives, Op, seconds
from oracle_har import Ex, iso
from oracle_hints import instruction
from oracle_reading import Obs, endpoint
from oracle_waits import Wait, wilson

Row = dict[str, Any]
HALF, NINE_TENTHS = Fraction(1, 2), Fraction(9, 10)


def grouped(items: Iterable[Any], name: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    found: dict[Any, list[Any]] = {}
    for item in items:
        found.setdefault(name(item), []).append(item)
    return sorted(found.items())


def middle(values: list[Any]) -> float | None:
    return float(median(values)) if values else None


# ------------------------------------------------------------------------------------------------ queue


def journey(op: Op, outcome: str, waits: list[Wait]) -> Row:
    parts = sorted(op.parts, key=lambda p: (p.ex.t_end, p.ex.tie))
    out = next((p.ex.t_end for p in parts if p.state == "released"), None)
    told = next((p.ex for p in parts if oracle_queue.answer(p.ex).get("queueEtaSeconds") is not None), None)
    eta = None if told is None else oracle_queue.answer(told)["queueEtaSeconds"]
    error = None if told is None or out is None else (out - told.t_end) / 1_000_000 - eta
    polls = {p.ex.index for p in op.parts if p.role == "poll"}
    early = [w for w in waits if w.op is op and w.verdict == "early" and w.hint.source == "pollAfter"]
    cut = op.truncated
    return {
        "operation": op.name,
        "host": op.first.host,
        "outcome": outcome,
        "truncated": cut,
        "released_at": iso(out),
        "release_s": None if cut or out is None else seconds(out - op.t0),
        "result_s": None if cut else seconds(op.duration()),
        "observed_s": None if cut else seconds(op.observed()),
        "eta_s": eta,
        "eta_error_s": error,
        "eta_error_share": error / eta if error is not None and eta > 0 else None,
        "polls": op.polls,
        "polls_ignored": len(polls & {w.next.index for w in early if w.next}),
    }


def journeys(ops: list[Op], outcomes: dict[Op, str], waits: list[Wait]) -> list[Row]:
    return [journey(op, outcomes[op], waits) for op in ops if op.protocol == "shopify-queue"]


def queues(found: list[Row]) -> list[Row]:
    rows = []
    for host, group in grouped(found, lambda row: row["host"]):
        whole = [row for row in group if not row["truncated"]]
        known = [row for row in group if row["eta_error_s"] is not None]
        lived = [(row["observed_s"] if row["result_s"] is None else row["result_s"], row) for row in whole]
        result = [(round(t * 1_000_000), row["result_s"] is not None) for t, row in lived]
        out = [
            (round((t if row["release_s"] is None else row["release_s"]) * 1_000_000), row["release_s"] is not None)
            for t, row in lived
        ]
        rows.append(
            {"host": host, "journeys": len(whole), "truncated": len(group) - len(whole), "estimated": len(known)}
            | {"released": sum(row["release_s"] is not None for row in whole)}
            | {"completed": sum(row["outcome"] == "completed" for row in whole)}
            | {"release_p50_s": quantile(out, HALF), "release_p90_s": quantile(out, NINE_TENTHS)}
            | {"result_p50_s": quantile(result, HALF), "result_p90_s": quantile(result, NINE_TENTHS)}
            | {"eta_error_p50_s": middle([row["eta_error_s"] for row in known])}
            | {"eta_off_p50": middle([abs(s) for row in known if (s := row["eta_error_share"]) is not None])}
            | {"eta_wrong": sum(abs(row["eta_error_s"]) > row["eta_s"] / 2 for row in known)}
            | {name: sum(row[name] for row in group) for name in ("polls", "polls_ignored")}
        )
    return rows


# ------------------------------------------------------------------------------------------- throttling


def throttled(ex: Ex) -> bool:
    by_status = ex.status in (429, 503) or (ex.status == 413 and instruction(ex) is not None)
    return ex.scope429 or (by_status and ex.header("X-Checkout-Queue") is None)


def throttling(exs: list[Ex], lives: Lives, waits: list[Wait], findings: list[Row]) -> list[Row]:
    ops = [op for op in lives.ops if op.protocol == "throttle"]
    retries = {p.ex.index for op in ops for p in op.parts if p.role == "poll"}
    # the scope of a host, as §5 gives it: by status, or in the words of a cart
    host_wide = [
        w for w in waits if w.ex.scope429 or (w.ex.status in (429, 503, 413) and not w.ex.header("X-Checkout-Queue"))
    ]
    early = {w.next.index for w in host_wide if w.verdict == "early" and w.next}
    early |= {row["exchanges"][-1] for row in findings if row["code"] == "RA007"}
    rows = []
    for host, group in grouped(exs, lambda ex: ex.host):
        mine = [op for op in ops if op.first.host == host]
        lost = [(op.duration() or 0) if op.ended else op.observed() for op in mine]
        refused = [ex for ex in group if throttled(ex)]
        if refused:
            rows.append(
                {"host": host, "requests": len(group), "throttled": len(refused), "share": len(refused) / len(group)}
                | {"operations": len(mine), "ended": sum(op.ended for op in mine)}
                | {"clients": len({op.first.client for op in mine})}
                | {"lost_s": seconds(sum(lost)) if mine else None, "longest_s": seconds(max(lost, default=None))}
                | {"again": sum(ex.index in retries for ex in refused)}
                | {"early": sum(ex.index in early for ex in group)}
            )
    return rows


# ---------------------------------------------------------------------------------------------- polling


def polling(exs: list[Ex], lives: Lives, outcomes: dict[Op, str], waits: list[Wait]) -> list[Row]:
    early = {w.next.index for w in waits if w.verdict == "early" and w.next}
    rows = []
    ops = [op for op in lives.ops if op.protocol != "throttle"]
    for head, group in grouped(ops, lambda op: (op.protocol, op.kind, op.first.host)):
        polls = [p.ex for op in group for p in op.parts if p.role == "poll"]
        ended = [op.polls for op in group if op.ended and not op.truncated]
        completed = sum(outcomes[op] == "completed" for op in group)
        requests = sum(ex.host == head[2] for ex in exs)
        peaks = [sum(0 <= ex.t_req - other.t_req < 1_000_000 for other in polls) for ex in polls]
        rows.append(
            dict(zip(("protocol", "kind", "host"), head, strict=True))
            | {"operations": len(group), "completed": completed, "polls": len(polls)}
            | {"polls_per_completed": len(polls) / completed if completed else None}
            | {"polls_p50": middle(ended), "polls_max": max(ended, default=None)}
            | {"requests": requests, "share": len(polls) / requests}
            | {"early": sum(ex.index in early for ex in polls), "peak_per_s": max(peaks, default=0)}
        )
    return rows


# ---------------------------------------------------------------------------------------------- not yet


def writes(exs: list[Ex], readings: dict[int, list[Obs]]) -> list[tuple[tuple[str, str, str], Ex, bool]]:
    """Protocol, host and endpoint of each write that was answered, and whether it was "not yet"."""
    found = []
    for ex in exs:
        mine = [obs for obs in readings[ex.index] if obs.role == "write" and ex.status is not None]
        if mine:
            pending = ex.status == 202 or any(obs.state == "pending" for obs in mine)
            found.append(((mine[0].protocol, ex.host, endpoint(ex)), ex, pending))
    return found


def shared(group: list[tuple[Any, Ex, bool]]) -> Row:
    pending = sum(shown for _, _, shown in group)
    low, high = wilson(pending, len(group))
    return {"writes": len(group), "pending": pending, "share": pending / len(group), "low": low, "high": high}


def under_way(ex: Ex, exs: list[Ex]) -> int:
    """Requests to the same endpoint that had begun by then and not ended, itself included."""
    here = [other for other in exs if (other.host, endpoint(other)) == (ex.host, endpoint(ex))]
    t = ex.t_req
    return sum(o.t_req <= t and (o.t_end > t or o.t_req == o.t_end == t) for o in here)


def pending_shares(exs: list[Ex], readings: dict[int, list[Obs]]) -> tuple[list[Row], list[Row]]:
    shares, steps = [], []
    for head, group in grouped(writes(exs, readings), lambda write: write[0]):
        names = dict(zip(("protocol", "host", "endpoint"), head, strict=True))
        row = shared(group)
        if head[0] == "http-async" and not row["pending"]:
            continue
        threshold = 0.05 if head[0] == "par-posnext" else None
        verdict = None
        if threshold is not None:
            verdict = True if row["high"] <= threshold else False if row["low"] > threshold else None
        shares.append(names | row | {"threshold": threshold, "exception": verdict})
        for power, part in grouped(group, lambda write: under_way(write[1], exs).bit_length() - 1):
            steps.append(names | {"under_way_from": 2**power, "under_way_to": 2 ** (power + 1) - 1} | shared(part))
    return shares, steps
