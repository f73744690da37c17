"""A case: some operations of a capture, whatever they depend on, and the findings that are to appear again.

A bug report is a case with one operation; a capture makes one of as many as the user wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from polltape.capture.reading import Capture, read_exchanges
from polltape.errors import InputError, UsageError
from polltape.exchange import Coverage, Exchange, to_table
from polltape.measures.analysis import analyse
from polltape.operations.links import components
from polltape.replay.origins import sources

if TYPE_CHECKING:
    from polltape.measures.analysis import Analysis

WHOLE: Final = "operation"
"""The place of a finding about the operation as a whole."""
ABOUT_THE_WHOLE: Final = frozenset({"OP001", "OP002", "OP003", "OP007", "CQ003", "CQ005"})
"""The codes whose place is the operation as a whole."""
NEED_A_KEY: Final = frozenset({"PN002"})
"""The codes that are found only with PAR's SharedId."""


@dataclass(frozen=True, slots=True, order=True)
class Named:
    """A finding by operation, code and place.

    ``place``: ``operation``, or the exchange that the finding is about, by the role it plays there and its
    number among those of that role: ``submit``, ``poll 2``, ``join 1``.  ``message`` is for people.
    """

    operation: str
    code: str
    place: str
    message: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two findings the same."""
        return self.operation, self.code, self.place


@dataclass(frozen=True, slots=True)
class Target:
    """An operation of the case: its id, what it is, how it ended, and its exchanges' ids, the submit first."""

    operation_id: str
    protocol: str
    kind: str | None
    outcome: str
    exchanges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Exchanges by request start, the operations among them that matter, and what was found in these.

    ``left_out``: findings of the whole capture that these exchanges alone do not show.  ``analysis``: of these
    exchanges, where it was made already.
    """

    exchanges: tuple[Exchange, ...]
    targets: tuple[Target, ...]
    findings: tuple[Named, ...]
    coverage: tuple[Coverage, ...]
    left_out: tuple[Named, ...] = ()
    analysis: Analysis | None = field(default=None, compare=False, repr=False)

    def measured(self) -> Analysis:
        """What was measured of the recording."""
        return self.analysis or analyse(self.capture())

    def capture(self) -> Capture:
        """The case as a capture in memory."""
        return in_memory(self.exchanges, self.coverage)

    @property
    def tail_s(self) -> float:
        """For how long the recording went on after the last exchange, in seconds."""
        last = max(exchange.last_instant for exchange in self.exchanges)
        ends = [c.ended_at for c in self.coverage if c.started_at <= last]
        return max((end - last).total_seconds() for end in (*ends, last))


def in_memory(exchanges: Iterable[Exchange], coverage: Iterable[Coverage]) -> Capture:
    """A capture that no file holds; the exchanges are redacted and observed."""
    return Capture(
        files=(), table=to_table(exchanges), coverage=tuple(coverage), skipped=0, sources=("a replay",), warnings=()
    )


# ------------------------------------------------------------------------------------------- choosing


def judgeable(case: Case, *, with_key: bool) -> tuple[Case, tuple[str, ...]]:
    """The case with those findings that can be found again in answers of a server, and a note of the others.

    Whether PAR's digest is right only PAR's SharedId tells, ``with_key``.  Raises UsageError where nothing is left.
    """
    kept = tuple(found for found in case.findings if with_key or found.code not in NEED_A_KEY)
    if len(kept) == len(case.findings):
        return case, ()
    codes = ", ".join(sorted({found.code for found in case.findings} & NEED_A_KEY))
    said = f"{codes}: without PAR's SharedId nobody can tell whether a digest is right"
    if not kept:
        raise UsageError(said, hint="give it: --par-key env:NAME, or a file")
    return replace(case, findings=kept), (f"{said}; left aside (--par-key)",)


def find_operation(known: Sequence[str], wanted: str) -> str:
    """The one operation id that is ``wanted`` or begins with it, with or without its protocol.

    Raises :class:`UsageError` where none or several do.
    """
    if wanted in known:
        return wanted
    found = [name for name in known if wanted and (name.startswith(wanted) or bare(name).startswith(wanted))]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{wanted!r} is the beginning of {len(found)} operations: {listed(found)}", hint="give more of its id"
        )
    near = get_close_matches(bare(wanted), [bare(name) for name in known], n=3, cutoff=0.5)
    nearest = [name for name in known if bare(name) in near] or list(known)
    if not known:
        raise InputError("no operation at all in this capture", hint="`polltape show PATH` tells what it holds")
    raise UsageError(f"no operation {wanted!r}; nearest: {listed(nearest)}", hint="`polltape show PATH` lists them")


def bare(operation_id: str) -> str:
    """The id without its protocol."""
    return operation_id.partition(":")[2] or operation_id


def listed(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def case_of(capture: Capture, wanted: Sequence[str] = ()) -> Case:
    """The case of some operations (their ids or beginnings of these), or of all operations of the capture.

    Of some it holds the exchanges of the same keys that began before their stories were over, those that issued
    what these requests speak of, and those that their findings name.  Raises UsageError and InputError.
    """
    analysis = analyse(capture)
    known = [str(name) for name in analysis.operations["id"]]
    if not known:
        raise InputError(f"no operation in {', '.join(capture.sources)}", hint="there is nothing to replay")
    targets = targets_of(analysis, [find_operation(known, name) for name in wanted] or known)
    exchanges = list(read_exchanges(capture))
    named = named_in(analysis, targets)
    if not wanted:
        return Case(tuple(exchanges), tuple(targets), tuple(named), capture.coverage, analysis=analysis)
    return _checked(_stories(exchanges, targets, analysis), targets, capture.coverage, named)


def _checked(
    exchanges: Sequence[Exchange], targets: Sequence[Target], coverage: Sequence[Coverage], named: Sequence[Named]
) -> Case:
    """The case with those findings that its exchanges alone still show: only they can be asked for again."""
    sessions = {exchange.session_id for exchange in exchanges}
    kept = tuple(c for c in coverage if c.session_id in sessions) or tuple(coverage)
    analysis = analyse(in_memory(exchanges, kept))
    shown = {found.identity for found in named_in(analysis, targets)}
    findings = tuple(found for found in named if found.identity in shown)
    left_out = tuple(found for found in named if found.identity not in shown)
    return Case(tuple(exchanges), tuple(targets), findings, kept, left_out, analysis)


def targets_of(analysis: Analysis, chosen: Iterable[str]) -> list[Target]:
    """The chosen operations of an analysis, in its order."""
    wanted = set(chosen)
    rows: list[Any] = list(analysis.operations.itertuples())
    return [Target(r.id, r.protocol, r.kind, r.outcome, tuple(r.exchanges)) for r in rows if r.id in wanted]


def _proof(analysis: Analysis, target: Target) -> set[str]:
    """The exchanges that the operation's findings name."""
    findings = analysis.findings
    return {name for names in findings["exchanges"][findings["operation"] == target.operation_id] for name in names}


# ------------------------------------------------------------------------------------- what belongs to it


def threads(exchanges: Sequence[Exchange]) -> dict[str, str]:
    """For each exchange the story that it belongs to: exchanges of linked keys share one.

    Keys are linked where one exchange has both, or where one begins with the other (a payment's key with its
    checkout's).  An exchange without keys is a story of its own.
    """
    every = {key for exchange in exchanges for key in keys_of(exchange)}
    edges = [(key, start) for key in every for start in _beginnings(key) if start in every]
    for exchange in exchanges:
        first, *others = [*keys_of(exchange), f"exchange|{exchange.exchange_id}"]
        edges += [(first, other) for other in others]
    names = sorted({name for edge in edges for name in edge})
    number = {name: place for place, name in enumerate(names)}
    ends = np.array([[number[name] for name in edge] for edge in edges], np.int64).reshape(-1, 2)
    linked = dict(zip(names, (names[place] for place in components(ends[:, 0], ends[:, 1], len(names))), strict=True))
    return {e.exchange_id: linked.get(own := f"exchange|{e.exchange_id}", own) for e in exchanges}


def keys_of(exchange: Exchange) -> list[str]:
    """Every key that the exchange asks by or gives out."""
    return [key for observation in exchange.observations for key in (*observation.keys, *observation.issued)]


def _beginnings(key: str) -> list[str]:
    """The shorter keys that this one begins with; ``protocol|authority`` alone is none.

    >>> _beginnings("p|a|t|payments|7")
    ['p|a|t', 'p|a|t|payments']
    """
    parts = key.split("|")
    return ["|".join(parts[:length]) for length in range(3, len(parts))]


def _stories(exchanges: Sequence[Exchange], targets: Sequence[Target], analysis: Analysis) -> list[Exchange]:
    """The exchanges of these operations' stories, and those that issued what is spoken of in them."""
    thread = threads(exchanges)
    chosen: set[str] = set()
    for target in targets:
        chosen |= _story(exchanges, thread, target, _proof(analysis, target))
    issuers = sources(exchanges)
    pending = list(chosen)
    while pending:
        found = set(issuers.get(pending.pop(), ())) - chosen
        chosen |= found
        pending += found
    return [exchange for exchange in exchanges if exchange.exchange_id in chosen]


def _story(exchanges: Sequence[Exchange], thread: dict[str, str], target: Target, proof: set[str]) -> set[str]:
    members = set(target.exchanges)
    own = {thread[name] for name in members}
    over = max(e.last_instant for e in exchanges if e.exchange_id in members | proof)
    if target.outcome == "superseded":
        over = max(over, _superseded_at(exchanges, members))
    beside = {e.exchange_id for e in exchanges if thread[e.exchange_id] in own and e.request_started_at <= over}
    return members | proof | beside


def _superseded_at(exchanges: Sequence[Exchange], members: set[str]) -> Any:
    """When the write began that superseded an operation: the first on its key behind it that is none of it."""
    mine = [e for e in exchanges if e.exchange_id in members]
    keys = {key for e in mine for key in keys_of(e)}
    start = min(e.request_started_at for e in mine)
    return min(
        e.request_started_at
        for e in exchanges
        if e.exchange_id not in members
        and e.last_instant > start
        and any(o.role == "write" and keys & {*o.keys, *o.issued} for o in e.observations)
    )


# ---------------------------------------------------------------------------------------------- findings


def named_in(analysis: Analysis, targets: Iterable[Target]) -> list[Named]:
    """The findings of these operations, each with its place, sorted.

    One that names no operation belongs to every operation whose exchanges it names.
    """
    owned: dict[str, list[Any]] = {}
    homeless: dict[str, list[Any]] = {}
    rows: list[Any] = list(analysis.findings.itertuples())
    for row in rows:
        if isinstance(row.operation, str):
            owned.setdefault(row.operation, []).append(row)
        else:
            for name in row.exchanges:
                homeless.setdefault(name, []).append(row)
    found: set[Named] = set()
    for target, places in places_of(analysis, targets):
        for row in owned.get(target.operation_id, ()):
            place = WHOLE if row.code in ABOUT_THE_WHOLE else places.get(row.exchanges[-1], "beside it")
            found.add(Named(target.operation_id, row.code, place, row.message))
        for row in {id(row): row for name in places for row in homeless.get(name, ())}.values():
            place = next(places[name] for name in row.exchanges if name in places)
            found.add(Named(target.operation_id, row.code, place, row.message))
    return _one_each(sorted(found, key=in_order))


def in_order(found: Named) -> tuple[object, ...]:
    """Findings by operation and code, then by place: ``poll 2`` before ``poll 10``."""
    return found.operation, found.code, place_order(found.place), found.message


def place_order(place: str) -> tuple[bool, str, int]:
    """The submit first, then by role and number."""
    role, _, number = place.rpartition(" ")
    return place != "submit", role, int(number) if number.isdigit() else 0


def _one_each(found: list[Named]) -> list[Named]:
    """Of findings at one place with one code the first."""
    return list({named.identity: named for named in reversed(found)}.values())[::-1]


def places_of(analysis: Analysis, targets: Iterable[Target]) -> Iterator[tuple[Target, dict[str, str]]]:
    """Each operation with the places of its exchanges in it, by their ids."""
    roles: dict[str, dict[str, str]] = {}
    timeline: list[Any] = list(analysis.timeline.itertuples())
    for row in timeline:
        if isinstance(row.operation, str):
            roles.setdefault(row.operation, {})[row.exchange_id] = row.role
    for target in targets:
        yield target, _places(target, roles.get(target.operation_id, {}))


def _places(target: Target, roles: dict[str, str]) -> dict[str, str]:
    counts: dict[str, int] = {}
    places: dict[str, str] = {}
    for name in target.exchanges:
        role = roles.get(name, "exchange")
        counts[role] = counts.get(role, 0) + 1
        places[name] = role if role == "submit" else f"{role} {counts[role]}"
    return places


def renamed(found: Iterable[Named], names: dict[str, str]) -> list[Named]:
    """The findings under other operation ids; those of operations without another name are left out."""
    return [replace(named, operation=names[named.operation]) for named in found if named.operation in names]
