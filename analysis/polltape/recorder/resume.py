"""To go on with the session of a helper that died, while its mitmproxy lives and still has what was in the pipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from polltape.capture.coverage import Session, coverage_path, read_session
from polltape.capture.spool import read_spool
from polltape.errors import UsageError
from polltape.recorder.convert import spools_of
from polltape.recorder.retention import recordings


@dataclass
class Left:
    """What the dead helper left: ``open`` exchanges by number with id and payload.

    What the session's sequence accounts for and is not open, is on the disk.
    """

    session: Session
    part: int = 0
    open: dict[int, tuple[str, bytes]] = field(default_factory=dict)


def left_behind(directory: Path, session_id: str) -> Left:
    """Reads the session's coverage and spools.  Raises OSError, and UsageError where there is no such session."""
    session = read_session(coverage_path(directory, session_id))
    if session is None:
        raise UsageError(f"{directory}: the recording {session_id} is not there any more")
    left = Left(session)
    paths = spools_of(directory, session_id)
    files = (file.path for file in recordings(directory) if file.path.name.startswith(session_id))
    left.part = max((int(path.stem.rpartition("-")[2]) for path in (*paths, *files)), default=0)
    for path in paths:
        spool = read_spool(path)
        session.torn += spool.torn
        session.damaged += spool.damaged
        for seq in spool.seqs:
            session.sequence.add(seq)
        over = (spool.payloads.keys() - spool.open_ids) | spool.retracted
        left.open = {seq: known for seq, known in left.open.items() if known[0] not in over} | spool.open_exchanges()
    return left
