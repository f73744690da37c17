"""When each request is sent again."""

from __future__ import annotations

import pytest
import stories

from polltape.exchange import Exchange
from polltape.replay.plan import IDLE_S, SLACK_S, Ended, Lifetime, Pace, Step, plan


def planned(story: list[Exchange]) -> list[Step]:
    first = story[0]
    life = Lifetime(first.exchange_id, False, first.request_started_at, max(e.last_instant for e in story))
    return plan(story, [life])


def test_each_request_comes_upon_the_answer_before_it() -> None:
    steps = planned(stories.early())
    assert [step.behind for step in steps] == [None, 0, 1, 2]
    assert [step.gap_s for step in steps] == pytest.approx([0, 0.4, 0.4, 1.07])
    assert [step.anchor for step in steps] == [None, 0, 0, 0]
    assert [step.elapsed_s for step in steps] == pytest.approx([0, 0.4, 0.81, 1.89])


def test_requests_in_flight_together_do_not_wait_for_each_other() -> None:
    story = [stories.put(0.0, took=1.0), stories.poll(0.5, took=1.0), stories.poll(0.6, took=0.1)]
    assert [step.after for step in planned(story)] == [(), (), ()]
    pace = Pace()
    assert [pace.due_s(step, {}) for step in planned(story)] == pytest.approx([0.0, 0.5, 0.6])


def test_a_request_waits_for_the_answer_that_issued_its_key() -> None:
    steps = plan(stories.created())
    assert 0 in steps[1].after


def test_silence_outside_of_operations_is_cut_and_waiting_is_not() -> None:
    created = stories.created()
    life = Lifetime(created[1].exchange_id, False, created[1].request_started_at, created[-1].last_instant)
    steps = plan(created, [life])
    assert steps[1].at_s == pytest.approx(0.01 + IDLE_S)
    assert steps[4].at_s - steps[1].at_s == pytest.approx(1.9)
    slow = [stories.put(0.0), stories.poll(500.0)]
    assert planned(slow)[1].at_s == pytest.approx(500)
    assert plan(slow)[1].at_s == pytest.approx(0.01 + IDLE_S)


def test_recorded_timing_keeps_the_operations_clock_and_the_distance_from_the_answer_before() -> None:
    step = planned(stories.early())[2]
    on_time = {0: Ended(0.002), 1: Ended(0.41)}
    assert Pace().due_s(step, on_time) == pytest.approx(0.002 + 0.81)
    late = {0: Ended(0.002), 1: Ended(0.9)}
    assert Pace().due_s(step, late) == pytest.approx(0.9 + 0.4 - SLACK_S)
    assert Pace(paced=False).due_s(step, on_time) == pytest.approx(0.41 + 0.4)


def test_speed_divides_what_was_recorded_and_not_what_is_asked_now() -> None:
    step = planned(stories.early())[1]
    ended = {0: Ended(0.5, asked_s=3.0)}
    assert Pace(speed=10).due_s(step, ended) == pytest.approx(0.54)
    assert Pace("obey", speed=10).due_s(step, ended) == pytest.approx(3.5)
    assert Pace("obey", speed=10).due_s(step, {0: Ended(0.5)}) == pytest.approx(0.54)
    assert Pace("asap").due_s(step, ended) == 0.5


def test_an_answer_is_taken_no_sooner_than_it_came() -> None:
    steps = planned([stories.put(0.0, took=0.3), stories.poll(1.0, took=0.2)])
    assert [step.latency_s for step in steps] == pytest.approx([0.3, 0.2])
    assert Pace(speed=2).held_s(0.2) == pytest.approx(0.1)
    assert [Pace("asap").held_s(0.2), Pace(paced=False).held_s(0.2)] == [0, 0]
