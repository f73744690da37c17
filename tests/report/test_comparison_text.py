"""A comparison in words, as JSON and as a picture: golden files that a person can check."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polltape.measures.analysis import Analysis
from polltape.measures.comparison import Bounds, Comparison, compare
from polltape.report import figures
from polltape.report.comparison_figure import figure_of
from polltape.report.comparison_text import render, to_json


@pytest.fixture(scope="module")
def worse(shop: Callable[..., Analysis]) -> Comparison:
    first, second = replace(shop(0, 1), sources=("monday",)), replace(shop(1.5, 9, extra=True), sources=("tuesday",))
    return compare(first, second, bounds=Bounds(slower_s=0.25, drop=0.1))


def test_the_text(worse: Comparison, golden: Callable[[str, str], None]) -> None:
    golden("comparison.txt", render(worse))


def test_the_json(worse: Comparison, golden: Callable[[str, str], None]) -> None:
    golden("comparison.json", to_json(worse))
    assert json.loads(to_json(worse))["regressions"] == 2


def test_no_line_is_wider_than_the_page(worse: Comparison) -> None:
    assert max(map(len, render(worse, width=80).splitlines())) <= 80


def test_recorded_text_stays_text(worse: Comparison) -> None:
    bad = "evil\x1b[31m\u202e"
    table = worse.durations.assign(host=bad)
    text = render(replace(worse, durations=table))
    assert "\x1b" not in text
    assert "evil\ufffd[31m\ufffd" in text


def test_what_no_capture_has(empty: Analysis) -> None:
    text = render(compare(empty, empty))
    assert "nothing to compare: no operation" in text
    assert "no regression beyond the bounds" in text
    assert "no group is in both captures" in "".join(t.get_text() for t in figure_of(compare(empty, empty)).texts)


def test_the_picture_has_both_curves_up_to_the_horizon(worse: Comparison, tmp_path: Path) -> None:
    figure = figure_of(worse)
    (axes,) = figure.axes  # checkout.complete is in one capture only
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["A", "B"]  # type: ignore[union-attr]
    horizon = worse.durations.loc[worse.durations["kind"] == "checkout.update", "horizon_s"].iloc[0]
    curves = [line for line in axes.lines if line.get_label() in ("A", "B")]
    assert [max(line.get_xdata()) for line in curves] == [horizon, horizon]  # type: ignore[arg-type]
    figures.save(figure, tmp_path / "one.svg")
    figures.save(figure_of(worse), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "A at risk" in (tmp_path / "one.svg").read_text()
