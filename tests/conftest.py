"""What holds for every test."""

from __future__ import annotations

import os

# Programs under test say where they listen through a pipe; a test must not wait for a buffer to fill.
os.environ["PYTHONUNBUFFERED"] = "1"
