"""When a recording session was there to see: ``DIR/_coverage/SESSION.json``, written anew at each heartbeat.

Without it nobody can tell an operation that its client abandoned from one that the recording cut off.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from polltape.exchange import Coverage

FOLDER: Final = "_coverage"
"""Readers of Parquet folders (pyarrow, pandas, Spark) pass over names that begin with an underscore."""
MAX_CLOCKS: Final = 1_000
STEP_US: Final = 10_000
"""A difference between two clocks that moved by less than this is drift or jitter, and no step."""
CLOCK_STEP_US: Final = 500_000
"""By more than this the wall clock was set; the analysis corrects the same (operations/timeline.py)."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_FIELDS: Final = tuple(Coverage.__annotations__)


@dataclass
class Sequence:
    """Which sequence numbers are accounted for: all up to ``low``, and those in ``above``."""

    low: int = 0
    above: set[int] = field(default_factory=set)

    def add(self, number: int) -> None:
        """Account for one number; again is no harm."""
        if number > self.low:
            self.above.add(number)
            while self.low + 1 in self.above:
                self.low += 1
                self.above.discard(self.low)

    def has(self, number: int) -> bool:
        """Whether the number is accounted for."""
        return number <= self.low or number in self.above

    def missing(self, last: int | None = None) -> int:
        """How many numbers up to the greatest one known, or ``last``, are not accounted for."""
        top = max(self.low, last or 0, *self.above) if self.above else max(self.low, last or 0)
        return top - self.low - len(self.above)


@dataclass
class Session:
    """The coverage of one session as its file keeps it.

    ``clock``: pairs of the monotonic clock (nanoseconds) and the wall clock (microseconds since 1970), of
    the start, of each heartbeat at which the wall clock had stepped, and the last one.  ``first``: the pair
    of the exchange that began first.  ``torn`` and ``damaged``: spool files that ended inside a record,
    stretches in them that were unreadable.

    The coverage's instants are on the wall clock as it stood at ``first`` (before it, at the start): on that
    clock the analysis puts the exchanges (:mod:`polltape.operations.timeline`), however it is set later.
    """

    coverage: Coverage
    clock: list[tuple[int, int]] = field(default_factory=list)
    sequence: Sequence = field(default_factory=Sequence)
    torn: int = 0
    damaged: int = 0
    first: tuple[int, int] | None = None

    def tick(self, wall: datetime, mono_ns: int) -> None:
        """A heartbeat: the session was there until now."""
        add_clock(self.clock, (mono_ns, microseconds(wall)))
        self._place()

    def saw(self, wall: datetime, mono_ns: int) -> None:
        """An exchange began then."""
        if self.first is None or mono_ns < self.first[0]:
            self.first = mono_ns, microseconds(wall)
            self._place()

    def _place(self) -> None:
        if self.clock:
            started, ended = (self.on_one_clock(*self.clock[at]) for at in (0, -1))
            self.coverage = replace(self.coverage, started_at=started, ended_at=max(started, ended))

    def on_one_clock(self, mono_ns: int, wall_us: int) -> datetime:
        """The instant of a pair, on the wall clock as it stood at ``first``."""
        mono, wall = self.first or self.clock[0]
        apart = (wall_us - wall) - (mono_ns - mono) // 1_000
        return EPOCH + timedelta(microseconds=wall_us - (apart if abs(apart) > CLOCK_STEP_US else 0))


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def add_clock(clock: list[tuple[int, int]], pair: tuple[int, int]) -> None:
    """Add a pair; the one before goes where it lies on the line between its neighbours.

    A step of the wall clock therefore keeps the pairs on both of its sides.
    """
    if len(clock) >= 2 and not (_stepped(clock[-2], clock[-1]) or _stepped(clock[-1], pair)):
        clock.pop()
    elif len(clock) >= MAX_CLOCKS:
        del clock[1]
    clock.append(pair)


def _stepped(before: tuple[int, int], after: tuple[int, int]) -> bool:
    return abs((after[0] - before[0]) // 1_000 - (after[1] - before[1])) >= STEP_US


def coverage_json(coverage: Coverage) -> bytes:
    """The coverage as JSON, as a Parquet file's footer carries it."""
    return msgspec.json.encode(coverage)


def coverage_path(directory: Path, session_id: str) -> Path:
    """Where the coverage of a session is kept."""
    return directory / FOLDER / f"{session_id}.json"


class _File(msgspec.Struct):
    session_id: str
    started_at: datetime
    ended_at: datetime
    clean: bool = False
    filter: str | None = None
    gaps: int = 0
    source: str | None = None
    clock: list[tuple[int, int]] = []
    sequence: Sequence = msgspec.field(default_factory=Sequence)
    torn: int = 0
    damaged: int = 0
    first: tuple[int, int] | None = None


def write_session(directory: Path, session: Session) -> None:
    """Write the session's file, atomically; raises OSError, also where the capture folder is gone: it stays so."""
    path = coverage_path(directory, session.coverage.session_id)
    path.parent.mkdir(exist_ok=True)
    content = _File(
        **{name: getattr(session.coverage, name) for name in _FIELDS},
        clock=session.clock,
        sequence=session.sequence,
        torn=session.torn,
        damaged=session.damaged,
        first=session.first,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_session(path: Path) -> Session | None:
    """The session that a file keeps; None where the file is missing or none of ours."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return None
    values = {name: getattr(content, name) for name in _FIELDS}
    for name in ("started_at", "ended_at"):
        values[name] = values[name].astimezone(UTC)
    kept = (content.clock, content.sequence, content.torn, content.damaged, content.first)
    return Session(Coverage(**values), *kept)


def read_coverage(directory: Path) -> list[Coverage]:
    """The coverage of every session in a capture folder, by start; unreadable files are left out."""
    sessions = [read_session(path) for path in sorted((directory / FOLDER).glob("*.json"))]
    found = [session.coverage for session in sessions if session is not None]
    return sorted(found, key=lambda coverage: (coverage.started_at, coverage.session_id))
