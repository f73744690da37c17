"""Card numbers in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.capture.pan import find_pans, has_pan, is_pan, luhn, replace_pans

PANS = ["4242424242424242", "378282246310005", "6011111111111117", "4222222222222", "6304000000000000000"]


@pytest.mark.parametrize("pan", PANS)
@pytest.mark.parametrize(
    "around", ["{}", "a{}b", "card: {}.", "{},{}", "2026-11-05 {} 12", "{} {}", "x12 34 {}", "({})"]
)
def test_found_wherever_it_stands(pan: str, around: str) -> None:
    assert pan not in replace_pans(around.replace("{}", pan), "X")


@pytest.mark.parametrize(
    "gap", [" ", "-", "  ", " - ", "\u00a0", "\u2011", "\u2212", "\u3000", "\u200b", "\u00ad", "\t"]
)
def test_found_with_blanks_or_hyphens_between(gap: str) -> None:
    spaced = gap.join(["4242", "4242", "4242", "4242"])
    assert replace_pans(f"a {spaced} b", "X") == "a X b"
    assert has_pan(gap.join("4242424242424242"))


@pytest.mark.parametrize("gap", [".", "_"])
@pytest.mark.parametrize("groups", [["4242", "4242", "4242", "4242"], ["3782", "822463", "10005"]])
@pytest.mark.parametrize("around", ["{}", "a {}.", "no_{}_x", "12 {}, 2026-11-05", "é {}"])
def test_found_with_dots_or_underscores_between_a_cards_groups(gap: str, groups: list[str], around: str) -> None:
    assert replace_pans(around.format(gap.join(groups)), "X") == around.format("X")


def test_two_ways_of_one_number_are_one() -> None:
    assert replace_pans("4242.4242.4242.4242 4242 4242 4242", "X") == "X"


@pytest.mark.parametrize(
    "text",
    ["", "123", "4242424242424241", "42424242424242424242", "2026-11-05T10:00:00",
     "4242.4242.4242_4242", "4242.4242.4242.4242.1", "1.4242.4242.4242.4242", "42.424242.4242.4242",
     "4242.4242.4242.4241",
     "52.1234567 13.1234567", "/files/4242/4242/4242/4242/a.png", "4242,4242,4242,4242",
     "00000000-0000-4000-8000-000000000000", "8e03978e-1234-4321-1234-123412341234", "+1 (502) 459-2181"],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    assert find_pans(text) == []
    assert replace_pans(text, "X") is text


def test_digits_of_other_scripts_are_digits() -> None:
    arabic = "".join(chr(0x660 + int(digit)) for digit in PANS[0])
    assert has_pan(arabic)


def plain_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B, word by word, as an oracle."""
    doubled = [int(d) * (2 if (len(digits) - i) % 2 == 0 else 1) for i, d in enumerate(digits)]
    return sum(sum(map(int, str(n))) for n in doubled) % 10 == 0


@given(st.text("0123456789", min_size=1, max_size=25))
def test_the_check_is_the_standards(digits: str) -> None:
    assert luhn(digits) == plain_luhn(digits)
    assert is_pan(digits) == (13 <= len(digits) <= 19 and plain_luhn(digits))


@given(st.text("0123456789 -a", max_size=60))
def test_after_replacement_there_is_none(text: str) -> None:
    assert not has_pan(replace_pans(text, "X"))


@given(st.text("0123456789", min_size=12, max_size=18), st.sampled_from(["", " ", "-"]), st.text("ab ", max_size=3))
def test_every_valid_one_is_found(digits: str, gap: str, lead: str) -> None:
    check = next(d for d in "0123456789" if plain_luhn(digits + d))
    assert replace_pans(f"{lead}x{gap.join(digits + check)}y", "#") == f"{lead}x#y"
