"""A whole replay: the requests of a case against the mock, in virtual time or over sockets, or against a target."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from polltape.capture.parquet import write_exchanges
from polltape.capture.redaction import Redactor, Rules
from polltape.errors import InputError
from polltape.exchange import Coverage, Exchange, Header
from polltape.measures.analysis import Analysis, analyse
from polltape.mock.core import Mock
from polltape.mock.recording import Latency
from polltape.mock.server import serving
from polltape.protocols.par_digest import judged
from polltape.replay.case import Case, in_memory, judgeable
from polltape.replay.difference import Comparing, Differences, differences
from polltape.replay.plan import Pace, Timing
from polltape.replay.session import Manner, Server, Session
from polltape.replay.sides import lifetimes_of, pairs_by_step, sides_of
from polltape.replay.sockets import Said, run_on_sockets
from polltape.replay.target import check_writes, headers_given, peer_of, without_pseudonyms
from polltape.replay.verdict import By, Verdict, judge
from polltape.replay.virtual import run_virtually
from polltape.replay.volatile import SCALED, Ignored
from polltape.replay.wire import ANSWER_WITHIN_S, Peer


@dataclass(frozen=True, slots=True)
class Progress:
    """Who is told how a replay goes on: ``begins`` hears the seconds that it will take, ``said`` each exchange."""

    begins: Callable[[float], None] = lambda seconds: None
    said: Said = lambda exchange: None


SILENT: Final = Progress()
_BUSY: Final = "a computer with other work sends requests late: with --virtual nobody waits, and all come at their time"
_INSTANTS: Final = frozenset({"poll-after", "date", "date-obsolete"})


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay left: exchanges, their coverage, verdict, differences, and lines that the user should see."""

    exchanges: tuple[Exchange, ...]
    coverage: Coverage
    verdict: Verdict
    differences: Differences
    notes: tuple[str, ...] = ()

    def write(self, directory: Path) -> list[Path]:
        """Write it as a capture like any other; the files.  Raises InputError."""
        try:
            return write_exchanges(directory, f"replay-{self.coverage.session_id}", self.exchanges, [self.coverage])
        except OSError as error:
            raise InputError(f"cannot record to {directory}: {error.strerror}", hint="name another folder") from error


def replay_on_mock(
    case: Case,
    *,
    timing: Timing = "recorded",
    speed: float = 1.0,
    virtual: bool = False,
    ignore: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Replayed:
    """Send the recording's own requests to a mock that is made of the same recording.

    The mock speaks under the recorded names, so what comes back reads like the recording.  ``ignore``: rules
    of :mod:`~polltape.replay.volatile`, fields whose differences mean nothing.
    """
    comparing = Comparing(Ignored([*ignore, *(SCALED if speed != 1 else ())]), timing=timing == "recorded")
    pace = Pace(timing, speed)
    latency: Latency = "submits" if pace.holds else "none"
    mock = Mock.from_capture(case.capture(), speed=speed, latency=latency, as_signed=True)
    recorded = case.measured()
    lives = lifetimes_of(case.exchanges, recorded)
    if virtual:
        session = Session(case.exchanges, lives, Manner(_fixed_id(case, pace), _beginning(case), pace))
        run_virtually(session, mock)
    else:
        session = Session(case.exchanges, lives, Manner(_fresh_id(), datetime.now(UTC), pace))
        with serving(mock, host="127.0.0.1", port=0) as url:
            parts = urlsplit(url)
            progress.begins(_about_s(session))
            peer = Peer("http", parts.hostname or "127.0.0.1", parts.port or 80)
            phase_s = _phase_s(case) if timing == "recorded" and speed == 1 else None
            run_on_sockets(session, peer, as_recorded=True, phase_s=phase_s, said=progress.said)
    done = _finished(case, recorded, session, "recording", comparing, mock.notes)
    on_time = virtual or timing != "recorded"
    return done if on_time or done.verdict.reproduced else replace(done, notes=(*done.notes, _BUSY))


def replay_on_target(
    case: Case,
    url: str,
    *,
    timing: Timing = "recorded",
    headers: Sequence[str] = (),
    allow_writes: Sequence[str] = (),
    ignore: Sequence[str] = (),
    answer_within_s: float = ANSWER_WITHIN_S,
    shared_id: str | None = None,
    progress: Progress = SILENT,
) -> Replayed:
    """Send the recording's requests to a real server, behind the brakes of :mod:`polltape.replay.target`.

    What comes back is redacted with the user's key and rules before anything else is done with it; with PAR's
    SharedId its digests are judged before that.
    """
    case, unjudged = judgeable(case, with_key=shared_id is not None)
    comparing = Comparing(Ignored(ignore), timing=timing == "recorded")
    peer = peer_of(url)
    given: tuple[Header, ...] = headers_given(headers)
    check_writes(case.exchanges, peer, allow_writes)
    manner = Manner(
        _fresh_id(),
        datetime.now(UTC),
        Pace(timing, paced=False),
        server=Server(peer.scheme, peer.host, peer.port),
        prepare=without_pseudonyms(given, Rules.of_user()),
        clean=_clean(shared_id),
    )
    recorded = case.measured()
    session = Session(case.exchanges, lifetimes_of(case.exchanges, recorded), manner)
    progress.begins(_about_s(session))
    run_on_sockets(session, peer, as_recorded=False, answer_within_s=answer_within_s, said=progress.said)
    return _finished(case, recorded, session, "target", comparing, unjudged)


def _clean(shared_id: str | None) -> Callable[[Exchange], Exchange]:
    redact = Redactor.of_user().redact
    return redact if shared_id is None else lambda exchange: redact(judged(exchange, shared_id))


def _finished(
    case: Case, recorded: Analysis, session: Session, by: By, comparing: Comparing, notes: Iterable[str] = ()
) -> Replayed:
    exchanges, coverage = tuple(session.exchanges()), session.coverage(case.tail_s)
    replayed = analyse(in_memory(exchanges, [coverage]))
    counterparts = session.counterparts()
    pairs = pairs_by_step(sides_of(case.exchanges, recorded), sides_of(exchanges, replayed), counterparts, recorded)
    verdict = judge(case, replayed, counterparts, by)
    return Replayed(exchanges, coverage, verdict, differences(pairs, comparing), (*notes, *_bodies_missing(case)))


def _bodies_missing(case: Case) -> Iterable[str]:
    """Requests whose bodies the recording does not have whole."""
    lacking = [e for e in case.exchanges if e.request_body.not_stored or e.request_body.truncated]
    if lacking:
        first = lacking[0]
        reason = first.request_body.not_stored or "cut"
        where = f"{first.method} {first.endpoint or first.path}"
        yield f"request bodies that are not whole in the recording: {len(lacking)}; the first, {where}: {reason}"


def _beginning(case: Case) -> datetime:
    return min(exchange.request_started_at for exchange in case.exchanges)


def _phase_s(case: Case) -> float | None:
    """At which part of a second the recording began, where that matters: an answer that names an instant to wait for.

    Its Date is whole seconds.  So what it asks to wait depends on the part of a second at which it is given, by as much
    as an instant's tolerance, and a poll that was early would not be in another phase.
    """
    instants = any(e.instruction is not None and e.instruction.klass in _INSTANTS for e in case.exchanges)
    return _beginning(case).timestamp() % 1 if instants else None


def _fresh_id() -> str:
    return secrets.token_hex(8)


def _fixed_id(case: Case, pace: Pace) -> str:
    """The same for the same requests at the same pace: a virtual replay is the same twice, to the byte."""
    text = "\n".join([repr(pace), *(exchange.exchange_id for exchange in case.exchanges)])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _about_s(session: Session) -> float:
    """About how long the session takes in real time; 0 where nothing is waited for."""
    pace = session.manner.pace
    if pace.timing == "asap":
        return 0.0
    return max(step.at_s + (step.latency_s or 0) for step in session.steps) / pace.speed
