"""Polling policies in a capture: against a plain loop, against hand-made captures, and what cannot be simulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.errors import UsageError
from polltape.measures import whatif
from polltape.measures.analysis import Analysis
from polltape.measures.policies import Exponential, Fixed, Obey, Own, Policy, policy_named
from polltape.measures.whatif import Stories, completions, play, simulate, weights
from polltape.report.plain import rows

REPEATABLE = settings(derandomize=True, deadline=None, max_examples=100)


class Story(NamedTuple):
    """An operation: its bracket, and (elapsed, asked, slack) of each instruction, by time."""

    lower_s: float
    upper_s: float
    told: tuple[tuple[float, float, float], ...] = ()


def stories(*made: Story) -> Stories:
    told = [[(-1.0, math.nan, math.nan), *story.told] for story in made]
    flat = np.array([entry for entries in told for entry in entries])
    return Stories(
        np.array([story.lower_s for story in made]),
        np.array([story.upper_s for story in made]),
        np.full(len(made), 1 / len(made)),
        np.cumsum([0, *map(len, told)]),
        flat[:, 0],
        flat[:, 1],
        flat[:, 2],
    )


# ------------------------------------------------------------------------------- a plain loop as the oracle


class Life(NamedTuple):
    polls: int
    added_s: float
    rated: int
    obeyed: int


def lived(story: Story, wait: Callable[..., float], done_s: float, answer_s: float, limit_s: float) -> Life:
    """One operation, poll by poll, for a completion at that time."""
    now_s, polls, rated, obeyed = 0.0, 0, 0, 0
    while True:
        asked_s, slack_s = math.nan, math.nan
        for told_s, asked, slack in story.told:
            if told_s <= now_s:
                asked_s, slack_s = asked, slack
        wait_s = wait(polls, None if math.isnan(asked_s) else asked_s, now_s)
        start_s = now_s + wait_s
        if math.isinf(wait_s) or start_s > limit_s:
            return Life(polls, math.inf, rated, obeyed)
        if not math.isnan(asked_s):
            rated += 1
            obeyed += wait_s >= asked_s - slack_s
        polls += 1
        now_s = start_s + answer_s
        if start_s >= done_s:
            return Life(polls, now_s - done_s, rated, obeyed)


def starts(story: Story, wait: Callable[..., float], answer_s: float, limit_s: float) -> list[float]:
    """When the polls start that a client sends which sees the end no sooner than at the bracket's end."""
    found: list[float] = []
    life = 0
    while True:  # the n-th start is where a completion just after the one before is seen
        done_s = math.nextafter(found[-1], math.inf) if found else 0.0
        one = lived(story, wait, done_s, answer_s, limit_s)
        if math.isinf(one.added_s) or (found and found[-1] >= story.upper_s):
            return found
        life = one.polls
        assert life == len(found) + 1
        found.append(_start(story, wait, life, answer_s))


def _start(story: Story, wait: Callable[..., float], polls: int, answer_s: float) -> float:
    seen: list[float] = []

    def noted(sent: int, asked_s: float | None, now_s: float) -> float:
        wait_s = wait(sent, asked_s, now_s)
        seen.append(now_s + wait_s)
        return wait_s

    lived(
        story, lambda sent, asked, now: noted(sent, asked, now) if sent < polls else math.inf, math.inf, answer_s, 1e9
    )
    return seen[-1]


WAITS: dict[str, Callable[..., float]] = {
    "fixed": lambda poll, asked_s, elapsed_s: 0.75,
    "obey": lambda poll, asked_s, elapsed_s: 1.0 if asked_s is None else asked_s,
    "doubling": lambda poll, asked_s, elapsed_s: min(8.0, 0.25 * 2**poll),
    "gives up": lambda poll, asked_s, elapsed_s: math.inf if poll == 3 else 0.5,
    "early": lambda poll, asked_s, elapsed_s: 0.5 * (asked_s or 1),
    "late riser": lambda poll, asked_s, elapsed_s: 2.0 if elapsed_s < 3 else 0.5,
}
VECTORISED: dict[str, Policy] = {
    "fixed": Fixed("fixed", 0.75),
    "obey": Obey("obey", 1.0),
    "doubling": Exponential("doubling", first=0.25, factor=2, max=8, jitter="none"),
}


def policy(name: str) -> Policy:
    def own(poll: int, asked_s: float | None, elapsed_s: float) -> float | None:
        wait_s = WAITS[name](poll, asked_s, elapsed_s)
        return None if math.isinf(wait_s) else wait_s

    return VECTORISED.get(name) or Own(name, own)


QUARTERS = st.integers(0, 40).map(lambda n: n / 4)
TOLD = st.lists(st.tuples(QUARTERS, st.sampled_from([0.25, 0.5, 1.0, 3.0, math.nan]), st.just(0.01)), max_size=4).map(
    lambda told: tuple(sorted(told, key=lambda entry: entry[0]))
)


@st.composite
def any_story(draw: st.DrawFn) -> Story:
    lower_s, width_s = draw(QUARTERS), draw(QUARTERS)
    return Story(lower_s, draw(st.sampled_from([lower_s + width_s] * 4 + [math.inf])), draw(TOLD))


@REPEATABLE
@given(
    st.lists(any_story(), min_size=1, max_size=6),
    st.sampled_from(sorted(WAITS)),
    st.sampled_from([0.0, 0.125, 0.5]),
    st.sampled_from([7.0, 30.0]),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_every_policy_is_what_a_plain_loop_makes_of_it(
    made: list[Story], name: str, answer_s: float, limit_s: float, seed: int, rounds: int
) -> None:
    told = stories(*made)
    done_s = completions(told, rounds, seed)
    played = play(told, policy(name), done_s, answer_s=answer_s, limit_s=np.full(len(made), limit_s), seed=seed)
    for place, done in enumerate(done_s.tolist()):
        story = made[place % len(made)]
        expected = lived(story, WAITS[name], done, answer_s, limit_s)
        found = Life(*(int(played.polls[place]), float(played.added_s[place])),
                     *(int(played.rated[place]), int(played.obeyed[place])))  # fmt: skip
        assert found == expected
        assert story.lower_s <= done <= story.upper_s


@REPEATABLE
@given(any_story(), st.sampled_from(sorted(WAITS)), st.sampled_from([0.0, 0.125, 0.5]), st.sampled_from([7.0, 30.0]))
def test_the_bounds_are_the_least_and_the_most_of_all_completions(
    story: Story, name: str, answer_s: float, limit_s: float
) -> None:
    """Between two polls the latency falls with the completion, so the ends of each piece are all there is to try."""
    played = play(
        stories(story), policy(name), np.array([story.upper_s]), answer_s=answer_s, limit_s=np.array([limit_s])
    )
    inside, after = [], []
    if math.isfinite(story.upper_s):  # else it never ends: there is one completion only
        polled = starts(story, WAITS[name], answer_s, limit_s)
        inside = [start for start in polled if story.lower_s < start <= story.upper_s]
        after = [math.nextafter(at, math.inf) for at in (story.lower_s, *inside) if at < story.upper_s]
    lives = [lived(story, WAITS[name], done, answer_s, limit_s) for done in (story.upper_s, *inside, *after)]
    polls, added = [life.polls for life in lives], [life.added_s for life in lives]
    assert (played.polls_low[0], played.polls_high[0]) == (min(polls), max(polls))
    assert played.added_low_s[0] == pytest.approx(min(added), abs=1e-9)
    assert played.added_high_s[0] == pytest.approx(max(added), abs=1e-9)


def test_by_hand() -> None:
    """Polls at 1, 2.5, 4; done at 2: the second sees it, and its answer is there half a second later."""
    played = play(
        stories(Story(2.0, 2.0, ((0.0, 1.0, 0.01), (1.0, 2.0, 0.01)))), Fixed("fixed:1", 1.0), np.array([2.0]),
        answer_s=0.5, limit_s=np.array([math.inf]),
    )  # fmt: skip
    assert (played.polls[0], played.added_s[0]) == (2, 1.0)
    assert (played.rated[0], played.obeyed[0]) == (2, 1)


def test_a_policy_that_hardly_waits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatif, "MOST_POLLS", 50)
    with pytest.raises(UsageError, match="policy fixed:0: more than 50 polls of one operation"):
        play(stories(Story(1, 2)), Fixed("fixed:0", 0), np.array([2.0]), answer_s=0.0, limit_s=np.array([math.inf]))


def test_completions_lie_evenly_in_their_brackets() -> None:
    drawn = completions(stories(Story(1, 3), Story(2, 2), Story(1, math.inf)), 4000, 1).reshape(4000, 3)
    assert (drawn[:, 0] > 1).all()
    assert (drawn[:, 0] <= 3).all()
    assert np.percentile(drawn[:, 0], [25, 50, 75]) == pytest.approx([1.5, 2, 2.5], abs=0.05)
    assert (drawn[:, 1] == 2).all()
    assert np.isinf(drawn[:, 2]).all()


# ------------------------------------------------------------------------------------------------ weights


def test_without_unended_ones_all_weigh_alike() -> None:
    assert weights(np.array([0.0, 1, 1]), np.array([1.0, 2, 2])) == pytest.approx([1 / 3] * 3)


def test_what_left_is_shared_by_those_that_took_longer() -> None:
    """Efron's redistribution to the right: the quarter that left at 1.5 goes to the two that ended later."""
    found = weights(np.array([0.0, 1.5, 1.0, 2.0]), np.array([1.0, math.inf, 2.0, 3.0]))
    assert found == pytest.approx([1 / 4, 0, 3 / 8, 3 / 8])


def test_what_outlasts_every_end_never_ends() -> None:
    found = weights(np.array([0.0, 2.0, 5.0, 9.0]), np.array([1.0, math.inf, 3.0, math.inf]))
    assert found == pytest.approx([1 / 4, 0, 3 / 8, 3 / 8])
    assert weights(np.array([1.0, 2.0]), np.array([math.inf, math.inf])) == pytest.approx([0.5, 0.5])


@REPEATABLE
@given(st.lists(st.tuples(QUARTERS, st.booleans()), min_size=1, max_size=30))
def test_weights_are_efrons(made: list[tuple[float, bool]]) -> None:
    """One by one, from the left: each unended one gives what it has to all at its right."""
    ended = np.array([end for _, end in made])
    times = np.array([time for time, _ in made])
    expected = np.full(times.size, 1 / times.size)
    for place in np.lexsort((ended == 0, times)):
        right = times > times[place]
        if not ended[place] and (right & ended).any():
            same = ~ended & (times == times[place])
            expected[right] += expected[same].sum() / right.sum()
            expected[same] = 0
    last = ~ended & (expected > 0)
    expected[last] = expected[last].mean() if last.any() else 0
    found = weights(np.where(ended, times - 0.1, times), np.where(ended, times, math.inf))
    assert found == pytest.approx(expected, abs=1e-9)


# --------------------------------------------------------------------------------------- from a capture


class Op(NamedTuple):
    """An operation of a capture: its end, or when it was last seen; told to wait 1 s at t0, ``later_s`` at 2 s."""

    lower_s: float
    end_s: float
    ended: bool = True
    polls: int = 2
    later_s: float = 1.0


NAMES = {"protocol": "p", "kind": "k", "host": "h"}


def capture(*made: Op, early: int = 0) -> Analysis:
    """Answers take 0.2 s; the first ``early`` of the waits were early."""
    operations = [
        {"id": f"o{n}", **NAMES, "truncated": False, "outcome": "completed" if op.ended else "abandoned",
         "polls": op.polls, "accepted_us": 10**12 + n, "duration_s": op.end_s if op.ended else math.nan,
         "lower_s": op.lower_s, "upper_s": op.end_s - 0.1 if op.ended else math.nan, "observed_s": op.end_s}
        for n, op in enumerate(made)
    ]  # fmt: skip
    timeline = [
        {"operation": f"o{n}", "role": role, "state": "pending", "klass": "seconds", "asked_s": asked_s,
         "start_us": 10**12 + n + round(at_s * 1e6) - 200_000, "end_us": 10**12 + n + round(at_s * 1e6)}
        for n, op in enumerate(made)
        for role, at_s, asked_s in (("poll", 2.0, op.later_s), ("submit", 0.0, 1.0))
    ]  # fmt: skip
    waits = [
        {"operation": f"o{n}", "client": "c", **NAMES, "verdict": "early" if n < early else "kept", "rated": True,
         "waited_s": 1.0, "asked_s": 1.0}
        for n in range(len(made))
    ]  # fmt: skip
    nothing = pd.DataFrame()
    return Analysis(
        exchanges=0, skipped=0, from_us=None, to_us=None, sources=(), warnings=(), coverage=(), statuses=nothing,
        operations=pd.DataFrame(operations), durations=nothing, waits=pd.DataFrame(waits), compliance=nothing,
        findings=nothing, timeline=pd.DataFrame(timeline),
    )  # fmt: skip


USUALLY = [Op(1.0 + n / 8, 2.0 + n / 4) for n in range(8)]


def test_what_the_clients_did_stands_first() -> None:
    found = simulate(capture(*USUALLY, early=2), [Fixed("fixed:0.5", 0.5), Obey()], samples=8)
    (group,) = rows(found.groups)
    assert {name: group[name] for name in ("operations", "ended", "left_out", "unended", "horizon_s")} == {
        "operations": 8, "ended": 8, "left_out": 0, "unended": 0, "horizon_s": 3.75,
    }  # fmt: skip
    assert group["bracket_s"] == pytest.approx(np.median([0.9 + n / 8 for n in range(8)]))
    assert group["answer_s"] == pytest.approx(0.2)
    recorded, fixed, obey = rows(found.policies)
    assert [row["policy"] for row in (recorded, fixed, obey)] == ["recorded", "fixed:0.5", "obey"]
    assert (recorded["polls"], recorded["compliance"]) == (2, 0.75)
    assert (recorded["added_p50_low_s"], recorded["added_p95_high_s"]) == pytest.approx((0.1, 1.875))
    assert (fixed["compliance"], obey["compliance"]) == (0, 1)
    for row in (recorded, fixed, obey):
        assert row["polls_low"] <= row["polls"] <= row["polls_high"]
        assert row["added_p50_low_s"] <= row["added_p50_s"] <= row["added_p50_high_s"]
        assert row["added_p95_low_s"] <= row["added_p95_s"] <= row["added_p95_high_s"]


def test_the_instruction_is_that_of_the_time() -> None:
    """Polls at 1 (told 1 s still), 2.2 (told 3 s from 2 s on): the next is at 5.4."""
    found = simulate(capture(Op(4.0, 4.1, later_s=3.0)), [Obey()], samples=1)
    row = rows(found.policies)[1]
    assert (row["polls"], row["added_p50_s"]) == (3, pytest.approx(5.4 + 0.2 - 4.0))


def test_who_gives_up_sees_no_end() -> None:
    """Done at 1.9, 2.15, 2.4, …: the polls at 1 and 2.2 see the first two."""
    exact = [Op(1.9 + n / 4, 2.0 + n / 4) for n in range(8)]
    found = simulate(capture(*exact), [Fixed("fixed:1", 1.0)], samples=8, give_up_s=2.3)
    _, fixed = rows(found.policies)
    assert (fixed["polls"], fixed["unended"], fixed["added_p50_s"]) == (2, pytest.approx(6 / 8), None)


def test_what_never_ends_is_polled_to_the_longest_time_seen() -> None:
    found = simulate(capture(Op(1, 9.0, ended=False), Op(1, 3.0, ended=False)), [Fixed("fixed:1", 1.0)], samples=2)
    (group,), (recorded, fixed) = rows(found.groups), rows(found.policies)
    assert (group["unended"], fixed["unended"], recorded["unended"]) == (1, 1, 1)
    assert (group["bracket_s"], group["horizon_s"]) == (None, 9)
    assert fixed["polls"] == 7  # at 1, 2.2, 3.4, … 8.2


def test_who_left_early_takes_the_share_of_longer_ones() -> None:
    found = simulate(capture(Op(0, 0.0, ended=False, polls=0), *USUALLY), [Obey()], samples=9)
    (group,), (recorded, obey) = rows(found.groups), rows(found.policies)
    alone = rows(simulate(capture(*USUALLY), [Obey()], samples=8).policies)
    assert (group["operations"], group["left_out"], recorded["polls"]) == (9, 1, 2)
    assert obey["polls_high"] == pytest.approx(alone[1]["polls_high"])


def test_one_capture_gives_one_number() -> None:
    one, again, other = (
        rows(simulate(capture(*USUALLY), [policy_named("exponential")], samples=99, seed=seed).policies)
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one[1]["added_p50_s"] != other[1]["added_p50_s"]


def test_a_policy_knows_nothing_of_the_others() -> None:
    alone = simulate(capture(*USUALLY), [policy_named("exponential")], samples=16)
    beside = simulate(capture(*USUALLY), [Obey(), policy_named("exponential")], samples=16)
    assert rows(alone.policies)[1] == rows(beside.policies)[2]


def test_nothing_in_the_capture_gives_empty_tables() -> None:
    whole = capture(*USUALLY)
    nothing = replace(
        whole, operations=whole.operations.iloc[:0], waits=whole.waits.iloc[:0], timeline=whole.timeline.iloc[:0]
    )
    found = simulate(nothing, [Obey()])
    assert (len(found.groups), len(found.policies)) == (0, 0)
