"""What clients of each protocol do, in steps, and the truth about it: told by whoever wrote the story.

A story is written once and lived by many clients, each with its own token and its own pauses.  The pauses are
drawn between bounds within which nothing about the story changes, so that its truth is known without asking
the program: which exchanges are one operation, how it ended, which request kept which wait, which findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

import msgspec

from traffic.multiply import TOKEN

CHECKOUT: Final = f"/admin/api/2026-10/checkouts/{TOKEN}"
DATE: Final = "Mon, 23 Nov 2026 08:00:00 GMT"


@dataclass(frozen=True)
class Step:
    """One exchange.

    It starts between ``gap_s`` and ``gap_s + spread_s`` after the end of step ``after`` (None: the one before)
    and takes between ``took_s`` and one and a half times that.  ``sent`` names the request's body: equal names
    are equal bodies.  ``verdict``: of the wait that the answer opens, None where it opens none; ``left`` where
    no request follows: unanswered, or open where the recording ends before the deadline.  ``governs``: the step
    that the wait governs.  ``request``: the body sent, as JSON, where the protocol reads it; ``carried``: headers
    sent; ``digest_ok``: what the recorder has judged.
    """

    method: str
    path: str
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    sent: str | None = None
    gap_s: float = 1.0
    spread_s: float = 1.0
    took_s: float = 0.1
    after: int | None = None
    asked_s: float | None = None
    verdict: str | None = None
    governs: int | None = None
    rated: bool = True
    request: Any = None
    carried: tuple[tuple[str, str], ...] = ()
    digest_ok: bool | None = None


@dataclass(frozen=True)
class Life:
    """One operation of a story, by the numbers of its steps.

    ``pending``: the last that showed pending before the end's answer began; ``last``: the one whose response
    ended last.  ``outcome`` None: abandoned, or pending where the recording ends too soon; ``left``: the finding
    in the first case.
    """

    protocol: str
    kind: str
    submit: int
    last: int
    polls: int
    outcome: str | None = None
    end: int | None = None
    pending: int | None = None
    left: str | None = None
    asked_s: float = 0.0
    truncated: bool = False


@dataclass(frozen=True)
class Story:
    """``weight``: how often it is lived.  ``lone``: its client lives nothing else."""

    name: str
    steps: tuple[Step, ...]
    lives: tuple[Life, ...] = ()
    findings: Mapping[str, int] = field(default_factory=dict)
    weight: float = 1.0
    lone: bool = False


@dataclass(frozen=True)
class Hint:
    """How an answer asks to wait: its headers, the seconds, the finding about it, whether it is rated."""

    name: str
    headers: tuple[tuple[str, str], ...]
    asked_s: float | None
    code: str | None = None
    weight: float = 1.0


HINTS: Final = (
    Hint("seconds", (("Retry-After", "1"),), 1.0, weight=12),
    Hint("longer", (("Retry-After", "3"),), 3.0, weight=4),
    Hint("fraction", (("Retry-After", "2.0"),), 2.0, "RA004", weight=2),
    Hint("date", (("Retry-After", "Mon, 23 Nov 2026 08:00:04 GMT"),), 4.0),
    Hint("twice", (("Retry-After", "1"), ("Retry-After", "2")), 2.0, "RA005", weight=0.5),
    Hint("vendor", (("retry-after-ms", "1500"),), 1.5, weight=0.5),
    Hint("none", (), None, "RA003", weight=1),
)


@dataclass(frozen=True)
class Manner:
    """How a client waits: between so many times the seconds it was asked for, and what is said of that."""

    name: str
    low: float
    high: float
    verdict: str
    code: str | None
    weight: float


MANNERS: Final = (
    Manner("polite", 1.02, 1.6, "kept", None, 10),
    Manner("early", 0.3, 0.7, "early", "RA001", 2),
    Manner("ignoring", 0.02, 0.06, "early", "RA002", 0.5),
    Manner("late", 3.5, 5.0, "late", "RA006", 1.5),
)


def waiting(step: Step, hint: Hint, manner: Manner, governs: int | None) -> Step:
    """The step with the hint in its answer, and what comes of the wait."""
    if hint.asked_s is None:
        return step
    verdict = "left" if governs is None else manner.verdict
    return replace(
        step,
        headers=(*step.headers, *hint.headers),
        asked_s=hint.asked_s,
        verdict=verdict,
        governs=governs,
    )


def paced(step: Step, hint: Hint, manner: Manner) -> Step:
    """The step at the pace of that manner after an answer with that hint."""
    asked = 1.5 if hint.asked_s is None else hint.asked_s
    return replace(step, gap_s=asked * manner.low, spread_s=asked * (manner.high - manner.low))


# ------------------------------------------------------------------------------- shopify-checkout

OPEN: Final = {"checkout": {"token": TOKEN, "completed_at": None, "order": None}}
RATES: Final[dict[str, Any]] = {"shipping_rates": []}
UNPAID: Final = {"payment": {"id": TOKEN, "transaction": None}}
PAID: Final = {"payment": {"id": TOKEN, "transaction": {"status": "success"}}}
KINDS: Final = {
    # kind: method and path that open, path of the polls, body while pending, body at the end, weight
    "checkout.create": ("POST", "/admin/api/2026-10/checkouts.json", f"{CHECKOUT}.json", OPEN, OPEN, 4),
    "checkout.update": ("PUT", f"{CHECKOUT}.json", f"{CHECKOUT}.json", OPEN, OPEN, 5),
    "checkout.complete": ("POST", f"{CHECKOUT}/complete.json", f"{CHECKOUT}.json", OPEN, OPEN, 4),
    "checkout.shipping_rates": (
        *("GET", f"{CHECKOUT}/shipping_rates.json", f"{CHECKOUT}/shipping_rates.json"),
        *(RATES, RATES, 5),
    ),
    "checkout.payment": (
        *("POST", f"{CHECKOUT}/payments.json", f"{CHECKOUT}/payments/{TOKEN}.json"),
        *(UNPAID, PAID, 3),
    ),
}
ENDS: Final = {"completed": 200, "rejected": 422, "failed": 404, None: 202}


def checkout_submit(kind: str, sent: str = "a") -> Step:
    method, path, _, pending, _, _ = KINDS[kind]
    return Step(method, path, 202, body=pending, sent=None if method == "GET" else sent)


def checkout_poll(kind: str, status: int = 202) -> Step:
    _, _, path, pending, done, _ = KINDS[kind]
    return Step("GET", path, status, body=pending if status == 202 else done)


def polled(kind: str, hint: Hint, manner: Manner, polls: int, outcome: str | None) -> Story:
    """A submit and so many polls, all in one manner, to one end (None: the client never comes again)."""
    last = polls
    polled_steps = (
        paced(checkout_poll(kind, ENDS[outcome] if number == last else 202), hint, manner)
        for number in range(1, polls + 1)
    )
    steps = [checkout_submit(kind), *polled_steps]
    unfinished = polls + (outcome is None)  # answers that show pending
    steps = [
        waiting(step, hint, manner, n + 1 if n < last else None) if n < unfinished else step
        for n, step in enumerate(steps)
    ]
    found = Counter({hint.code: unfinished} if hint.code else {})
    if manner.code and hint.asked_s is not None:
        found[manner.code] += last
    left = None
    if outcome is None:
        left = "OP002" if polls else "OP003" if hint.asked_s is not None else "OP007"
    life = Life(
        protocol="shopify-checkout",
        kind=kind,
        submit=0,
        last=last,
        polls=polls,
        outcome=outcome,
        end=None if outcome is None else last,
        pending=unfinished - 1 or None,
        left=left,
        asked_s=hint.asked_s or 0.0,
    )
    weight = KINDS[kind][5] * hint.weight * manner.weight * (1 if outcome == "completed" else 0.05)
    return Story(f"{kind} {hint.name} {manner.name} {polls} {outcome}", tuple(steps), (life,), dict(found), weight)


def checkout_stories() -> Iterator[Story]:
    """Every kind, hint, manner and end, and the odd ones."""
    usual, polite = HINTS[0], MANNERS[0]
    for kind, hint, manner in product(KINDS, HINTS, MANNERS):
        for polls in (1, 2, 3, 5, 8) if hint is usual else (2, 4):
            if hint.asked_s is None and manner is not polite:
                continue
            yield polled(kind, hint, manner, polls, "completed")
            yield polled(kind, hint, manner, polls, None)
    for kind, outcome in product(KINDS, ("rejected", "failed")):
        yield polled(kind, usual, polite, 3, outcome)
    for kind, hint in product(KINDS, HINTS):
        yield polled(kind, hint, polite, 0, None)
    yield from checkout_oddities()


def checkout_oddities() -> Iterator[Story]:
    """What clients and servers do beyond the ordinary."""
    kind, hint, polite = "checkout.update", HINTS[0], MANNERS[0]
    submit, poll = checkout_submit(kind), paced(checkout_poll(kind), hint, polite)
    done, name = replace(poll, status=200), "shopify-checkout"

    def kept(step: Step, governs: int) -> Step:
        return waiting(step, hint, polite, governs)

    def void(step: Step) -> Step:
        return replace(waiting(step, hint, polite, None), verdict="void")

    other = paced(checkout_submit(kind, "b"), hint, polite)
    yield Story(
        "superseded",
        (kept(submit, 1), void(poll), kept(other, 3), done),
        (
            Life(name, kind, 0, 1, 1, "superseded", None, 1, asked_s=1.0),
            Life(name, kind, 2, 3, 1, "completed", 3, None, asked_s=1.0),
        ),
        {},
        6,
    )
    yield Story(
        "joined",
        (kept(submit, 1), kept(paced(submit, hint, polite), 2), done),
        (Life(name, kind, 0, 2, 1, "completed", 2, 1, asked_s=1.0),),
        {"OP005": 1},
        4,
    )
    yield Story(
        "backwards",
        (kept(submit, 1), done, replace(poll, gap_s=5.0)),
        (Life(name, kind, 0, 1, 1, "completed", 1, None, asked_s=1.0),),
        {"OP006": 1},
        2,
    )
    yield Story("at once", (replace(submit, status=200),), weight=20)
    yield Story(
        "asked after the end", (kept(submit, 1), done, done), (Life(name, kind, 0, 1, 1, "completed", 1),), weight=4
    )
    # Polls in flight together: the second starts while the first is under way, and governs nothing.
    first, second = replace(poll, took_s=0.4), replace(poll, gap_s=-0.2, spread_s=0.1)
    third = replace(done, gap_s=1.1, spread_s=0.3)
    yield Story(
        "together",
        (kept(submit, 1), kept(first, 3), kept(second, 3), third),
        (Life(name, kind, 0, 3, 3, "completed", 3, 2, asked_s=1.0),),
        {},
        4,
    )
    # Idle: a GET answers 202, and there is no write anywhere.
    yield Story(
        "idle",
        (kept(poll, 1), waiting(poll, hint, polite, None)),
        (),
        {"OP007": 1},
        2,
    )
    payment = paced(checkout_poll("checkout.payment"), hint, polite)
    yield Story(
        "truncated",
        (kept(payment, 1), kept(payment, 2), replace(payment, status=200, body=PAID)),
        (Life(name, "checkout.payment", 0, 2, 3, "completed", 2, 1, truncated=True),),
        {},
        3,
    )
    slow = replace(poll, gap_s=23.0, spread_s=2.0)
    stuck = waiting(slow, hint, polite, None)
    yield Story(
        "stuck",
        (replace(kept(submit, 1), verdict="late"), stuck),
        (Life(name, kind, 0, 1, 1, None, None, 1, "OP002", 1.0),),
        {"RA006": 1},
        2,
    )
    # A poll is throttled; the client waits as it was told to, or asks for something else meanwhile.
    throttled = replace(poll, status=429, headers=(("Retry-After", "4"),), body=None, asked_s=4.0)
    yield Story(
        "throttled",
        (kept(submit, 1), replace(throttled, verdict="kept", governs=2), replace(done, gap_s=4.2, spread_s=2.0)),
        (Life(name, kind, 0, 2, 2, "completed", 2, None, asked_s=4.0),),
        {},
        4,
    )
    meanwhile = Step("GET", "/admin/api/2026-10/shop.json", 200, gap_s=0.8, spread_s=1.0)
    yield Story(
        "throttled, and went on",
        (
            kept(submit, 1),
            replace(throttled, verdict="early", governs=2),
            meanwhile,
            replace(done, gap_s=5.0, spread_s=2.0),
        ),
        (Life(name, kind, 0, 3, 2, "completed", 3, None, asked_s=4.0),),
        {"RA001": 1, "RA007": 1},
        2,
    )
    silent = replace(poll, status=503, body=None)
    yield Story(
        "unavailable for once",
        (kept(submit, 1), silent, done),
        (Life(name, kind, 0, 2, 2, "completed", 2, None, asked_s=1.0),),
        {},
        3,
    )
    yield Story(
        "undocumented",
        (kept(submit, 1), replace(poll, status=409, body=None)),
        (Life(name, kind, 0, 1, 1, "failed", 1, None, asked_s=1.0),),
        {},
        0.5,
    )


# ------------------------------------------------------------------------------- any other traffic


def other_stories() -> Iterator[Story]:
    """What a proxy sees besides: nothing is asynchronous about it."""
    reads = ("/admin/api/2026-10/products.json", "/admin/api/2026-10/shop.json", f"/orders/{TOKEN}", "/health")
    for path in reads:
        yield Story(f"GET {path}", (Step("GET", path, 200),), weight=60)
    yield Story("not found", (Step("GET", f"/orders/{TOKEN}", 404),), weight=6)
    yield Story("written", (Step("POST", "/orders", 201, sent="a"), Step("GET", f"/orders/{TOKEN}", 200)), weight=20)


def is_st(status: int, *, checkout: bool) -> str | None:
    """The code of a status' finding, one for each host, endpoint and status."""
    if status in (400, 401, 402, 403, 404, 406, 422):
        return "ST002"
    if status >= 500 or (checkout and status in (409,)):
        return "ST001"
    return None


def encoded(body: Any) -> bytes | None:
    """A body as JSON."""
    return None if body is None else msgspec.json.encode(body)
