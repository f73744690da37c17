"""Selecting codes as a linter does: prefixes, ALL, and the longest name decides."""

from __future__ import annotations

import pytest

from polltape.errors import UsageError
from polltape.measures.codes import CODES, codes_named, selected


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["RA001"], {"RA001"}),
        (["ra001, op00"], {"RA001", *(f"OP00{n}" for n in range(1, 8))}),
        (["ST", "CQ005"], {"ST001", "ST002", "CQ005"}),
        ([""], set()),
        (["ALL"], set(CODES)),
    ],
)
def test_names(names: list[str], found: set[str]) -> None:
    assert codes_named(names) == found


@pytest.mark.parametrize("name", ["RA9", "XX", "RA0011", "*"])
def test_a_name_that_fits_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no finding has the code"):
        codes_named([name])


def test_the_nearest_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'RA001'"):
        codes_named(["RA0O1"])


@pytest.mark.parametrize(
    ("select", "ignore", "found"),
    [
        (["ALL"], ["RA", "OP", "CQ", "PN", "ST001"], {"ST002"}),
        (["RA001"], ["RA"], {"RA001"}),
        (["ST"], ["ST001"], {"ST002"}),
        (["ST", "ST001"], ["ST00"], {"ST001"}),
        (["ST"], ["ST"], set()),
        (["ST"], ["ALL"], {"ST001", "ST002"}),
        (["ALL"], ["ALL"], set()),
    ],
)
def test_the_longest_name_decides_and_ignore_of_two_as_long(
    select: list[str], ignore: list[str], found: set[str]
) -> None:
    assert selected(select, ignore) == found
