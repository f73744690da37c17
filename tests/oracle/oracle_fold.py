"""Operations: which exchange played which role in which operation (§3), by one pass over response ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import oracle_queue
from oracle_har import Ex, iso
from oracle_hints import Hint
from oracle_reading import FINAL, Obs


@dataclass(eq=False)
class Part:
    """One exchange's part in one operation: role submit, poll or join."""

    ex: Ex
    role: str
    obs: Obs
    state: str | None

    @property
    def pending(self) -> bool:
        return self.state == "pending"

    @property
    def final(self) -> bool:
        return self.state in FINAL


@dataclass(eq=False)
class Op:
    protocol: str
    kind: str
    keys: set[str]
    submit: Ex | None
    opened: Ex
    parts: list[Part] = field(default_factory=list)
    closed_at: int | None = None
    outcome: str | None = None
    ending: Ex | None = None
    # http-async: the type under which each monitor was first issued; monitors that have answered 202
    types: dict[str, str] = field(default_factory=dict)
    answered_202: bool = False
    settled: bool = False
    # shopify-queue: when each token was issued, the newest last
    issued_at: list[tuple[int, str]] = field(default_factory=list)

    @property
    def truncated(self) -> bool:
        return self.submit is None

    @property
    def t0(self) -> int:
        return self.opened.t_end

    @property
    def ordered(self) -> list[Part]:
        """ "by request start, the submit first"."""
        return sorted(self.parts, key=lambda p: (p.role != "submit", p.ex.t_req, p.ex.tie))

    @property
    def last(self) -> Part:
        """The last exchange: the one whose response ended last."""
        return max(self.parts, key=lambda p: (p.ex.t_end, p.ex.tie))

    @property
    def ended(self) -> bool:
        return self.ending is not None

    @property
    def first(self) -> Ex:
        return self.ordered[0].ex

    @property
    def name(self) -> tuple[str, int]:
        """§1 Operation id: "the id of its submit (without one, of its first exchange)"."""
        return (self.protocol, (self.submit or self.first).index)

    @property
    def polls(self) -> int:
        """ "exchanges with role poll, the ending one and 429/5xx included, joins and resubmits not"."""
        return sum(p.role == "poll" for p in self.parts)

    def open_at(self, instant: int) -> bool:
        """Open from t0 on, no longer open at the instant it ended or was superseded."""
        return self.t0 <= instant and (self.closed_at is None or instant < self.closed_at)

    def lower(self) -> int:
        """§4 lower_s, in microseconds."""
        limit = None
        if self.ending is not None:
            limit = self.ending.t_end if self.ending.t_resp is None else self.ending.t_resp
        # "Only those that started before the end's response started"
        shown = [p.ex.t_req for p in self.parts if p.pending and (limit is None or p.ex.t_req < limit)]
        return max([0, *(t - self.t0 for t in shown)])

    def upper(self) -> int | None:
        if self.ending is None or self.ending.t_resp is None:
            return None
        return max(0, self.ending.t_resp - self.t0)

    def duration(self) -> int | None:
        return None if self.ending is None else self.ending.t_end - self.t0

    def observed(self) -> int:
        return self.last.ex.t_end - self.t0


@dataclass
class Lives:
    """``ops``; the part of each exchange (by index); ``backwards``: (operation, exchange) of OP006;
    ``at_once``: writes that ended in their own answer; ``outside``: checkout GETs outside an operation."""

    ops: list[Op] = field(default_factory=list)
    parts: dict[int, list[tuple[Op, Part]]] = field(default_factory=dict)
    backwards: list[tuple[Op, Ex]] = field(default_factory=list)
    at_once: list[tuple[Obs, Ex]] = field(default_factory=list)
    outside: list[tuple[Obs, Ex]] = field(default_factory=list)
    # polls after the end: (operation, exchange) of OP004
    polled_on: list[tuple[Op, Ex]] = field(default_factory=list)
    # shopify-queue: polls with an old token (CQ002), resubmits without one (CQ004)
    stale: list[tuple[Op, Ex]] = field(default_factory=list)
    bare: list[tuple[Op, Ex]] = field(default_factory=list)
    # the last thing that happened on a key: an operation, or None for a 2xx write that opened none
    last_on: dict[str, Op | None] = field(default_factory=dict)

    def on(self, obs: Obs) -> list[Op]:
        return [op for op in self.ops if op.protocol == obs.protocol and op.keys & set(obs.keys)]

    def take_part(self, op: Op, ex: Ex, role: str, obs: Obs) -> None:
        part = Part(ex, role, obs, obs.in_op(op) if obs.in_op and role != "submit" else obs.state)
        op.parts.append(part)
        self.parts.setdefault(ex.index, []).append((op, part))
        # "the ending exchange is the final answer whose response ended first"
        if part.final and op.closed_at is None:
            op.closed_at, op.outcome, op.ending = ex.t_end, part.state, ex
        if part.pending and obs.reads_as:
            # "of each pending response the first address that is there is issued; all issued ones link"
            for key in obs.issued or ():
                op.types.setdefault(key, obs.reads_as)
                op.keys.add(key)
                self.last_on[key] = op

    def open(self, ex: Ex, role: str, obs: Obs) -> None:
        own = obs.keys if obs.issued is None else obs.issued
        op = Op(obs.protocol, obs.kind or "", set(own), ex if role == "submit" else None, ex)
        # a GET's without an address is the resource itself, as far as anybody can tell
        op.types = dict.fromkeys(own, obs.reads_as or ("self" if obs.protocol == "http-async" else ""))
        self.ops.append(op)
        self.take_part(op, ex, role, obs)
        for key in own:
            self.last_on[key] = op


def same_write(ex: Ex, op: Op) -> bool:
    """§3 "(method, path, body digest)"."""
    other = op.submit
    return other is not None and (ex.method, ex.path, ex.request_body) == (
        other.method,
        other.path,
        other.request_body,
    )


def write(lives: Lives, ex: Ex, obs: Obs) -> None:
    mine = lives.on(obs)
    # "Open = when the request starts or its response ends."
    for op in [*(o for o in mine if o.open_at(ex.t_req)), *(o for o in mine if o.closed_at is None)]:
        if same_write(ex, op):
            lives.take_part(op, ex, "join", obs)
            return
    if ex.status is not None and 200 <= ex.status < 300:
        # "A different write on the key answered 2xx supersedes the open one at its response end"
        for op in mine:
            if op.closed_at is None:
                op.closed_at, op.outcome = ex.t_end, "superseded"
        for key in obs.keys:
            lives.last_on[key] = None
    if obs.opens:
        lives.open(ex, "submit", obs)
    elif obs.state in FINAL and ex.status is not None and ex.status < 400:
        # §4 "at_once, the writes of that kind that ended in their own answer with status < 400"
        lives.at_once.append((obs, ex))


def read(lives: Lives, ex: Ex, obs: Obs) -> None:
    mine = lives.on(obs)
    # "A poll belongs to the operation open on its key when its request starts"
    belongs = [op for op in mine if op.open_at(ex.t_req)]
    if not belongs and (obs.opens or obs.truncates):
        # "a GET that would open one, to the one open when its response ends"
        belongs = [op for op in mine if op.closed_at is None]
    if belongs:
        lives.take_part(belongs[0], ex, "poll", obs)
        return
    after = after_end(lives, ex, obs)
    if after is not None and after.outcome == "action_required" and go_on(lives, ex, obs, after):
        return
    if obs.opens:
        lives.open(ex, "submit", obs)
        return
    # OP004 "(not shopify-checkout, nor where the poll address is the submitted resource itself)"
    exempt = obs.protocol in ("shopify-checkout", "throttle")
    if after is not None and not exempt and "self" not in after.types.values():
        lives.polled_on.append((after, ex))
    if obs.truncates and not seen_before(lives, obs):
        # "shows pending without its write is a truncated operation"
        lives.open(ex, "poll", obs)
        return
    if obs.state == "pending" or (after is not None and obs.in_op and obs.in_op(after) == "pending"):
        backwards(lives, ex, obs)
    if obs.resource:
        lives.outside.append((obs, ex))


def seen_before(lives: Lives, obs: Obs) -> bool:
    """Whether the keys had an operation, or (a payment) a write."""
    if obs.protocol == "http-async":
        return any(lives.last_on.get(key) is not None for key in obs.keys)
    return any(key in lives.last_on for key in obs.keys)


def after_end(lives: Lives, ex: Ex, obs: Obs) -> Op | None:
    """The operation that had ended on the key when the request started, with nothing since."""
    for key in obs.keys:
        op = lives.last_on.get(key)
        if op is not None and op.ending is not None and op.ending.t_end <= ex.t_req:
            return op
    return None


def backwards(lives: Lives, ex: Ex, obs: Obs) -> None:
    """§4 "one from then until its end counts for neither, a later one is OP006"."""
    op = after_end(lives, ex, obs)
    if op is not None:
        lives.backwards.append((op, ex))


def go_on(lives: Lives, ex: Ex, obs: Obs, op: Op) -> bool:
    """§3 action_required: "the first pending answer after it is the submit of a new operation …; a final
    answer straight after it counts as at_once"; False for what comes after that one without being pending."""
    state = obs.in_op(op) if obs.in_op else obs.state
    if state == "pending":
        # its keys go on being read as they were
        lives.open(ex, "submit", replace(obs, state=state, issued=(*obs.keys[:1], *(obs.issued or ()))))
        lives.ops[-1].types.update({key: op.types[key] for key in lives.ops[-1].keys if key in op.types})
    elif op.settled:
        return False
    elif state in FINAL - {"action_required"}:
        lives.at_once.append((replace(obs, role="write"), ex))
        op.settled = True
    return True


def cancel(lives: Lives, ex: Ex, obs: Obs) -> Obs:
    """§2 "A DELETE on a monitor answered 2xx is the client's cancel: it ends the operation as rejected." """
    good = ex.status is not None and 200 <= ex.status < 300
    # the monitor is what the DELETE addresses, not what its answer names
    for op in lives.on(replace(obs, keys=obs.keys[:1])):
        if good and op.open_at(ex.t_req):
            lives.take_part(op, ex, "cancel", replace(obs, state="rejected", in_op=None))
            return replace(obs, role="read", keys=(), state=None, opens=False)
    return replace(obs, role="write")


def fold(readings: list[tuple[Ex, list[Obs]]], queue: bool = False) -> Lives:
    """Nothing is decided before a response ends, so the response ends, in order, decide everything."""
    lives = Lives()
    for ex, observations in sorted(readings, key=lambda r: (r[0].t_end, r[0].tie)):
        if queue:
            oracle_queue.step(lives, ex)
        for each in observations:
            obs = each
            if obs.protocol == "throttle" and lives.parts.get(ex.index):
                # "A 429 or 503 inside an open operation … opens no throttle, nor does a 413 with a hint"
                obs = replace(obs, opens=False)
            if obs.role == "cancel":
                obs = cancel(lives, ex, obs)
            (write if obs.role == "write" else read)(lives, ex, obs)
    return lives


def settle(op: Op, coverage_end: int, hints: dict[int, Hint | None]) -> str:
    """§3 Outcome of one that neither ended nor was superseded: abandoned or pending."""
    if op.outcome is not None:
        return op.outcome
    usable = [
        (p.ex.t_end, p.ex.tie, hint.asked)
        for p in op.parts
        if (hint := hints[p.ex.index]) is not None and hint.asked is not None
    ]
    asked = max(usable)[2] if usable else 0
    # "coverage runs at least max(30 s, 10 × the last usable asked) past the response end of its last exchange"
    needed = max(30_000_000, 10 * asked * 1_000_000)
    return "abandoned" if coverage_end - op.last.ex.t_end >= needed else "pending"


def seconds(micro: Any) -> float | None:
    return None if micro is None else float(micro) / 1_000_000


def row(op: Op, outcome: str) -> dict[str, Any]:
    """§8, one operation; a truncated one has "null instants and durations"."""
    cut = op.truncated
    return {
        "id": op.name,
        "protocol": op.protocol,
        "kind": op.kind,
        "key": min(op.keys) if op.keys else None,
        "host": op.first.host,
        "client": op.first.client,
        "truncated": cut,
        "submitted_at": iso(op.submit.t_req) if op.submit else None,
        "accepted_at": None if cut else iso(op.t0),
        "ended_at": None if cut or op.ending is None else iso(op.ending.t_end),
        "outcome": outcome,
        "polls": op.polls,
        "statuses": [p.ex.status for p in op.ordered],
        "duration_s": None if cut else seconds(op.duration()),
        "lower_s": None if cut else seconds(op.lower()),
        "upper_s": None if cut else seconds(op.upper()),
        "observed_s": None if cut else seconds(op.observed()),
        "exchanges": [p.ex.index for p in op.ordered],
    }
