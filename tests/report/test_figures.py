"""Figures: their numbers are the analysis's, their files are the same in every run."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from polltape.measures.analysis import Analysis
from polltape.measures.statistics import kaplan_meier
from polltape.report import figures
from polltape.report.svg import inline

ALL = [figures.survival, figures.margins, figures.waterfall]


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def _svg(figure: Figure) -> bytes:
    target = BytesIO()
    figures.save(figure, target, form="svg")
    return target.getvalue()


@pytest.mark.parametrize("draw", ALL)
@pytest.mark.parametrize("fixture", ["small", "empty", "hostile", "thousands"])
def test_every_figure_can_be_drawn_twice_alike(
    draw: Callable[[Analysis], Figure], fixture: str, request: pytest.FixtureRequest
) -> None:
    analysis = request.getfixturevalue(fixture)
    first = _svg(draw(analysis))
    assert first == _svg(draw(analysis))
    assert b"<dc:date>" not in first
    ET.fromstring(first)


def test_files_by_their_ending(small: Analysis, tmp_path: Path) -> None:
    figures.save(figures.margins(small), tmp_path / "m.png")
    figures.save(figures.margins(small), tmp_path / "m.svg")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "m.svg").read_bytes()


def test_the_users_matplotlibrc_has_no_say(small: Analysis) -> None:
    plain = _svg(figures.margins(small))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert _svg(figures.margins(small)) == plain
        assert mpl.rcParams["font.size"] == 30, "and keeps it"


def test_numbers_at_risk_add_up() -> None:
    curve = kaplan_meier([1, 2, 2, 3, 5], [True, True, False, False, True])
    assert figures.risk_table(curve, [0, 2, 2.5, 4, 6]) == [(5, 0, 0), (4, 1, 0), (2, 2, 1), (1, 2, 2), (0, 3, 2)]


def test_margins_tell_the_share_left_of_zero_in_words(small: Analysis) -> None:
    texts = _texts(figures.margins(small))
    assert "checkout.update on shop.example: 33 % of 6 waits left of zero" in texts
    assert {"◂ early", "late ▸"} <= set(texts)


def test_many_waits_are_drawn_evenly(thousands: Analysis) -> None:
    [axes] = figures.margins(thousands).axes
    assert max(len(line.get_xdata()) for line in axes.lines) == figures.MOST_MARKS  # type: ignore[arg-type]


def test_waterfall_takes_the_operations_asked_for(small: Analysis) -> None:
    figure = figures.waterfall(small, ["shopify-checkout:x2-0"])
    assert len(figure.axes) == 1
    assert {"early −0.6 s", "early −0.95 s", "kept +0.05 s"} <= set(_texts(figure))


def test_those_with_findings_come_first_each_code_in_turn(small: Analysis) -> None:
    chosen = [name.rpartition(":")[2] for name in figures.worth_seeing(small, 3)]
    assert chosen == ["x4-0", "x3-0", "x2-0"]
    assert len(figures.worth_seeing(small, 99)) == 4


def test_dollars_are_no_mathematics(small: Analysis) -> None:
    odd = Analysis(
        **{n: getattr(small, n) for n in Analysis.__slots__} | {"waits": small.waits.assign(kind="$\\frac$")}
    )
    assert any("$\\frac$ on" in text for text in _texts(figures.margins(odd)))
    assert b"\\frac" in _svg(figures.margins(odd))


def test_inline_svg_follows_the_theme_without_style_attributes(small: Analysis) -> None:
    root = ET.fromstring(inline(figures.survival(small), "s", "what it shows"))
    assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", "what it shows")
    elements = list(root.iter())
    assert not any("style" in element.attrib or element.tag in ("style", "metadata") for element in elements)
    assert any("var(--ink, " in element.get("fill", "") for element in elements)
    assert all(element.get("id", "s-").startswith("s-") for element in elements)
