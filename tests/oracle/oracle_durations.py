"""Durations rows: Kaplan-Meier with exact fractions, Brookmeyer-Crowley (§4)."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import median
from typing import Any

from oracle_fold import Lives, Op, seconds

Z = 1.959963984540054
OUTCOMES = ("completed", "failed", "rejected", "action_required", "superseded", "abandoned", "pending")


def kaplan_meier(points: list[tuple[int, bool]]) -> list[tuple[int, Fraction, Fraction]]:
    """(event time, S(t), Greenwood's sum); one censored at an event's time is still at risk there."""
    curve, alive, greenwood = [], Fraction(1), Fraction(0)
    for t in sorted({time for time, event in points if event}):
        at_risk = sum(time >= t for time, _ in points)
        dead = sum(time == t and event for time, event in points)
        alive *= Fraction(at_risk - dead, at_risk)
        if at_risk > dead:
            greenwood += Fraction(dead, at_risk * (at_risk - dead))
        curve.append((t, alive, greenwood))
    return curve


def quantile(points: list[tuple[int, bool]], p: Fraction) -> float | None:
    """ "the smallest event time with S(t) ≤ 1 − p"; null where the data does not reach it."""
    return seconds(next((t for t, alive, _ in kaplan_meier(points) if alive <= 1 - p), None))


def median_band(points: list[tuple[int, bool]]) -> tuple[float | None, float | None]:
    """ "first event time where the lower, the upper log-log band is ≤ 0.5; where S = 0 the band gives no end"."""
    low = high = None
    for t, alive, greenwood in kaplan_meier(points):
        if alive == 0:
            continue
        log = math.log(float(alive))
        width = Z * math.sqrt(float(greenwood)) / abs(log)
        if low is None and float(alive) ** math.exp(width) <= 0.5:
            low = t
        if high is None and float(alive) ** math.exp(-width) <= 0.5:
            high = t
    return seconds(low), seconds(high)


def brackets(ops: list[Op]) -> float | None:
    """Median of upper − lower over the operations that ended."""
    widths = [upper - op.lower() for op in ops if (upper := op.upper()) is not None]
    return seconds(median(widths)) if widths else None


def row(head: tuple[str, str, str], ops: list[Op], outcomes: dict[Any, str], at_once: int | None) -> dict[str, Any]:
    whole = [op for op in ops if not op.truncated]
    lived = [(op.duration(), True) if op.ended else (op.observed(), False) for op in whole]
    points = [(int(t or 0), event) for t, event in lived]
    lower = [(op.lower(), op.ended) for op in whole]
    low, high = median_band(points)
    half = Fraction(1, 2)
    return {
        **dict(zip(("protocol", "kind", "host"), head, strict=True)),
        "operations": len(whole),
        **{name: sum(outcomes[op] == name for op in whole) for name in OUTCOMES},
        "truncated": len(ops) - len(whole),
        "at_once": at_once,
        "p50_s": quantile(points, half),
        "p50_low_s": low,
        "p50_high_s": high,
        "p50_lower_s": quantile(lower, half),
        "p90_s": quantile(points, Fraction(9, 10)),
        "p95_s": quantile(points, Fraction(19, 20)),
        "p99_s": quantile(points, Fraction(99, 100)),
        "bracket_s": brackets(whole),
    }


def durations(lives: Lives, outcomes: dict[Any, str]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[Op]] = {}
    for op in lives.ops:
        groups.setdefault((op.protocol, op.kind, op.first.host), []).append(op)
    rows = []
    for head, ops in sorted(groups.items()):
        # "null where the protocol has no closed set of writes: http-async, throttle, queue"
        open_set = head[0] in ("http-async", "throttle", "shopify-queue")
        mine = [ex for obs, ex in lives.at_once if obs.role == "write" and (obs.protocol, obs.kind, ex.host) == head]
        at_once = None if open_set else len(mine)
        rows.append(row(head, ops, outcomes, at_once))
    return rows
