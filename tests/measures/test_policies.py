"""Polling policies: what each waits, what a user may write, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from polltape.errors import InputError, UsageError
from polltape.measures.policies import USUAL, Exponential, Fixed, Obey, Own, Policy, policy_named

ASKED = np.array([2.0, math.nan, 0.0])
MANY = np.full(20_000, math.nan)


def waits(policy: Policy, sent: int = 0, asked: np.ndarray = ASKED, seed: int = 1) -> list[float]:
    return policy.waits(sent, asked, np.zeros(asked.size), np.random.default_rng(seed)).tolist()


def test_fixed_and_obey() -> None:
    assert waits(Fixed(wait_s=0.5)) == [0.5, 0.5, 0.5]
    assert waits(Obey(default_s=3)) == [2, 3, 0]


def test_exponential_without_jitter_doubles_up_to_its_max() -> None:
    policy = Exponential(first=0.5, factor=2, max=3, jitter="none")
    assert [waits(policy, sent)[0] for sent in (0, 1, 2, 3, 5000)] == [0.5, 1, 2, 3, 3]
    assert waits(Exponential(factor=1, jitter="none"), 10_000)[0] == 1


@pytest.mark.parametrize(("jitter", "least"), [("full", 0.0), ("equal", 2.0)])
def test_jitter_is_even_between_its_ends(jitter: str, least: float) -> None:
    drawn = np.array(waits(Exponential(first=1, jitter=jitter), 2, MANY))
    assert least <= drawn.min() < drawn.max() < 4
    assert np.percentile(drawn, [25, 50, 75]) == pytest.approx(
        least + (4 - least) * np.array([0.25, 0.5, 0.75]), abs=0.1
    )


def test_hint_and_backoff_is_never_early() -> None:
    policy = policy_named("hint+backoff:first=1,jitter=none")
    assert waits(policy) == [3, 1, 1]
    assert waits(policy, 2) == [6, 4, 4]


def test_what_a_user_may_write() -> None:
    assert policy_named("fixed") == Fixed("fixed", 1.0)
    assert policy_named("fixed:0.25") == Fixed("fixed:0.25", 0.25)
    assert policy_named("obey:2") == Obey("obey:2", 2.0)
    written = "exponential:first=0.1,factor=3,max=9,jitter=equal"
    assert policy_named(written) == Exponential(written, False, 0.1, 3.0, 9.0, "equal")
    assert policy_named("hint+backoff:max=5") == Exponential("hint+backoff:max=5", True, max=5.0)
    assert [policy_named(name).name for name in USUAL] == list(USUAL)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("fixd:1", "there are fixed, obey, exponential, hint+backoff, or FILE.py"),
        ("fixed:0", "seconds after the colon, at least 0.001"),
        ("fixed:soon", "seconds after the colon"),
        ("fixed:nan", "seconds after the colon"),
        ("obey:-1", "seconds after the colon, at least 0"),
        ("exponential:start=1", "no option 'start'; there are first, factor, max, jitter"),
        ("exponential:first=x", "0.001 ≤ first ≤ max"),
        ("exponential:first=60", "0.001 ≤ first ≤ max"),
        ("exponential:factor=0.5", "1 ≤ factor"),
        ("hint+backoff:jitter=some", "jitter is full, equal, none"),
    ],
)
def test_what_is_refused(written: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        policy_named(written)
    assert str(refused.value).startswith(f"--policy {written!r}: ")
    assert told in str(refused.value)


def test_your_own_is_given_what_it_names() -> None:
    assert waits(Own("o", lambda asked_s: 7 if asked_s is None else asked_s)) == [2, 7, 0]
    assert waits(Own("o", lambda poll, elapsed_s: poll + elapsed_s), 4) == [4, 4, 4]
    assert waits(Own("o", lambda: None)) == [math.inf] * 3
    drawn = waits(Own("o", lambda rng: rng.uniform(1, 2)))
    assert all(1 <= value < 2 for value in drawn)
    assert drawn == waits(Own("o", lambda rng: rng.uniform(1, 2)))


def test_your_own_with_an_unknown_argument() -> None:
    with pytest.raises(UsageError, match="policy o: no argument 'attempt'; there are poll, asked_s, elapsed_s, rng"):
        Own("o", lambda attempt: 1)


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf, "1"])
def test_your_own_that_returns_no_wait(wrong: object) -> None:
    with pytest.raises(InputError, match=r"policy o returned .* for poll=0, asked_s=2.0, elapsed_s=0"):
        waits(Own("o", lambda: wrong))


def test_your_own_that_raises_is_told_with_its_line() -> None:
    with pytest.raises(InputError, match=r"policy o, line \d+: ZeroDivisionError: .* for poll=0, asked_s=0.0"):
        waits(Own("o", lambda asked_s: 1 / (asked_s or 0)), asked=np.array([0.0]))
