"""Scenario files: found by name, and refused with their line where they are wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest

from polltape.capture.parquet import write_exchanges
from polltape.errors import ConfigError, InputError, UsageError
from polltape.exchange import Header
from polltape.mock.checkout_tables import CheckoutScenario
from polltape.mock.scenario import load_scenario, parse_scenario, scenario_names, scenario_text
from polltape.mock.scenario_tables import Drawn, Draws, Kind

ROOT = Path(__file__).parents[2]
BUILT_IN = scenario_text("shopify-checkout")


@pytest.mark.parametrize("name", scenario_names())
def test_every_built_in_scenario_is_one(name: str) -> None:
    assert load_scenario(name).built_in == name


@pytest.mark.parametrize("name", sorted({*scenario_names()} - {"shopify-checkout"}))
def test_what_is_left_out_has_the_value_that_the_built_in_file_shows(name: str) -> None:
    lines = scenario_text(name).splitlines()
    whole = load_scenario(name)
    for number, line in enumerate(lines):
        if line.startswith("[["):
            break  # what is on sale is not left out, it is not there
        if "=" in line.partition("#")[0] and not line.startswith("protocol"):
            assert parse_scenario("\n".join(lines[:number] + lines[number + 1 :]), name) == whole, line


EXAMPLES = re.findall(
    r"```toml\n(protocol = .*?)```", (ROOT / "docs" / "mock.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_the_examples_of_the_handbook_are_scenarios() -> None:
    played = [parse_scenario(re.sub(r"\{ capture = .*? \}", "1.0", text), "docs/mock.md") for text in EXAMPLES]
    assert {scenario.built_in for scenario in played} == {*scenario_names()} - {"shopify-checkout"}


def test_a_copy_is_found_by_its_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.toml"
    copy.write_text(BUILT_IN.replace("seed = 1", "seed = 77"))
    assert load_scenario(copy).seed == 77


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("duration_s = 1.5", "duration_s = -1", "create.duration_s: expected float >= 0.0", "--print-scenario"),
        ("duration_s = 1.5", "duration_s = nan", "create.duration_s: expected float >= 0.0", "--print-scenario"),
        ("duration_s = 1.5", "duration_s = { median = 1 }", "create.duration_s: has no 'sigma'", "--print"),
        ("duration_s = 1.5", "durations = 1.5", "create.durations: unknown key", "did you mean 'duration_s'?"),
        ("grams = 567", "gramms = 567", "variants[0].gramms: unknown key 'gramms'", "did you mean 'grams'?"),
        ("[payment]", "[paymnt]", "paymnt: unknown key 'paymnt'", "did you mean 'payment'?"),
        ('price = "10.00"', 'price = "-1"', "rates[1].price: expected an amount", "--print-scenario"),
        ("settled_status = 200", "settled_status = 404", "shop.settled_status", "--print-scenario"),
        ("declined = 0.0", "declined = 1.5", "payment.declined: expected float <= 1.0", "--print-scenario"),
        ("retry_after = 2.0", "retry_after = 10000000000", "bucket.retry_after", "--print-scenario"),
        ("retry_after = 2.0", "retry_after = [10000000000]", "bucket.retry_after", "--print-scenario"),
        ("leak_per_s = 2.0", "leak_per_s = 1e-320", "bucket.leak_per_s: expected float >= 1e-06", "--print-scenario"),
        ('protocol = "shopify-checkout"', 'protocol = "x"', "unknown protocol 'x'", '"shopify-checkout"'),
        ('protocol = "shopify-checkout"', "", "has no protocol", '"shopify-checkout"'),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_line(old: str, new: str, said: str, hint: str) -> None:
    assert old in BUILT_IN
    line = BUILT_IN[: BUILT_IN.index(old)].count("\n") + 1 if new else 1
    with pytest.raises(ConfigError) as caught:
        parse_scenario(BUILT_IN.replace(old, new, 1), "mine.toml")
    assert str(caught.value).startswith(f"mine.toml:{line}: ")
    assert said in str(caught.value)
    assert hint in str(caught.value.hint)
    assert "\n" not in str(caught.value)


def test_what_an_offset_looks_like_is_told_in_words() -> None:
    with pytest.raises(ConfigError, match=r'mine\.toml:3: queue\.utc_offset: expected an offset such as "-04:00"'):
        parse_scenario('protocol = "shopify-queue"\n[queue]\nutc_offset = "+25:00"\n', "mine.toml")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("shopify-queue", "poll_after_s = 1.0", "poll_after_s = inf"),
        ("shopify-queue", "rate_per_s = 1.0", "rate_per_s = 1e-320"),
        ("shopify-cart", "poll_after_s = 1.0", "poll_after_s = inf"),
    ],
)
def test_an_instant_that_cannot_be_written_is_refused(name: str, old: str, new: str) -> None:
    text = scenario_text(name)
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(ConfigError, match=f"^mine.toml:{line}: "):
        parse_scenario(text.replace(old, new, 1), "mine.toml")


def test_what_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"mine.toml: .*line 2"):
        parse_scenario('protocol = "shopify-checkout"\nseed = \n', "mine.toml")


def test_an_unknown_name_gets_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        load_scenario("shopify-chekout")
    assert "did you mean 'shopify-checkout'?" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        load_scenario("zzz")
    assert caught.value.hint == f"built in: {', '.join(scenario_names())}; or name a .toml file"


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
    scenario = parse_scenario(text, "t")
    assert isinstance(scenario, CheckoutScenario)
    hint = scenario.update.hint(speed, 1_800_000_000.0)
    assert [header.value for header in hint if header.name == "Retry-After"] == lines


def test_the_exact_wait_travels_beside_the_hint() -> None:
    assert Header("X-Polltape-Wait", "0.1") in Kind(retry_after=1).hint(10, 0.0)
    assert Header("X-Polltape-Wait", "2.5") in Kind(retry_after=[1, 5]).hint(2, 0.0)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("{ median = 2 }", "update.duration_s: has no 'sigma'"),
        ("{ sigma = 2 }", "update.duration_s: expected one of 'median' with 'sigma'"),
        ("{ median = 2, sigma = 1, shares = [1] }", "update.duration_s: 'shares' does not go with 'median'"),
        ("{ seconds = [1, 2], shares = [1] }", "update.duration_s: 'seconds' and 'shares' are not of one length"),
        ("{ seconds = [1, 2], shares = [0.6, 0.5] }", "update.duration_s: 'shares' are more than 1 together"),
        ('{ capture = "x" }', "update.duration_s: has no 'kind'"),
        ('{ capture = "none", kind = "checkout.update" }', "update.duration_s: "),
        ('"long"', "update.duration_s: expected"),
    ],
)
def test_a_duration_that_cannot_be_drawn_is_refused_with_its_line(tmp_path: Path, toml: str, said: str) -> None:
    text = f'protocol = "shopify-checkout"\n[update]\nduration_s = {toml}\n'
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, "t", tmp_path)
    assert str(caught.value).startswith(f"t:3: {said}")
    assert "\n" not in str(caught.value)


def test_written_estimates_are_drawn_with_their_shares_and_the_rest_never_ends() -> None:
    text = 'protocol = "shopify-checkout"\n[update]\nduration_s = { seconds = [1, 4], shares = [0.5, 0.25] }\n'
    scenario = parse_scenario(text, "t")
    assert isinstance(scenario, CheckoutScenario)
    draws = Draws(3)
    counts = Counter(scenario.update.draw(draws.next("update")) for _ in range(4000))
    assert counts.keys() == {1.0, 4.0, inf}
    assert [counts[seconds] / 4000 for seconds in (1.0, 4.0, inf)] == pytest.approx([0.5, 0.25, 0.25], abs=0.03)


def test_a_share_is_stuck() -> None:
    kind = Kind(duration_s=1.0, stuck=0.2)
    draws = Draws(3)
    stuck = sum(kind.draw(draws.next("update")) == inf for _ in range(4000))
    assert stuck / 4000 == pytest.approx(0.2, abs=0.03)


def test_durations_come_from_a_capture(new_tape: Callable[[], Any], tmp_path: Path) -> None:
    tape = new_tape()
    tape.update("a1", 0, 2.0, polls=(1.0,))
    tape.update("b1", 10, 4.0, polls=(1.0, 3.0))
    tape.update("c1", 20, None, polls=(1.0, 5.0))  # censored, after all others: nothing tells how long it would take
    write_exchanges(tmp_path / "taken", "s", tape.exchanges)
    drawn = 'duration_s = { capture = "taken", kind = "checkout.update" }'
    text = f'protocol = "shopify-checkout"\n[update]\n{drawn}\n'
    scenario = parse_scenario(text, "t", tmp_path)
    assert isinstance(scenario, CheckoutScenario)
    estimate = scenario.update.duration_s
    assert isinstance(estimate, Drawn)
    assert estimate.seconds == pytest.approx([2.0, 4.0], abs=0.11)
    assert estimate.shares == pytest.approx([1 / 3, 1 / 3])
    with pytest.raises(ConfigError, match=r"^t:3: update.duration_s: .*no operation of kind 'checkout.create'"):
        parse_scenario(text.replace("checkout.update", "checkout.create"), "t", tmp_path)
