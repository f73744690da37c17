"""The mock: answers requests from a capture or a scenario, by elapsed time.  No I/O, no clock of its own.

``Mock.answer(request, now)`` is deterministic given the requests, their instants and the seed.  Paths under
``/__polltape`` are the mock's own:

============================  =========================================================================
path                          answer
============================  =========================================================================
``/__polltape``               ``speed``, ``clock`` (seconds it was advanced), ``served``, ``unmatched`` and the last
                              requests that nothing matched, with the nearest recordings, ``faults`` (how often
                              each came), ``operations`` with their clocks; HTML for a browser, else JSON
``/__polltape/reset``         forgets every client, the clock included
``/__polltape/advance``       ``?seconds=N`` moves the mock's clock on
============================  =========================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import parse_qs

from polltape.errors import UsageError
from polltape.exchange import Header
from polltape.mock.faults import Fault, Faults
from polltape.mock.messages import Request, Response, http_date, json_response, reason_of
from polltape.mock.scenario import load_scenario
from polltape.mock.scenario_tables import Scenario

if TYPE_CHECKING:
    from polltape.capture.reading import Capture
    from polltape.mock.recording import Latency

CompleteAt = Literal["upper", "lower", "middle"]
By = Literal["time", "count"]
CONTROL: Final = "/__polltape"
_UNMATCHED_KEPT: Final = 50

__all__ = ["CONTROL", "By", "CompleteAt", "Mock", "Request", "Response", "reason_of"]


class Backend(Protocol):
    """What answers behind the mock: a capture's or a scenario's side of it."""

    @property
    def protocol(self) -> str:
        """What it speaks, for the status page."""

    def answer(self, request: Request, now: float) -> Response:
        """The answer; ``matched`` is false where nothing fits."""

    def status(self, now: float) -> list[dict[str, Any]]:
        """Its operations and their clocks."""

    def reset(self) -> None:
        """As if nobody had asked yet."""


class Mock:
    """A server's answers without the server.  Not shared between threads.

    ``notes``: lines that the user should see once.  ``hosts``: names that recorded clients asked for.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        speed: float = 1.0,
        notes: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
        faults: Faults | None = None,
    ) -> None:
        self._backend = backend
        self._speed = speed
        self._faults = faults
        self.notes = notes
        self.hosts = hosts
        self._forget()

    @classmethod
    def from_capture(
        cls,
        capture: Capture,
        *,
        operation: str | None = None,
        speed: float = 1.0,
        complete_at: CompleteAt = "upper",
        by: By = "time",
        latency: Latency = "none",
        par_key: str | None = None,
        as_signed: bool = False,
        seed: int = 0,
        faults: Sequence[Fault] = (),
    ) -> Mock:
        """Plays what was recorded; ``operation`` pins one by its id.

        ``complete_at`` is where in the bracket (lower, upper] of its duration an operation ends.  ``by`` count
        answers the n-th poll with the n-th recorded one, as others do.  ``latency``: these answers take as
        long as the recorded ones took.  ``par_key`` signs PAR's answers; ``as_signed`` passes recorded signatures on,
        for who looks only whether they are there.  Raises UsageError for an unknown operation
        or a bad speed, InputError for an empty capture.
        """
        from polltape.mock.recorded import Recorded
        from polltape.mock.recording import Recording

        recording = Recording.of(capture, complete_at=complete_at, pinned=operation, signed=par_key is not None)
        backend = Recorded(
            recording,
            speed=checked_speed(speed),
            seed=seed,
            by=by,
            latency=latency,
            par_key=par_key,
            as_signed=as_signed,
        )
        spoiling = Faults(faults, speed, seed) if faults else None
        return cls(
            backend, speed=speed, notes=() if as_signed else recording.notes, hosts=recording.hosts, faults=spoiling
        )

    @classmethod
    def from_scenario(
        cls,
        scenario: Scenario | str | Path,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        faults: Sequence[Fault] = (),
    ) -> Mock:
        """Plays a scenario, by name, file or as it was loaded; ``seed`` goes before the scenario's own.

        Raises what :func:`~polltape.mock.scenario.load_scenario` raises, and UsageError for a bad speed.
        """
        loaded = load_scenario(scenario) if isinstance(scenario, str | Path) else scenario
        drawn = loaded.seed if seed is None else seed
        backend = loaded.backend(speed=checked_speed(speed), seed=drawn)
        return cls(backend, speed=speed, faults=Faults(faults, speed, drawn) if faults else None)

    def answer(self, request: Request, now: float) -> Response:
        """The answer to a request that came at ``now`` (seconds since 1970, of a clock that never goes back)."""
        if request.path == CONTROL or request.path.startswith(f"{CONTROL}/"):
            return self._dated(self._control(request, now), now + self._advanced)
        now += self._advanced
        self._served += 1
        if self._faults is None:
            return self._dated(self._matched(request, now), now)
        response, skew = self._faults.answer(request, now, lambda: self._matched(request, now))
        return self._dated(response, now + skew)

    def status(self, now: float) -> dict[str, Any]:
        """What the status page shows."""
        return {
            "protocol": self._backend.protocol,
            "speed": self._speed,
            "clock": self._advanced,
            "served": self._served,
            "unmatched": self._strays,
            "last_unmatched": list(self._unmatched),
            "faults": {} if self._faults is None else dict(self._faults.hits),
            "operations": self._backend.status(now + self._advanced),
        }

    def advance(self, seconds: float) -> None:
        """Move the mock's clock on.  Raises UsageError for a number that is negative or none, or too much in all."""
        if not isfinite(seconds) or seconds < 0 or self._advanced + seconds > 10**9:
            raise UsageError(f"cannot advance the clock by {seconds} seconds", hint="1000000000 in all")
        self._advanced += seconds

    def reset(self) -> None:
        """As if nobody had asked yet, the clock included."""
        self._backend.reset()
        if self._faults is not None:
            self._faults.reset()
        self._forget()

    def _forget(self) -> None:
        self._advanced = 0.0
        self._served = 0
        self._strays = 0
        self._unmatched: deque[dict[str, Any]] = deque(maxlen=_UNMATCHED_KEPT)

    def _matched(self, request: Request, now: float) -> Response:
        """What the backend answers; where it knows nothing, that is kept for the status page."""
        response = self._backend.answer(request, now)
        if not response.matched and request.method == "HEAD":  # as GET, without the body (RFC 9110 §9.3.2)
            response = self._backend.answer(replace(request, method="GET"), now)
        if not response.matched:
            self._strays += 1
            told = response.json()
            nearest = told.get("nearest", []) if isinstance(told, dict) else []
            self._unmatched.append({"method": request.method, "target": request.target, "nearest": nearest})
        return response

    def _control(self, request: Request, now: float) -> Response:
        action = request.path.removeprefix(CONTROL).strip("/")
        if action == "reset":
            self.reset()
        elif action == "advance":
            try:
                self.advance(float(parse_qs(request.query or "")["seconds"][-1]))
            except (KeyError, ValueError, UsageError):
                said = "say how far: /__polltape/advance?seconds=2.5 (1000000000 in all)"
                return json_response(400, {"error": said})
        elif action:
            return json_response(404, {"error": f"no {action}", "known": ["", "reset", "advance?seconds="]})
        if action and _for_a_browser(request):  # so that loading the page again does it once
            return Response(303, reason_of(303), (Header("Location", CONTROL), Header("Content-Length", "0")))
        if _for_a_browser(request):
            from polltape.mock.status_page import status_page

            return status_page(self.status(now))
        return json_response(200, self.status(now))

    def _dated(self, response: Response, now: float) -> Response:
        """With the Date of the mock's own clock."""
        return Response(  # what dataclasses.replace does, in a third of its time
            response.status,
            response.reason,
            (Header("Date", http_date(now)), *response.headers),
            response.body,
            response.hold_s,
            response.delivery,
            response.matched,
        )


def _for_a_browser(request: Request) -> bool:
    return "text/html" in (request.header("Accept") or "")


def checked_speed(speed: float) -> float:
    """The speed, if it is one.  Raises UsageError."""
    if not isfinite(speed) or not 0.001 <= speed <= 1_000_000:
        raise UsageError(f"speed {speed} is none", hint="1 is as recorded, 10 ten times faster; from 0.001 to 1000000")
    return speed
