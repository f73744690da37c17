"""Puts this folder on the path: what several tests use is a plain module beside them, no package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from mitmdumps import Start, serving, starting  # noqa: E402


@pytest.fixture
def shop() -> Iterator[int]:
    """The port of a server."""
    with serving() as port:
        yield port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a mitmdump with the addon, port 0 and folders of its own."""
    with starting(tmp_path) as run:
        yield run
