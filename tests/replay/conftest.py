"""Puts this folder on the path: the tests' recordings are a plain module beside them, no package."""

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)
