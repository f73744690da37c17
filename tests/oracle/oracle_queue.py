"""shopify-queue (§2): the chain of tokens, polls, and the request that is sent again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from oracle_har import Ex, every, parse_json
from oracle_reading import Obs, by_status

if TYPE_CHECKING:
    from oracle_fold import Lives, Op

COOKIE = re.compile(r"(?:^|;\s*)_checkout_queue_token=([^;]*)")


def queued(ex: Ex) -> bool:
    """ "429 with `X-Checkout-Queue`"."""
    return ex.status == 429 and ex.header("X-Checkout-Queue") is not None


def answer(ex: Ex) -> dict[str, Any]:
    data = ex.body.get("data") if isinstance(ex.body, dict) else None
    poll = data.get("poll") if isinstance(data, dict) else None
    return poll if isinstance(poll, dict) and ex.status is not None and ex.status < 300 else {}


def polled_token(ex: Ex) -> str | None:
    """The token of a POST to /queue/poll: JSON variables, or a form's ``variables[token]``."""
    if ex.method != "POST" or not ex.path.endswith("/queue/poll"):
        return None
    body = parse_json(ex.request_body)
    variables = body.get("variables") if isinstance(body, dict) else None
    token = variables.get("token") if isinstance(variables, dict) else None
    return str(token or dict(parse_qsl(ex.request_body)).get("variables[token]") or "")


def cookie_token(lines: list[str]) -> str | None:
    return next((unquote(m[1]) for line in lines if (m := COOKIE.search(line))), None)


def issued(ex: Ex) -> str | None:
    token = ex.header("X-Checkout-Queue-Token") or cookie_token(every(ex.response_headers, "Set-Cookie"))
    return token or answer(ex).get("token")


def poll_state(ex: Ex) -> str | None:
    """ "PollComplete alone is *released*, not ended"."""
    name = answer(ex).get("__typename")
    return {"PollContinue": "pending", "PollComplete": "released"}.get(str(name)) or by_status(ex.status)


def resubmit_state(ex: Ex) -> str | None:
    """ "answered by anything but a queue 429, 408, 425, 429, 5xx or an error: completed, whatever the status"."""
    silent = ex.status is None or ex.status in (408, 425, 429) or ex.status >= 500
    return None if silent else "completed"


def released_at(op: Op) -> int | None:
    return min((p.ex.t_end for p in op.parts if p.state == "released"), default=None)


def same_target(ex: Ex, op: Op) -> bool:
    first = op.submit
    return first is not None and (ex.method, ex.host, ex.path) == (first.method, first.host, first.path)


def resubmitted(lives: Lives, ex: Ex) -> tuple[Op | None, bool]:
    """The queued operation that this request sends again, and whether it did so without the token."""
    waiting = [op for op in lives.ops if op.protocol == "shopify-queue" and op.open_at(ex.t_req)]
    header = ex.sent("X-Checkout-Queue-Token")
    cookie = cookie_token(every(ex.request_headers, "Cookie"))
    for op in waiting:
        # "known by its token in the header; a cookie's token needs the queued request's method, host and path"
        if header and f"{ex.host}|{header}" in op.keys:
            return op, False
        if cookie and f"{ex.host}|{cookie}" in op.keys and same_target(ex, op):
            return op, False
    if queued(ex) or header:
        return None, False
    # "without a token, answered without a queue 429: same client, method, host, path and body digest"
    equal = [
        op
        for op in waiting
        if (s := op.submit) and same_target(ex, op) and (s.client, s.request_body) == (ex.client, ex.request_body)
    ]
    free = [op for op in equal if (t := released_at(op)) is not None and t <= ex.t_req]
    # "the chain released longest ago, else the oldest"
    if free:
        return min(free, key=lambda op: (released_at(op) or 0, op.opened.tie)), True
    return min(equal, key=lambda op: (op.t0, op.opened.tie), default=None), True


def obs(ex: Ex, token: str | None, state: str | None, role: str) -> Obs:
    keys = (f"{ex.host}|{token}",) if token else ()
    pending = answer(ex).get("__typename") == "PollContinue"
    return Obs("shopify-queue", "queue.wait", role, keys, state, address=True, hint_expected=pending)


def poll(lives: Lives, ex: Ex, token: str) -> None:
    seen = obs(ex, token, poll_state(ex), "read")
    mine = lives.on(seen)
    belongs = [op for op in mine if op.open_at(ex.t_req)]
    if not belongs and seen.state == "pending":
        # in flight together: one that would open belongs to the one open when its response ends
        belongs = [op for op in mine if op.closed_at is None]
    for op in belongs[:1]:
        # CQ002: "a token that was not the latest" when the request started
        known = [k for at, k in op.issued_at if at <= ex.t_req]
        if known and known[-1] != seen.keys[0]:
            lives.stale.append((op, ex))
        lives.take_part(op, ex, "poll", seen)
        link(lives, op, ex)
        return
    ended = [op for op in mine if op.ending is not None and op.ending.t_end <= ex.t_req]
    if ended:
        lives.polled_on.append((ended[-1], ex))
        if seen.state == "pending":
            lives.backwards.append((ended[-1], ex))
    elif seen.state == "pending" and not mine:
        lives.open(ex, "poll", seen)
        link(lives, lives.ops[-1], ex)


def link(lives: Lives, op: Op, ex: Ex) -> None:
    token = issued(ex)
    if token:
        key = f"{ex.host}|{token}"
        op.keys.add(key)
        # the newest is last, also where a token comes back
        op.issued_at.append((ex.t_end, key))


def step(lives: Lives, ex: Ex) -> None:
    """One exchange, seen by the queue."""
    token = polled_token(ex)
    if token is not None:
        poll(lives, ex, token)
        return
    op, bare = resubmitted(lives, ex)
    if op is not None:
        lives.take_part(op, ex, "resubmit", obs(ex, None, resubmit_state(ex), "write"))
        if bare:
            lives.bare.append((op, ex))
        if queued(ex):
            link(lives, op, ex)
    elif queued(ex):
        lives.open(ex, "submit", obs(ex, issued(ex), None, "write"))
        link(lives, lives.ops[-1], ex)
