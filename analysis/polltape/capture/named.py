"""What a user's PATH names, told without opening it: a slip is one line before anything heavy is imported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from polltape.errors import InputError

KINDS: Final = {".parquet": "parquet", ".har": "har", ".mitm": "flows", ".flow": "flows", ".flows": "flows"}
"""What an ending says about a file."""

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(path: str) -> bool:
    """Whether a user's PATH names a place in an object store."""
    return _URL.match(path) is not None


def kind_of(path: Path) -> str:
    """``parquet``, ``har`` or ``flows``, by the ending.  Raises :class:`InputError` for any other."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(KINDS)
        raise InputError(f"{path}: unknown kind of file", hint=f"its name must end in one of {endings}")
    return kind


def check_capture(path: str) -> None:
    """That a capture may be there: a folder, a file of a known kind, or a URL, which only its store can judge.

    Raises :class:`~polltape.errors.InputError`.
    """
    if not path:  # an unset variable; Path would take it for the folder that one is in
        raise InputError("an empty path", hint="name a capture folder, a .parquet, a .har or a .mitm file")
    if is_url(path):
        return
    near = Path(path)
    if not near.exists():
        raise InputError(f"{path}: no such file or folder", hint="name a capture folder, .parquet, .har or .mitm")
    if not near.is_dir():
        kind_of(near)
