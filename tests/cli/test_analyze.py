"""``polltape analyze``: a mistake on the command line is one line and exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from polltape.cli import main

SAMPLE = Path(__file__).parents[2] / "captures" / "samples"


@pytest.mark.parametrize(
    "option",
    [
        ["--tolerance", "nan"],
        ["--tolerance", "inf"],
        ["--tolerance", "-1"],
        ["--tolerance", "1e12"],
        ["--date-tolerance", "nan"],
        ["--stuck-after", "nan"],
        ["--stuck-after", "nobodys=3"],
        ["--since", "yesterday"],
        ["--select", "RA999"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(SAMPLE), *option]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
