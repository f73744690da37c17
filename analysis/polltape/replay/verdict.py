"""The answer: is what was found in the recording found again in what the replay recorded, and by whom?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from polltape.replay.case import Case, Named, Target, in_order, named_in, renamed, targets_of

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

By = Literal["recording", "client", "target"]
Standing = Literal["again", "missing", "new"]
SCHEMA: Final = "polltape.replay/1"
ANYWHERE: Final = "anywhere"
"""The place of a client's findings: another run polls at other instants, so places are not compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A finding of the recording (``again`` or ``missing``), or one that only the replay has (``new``)."""

    standing: Standing
    finding: Named


@dataclass(frozen=True, slots=True)
class Life:
    """How an operation went in the recording, and in the replay; None where there it has no counterpart."""

    protocol: str
    kind: str | None
    recorded_id: str | None
    recorded_outcome: str | None
    recorded_statuses: tuple[int | None, ...] | None
    replayed_id: str | None = None
    replayed_outcome: str | None = None
    replayed_statuses: tuple[int | None, ...] | None = None

    @property
    def went_alike(self) -> bool:
        """Whether outcome and statuses are those of the recording."""
        return (self.recorded_outcome, self.recorded_statuses) == (self.replayed_outcome, self.replayed_statuses)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reproduced``: every finding that the case names appears again (all of none, where it names none)."""

    by: By
    compared: tuple[Compared, ...]
    lives: tuple[Life, ...]
    exchanges: int

    @property
    def reproduced(self) -> bool:
        """Whether all of them were there again."""
        return not any(c.standing == "missing" for c in self.compared)

    @property
    def named(self) -> int:
        """How many findings the case names."""
        return sum(c.standing != "new" for c in self.compared)


def judge(case: Case, analysis: Analysis, counterparts: dict[str, str], by: By) -> Verdict:
    """The verdict on requests that were the recording's own.

    ``analysis`` is the replay's; ``counterparts``: for each recorded exchange that was sent again the id of the
    new one.  Findings are the same where operation, code and place are.
    """
    every = targets_of(analysis, analysis.operations["id"])
    holder = {name: target for target in every for name in target.exchanges}
    pairs = [(old, _counterpart(old, counterparts, holder)) for old in case.targets]
    names = {new.operation_id: old.operation_id for old, new in pairs if new is not None}
    found = renamed(named_in(analysis, [new for _, new in pairs if new is not None]), names)
    lives = tuple(_lives(case, pairs, analysis))
    return Verdict(by, tuple(compare(case.findings, found)), lives, analysis.exchanges)


def judge_client(case: Case, analysis: Analysis) -> Verdict:
    """The verdict on a client of its own: codes are compared, in every operation of the same protocol and kind."""
    like = like_ours(case, analysis)
    found = [Named("", named.code, ANYWHERE, named.message) for named in named_in(analysis, like)]
    expected = [Named("", named.code, ANYWHERE, named.message) for named in case.findings]
    lives = tuple(_lives(case, [(old, None) for old in case.targets], analysis, like))
    return Verdict("client", tuple(compare(expected, found)), lives, analysis.exchanges)


def like_ours(case: Case, analysis: Analysis) -> list[Target]:
    """The operations of a client's run that are of the case's protocols and kinds."""
    kinds = {(target.protocol, target.kind) for target in case.targets}
    every = targets_of(analysis, analysis.operations["id"])
    return [target for target in every if (target.protocol, target.kind) in kinds]


def compare(expected: Sequence[Named], found: Sequence[Named]) -> list[Compared]:
    """Each expected finding once, again or missing, then the new ones."""
    there = {named.identity: named for named in reversed(found)}
    known = {named.identity: named for named in reversed(expected)}
    old = [
        Compared("again", there[named.identity]) if named.identity in there else Compared("missing", named)
        for named in sorted(known.values(), key=in_order)
    ]
    return old + [
        Compared("new", named) for named in sorted(there.values(), key=in_order) if named.identity not in known
    ]


def _counterpart(old: Target, counterparts: dict[str, str], holder: dict[str, Target]) -> Target | None:
    """The operation that the same submit began in the replay."""
    new = counterparts.get(old.exchanges[0])
    found = None if new is None else holder.get(new)
    return found if found is not None and found.exchanges[0] == new else None


def _lives(
    case: Case, pairs: Iterable[tuple[Target, Target | None]], analysis: Any, others: Iterable[Target] = ()
) -> Iterator[Life]:
    """Of the case's operations beside their counterparts, then of ``others``, which have none in it."""
    recorded = {exchange.exchange_id: exchange.status for exchange in case.exchanges}
    table = analysis.operations
    replayed = {name: tuple(map(_whole, found)) for name, found in zip(table["id"], table["statuses"], strict=True)}

    def now(new: Target | None) -> tuple[Any, Any, Any]:
        return (None, None, None) if new is None else (new.operation_id, new.outcome, replayed[new.operation_id])

    for old, new in pairs:
        then = (old.operation_id, old.outcome, tuple(recorded[name] for name in old.exchanges))
        yield Life(old.protocol, old.kind, *then, *now(new))
    for new in others:
        yield Life(new.protocol, new.kind, None, None, None, *now(new))


def _whole(status: Any) -> int | None:
    return None if status is None else int(status)
