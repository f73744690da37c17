"""The rules as data, and what a user's file makes of them."""

# ruff: noqa: E501 - a case stays on one line
from __future__ import annotations

from pathlib import Path

import pytest

from polltape.capture.redaction_rules import DEFAULT_RULES, Rules, Ruling, normalise, strictest
from polltape.errors import ConfigError


@pytest.mark.parametrize("name", ["lastName", "last_name", "Last-Name", "LASTNAME", " last-name "])
def test_names_compare_without_case_underscore_and_hyphen(name: str) -> None:
    assert normalise(name) == "lastname"


def test_the_place_at_hand_speaks_first() -> None:
    assert DEFAULT_RULES.name("authorization", "header").action == "pseudonym"
    assert DEFAULT_RULES.name("authorization", "body").action == "drop"
    assert DEFAULT_RULES.name("authorization", "query").action == "drop"


def test_a_name_that_no_rule_knows_is_plain() -> None:
    assert DEFAULT_RULES.name("status", "body").plain
    assert not DEFAULT_RULES.name("order", "body").plain


@pytest.mark.parametrize(
    ("one", "other", "winner"),
    [("shape", "drop", "drop"), ("drop", "shape", "drop"), ("pseudonym", "shape", "pseudonym"), ("shape", "shape", "shape")],
)  # fmt: skip
def test_the_stricter_of_two_rulings(one: str, other: str, winner: str) -> None:
    made = strictest(Ruling(one), Ruling(other))  # type: ignore[arg-type]
    assert made is not None
    assert made.action == winner
    assert strictest(None, Ruling("drop")) == strictest(Ruling("drop"), None) == Ruling("drop")
    assert strictest(None, None) is None


def user(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "redaction.toml"
    path.write_text(text)
    return path


def test_a_user_adds_and_removes(tmp_path: Path) -> None:
    rules = Rules.load(
        user(
            tmp_path,
            """
            [add.body]
            drop = ["loyalty_number", "company"]
            drop_in = { voucher = ["code"] }
            [remove.body]
            shape = ["City"]
            [add.urls]
            path_pseudonym = ["/baskets/"]
            [add.cookies]
            pseudonym = ["basket"]
            """,
        )
    )
    assert rules.name("loyaltynumber", "body").action == "drop"
    assert rules.name("loyaltynumber", "header").action == "drop"
    assert rules.name("company", "body").action == "drop"
    assert rules.name("city", "body").action is None
    assert rules.name("voucher", "body").inside == {"code": "drop"}
    assert "/baskets/" in rules.names("urls", "path_pseudonym")
    assert "basket" in rules.names("cookies", "pseudonym")
    assert DEFAULT_RULES.name("city", "body").action == "shape"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[ad.body]\ndrop = []", r"line 1: 'ad' is not known", "did you mean 'add'"),
        ("\n[add.bodys]\ndrop = []", r"line 2: 'bodys' is not known", "did you mean 'body'"),
        ("[add.body]\n# drops\ndrops = ['x']", r"line 3: 'drops' is not known", "did you mean 'drop'"),
        ("[remove.body]\nshape = [\n 'emial']", r"line 3: 'emial' is not known", "did you mean 'email'"),
        ("[remove.body]\nshape = ['zzzzzz']", r"line 2: 'zzzzzz' is not known", "known here"),
        ("[add.body]\ndrop = 'x'", r"line 2: 'drop' must be a list", "loyalty_number"),
        ("[add.body]\ndrop = [1]", r"line 2: 'drop' must be a list", "loyalty_number"),
        ("[add]\nbody = 1", r"line 2: 'body' must be", None),
        ("add = 1", r"line 1: 'add' ", None),
        ("[remove.body.drop_in]\nx = ['y']", r"line 2: 'x' is not known", None),
        ("[add.body", r"not a TOML file: Expected", None),
    ],
)
def test_what_it_does_not_know_it_refuses(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    path = user(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        Rules.load(path)
    assert str(path) in str(caught.value)
    assert (hint or "") in (caught.value.hint or "")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: the rules cannot be read: No such file"):
        Rules.load(tmp_path / "none.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a TOML file"):
        Rules.load(path)


def test_the_users_own_file_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Rules.of_user(tmp_path) is DEFAULT_RULES
    user(tmp_path, "[add.body]\ndrop = ['loyalty']")
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path))
    assert Rules.of_user().name("loyalty", "body").action == "drop"
