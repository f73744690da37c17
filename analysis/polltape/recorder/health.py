"""``DIR/_health.json``: the recorder's state for a supervisor, written anew every few seconds.

Who reads it: ``state`` is ``recording``, ``stopped`` or ``failed``; an ``at`` older than 15 seconds with
``recording`` means that the helper is gone or hangs; a ``heard_at`` older than that, that mitmproxy hangs or is
gone.  Two recorders of one folder need a file each (``polltape_health``).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

EVERY_S: Final = 5.0

State = Literal["recording", "stopped", "failed"]


class Health(msgspec.Struct):
    """The file's fields.  Counts are of this session; bytes of the spool are those not yet in Parquet."""

    session_id: str
    state: State = "recording"
    at: datetime | None = None
    heard_at: datetime | None = None
    helper_pid: int = 0
    recorded: int = 0
    redacted: int = 0
    withheld: int = 0
    left_out: int = 0
    under_way: int = 0
    gaps: int = 0
    spool_bytes: int = 0
    conversions_failed: int = 0
    files_removed: int = 0
    last_error: str | None = None


class HealthFile:
    """Writes it when it is due.  A disk that refuses is not its business: recording tells that itself."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = 0.0

    @property
    def due(self) -> bool:
        """Whether the file is older than it should be."""
        return time.monotonic() - self._written >= EVERY_S

    def write(self, health: Health) -> None:
        """Write it anew, atomically."""
        self._written = time.monotonic()
        if self._path is None:
            return
        health.at, health.helper_pid = datetime.now(UTC), os.getpid()
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(health)) + b"\n")
            temporary.replace(self._path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
