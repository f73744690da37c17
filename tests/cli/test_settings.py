"""``polltape.toml``: what it may say, and that a mistake in it is one line with the file's line."""

from __future__ import annotations

from pathlib import Path

import pytest

from polltape.cli.settings import NAME, load_settings, parse_settings, settings_in_force
from polltape.errors import ConfigError, InputError, UsageError
from polltape.measures.suppressions import Suppression

GOOD = """
[findings]
select = ["RA", "OP"]
ignore = ["RA006"]
fail-on = ["OP003"]

[[suppress]]
code = "ra001"
host = "shop.example"
reason = "the old importer is replaced in January (SHOP-12)"

[[suppress]]
code = "ST"
route = "GET /health"
reason = "a probe"
"""


def test_everything_that_it_may_say() -> None:
    found = parse_settings(GOOD, "polltape.toml")
    assert (found.select, found.ignore, found.fail_on) == (("RA", "OP"), ("RA006",), ("OP003",))
    assert found.suppressions == (
        Suppression(
            "RA001", "the old importer is replaced in January (SHOP-12)", "shop.example", "*", "polltape.toml:7"
        ),
        Suppression("ST", "a probe", "*", "GET /health", "polltape.toml:12"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[suppress]]\ncode = "RA"\nreason = "x"\n[[suppress]]\ncode = "RA001"\n',
            r"p:4: suppress\[1\]: has no 'reason'",
        ),
        ('[[suppress]]\ncode = "RA001"\nreason = "  "\n', r"p:3: suppress\[0\]\.reason: is empty"),
        ('[[suppress]]\nreason = "x"\n', r"p:1: suppress\[0\]: has no 'code'"),
        (
            '[[suppress]]\n\ncode = "RA0O1"\nreason = "x"\n',
            r"p:3: suppress\[0\]\.code: no finding has the code 'RA0O1'; did",
        ),
        ('[[suppress]]\ncode = "RA"\nreson = "x"\n', r"p:3: suppress\[0\]\.reson: unknown key 'reson'"),
        ('[findings]\nfail_on = ["RA"]\n', r"p:2: findings\.fail_on: unknown key 'fail_on'"),
        ('[findings]\nselect = "RA"\n', r"p:2: findings\.select: expected array, got str"),
        ('[findings]\nignore = ["XY"]\n', r"p:2: findings\.ignore: no finding has the code 'XY'"),
        ("[finding]\n", r"p:1: finding: unknown key 'finding'"),
        ("suppress = 3\n", r"p:1: suppress: expected array, got int"),
        ("[findings\n", "p: "),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_settings(text, "p")


def test_the_file_of_the_working_directory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_in_force(None, False).path is None
    (tmp_path / NAME).write_text(GOOD)
    (tmp_path / "other.toml").write_text('[findings]\nselect = ["CQ"]\n')
    assert settings_in_force(None, False).select == ("RA", "OP")
    assert settings_in_force(None, True).select == ()
    assert settings_in_force("other.toml", False).select == ("CQ",)
    with pytest.raises(UsageError, match="exclude each other"):
        settings_in_force("other.toml", True)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load_settings(tmp_path / "latin.toml")
