"""Waits: what opens one, which request it governs, the verdict, the compliance rate (§5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import urldefrag, urljoin

from oracle_fold import Lives, Op, seconds
from oracle_har import Ex
from oracle_hints import Hint
from oracle_more import normal

UNDER_WAY = 100_000  # "a request to another method or path that starts within 100 ms counts as under way"
DELAY_TOLERANCE = Fraction(10_000)  # "10 ms for seconds, fractions and delays"
DATE_TOLERANCE = Fraction(1_000_000)  # "1 s for dates and pollAfter"
Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(eq=False)
class Wait:
    ex: Ex
    op: Op | None
    hint: Hint
    next: Ex | None
    verdict: str = ""

    @property
    def asked(self) -> Fraction:
        """Microseconds, exact."""
        return (self.hint.asked or Fraction(0)) * 1_000_000

    @property
    def deadline(self) -> Fraction:
        return self.ex.t_end + self.asked

    @property
    def tolerance(self) -> Fraction:
        return DATE_TOLERANCE if self.hint.dated else DELAY_TOLERANCE

    @property
    def waited(self) -> int | None:
        """ "request start − response end"."""
        return None if self.next is None else self.next.t_req - self.ex.t_end


def by_status(ex: Ex) -> bool:
    """§5 "on every 429, 503, 413 and 3xx"."""
    return ex.status is not None and (ex.status in (429, 503, 413) or 300 <= ex.status < 400)


def throttles(ex: Ex) -> bool:
    """ "429, 503, 413 without X-Checkout-Queue"."""
    if ex.scope429:  # "SubmitThrottled and CartThrottled … a wait with the scope of a 429"
        return True
    return ex.status in (429, 503, 413) and ex.header("X-Checkout-Queue") is None


def opener(ex: Ex, lives: Lives) -> tuple[bool, Op | None]:
    """Whether an instruction on this response could open a wait, and for which operation."""
    for op, part in lives.parts.get(ex.index, []):
        # "the submit, a join or a non-final poll"; "An answer opens no wait for an operation that it ends"
        if not part.final and (part.role in ("submit", "join", "poll") or by_status(ex)):
            return True, op
    outside = any(other is ex for _, other in lives.outside)
    # "another role it plays still does"
    return by_status(ex) or outside or ex.scope429, None


def first(requests: list[Ex]) -> Ex | None:
    return min(requests, key=lambda r: (r.t_req, r.tie), default=None)


def redirected(ex: Ex, after: list[Ex]) -> Ex | None:
    """ "3xx → the redirected request": the same client's, to what Location names; none without Location."""
    location = ex.header("Location")
    if not location:
        return None
    target = normal(urldefrag(urljoin(ex.url, location)).url)
    return first([r for r in after if r.client == ex.client and normal(r.url) == target])


def governed(ex: Ex, op: Op | None, exs: list[Ex]) -> Ex | None:
    """§5 Governed request."""
    # "the first request that starts at or after the response's end, in the wait's scope"
    after = [r for r in exs if r is not ex and r.t_req >= ex.t_end]
    if throttles(ex):
        mine = [r for r in after if (r.client, r.host) == (ex.client, ex.host)]
        return first([r for r in mine if (r.method, r.path) == (ex.method, ex.path) or r.t_req - ex.t_end > UNDER_WAY])
    if ex.status is not None and 300 <= ex.status < 400:
        return redirected(ex, after)
    if op is not None:
        # "the next poll, join or resubmit of the operation"
        own = {p.ex.index for p in op.parts if p.role in ("poll", "join", "resubmit")}
        return first([r for r in after if r.index in own])
    # "without operation, the next request of the same client, method, host and path"
    same = (ex.client, ex.method, ex.host, ex.path)
    return first([r for r in after if (r.client, r.method, r.host, r.path) == same])


def verdict(wait: Wait, coverage_end: int) -> str:
    """§5 Verdict."""
    if wait.next is None:
        if wait.op is not None and wait.op.outcome is not None:
            return "void"  # "the operation ended or was superseded before the scope spoke"
        return "unanswered" if coverage_end > wait.deadline else "open"
    waited = wait.next.t_req - wait.ex.t_end
    # "early if margin < −tolerance, from response end *and* from response start (where known)"
    early = waited - wait.asked < -wait.tolerance
    if early and wait.ex.t_resp is not None:
        early = wait.next.t_req - wait.ex.t_resp - wait.asked < -wait.tolerance
    if early:
        return "early"
    # "kept if not early and waited ≤ asked + max(1 s, asked); late beyond"
    return "kept" if waited <= wait.asked + max(Fraction(1_000_000), wait.asked) else "late"


def waits(exs: list[Ex], lives: Lives, hints: dict[int, Hint | None], coverage_end: int) -> list[Wait]:
    found = []
    for ex in sorted(exs, key=lambda e: (e.t_end, e.tie)):
        hint = hints[ex.index]
        could, op = opener(ex, lives)
        # "an unusable value opens none"
        if not could or hint is None or hint.asked is None:
            continue
        wait = Wait(ex, op, hint, governed(ex, op, exs))
        wait.verdict = verdict(wait, coverage_end)
        found.append(wait)
    return found


def row(wait: Wait) -> dict[str, Any]:
    margin = None if wait.waited is None else wait.waited - wait.asked
    return {
        "operation": wait.op.name if wait.op else None,
        "exchange": wait.ex.index,
        "next_exchange": wait.next.index if wait.next else None,
        "source": wait.hint.source,
        "raw": wait.hint.raw,
        "class": wait.hint.klass,
        "clock": wait.hint.clock,
        "asked_s": seconds(wait.asked),
        "waited_s": seconds(wait.waited),
        "margin_s": seconds(margin),
        "verdict": wait.verdict,
    }


def wilson(good: int, n: int) -> tuple[float | None, float | None]:
    """95 % Wilson score interval; null without a rated wait."""
    if n == 0:
        return None, None
    p = good / n
    middle = p + Z * Z / (2 * n)
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + Z * Z / n)), min(1.0, (middle + half) / (1 + Z * Z / n))


def rated(wait: Wait, coverage_end: int) -> bool:
    """ "over the waits whose deadline lies within coverage (deadline ≤ its end)"; recorder-clock and
    date-invalid ones are "left out of the rate"."""
    spoken = wait.verdict in ("kept", "late", "early")
    return spoken and wait.hint.rated and wait.deadline <= coverage_end


def compliance(found: list[Wait], coverage_end: int) -> list[dict[str, Any]]:
    groups: dict[tuple[str | None, str | None, str], list[Wait]] = {}
    for wait in found:
        # "protocol and kind null without an operation"
        head = (wait.op.protocol, wait.op.kind) if wait.op else (None, None)
        groups.setdefault((*head, wait.ex.host), []).append(wait)
    rows = []
    for (protocol, kind, host), group in sorted(groups.items(), key=lambda g: [x or "" for x in g[0]]):
        judged = [w for w in group if rated(w, coverage_end)]
        count = {v: sum(w.verdict == v for w in judged) for v in ("kept", "late", "early")}
        count |= {v: sum(w.verdict == v for w in group) for v in ("unanswered", "open", "void")}
        good, n = count["kept"] + count["late"], len(judged)
        low, high = wilson(good, n)
        names = {w.op.name for w in judged if w.op}
        unclean = {w.op.name for w in judged if w.op and w.verdict == "early"}
        rows.append(
            {"protocol": protocol, "kind": kind, "host": host, **count}
            | {"rate": good / n if n else None, "low": low, "high": high}
            | {"operations": len(names), "operations_clean": len(names - unclean)}
            | {"clients": len({w.ex.client for w in judged})}
        )
    return rows
