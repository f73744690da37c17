"""Capture folders: ``DIR/date=YYYY-MM-DD/<name>.parquet``, one row an exchange, and what lies beside them.

``DIR/_coverage/`` holds when each recording session was there to see, ``DIR/.spool/`` what a recorder has not
yet turned into Parquet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polltape.capture.coverage import read_coverage
from polltape.capture.spool import SUFFIX
from polltape.errors import InputError
from polltape.exchange import Coverage

SPOOL: Final = ".spool"

_RECORD: Final = "record into it: polltape record --dir DIR"


@dataclass(frozen=True)
class Folder:
    """What a capture folder holds; ``hars`` only where there is no Parquet file."""

    files: tuple[Path, ...]
    hars: tuple[Path, ...]
    coverage: tuple[Coverage, ...]
    warnings: tuple[str, ...]


def read_folder(path: Path) -> Folder:
    """Look through a capture folder; no Parquet file is opened.

    Raises :class:`~polltape.errors.InputError` where it cannot be read or holds nothing to read.
    """
    names = _files(path)
    files = tuple(name for name in names if name.suffix.lower() == ".parquet")
    hars = () if files else tuple(name for name in names if name.suffix.lower() == ".har")
    spooled = _spooled(path)
    if not files and not hars:
        raise _nothing(path, spooled)
    warnings = []
    if spooled:
        warnings.append(f"{path}: {_spools(spooled)} not yet in Parquet; {_to_do(path)}")
    if hars:
        warnings.append(f"{path}: no .parquet file in it; reading its {len(hars)} .har file{'s'[: len(hars) > 1]}")
    return Folder(files, hars, tuple(read_coverage(path)), tuple(warnings))


def _files(path: Path) -> list[Path]:
    """Every file below, sorted; what begins with a dot or an underscore is someone's work in progress."""
    found: list[Path] = []

    def stop(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for folder, folders, names in os.walk(path, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += (Path(folder, name) for name in sorted(names) if not name.startswith((".", "_")))
    return found


def _spooled(path: Path) -> int:
    spool = path / SPOOL
    try:
        return sum(1 for name in spool.rglob(f"*{SUFFIX}") if name.is_file() and name.stat().st_size)
    except OSError:
        return 0


def _spools(count: int) -> str:
    return f"{count} spooled file{'s' if count > 1 else ''}"


def _to_do(path: Path) -> str:
    return f"unless a recorder is at it, run `polltape recover {path}`"


def _nothing(path: Path, spooled: int) -> InputError:
    if spooled:
        return InputError(f"{path}: holds only {_spools(spooled)}", hint=_to_do(path))
    if not any(path.iterdir()):
        return InputError(f"{path}: an empty folder", hint=_RECORD)
    return InputError(f"{path}: not a capture: no .parquet and no .har file in it", hint=_RECORD)
