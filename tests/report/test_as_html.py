"""The HTML page: whole without script and network, safe with hostile recordings, never above its limit."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from polltape.errors import UsageError
from polltape.measures.analysis import Analysis
from polltape.report.as_html import render

VOID = {"meta", "link", "br", "hr", "img", "input"}


class _Page(HTMLParser):
    """The elements of a page, its text, and whether every element was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


@pytest.mark.parametrize("fixture", ["small", "busy", "empty", "hostile", "thousands"])
def test_page_stands_alone(fixture: str, request: pytest.FixtureRequest) -> None:
    page = _Page(render(request.getfixturevalue(fixture)))
    assert page.open == []
    assert {"script", "link", "img", "iframe", "object", "base", "form"}.isdisjoint(tag for tag, _ in page.tags)
    for tag, attrs in page.tags:
        assert "style" not in attrs, f"<{tag}>: a strict Content-Security-Policy forbids style attributes"
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "clip-path", "xlink:href"):
            value = attrs.get(name) or "#"
            assert value.startswith(("#", "url(#")), f"{name}={value} leaves the page"
    assert len(page.ids()) == len(set(page.ids()))


def test_references_inside_the_page_have_a_target(small: Analysis) -> None:
    page = _Page(render(small))
    targets = set(page.ids())
    for _, attrs in page.tags:
        for name in ("href", "clip-path", "aria-labelledby"):
            for reference in re.findall(r"#([\w-]+)", attrs.get(name) or ""):
                assert reference in targets
        assert (attrs.get("aria-labelledby") or next(iter(targets))) in targets


def test_numbers_and_findings_are_there(small: Analysis) -> None:
    page = _Page(render(small))
    for text in ("67 %", "30 % to 90 %", "> last", "RA002", "OP003", "req-0006", "early −0.6 s", "3 polls", "422"):
        assert text in page.text
    for heading in ("Durations", "Compliance", "Findings", "Operations", "Statuses", "Coverage", "How to read this"):
        assert heading in page.text


def test_every_chart_has_a_name_and_a_table_twin(small: Analysis) -> None:
    page = _Page(render(small))
    charts = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(charts) == 2 + 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    twins = page.text.count("The same as a table") + page.text.count("The same as tables")
    assert twins == len(charts)


def test_what_waiting_costs_is_there_where_there_is_something_to_say(small: Analysis, busy: Analysis) -> None:
    page = _Page(render(busy))
    for text in ("1.25 s too short", "1 of 10", "3 of 4", "> 14.25 s", "4–7", "58 % to 92 %", "too few to tell"):
        assert text in page.text, text
    sections = {"queue", "throttling", "polling", "not-yet"}
    assert sections <= set(page.ids())
    assert sections.isdisjoint(_Page(render(small)).ids())


def test_empty_sections_say_why(empty: Analysis) -> None:
    page = _Page(render(empty))
    for text in ('None: no exchange of the capture was answered "not yet"', "Nothing to keep", "None: nothing in this"):
        assert text in page.text
    assert not any(tag == "svg" for tag, _ in page.tags)


def test_what_was_recorded_is_only_text(hostile: Analysis) -> None:
    text = render(hostile)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{7*7}}" in text, "a recorded template is not evaluated"
    assert not set(text) & {"\x1b", "\u202e"}


def test_what_is_left_out_is_said(thousands: Analysis) -> None:
    page = _Page(render(thousands))
    assert "Waterfalls for 40 of 3000, those with findings first." in page.text
    assert "500 of 3000 operations shown" in page.text
    assert "20 of 3000 findings shown" in page.text


def test_a_higher_limit_shows_more(thousands: Analysis) -> None:
    page = _Page(render(thousands, 3_000_000))
    assert "Waterfalls for 80 of 3000" in page.text
    assert "1000 of 3000 operations shown" in page.text


@pytest.mark.parametrize("max_size", [1_500_000, 400_000, 150_000])
def test_the_limit_is_kept(thousands: Analysis, max_size: int) -> None:
    assert len(render(thousands, max_size).encode()) <= max_size


def test_a_limit_that_cannot_be_kept_is_refused(small: Analysis) -> None:
    with pytest.raises(UsageError, match="more than the 1000 allowed"):
        render(small, 1000)


def test_the_same_analysis_gives_the_same_bytes(small: Analysis) -> None:
    assert render(small) == render(replace(small))
