"""Findings (§6) that shopify-checkout and the generic rules for waits can give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oracle_fold import Lives, Op
from oracle_har import Ex, iso
from oracle_hints import Hint
from oracle_reading import checkout_template, endpoint
from oracle_waits import UNDER_WAY, Wait, opener, throttles

STUCK_AFTER = {"shopify-checkout": 20_000_000, "par-posnext": 60_000_000}  # others 300 s
# seeds/001: the statuses that Shopify documents
LISTED = {200, 201, 202, 400, 401, 402, 403, 404, 406, 422, 429, 500, 501, 503}
CLIENT_ERRORS = {400, 401, 402, 403, 404, 406, 422}
CLIENT_CODES = {"RA001", "RA002", "RA006", "RA007", "OP002", "OP003", "OP004", "OP005", "ST002"}
# "at is the offending request's start for the client's requests (RA001, 2, 6, 7, CQ001, 2, 4, OP004, 5)"
AT_REQUEST = {"RA001", "RA002", "RA006", "RA007", "OP004", "OP005"}


@dataclass(eq=False)
class Case:
    """Everything that a finding is made from."""

    exs: list[Ex]
    lives: Lives
    hints: dict[int, Hint | None]
    waits: list[Wait]
    outcomes: dict[Op, str]


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
        if hint is None:
            found += [
                finding("RA003", op, [ex]) for op, part in case.lives.parts.get(ex.index, []) if part.obs.hint_expected
            ]
        elif could and hint.finding:
            found.append(finding(hint.finding, op, [ex]))
    return found


def abandoned_code(op: Op, hints: dict[int, Hint | None]) -> str:
    """OP002, OP003 or OP007: what an abandoned operation is."""
    if op.polls:
        return "OP002"
    usable = any((h := hints[p.ex.index]) is not None and h.asked is not None for p in op.parts)
    address = any(p.obs.address for p in op.parts)
    return "OP003" if usable or address else "OP007"


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
        if case.outcomes[op] == "abandoned":
            found.append(finding(abandoned_code(op, case.hints), op, ends(op)))
        # OP005: "sent the same write again while it was pending"
        found += [finding("OP005", op, [op.first, p.ex]) for p in op.ordered if p.role == "join"]
    for op, ex in case.lives.backwards:
        found.append(finding("OP006", op, [op.ending, ex] if op.ending else [ex]))
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
