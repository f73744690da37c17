"""A point of sale behind PAR POS Next, without a recording.

=====================================  ====================================================================
request                                answer
=====================================  ====================================================================
POST ``/posnext/order/validate``       200 ``validated``; 202 ``pending`` for a share of them
POST ``/posnext/order/submit``         200 ``placed``; 202 ``pending`` for a share of them
GET ``/posnext/orders/{orderId}``      200 with the status of now; 404 for an order that is not there
POST ``/posnext/menus``                200
the same write while it is pending     joins it: 202; once it is over its result, 200
another body under the same id         409 while one is pending
anything else                          404
=====================================  ====================================================================

``order`` and ``orders`` are the same: PAR's pages write both.  An answer repeats the order that it was sent, with
exact amounts, its status, and its digest in ``x-pch-digest`` where the scenario has a SharedId; with
``check_requests`` a write whose own digest is wrong or missing is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta

from polltape.exchange import Header
from polltape.mock.jobs import Job
from polltape.mock.messages import JSON, Request, Response, json_response, reason_of
from polltape.mock.scenario_tables import Drawn, Draws, Hint, Kind, Outcomes, Scenario, Seconds, Share
from polltape.protocols import par_digest
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend

_PATH: Final = re.compile(r"^(?P<prefix>.*/posnext)/orders?/(?P<last>[^/]+)$")
_MENUS: Final = re.compile(r"/posnext/menus$")
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")
_ENDED_WELL: Final = {"validate": "validated", "submit": "placed"}
Json = dict[str, Any]


class Digest(Table, frozen=True):
    """How orders are signed.  ``missing``, ``wrong``: shares of the answers without digest, with a wrong one."""

    shared_id: str = "0123456789ABCDEF"
    check_requests: bool = False
    refused_status: Annotated[int, Meta(ge=400, le=499)] = 401
    missing: Share = 0.0
    wrong: Share = 0.0


class Pos(Table, frozen=True):
    """The point of sale as a whole.  ``unknown``: share of the pending answers with a word that PAR does not know."""

    bearer: bool = False
    location: bool = True
    poll_status: Literal[200, 202] = 200
    unknown: Share = 0.0


class Endings(Outcomes, frozen=True):
    """Shares of the orders that end otherwise than well."""

    errored: Share = 0.0
    rejected: Share = 0.0


class WriteKind(Kind, frozen=True):
    """A validate or a submit; ``pending`` is the share of them that is answered 202."""

    pending: Share = 1.0
    duration_s: Seconds | Drawn = 3.0
    retry_after: Hint = "none"
    outcomes: Endings = Endings()


class ValidateKind(WriteKind, frozen=True):
    """A validate, which PAR's pages want answered at once."""

    pending: Share = 0.0
    duration_s: Seconds | Drawn = 1.0


class ParScenario(Scenario, frozen=True, kw_only=True):
    """The scenario of protocol ``par-posnext``."""

    built_in: ClassVar[str] = "par-posnext"

    protocol: Literal["par-posnext"]
    pos: Pos = Pos()
    digest: Digest = Digest()
    validate: ValidateKind = ValidateKind()
    submit: WriteKind = WriteKind()

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        return ParPos(self, speed=speed, seed=seed)


class ParPos:
    """The point of sale of the module's text."""

    protocol: Final = "par-posnext"

    def __init__(self, scenario: ParScenario, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._speed = speed
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._draws = Draws(self._seed)
        self._orders: dict[str, tuple[Json, Job]] = {}  # the newest write of each

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        if self._scenario.pos.bearer and not (request.header("Authorization") or "").startswith("Bearer "):
            challenge = (Header("WWW-Authenticate", "Bearer"),)
            return json_response(401, _error("no bearer token"), challenge)
        if request.method == "POST" and _MENUS.search(request.path):
            return json_response(200, {})
        match = _PATH.match(request.path)
        if match is None:
            return json_response(404, _error("no such endpoint"), matched=False)
        last = unquote(match["last"])
        if request.method == "POST" and last in _ENDED_WELL:
            return self._write(request, now, last, match["prefix"])
        if request.method != "GET" or last in _ENDED_WELL:
            return json_response(405, _error("write by POST, read an order by GET"), matched=False)
        if last not in self._orders:
            return json_response(404, _error(f"no order {last!r}"))
        order, job = self._orders[last]
        status = self._scenario.pos.poll_status if job.runs(now) else 200
        return self._say(status, order, job, now, self._asking(job, now))

    def status(self, now: float) -> list[Json]:
        """Every order, by its newest write."""
        return [job.status(uid, now, self._speed) for uid, (_, job) in self._orders.items()]

    def _write(self, request: Request, now: float, what: str, prefix: str) -> Response:
        order = _order(request.body)
        try:
            problem = None if order is None else self._unsigned(request, order)
        except ValueError as wrong:
            return json_response(400, _error(str(wrong)))
        if order is None:
            return json_response(400, _error("no order: a JSON object with a request_uid"))
        if problem is not None:
            return json_response(self._scenario.digest.refused_status, _error(problem))
        uid = str(order["request_uid"])
        job = self._known(uid, request, now, what)
        if job is None:
            return json_response(409, _error(f"order {uid!r} is pending"))
        self._orders[uid] = (order, job)
        where: tuple[Header, ...] = ()
        if job.runs(now) and self._scenario.pos.location:
            where = (Header("Location", f"{prefix}/orders/{quote(uid, safe='')}"),)
        return self._say(202 if job.runs(now) else 200, order, job, now, where + self._asking(job, now))

    def _known(self, uid: str, request: Request, now: float, what: str) -> Job | None:
        """The job of a write: the one at hand if it is the same, a new one, None where another is pending."""
        write = request.identity
        before = self._orders.get(uid)
        if before is not None and before[1].write == write:
            return before[1]
        if before is not None and before[1].runs(now):
            return None
        kind = self._kind(what)
        waits = self._draws.next(f"{what}.pending").random() < kind.pending
        takes = kind.draw(self._draws.next(what)) / self._speed if waits else 0.0
        outcome = kind.outcomes.draw(self._draws.next(f"{what}.outcome"))
        return Job(f"order.{what}", now, now + takes, write, outcome)

    def _kind(self, what: str) -> WriteKind:
        return self._scenario.validate if what == "validate" else self._scenario.submit

    def _asking(self, job: Job, now: float) -> tuple[Header, ...]:
        kind = self._kind(job.kind.removeprefix("order."))
        return kind.hint(self._speed, now) if job.runs(now) else ()

    def _unsigned(self, request: Request, order: Json) -> str | None:
        """What is wrong with a request's digest.  Raises ValueError for an amount that is no number."""
        signed = self._signature(order)
        if not self._scenario.digest.check_requests:
            return None
        given = request.header(par_digest.HEADER)
        if given is None:
            return f"no {par_digest.HEADER}"
        return None if given.strip() == signed else f"{par_digest.HEADER} does not match the order"

    def _signature(self, order: Mapping[str, Any]) -> str:
        return par_digest.digest(self._scenario.digest.shared_id, par_digest.message(order))

    def _say(self, status: int, order: Json, job: Job, now: float, more: tuple[Header, ...]) -> Response:
        word = self._pending() if job.runs(now) else job.outcome or _ENDED_WELL[job.kind.removeprefix("order.")]
        body = _ENCODER.encode({**order, "order_id": str(order["request_uid"]), "status": word})
        headers = (Header("Content-Type", JSON), *more, *self._signed(order), Header("Content-Length", str(len(body))))
        return Response(status, reason_of(status), headers, body)

    def _pending(self) -> str:
        return "queued" if _happens(self._draws.next("unknown"), self._scenario.pos.unknown) else "pending"

    def _signed(self, order: Json) -> tuple[Header, ...]:
        table = self._scenario.digest
        if not table.shared_id or _happens(self._draws.next("digest.missing"), table.missing):
            return ()
        wrong = _happens(self._draws.next("digest.wrong"), table.wrong)
        value = "0" * 64 if wrong else self._signature(order)
        return (Header(par_digest.HEADER, value),)


def _happens(chance: Random, share: Share) -> bool:
    return chance.random() < share


def _order(body: bytes) -> Json | None:
    """The order in a request, its fractions exact; None where it has no request_uid."""
    try:
        order = _DECODER.decode(body)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    uid = order.get("request_uid") if isinstance(order, dict) else None
    return order if isinstance(uid, str | int) and uid != "" else None


def _error(message: str) -> Json:
    return {"errors": [message]}
