"""The installed copy of the addon."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_installed_copy_is_the_addon() -> None:
    copy = ROOT / "analysis" / "polltape" / "recorder" / "addon_record.py"
    source = ROOT / "addons" / "record.py"
    assert copy.read_bytes() == source.read_bytes(), f"cp {source} {copy}"


def test_the_addon_needs_nothing_but_mitmproxy_and_the_standard_library() -> None:
    import ast
    import sys

    tree = ast.parse((ROOT / "addons" / "record.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"mitmproxy"}
