"""Capture, mock, the same clients again: the same story and the same verdicts, for every protocol, at any speed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import recorded_stories as stories

from polltape.exchange import Exchange
from polltape.measures.analysis import Analysis, analyse
from polltape.mock.core import Mock

Lived = tuple[dict[str, list[Exchange]], Analysis]


@pytest.fixture(scope="module")
def recorded() -> tuple[Lived, Any]:
    wire = stories.of_servers(stories.servers())
    told = stories.lived(wire)
    return (told, analyse(wire.capture)), wire.capture


@pytest.fixture(scope="module", params=[1, 10])
def played(request: pytest.FixtureRequest, recorded: tuple[Lived, Any]) -> Lived:
    mock = Mock.from_capture(recorded[1], speed=request.param, par_key=stories.KEY)
    wire = stories.of_mock(mock)
    told = stories.lived(wire)
    assert mock.status(stories.BEGIN.timestamp() + wire.now)["unmatched"] == 0
    return told, analyse(wire.capture)


@pytest.mark.parametrize("story", list(stories.CLIENTS))
def test_each_client_sees_the_same_story(story: str, recorded: tuple[Lived, Any], played: Lived) -> None:
    def seen(lived: Lived) -> list[tuple[Any, ...]]:
        return [(exchange.method, exchange.endpoint, exchange.status) for exchange in lived[0][story]]

    assert seen(played) == seen(recorded[0])


def test_the_analysis_comes_to_the_same_verdicts(recorded: tuple[Lived, Any], played: Lived) -> None:
    def verdicts(analysis: Analysis) -> tuple[Any, ...]:
        operations = analysis.operations
        lives = operations[["protocol", "kind", "outcome", "polls"]].itertuples(index=False, name=None)
        waits = analysis.waits[["protocol", "source", "verdict"]].itertuples(index=False, name=None)
        return Counter(lives), Counter(waits), Counter(analysis.findings["code"])

    assert verdicts(played[1]) == verdicts(recorded[0][1])
    assert {protocol for protocol, *_ in verdicts(played[1])[0]} == {
        *("shopify-queue", "shopify-cart", "par-posnext", "http-async", "throttle"),
    }
