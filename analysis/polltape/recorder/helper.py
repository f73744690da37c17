"""The helper: what comes through the pipe is redacted, spooled, and turned into Parquet.

It speaks to the addon in lines of JSON on standard output: ``ready``; ``info`` and ``warning``, for people;
``working``, a sign of life at the end; ``error``; and ``end``, what became of the recording.  It ends when the pipe
does: after a SIGKILL of mitmproxy it drains what is still in it, and finishes.  After its own the addon starts another,
which goes on with the session.  Signals that mean mitmproxy do not end
it.  No raw byte reaches the disk, not even in a core dump.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

from polltape.capture.coverage import Session, write_session
from polltape.capture.spool import Kind, SpoolWriter, encode_exchange, encode_retract, encode_skipped
from polltape.errors import PolltapeError, UsageError
from polltape.exchange import Coverage, Exchange
from polltape.protocols.par_digest import judged
from polltape.recorder.build import exchange_of, withheld
from polltape.recorder.convert import (
    convert_all,
    dead_sessions,
    lock_path,
    spool_path,
    take_lock,
    take_over,
    without_pandas,
)
from polltape.recorder.frames import FRAMES_VERSION, Counts, Frame, FrameReader, Head
from polltape.recorder.health import Health, HealthFile, State
from polltape.recorder.ids import new_session_id
from polltape.recorder.marks import Marks
from polltape.recorder.options import Options, Plan, options_of
from polltape.recorder.resume import Left, left_behind
from polltape.recorder.retention import recordings, remove_old
from polltape.recorder.unredacted import Unredacted
from polltape.recorder.upstream import UpstreamWatch

SOURCE: Final = "recorder"
NICENESS: Final = 5
"""mitmproxy goes first where there are few cores: what it hands over meanwhile waits in the pipe."""
AUTOGROUP: Final = Path("/proc/self/autogroup")
RETENTION_EVERY_S: Final = 60.0
SIGN_OF_LIFE_S: Final = 0.5


class Redacts(Protocol):
    """What the helper needs of a redactor."""

    def redact(self, exchange: Exchange) -> Exchange:
        """The exchange with nothing in it that must not reach the disk."""
        ...

    def words(self, text: str) -> str:
        """The same for what the user typed."""
        ...


class Judged:
    """Judges PAR's digests before the redactor takes them away."""

    def __init__(self, redactor: Redacts, shared_id: str) -> None:
        self._redactor = redactor
        self._shared_id = shared_id

    def redact(self, exchange: Exchange) -> Exchange:
        """The redacted exchange, with ``digest_ok`` where there was a digest to judge."""
        return self._redactor.redact(judged(exchange, self._shared_id))

    def words(self, text: str) -> str:
        """What the user typed, redacted."""
        return self._redactor.words(text)


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
            if self._child.stdout is not None:
                with self._child.stdout as output:
                    recovered = output.read().decode().strip()
                if recovered:
                    say(info=f"{recovered} in {self._directory}")
            self._child = None
        if self._waiting:
            command = [sys.executable, "-P", "-m", "polltape.recorder.convert", str(self._directory)]
            quiet = subprocess.DEVNULL
            arguments = self._waiting.popleft()
            self._child = subprocess.Popen(
                [*command, *arguments],
                stdin=quiet,
                stdout=quiet if arguments else subprocess.PIPE,
                stderr=quiet,
                pass_fds=(self._lock,),
            )

    def wait(self) -> None:
        """Until all are done."""
        while self._child is not None or self._waiting:
            if self._child is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(SIGN_OF_LIFE_S)
            say(working=True)
            self.poll()


class Recording:
    """One session: its spool, its coverage, its counts.  Raises OSError where the disk refuses.

    ``left``: what a dead helper left of it.
    """

    def __init__(self, plan: Plan, redactor: Redacts, lock: int, left: Left | None = None) -> None:
        self._plan = plan
        self._redactor = redactor
        now = datetime.now(UTC)
        if left is None:
            left = Left(Session(Coverage(plan.session_id, now, now, clean=False, source=SOURCE)))
        self._part = left.part + 1
        self._open = left.open
        self._marks = Marks(lock)
        self._given = 0
        self._writer = self._new_writer()
        self._background = Background(plan.directory, lock)
        self._upstreams = UpstreamWatch(plan.upstreams)
        self._health_file = HealthFile(plan.health)
        self._retained_at = time.monotonic()
        self.session = left.session
        self.health = Health(plan.session_id)
        self.stopped = left.session.coverage.clean

    def _new_writer(self) -> SpoolWriter:
        """A new spool, with what is under way."""
        path = spool_path(self._plan.directory, self._plan.session_id, self._part)
        writer = SpoolWriter(path, self._plan.fsync)
        for _, payload in self._open.values():
            writer.append(Kind.PROVISIONAL, payload)
        return writer

    def recover_others(self) -> None:
        """Let a child recover what dead sessions left behind."""
        if count := len(dead_sessions(self._plan.directory)):
            say(info=f"recovering what {count} earlier recording(s) left behind")
            self._background.add()

    # -- frames

    def take(self, frame: Frame) -> None:
        """One frame, whatever its kind."""
        head = frame.head
        if head.skipped:
            self._skip(head.skipped)
        if head.kind in ("exchange", "provisional"):
            self._exchange(frame)
        elif head.kind == "retract":
            self._retract(head.seq)
        elif head.kind != "skipped":
            self._control(head)

    def tell_marks(self, position: int) -> None:
        """What is behind this position of the pipe is in the spool now."""
        health = self.health
        self._marks.tell(position, Counts(health.recorded, health.withheld, health.left_out))

    def _retract(self, seq: int) -> None:
        """The filter, asked again at the end, leaves it out after all."""
        self._skip([seq])
        if known := self._open.pop(seq, None):
            self._writer.append(Kind.RETRACT, encode_retract(known[0], seq))
            self.health.recorded -= 1

    def _control(self, head: Head) -> None:
        self.health.heard_at = wall = datetime.fromtimestamp(head.wall, UTC)
        self.health.under_way = head.under_way
        if head.kind == "start":
            chosen = self._redactor.words(options_of(head.options).filter) or None
            self.session.coverage = replace(self.session.coverage, filter=chosen)
            self.health.recorded += head.counts.recorded
            self.health.withheld += head.counts.withheld
            self.health.left_out += head.counts.left_out
            self._given = head.last
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
        self.health.left_out += len(numbers)
        self._writer.append(Kind.SKIPPED, encode_skipped(numbers))

    def _exchange(self, frame: Frame) -> None:
        seq, final = frame.head.seq, frame.head.kind == "exchange"
        raw = exchange_of(frame, self._plan.session_id, self._plan.body_cap, self._plan.keep_host_header)
        self._look_at(raw)
        known = self._open.pop(seq, None) is not None
        if self._plan.resumes and not known and self.session.sequence.has(seq):
            self.health.recorded += 1  # the helper before this one died when it had just spooled it
            return
        payload = encode_exchange(self._redacted(raw, again=known))
        self._writer.append(Kind.EXCHANGE if final else Kind.PROVISIONAL, payload)
        self.session.sequence.add(seq)
        if not final:
            self._open[seq] = raw.exchange_id, payload
        self.health.recorded += not known

    def _look_at(self, raw: Exchange) -> None:
        if raw.request_started_mono_ns is not None:
            self.session.saw(raw.request_started_at, raw.request_started_mono_ns)
        if place := self._upstreams.look(raw):
            cure = "" if self._plan.keep_host_header else "; --set keep_host_header=true may cure it"
            say(
                warning=f"a response names the upstream itself ({place}), so its client will leave the proxy and what "
                f"it does then is not recorded{cure}"
            )

    def _redacted(self, exchange: Exchange, again: bool) -> Exchange:
        try:
            return self._redactor.redact(exchange)
        except Exception:  # whatever went wrong: the row stays, and nothing of what it held
            self.health.withheld += not again
            return withheld(exchange)

    # -- time

    def tick(self) -> None:
        """To be called often: forces to the disk what is due, rotates, and looks after the child."""
        self._writer.tick()
        self._background.poll()
        now = time.monotonic()
        if self._writer.size >= self._plan.rotate_bytes or now - self._writer.opened_at >= self._plan.rotate_s:
            self.rotate()
        if self._health_file.due:
            self.tell_health("recording")
        if now - self._retained_at >= RETENTION_EVERY_S:
            self.retain()

    def tell_health(self, state: State, error: str | None = None) -> None:
        """Write the health file."""
        health = self.health
        health.state, health.last_error = state, error
        if state == "recording":
            health.gaps = max(0, self.session.sequence.missing() - health.under_way)
        else:
            health.gaps = self.session.coverage.gaps
        health.redacted = health.recorded - health.withheld if self._plan.redacts else 0
        health.conversions_failed = self._background.failed
        spools = self._plan.directory.glob(f".spool/{self._plan.session_id}-*")
        with contextlib.suppress(OSError):
            health.spool_bytes = sum(path.stat().st_size for path in spools)
        self._health_file.write(health)

    def retain(self) -> None:
        """Remove recordings that are older, or more, than shall be kept."""
        self._retained_at = time.monotonic()
        removed = remove_old(self._plan.directory, self._plan.keep_days, self._plan.keep_bytes)
        if removed.files:
            self.health.files_removed += removed.files
            say(info=f"removed {removed.files} old Parquet file(s), {pretty(removed.bytes)}, in {self._plan.directory}")

    def rotate(self) -> None:
        """Begin a new spool; the old one becomes Parquet.  What is under way goes on in the new one."""
        if not self._writer.records:
            self._writer.opened_at = time.monotonic()
            return
        old = self._writer
        self._part += 1
        self._writer = self._new_writer()
        old.close()
        write_session(self._plan.directory, self.session)
        self._background.add(old.path, self._writer.path)

    def finish(self, reader: FrameReader) -> None:
        """The pipe is at its end: the last spool becomes Parquet too."""
        if not self.stopped:  # mitmproxy was killed: it was there until now
            self.session.tick(datetime.now(UTC), time.monotonic_ns())
            gaps = self.session.sequence.missing(max(self._given, self._marks.given))
            self.session.coverage = replace(self.session.coverage, gaps=gaps)
        self.session.torn += reader.torn
        self.session.damaged += reader.damaged
        write_session(self._plan.directory, self.session)
        self._writer.close()
        self._background.wait()
        convert_all(self._plan.directory, self._plan.session_id, self.session.coverage, SignOfLife())
        self.retain()
        self.tell_health("stopped")

    def end(self) -> str:
        """What became of the recording, for the user; after the last health was told."""
        health, plan = self.health, self._plan
        size = sum(file.bytes for file in recordings(plan.directory) if file.path.name.startswith(plan.session_id))
        counts = (
            (health.redacted, "redacted", True),
            (health.withheld, "kept without content, their redaction failed", False),
            (len(self._open), "unfinished", False),
            (health.left_out, "left out", True),
            (self.session.coverage.gaps, "missing", True),
        )
        told = ", ".join(f"{count} {what}" for count, what, always in counts if count or always)
        exchanges = "exchange" if health.recorded == 1 else "exchanges"
        return f"recorded {health.recorded} {exchanges} ({told}; {pretty(size)})"

    def give_up(self, error: str) -> None:
        """After an error: what is in the spool stays there for the next start."""
        with contextlib.suppress(OSError):
            self._writer.close()
        with contextlib.suppress(OSError):
            write_session(self._plan.directory, self.session)
        self.tell_health("failed", error)
        count = self.health.recorded
        there = self._writer.path.exists()
        rest = (
            "in the spool become Parquet at the next start" if there else "not in Parquet yet are gone with the spool"
        )
        told = f"recorded {count} exchanges (those {rest})"
        say(end=told, exchanges=self.whole)

    @property
    def whole(self) -> int:
        """How many exchanges are recorded with their end."""
        return self.health.recorded - len(self._open)


# ------------------------------------------------------------------------------------------ the process


def say(**message: object) -> None:
    """One line to the addon, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps(message).encode() + b"\n")


class SignOfLife:
    """To be called often while the recording is brought to its end: the addon waits as long as there are signs."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self) -> None:
        if time.monotonic() - self._last >= SIGN_OF_LIFE_S:
            self._last = time.monotonic()
            say(working=True)


def pretty(size: int) -> str:
    """A number of bytes for people.

    >>> pretty(14_200)
    '14.2 kB'
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def protect() -> None:
    """No core dump, no end by signals that are meant for mitmproxy, and behind it in the queue for the cores."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(name, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
        if os.getsid(0) == os.getpid():  # Linux weighs sessions first, and niceness only among the processes of one
            AUTOGROUP.write_text(str(NICENESS))


def make_redactor(options: Options) -> Redacts:
    """What the options ask for, with the user's key and rules; raises ConfigError."""
    from polltape.capture.keys import given_secret, load_key
    from polltape.capture.redaction import Redactor, Rules

    shared_id = given_secret(options.par_key, "polltape_par_key") if options.par_key else None
    key = load_key(ephemeral=options.key == "ephemeral")
    redactor = Redactor(key, Rules.of_user(), keep_unparsed=options.keep_unparsed)
    redacts: Redacts = Unredacted(redactor) if options.store_secrets else redactor
    return redacts if shared_id is None else Judged(redacts, shared_id)


def try_out(directory: Path) -> None:
    """Make the capture folder if need be, and write into it; raises UsageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(f"polltape_dir={directory}: cannot write there ({error.strerror})") from error


def try_out_health(path: Path) -> None:
    """Who supervises by that file must not look in vain for it; raises UsageError.

    The file is renamed into place: a device, or what else is there, would be replaced.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"polltape_health={path}: is no file")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"polltape_health={path}: cannot write there ({error.strerror})") from error


def _lock(plan: Plan) -> int:
    path = lock_path(plan.directory, plan.session_id)
    if not plan.resumes:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_over(path) if plan.resumes else take_lock(path)
    if lock is None:
        raise UsageError(f"{path}: this session is being recorded already")
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)  # who recovers can tell us from a child that outlived us
    return lock


def serve(
    plan: Plan, redactor: Redacts, reader: FrameReader, frames: Iterable[Frame | None] | None = None
) -> Recording:
    """Record what comes through the pipe until its end: ``frames`` of the reader, else all.

    Raises OSError where the disk refuses.
    """
    lock = _lock(plan)
    try:
        recording = Recording(
            plan, redactor, lock, left_behind(plan.directory, plan.session_id) if plan.resumes else None
        )
    except BaseException:
        os.close(lock)
        raise
    try:
        for frame in reader.frames() if frames is None else frames:
            if frame is not None:
                recording.take(frame)
                recording.tell_marks(reader.position)
                if frame.head.kind == "start":
                    if not plan.resumes:
                        recording.recover_others()
                        recording.retain()
                    marks = str(lock_path(plan.directory, plan.session_id))
                    say(ready=True, body_cap=plan.body_cap, session=plan.session_id, marks=marks)
            recording.tick()
        recording.finish(reader)
        lock_path(plan.directory, plan.session_id).unlink(missing_ok=True)
    except BaseException as error:
        recording.give_up(_told(error, plan.directory))
        raise
    finally:
        os.close(lock)
    return recording


def _told(error: BaseException, directory: Path) -> str:
    """An error in one line without its text: that of a fault of ours could hold what must not be told."""
    if isinstance(error, PolltapeError):
        return f"{error}; {error.hint}" if error.hint else str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or directory}: {error.strerror}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error ({type(error).__name__} in {Path(frame.filename).name}:{frame.lineno})"


def _check_version(frames: int) -> None:
    if frames != FRAMES_VERSION:
        raise UsageError(
            f"this polltape reads frames of version {FRAMES_VERSION}, the addon sends {frames}: "
            "use the addon and the program of one version"
        )


def _begin(reader: FrameReader) -> tuple[Iterable[Frame | None], Head]:
    """The frames, and the head of the first of them."""
    stream = reader.frames()
    first = next((frame for frame in stream if frame is not None), None)
    if first is None or first.head.kind != "start":
        raise UsageError("the addon sent no beginning; this program is started by the addon, not by hand")
    return chain([first], stream), first.head


def run(directory: Path, frames: int) -> int:
    """The process that the addon starts: frames on standard input; the exit status."""
    protect()
    without_pandas()
    reader = FrameReader(sys.stdin.fileno())
    try:
        _check_version(frames)
        stream, start = _begin(reader)
        options = options_of(start.options)
        plan = options.plan(directory, start.session or new_session_id(), resumes=bool(start.session))
        if not plan.resumes:
            try_out(directory)
            if plan.health is not None:
                try_out_health(plan.health)
        for warning in options.warnings:
            say(warning=warning)
        recording = serve(plan, make_redactor(options), reader, stream)
    except Exception as error:
        say(error=_told(error, directory))
        return 2 if isinstance(error, PolltapeError) else 1
    say(end=recording.end(), exchanges=recording.whole)
    return 0
