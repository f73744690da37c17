"""How fast polling policies are played (processor time), beside a plain loop that plays the same operations one by one.

Operations are made by hand: lognormal completions, brackets of polls each second, and an instruction of one or two
seconds that changes on the way.  Each policy is timed over all operations and by the loop over the first few
thousand; both must say the same of these, poll by poll, or the run fails.

    python bench/run.py simulate [-- OPERATIONS]        one million, if not told otherwise
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np

from polltape.measures.policies import Exponential, Fixed, Obey, Own, Policy
from polltape.measures.statistics import Floats
from polltape.measures.whatif import Stories, completions, play

OPERATIONS = 1_000_000
LOOPED = 5_000
ANSWER_S = 0.05
TOLERANCE_S = 0.01

Wait = Callable[[int, float], float]


def stories(size: int) -> Stories:
    """Completions with a median of 2.5 s; told at once to wait 1 s, and 2 s from the third second on."""
    done_s = np.random.default_rng(1).lognormal(0.9, 0.8, size)
    lower_s = np.floor(done_s)
    told_s, asked_s = (np.tile(values, size) for values in ([-1.0, 0.0, 3.0], [math.nan, 1.0, 2.0]))
    slack_s = np.full(3 * size, TOLERANCE_S)
    first = 3 * np.arange(size + 1)
    return Stories(lower_s, lower_s + 1.0, np.full(size, 1 / size), first, told_s, asked_s, slack_s)


def exponential(polls: int, asked_s: float) -> float:
    return min(30.0, 0.5 * 2.0**polls)


POLICIES: dict[str, tuple[Policy, Wait | None]] = {
    "fixed:0.5": (Fixed("fixed:0.5", 0.5), lambda polls, asked_s: 0.5),
    "obey": (Obey(), lambda polls, asked_s: asked_s),
    "exponential, no jitter": (Exponential(first=0.5, jitter="none"), exponential),
    "exponential": (Exponential(first=0.5), None),
    "hint+backoff": (Exponential(hint=True, first=0.5), None),
    "your own function": (Own("own", lambda poll, asked_s: exponential(poll, asked_s)), exponential),
}
"""The policy, and the same for the loop; none where the draws of the jitter would have to be the same."""


def looped(done_s: Floats, wait: Wait) -> tuple[list[int], list[float], int]:
    """Polls and added latency of each operation, and early waits of all."""
    polls, added_s, early = [], [], 0
    for done in done_s.tolist():
        now_s, sent = 0.0, 0
        while True:
            asked_s = 2.0 if now_s >= 3.0 else 1.0
            wait_s = wait(sent, asked_s)
            early += wait_s < asked_s - TOLERANCE_S
            start_s = now_s + wait_s
            sent, now_s = sent + 1, start_s + ANSWER_S
            if start_s >= done:
                break
        polls.append(sent)
        added_s.append(now_s - done)
    return polls, added_s, early


def main(arguments: list[str]) -> int:
    size = int(arguments[0]) if arguments else OPERATIONS
    told = stories(size)
    done_s = completions(told, 1, 1)
    limit_s = np.full(size, math.inf)
    few = min(size, LOOPED)
    print(f"{size:,} operations; the loop plays {few:,} of them")
    print(f"{'policy':<24}{'seconds':>9}{'polls':>13}{'operations/s':>14}{'loop, /s':>12}{'times':>8}")
    wrong = 0
    for name, (policy, wait) in POLICIES.items():
        start = time.process_time()
        played = play(told, policy, done_s, answer_s=ANSWER_S, limit_s=limit_s)
        took = time.process_time() - start
        line = f"{name:<24}{took:>9.2f}{played.polls.sum():>13,}{size / took:>14,.0f}"
        if wait is not None:
            start = time.process_time()
            polls, added_s, early = looped(done_s[:few], wait)
            slow = few / (time.process_time() - start)
            same = polls == played.polls[:few].tolist() and added_s == played.added_s[:few].tolist()
            same = same and early == int((played.rated - played.obeyed)[:few].sum())
            wrong += not same
            line += f"{slow:>12,.0f}{size / took / slow:>8.1f}" + ("" if same else "  DIFFERS")
        print(line, flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
