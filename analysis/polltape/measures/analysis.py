"""All measures of a capture, in one call: :func:`analyse`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from operator import or_
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, Final

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from polltape.errors import InputError
from polltape.exchange import Coverage
from polltape.measures.answers import answered, answers
from polltape.measures.durations import durations
from polltape.measures.findings import Evidence, findings
from polltape.measures.pending_share import pending_shares
from polltape.measures.polling_load import polling
from polltape.measures.queue import journeys, queues
from polltape.measures.retry_after import compliance, every_break_down
from polltape.measures.statuses import statuses
from polltape.measures.suppressions import Suppression
from polltape.measures.throttling import throttling
from polltape.measures.words import counted, iso, shortened
from polltape.operations.columns import NONE, Flags, among, at, called_by, flags, in_turn, ints, listed, where, whole
from polltape.operations.covered import Covered
from polltape.operations.lives import Lives, lives
from polltape.operations.tables import framed, give_back, uncollected
from polltape.operations.timeline import Timeline, endpoint_names, timeline
from polltape.operations.waits import Tolerance, openers, waits

if TYPE_CHECKING:
    from polltape.capture.reading import Capture


MOST_REASONS: Final = 6
"""Why bodies could not be read, at most so many reasons."""
QUERY_MEMORY: Final = "1GB"
"""What queries may hold in memory; more of them goes to a temporary folder."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a capture to measure; None takes all.

    ``since``, ``until``: requests that start in [since, until); coverage is cut to it as well.  ``host``: that
    host only.  ``endpoint``: part of an endpoint template.  ``token``: the pseudonym of a token.  The last two
    select whole operations that have a matching exchange, and matching exchanges outside any operation.
    """

    since: datetime | None = None
    until: datetime | None = None
    host: str | None = None
    endpoint: str | None = None
    tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set: tolerances, and OP001's thresholds in seconds by protocol."""

    tolerance: Tolerance = field(default_factory=Tolerance)
    stuck_after_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Analysis:
    """The measures of a capture as pandas tables; the columns are those of the JSON contract.

    Instants are ``*_us`` columns, microseconds since 1970 (UTC).  ``timeline`` has one row for each exchange
    that an operation or a finding names: exchange_id, method, endpoint, url, status, error, start_us,
    response_start_us, end_us, source, raw, klass, asked_s, request_id, and operation, role and state, null
    outside any operation.  ``under_way``: the pending shares by how many requests were under way.
    ``suppressed``: how many findings each suppression has hidden.
    """

    exchanges: int
    skipped: int
    from_us: int | None
    to_us: int | None
    sources: tuple[str, ...]
    warnings: tuple[str, ...]
    coverage: tuple[Coverage, ...]
    statuses: pd.DataFrame
    operations: pd.DataFrame
    durations: pd.DataFrame
    waits: pd.DataFrame
    compliance: pd.DataFrame
    findings: pd.DataFrame
    timeline: pd.DataFrame
    journeys: pd.DataFrame = field(default_factory=pd.DataFrame)
    queues: pd.DataFrame = field(default_factory=pd.DataFrame)
    throttling: pd.DataFrame = field(default_factory=pd.DataFrame)
    polling: pd.DataFrame = field(default_factory=pd.DataFrame)
    pending_shares: pd.DataFrame = field(default_factory=pd.DataFrame)
    under_way: pd.DataFrame = field(default_factory=pd.DataFrame)
    suppressed: tuple[tuple[Suppression, int], ...] = ()

    @property
    def breakdowns(self) -> pd.DataFrame:
        """Compliance by everything that it can be broken down by; made when it is asked for."""
        return every_break_down(self.waits)


def analyse(
    capture: Capture, *, selection: Selection | None = None, settings: Settings | None = None, steps: bool = True
) -> Analysis:
    """Measure a capture.

    ``steps``: with the timeline; without it that is empty, and a large capture is measured sooner.  Raises InputError
    where a file turns out to be unreadable behind its footer, and where memory or disk do not suffice.
    """
    import duckdb  # the errors only: Ibis has loaded it by now

    with TemporaryDirectory(prefix="polltape-", ignore_cleanup_errors=True) as spilled, uncollected():
        connection = ibis.duckdb.connect(memory_limit=QUERY_MEMORY, temp_directory=spilled)
        try:
            return _analyse(connection, capture, selection or Selection(), settings or Settings(), steps=steps)
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise InputError(
                f"{', '.join(capture.sources)}: too much to measure at once with the memory and the disk that there is",
                hint=f"measure a part of it (--since, --until, --host), or make room: DuckDB may hold {QUERY_MEMORY}"
                f" in memory and puts the rest into {gettempdir()} (set TMPDIR to have it elsewhere)",
            ) from error
        except duckdb.Error as error:
            first_line = str(error).splitlines()[0]
            raise InputError(
                f"cannot read {', '.join(capture.sources)}: {first_line}",
                hint="a file may be damaged or still being copied; leave it out, or record again",
            ) from error
        finally:
            connection.disconnect()


def _analyse(connection: Any, capture: Capture, selection: Selection, settings: Settings, *, steps: bool) -> Analysis:
    entire = timeline(capture)
    moved_clock = [
        f"the recorder's clock was set by {moved:+.3f} s at {iso(at)} (session {session}); its monotonic clock is used"
        for session, at, moved in entire.steps
    ]
    covered = [_cut(c, selection) for c in capture.coverage]
    inside = Covered(covered)
    seen = _selected(connection, entire, selection, inside)
    del entire
    found = lives(connection, seen, inside)
    seen = seen.unlinked()
    give_back()
    with ThreadPoolExecutor(max_workers=1) as second:  # measures that do not need each other, on a second core

        def beside[Found](measure: Callable[[], Found]) -> Future[Found]:
            return second.submit(_freed, measure)

        told_of = beside(lambda: answered(seen))
        lasted = beside(lambda: durations(found.operations, found.at_once))
        counts = beside(lambda: answers(told_of.result()))
        shared = beside(lambda: pending_shares(told_of.result(), counts.result()))
        opening = openers(seen, found)
        give_back()
        kept_waits = waits(seen, opening, found, inside, settings.tolerance)
        seen = seen if steps else seen.judged()
        give_back()
        obeyed = beside(lambda: compliance(kept_waits))
        load = beside(lambda: polling(seen, found, kept_waits, counts.result()))
        travelled = journeys(seen, found, kept_waits)
        evidence = Evidence(
            timeline=seen,
            lives=found,
            waits=kept_waits,
            openers=opening,
            journeys=travelled,
            tolerance=settings.tolerance,
            stuck_after_s=settings.stuck_after_s,
        )
        found_out = findings(evidence)
        told = _told(seen, found, found_out) if steps else pd.DataFrame(columns=_STEPS)
    shares, under_way = shared.result()
    return Analysis(
        exchanges=len(seen.exchanges),
        skipped=capture.skipped,
        from_us=pc.min(seen.exchanges["start_us"]).as_py(),
        to_us=pc.max(seen.exchanges["end_us"]).as_py(),
        sources=capture.sources,
        warnings=(*capture.warnings, *_unread(seen.exchanges), *moved_clock),
        coverage=tuple(covered),
        statuses=statuses(counts.result()),
        operations=found.operations,
        durations=lasted.result(),
        waits=kept_waits,
        compliance=obeyed.result(),
        findings=found_out,
        timeline=told,
        journeys=travelled,
        queues=queues(travelled),
        throttling=throttling(told_of.result(), found, kept_waits, found_out, counts.result()),
        polling=load.result(),
        pending_shares=shares,
        under_way=under_way,
    )


def _freed[Found](measure: Callable[[], Found]) -> Found:
    """What a measure finds; what it laid out beside goes back."""
    found = measure()
    give_back()
    return found


def _unread(exchanges: pa.Table) -> list[str]:
    """That bodies could not be read, and why, in one line."""
    reasons = Counter[str]()
    for name in ("request_unread", "answer_unread"):
        told: Any = exchanges[name].drop_null().value_counts()
        reasons.update({row["values"]: row["counts"] for row in told.to_pylist()})
    if not reasons:
        return []
    times = counted(reasons.total(), "body", "bodies")
    most = sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))[:MOST_REASONS]
    why = ", ".join(f"{count} {shortened(reason)}" for reason, count in most)
    return [f"{times} could not be read ({why}): status and headers alone tell what those exchanges are"]


def _selected(connection: Any, seen: Timeline, selection: Selection, covered: Covered) -> Timeline:
    """What the selection takes."""
    if (selection.since, selection.until, selection.host) != (None, None, None):
        seen = seen.only(_between(seen.exchanges, selection))
    if selection.endpoint is None and not selection.tokens:
        return seen
    matching = _matching(seen, selection.endpoint, selection.tokens)
    return seen.only(matching | _whole(lives(connection, seen, covered), matching))


def _between(exchanges: pa.Table, selection: Selection) -> Flags:
    """The exchanges of the host that start between the instants."""
    start_us = ints(exchanges["start_us"])
    which = np.ones(len(exchanges), np.bool_)
    if selection.since is not None:
        which &= start_us >= _us(selection.since)
    if selection.until is not None:
        which &= start_us < _us(selection.until)
    if selection.host is not None:
        which &= among(exchanges["host"], [selection.host.lower()])
    return which


def _matching(seen: Timeline, endpoint: str | None, tokens: tuple[str, ...]) -> Flags:
    """The exchanges that the selection names themselves."""
    exchanges = seen.exchanges
    which = np.ones(len(exchanges), np.bool_)
    if endpoint is not None:
        which &= where(endpoint_names(exchanges), lambda names: pc.match_substring(names, endpoint))
    if tokens:
        urls = seen.urls(np.arange(len(exchanges)))
        which &= _named(seen, tokens) | reduce(or_, [flags(pc.match_substring(urls, token)) for token in tokens])
    return which


def _named(seen: Timeline, tokens: tuple[str, ...]) -> Flags:
    """Which exchanges have one of the tokens as a part of a key."""
    named = np.zeros(len(seen.exchanges), np.bool_)
    parts = pc.split_pattern(seen.names, "|")
    known = np.array([any(token in key for token in tokens) for key in parts.to_pylist()], np.bool_)
    for name in ("keys", "issued"):
        offsets, keys = listed(whole(seen.observations[name]))
        owner = np.repeat(ints(seen.observations["row"]), np.diff(offsets))
        named[owner[known[ints(keys)]]] = True
    return named


def _whole(found: Lives, matching: Flags) -> Flags:
    """The exchanges of operations that have a matching one."""
    row, number = (ints(found.played[name]) for name in ("row", "number"))
    chosen = np.zeros(len(found.named), np.bool_)
    chosen[number[matching[row]]] = True
    which = np.zeros(len(matching), np.bool_)
    which[row[chosen[number]]] = True
    return which


def _cut(coverage: Coverage, selection: Selection) -> Coverage:
    start = max(coverage.started_at, selection.since or coverage.started_at)
    end = min(coverage.ended_at, selection.until or coverage.ended_at)
    return replace(coverage, started_at=start, ended_at=max(start, end))


def _told(seen: Timeline, found: Lives, found_out: pd.DataFrame) -> pd.DataFrame:
    """One row for each exchange of an operation, and for each other one that a finding names (role null)."""
    exchanges, parts = seen.exchanges, found.played
    played = ints(parts["row"])
    beside = np.zeros(len(exchanges), np.bool_)
    beside[called_by(listed(whole(found_out["exchanges"]))[1])] = True
    beside[played] = False
    others = np.flatnonzero(beside)
    part = np.append(np.arange(len(played)), np.full(len(others), NONE))
    row = np.append(played, others)
    rows, played_in = exchanges.take(at(row)), parts.take(at(part, part == NONE))
    told: dict[str, Any] = {name: rows[name] for name in _OF_EXCHANGE}
    told |= {"url": seen.urls(row), **{name: rows[name] for name in _OF_ANSWER}}
    told |= {"request_id": seen.request_ids(row)}
    told |= {"operation": found.ids(ints(played_in["number"], NONE)), "role": played_in["role"]}
    told |= {"state": played_in["state"]}
    order = in_turn(ints(rows["start_us"]), lambda tied: rows["exchange_id"].take(at(tied)))
    return framed(pa.table(told).take(at(order))).astype({"status": "Int64", "response_start_us": "Int64"})


_OF_EXCHANGE: Final = ("exchange_id", "host", "method", "endpoint", "status", "error")
_OF_ANSWER: Final = (
    *("start_us", "response_start_us", "end_us"),
    *("source", "raw", "klass", "asked_s"),
)
_STEPS: Final = (*_OF_EXCHANGE, "url", *_OF_ANSWER, "request_id", "operation", "role", "state")


def _us(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)
