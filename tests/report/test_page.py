"""A page of text keeps facts whole, columns aligned, and commands unbroken."""

from __future__ import annotations

from polltape.report.page import Page


def test_facts_are_never_broken() -> None:
    page = Page(30, color=False)
    page.facts(["twelve waits", "two clients", "3.1 s given away"], indent=2)
    assert page.text() == "  twelve waits · two clients\n  3.1 s given away\n"


def test_only_starred_columns_wrap() -> None:
    page = Page(26, color=False)
    page.table(["name", ">n", "*text"], [["long-name-kept", "7", "one two three"]], indent=0)
    lines = ["name            n  text", "long-name-kept  7  one two", "                   three"]
    assert page.text().splitlines() == lines


def test_commands_are_not_wrapped() -> None:
    page = Page(10, color=False)
    page.command("polltape show captures/some/where 0199a3f4")
    assert page.text() == "  polltape show captures/some/where 0199a3f4\n"


def test_markup_and_controls_are_only_text() -> None:
    page = Page(40, color=True)
    page.line("[red]not red[/red] :smile: \x1b[31m")
    assert page.text() == "  [red]not red[/red] :smile: \ufffd[31m\n"
