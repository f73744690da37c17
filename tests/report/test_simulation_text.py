"""A simulation in words, as JSON and as a picture: golden files that a person can check."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from polltape.measures.analysis import Analysis
from polltape.measures.policies import policy_named
from polltape.measures.whatif import Simulation, simulate
from polltape.report import figures
from polltape.report.simulation_figure import LINE, figure_of, spread
from polltape.report.simulation_text import render, to_json

POLICIES = ("fixed:0.5", "obey", "exponential:first=0.5,jitter=none")


@pytest.fixture(scope="module")
def played(shop: Callable[..., Analysis]) -> Simulation:
    analysis = replace(shop(0, 3, extra=True), sources=("monday",))
    return simulate(analysis, [policy_named(name) for name in POLICIES], samples=480)


@pytest.fixture(scope="module")
def given_up(played: Simulation) -> Simulation:
    return simulate(played.analysis, [policy_named(name) for name in POLICIES], samples=48, give_up_s=1.2)


def test_the_text(played: Simulation, golden: Callable[[str, str], None]) -> None:
    golden("simulation.txt", render(played))


def test_the_json(played: Simulation, golden: Callable[[str, str], None]) -> None:
    golden("simulation.json", to_json(played))
    names = [row["policy"] for group in json.loads(to_json(played))["groups"] for row in group["policies"]]
    assert names == ["recorded", *POLICIES] * 2


def test_whoever_gives_up_has_a_column(given_up: Simulation) -> None:
    text = render(given_up)
    assert "unended" in text
    assert "∞" in text
    assert json.loads(to_json(given_up))["groups"][1]["policies"][1]["added_p95_s"] is None


def test_no_line_is_wider_than_the_page(played: Simulation, given_up: Simulation) -> None:
    assert max(map(len, (render(played) + render(given_up)).splitlines())) <= 80


def test_recorded_text_stays_text(played: Simulation) -> None:
    bad = "evil\x1b[31m\u202e"
    found = replace(played, groups=played.groups.assign(host=bad), policies=played.policies.assign(host=bad))
    assert "evil\ufffd[31m\ufffd" in render(found)
    assert "\x1b" not in render(found)


def test_what_no_capture_has(empty: Analysis) -> None:
    nothing = simulate(empty, [policy_named("obey")])
    assert "nothing to simulate: no operation" in render(nothing)
    assert json.loads(to_json(nothing))["groups"] == []
    assert [text.get_text() for text in figure_of(nothing).texts] == ["nothing to simulate"]


def test_the_picture_has_a_mark_and_a_name_for_each_policy(
    played: Simulation, given_up: Simulation, tmp_path: Path
) -> None:
    for simulation in (played, given_up):
        axes = figure_of(simulation).axes
        assert [panel.get_title(loc="left").split(" ")[0] for panel in axes] == ["checkout.update", "checkout.complete"]
        assert {text.get_text() for text in axes[0].texts} == {"recorded", *POLICIES}
    for name in ("one.svg", "two.svg"):
        figures.save(figure_of(played), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_labels_do_not_lie_on_each_other() -> None:
    for heights in ([], [0.5], [0.0, 0.0, 0.0], [0.1, 0.9, 0.95, 1.0], [1.0] * 8):
        places = spread(heights)
        assert all(b - a >= LINE - 1e-9 for a, b in pairwise(places))
        assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert spread([0.1, 0.5]) == [0.1, 0.5]
