"""Spools become Parquet: after each rotation, at the end, and after a crash.

    python -P -m polltape.recorder.convert DIR [SPOOL NEXT]

is the child process that does it while traffic flows: with a spool, that one; without, everything that dead
sessions left behind.  Done twice, it is done once: a spool gives its name to the Parquet file, which is
renamed into place before the spool is removed.

A session holds a lock on ``.spool/SESSION.lock``, with its helper's process id in it, as long as its helper lives; its
children inherit it, and may outlive it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Final

from polltape.capture.coverage import Session, coverage_path, microseconds, read_session, write_session
from polltape.capture.parquet import write_exchanges
from polltape.capture.spool import SUFFIX, read_spool
from polltape.errors import InputError
from polltape.exchange import Coverage, Exchange
from polltape.recorder.marks import given_to

FOLDER: Final = ".spool"
LOCK_SUFFIX: Final = ".lock"
_OF_SESSION: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.lock|-\d{6}\.spool)")
PATIENCE_S: Final = 60.0
"""How long recovery waits for the child of a dead recorder, or for another recovery, to finish with a session."""


@dataclass
class Converted:
    """What a conversion did: rows written, files, rows whose protocols could not read them, sessions."""

    rows: int = 0
    files: list[Path] = field(default_factory=list)
    unread: int = 0
    sessions: int = 0
    gaps: int = 0
    torn: int = 0
    damaged: int = 0

    def add(self, other: Converted) -> None:
        """Count the other in."""
        self.rows += other.rows
        self.files += other.files
        self.unread += other.unread
        self.sessions += other.sessions
        self.gaps += other.gaps
        self.torn += other.torn
        self.damaged += other.damaged


def spool_path(directory: Path, session_id: str, part: int) -> Path:
    """Where a session's n-th spool is kept."""
    return directory / FOLDER / f"{session_id}-{part:06d}{SUFFIX}"


def lock_path(directory: Path, session_id: str) -> Path:
    """The file that a living session holds locked."""
    return directory / FOLDER / f"{session_id}{LOCK_SUFFIX}"


def take_lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another process does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def take_over(path: Path) -> int | None:
    """The lock of a session that nobody records any more; None where it is being recorded, or already done with.

    What the last child of a dead recorder is still at is waited for.
    """
    deadline = time.monotonic() + PATIENCE_S
    while (lock := take_lock(path)) is None and not _is_recorded(path) and time.monotonic() < deadline:
        time.sleep(0.1)
        if not path.exists():
            return None
    return lock


def _is_recorded(path: Path) -> bool:
    """Whether the helper that holds the lock is alive; one that has not told who it is yet is."""
    try:
        pid = int(path.read_bytes().partition(b"\n")[0])
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):
        return path.exists()
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Whether the process is dead and only nobody has asked for its status yet, as in a container without an init."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    return False


def _observed(exchanges: Iterator[Exchange], done: Converted, progress: Callable[[], None]) -> Iterator[Exchange]:
    from polltape.protocols import observe, stumbled

    for exchange in exchanges:
        done.rows += 1
        progress()
        try:
            yield observe(exchange)
        except Exception:  # one exchange that no protocol can digest must not keep the others off the disk
            done.unread += 1
            yield exchange
    done.unread += stumbled().total()


def convert_spool(
    directory: Path,
    path: Path,
    following: Sequence[Path],
    coverage: Coverage | None,
    progress: Callable[[], None] = lambda: None,
) -> Converted:
    """Turn one spool into Parquet and remove it.  Raises OSError; the spool then stays.

    ``following`` are the session's later spools: what is only provisional here and stands there again, is a row
    there, or none.  ``progress`` is called for each exchange.
    """
    spool = read_spool(path)
    carried: set[str] = set()
    for later in following if spool.open_ids else ():
        if later.exists():
            after = read_spool(later)
            carried |= after.payloads.keys() | after.retracted
    done = Converted()
    coverages = [] if coverage is None else [coverage]
    exchanges = _observed(spool.exchanges(without=carried), done, progress)
    done.files = write_exchanges(directory, path.stem, exchanges, coverages)
    done.torn, done.damaged = int(spool.torn), spool.damaged
    path.unlink()
    return done


def spools_of(directory: Path, session_id: str) -> list[Path]:
    """The session's spools, in order."""
    return sorted((directory / FOLDER).glob(f"{session_id}-*{SUFFIX}"))


def convert_all(
    directory: Path, session_id: str, coverage: Coverage | None, progress: Callable[[], None] = lambda: None
) -> Converted:
    """Turn every spool of a session into Parquet, oldest first.  Raises OSError."""
    paths = spools_of(directory, session_id)
    total = Converted()
    for number, path in enumerate(paths, start=1):
        total.add(convert_spool(directory, path, paths[number:], coverage, progress))
    return total


def sessions_with_spools(directory: Path) -> list[str]:
    """The sessions that have something in the spool folder, oldest first; what has another name is none of ours."""
    folder = directory / FOLDER
    names = [path.name for suffix in (LOCK_SUFFIX, SUFFIX) for path in folder.glob(f"*{suffix}")]
    return sorted({match[1] for name in names if (match := _OF_SESSION.fullmatch(name))})


def dead_sessions(directory: Path) -> list[str]:
    """Those of them whose recorder is not alive any more, though a child of it may be still at work."""
    return [session for session in sessions_with_spools(directory) if _is_dead(directory, session)]


def _is_dead(directory: Path, session: str) -> bool:
    path = lock_path(directory, session)
    if not path.exists():
        return True
    descriptor = take_lock(path)
    if descriptor is None:
        return not _is_recorded(path)
    os.close(descriptor)
    return True


def recover(directory: Path, say: Callable[[str], None] = lambda _: None) -> Converted:
    """Turn what dead sessions left in the spool into Parquet.

    Several recorders may share the folder: living sessions are left alone.  ``say`` gets a line about each
    session.  Raises InputError where a spool cannot be read or written, after all others are done.
    """
    total, failed = Converted(), None
    for session_id in sessions_with_spools(directory):
        path = lock_path(directory, session_id)
        try:
            descriptor = take_over(path)
            if descriptor is None:
                if path.exists():
                    say(f"{session_id}: is being recorded, left alone")
                continue
            try:
                done = _recover_session(directory, session_id)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
        except OSError as error:
            failed = failed or error
            continue
        total.add(done)
        say(_told(session_id, done))
    if failed is not None:
        raise InputError(
            f"{failed.filename or directory}: cannot recover ({failed.strerror or failed})",
            hint=f"the spool stays as it is; mend that, then: polltape recover {directory}",
        ) from failed
    return total


def told(done: Converted) -> str:
    """What a recovery did, in words.

    >>> told(Converted(rows=5, sessions=1, gaps=2))
    'recovered 5 exchanges of 1 recording; 2 are missing'
    """
    rows, sessions = (
        f"{n} {what}{'s' * (n != 1)}" for n, what in ((done.rows, "exchange"), (done.sessions, "recording"))
    )
    return f"recovered {rows} of {sessions}" + (f"; {done.gaps} are missing" if done.gaps else "")


def _told(session_id: str, done: Converted) -> str:
    notes = [
        f"{count} {what}"
        for count, what in (
            (done.gaps, "missing"),
            (done.torn, "torn end"),
            (done.damaged, "damaged"),
            (done.unread, "kept unread by the protocols"),
        )
        if count
    ]
    return f"{session_id}: {done.rows} exchanges" + (f" ({', '.join(notes)})" if notes else "")


def _recover_session(directory: Path, session_id: str) -> Converted:
    paths = spools_of(directory, session_id)
    session = read_session(coverage_path(directory, session_id))
    total = Converted(sessions=1)
    if session is not None:
        total.gaps = _account(directory, session, paths, given_to(lock_path(directory, session_id)))
    total.add(convert_all(directory, session_id, session.coverage if session else None))
    return total


def _account(directory: Path, session: Session, paths: list[Path], given: int) -> int:
    """Count what is missing of a session whose helper did not come to its end, up to the last number given to it."""
    if session.coverage.clean or not paths:
        return session.coverage.gaps
    latest = session.coverage.ended_at
    session.torn = session.damaged = 0
    for path in paths:
        spool = read_spool(path)
        session.torn += spool.torn
        for seq in spool.seqs:
            session.sequence.add(seq)
        latest = max([latest, *(_last_instant(session, exchange) for exchange in spool.exchanges())])
        session.damaged += spool.damaged
    gaps = session.sequence.missing(given)
    # It was there at least until the last thing it recorded.
    session.coverage = replace(session.coverage, ended_at=latest, gaps=gaps)
    write_session(directory, session)
    return gaps


def _last_instant(session: Session, exchange: Exchange) -> datetime:
    """The latest instant that is known of the exchange, on the session's clock."""
    for name in ("response_ended", "response_started", "request_ended", "request_started"):
        wall, mono = getattr(exchange, f"{name}_at"), getattr(exchange, f"{name}_mono_ns")
        if wall is not None:
            return wall if mono is None else session.on_one_clock(mono, microseconds(wall))
    return exchange.last_instant


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def without_pandas() -> None:
    """For a process of our own that only writes.

    pyarrow imports pandas when it is there, to see whether it was given some: half a second and 60 MB.
    """
    sys.meta_path.insert(0, _NoPandas())


def main(argv: list[str]) -> int:
    """The child process: nice, so that the traffic does not feel it."""
    without_pandas()
    with contextlib.suppress(OSError):
        os.nice(10)
    directory = Path(argv[0])
    if len(argv) == 1:
        print(told(recover(directory)), flush=True)
        return 0
    path, *following = map(Path, argv[1:])
    session = read_session(coverage_path(directory, path.stem.rpartition("-")[0]))
    convert_spool(directory, path, following, session.coverage if session else None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
