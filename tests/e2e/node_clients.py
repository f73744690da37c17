"""The Node packages that the tests record, installed once: versions and hashes stand in clients/package-lock.json."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CLIENTS = Path(__file__).parent / "clients"
LISTS = ("package.json", "package-lock.json")
INSTALL = ("npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error")


class MissingError(Exception):
    """A component that this machine does not have."""


def node_modules() -> Path:
    """The folder of the packages, in the environment, so that ``make clean`` takes it away.

    Raises MissingError where Node or npm is missing or the packages cannot be had.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is missing")
    digest = hashlib.sha256(b"".join((CLIENTS / name).read_bytes() for name in LISTS)).hexdigest()
    folder = Path(sys.prefix) / f"node-clients-{digest[:12]}"
    if not folder.exists():
        _install(folder)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    """Beside it first: whoever sees the folder sees all of it."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as beside:
        made = Path(beside) / "made"
        made.mkdir()
        for name in LISTS:
            shutil.copy(CLIENTS / name, made)
        done = subprocess.run(INSTALL, cwd=made, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise MissingError(f"npm could not install the clients: {done.stderr.strip()[-300:]}")
        try:
            made.rename(folder)
        except OSError:
            if not folder.exists():  # else another worker was faster
                raise
