"""What standard output can show: its width, and whether it takes colours."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

WIDTH: Final = 80
"""Of text that does not go to a terminal, so that a file is the same wherever it was written."""
WIDEST: Final = 120
"""Longer lines are hard to read."""


def width(to_terminal: bool = True) -> int:
    """Columns to fill: the terminal's, at most 120; 80 off a terminal."""
    if not (to_terminal and sys.stdout.isatty()):
        return WIDTH
    return max(40, min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDEST))


def colours() -> bool:
    """Only on a terminal, and not where NO_COLOR is set (no-color.org) or TERM is dumb."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
