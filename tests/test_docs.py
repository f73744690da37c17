"""What the project says of itself is true: every command is in the README, the changelog knows the version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from polltape.cli import COMMANDS, polltape

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    context = click.Context(polltape)
    return [name for name in COMMANDS if not (found := polltape.get_command(context, name)) or not found.hidden]


@pytest.mark.parametrize("name", commands())
def test_every_command_is_shown_somewhere(name: str) -> None:
    pages = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    assert any(f"polltape {name}" in page for page in pages)


@pytest.mark.parametrize("name", commands())
def test_every_command_ends_its_help_with_an_example(name: str) -> None:
    context = click.Context(polltape)
    command = polltape.get_command(context, name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=f"polltape {name}", terminal_width=80))
    assert not [line for line in text.splitlines() if len(line) > 80]
    assert re.search(rf"^ +polltape {name}", text, re.MULTILINE), text


def test_the_changelog_begins_with_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1] == version


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_alone_names_each_target_in_one_line() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("setup", "demo", "test", "lint", "bench"):
        assert re.search(rf"^{target}:.*## .+", text, re.MULTILINE)
