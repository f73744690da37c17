"""Faults on top of what the mock answers, from a seed: the same requests meet the same faults again.

=========================  ==================================================================================
kind                       what the client sees
=========================  ==================================================================================
``late``                   the answer, ``seconds`` (5) later
``never``                  nothing; the connection is closed after ``seconds`` (60)
``429-burst``              for ``seconds`` (2) every request is answered 429 with ``retry_after`` (1)
``503``                    503 with ``retry_after`` (none), for ``seconds`` (0: this one request)
``reset``                  the connection is reset instead of an answer
``slow``                   the body takes ``seconds`` (5)
``cut``                    the connection is closed after a part ``at`` (0.5) of the body
``malformed-retry-after``  ``value`` ("soon") in each Retry-After
``missing-location``       no Location
``clock-skew``             a Date ``seconds`` (-120) off
``lost-queue-token``       no queue token, neither in headers nor in a poll's body
=========================  ==================================================================================

``share`` is the part of the requests that are hit (for a burst: that begin one), 0.1 where nothing is said, 1 for
``clock-skew``; the last four hit only answers that have such a thing.  ``method`` and ``path`` (with ``*``) choose
requests.  A 429 or 503 stands in front of the server, which never hears of the request; all others spoil the
answer to a request that was served.  Seconds are the server's: they are divided by the mock's speed.

Whether a request is hit depends on the seed, the fault, its method and path, and on how many times these were asked
before; not on the clock, nor on what other clients do.  (A burst that one of them began hits them all.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from polltape.errors import ConfigError, InputError, UsageError
from polltape.exchange import Header
from polltape.mock.hints import MILLISECONDS, RETRY_AFTER, WAIT_HEADER, exact, read_number, scaled_number
from polltape.mock.messages import Request, Response, json_response
from polltape.protocols.shopify_queue import TOKEN_COOKIE, TOKEN_HEADER
from polltape.toml_file import Lines, Table, convert, parse

Kind = Literal[
    "late", "never", "429-burst", "503", "reset", "slow", "cut",
    "malformed-retry-after", "missing-location", "clock-skew", "lost-queue-token",
]  # fmt: skip
KINDS: Final[tuple[str, ...]] = get_args(Kind)
_POLL_RESULTS: Final = frozenset({"PollContinue", "PollComplete"})
_HINT: Final = "docs/mock.md lists the kinds of faults and what each can be told"
_MEANT: Final[dict[str, frozenset[str]]] = {
    "late": frozenset({"seconds"}),
    "never": frozenset({"seconds"}),
    "429-burst": frozenset({"seconds", "retry_after"}),
    "503": frozenset({"seconds", "retry_after"}),
    "slow": frozenset({"seconds"}),
    "cut": frozenset({"at"}),
    "malformed-retry-after": frozenset({"value"}),
    "clock-skew": frozenset({"seconds"}),
}
_TEXTS: Final = frozenset({"value", "method", "path", "retry_after"})
"""Keys whose value on the command line is taken as it stands: ``1_0`` is a number for Python, but no Retry-After."""
_SECONDS: Final = {"late": 5.0, "never": 60.0, "429-burst": 2.0, "503": 0.0, "slow": 5.0, "clock-skew": -120.0}


class Fault(Table, frozen=True):
    """One kind of fault and how often it comes; see the module's text."""

    kind: Kind
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    seconds: Annotated[float, Meta(ge=-1e6, le=1e6)] | None = None
    retry_after: Annotated[str, Meta(pattern=r"^[\x20-\x7e]{0,100}$")] | int | float | None = None
    value: Annotated[str, Meta(pattern=r"^[\x20-\x7e]{0,100}$")] | None = None
    at: Annotated[float, Meta(ge=0, le=1)] | None = None
    method: str | None = None
    path: str | None = None

    @property
    def part(self) -> float:
        """The share of the requests that it hits."""
        return self.share if self.share is not None else 1.0 if self.kind == "clock-skew" else 0.1

    @property
    def lasts(self) -> float:
        """Its seconds, those of its kind where nothing is said."""
        return _SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds

    def meets(self, request: Request) -> bool:
        """Whether it is meant for such requests."""
        if self.method is not None and request.method != self.method.upper():
            return False
        return self.path is None or fnmatchcase(request.path, self.path)


class _File(Table, frozen=True):
    fault: list[Fault]


def fault_of(text: str) -> Fault:
    """One from ``KIND[=SHARE][,KEY=VALUE…]``.  Raises UsageError.

    >>> fault_of("late=0.2,seconds=3").lasts
    3.0
    """
    source = f"--fault {text}"
    if not text.strip():
        raise UsageError("--fault needs a kind of fault", hint=_hint(""))
    first, *others = text.split(",")
    kind, _, share = first.partition("=")
    values: dict[str, Any] = {"kind": kind.strip()} | ({"share": _number(share)} if share else {})
    for other in others:
        key, equals, value = other.partition("=")
        if not equals:
            raise UsageError(f"{source}: {other.strip()!r} is no KEY=VALUE", hint=_HINT)
        values[key.strip()] = value.strip() if key.strip() in _TEXTS else _number(value)
    try:
        return _checked(convert(values, Fault, "", source, hint=_hint(values["kind"])), "", source, ())
    except ConfigError as problem:
        raise UsageError(str(problem).replace(f"{source}:1: ", f"{source}: "), hint=problem.hint) from None


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Those of a TOML file of ``[[fault]]`` tables.  Raises InputError, or ConfigError with the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = (getattr(problem, "strerror", None) or "is no UTF-8 text").lower()
        raise InputError(f"{path}: {reason}", hint="a file of [[fault]] tables; see docs/mock.md") from None
    found = convert(parse(text, str(path), "a list of faults"), _File, text, str(path), hint=_HINT)
    return tuple(_checked(fault, text, str(path), ("fault", place)) for place, fault in enumerate(found.fault))


def _checked(fault: Fault, text: str, source: str, inside: tuple[str | int, ...]) -> Fault:
    """The fault, if it says only what its kind can be told."""
    meant = _MEANT.get(fault.kind, frozenset())
    for key in ("seconds", "retry_after", "value", "at"):
        if getattr(fault, key) is not None and key not in meant:
            told = ", ".join(sorted({"share", "method", "path"} | meant))
            raise Lines(text).error(source, (*inside, key), f"{fault.kind} has no {key!r}", f"it can have: {told}")
    if fault.lasts < 0 and fault.kind != "clock-skew":
        raise Lines(text).error(source, (*inside, "seconds"), f"{fault.kind} cannot take {fault.lasts:g} s", _HINT)
    return fault


def _hint(kind: str) -> str:
    return _HINT if kind in KINDS else f"there are: {', '.join(KINDS)}"


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip()


@dataclass
class Faults:
    """The faults that a mock plays.  ``hits``: how often each kind came."""

    faults: Sequence[Fault]
    speed: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As if nobody had asked yet."""
        self.hits: Counter[str] = Counter()
        self._asked: Counter[tuple[str, str]] = Counter()
        self._until: dict[int, float] = {}

    def answer(self, request: Request, now: float, served: Callable[[], Response]) -> tuple[Response, float]:
        """What the client gets, and how many seconds its Date is off; ``served`` asks the server behind."""
        asked = (request.method, request.path)
        number = self._asked[asked]
        self._asked[asked] += 1
        hitting = []
        for place, fault in enumerate(self.faults):
            if fault.meets(request):
                hit = self._hits(place, fault, asked, number)
                if fault.kind in ("429-burst", "503"):
                    if refusal := self._refused(place, fault, now, begins=hit):
                        return refusal, 0.0
                elif hit:
                    hitting.append(fault)
        response = served()
        skew = 0.0
        for fault in hitting:
            spoilt = self._spoilt(response, fault)
            if fault.kind == "clock-skew":
                skew += fault.lasts
            if spoilt is not response or fault.kind == "clock-skew":
                self.hits[fault.kind] += 1
            response = spoilt
        return response, skew

    def _hits(self, place: int, fault: Fault, asked: tuple[str, str], number: int) -> bool:
        if fault.part >= 1:
            return True
        drawn = blake2b(f"{self.seed}|{place}|{fault.kind}|{asked}|{number}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn) < fault.part * 2**64

    def _refused(self, place: int, fault: Fault, now: float, *, begins: bool) -> Response | None:
        """429 or 503 where one begins, or one that began goes on."""
        if now >= self._until.get(place, now):
            if not begins:
                return None
            self._until[place] = now + fault.lasts / self.speed
        self.hits[fault.kind] += 1
        status = 429 if fault.kind == "429-burst" else 503
        asked = fault.retry_after if fault.retry_after is not None or status == 503 else 1
        return json_response(status, {"errors": "a fault of the mock"}, self._hint(asked))

    def _hint(self, asked: str | float | None) -> tuple[Header, ...]:
        if asked is None or asked == "none":
            return ()
        text = str(asked)
        seconds = read_number(text)
        wait = () if seconds is None else (Header(WAIT_HEADER, exact(float(seconds), self.speed)),)
        return (Header("Retry-After", scaled_number(text, self.speed)), *wait)

    def _spoilt(self, response: Response, fault: Fault) -> Response:
        """The answer with that fault in it; the same one where there is nothing to spoil."""
        delivery, seconds = response.delivery, fault.lasts / self.speed
        match fault.kind:
            case "late":
                return replace(response, hold_s=response.hold_s + seconds)
            case "never":
                return replace(response, hold_s=response.hold_s + seconds, delivery=replace(delivery, lost="silent"))
            case "reset":
                return replace(response, delivery=replace(delivery, lost="reset"))
            case "slow" if response.body:
                return replace(response, delivery=replace(delivery, body_s=seconds))
            case "cut" if response.body:
                at = min(len(response.body) - 1, int(len(response.body) * (0.5 if fault.at is None else fault.at)))
                return replace(response, delivery=replace(delivery, cut_at=at))
            case "malformed-retry-after":
                return _with_hint(response, "soon" if fault.value is None else fault.value)
            case "missing-location":
                return _without(response, lambda header: header.name.lower() == "location")
            case "lost-queue-token":
                return _without_token(response)
        return response


def _with_hint(response: Response, value: str) -> Response:
    """With that value in each Retry-After, and no other word about the wait."""
    if response.header(RETRY_AFTER) is None:
        return response
    kept = _without(response, lambda header: header.name.lower() in {WAIT_HEADER.lower(), *MILLISECONDS})
    return replace(
        kept,
        headers=tuple(Header(h.name, value) if h.name.lower() == RETRY_AFTER else h for h in kept.headers),
    )


def _without(response: Response, unwanted: Callable[[Header], bool]) -> Response:
    kept = tuple(header for header in response.headers if not unwanted(header))
    return response if len(kept) == len(response.headers) else replace(response, headers=kept)


def _without_token(response: Response) -> Response:
    """Without the queue's token: in the header, the cookie, and the answer to a poll."""
    response = _without(
        response,
        lambda header: (
            header.name.lower() == TOKEN_HEADER.lower()
            or (header.name.lower() == "set-cookie" and header.value.startswith(f"{TOKEN_COOKIE}="))
        ),
    )
    if b'"token"' not in response.body:
        return response
    try:
        value = msgspec.json.decode(response.body)
        polls = [
            poll for name, poll in value["data"].items() if name == "poll" or poll.get("__typename") in _POLL_RESULTS
        ]  # under whatever alias
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return response
    for poll in polls:
        poll.pop("token", None)
    body = msgspec.json.encode(value)
    sized = tuple(
        Header(header.name, str(len(body))) if header.name.lower() == "content-length" else header
        for header in response.headers
    )
    return replace(response, headers=sized, body=body)
