"""The two sides of a replay beside each other, and what differs in whole replays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import stories

from polltape.measures.analysis import analyse
from polltape.replay.case import Target, case_of, targets_of
from polltape.replay.runner import replay_on_mock
from polltape.replay.sides import beside, pairs_by_place, sides_of


def told(done: Any) -> list[tuple[str, list[str]]]:
    """Place and fields of each exchange that differs."""
    return [(d.pair.place, [c.field for c in d.changed]) for d in done.differences.differing]


def test_a_replay_at_the_recordings_pace_does_not_differ_from_it() -> None:
    case = case_of(stories.capture(stories.created(), 1900))
    done = replay_on_mock(case, virtual=True)
    assert [d.pair.place for d in done.differences.every] == ["beside", "submit", "poll 1", "poll 2", "poll 3"]
    assert told(done) == []
    assert told(replay_on_mock(case, virtual=True, speed=7)) == []


def test_who_obeys_differs_in_verdicts_and_findings() -> None:
    done = replay_on_mock(case_of(stories.capture(stories.early(), 60)), timing="obey", virtual=True)
    assert told(done) == [
        ("submit", ["verdict"]),
        ("poll 1", ["verdict", "findings"]),
        (
            "poll 2",
            ["status", "header:retry-after", "body:checkout.completed_at", "asked_s", "verdict", "findings"],
        ),
        ("poll 3", []),
    ]
    assert done.differences.every[3].pair.replayed is None


def test_measured_times_verdicts_and_findings_stand_at_their_exchange() -> None:
    exchanges = stories.early()
    sides = list(sides_of(exchanges, analyse(stories.capture(exchanges, 60))).values())
    assert [side.verdict for side in sides] == ["early", "early", "kept", None]
    assert [side.findings for side in sides] == [(), ("RA001",), ("RA001",), ()]
    assert [round(side.waited_s or 0, 2) for side in sides] == [0, 0.4, 0.4, 1.07]
    assert [side.elapsed_s is None for side in sides] == [True, False, False, False]


def test_two_clients_are_paired_by_place() -> None:
    early, polite = stories.early(), stories.polite()
    analyses = tuple(analyse(stories.capture(story, 60)) for story in (early, polite))
    targets = [targets_of(analysis, analysis.operations["id"]) for analysis in analyses]
    pairs = pairs_by_place(
        sides_of(early, analyses[0]),
        sides_of(polite, analyses[1]),
        beside(*targets),
        (analyses[0], analyses[1]),
    )
    assert [(p.place, p.recorded is not None, p.replayed is not None) for p in pairs] == [
        ("submit", True, True),
        ("poll 1", True, True),
        ("poll 2", True, True),
        ("poll 3", True, False),
    ]


def test_the_nth_operation_of_a_kind_stands_beside_the_nth() -> None:
    def target(name: str, kind: str) -> Target:
        return Target(name, "p", kind, "completed", (name,))

    recorded = [target("a1", "a"), target("b1", "b"), target("a2", "a"), target("a3", "a")]
    replayed = [target("A1", "a"), target("A2", "a"), replace(target("B1", "b"))]
    names = [(old.operation_id, new and new.operation_id) for old, new in beside(recorded, replayed)]
    assert names == [("a1", "A1"), ("b1", "B1"), ("a2", "A2"), ("a3", None)]
