"""The helper: what comes through the pipe is redacted, spooled, and turned into Parquet.

It speaks to the addon in lines of JSON on standard output: ``ready``, ``said``, ``error``, ``stopped``.  It
ends when the pipe does: after a SIGKILL of mitmproxy it drains what is still in it, and finishes.  Signals
that mean mitmproxy do not end it.  No raw byte reaches the disk, not even in a core dump.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from polltape.capture.content import DEFAULT_CAP
from polltape.capture.coverage import Session, write_session
from polltape.capture.spool import (
    FsyncPolicy,
    Kind,
    SpoolWriter,
    encode_exchange,
    encode_retract,
    encode_skipped,
)
from polltape.errors import PolltapeError, UsageError
from polltape.exchange import Coverage, Exchange
from polltape.recorder.build import exchange_of, withheld
from polltape.recorder.convert import (
    convert_all,
    dead_sessions,
    lock_path,
    spool_path,
    take_lock,
    without_pandas,
)
from polltape.recorder.frames import FRAMES_VERSION, Frame, FrameReader, Head

SOURCE: Final = "recorder"
ROTATE_BYTES: Final = 64 * 1024 * 1024


class Redacts(Protocol):
    """What the helper needs of a redactor."""

    def redact(self, exchange: Exchange) -> Exchange:
        """The exchange with nothing in it that must not reach the disk."""
        ...


@dataclass(frozen=True)
class Plan:
    """What the helper was asked to do.  ``rotate_s``, ``rotate_bytes``: when a spool becomes Parquet."""

    directory: Path
    session_id: str
    fsync: FsyncPolicy = "second"
    rotate_s: float = 300.0
    rotate_bytes: int = ROTATE_BYTES


class Background:
    """Spools that become Parquet in a child process, one after the other.

    The child inherits the session's lock: nobody else takes its spools for left behind while it works.
    """

    def __init__(self, directory: Path, lock: int) -> None:
        self._directory = directory
        self._lock = lock
        self._waiting: deque[tuple[str, ...]] = deque()
        self._child: subprocess.Popen[bytes] | None = None
        self.failed = 0

    def add(self, *arguments: Path) -> None:
        """A spool and the one that follows it; or nothing: recover what dead sessions left."""
        self._waiting.append(tuple(str(argument) for argument in arguments))
        self.poll()

    def poll(self) -> None:
        """See whether the child has ended; start the next."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return
            self.failed += code != 0
            self._child = None
        if self._waiting:
            command = [sys.executable, "-P", "-m", "polltape.recorder.convert", str(self._directory)]
            quiet = subprocess.DEVNULL
            self._child = subprocess.Popen(
                [*command, *self._waiting.popleft()],
                stdin=quiet,
                stdout=quiet,
                stderr=quiet,
                pass_fds=(self._lock,),
            )

    def wait(self) -> None:
        """Until all are done."""
        while self._child is not None or self._waiting:
            if self._child is not None:
                self._child.wait()
            self.poll()


class Recording:
    """One session: its spool, its coverage, its counts.  Raises OSError where the disk refuses."""

    def __init__(self, plan: Plan, redactor: Redacts, lock: int) -> None:
        self._plan = plan
        self._redactor = redactor
        self._part = 1
        self._writer = self._new_writer()
        self._open: dict[str, bytes] = {}
        self._background = Background(plan.directory, lock)
        self._cap = DEFAULT_CAP
        now = datetime.now(UTC)
        self.session = Session(Coverage(plan.session_id, now, now, clean=False, source=SOURCE))
        self.exchanges = 0
        self.withheld = 0
        self.stopped = False

    def _new_writer(self) -> SpoolWriter:
        path = spool_path(self._plan.directory, self._plan.session_id, self._part)
        return SpoolWriter(path, self._plan.fsync)

    def recover_others(self) -> int:
        """Let a child recover what dead sessions left behind; how many there are."""
        count = len(dead_sessions(self._plan.directory))
        if count:
            self._background.add()
        return count

    # -- frames

    def take(self, frame: Frame) -> None:
        """One frame, whatever its kind."""
        head = frame.head
        if head.skipped:
            self._skip(head.skipped)
        if head.kind in ("exchange", "provisional"):
            self._exchange(frame)
        elif head.kind == "retract":
            self._open.pop(head.id, None)
            self.session.sequence.add(head.seq)
            self._writer.append(Kind.RETRACT, encode_retract(head.id, head.seq))
        else:
            self._control(head)

    def _control(self, head: Head) -> None:
        wall = datetime.fromtimestamp(head.wall, UTC)
        if head.kind == "start":
            self._cap = head.body_cap or DEFAULT_CAP
            self.session.coverage = replace(self.session.coverage, started_at=wall, filter=head.filter)
        self.session.tick(wall, head.mono if isinstance(head.mono, int) else 0)
        if head.kind == "stop":
            self.stopped = True
            gaps = self.session.sequence.missing(head.last)
            self.session.coverage = replace(self.session.coverage, clean=True, gaps=gaps)
        write_session(self._plan.directory, self.session)
        if head.kind == "rotate":
            self.rotate()

    def _skip(self, numbers: list[int]) -> None:
        for number in numbers:
            self.session.sequence.add(number)
        self._writer.append(Kind.SKIPPED, encode_skipped(numbers))

    def _exchange(self, frame: Frame) -> None:
        final = frame.head.kind == "exchange"
        payload = encode_exchange(self._redacted(exchange_of(frame, self._plan.session_id, self._cap)))
        self._writer.append(Kind.EXCHANGE if final else Kind.PROVISIONAL, payload)
        self.session.sequence.add(frame.head.seq)
        known = self._open.pop(frame.head.id, None) is not None
        if not final:
            self._open[frame.head.id] = payload
        self.exchanges += not known

    def _redacted(self, exchange: Exchange) -> Exchange:
        try:
            return self._redactor.redact(exchange)
        except Exception:  # whatever went wrong: the row stays, and nothing of what it held
            self.withheld += 1
            return withheld(exchange)

    # -- time

    def tick(self) -> None:
        """To be called often: forces to the disk what is due, rotates, and looks after the child."""
        self._writer.tick()
        self._background.poll()
        age = time.monotonic() - self._writer.opened_at
        if self._writer.size >= self._plan.rotate_bytes or age >= self._plan.rotate_s:
            self.rotate()

    def rotate(self) -> None:
        """Begin a new spool; the old one becomes Parquet.  What is under way goes on in the new one."""
        if not self._writer.records:
            self._writer.opened_at = time.monotonic()
            return
        old = self._writer
        self._part += 1
        self._writer = self._new_writer()
        for payload in self._open.values():
            self._writer.append(Kind.PROVISIONAL, payload)
        old.close()
        write_session(self._plan.directory, self.session)
        self._background.add(old.path, self._writer.path)

    def finish(self, reader: FrameReader) -> None:
        """The pipe is at its end: the last spool becomes Parquet too."""
        if not self.stopped:  # mitmproxy was killed: it was there until now
            self.session.tick(datetime.now(UTC), time.monotonic_ns())
            gaps = self.session.sequence.missing()
            self.session.coverage = replace(self.session.coverage, gaps=gaps, ended_at=datetime.now(UTC))
        self.session.torn, self.session.damaged = int(reader.torn), reader.damaged
        write_session(self._plan.directory, self.session)
        self._writer.close()
        self._background.wait()
        convert_all(self._plan.directory, self._plan.session_id, self.session.coverage)

    def give_up(self) -> None:
        """After an error: what is in the spool stays there for the next start."""
        with contextlib.suppress(OSError):
            self._writer.close()
        with contextlib.suppress(OSError):
            write_session(self._plan.directory, self.session)


# ------------------------------------------------------------------------------------------ the process


def say(**message: object) -> None:
    """One line to the addon, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


def protect() -> None:
    """No core dump, and no end by signals that are meant for mitmproxy."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(name, signal.SIG_IGN)


def make_redactor(key: str) -> Redacts:
    """The redactor with the user's rules and key, or a key for this run only; raises ConfigError."""
    from polltape.capture.redaction import Redactor

    return Redactor.of_user(ephemeral=key == "ephemeral")


def _lock(plan: Plan) -> int:
    path = lock_path(plan.directory, plan.session_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_lock(path)
    if lock is None:
        raise UsageError(f"{path}: this session is being recorded already")
    return lock


def serve(plan: Plan, redactor: Redacts, descriptor: int) -> Recording:
    """Record what comes through the pipe until its end.  Raises OSError where the disk refuses."""
    lock = _lock(plan)
    recording = Recording(plan, redactor, lock)
    reader = FrameReader(descriptor)
    try:
        for frame in reader.frames():
            if frame is not None:
                recording.take(frame)
                if frame.head.kind == "start":
                    say(ready=True, recovering=recording.recover_others())
            recording.tick()
        recording.finish(reader)
        lock_path(plan.directory, plan.session_id).unlink(missing_ok=True)
    except BaseException:
        recording.give_up()
        raise
    finally:
        os.close(lock)
    return recording


def _place(error: BaseException) -> str:
    """Where an error came from, without its text: that could hold what must not be told."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"


def _check_version(frames: int) -> None:
    if frames != FRAMES_VERSION:
        raise UsageError(
            f"this polltape reads frames of version {FRAMES_VERSION}, the addon sends {frames}: "
            "use the addon and the program of one version"
        )


def run(plan: Plan, key: str, frames: int) -> int:
    """The process that the addon starts: frames on standard input; the exit status."""
    protect()
    without_pandas()
    try:
        _check_version(frames)
        recording = serve(plan, make_redactor(key), sys.stdin.fileno())
    except PolltapeError as error:
        say(error=str(error))
        return 2
    except OSError as error:
        say(error=f"{error.filename or plan.directory}: {error.strerror or _place(error)}")
        return 1
    except Exception as error:  # a fault of ours: told without values
        say(error=f"internal error ({_place(error)})")
        return 1
    coverage = recording.session.coverage
    say(stopped=True, exchanges=recording.exchanges, withheld=recording.withheld, gaps=coverage.gaps)
    return 0
