"""docs/redaction.md says what the code does."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

from polltape.capture.bodies import NOT_STORED
from polltape.capture.redaction_rules import Rules

PAGE = Path(__file__).parents[2] / "docs" / "redaction.md"
TEXT = PAGE.read_text("utf-8")


def test_the_examples_are_real() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted == 6
    assert results.failed == 0


def test_every_reason_is_explained() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE)
    assert rows == list(NOT_STORED)


def test_the_users_file_on_the_page_is_one(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    assert set(tomllib.loads(example[1])) == {"add", "remove"}
    path = tmp_path / "redaction.toml"
    path.write_text(example[1])
    rules = Rules.load(path)
    assert rules.name("loyaltynumber", "body").action == "drop"
    assert rules.name("company", "body").action is None
    assert rules.name("xtenanttoken", "header").action == "pseudonym"
