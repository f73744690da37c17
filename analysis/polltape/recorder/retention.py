"""Old recordings go: whole Parquet files that recorders wrote into the folder, the oldest first.

Only ``DIR/date=…/SESSION-PART.parquet`` is ever removed: no file that was imported or copied there under another
name, nothing outside the folder, no link.  The age is that of the file, which was made when its last exchange had
been recorded.  Coverage stays.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

DAY_S: Final = 86_400.0
_NAME: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}\.parquet")


class Removed(NamedTuple):
    """How many files were removed, and their bytes."""

    files: int
    bytes: int


class _File(NamedTuple):
    modified_s: float
    path: Path
    bytes: int


def recordings(directory: Path) -> list[_File]:
    """The Parquet files that recorders wrote, oldest first."""
    found = []
    for folder in directory.glob("date=*"):
        if folder.is_symlink():
            continue
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name) and not path.is_symlink():
                state = path.stat()
                found.append(_File(state.st_mtime, path, state.st_size))
    return sorted(found)


def remove_old(directory: Path, keep_days: int, keep_bytes: int, now_s: float | None = None) -> Removed:
    """Remove what is older than ``keep_days`` days, then the oldest until ``keep_bytes`` are kept; 0: no limit.

    ``now_s`` are seconds since 1970.  Another recorder of the folder may do the same at the same moment.  Raises
    OSError.
    """
    if not keep_days and not keep_bytes:
        return Removed(0, 0)
    limit = (time.time() if now_s is None else now_s) - keep_days * DAY_S
    files = recordings(directory)
    kept = sum(file.bytes for file in files)
    removed = Removed(0, 0)
    for file in files:
        if not (keep_days and file.modified_s < limit) and not (keep_bytes and kept > keep_bytes):
            break
        file.path.unlink(missing_ok=True)
        with suppress(OSError):
            file.path.parent.rmdir()  # only when it is empty
        kept -= file.bytes
        removed = Removed(removed.files + 1, removed.bytes + file.bytes)
    return removed
