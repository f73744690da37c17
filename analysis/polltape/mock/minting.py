"""Names that a server makes up (tokens, ids), made up anew for each client, of the recorded build."""

from __future__ import annotations

import re
from random import Random
from typing import Final

_GLOBAL_ID: Final = re.compile(r"gid://[^/]+/[^/]+/(?=.)")
_TRIES: Final = 8


class Mint:
    """Makes names up, never one twice; the same seed makes the same names."""

    def __init__(self, seed: str) -> None:
        self._chance = Random(seed)
        self._given: set[str] = set()

    def fresh(self, recorded: str) -> str:
        """A name of the recorded one's build; a longer one where those of its length are nearly used up."""
        for _ in range(_TRIES):
            made = fresh(recorded, self._chance)
            if made not in self._given:
                self._given.add(made)
                return made
        return self.fresh(f"{recorded}0")


def fresh(text: str, chance: Random) -> str:
    """A new name of the same alphabet and length: hex stays hex, digits digits, a UUID a UUID, a global id its type's.

    >>> len(fresh("5cb4149503d186d8eec0ad2c4b9c6ea7", Random(1)))
    32
    >>> fresh("gid://shopify/Order/71", Random(1))
    'gid://shopify/Order/39'
    """
    if kind := _GLOBAL_ID.match(text):
        return kind[0] + fresh(text[kind.end() :], chance)
    letters = [char for char in text if char.isalnum()]
    hexadecimal = len(letters) >= 16 and all(char in "0123456789abcdef" for char in letters)
    version = re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None
    made = []
    for place, char in enumerate(text):
        if version and place in (14, 19):
            made.append(char)
        elif hexadecimal and char.isalnum() and not text.isdigit():
            made.append(chance.choice("0123456789abcdef"))
        elif char.isdigit():
            made.append(chance.choice("123456789" if place == 0 else "0123456789"))
        elif char.isalpha() and char.isascii():
            made.append(chance.choice("abcdefghijklmnopqrstuvwxyz" if char.islower() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        else:
            made.append(char)
    return "".join(made)
