"""Pictures of the queue's estimates and of "not yet" by load: the same in every run, their numbers the analysis's."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from polltape.measures.analysis import Analysis
from polltape.report.figures import save
from polltape.report.traffic_figures import estimate_rows, estimates, pending


def _svg(figure: Figure) -> bytes:
    target = BytesIO()
    save(figure, target, form="svg")
    return target.getvalue()


@pytest.mark.parametrize("draw", [estimates, pending])
@pytest.mark.parametrize("fixture", ["busy", "empty"])
def test_every_figure_can_be_drawn_twice_alike(
    draw: Callable[[Analysis], Figure], fixture: str, request: pytest.FixtureRequest
) -> None:
    analysis = request.getfixturevalue(fixture)
    first = _svg(draw(analysis))
    assert first == _svg(draw(analysis))
    ET.fromstring(first)


def test_each_step_of_an_endpoint_has_its_line_and_its_interval(busy: Analysis) -> None:
    figure = pending(busy)
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert "POST /posnext/order/submit on pos.example" in texts
    assert {"1 under way, 120 writes", "2–3 under way, 60 writes", "4–7 under way, 20 writes"} <= set(texts)
    assert not any("/jobs" in text for text in texts), "one step: nothing to compare"
    [axes] = figure.axes
    shares = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert shares == [0.05, 0.3, 0.8]


def test_estimates_stand_against_the_truth(busy: Analysis) -> None:
    [axes] = estimates(busy).axes
    [marks] = [line for line in axes.lines if line.get_marker() == "o"]
    assert [list(map(float, pair)) for pair in zip(marks.get_xdata(), marks.get_ydata(), strict=True)] == [
        [20.0, 11.5],
        [20.0, 31.0],
    ]
    assert estimate_rows(busy) == [["too long by 10 % to half", "1"], ["too short by more than half", "1"]]
