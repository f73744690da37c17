"""An API with long-running operations, without a recording, in the style that the scenario names.

==============  ==============================================  =============================================
style           a write is answered                             while it runs, and then
==============  ==============================================  =============================================
azure-arm       202 (PUT that makes: 201) Azure-AsyncOperation  the former 200 ``InProgress``, ``Succeeded``,
                and Location; 400 without ``api-version``       ``Failed`` or ``Canceled``; the latter 202,
                                                                then 200, 204, or the error's status
azure-data      202 (PUT: 201, 200) Operation-Location          200 ``Running``, then ``Succeeded`` with
                                                                ``resourceLocation``, or as above
rfc7240         202 Location with ``Prefer: respond-async``;    202, then 200 or the error's status
                else the result, when it is there
json-api        202 Content-Location                            200, then 303 to the resource, or the error
fhir            202 Content-Location with ``Prefer:             202 and X-Progress, then 200 or the error's
                respond-async``, a GET too; else as rfc7240     status
aip-151         200 ``{"name": "operations/…"}``                200 ``done: false``, then ``done: true`` with
                                                                ``response`` or ``error``
==============  ==============================================  =============================================

Any path is a resource: POST makes one below it, PUT and PATCH change it, DELETE takes it away, GET reads it.
The same write while it runs joins it; another write to that resource meanwhile is answered 409.  Operations lie
below ``/operations/`` and are gone ``keep_s`` after their end (404).  DELETE on one that runs cancels it
(``cancel_status``), and nothing is made; on one that is over it is answered 409.  AIP-151 has no such DELETE.

FHIR's kick-off may be a GET: of a resource that is there, or of a FHIR operation (``$export``), whose result is the
empty manifest of Bulk Data Access (hl7.org/fhir/uv/bulkdata, "Bulk Data Output Manifest").  Each begins an operation
of its own, and none is in the way of a write.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal
from urllib.parse import parse_qs
from uuid import UUID

from msgspec import Meta

from polltape.exchange import Header, all_headers
from polltape.mock.buckets import Bucket, Buckets
from polltape.mock.jobs import Job, identity
from polltape.mock.messages import Request, Response, json_response, reason_of, request_id
from polltape.mock.scenario_tables import Drawn, Draws, Kind, Outcomes, Scenario, Seconds, Share
from polltape.toml_file import Table

if TYPE_CHECKING:
    from polltape.mock.core import Backend

Json = dict[str, Any]
Style = Literal["azure-arm", "azure-data", "rfc7240", "json-api", "fhir", "aip-151"]
_OPERATION: Final = re.compile(r"^/(?P<what>operations|operationresults)/(?P<id>[^/]+)$")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ENDINGS: Final = {None: "Succeeded", "failed": "Failed", "canceled": "Canceled"}
_WORKING: Final = {"PUT": "Updating", "PATCH": "Updating", "POST": "Creating", "DELETE": "Deleting"}
_WAIT: Final = re.compile(r"\bwait\s*=\s*\"?([0-9]{1,9})\"?")


class Api(Table, frozen=True):
    """The API as a whole."""

    style: Style = "azure-arm"
    keep_s: Seconds = inf
    failed_status: Annotated[int, Meta(ge=400, le=599)] = 409
    cancel_status: Literal[200, 202, 204, 405] = 202


class OperationKind(Kind, frozen=True):
    """A write."""

    duration_s: Seconds | Drawn = 3.0


class Endings(Outcomes, frozen=True):
    """Shares of the operations that end otherwise than well."""

    failed: Share = 0.0
    canceled: Share = 0.0


class AsyncScenario(Scenario, frozen=True, kw_only=True):
    """The scenario of protocol ``http-async``."""

    built_in: ClassVar[str] = "azure-lro"

    protocol: Literal["http-async"]
    api: Api = Api()
    operation: OperationKind = OperationKind()
    outcomes: Endings = Endings()
    bucket: Bucket = Bucket()

    def backend(self, *, speed: float, seed: int) -> Backend:
        """What plays it."""
        return AsyncApi(self, speed=speed, seed=seed)


@dataclass(slots=True)
class Operation:
    """One operation: its id, its work, and the resource that it makes, changes or takes away."""

    id: str
    job: Job
    method: str
    resource: str
    sent: Json

    @property
    def word(self) -> str:
        """How it ends, in Azure's words."""
        return _ENDINGS[self.job.outcome]


class AsyncApi:
    """The API of the module's text."""

    protocol: Final = "http-async"

    def __init__(self, scenario: AsyncScenario, *, speed: float, seed: int) -> None:
        self._scenario = scenario
        self._speed = speed
        self._seed = seed
        style = scenario.api.style
        polls: dict[Style, Callable[[Request, float, Operation], Response]] = {
            "azure-arm": self._poll_body,
            "azure-data": self._poll_body,
            "rfc7240": self._poll_status,
            "json-api": self._poll_json_api,
            "fhir": self._poll_status,
            "aip-151": self._poll_aip,
        }
        self._poll = polls[style]
        self._on_request = style in ("rfc7240", "fhir")
        self._can_cancel = style != "aip-151" and scenario.api.cancel_status != 405
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self._chance = Random(f"{self._seed}|ids")
        self._request_ids = Random(f"{self._seed}|requests")
        self._draws = Draws(self._seed)
        self._buckets = Buckets(self._scenario.bucket, self._speed)
        self._operations: dict[str, Operation] = {}
        self._newest: dict[str, Operation] = {}  # by resource
        self._writes: dict[bytes, Operation] = {}
        self._resources: dict[str, Json] = {}

    def answer(self, request: Request, now: float) -> Response:
        """The answer to one request; see the module's text."""
        if self._scenario.bucket.size and not self._buckets.take(request, now).admitted:
            return self._say(
                429, _error("TooManyRequests", "too many requests"), self._scenario.bucket.hint(self._speed, now)
            )
        if self._scenario.api.style == "azure-arm" and "api-version" not in parse_qs(request.query or ""):
            missing = "The api-version query parameter (?api-version=) is required for all requests."
            return self._say(400, _error("MissingApiVersionParameter", missing))
        match = _OPERATION.match(request.path)
        if match is not None:
            return self._operation(request, now, match["what"], match["id"])
        if request.method in ("GET", "HEAD"):
            asked = self._scenario.api.style == "fhir" and "respond-async" in _preferences(request)
            return self._get_later(request, now) if asked else self._get(request, now)
        if request.method not in _WRITES:
            return self._say(405, _error("MethodNotAllowed", "no such method"), matched=False)
        return self._write(request, now)

    def status(self, now: float) -> list[Json]:
        """Every operation and its clock."""
        return [made.job.status(made.id, now, self._speed) for made in self._operations.values()]

    # ------------------------------------------------------------------------------------------ writes

    def _write(self, request: Request, now: float) -> Response:
        same = self._writes.get(identity(request))
        if same is not None and same.job.runs(now):
            return self._taken(request, now, same)
        busy = self._newest.get(request.path)
        if busy is not None and busy.job.runs(now):
            return self._say(409, _error("OperationInProgress", f"operation {busy.id} runs on this resource"))
        sent = request.json()
        if request.body and not isinstance(sent, dict):
            return self._say(400, _error("InvalidRequestContent", "the body is no JSON object"))
        self._settle(request.path, now)
        if request.method in ("PATCH", "DELETE") and request.path not in self._resources:
            return self._gone(request)
        return self._taken(request, now, self._start(request, now, sent or {}))

    def _taken(self, request: Request, now: float, made: Operation) -> Response:
        if self._on_request and self._wants_result(request, now, made):
            return self._held(made, now)
        return self._accepted(request, now, made)

    def _wants_result(self, request: Request, now: float, made: Operation) -> bool:
        """Whether the client waits for the result itself (RFC 7240 §4.1), or for so long as it takes (§4.3)."""
        preferences = _preferences(request)
        if "respond-async" not in preferences:
            return True
        wait = _WAIT.search(preferences)
        return wait is not None and made.job.ends - now <= int(wait[1]) / self._speed

    def _start(self, request: Request, now: float, sent: Json) -> Operation:
        resource = request.path if request.method != "POST" else f"{request.path.rstrip('/')}/{self._uuid()}"
        made = self._begun(request, now, resource, sent)
        self._newest[resource] = self._writes[made.job.write] = made
        return made

    def _begun(self, request: Request, now: float, resource: str, sent: Json) -> Operation:
        takes = self._scenario.operation.draw(self._draws.next("operation"))
        outcome = self._scenario.outcomes.draw(self._draws.next("outcome"))
        job = Job("async", now, now + takes / self._speed, identity(request), outcome)
        made = Operation(self._uuid(), job, request.method, resource, sent)
        self._operations[made.id] = made
        return made

    def _held(self, made: Operation, now: float) -> Response:
        """The result itself, as late as it takes; what never ends is answered 504 after a minute."""
        takes = made.job.ends - now
        if takes == inf:
            held = self._say(504, _error("Timeout", "no result in time"))
            return replace(held, hold_s=60.0 / self._speed)
        return replace(self._result(made, made.job.ends), hold_s=takes)

    def _accepted(self, request: Request, now: float, made: Operation) -> Response:
        style = self._scenario.api.style
        wait = self._scenario.operation.hint(self._speed, now)
        address = self._address(request, made)
        new = made.method == "PUT" and made.resource not in self._resources
        if style == "azure-arm":
            results = self._address(request, made, "operationresults")
            where = (Header("Azure-AsyncOperation", address), Header("Location", results))
            return self._say(201 if new else 202, self._shown(made, now), where + wait)
        if style == "azure-data":
            status = 202 if made.method != "PUT" else 201 if new else 200
            return self._say(status, self._told(request, now, made), (Header("Operation-Location", address), *wait))
        if style == "aip-151":
            return self._say(200, self._told_aip(now, made), wait)
        if style == "rfc7240":
            applied = Header("Preference-Applied", "respond-async")
            return self._say(202, self._told(request, now, made), (Header("Location", address), applied, *wait))
        return self._say(202, self._told(request, now, made), (Header("Content-Location", address), *wait))

    # ------------------------------------------------------------------------------------------- reads

    def _get(self, request: Request, now: float) -> Response:
        self._settle(request.path, now)
        made = self._newest.get(request.path)
        if made is not None and made.job.runs(now) and (made.method == "PUT" or request.path in self._resources):
            return self._say(200, {**self._resources.get(request.path, {}), **self._shown(made, now)})
        if request.path not in self._resources:
            return self._gone(request)
        return self._say(200, self._resources[request.path])

    def _get_later(self, request: Request, now: float) -> Response:
        """FHIR's kick-off by GET: what is read is there when its time is over."""
        self._settle(request.path, now)
        if request.path not in self._resources and not request.path.rpartition("/")[2].startswith("$"):
            return self._gone(request)
        manifest: Json = {
            "transactionTime": _iso(now),
            "request": request.base + request.target,
            "requiresAccessToken": False,
            "output": [],
            "error": [],
        }
        return self._taken(request, now, self._begun(request, now, request.path, manifest))

    def _operation(self, request: Request, now: float, what: str, number: str) -> Response:
        made = self._operations.get(number)
        kept = self._scenario.api.keep_s / self._speed
        if made is None or now > made.job.ends + kept:
            return self._say(404, _error("OperationNotFound", f"no operation {number!r}"))
        if request.method == "DELETE" and self._can_cancel:
            return self._cancel(made, now)
        if request.method not in ("GET", "HEAD"):
            return self._say(405, _error("MethodNotAllowed", "an operation is read"), matched=False)
        self._settle(made.resource, now)
        return self._poll_status(request, now, made) if what == "operationresults" else self._poll(request, now, made)

    def _cancel(self, made: Operation, now: float) -> Response:
        """It ends now, without having made anything."""
        if not made.job.runs(now):
            return self._say(409, _error("OperationNotCancellable", f"the operation is over: {made.word}"))
        made.job = replace(made.job, ends=now, outcome="canceled")
        return self._say(self._scenario.api.cancel_status, None)

    def _poll_body(self, request: Request, now: float, made: Operation) -> Response:
        """Azure's status monitor: always 200, the word tells."""
        wait = self._scenario.operation.hint(self._speed, now) if made.job.runs(now) else ()
        return self._say(200, self._told(request, now, made), wait)

    def _poll_status(self, request: Request, now: float, made: Operation) -> Response:
        """Location's way, and FHIR's: 202 until the result is there."""
        if not made.job.runs(now):
            return self._result(made, now)
        wait = self._scenario.operation.hint(self._speed, now)
        if self._scenario.api.style == "fhir":
            return self._say(202, None, (Header("X-Progress", "in progress"), *wait))
        where = Header("Location", request.base + request.target)
        return self._say(202, self._told(request, now, made), (where, *wait))

    def _poll_json_api(self, request: Request, now: float, made: Operation) -> Response:
        if made.job.runs(now):
            return self._say(200, self._told(request, now, made), self._scenario.operation.hint(self._speed, now))
        if made.job.outcome is not None or made.method == "DELETE":
            return self._result(made, now)
        return self._say(303, None, (Header("Location", request.base + made.resource),))

    def _poll_aip(self, request: Request, now: float, made: Operation) -> Response:
        wait = self._scenario.operation.hint(self._speed, now) if made.job.runs(now) else ()
        return self._say(200, self._told_aip(now, made), wait)

    def _result(self, made: Operation, now: float) -> Response:
        """What the work led to: the resource, nothing (204), or the error."""
        if made.job.outcome is not None:
            return self._say(self._scenario.api.failed_status, _error(made.word, f"the operation has {_past(made)}"))
        self._settle(made.resource, now)
        if made.method in ("GET", "HEAD"):
            return self._say(200, self._resources.get(made.resource, made.sent))
        if made.method == "DELETE":
            return self._say(204, None)
        return self._say(200, self._shown(made, now))

    # -------------------------------------------------------------------------------------- bodies

    def _settle(self, resource: str, now: float) -> None:
        """What the newest operation on it has made of the resource by now."""
        made = self._newest.get(resource)
        if made is None or made.job.runs(now) or made.job.outcome is not None:
            return
        if made.method == "DELETE":
            self._resources.pop(resource, None)
        elif made.method == "PATCH":
            self._resources[resource] = {**self._resources.get(resource, {}), **self._shown(made, now)}
        else:
            self._resources[resource] = self._shown(made, now)

    def _shown(self, made: Operation, now: float) -> Json:
        """The resource as it is seen: what was sent, and the state that it is in."""
        properties = made.sent.get("properties")
        state = _WORKING[made.method] if made.job.runs(now) else made.word
        inner = {**(properties if isinstance(properties, dict) else {}), "provisioningState": state}
        return {**made.sent, "id": made.resource, "name": made.resource.rpartition("/")[2], "properties": inner}

    def _told(self, request: Request, now: float, made: Operation) -> Json:
        """The status monitor's body."""
        running = "Running" if self._scenario.api.style == "azure-data" else "InProgress"
        done = not made.job.runs(now)
        body: Json = {"id": f"/operations/{made.id}", "name": made.id, "status": made.word if done else running}
        body["startTime"] = _iso(made.job.started)
        if done:
            body["endTime"] = _iso(made.job.ends)
        if done and made.job.outcome is not None:
            body |= _error(made.word, f"the operation has {_past(made)}")
        elif done and self._scenario.api.style == "azure-data" and made.method != "DELETE":
            body["resourceLocation"] = request.base + made.resource
        return body

    def _told_aip(self, now: float, made: Operation) -> Json:
        body: Json = {"name": f"operations/{made.id}", "metadata": {"createTime": _iso(made.job.started)}}
        if made.job.runs(now):
            return {**body, "done": False}
        if made.job.outcome is not None:
            code = 1 if made.job.outcome == "canceled" else 13  # google.rpc.Code: CANCELLED, INTERNAL
            return {**body, "done": True, "error": {"code": code, "message": f"the operation has {_past(made)}"}}
        response = {} if made.method == "DELETE" else self._shown(made, now)
        return {**body, "done": True, "response": response}

    def _address(self, request: Request, made: Operation, what: str = "operations") -> str:
        query = f"?{request.query}" if self._scenario.api.style == "azure-arm" else ""
        return f"{request.base}/{what}/{made.id}{query}"

    def _gone(self, request: Request) -> Response:
        return self._say(404, _error("ResourceNotFound", f"no resource {request.path}"))

    def _uuid(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def _say(self, status: int, body: Json | None, more: tuple[Header, ...] = (), *, matched: bool = True) -> Response:
        headers = (*more, Header("X-Request-Id", request_id(self._request_ids)))
        if body is None:
            return Response(status, reason_of(status), (*headers, Header("Content-Length", "0")), b"", matched=matched)
        return json_response(status, body, headers, matched=matched)


def _preferences(request: Request) -> str:
    """What the client prefers (RFC 7240 §2), in small letters."""
    return ",".join(all_headers(request.headers, "Prefer")).lower()


def _error(code: str, message: str) -> Json:
    return {"error": {"code": code, "message": message}}


def _past(made: Operation) -> str:
    return "failed" if made.job.outcome == "failed" else "been canceled"


def _iso(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
