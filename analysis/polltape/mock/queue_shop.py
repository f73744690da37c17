"""Shopify's checkout queue in front of a shop, without a recording.

=========================================  ================================================================
request                                    answer
=========================================  ================================================================
a request that ``queue.queued`` names      the shop's, if nobody stands in line; else 429 ``{}`` with
                                           X-Checkout-Queue, X-Checkout-Queue-Token and the cookie
POST ``/queue/poll``, the newest token     PollContinue with pollAfter, queueEtaSeconds and a new token;
                                           PollComplete when it is its turn
the same before pollAfter                  ignored: the same PollContinue again, nothing has moved
the same with an older or unknown token    loses its place: PollContinue, a new token at the end of the line
the queued request again, with the token   the shop's answer, once; before PollComplete 429 with the token
the same with a token that is spent,       queued anew, at the end of the line
unknown, or another request's
any other request                          the shop's answer (:mod:`polltape.mock.checkout_shop`)
=========================================  ================================================================

Reference: "Poll the checkout queue" (shopify.dev).  It says that polls before pollAfter are ignored, and that each
poll and the replay use the newest token; what an older token is answered is the mock's own (``queue.stale``).
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from math import ceil, inf, isfinite
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote, unquote

from msgspec import Meta, field

from polltape.exchange import Header, all_headers
from polltape.mock.checkout_shop import CheckoutShop
from polltape.mock.checkout_tables import CheckoutTables
from polltape.mock.graphql_server import answered, asked, problem, selected
from polltape.mock.hints import WAIT_HEADER, exact
from polltape.mock.jobs import Job
from polltape.mock.messages import Request, Response, json_response, request_id
from polltape.mock.scenario_tables import Drawn, Draws, Seconds, Share, Timed, Wait
from polltape.protocols.graphql import GraphqlRequest
from polltape.protocols.shopify_checkout import parse_path
from polltape.protocols.shopify_queue import TOKEN_COOKIE, TOKEN_HEADER, cookie_token
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend

Json = dict[str, Any]
Queued = Literal["create", "update", "complete", "shipping_rates", "payment"]
_POLL: Final = "/queue/poll"
_WHAT: Final[dict[tuple[str, str], Queued]] = {
    ("POST", "create"): "create",
    ("PUT", "checkout"): "update",
    ("PATCH", "checkout"): "update",
    ("POST", "complete"): "complete",
    ("GET", "shipping_rates"): "shipping_rates",
    ("POST", "payments"): "payment",
}


class Queue(Table, frozen=True):
    """The line: how long it is, how fast it moves, what its polls are told."""

    length: Annotated[int, Meta(ge=0, le=10**6)] = 3
    rate_per_s: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1.0
    duration_s: Seconds | Drawn | Literal["line"] = "line"
    stuck: Share = 0.0
    poll_after_s: Wait | Literal["none"] = 1.0
    utc_offset: Annotated[str, Meta(pattern=r"^(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$")] = "Z"
    eta: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    early: Literal["ignored", "answered"] = "ignored"
    stale: Literal["requeued", "answered"] = "requeued"
    lost: Share = 0.0
    queued: list[Queued] = field(default_factory=lambda: ["create"])


class QueueScenario(CheckoutTables, frozen=True, kw_only=True):
    """The scenario of protocol ``shopify-queue``."""

    built_in: ClassVar[str] = "shopify-queue"

    protocol: Literal["shopify-queue"]
    queue: Queue = Queue()

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        return QueueShop(self, speed=speed, seed=seed)


@dataclass(slots=True)
class Place:
    """A place in the line: the newest token, whose turn it is when, and the request that waits.

    ``request`` is None for a place that a lost token got: it is good for any request.  ``poll_at``: polls before
    are ignored.
    """

    first: str
    token: str
    since: float
    turn: float
    request: tuple[str, str] | None
    poll_at: float = 0.0
    released: bool = False
    spent: bool = False


class QueueShop:
    """The queue of the module's text, and the shop behind it."""

    protocol: Final = "shopify-queue"

    def __init__(self, scenario: QueueScenario, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._queue = scenario.queue
        self._speed = speed
        self._seed = seed
        self._shop = CheckoutShop(scenario, speed=speed, seed=seed)
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._shop.reset()
        self._chance = Random(f"{self._seed}|tokens")
        self._request_ids = Random(f"{self._seed}|queue")
        self._draws = Draws(self._seed)
        self._last = -inf  # the last turn that was given away
        self._places: dict[str, Place] = {}  # by each token that it has had

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        if request.path.endswith(_POLL):
            return self._poll(request, now)
        if not self._is_queued(request):
            return self._shop.answer(request, now)
        named = (request.method, request.path)
        place = self._place(_token(request), named)
        if place is None:
            turn = self._turn(now)
            if turn <= now:
                return self._shop.answer(request, now)
            place = self._enter(now, turn, named)
        if not place.released:
            return self._queued(request, place)
        served = self._shop.answer(request, now)
        place.spent = served.status != 429  # the shop's own rate limit takes no pass away
        return served

    def status(self, now: float) -> list[Json]:
        """Every place in the line, then the shop's operations."""
        places = {id(place): place for place in self._places.values()}.values()
        return [*(self._place_status(place, now) for place in places), *self._shop.status(now)]

    def _place_status(self, place: Place, now: float) -> Json:
        shown = Job("queue.wait", place.since, place.turn).status(place.first, now, self._speed)
        state = "completed" if place.spent else "released" if place.released else "pending"
        return {**shown, "state": state}

    # -------------------------------------------------------------------------------------- the line

    def _is_queued(self, request: Request) -> bool:
        endpoint = parse_path(request.path)
        return endpoint is not None and _WHAT.get((request.method, endpoint.what)) in self._queue.queued

    def _place(self, token: str | None, named: tuple[str, str]) -> Place | None:
        """The place that a request's token holds, None where it holds none for this request."""
        place = self._places.get(token or "")
        if place is None or place.spent or place.request not in (None, named):
            return None
        stale = place.token != token and self._queue.stale == "requeued"
        return None if stale else place

    def _turn(self, now: float) -> float:
        """When it is the turn of somebody who comes now."""
        chance = self._draws.next("queue")
        if self._queue.duration_s != "line":
            return now + Timed(self._queue.duration_s, self._queue.stuck).draw(chance) / self._speed
        if self._queue.stuck and chance.random() < self._queue.stuck:
            return inf
        pace = 1 / self._queue.rate_per_s / self._speed
        self._last = max(now + self._queue.length * pace, self._last + pace)
        return self._last

    def _enter(self, now: float, turn: float, named: tuple[str, str] | None) -> Place:
        token = self._token()
        place = self._places[token] = Place(token, token, now, turn, named)
        return place

    def _token(self) -> str:
        return urlsafe_b64encode(self._chance.randbytes(16)).decode()

    def _queued(self, request: Request, place: Place) -> Response:
        secure = "; secure" if request.scheme == "https" else ""
        headers = (
            Header("X-Checkout-Queue", "true"),
            Header(TOKEN_HEADER, place.token),
            Header("Set-Cookie", f"{TOKEN_COOKIE}={quote(place.token, safe='')}; path=/; max-age=3600{secure}"),
            Header("X-Request-Id", request_id(self._request_ids)),
        )
        return json_response(429, {}, headers)

    # ------------------------------------------------------------------------------------------ polls

    def _poll(self, request: Request, now: float) -> Response:
        query = asked(request) if request.method == "POST" else None
        if query is None:
            return json_response(400, {"errors": [{"message": "the queue is polled by POST with a GraphQL query"}]})
        if "poll" not in query.query:
            return problem(f"Field {query.name!r} doesn't exist on type 'QueryRoot'")
        token = query.argument("token")
        if token is None:
            return problem("Variable $token of type String! was provided invalid value")
        place = self._polled(unquote(token), now)
        if not place.released and now < place.poll_at and self._queue.early == "ignored":
            return self._continue(query, place, now)
        if not place.released:
            self._renew(place)
            place.released = now >= place.turn
        if place.released:
            return answered(query, "poll", selected(query, {"__typename": "PollComplete", "token": place.token}))
        asks = self._queue.poll_after_s
        place.poll_at = 0.0 if asks == "none" else ceil((now + asks / self._speed) * 1000) / 1000
        return self._continue(query, place, now)

    def _polled(self, token: str, now: float) -> Place:
        """The place that a poll's token holds; one whose token is lost begins again at the end of the line."""
        place = self._places.get(token)
        if place is None or place.spent:
            return self._enter(now, self._turn(now), None)
        stale = place.token != token and self._queue.stale == "requeued"
        if stale or self._draws.next("lost").random() < self._queue.lost:
            place.turn, place.poll_at, place.released = self._turn(now), 0.0, False
        return place

    def _renew(self, place: Place) -> None:
        place.token = self._token()
        self._places[place.token] = place

    def _continue(self, query: GraphqlRequest, place: Place, now: float) -> Response:
        variants = self._scenario.variants
        told = {
            "__typename": "PollContinue",
            "token": place.token,
            "pollAfter": self._written(place.poll_at) if place.poll_at else None,
            "queueEtaSeconds": max(0, ceil((place.turn - now) * self._queue.eta)) if isfinite(place.turn) else None,
            "productVariantAvailability": [
                {"id": f"gid://shopify/ProductVariantMerchandise/{variant.id}", "available": True}
                for variant in variants
            ],
        }
        wait = (Header(WAIT_HEADER, exact(max(0.0, place.poll_at - now))),) if place.poll_at else ()
        return answered(query, "poll", selected(query, told), wait)

    def _written(self, instant: float) -> str:
        """ISO 8601, whole milliseconds, in the scenario's offset."""
        offset = self._queue.utc_offset
        if offset == "Z":
            zone = UTC
        else:
            ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
            zone = timezone(-ahead if offset[0] == "-" else ahead)
        made = datetime.fromtimestamp(instant, zone).isoformat(timespec="milliseconds")
        return made.replace("+00:00", "Z") if offset == "Z" else made


def _token(request: Request) -> str | None:
    """The token that a request carries: in the header, else in the cookie."""
    if header := request.header(TOKEN_HEADER):
        return unquote(header)  # some clients send the cookie's text as it stands there
    return cookie_token(all_headers(request.headers, "Cookie"))
