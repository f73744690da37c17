"""The recording's exchanges and the replay's, each beside its counterpart, with what was measured of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from polltape.exchange import Exchange
from polltape.replay.case import ABOUT_THE_WHOLE, Target, place_order, places_of, targets_of
from polltape.replay.difference import Pair
from polltape.replay.plan import Lifetime, plan

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

_ABOUT_A_HOST: Final = frozenset({"PN003", "ST001", "ST002"})
_BACKWARDS: Final = "OP006"
_POLLED_ON: Final = "OP004"


@dataclass(frozen=True, slots=True)
class Side:
    """An exchange, and what was measured of it, in seconds of the recording.

    ``at_s``: since the first exchange, idle stretches cut.  ``waited_s``: since the answer that it came upon;
    ``elapsed_s``: on the clock of the operation under way; None without one.  ``verdict``: of the wait that its
    answer asked for.  ``findings``: the codes of those that it is the last proof of.
    """

    exchange: Exchange
    at_s: float
    waited_s: float | None = None
    elapsed_s: float | None = None
    verdict: str | None = None
    findings: tuple[str, ...] = ()


def sides_of(exchanges: Sequence[Exchange], analysis: Analysis) -> dict[str, Side]:
    """Every exchange of a capture (by request start) by its id, given the capture's analysis."""
    if not exchanges:
        return {}
    verdicts: dict[str, str] = dict(zip(analysis.waits["exchange_id"], analysis.waits["verdict"], strict=True))
    found = _findings(analysis)
    return {
        step.exchange.exchange_id: Side(
            step.exchange,
            step.at_s,
            None if step.behind is None else step.gap_s,
            None if step.anchor is None else step.elapsed_s,
            verdicts.get(step.exchange.exchange_id),
            tuple(sorted(found.get(step.exchange.exchange_id, ()))),
        )
        for step in plan(exchanges, lifetimes_of(exchanges, analysis))
    }


def lifetimes_of(exchanges: Iterable[Exchange], analysis: Analysis) -> list[Lifetime]:
    """Every operation of an analysis as the plan wants it.

    One whose state went backwards lasts until then, and until it was last polled: all that has its place on the
    operation's clock.
    """
    known = {exchange.exchange_id: exchange for exchange in exchanges}
    findings = analysis.findings
    fell_back = set(findings["operation"][findings["code"] == _BACKWARDS])
    afterwards = findings["code"].isin((_BACKWARDS, _POLLED_ON)) & findings["operation"].isin(fell_back)
    beyond: list[Any] = list(findings[afterwards].itertuples())
    later: defaultdict[str, list[str]] = defaultdict(list)
    for finding in beyond:
        later[finding.operation] += finding.exchanges
    rows: list[Any] = list(analysis.operations.itertuples())
    found = []
    for row in rows:
        members = [known[name] for name in (*row.exchanges, *later[row.id])]
        start, end = min(e.request_started_at for e in members), max(e.last_instant for e in members)
        found.append(Lifetime(row.exchanges[0], bool(row.truncated), start, end))
    return found


def _findings(analysis: Analysis) -> dict[str, set[str]]:
    """The codes of findings about single exchanges, by the last that proves them."""
    found: dict[str, set[str]] = {}
    rows: list[Any] = list(analysis.findings.itertuples())
    for row in rows:
        if row.code not in ABOUT_THE_WHOLE | _ABOUT_A_HOST and len(row.exchanges):
            found.setdefault(row.exchanges[-1], set()).add(row.code)
    return found


# --------------------------------------------------------------------------------------------- pairing


def pairs_by_step(
    recorded: Mapping[str, Side], replayed: Mapping[str, Side], counterparts: Mapping[str, str], analysis: Analysis
) -> list[Pair]:
    """Each recorded exchange and the one that the same request made in the replay, None where it was not sent.

    ``analysis`` is the recording's.
    """
    names = _named(targets_of(analysis, analysis.operations["id"]), analysis)
    pairs = []
    for name, side in recorded.items():
        operation, place = names.get(name, (None, "beside"))
        pairs.append(Pair(operation, place, side, replayed.get(counterparts.get(name, ""))))
    return pairs


def pairs_by_place(
    recorded: Mapping[str, Side],
    replayed: Mapping[str, Side],
    operations: Iterable[tuple[Target, Target | None]],
    analyses: tuple[Analysis, Analysis],
) -> list[Pair]:
    """For two clients of their own: submit beside submit, n-th poll beside n-th poll, for each two operations."""
    pairs = []
    for old, new in operations:
        ours = _places([old], analyses[0])
        theirs = {} if new is None else _places([new], analyses[1])
        for place in sorted({*ours, *theirs}, key=place_order):
            one, other = ours.get(place), theirs.get(place)
            sides = None if one is None else recorded.get(one), None if other is None else replayed.get(other)
            if any(sides):
                pairs.append(Pair(old.operation_id, place, *sides))
    return pairs


def beside(recorded: Iterable[Target], replayed: Iterable[Target]) -> list[tuple[Target, Target | None]]:
    """The n-th recorded operation of a kind beside the n-th of that kind that a client began."""
    waiting: dict[tuple[str, str | None], list[Target]] = {}
    for target in replayed:
        waiting.setdefault((target.protocol, target.kind), []).append(target)
    pairs: list[tuple[Target, Target | None]] = []
    for old in recorded:
        left = waiting.get((old.protocol, old.kind))
        pairs.append((old, left.pop(0) if left else None))
    return pairs


def _places(targets: Iterable[Target], analysis: Analysis) -> dict[str, str]:
    return {place: name for name, (_, place) in _named(targets, analysis).items()}


def _named(targets: Iterable[Target], analysis: Analysis) -> dict[str, tuple[str | None, str]]:
    """For each member of these operations the operation and its place there; the first where there are several."""
    found: dict[str, tuple[str | None, str]] = {}
    for target, places in places_of(analysis, targets):
        for name, place in places.items():
            found.setdefault(name, (target.operation_id, place))
    return found
