"""Stories of the five protocols besides the checkout: queue, cart, PAR, long-running operations, throttling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final

from traffic.multiply import TOKEN
from traffic.stories import MANNERS, Hint, Life, Manner, Step, Story, paced, waiting

POLITE: Final = MANNERS[0]
PLAIN: Final = Hint("plain", (), 1.0)
WEIGHT: Final = 40.0
"""How often each is lived beside the checkout's stories, whose weights are products."""


def lived(
    name: str,
    life: Life,
    steps: Sequence[Step],
    asks: Sequence[float | None],
    manner: Manner = POLITE,
    *,
    found: Sequence[str] = (),
    by_wait: Sequence[str] = (),
    weight: float = 1.0,
    lone: bool = False,
) -> Story:
    """The steps one after the other, each at that manner's pace after what the one before had asked.

    ``asks``: the seconds that each answer asks, None where it asks nothing or ends the operation; ``found``: the
    findings besides those of the manner; ``by_wait``: what else is found for each wait that the manner breaks.
    """
    told: list[Step] = []
    for number, (step, asked) in enumerate(zip(steps, asks, strict=True)):
        before = asks[number - 1] if number else None
        at_pace = paced(step, replace(PLAIN, asked_s=before), manner if before is not None else POLITE)
        governed = number + 1 if number + 1 < len(steps) else None
        told.append(at_pace if asked is None else waiting(at_pace, replace(PLAIN, asked_s=asked), manner, governed))
    broken = sum(step.governs is not None for step in told) if manner.code else 0
    codes = Counter(found) + Counter({code: broken for code in (manner.code, *by_wait) if code})
    longest = max((asked for asked in asks if asked is not None), default=0.0)
    usable = [asked for asked in asks if asked is not None]
    asked_s = usable[-1] if usable else longest
    return Story(
        name, tuple(told), (replace(life, asked_s=asked_s),), dict(codes), WEIGHT * weight * manner.weight / 10, lone
    )


def other_protocols() -> Iterator[Story]:
    """Every one of them."""
    yield from queue_stories()
    yield from cart_stories()
    yield from par_stories()
    yield from async_stories()
    yield from throttle_stories()


# ------------------------------------------------------------------------------------------ shopify-queue

QUEUED_PATH: Final = f"/cart/{TOKEN}/checkout"
ETA_S: Final = 18
"""Three gaps of 4 s each, kept: 12.5 to 19.7 s with the answers; too early: 9 s at most."""
POLL_QUERY: Final = "query Q($token: String!) { poll(token: $token) { __typename } }"


def _queued(*, token: int | None = None, status: int = 200) -> Step:
    """The request that has to queue; its tokens are numbered."""
    if status == 429:
        headers: tuple[tuple[str, str], ...] = (("X-Checkout-Queue", "1"), ("X-Checkout-Queue-Token", f"{TOKEN}0"))
        return Step("POST", QUEUED_PATH, 429, headers, sent="a")
    carried = () if token is None else (("X-Checkout-Queue-Token", f"{TOKEN}{token}"),)
    return Step("POST", QUEUED_PATH, status, sent="a", carried=carried)


def _queue_poll(sent: int, issued: int, *, done: bool = False, eta_s: int = ETA_S) -> Step:
    answer: dict[str, Any] = {"__typename": "PollComplete", "token": f"{TOKEN}{issued}"}
    if not done:
        answer = answer | {"__typename": "PollContinue", "queueEtaSeconds": eta_s, "pollAfter": "2026-11-23T08:00:04Z"}
    request = {"query": POLL_QUERY, "variables": {"token": f"{TOKEN}{sent}"}}
    return Step("POST", "/queue/poll", 200, body={"data": {"poll": answer}}, sent=f"p{sent}", request=request)


def queue_stories() -> Iterator[Story]:
    """Queued, polled, released and sent again, or not."""
    life = Life("shopify-queue", "queue.wait", 0, 5, 4, "completed", 5, 3)
    waits = [None, 4.0, 4.0, 4.0, None, None]
    polls = [_queue_poll(0, 1), _queue_poll(1, 2), _queue_poll(2, 3), _queue_poll(3, 4, done=True)]
    queued, again = _queued(status=429), _queued(token=4)
    for manner in MANNERS:
        # Three gaps between the first estimate and the release: the estimate is good only for the patient.
        by_wait = ("CQ001",) if manner.verdict == "early" else ()
        found = () if manner is POLITE else ("CQ005",)
        eta = [replace(poll, body=_with_eta(poll.body, ETA_S)) for poll in polls]
        story = lived(
            f"queue {manner.name}", life, [queued, *eta, again], waits, manner, found=found, by_wait=by_wait, weight=20
        )
        yield story
    bad = [replace(poll, body=_with_eta(poll.body, 60)) for poll in polls]
    yield lived("queue, wrong estimate", life, [queued, *bad, again], waits, found=("CQ005",), weight=2)
    good = [replace(poll, body=_with_eta(poll.body, ETA_S)) for poll in polls]
    yield lived("queue, without token", life, [queued, *good, _queued()], waits, found=("CQ004",), weight=2)
    stale = [*good[:2], replace(_queue_poll(1, 3), body=good[2].body), good[3]]
    yield lived("queue, stale token", life, [queued, *stale, again], waits, found=("CQ002",), weight=2)
    released = replace(life, last=4, outcome=None, end=None, left="CQ003")
    yield lived("queue, released", released, [queued, *good], waits[:5], weight=2)
    left = replace(life, last=2, polls=2, outcome=None, end=None, pending=2, left="OP002")
    yield lived("queue, left", left, [queued, *good[:2]], waits[:3], weight=2)
    alone = replace(life, last=0, polls=0, outcome=None, end=None, pending=None, left="OP003")
    yield lived("queue, never polled", alone, [queued], [None], weight=1)


def _with_eta(body: Any, eta_s: int) -> Any:
    poll = body["data"]["poll"]
    return {"data": {"poll": poll | {"queueEtaSeconds": eta_s}}} if "queueEtaSeconds" in poll else body


# ------------------------------------------------------------------------------------------- shopify-cart

CART_PATH: Final = "/api/2026-04/graphql.json"
SUBMIT_QUERY: Final = "mutation S($attemptId: String!) { cartSubmitForCompletion(attemptId: $attemptId) { result } }"
ATTEMPT_QUERY: Final = "query A($attemptId: String!) { cartCompletionAttempt(attemptId: $attemptId) { __typename } }"


def _cart(query: str, kind: str, **fields: Any) -> Step:
    name = "cartSubmitForCompletion" if query == SUBMIT_QUERY else "cartCompletionAttempt"
    request = {"query": query, "variables": {"attemptId": TOKEN}}
    body = {"data": {name: {"__typename": kind, **fields}}}
    return Step("POST", CART_PATH, 200, body=body, sent=name, request=request)


def cart_stories() -> Iterator[Story]:
    """Submitted, polled by attempt, to each of its ends."""
    submit = _cart(SUBMIT_QUERY, "SubmitSuccess", attemptId=TOKEN)
    poll = _cart(ATTEMPT_QUERY, "CartCompletionProcessing", pollDelay=1500)
    silent = _cart(ATTEMPT_QUERY, "CartCompletionProcessing")
    throttled = _cart(ATTEMPT_QUERY, "CartThrottled", pollAfter="2026-11-23T08:00:03Z")
    success = _cart(ATTEMPT_QUERY, "CartCompletionSuccess", orderId=TOKEN)
    failed = _cart(ATTEMPT_QUERY, "CartCompletionFailed", errors=[])
    act = _cart(ATTEMPT_QUERY, "CartCompletionActionRequired", action={"url": "https://pay.example/"})
    life = Life("shopify-cart", "cart.submit", 0, 3, 3, "completed", 3, 2)
    waits = [None, 1.5, 1.5, None]
    for manner in MANNERS:
        yield lived(f"cart {manner.name}", life, [submit, poll, poll, success], waits, manner, weight=20)
    for outcome, end in (("failed", failed), ("action_required", act)):
        yield lived(f"cart {outcome}", replace(life, outcome=outcome), [submit, poll, poll, end], waits, weight=2)
    unasked = [None, None, 1.5, None]
    yield lived("cart, no delay", life, [submit, silent, poll, success], unasked, found=("RA003",), weight=2)
    slowed = replace(life, pending=1)
    yield lived("cart throttled", slowed, [submit, poll, throttled, success], [None, 1.5, 3.0, None], weight=2)
    left = replace(life, last=2, polls=2, outcome=None, end=None, left="OP002")
    yield lived("cart, left", left, [submit, poll, poll], waits[:3], weight=2)
    alone = replace(life, last=0, polls=0, outcome=None, end=None, pending=None, left="OP003")
    yield lived("cart, never polled", alone, [submit], [None], weight=1)
    after = _cart(ATTEMPT_QUERY, "CartCompletionSuccess", orderId=TOKEN)
    yield lived(
        "cart, polled on", life, [submit, poll, poll, success, after], [*waits, None], found=("OP004",), weight=2
    )


# -------------------------------------------------------------------------------------------- par-posnext

ORDER_PATH: Final = f"/posnext/orders/{TOKEN}"
DIGEST: Final = ("x-pch-digest", "0" * 64)


def _par_write(what: str, word: str, status: int = 202, *, signed: bool = True) -> Step:
    headers = (DIGEST,) if signed else ()
    body = {"status": word, "orderId": TOKEN}
    return Step("POST", f"/posnext/orders/{what}", status, headers, body, what, request={"request_uid": TOKEN})


def _par_poll(word: str, status: int = 200) -> Step:
    return Step("GET", ORDER_PATH, status, (DIGEST,), {"status": word, "orderId": TOKEN})


def par_stories() -> Iterator[Story]:
    """Validated and submitted, at once or by and by."""
    for what, word in (("validate", "validated"), ("submit", "placed")):
        life = Life("par-posnext", f"order.{what}", 0, 3, 3, "completed", 3, 2)
        asked = (("Retry-After", "2"),)
        submit = _hinted(_par_write(what, "pending"), asked)
        poll = _hinted(_par_poll("pending", 202), asked)
        waits = [2.0, 2.0, 2.0, None]
        for manner in MANNERS:
            steps = [submit, poll, poll, _par_poll(word)]
            yield lived(f"par {what} {manner.name}", life, steps, waits, manner, weight=10)
        for outcome, end in (("failed", "errored"), ("rejected", "rejected")):
            steps = [submit, poll, poll, _par_poll(end)]
            yield lived(f"par {what} {outcome}", replace(life, outcome=outcome), steps, waits, weight=1)
        unsigned = _hinted(_par_write(what, "pending", signed=False), asked)
        yield lived(f"par {what} unsigned", life, [unsigned, poll, poll, _par_poll(word)], waits, found=("PN001",))
        forged = replace(submit, digest_ok=False)
        yield lived(f"par {what} forged", life, [forged, poll, poll, _par_poll(word)], waits, found=("PN002",))
        odd = [submit, poll, _par_poll("cooking"), _par_poll(word)]
        lost = replace(life, pending=1)
        yield lived(f"par {what} odd", lost, odd, [2.0, 2.0, None, None], found=("PN004",))
        left = replace(life, last=1, polls=1, outcome=None, end=None, pending=1, left="OP002")
        yield lived(f"par {what} left", left, [submit, poll], waits[:2])
        yield Story(f"par {what} at once", (_par_write(what, word, 200),), weight=10)


def _hinted(step: Step, headers: tuple[tuple[str, str], ...]) -> Step:
    return replace(step, headers=(*step.headers, *headers))


# --------------------------------------------------------------------------------------------- http-async


def async_stories() -> Iterator[Story]:
    """Monitors of two kinds: by the status of a Location, by a word in the body of an Operation-Location."""
    asked = (("Retry-After", "2"),)
    monitor = f"/monitors/{TOKEN}"
    located = Step("POST", "/jobs", 202, (("Location", monitor), *asked), sent="a")
    running = Step("GET", monitor, 202, asked)
    done = Step("GET", monitor, 200)
    life = Life("http-async", "async", 0, 3, 3, "completed", 3, 2)
    waits = [2.0, 2.0, 2.0, None]
    for manner in MANNERS:
        yield lived(f"location {manner.name}", life, [located, running, running, done], waits, manner, weight=10)
    yield lived(
        "location, gone", replace(life, outcome="failed"), [located, running, running, replace(done, status=404)], waits
    )
    yield lived("location, polled on", life, [located, running, running, done, done], [*waits, None], found=("OP004",))
    left = replace(life, last=1, polls=1, outcome=None, end=None, pending=1, left="OP002")
    yield lived("location, left", left, [located, running], waits[:2])
    alone = replace(life, last=0, polls=0, outcome=None, end=None, pending=None, left="OP003")
    yield lived("location, never polled", alone, [located], waits[:1])
    operation = f"/operations/{TOKEN}"
    put = Step("PUT", f"/things/{TOKEN}", 201, (("Operation-Location", operation), *asked), sent="a")
    words = {word: Step("GET", operation, 200, () if end else asked, {"status": word}) for word, end in WORDS.items()}
    for word, outcome in WORDS.items():
        if outcome:
            steps = [put, words["Running"], words["Running"], words[word]]
            yield lived(f"body {word}", replace(life, outcome=outcome), steps, waits, weight=5)
    cancel = Step("DELETE", operation, 204)
    cancelled = replace(life, outcome="rejected", polls=2)
    # A cancel is no poll: the last wait is left without a request, and the operation ends before anybody asks again.
    steps = [put, words["Running"], words["Running"], cancel]
    story = lived("cancelled", cancelled, steps, waits)
    yield replace(
        story, steps=(*story.steps[:2], replace(story.steps[2], verdict="void", governs=None), story.steps[3])
    )


WORDS: Final = {"Running": None, "Succeeded": "completed", "Failed": "failed", "Canceled": "rejected"}


# ----------------------------------------------------------------------------------------------- throttle


def throttle_stories() -> Iterator[Story]:
    """Any API, too fast."""
    path = f"/search/{TOKEN}"
    throttled = Step("GET", path, 429, (("Retry-After", "2"),))
    done = Step("GET", path, 200)
    life = Life("throttle", "throttle", 0, 2, 2, "completed", 2, 1)
    for manner, (status, word) in product(MANNERS, ((200, "completed"), (404, "completed"))):
        steps = [throttled, throttled, replace(done, status=status)]
        yield lived(
            f"throttled {manner.name} {status}", replace(life, outcome=word), steps, [2.0, 2.0, None], manner, weight=5
        )
    silent = Step("GET", f"/busy/{TOKEN}", 503)
    yield lived("busy", life, [silent, silent, replace(silent, status=200)], [None, None, None], weight=2)
    large = Step("POST", f"/upload/{TOKEN}", 413, (("Retry-After", "2"),), sent="a")
    retried = replace(life, last=1, polls=1, end=1, pending=None)
    yield lived("too large", retried, [large, replace(large, status=201, headers=())], [2.0, None])
    left = replace(life, last=1, polls=1, outcome=None, end=None, pending=1, left="OP002")
    yield lived("throttled, left", left, [throttled, throttled], [2.0, 2.0], lone=True)
    alone = replace(life, last=0, polls=0, outcome=None, end=None, pending=None, left=None)
    yield lived("throttled, never again", alone, [throttled], [2.0], lone=True)
