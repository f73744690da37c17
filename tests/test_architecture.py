"""Imports run one way, downwards only, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "analysis" / "polltape"

LEVELS = {
    "errors": 0,
    "exchange": 0,
    "toml_file": 1,
    "capture": 1,
    "protocols": 2,
    "operations": 3,
    "measures": 4,
    "mock": 5,
    "recorder": 5,
    "replay": 6,  # replays against the mock, records through the recorder
    "report": 5,
    "cli": 7,
    "__main__": 8,
}
"""Which room may use which: only lower levels, and itself."""


def _imports(path: Path) -> set[str]:
    """The rooms of the package that a module imports, wherever in it (a lazy import is an import)."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("polltape.")}
    return rooms


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    room = relative.parts[0].removesuffix(".py")
    if room in ("__init__", "py"):
        assert not _imports(path)
        return
    upwards = {used for used in _imports(path) if used != room and LEVELS[used] >= LEVELS[room]}
    assert not upwards, f"{relative} must not import {upwards}"


def test_every_module_is_in_a_known_room() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms - {"__init__"} <= set(LEVELS)


HEAVY = (
    "pandas",
    "pyarrow",
    "ibis",
    "duckdb",
    "matplotlib",
    "mitmproxy",
    "rich",
    "jinja2",
    "uvloop",
    "httptools",
    "numpy",
)


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["mock", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert ran(arguments) == (0, [])


@pytest.mark.parametrize(
    "command",
    ["analyze none", "bundle none --operation x -o x.polltape", "compare . none", "convert none out", "mock none",
     "show none", "simulate none"],
)  # fmt: skip
def test_a_path_with_nothing_there_is_told_before_anything_heavy_is_loaded(command: str) -> None:
    assert ran(command.split()) == (2, [])


def ran(arguments: list[str]) -> tuple[int, list[str]]:
    """The exit status of polltape, and what heavy it has loaded."""
    code = (
        "import json, sys\nfrom polltape.cli import main\n"
        f"status = main({arguments!r})\n"
        f"print(json.dumps([status, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    return status, loaded


def test_the_addon_needs_nothing_but_mitmproxy_and_the_standard_library() -> None:
    tree = ast.parse((ROOT / "addons" / "record.py").read_text(encoding="utf-8"))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").split(".")[0])
    assert roots - set(sys.stdlib_module_names) == {"mitmproxy"}


def test_a_fact_of_this_machine_or_a_registry_stands_nowhere() -> None:
    pinned = sorted((ROOT / "requirements").glob("*.txt"))
    assert pinned
    for path in pinned:
        assert "://" not in path.read_text(encoding="utf-8"), f"{path.name} names a host"
