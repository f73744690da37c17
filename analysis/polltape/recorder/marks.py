"""Numbers that addon and helper share in the session's lock file, whatever becomes of either.

They are in memory that both have mapped, thus in the page cache: a SIGKILL of both loses none of them, and no raw byte
is among them.  The addon tells the highest sequence number that it handed over, the helper how far it has come.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from polltape.recorder.frames import Counts

MARKS_AT: Final = 24
MARKS: Final = ("given", "spooled", "recorded", "withheld", "left_out")
"""Eight bytes each, as the machine has them, after the helper's process id."""
_SIZE: Final = MARKS_AT + 8 * len(MARKS)


class Marks:
    """The helper's end of them.  Raises OSError where the file can be neither mapped nor written."""

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        size = os.fstat(descriptor).st_size
        # Real bytes: a store into a hole that a full disk cannot fill ends the process.
        os.pwrite(descriptor, bytes(max(0, _SIZE - size)), size)
        self._view: memoryview | None = None
        with suppress(OSError):  # a file system that cannot share memory
            self._view = memoryview(mmap.mmap(descriptor, _SIZE))[MARKS_AT:].cast("Q")

    def tell(self, spooled: int, counts: Counts) -> None:
        """What was counted until so many bytes of the pipe were in the spool."""
        values = (counts.recorded, counts.withheld, counts.left_out)
        for number, value in (*enumerate(values, start=2), (1, spooled)):
            if self._view is not None:
                self._view[number] = value
            else:
                os.pwrite(self._file, value.to_bytes(8, sys.byteorder), MARKS_AT + 8 * number)

    @property
    def given(self) -> int:
        """The highest sequence number that was handed over."""
        return int.from_bytes(os.pread(self._file, 8, MARKS_AT), sys.byteorder)


def given_to(path: Path) -> int:
    """The same of the lock file of a dead session; 0 where it tells none.  Raises OSError."""
    return int.from_bytes(path.read_bytes()[MARKS_AT:][:8], sys.byteorder)
