"""What if clients polled otherwise: policies played against the completion times that a capture shows.

The server's completion is taken not to depend on who asks how often.  A poller saw it only within (``lower_s``,
``upper_s``], so each number is told thrice: for completions drawn evenly within their brackets, and the least and
the most that any completions within the brackets give.

======================  ===================================================================================
poll k                  starts at s(k) = end of the answer before + the policy's wait
sees the end            where s(k) ≥ completion; its answer is there ``answer_s`` later, the group's median
added latency           end of that answer less completion
instruction             what the recorded operation was told last at that elapsed time, as the mock answers
weight of an operation  its step of the Kaplan-Meier curve with events at ``upper_s``, unended ones censored at
                        ``lower_s``: what they might have become is shared by those that took longer
unended                 the weight that is left where the curve does not come down to 0: never done, polled
                        until the longest time seen, or until the client gives up
======================  ===================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from polltape.errors import UsageError
from polltape.measures.analysis import Analysis
from polltape.measures.durations import GROUP
from polltape.measures.policies import Policy
from polltape.measures.retry_after import compliance
from polltape.measures.statistics import SEED, Flags, Floats, Ints, kaplan_meier
from polltape.operations.fold import FINAL
from polltape.operations.waits import Tolerance

RECORDED: Final = "recorded"
"""The name of what the clients in the capture did."""
SAMPLES: Final = 10_000
"""Operations played for each group and policy, at least: few recorded ones are played several times."""
MOST_POLLS: Final = 20_000
"""Polls of one operation; a policy that sends more hardly waits at all."""


AT_A_TIME: Final = 60_000
"""Operations played together: few enough to stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Stories:
    """What the server did in the operations of one group; arrays with one entry for each operation.

    ``lower_s``, ``upper_s``: the bracket of the completion, ``upper_s`` infinite where it never came.
    ``weight``: adds up to 1.  ``first``: where the operation's instructions begin, one entry more than operations.
    ``told_s``, ``asked_s``, ``slack_s``: of each instruction, by operation and time: elapsed seconds at which it
    came, seconds asked for (NaN for an answer without), and the tolerance.  The first of each operation stands
    for "nothing yet".
    """

    lower_s: Floats
    upper_s: Floats
    weight: Floats
    first: Ints
    told_s: Floats
    asked_s: Floats
    slack_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What a policy did in each operation; arrays of one length.

    ``polls``, ``added_s``: for the completion drawn (``added_s`` infinite where the client saw no end);
    ``*_low``, ``*_high``: the least and the most within the bracket.  ``rated``: waits that followed an
    instruction, ``obeyed``: those that were not early.
    """

    polls: Ints
    polls_low: Ints
    polls_high: Ints
    added_s: Floats
    added_low_s: Floats
    added_high_s: Floats
    rated: Ints
    obeyed: Ints


@dataclass(frozen=True, slots=True)
class Simulation:
    """Policies by group.

    ``groups``: protocol, kind, host, operations, ended, left_out (unended ones whose weight went to longer ones),
    unended (share never done), horizon_s, bracket_s (median), answer_s.

    ``policies``: protocol, kind, host, policy, polls, polls_low, polls_high (means), added_p50_s,
    added_p50_low_s, added_p50_high_s, added_p95_s, added_p95_low_s, added_p95_high_s (null where too many see no
    end), compliance (null without an instruction), unended (share of operations whose end the client never saw).
    """

    analysis: Analysis
    samples: int
    seed: int
    give_up_s: float | None
    groups: pd.DataFrame
    policies: pd.DataFrame


# ------------------------------------------------------------------------------------------- one policy


def completions(stories: Stories, rounds: int, seed: int) -> Floats:
    """Completions drawn evenly within (lower, upper], ``rounds`` for each operation, round by round."""
    ends = np.isfinite(stories.upper_s)
    width = np.where(ends, stories.upper_s - stories.lower_s, 0.0)
    drawn = np.random.default_rng([seed, 0]).random((rounds, width.size))
    return np.asarray(stories.upper_s - drawn * width).ravel()


def play(
    stories: Stories, policy: Policy, done_s: Floats, *, answer_s: float, limit_s: Floats, seed: int = SEED
) -> Played:
    """The policy in every operation, for one or several rounds of completions (see :func:`completions`).

    ``answer_s``: from the start of a poll to the end of its answer.  ``limit_s``: for each operation, after which
    elapsed time no poll starts; finite where ``upper_s`` is not.  Raises UsageError for a policy that hardly
    waits.
    """
    rng = np.random.default_rng([seed, 1])
    parts = []
    for start in range(0, done_s.size, AT_A_TIME):
        rows = np.arange(start, min(start + AT_A_TIME, done_s.size))
        parts.append(_play(stories, policy, done_s[rows], rows % stories.lower_s.size, answer_s, limit_s, rng))
    return Played(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Played)))


def _play(
    stories: Stories,
    policy: Policy,
    done_s: Floats,
    operation: Ints,
    answer_s: float,
    limit_s: Floats,
    rng: np.random.Generator,
) -> Played:
    game = _Game(stories, done_s, operation, answer_s, limit_s)
    for sent in range(MOST_POLLS):
        if not game.row.size:
            return game.played
        asked_s, slack_s = game.instructions()
        game.step(sent, policy.waits(sent, asked_s, game.now_s, rng), asked_s, slack_s)
    raise UsageError(f"policy {policy.name}: more than {MOST_POLLS:,} polls of one operation; let it wait longer")


class _Game:
    """The operations that are still polled: ``row``, their places among all, and the arrays of `_BESIDE` beside it."""

    def __init__(self, stories: Stories, done_s: Floats, operation: Ints, answer_s: float, limit_s: Floats) -> None:
        size = done_s.size
        self.stories, self.answer_s = stories, answer_s
        self.row, self.done_s, self.limit_s = np.arange(size), done_s, limit_s[operation]
        self.lower_s, self.upper_s = stories.lower_s[operation], stories.upper_s[operation]
        self.told, self.last = stories.first[operation], stories.first[operation + 1] - 1
        self.now_s, self.before_s = np.zeros(size), np.full(size, -math.inf)
        self.ends, self.seen, self.touched = np.isfinite(self.upper_s), *np.zeros((2, size), dtype=np.bool_)
        counts = np.zeros((5, size), dtype=np.int64)
        self.played = Played(
            polls=counts[0],
            polls_low=counts[1],
            polls_high=counts[2],
            added_s=np.full(size, math.inf),
            added_low_s=np.full(size, math.inf),
            added_high_s=np.full(size, -math.inf),
            rated=counts[3],
            obeyed=counts[4],
        )

    def instructions(self) -> tuple[Floats, Floats]:
        """What each operation was told last by now: seconds asked for, and the tolerance."""
        moving = np.flatnonzero(self.told < self.last)
        while moving.size:
            ahead = self.told[moving] + 1
            moves = self.stories.told_s[ahead] <= self.now_s[moving]
            moving = moving[moves]
            self.told[moving] = ahead[moves]
            moving = moving[ahead[moves] < self.last[moving]]
        return self.stories.asked_s[self.told], self.stories.slack_s[self.told]

    def step(self, sent: int, wait_s: Floats, asked_s: Floats, slack_s: Floats) -> None:
        """One more poll of each operation, ``wait_s`` from now, or none where the client gives up."""
        start_s = self.now_s + wait_s
        goes = np.isfinite(wait_s) & (start_s <= self.limit_s)
        told = goes & ~self.seen & ~np.isnan(asked_s)
        self.played.rated[self.row[told]] += 1
        self.played.obeyed[self.row[told & (wait_s >= asked_s - slack_s)]] += 1
        if not goes.all():
            self._gave_up(~goes, sent)
            self._kept(goes)
            start_s = start_s[goes]
        self._polled(sent + 1, start_s)
        self.before_s, self.now_s = start_s, start_s + self.answer_s
        self._kept(start_s < self.upper_s)

    def _kept(self, which: Flags) -> None:
        for name in _BESIDE:
            setattr(self, name, getattr(self, name)[which])

    def _polled(self, polls: int, start_s: Floats) -> None:
        """The poll sees every completion in (before, start]: of the one drawn, and of what the bracket allows."""
        played = self.played
        answered_s = start_s + self.answer_s
        sees = np.flatnonzero(~self.seen & (self.done_s <= start_s))
        self.seen[sees] = True
        played.polls[self.row[sees]] = polls
        played.added_s[self.row[sees]] = answered_s[sees] - self.done_s[sees]
        low_s, high_s = np.maximum(self.before_s, self.lower_s), np.minimum(start_s, self.upper_s)
        # A bracket without a width, (2, 2], is the one completion at 2.
        may = self.ends & ((low_s < high_s) | ((self.before_s < self.upper_s) & (self.upper_s <= start_s)))
        fresh = self.row[may & ~self.touched]
        self.touched |= may
        may = np.flatnonzero(may)
        mine = self.row[may]
        played.polls_low[fresh] = polls
        played.polls_high[mine] = polls
        played.added_low_s[mine] = np.minimum(played.added_low_s[mine], answered_s[may] - high_s[may])
        played.added_high_s[mine] = np.maximum(played.added_high_s[mine], answered_s[may] - low_s[may])

    def _gave_up(self, which: Flags, sent: int) -> None:
        played = self.played
        played.polls[self.row[which & ~self.seen]] = sent
        played.polls_low[self.row[which & ~self.touched]] = sent
        played.polls_high[self.row[which]] = sent
        played.added_high_s[self.row[which]] = math.inf


_BESIDE: Final = (
    *("row", "done_s", "limit_s", "lower_s", "upper_s", "told", "last", "now_s", "before_s"),
    *("ends", "seen", "touched"),
)


# --------------------------------------------------------------------------------------- from a capture


def simulate(
    analysis: Analysis,
    policies: Sequence[Policy],
    *,
    samples: int = SAMPLES,
    give_up_s: float | None = None,
    seed: int = SEED,
) -> Simulation:
    """Every policy in every protocol, kind and host, with what the clients in the capture did before them.

    ``samples``: operations played for each group, at least.  ``give_up_s``: clients send no poll after that time;
    by default only operations that never end have a last poll, at the longest time seen.
    """
    rates = compliance(analysis.waits).set_index(list(GROUP))["rate"].to_dict()
    groups, table = [], []
    for names, group, told in _groups(analysis):
        found = _group(group, told)
        groups.append(names | found.facts)
        usual = found.facts["horizon_s"] if give_up_s is None else give_up_s
        limit_s = np.where(np.isfinite(found.stories.upper_s), give_up_s or math.inf, usual)
        rounds = math.ceil(samples / found.stories.lower_s.size)
        done_s = completions(found.stories, rounds, seed)
        weight = np.tile(found.stories.weight / rounds, rounds)
        recorded = {"compliance": rates.get(tuple(names.values()))}
        table.append(names | {"policy": RECORDED} | _recorded(found, done_s, weight) | recorded)
        for policy in policies:
            played = play(found.stories, policy, done_s, answer_s=found.facts["answer_s"], limit_s=limit_s, seed=seed)
            table.append(names | {"policy": policy.name} | _summary(played, weight))
    return Simulation(
        analysis,
        samples,
        seed,
        give_up_s,
        groups=pd.DataFrame(groups, columns=[*GROUP, *FACTS]),
        policies=pd.DataFrame(table, columns=[*GROUP, *COLUMNS]),
    )


FACTS: Final = ("operations", "ended", "left_out", "unended", "horizon_s", "bracket_s", "answer_s")
COLUMNS: Final = (
    *("policy", "polls", "polls_low", "polls_high", "added_p50_s", "added_p50_low_s", "added_p50_high_s"),
    *("added_p95_s", "added_p95_low_s", "added_p95_high_s", "compliance", "unended"),
)


class _Group(NamedTuple):
    stories: Stories
    facts: dict[str, Any]
    polls: Ints
    lived_s: Floats


def _groups(analysis: Analysis) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Each group's names, its whole operations, and its exchanges with ``owner``, their operation's place in it."""
    whole = analysis.operations[~analysis.operations["truncated"].astype(bool)]
    groups = whole.groupby(GROUP, sort=True)
    places = pd.DataFrame({"id": whole["id"], "group": groups.ngroup(), "owner": groups.cumcount()})
    told = analysis.timeline[analysis.timeline["role"].isin(["submit", "poll", "join"])]
    told = told.merge(places, left_on="operation", right_on="id")
    exchanges = dict(iter(told.groupby("group")))
    for number, (names, group) in enumerate(groups):
        yield dict(zip(GROUP, names, strict=True)), group, exchanges.get(number, told.iloc[:0])


def _group(group: pd.DataFrame, told: pd.DataFrame) -> _Group:
    ended = group["outcome"].isin(FINAL).to_numpy(dtype=np.bool_)
    lived_s = np.where(ended, group["duration_s"], group["observed_s"]).astype(np.float64)
    upper_s = np.where(ended, group["upper_s"].fillna(group["duration_s"]), math.inf).astype(np.float64)
    lower_s = np.minimum(group["lower_s"].to_numpy(dtype=np.float64), upper_s)
    weight = weights(lower_s, upper_s)
    played = weight > 0
    took_s = (told["end_us"] - told["start_us"]) / 1e6
    polls = took_s[told["role"] == "poll"]
    width_s = (upper_s - lower_s)[ended]
    instructions = _instructions(group["accepted_us"].to_numpy(dtype=np.int64), played, told)
    stories = Stories(lower_s[played], upper_s[played], weight[played], *instructions)
    facts = {
        "operations": len(group),
        "ended": int(ended.sum()),
        "left_out": int((~played).sum()),
        "unended": float(weight[~ended].sum()),
        "horizon_s": float(lived_s.max()),
        "bracket_s": float(np.median(width_s)) if width_s.size else None,
        "answer_s": float((polls if len(polls) else took_s).median()),
    }
    return _Group(
        stories, facts, group["polls"].to_numpy(dtype=np.int64)[played], np.where(ended, lived_s, math.inf)[played]
    )


def weights(lower_s: Floats, upper_s: Floats) -> Floats:
    """The share of all operations that each stands for; they add up to 1.

    The steps of the Kaplan-Meier curve with events at ``upper_s``, and where that is infinite censored at
    ``lower_s``; what the curve leaves belongs to those censored after its last event.
    """
    ended = np.isfinite(upper_s)
    times = np.where(ended, upper_s, lower_s)
    curve = kaplan_meier(times, ended)
    steps = -np.diff(np.concatenate([[1.0], curve.survival])) / np.maximum(curve.events, 1)
    found = np.where(ended, steps[np.searchsorted(curve.times, times)], 0.0)
    left = ~ended & (times >= times[ended].max(initial=0.0))
    found[left] = curve.survival[-1] / max(int(left.sum()), 1)
    return found


def _instructions(accepted_us: Ints, played: Flags, told: pd.DataFrame) -> tuple[Ints, Floats, Floats, Floats]:
    """The instructions of the pending answers of those operations that are played, as :class:`Stories` has them."""
    pending = told[(told["state"] == "pending") & played[told["owner"].to_numpy()]]
    owner = pending["owner"].to_numpy(dtype=np.int64)
    told_s = np.maximum((pending["end_us"].to_numpy(dtype=np.int64) - accepted_us[owner]) / 1e6, 0.0)
    usual = Tolerance()
    dated = pending["klass"].fillna("").str.startswith(("date", "poll-after")).to_numpy(dtype=np.bool_)
    count = int(played.sum())
    nothing = np.full(count, math.nan)
    owners = np.concatenate([np.arange(count), np.cumsum(played)[owner] - 1])
    times = np.concatenate([np.full(count, -1.0), told_s])
    asked = np.concatenate([nothing, pending["asked_s"].to_numpy(dtype=np.float64)])
    slack = np.concatenate([nothing, np.where(dated, usual.date_s, usual.delay_s)])
    order = np.lexsort((times, owners))
    first = np.searchsorted(owners[order], np.arange(count + 1))
    return first.astype(np.int64), times[order], asked[order], slack[order]


def _recorded(found: _Group, done_s: Floats, weight: Floats) -> dict[str, Any]:
    """What the clients did: their own polls, and when they learnt of the end."""
    rounds = done_s.size // found.polls.size
    polls = np.tile(found.polls, rounds)
    late_s = np.where(np.isfinite(found.lived_s), found.lived_s, 0.0)

    def since(end_s: Floats) -> Floats:
        known = np.isfinite(end_s)
        return np.where(known, np.tile(late_s, rounds) - np.where(known, end_s, 0.0), math.inf)

    lower_s = np.where(np.isfinite(found.stories.upper_s), found.stories.lower_s, math.inf)
    bounds_s = [since(np.tile(end_s, rounds)) for end_s in (found.stories.upper_s, lower_s)]
    nothing = np.zeros(done_s.size, dtype=np.int64)
    return _summary(Played(polls, polls, polls, since(done_s), bounds_s[0], bounds_s[1], nothing, nothing), weight)


def _summary(played: Played, weight: Floats) -> dict[str, Any]:
    rated = _mean(played.rated, weight)
    row = {
        "polls": _mean(played.polls, weight),
        "polls_low": _mean(played.polls_low, weight),
        "polls_high": _mean(played.polls_high, weight),
        "compliance": _mean(played.obeyed, weight) / rated if rated > 0 else None,
        "unended": _mean(np.isinf(played.added_s), weight),
    }
    for end, values in (("", played.added_s), ("_low", played.added_low_s), ("_high", played.added_high_s)):
        row |= {f"added_p{p}{end}_s": found for p, found in zip((50, 95), _quantiles(values, weight), strict=True)}
    return row


def _mean(values: Ints | Flags, weight: Floats) -> float:
    return float((weight * values).sum() / weight.sum())  # not @, whose last digit is the machine's


def _quantiles(values: Floats, weight: Floats) -> list[float | None]:
    """The 50 and 95 % quantiles: the smallest value that so much of the weight does not exceed; None where infinite."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    # A sum of shares may miss a round one by a rounding.
    places = np.minimum(np.searchsorted(reached, np.array([0.50, 0.95]) * reached[-1] - 1e-9), values.size - 1)
    found = values[order][places].tolist()
    return [value if math.isfinite(value) else None for value in found]
