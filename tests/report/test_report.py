"""One way in for every form, and what standard output can show."""

from __future__ import annotations

import json
import sys

import pytest

from polltape.measures.analysis import Analysis
from polltape.report import FORMATS, render, show_operation, show_operations, terminal

BEGINNINGS = {
    "text": "captures/shop\n",
    "json": '{\n  "schema": "polltape.analysis/1"',
    "json-lines": '{"code":"RA001",',
    "concise": "2026-11-23T08:00:10.600000Z shop.example GET /admin",
    "csv": "id,protocol,kind,",
    "html": "<!doctype html>",
    "sarif": '{\n  "$schema": ',
    "junit": "<?xml ",
    "github": "::error file=captures/shop,line=1,title=OP003%3A ",
    "gitlab": "[\n  {",
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_form(small: Analysis, form: str) -> None:
    assert render(small, form).startswith(BEGINNINGS[form])


def test_the_page_has_a_limit_that_can_be_set(thousands: Analysis) -> None:
    assert len(render(thousands, "html", max_size=200_000).encode()) <= 200_000


def test_show(small: Analysis) -> None:
    assert show_operations(small).startswith("shop.example")
    assert show_operation(small, "x2-0").startswith("shopify-checkout:x2-0\n")


def test_json_does_not_depend_on_the_terminal(small: Analysis) -> None:
    assert json.loads(render(small, "json", to_terminal=True)) == json.loads(render(small, "json"))


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours(variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert not terminal.colours(), "not off a terminal"
    monkeypatch.setattr(sys, "stdout", _Terminal())
    assert terminal.colours() is coloured


@pytest.mark.parametrize(("columns", "width"), [("30", 40), ("100", 100), ("400", 120)])
def test_width(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.width() == 80, "always 80 off a terminal"
    monkeypatch.setattr(sys, "stdout", _Terminal())
    assert terminal.width() == width
    assert terminal.width(to_terminal=False) == 80
