"""Captures in an object store: ``s3://``, ``gs://``, ``abfs://`` and what else pyarrow knows a file system for.

What belongs to the capture is copied into a temporary folder and read there, so that every kind of file and
every rule is the same near and far.  Credentials, region and endpoint are the store's own (environment,
configuration file, parameters of the URL), as ``pyarrow.fs.FileSystem.from_uri`` reads them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pyarrow import ArrowException, fs

from polltape.capture.coverage import FOLDER
from polltape.errors import InputError, first_line

_CREDENTIALS: Final = re.compile(r"://[^/?#]*@")
_SCHEMES: Final = "s3://bucket/path, gs://bucket/path or abfs://container@account.dfs.core.windows.net/path"
_RETRY_S: Final = 20
_AT_ONCE: Final = 8 * 1024 * 1024


def without_credentials(url: str) -> str:
    """The URL as it may be told."""
    return _CREDENTIALS.sub("://", url)


def fetch(url: str, folder: Path, endings: Iterable[str]) -> Path:
    """Copy the capture folder or the file at ``url`` into ``folder``; the copy's path.

    Of a folder: files with one of these ``endings``, and what lies in its coverage.
    Raises :class:`~polltape.errors.InputError`: no such scheme, nothing there, no permission, not reachable.
    """
    told = without_credentials(url)
    try:
        store, path = fs.FileSystem.from_uri(_patient(url))
        found = store.get_file_info(path)
        if found.type == fs.FileType.File:
            return _copied(store, path, folder / PurePosixPath(path).name)
        names = _files(store, path, tuple(endings)) if found.type == fs.FileType.Directory else []
        if not names:
            raise InputError(f"{told}: nothing to read there", hint="name a capture folder or one of its files")
        for name in names:
            _copied(store, name, _inside(folder, PurePosixPath(name).relative_to(path), told))
    except OSError as error:
        raise InputError(f"{told}: cannot be read ({first_line(error)})") from error
    except (ArrowException, ValueError) as error:
        raise InputError(f"{told}: no URL of an object store ({first_line(error)})", hint=f"as {_SCHEMES}") from error
    return folder


def _patient(url: str) -> str:
    """Google's file system would try for a quarter of an hour."""
    if not url.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}retry_limit_seconds={_RETRY_S}"


def _files(store: Any, path: str, endings: tuple[str, ...]) -> list[str]:
    everything = store.get_file_info(fs.FileSelector(path, recursive=True))
    return sorted(
        each.path
        for each in everything
        if each.type == fs.FileType.File
        and (each.path.lower().endswith(endings) or PurePosixPath(each.path).parent.name == FOLDER)
    )


def _inside(folder: Path, name: PurePosixPath, url: str) -> Path:
    """Where a file of that name goes; names in a store may be anything, ``..`` too."""
    if ".." in name.parts or name.is_absolute():
        raise InputError(f"{url}: the name {str(name)!r} leads out of its folder")
    return folder / name


def _copied(store: Any, name: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    with store.open_input_stream(name) as source, to.open("wb") as file:
        shutil.copyfileobj(source, file, _AT_ONCE)
    return to
