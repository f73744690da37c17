"""Scenario files: found by name, and refused with their line where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from polltape.errors import ConfigError, InputError, UsageError
from polltape.exchange import Header
from polltape.mock.scenario import load_scenario, parse_scenario, scenario_names, scenario_text

BUILT_IN = scenario_text("shopify-checkout")


@pytest.mark.parametrize("name", scenario_names())
def test_every_built_in_scenario_is_one(name: str) -> None:
    assert load_scenario(name).protocol == name


def test_a_copy_is_found_by_its_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(BUILT_IN.replace("seed = 1", "seed = 77"))
    assert load_scenario(copy).seed == 77


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "hint"),
    [
        ("duration_s = 1.5", "duration_s = -1", 26, "create.duration_s: expected float >= 0.0", "--print-scenario"),
        ("duration_s = 1.5", "duration_s = nan", 26, "create.duration_s: expected float >= 0.0", "--print-scenario"),
        ("duration_s = 1.5", "duration_s = { median = 1 }", 26, "create.duration_s: has no 'sigma'", "--print"),
        ("duration_s = 1.5", "durations = 1.5", 26, "create.durations: unknown key", "did you mean 'duration_s'?"),
        ("grams = 567", "gramms = 567", 55, "variants[0].gramms: unknown key 'gramms'", "did you mean 'grams'?"),
        ("[payment]", "[paymnt]", 41, "paymnt: unknown key 'paymnt'", "did you mean 'payment'?"),
        ('price = "10.00"', 'price = "-1"', 84, "rates[1].price: expected an amount", "--print-scenario"),
        ("settled_status = 200", "settled_status = 404", 13, "shop.settled_status", "--print-scenario"),
        ("declined = 0.0", "declined = 1.5", 44, "payment.declined: expected float <= 1.0", "--print-scenario"),
        ('protocol = "shopify-checkout"', 'protocol = "x"', 5, "unknown protocol 'x'", '"shopify-checkout"'),
        ('protocol = "shopify-checkout"', "", 1, "has no protocol", '"shopify-checkout"'),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_line(old: str, new: str, line: int, said: str, hint: str) -> None:
    assert old in BUILT_IN
    with pytest.raises(ConfigError) as caught:
        parse_scenario(BUILT_IN.replace(old, new, 1), "mine.toml")
    assert str(caught.value).startswith(f"mine.toml:{line}: ")
    assert said in str(caught.value)
    assert hint in str(caught.value.hint)
    assert "\n" not in str(caught.value)


def test_what_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"mine.toml: .*line 2"):
        parse_scenario('protocol = "shopify-checkout"\nseed = \n', "mine.toml")


def test_an_unknown_name_gets_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        load_scenario("shopify-chekout")
    assert "did you mean 'shopify-checkout'?" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        load_scenario("zzz")
    assert caught.value.hint == "built in: shopify-checkout; or name a .toml file"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_scenario(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a directory"):
        load_scenario(f"{tmp_path}/")
    bad = tmp_path / "latin.toml"
    bad.write_bytes(b'protocol = "\xe4"')
    with pytest.raises(ConfigError, match="UTF-8"):
        load_scenario(bad)


@pytest.mark.parametrize(
    ("toml", "speed", "lines"),
    [
        ("1", 1, ["1"]),
        ("1", 10, ["1"]),
        ("0", 10, ["0"]),
        ("5", 2, ["3"]),
        ("2.0", 1, ["2.0"]),
        ("0.5", 1, ["0.5"]),
        ("2.0", 8, ["0.25"]),
        ("[1, 5]", 1, ["1", "5"]),
        ('"none"', 1, []),
        ("{ date = 2 }", 1, ["Fri, 15 Jan 2027 08:00:02 GMT"]),
        ("{ date = 2 }", 2, ["Fri, 15 Jan 2027 08:00:01 GMT"]),
    ],
)
def test_hints_are_written_in_their_own_grammar(toml: str, speed: float, lines: list[str]) -> None:
    text = f'protocol = "shopify-checkout"\n[update]\nretry_after = {toml}\n'
    hint = parse_scenario(text, "t").update.hint(speed, 1_800_000_000.0)
    assert [header.value for header in hint if header.name == "Retry-After"] == lines


def test_the_exact_wait_travels_beside_the_hint() -> None:
    assert Header("X-Polltape-Wait", "0.1") in Kind(retry_after=1).hint(10, 0.0)
    assert Header("X-Polltape-Wait", "2.5") in Kind(retry_after=[1, 5]).hint(2, 0.0)
