"""Findings (§6) that shopify-checkout and the generic rules for waits can give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import oracle_more
import oracle_queue
from oracle_fold import Lives, Op
from oracle_har import Ex, iso
from oracle_hints import Hint
from oracle_reading import checkout_template, endpoint
from oracle_waits import UNDER_WAY, Wait, opener, throttles

STUCK_AFTER = {"shopify-checkout": 20_000_000, "par-posnext": 60_000_000}  # others 300 s
# seeds/001: the statuses that Shopify documents
LISTED = {200, 201, 202, 400, 401, 402, 403, 404, 406, 422, 429, 500, 501, 503}
CLIENT_ERRORS = {400, 401, 402, 403, 404, 406, 422}
CLIENT_CODES = {"RA001", "RA002", "RA006", "RA007", "OP002", "OP003", "OP004", "OP005", "ST002"} | {
    *("CQ001", "CQ002", "CQ003", "CQ004")
}
# "at is the offending request's start for the client's requests (RA001, 2, 6, 7, CQ001, 2, 4, OP004, 5)"
AT_REQUEST = {"RA001", "RA002", "RA006", "RA007", "CQ001", "CQ002", "CQ004", "OP004", "OP005"}


@dataclass(eq=False)
class Case:
    """Everything that a finding is made from."""

    exs: list[Ex]
    lives: Lives
    hints: dict[int, Hint | None]
    waits: list[Wait]
    outcomes: dict[Op, str]
    par: bool = False


def finding(code: str, op: Op | None, exs: list[Ex]) -> dict[str, Any]:
    """``exs``: the exchanges that prove it, the offending request last."""
    at = exs[-1].t_req if code in AT_REQUEST else max(e.t_end for e in exs)
    fault = "client" if code in CLIENT_CODES else "capture" if code == "OP007" else "server"
    ids = [v for e in exs if (v := e.header("X-Request-Id"))]
    return {
        "code": code,
        "fault": fault,
        "message": "",
        "operation": op.name if op else None,
        "exchanges": [e.index for e in exs],
        "request_ids": ids,
        "at": iso(at),
    }


def wait_findings(case: Case) -> list[dict[str, Any]]:
    """RA001, RA002 ("waited under a tenth of it (instead of RA001)"), RA006."""
    found = []
    for wait in case.waits:
        if wait.next is None or wait.waited is None:
            continue
        if wait.verdict == "early":
            code = "RA002" if wait.waited * 10 < wait.asked else "RA001"
            found.append(finding(code, wait.op, [wait.ex, wait.next]))
            # CQ001: "polled before pollAfter in the queue (besides RA001 or RA002)"; a resubmit is no poll
            polls = wait.op is not None and any(p.ex is wait.next and p.role == "poll" for p in wait.op.parts)
            if wait.hint.source == "pollAfter" and wait.op and wait.op.protocol == "shopify-queue" and polls:
                found.append(finding("CQ001", wait.op, [wait.ex, wait.next]))
        elif wait.verdict == "late":
            found.append(finding("RA006", wait.op, [wait.ex, wait.next]))
    return found


def crossing(case: Case) -> list[dict[str, Any]]:
    """RA007: "once per request, whatever the number of waits": the first wait stands for all."""
    found = []
    for request in case.exs:
        for wait in case.waits:
            ex = wait.ex
            if (
                throttles(ex)
                and (request.client, request.host) == (ex.client, ex.host)
                and (request.method, request.path) != (ex.method, ex.path)
                # "not under way"
                and request.t_req - ex.t_end > UNDER_WAY
                # "before the deadline less the tolerance"
                and request.t_req < wait.deadline - wait.tolerance
            ):
                found.append(finding("RA007", wait.op, [ex, request]))
                break
    return found


def response_findings(case: Case) -> list[dict[str, Any]]:
    """RA003, RA004, RA005: one a response."""
    found = []
    for ex in case.exs:
        hint = case.hints[ex.index]
        could, op = opener(ex, case.lives)
        if hint is None and ex.scope429:
            found.append(finding("RA003", op, [ex]))
        elif hint is None:
            found += [
                finding("RA003", op, [ex]) for op, part in case.lives.parts.get(ex.index, []) if part.obs.hint_expected
            ]
        elif could and hint.finding:
            found.append(finding(hint.finding, op, [ex]))
    return found


def abandoned_code(op: Op, hints: dict[int, Hint | None]) -> str | None:
    """CQ003, OP002, OP003 or OP007: what an abandoned operation is."""
    if any(p.state == "released" for p in op.parts):
        return "CQ003"
    if op.protocol == "throttle" and not op.polls:
        return None  # "not for 503, 413, nor a 429 without X-Checkout-Queue"
    if op.polls:
        return "OP002"
    usable = any((h := hints[p.ex.index]) is not None and h.asked is not None for p in op.parts)
    address = any(p.obs.address for p in op.parts)
    if usable or address:
        return "OP003"
    # "in a specific protocol only"
    return None if op.protocol == "http-async" else "OP007"


def ends(op: Op) -> list[Ex]:
    """Its first exchange and its last."""
    return [op.first] if op.first is op.last.ex else [op.first, op.last.ex]


def operation_findings(case: Case) -> list[dict[str, Any]]:
    found = []
    for op in case.lives.ops:
        stuck_after = STUCK_AFTER.get(op.protocol, 300_000_000)
        # OP001: "unended, its last exchange shows pending, and lower_s ≥ stuck_after_s"
        if not op.truncated and not op.ended and op.last.pending and op.lower() >= stuck_after:
            found.append(finding("OP001", op, ends(op)))
        code = abandoned_code(op, case.hints) if case.outcomes[op] == "abandoned" else None
        if code:
            found.append(finding(code, op, ends(op)))
        # OP005: "sent the same write again while it was pending"
        found += [finding("OP005", op, [op.first, p.ex]) for p in op.ordered if p.role == "join"]
    for op, ex in case.lives.backwards:
        found.append(finding("OP006", op, [op.ending, ex] if op.ending else [ex]))
    found += [finding("OP004", op, [op.ending or op.first, ex]) for op, ex in case.lives.polled_on]
    return found


def queue_findings(case: Case) -> list[dict[str, Any]]:
    """CQ002, CQ004, CQ005."""
    found = [finding("CQ002", op, [ex]) for op, ex in case.lives.stale]
    found += [finding("CQ004", op, [op.first, ex]) for op, ex in case.lives.bare]
    for op in case.lives.ops:
        parts = sorted(op.parts, key=lambda p: (p.ex.t_end, p.ex.tie))
        told = [p.ex for p in parts if oracle_queue.answer(p.ex).get("queueEtaSeconds") is not None]
        out = [p.ex for p in parts if p.state == "released"]
        if op.protocol == "shopify-queue" and told and out:
            eta = oracle_queue.answer(told[0])["queueEtaSeconds"] * 1_000_000
            # "|(PollComplete's end − the end of the answer with the ETA) − ETA| > ETA / 2"
            if abs(out[0].t_end - told[0].t_end - eta) > eta / 2:
                found.append(finding("CQ005", op, [told[0], out[0]]))
    return found


def par_findings(case: Case) -> list[dict[str, Any]]:
    """PN001, PN003, PN004."""
    found: list[dict[str, Any]] = []
    writes: dict[str, list[Ex]] = {}
    for ex in sorted(case.exs, key=lambda e: (e.t_end, e.tie)):
        for obs in oracle_more.par(ex):
            if obs.role == "write":
                writes.setdefault(ex.host, []).append(ex)
            if ex.status == 202 and ex.header("x-pch-digest") is None:
                found.append(finding("PN001", None, [ex]))
            word = ex.body.get("status") if isinstance(ex.body, dict) else None
            if word is not None and oracle_more.par_word(ex) is None and 200 <= (ex.status or 0) < 300:
                found.append(finding("PN004", None, [ex]))
    for group in writes.values():
        late = [ex for ex in group if ex.status == 202]
        # "its share of all PAR writes above the threshold (5 %), from 20 writes on"
        if len(group) >= 20 and len(late) * 20 > len(group):
            found.append(finding("PN003", None, late))
    return found


def idle(case: Case) -> list[dict[str, Any]]:
    """OP007: "a checkout GET answered 202 whose key has no operation anywhere in the capture"; per key."""
    keys: dict[str, list[Ex]] = {}
    taken = {key for op in case.lives.ops for key in op.keys}
    for obs, ex in case.lives.outside:
        if ex.status == 202 and obs.state == "pending" and obs.keys[0] not in taken:
            keys.setdefault(obs.keys[0], []).append(ex)
    return [finding("OP007", None, sorted(exs, key=lambda e: (e.t_req, e.tie))) for exs in keys.values()]


def status_code(ex: Ex) -> str | None:
    """ST001, ST002 or nothing."""
    if ex.status is None:
        return None
    on_checkout = checkout_template(ex.path) is not None
    if ex.status >= 500 or (on_checkout and ex.status not in LISTED and ex.status != 303):
        return "ST001"
    return "ST002" if ex.status in CLIENT_ERRORS else None


def groups(exs: list[Ex]) -> dict[tuple[str, str, int | None], list[Ex]]:
    """By host, endpoint and status."""
    found: dict[tuple[str, str, int | None], list[Ex]] = {}
    for ex in sorted(exs, key=lambda e: (e.t_req, e.tie)):
        found.setdefault((ex.host, endpoint(ex), ex.status), []).append(ex)
    return found


def status_findings(case: Case) -> list[dict[str, Any]]:
    found = []
    for group in groups(case.exs).values():
        code = status_code(group[0])
        if code:
            found.append(finding(code, None, group))
    return found


def findings(case: Case) -> list[dict[str, Any]]:
    found = [
        *wait_findings(case),
        *crossing(case),
        *response_findings(case),
        *operation_findings(case),
        *idle(case),
        *queue_findings(case),
        *(par_findings(case) if case.par else []),
        *status_findings(case),
    ]
    return sorted(found, key=lambda f: (f["at"], f["code"], f["exchanges"]))


def statuses(exs: list[Ex]) -> list[dict[str, Any]]:
    fault = {"ST001": "server", "ST002": "client", None: None}
    return [
        {"host": host, "endpoint": name, "status": status, "count": len(group)}
        | {"meaning": None, "fault": fault[status_code(group[0])]}
        for (host, name, status), group in sorted(groups(exs).items(), key=lambda g: str(g[0]))
    ]
