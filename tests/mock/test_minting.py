"""Names that are made up."""

from __future__ import annotations

import re
from random import Random

import pytest

from polltape.mock.minting import Mint, fresh

OLD = "a1" * 16


@pytest.mark.parametrize(
    ("text", "alphabet"),
    [
        (OLD, "0123456789abcdef"),
        ("25428999", "0123456789"),
        ("exuw7apwoycchjuwtiqg8nytfhphr62a", "0123456789abcdefghijklmnopqrstuvwxyz"),
        ("5cb41495-03d1-46d8-aec0-ad2c4b9c6ea7", "0123456789abcdef-"),
    ],
)
def test_a_fresh_name_has_the_same_alphabet_and_length(text: str, alphabet: str) -> None:
    made = fresh(text, Random(3))
    assert made != text
    assert len(made) == len(text)
    assert set(made) <= set(alphabet)
    assert [char for char in made if char == "-"] == [char for char in text if char == "-"]
    assert fresh(text, Random(3)) == made


def test_a_fresh_global_id_is_of_the_same_type() -> None:
    made = fresh("gid://shopify/CartCompletionAttempt/1234567890abcdef", Random(3))
    assert re.fullmatch(r"gid://shopify/CartCompletionAttempt/[0-9a-f]{16}", made)
    assert not made.endswith("1234567890abcdef")


@pytest.mark.parametrize("recorded", ["1", "t1", "-", "gid://shopify/Order/7"])
def test_no_two_clients_get_the_same_however_short_it_is(recorded: str) -> None:
    mint = Mint("seed")
    made = [mint.fresh(recorded) for _ in range(2000)]
    assert len(set(made)) == len(made)
    again = Mint("seed")
    assert [again.fresh(recorded) for _ in range(2000)] == made
