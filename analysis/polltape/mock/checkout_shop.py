"""A shop with Shopify's REST Admin checkout, played from a scenario: every endpoint, and jobs that take time.

=====================================  ====================================================================
request                                answer
=====================================  ====================================================================
POST ``checkouts.json``                202 or ``create.status``, 303 beyond ``create.per_minute``; 422 for a variant
                                       not on sale, a bad quantity, a bad US zip
PUT, PATCH ``{token}.json``            202; 422 likewise, or once there is an order; 409 while it is made
POST ``{token}/complete.json``         202; makes the order when its time is over
GET ``{token}.json``                   while a job runs 202; with an order 200; else ``settled_status`` (200),
                                       and 202 for ever for an *idle* checkout that nobody has written to
GET ``{token}/shipping_rates.json``    202 and an empty list, then 200; begins anew after each other write
POST ``{token}/payments.json``         202; the order is made when the payment has succeeded
GET ``{token}/payments/{id}.json``     202 while ``transaction`` is null, then 200
GET ``{token}/payments.json``          200, all of them
POST ``/cardserver/sessions``          200, a session id: what ``payment_url`` names (no card is kept)
anything else                          404 ``{"errors": "Not Found"}``
any, with a full ``bucket``            429 and X-Shopify-Shop-Api-Call-Limit
=====================================  ====================================================================

The reference says that GET answers 200 *only when completed*; Shopify's tutorial on 202s and its staff say to
poll until 200 after any write.  ``settled_status`` chooses: 200 (default, the tutorial) or 202 (the reference).
The same write (method, path, body) while its job runs joins that job; it does not start it anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import Any, Final
from urllib.parse import quote

import msgspec

from polltape.exchange import Header
from polltape.mock.buckets import Buckets, Level
from polltape.mock.checkout_tables import CheckoutTables
from polltape.mock.jobs import Job
from polltape.mock.messages import Request, Response, json_response, request_id
from polltape.mock.scenario_tables import Draws, Kind
from polltape.protocols import shopify_checkout_server as shopify
from polltape.protocols.shopify_checkout import Endpoint, parse_path
from polltape.protocols.shopify_checkout_server import Json

_NO_SUCH: Final[Json] = {"errors": "Not Found"}
_MISSING: Final[Json] = {"errors": {"checkout": "Required parameter missing or invalid"}}
_LOCKED: Final[Json] = {"errors": "The checkout is being completed"}
_UNAUTHORISED: Final[Json] = {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}


@dataclass(slots=True)
class Payment:
    """A payment and the job that processes it."""

    body: Json
    job: Job
    amount: str
    declined: bool


@dataclass(slots=True)
class Checkout:
    """One checkout of the shop.  ``written``: a client has written to it, so it is not idle any more."""

    body: Json
    written: bool = True
    job: Job | None = None
    rates: Job | None = None
    payments: dict[str, Payment] = field(default_factory=dict)

    def running(self, now: float) -> Job | None:
        """The job that a GET of the checkout waits for, None where there is none."""
        return next(self._running(now), None)

    def locked(self, now: float) -> bool:
        """Whether an order is being made of it, whatever else goes on."""
        return any(job.kind in ("checkout.complete", "checkout.payment") for job in self._running(now))

    def _running(self, now: float) -> Iterator[Job]:
        jobs = [self.job, *(payment.job for payment in self.payments.values())]
        return (job for job in jobs if job is not None and job.runs(now))


class CheckoutShop:
    """The shop of the module's text.  One instance, one world; not shared between threads."""

    protocol: Final = "shopify-checkout"

    def __init__(self, scenario: CheckoutTables, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._speed = speed
        self._seed = seed
        self._variants: dict[int, Json] = {v.id: msgspec.structs.asdict(v) for v in scenario.variants}
        self._rates = [shopify.shipping_rate(rate.title, rate.price) for rate in scenario.rates]
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._chance = Random(f"{self._seed}|ids")
        self._request_ids = Random(f"{self._seed}|requests")
        self._draws = Draws(self._seed)
        self._orders = 0
        self._created: deque[float] = deque()  # when, in the last minute
        self._buckets = Buckets(self._scenario.bucket, self._speed)
        self._level: Level | None = None  # of the request at hand
        self._checkouts: dict[str, Checkout] = {}
        for token in self._scenario.shop.idle:
            self._checkouts[token] = Checkout(self._empty(token, 1_167_609_600.0), written=False)

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        refused = self._refused(request, now)
        if refused is not None:
            return refused
        if request.path == "/cardserver/sessions":
            return self._vault(request, now)
        endpoint = parse_path(request.path)
        act = None if endpoint is None else self._acts().get((request.method, endpoint.what))
        if endpoint is None or act is None:
            return self._say(request, now, 404, _NO_SUCH, matched=False)
        if endpoint.token is None:
            return self._create(request, now)
        checkout = self._checkouts.get(endpoint.token)
        if checkout is None:
            return self._say(request, now, 404, _NO_SUCH)
        self._catch_up(checkout, now)
        return act(request, now, endpoint, checkout)

    def status(self, now: float) -> list[Json]:
        """Every job so far: kind, key, seconds since its submit at speed 1, whether it runs, when it ends."""
        found = []
        for token, checkout in self._checkouts.items():
            jobs = [(token, checkout.job), (f"{token}|shipping_rates", checkout.rates)]
            jobs += [(f"{token}|payments|{number}", paid.job) for number, paid in checkout.payments.items()]
            found += [job.status(key, now, self._speed) for key, job in jobs if job is not None]
        return found

    # ------------------------------------------------------------------------------------- endpoints

    def _acts(self) -> dict[tuple[str, str], Callable[[Request, float, Endpoint, Checkout], Response]]:
        return {
            ("POST", "create"): lambda request, now, endpoint, checkout: self._create(request, now),
            ("PUT", "checkout"): self._update,
            ("PATCH", "checkout"): self._update,
            ("POST", "complete"): self._complete,
            ("GET", "checkout"): self._get,
            ("GET", "shipping_rates"): self._get_rates,
            ("GET", "calculate_shipping"): self._get_rates,
            ("POST", "calculate_shipping"): self._get_rates,
            ("POST", "payments"): self._pay,
            ("GET", "payments"): self._get_payments,
            ("GET", "payment"): self._get_payment,
        }

    def _create(self, request: Request, now: float) -> Response:
        sent = _object(request.json(), "checkout")
        if sent is None:
            return self._say(request, now, 400, _MISSING)
        errors = self._errors(sent)
        if errors:
            return self._say(request, now, 422, {"errors": errors})
        if self._too_many_created(now):
            return self._say(request, now, 303, {})
        token = f"{self._chance.getrandbits(128):032x}"
        checkout = self._checkouts[token] = Checkout(self._empty(token, now))
        self._apply(checkout.body, sent)
        create = self._scenario.create
        if create.status == 201 and not (create.asynchronous_tax and checkout.body["shipping_address"]):
            return self._say(request, now, 201, self._body(request, checkout), self._location(request, checkout))
        checkout.job = self._start("create", request, now)
        return self._pending(request, now, checkout, checkout.job)

    def _too_many_created(self, now: float) -> bool:
        """Whether this minute has had its checkouts; a 303 is no checkout, and the real one names no Location."""
        limit = self._scenario.create.per_minute
        while self._created and (now - self._created[0]) * self._speed >= 60:
            self._created.popleft()
        if limit and len(self._created) >= limit:
            return True
        self._created.append(now)
        return False

    def _update(self, request: Request, now: float, _: Endpoint, checkout: Checkout) -> Response:
        if joined := self._joined(request, now, checkout):
            return joined
        sent = _object(request.json(), "checkout")
        if sent is None:
            return self._say(request, now, 400, _MISSING)
        if refused := self._closed(request, now, checkout):
            return refused
        errors = self._errors(sent)
        if errors:
            return self._say(request, now, 422, {"errors": errors})
        self._apply(checkout.body, sent)
        checkout.body["updated_at"] = _iso(now)
        checkout.written, checkout.rates = True, None
        checkout.job = self._start("update", request, now)
        return self._pending(request, now, checkout, checkout.job)

    def _complete(self, request: Request, now: float, _: Endpoint, checkout: Checkout) -> Response:
        if joined := self._joined(request, now, checkout):
            return joined
        if refused := self._closed(request, now, checkout):
            return refused
        missing = self._missing(checkout.body)
        if missing:
            return self._say(request, now, 422, {"errors": missing})
        checkout.written = True
        checkout.job = self._start("complete", request, now)
        return self._pending(request, now, checkout, checkout.job)

    def _get(self, request: Request, now: float, _: Endpoint, checkout: Checkout) -> Response:
        job = checkout.running(now)
        if job is not None:
            return self._pending(request, now, checkout, job)
        settled = self._scenario.shop.settled_status if checkout.written else 202
        status = 200 if checkout.body["completed_at"] else settled
        return self._say(request, now, status, self._body(request, checkout))

    def _get_rates(self, request: Request, now: float, endpoint: Endpoint, checkout: Checkout) -> Response:
        if checkout.rates is None:
            checkout.rates = self._start("shipping_rates", request, now)
        if not checkout.rates.runs(now):
            return self._say(request, now, 200, shopify.shipping_rates(checkout.body, self._rates))
        wait = self._located(request, request.path) + self._scenario.shipping_rates.hint(self._speed, now)
        return self._say(request, now, 202, {"shipping_rates": []}, wait)

    def _pay(self, request: Request, now: float, endpoint: Endpoint, checkout: Checkout) -> Response:
        sent = _object(request.json(), "payment")
        if sent is None:
            return self._say(request, now, 400, {"errors": {"payment": _MISSING["errors"]["checkout"]}})
        unique = sent.get("unique_token")
        for payment in checkout.payments.values():
            if unique is not None and payment.body["unique_token"] == unique:
                return self._payment(request, now, checkout, payment)
        if refused := self._closed(request, now, checkout):
            return refused
        number = self._chance.randrange(10**7, 10**8)
        amount = str(sent.get("amount") or checkout.body["payment_due"])
        job = self._start("payment", request, now)
        declined = self._draws.next("declined").random() < self._scenario.payment.declined
        payment = Payment(shopify.payment(number, sent), job, amount, declined)
        checkout.payments[str(number)] = payment
        checkout.written = True
        self._catch_up(checkout, now)
        return self._payment(request, now, checkout, payment)

    def _get_payment(self, request: Request, now: float, endpoint: Endpoint, checkout: Checkout) -> Response:
        payment = checkout.payments.get(endpoint.payment or "")
        if payment is None:
            return self._say(request, now, 404, _NO_SUCH)
        return self._payment(request, now, checkout, payment)

    def _get_payments(self, request: Request, now: float, endpoint: Endpoint, checkout: Checkout) -> Response:
        payments = [self._shown(request, checkout, payment) for payment in checkout.payments.values()]
        return self._say(request, now, 200, {"payments": payments})

    def _vault(self, request: Request, now: float) -> Response:
        """The card vault: takes a card, keeps nothing of it, and gives a session id."""
        if request.method != "POST":
            return self._say(request, now, 404, _NO_SUCH)
        return self._say(request, now, 200, {"id": f"east-{self._chance.getrandbits(128):032x}"})

    # --------------------------------------------------------------------------------------- refusals

    def _refused(self, request: Request, now: float) -> Response | None:
        self._level = None
        credentials = request.header("X-Shopify-Access-Token") or request.header("Authorization")
        if self._scenario.shop.access_token and not credentials:
            return self._say(request, now, 401, _UNAUTHORISED)
        bucket = self._scenario.bucket
        if not bucket.size:
            return None
        self._level = self._buckets.take(request, now)
        if self._level.admitted:
            return None
        return self._say(request, now, 429, shopify.too_many(bucket.leak_per_s), bucket.hint(self._speed, now))

    def _errors(self, sent: Json) -> Json:
        return shopify.checkout_errors(sent, self._variants, self._rates)

    def _closed(self, request: Request, now: float, checkout: Checkout) -> Response | None:
        """What a write gets that comes too late; the reference does not say, so this is the mock's own."""
        if checkout.locked(now):
            return self._say(request, now, 409, _LOCKED)
        if checkout.body["completed_at"]:
            gone = shopify.error("already_completed", "checkout is already completed")
            return self._say(request, now, 422, {"errors": {"base": gone}})
        return None

    def _missing(self, body: Json) -> Json:
        """What a strict shop lacks before it completes a checkout, from the reference's words."""
        if not self._scenario.shop.strict:
            return {}
        missing: Json = {}
        if not body["email"] and not body["phone"]:
            missing["email"] = shopify.error("blank", "can't be blank")
        if body["requires_shipping"] and not body["shipping_line"]:
            missing["shipping_line"] = shopify.error("blank", "can't be blank")
        return missing

    def _joined(self, request: Request, now: float, checkout: Checkout) -> Response | None:
        job = checkout.job
        if job is None or not job.runs(now) or job.write != request.identity:
            return None
        return self._pending(request, now, checkout, job)

    # -------------------------------------------------------------------------------------- the work

    def _start(self, kind: str, request: Request, now: float) -> Job:
        """A new job; the n-th of its kind takes the n-th duration drawn for that kind."""
        takes = self._kind(kind).draw(self._draws.next(kind))
        return Job(f"checkout.{kind}", now, now + takes / self._speed, request.identity)

    def _catch_up(self, checkout: Checkout, now: float) -> None:
        """What has happened to the checkout by now: payments settled, its order made."""
        for payment in checkout.payments.values():
            if payment.body["transaction"] is None and not payment.job.runs(now):
                shopify.settle(
                    payment.body,
                    transaction_id=self._chance.randrange(10**8, 10**9),
                    amount=payment.amount,
                    currency=checkout.body["currency"],
                    created_at=_iso(payment.job.ends),
                    declined=payment.declined,
                )
                if not payment.declined:
                    self._order(checkout, payment.job.ends)
        job = checkout.job
        if job is not None and job.kind == "checkout.complete" and not job.runs(now):
            self._order(checkout, job.ends)

    def _order(self, checkout: Checkout, instant: float) -> None:
        if checkout.body["completed_at"] is None:
            self._orders += 1
            shopify.complete(checkout.body, 450_780_000 + 1000 + self._orders, _iso(instant))

    def _empty(self, token: str, now: float) -> Json:
        number = 1_068_673_449 + len(self._checkouts)
        currency = self._scenario.shop.currency
        return shopify.new_checkout(
            token, number=number, currency=currency, source_name="755357713", created_at=_iso(now)
        )

    def _apply(self, body: Json, sent: Json) -> None:
        """Change a checkout by what a client sent; what it may not set is passed over."""
        before = (body["line_items"], body["shipping_address"])
        # sorted: a set has another order in another process, and new addresses draw their ids
        for name in sorted(sent.keys() & (shopify.WRITABLE & body.keys()) - {"shipping_line", "line_items"}):
            body[name] = self._address(sent[name], body[name]) if name.endswith("_address") else sent[name]
        if "line_items" in sent:
            body["line_items"] = [self._line(item, body["line_items"]) for item in sent["line_items"] or ()]
        if body["email"] and body["customer_id"] is None:
            body["customer_id"] = self._chance.randrange(10**9, 2 * 10**9)
        if "shipping_line" in sent:
            shopify.choose_rate(body, sent["shipping_line"], self._rates)
        elif before != (body["line_items"], body["shipping_address"]):
            shopify.choose_rate(body, None, self._rates)  # another parcel: the rate must be chosen again
        shopify.priced(body, Decimal(self._scenario.shop.tax_rate))

    def _line(self, sent: Json, before: list[Json]) -> Json:
        known = {item["id"] for item in before}
        same = sent.get("id") if sent.get("id") in known else None
        variant = self._variants[int(sent["variant_id"])]
        return shopify.line_item(same or f"{self._chance.getrandbits(128):032x}", sent, variant)

    def _address(self, sent: Any, before: Json | None) -> Json | None:
        if not isinstance(sent, dict):
            return None
        number = before["id"] if before else self._chance.randrange(10**8, 10**9)
        return shopify.address(number, sent, before)

    # ------------------------------------------------------------------------------------- answering

    def _kind(self, kind: str) -> Kind:
        found: Kind = getattr(self._scenario, kind)
        return found

    def _body(self, request: Request, checkout: Checkout) -> Json:
        made = shopify.located(checkout.body, request.base)
        made["payments"] = [payment.body for payment in checkout.payments.values()]
        return {"checkout": made}

    def _pending(self, request: Request, now: float, checkout: Checkout, job: Job) -> Response:
        """202 while the job runs; a job without duration is over in its own answer, which is 202 all the same."""
        wait = self._location(request, checkout) + self._kind(job.kind.removeprefix("checkout.")).hint(self._speed, now)
        return self._say(request, now, 202, self._body(request, checkout), wait + _authorization(request, checkout))

    def _payment(self, request: Request, now: float, checkout: Checkout, payment: Payment) -> Response:
        body = {"payment": self._shown(request, checkout, payment)}
        if payment.body["transaction"] is not None:
            return self._say(request, now, 200, body)
        wait = self._location(request, checkout, f"/payments/{payment.body['id']}")
        return self._say(request, now, 202, body, wait + self._scenario.payment.hint(self._speed, now))

    def _shown(self, request: Request, checkout: Checkout, payment: Payment) -> Json:
        return shopify.payment_resource(payment.body, self._body(request, checkout)["checkout"])

    def _location(self, request: Request, checkout: Checkout, more: str = "") -> tuple[Header, ...]:
        token = quote(checkout.body["token"], safe="")
        return self._located(request, f"{_prefix(request)}/checkouts/{token}{more}.json")

    def _located(self, request: Request, path: str) -> tuple[Header, ...]:
        return (Header("Location", request.base + path),) if self._scenario.shop.location else ()

    def _say(
        self,
        request: Request,
        now: float,
        status: int,
        body: Json,
        more: tuple[Header, ...] = (),
        *,
        matched: bool = True,
    ) -> Response:
        headers = [*more, Header("X-Request-Id", request_id(self._request_ids))]
        if version := _version(request.path):
            headers.append(Header("X-Shopify-API-Version", version))
        if self._level is not None:
            headers.append(shopify.call_limit(self._level.used, self._scenario.bucket.size))
        return json_response(status, body, tuple(headers), matched=matched)


def _object(body: Any, name: str) -> Json | None:
    """The object of that name in a request's body, None where it is not there."""
    inner = body.get(name) if isinstance(body, dict) else None
    return inner if isinstance(inner, dict) else None


def _prefix(request: Request) -> str:
    return request.path.partition("/checkouts")[0]


def _authorization(request: Request, checkout: Checkout) -> tuple[Header, ...]:
    """What the storefront's own client carries from the answer to its polls."""
    if _prefix(request) != "/wallets":
        return ()
    token = sha256(f"authorization of {checkout.body['token']}".encode()).hexdigest()[:32]
    return (Header("X-Shopify-Checkout-Authorization-Token", token),)


def _version(path: str) -> str | None:
    """The API version in a path, None where the path has none."""
    parts = path.split("/")
    return parts[3] if path.startswith("/admin/api/") and len(parts) > 4 else None


def _iso(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).isoformat()
