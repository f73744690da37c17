"""Benchmarks, side by side in one run:  python bench/run.py [NAME …] [-- OPTIONS OF THE BENCHMARK]

Each folder here with a ``bench.py`` is one; without names all are run.  ``--list`` only lists them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def benches() -> dict[str, Path]:
    """Every benchmark by name."""
    return {path.parent.name: path for path in sorted(HERE.glob("*/bench.py"))}


def main(arguments: list[str]) -> int:
    names, options = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        names, options = arguments[:at], arguments[at + 1 :]
    known = benches()
    if "--list" in names:
        print("\n".join(known))
        return 0
    if unknown := [name for name in names if name not in known]:
        print(f"error: no benchmark {unknown[0]}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    status = 0
    for name in names or known:
        print(f"== {name}", flush=True)
        status |= subprocess.run([sys.executable, str(known[name]), *options], check=False).returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
