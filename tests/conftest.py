"""What holds for every test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

# Where Python is told to write no bytecode, each program that a test starts compiles its modules anew: seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Programs under test say where they listen through a pipe; a test must not wait for a buffer to fill.
os.environ["PYTHONUNBUFFERED"] = "1"

# A busy machine is no bug: speed is measured in bench/, not by a deadline for each example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
