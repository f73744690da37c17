"""A temporary folder of this process, for what is too large for memory or lies elsewhere."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """A folder that only this user can enter, removed when this process ends."""
    path, owner = Path(tempfile.mkdtemp(prefix="polltape-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    return path


def new_folder() -> Path:
    """A new one inside it."""
    return Path(tempfile.mkdtemp(dir=folder()))
