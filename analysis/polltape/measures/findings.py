"""Findings: each fact worth a person's attention, with its code, whose fault it is, and the proof.

A rule is a function from the tables to drafts (:mod:`polltape.measures.drafts`); the table ``RULES`` lists them.
What a draft leaves open (fault, request ids, the instant) is filled in once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from polltape.measures.answers import ACCEPTED, on_checkout
from polltape.measures.codes import CODES
from polltape.measures.drafts import Draft, drafted, drafted_lists, in_seconds, together, told
from polltape.measures.pending_share import EXCEPTIONS
from polltape.measures.queue import QUEUE, ignored_waits, misjudged
from polltape.measures.statistics import Ints
from polltape.measures.statuses import DOCUMENTED, fault, meaning
from polltape.measures.words import counted, seconds, shortened
from polltape.operations.columns import (
    NONE,
    among,
    as_lists,
    at,
    called,
    called_by,
    flags,
    in_turn,
    ints,
    joined,
    known,
    listed,
    narrow,
    ranked,
    small,
    spelled,
    whole,
)
from polltape.operations.governed import UNDER_WAY_US, Requests, rows_after
from polltape.operations.lives import Lives
from polltape.operations.shapes import over
from polltape.operations.tables import connection_of, framed, give_back, lent, records, run
from polltape.operations.timeline import Timeline, endpoint_names
from polltape.operations.waits import Openers, Tolerance, microseconds
from polltape.protocols import par_posnext, protocol_named
from polltape.protocols.instruction import CLASSES

FINDING_COLUMNS: Final = [
    *("code", "fault", "message", "operation", "exchanges", "request_ids", "api_versions", "at_us"),
    *("host", "endpoint"),
]
"""``host`` and ``endpoint`` (``METHOD template``) are those of the last exchange that a finding names."""
BY_REQUEST: Final = frozenset({"RA001", "RA002", "RA006", "RA007", "CQ001", "CQ002", "CQ004", "OP004", "OP005"})
"""Codes about a request of the client: ``at`` is its start; for the others the response end of the last exchange."""

PAR: Final = par_posnext.NAME
EXCEPTION_FROM_WRITES: Final = 20
"""PN003 is silent about hosts with fewer writes than this."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the rules read.

    ``openers``: every response that could open a wait, usable or not.  ``journeys``: those through the queue.
    """

    timeline: Timeline
    lives: Lives
    waits: pd.DataFrame
    openers: Openers
    journeys: pd.DataFrame
    tolerance: Tolerance = field(default_factory=Tolerance)
    stuck_after_s: dict[str, float] = field(default_factory=dict)

    def stuck_after(self, protocol: str) -> float:
        """OP001's threshold in seconds: the user's, else the protocol's own."""
        known = protocol_named(protocol)
        return self.stuck_after_s.get(protocol, known.stuck_after_s if known else 300.0)


def findings(evidence: Evidence) -> pd.DataFrame:
    """Every finding by instant, then code and exchange; columns :data:`FINDING_COLUMNS`."""
    drafts = together(_drafts(evidence))
    exchanges = evidence.timeline.exchanges
    offsets, named = listed(whole(drafts["exchanges"]))
    rows, ends = ints(named), offsets[1:]
    about, first = rows[ends - 1], rows[offsets[:-1]]
    code = small(drafts["code"].dictionary_encode())
    drafts = drafts.drop_columns("code")
    by_request = among(code, BY_REQUEST)
    latest = over(np.maximum, ints(exchanges["end_us"])[rows], offsets[:-1])
    at_us = np.where(by_request, ints(exchanges["start_us"])[about], latest)
    ids = evidence.timeline.ids
    faults = pa.array([CODES[name].fault for name in code.dictionary.to_pylist()], pa.string()).dictionary_encode()
    order = at(_in_order(at_us, code, lambda which: called(first[which], ids)))
    columns: dict[str, Any] = {
        "code": code,
        "fault": small(faults.take(code.indices)),
        "message": drafts["message"],
        "operation": evidence.lives.ids(ints(drafts["operation"], NONE)),
        "exchanges": as_lists(offsets, called(rows, ids)),
        "request_ids": _request_ids(evidence.timeline, rows, offsets),
        "api_versions": _each_once(exchanges["api_version"].take(at(rows)), offsets),
        "at_us": at(at_us),
        "host": exchanges["host"].take(at(about)),
        "endpoint": endpoint_names(exchanges.select(["method", "endpoint"]).take(at(about))),
    }
    del drafts
    found = pa.table({name: columns.pop(name).take(order) for name in FINDING_COLUMNS})
    give_back()
    return framed(found, names=["operation"], categories=True)


def _drafts(evidence: Evidence) -> Iterator[Draft | pa.Table]:
    """What the rules find; what each laid out beside goes back."""
    for rule in RULES:
        yield from rule(evidence)
        give_back()


def _in_order(at_us: Ints, code: Any, first: Callable[[Ints], Any]) -> Ints:
    """The findings by instant, then code, then the name of the first exchange."""
    number = ranked(code.dictionary)[ints(code.indices)]
    order = np.lexsort((number, at_us))
    fresh = (np.diff(at_us[order], prepend=0) != 0) | (np.diff(number[order], prepend=-1) != 0)
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(fresh)
    return in_turn(place, first)


def _request_ids(timeline: Timeline, rows: Ints, offsets: Ints) -> Any:
    """Of each finding the request ids of its exchanges, as far as they have one."""
    named, which = np.unique(rows, return_inverse=True)
    texts = timeline.request_ids(named)
    there = known(texts)[which]
    kept = np.append(0, np.cumsum(there))
    return as_lists(kept[offsets], called(which[there], texts))


def _each_once(values: Any, offsets: Ints) -> Any:
    """The same with each value once, in order."""
    texts: Any = spelled(whole(values)).dictionary_encode()
    ranks = ranked(texts.dictionary) - 1
    finding = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[known(texts)]
    pairs = np.unique(finding * max(1, len(ranks)) + ranks[ints(texts.indices.drop_null())])
    counts = np.bincount(pairs // max(1, len(ranks)), minlength=len(offsets) - 1)
    names = texts.dictionary.take(at(np.argsort(ranks)))
    return as_lists(np.append(0, np.cumsum(counts)), called(pairs % max(1, len(ranks)), names))


# ------------------------------------------------------------------------------------- Retry-After


def _broken_waits(evidence: Evidence) -> Iterator[pa.Table]:
    """RA001, RA002 (instead of RA001), RA006."""
    columns = ["exchange_id", "next_exchange", "operation", "raw", "asked_s", "waited_s", "verdict"]
    waits = evidence.waits.loc[evidence.waits["verdict"].isin(["early", "late"]), columns]
    late = waits["verdict"] == "late"
    ignored = ~late & (waits["waited_s"].astype(float) * 10 < waits["asked_s"].astype(float))
    for code, which in (("RA006", late), ("RA002", ignored), ("RA001", ~late & ~ignored)):
        some = waits[which]
        if len(some):
            message = _broken(code, some["raw"], some["asked_s"].astype(float), some["waited_s"].astype(float))
            yield drafted(code, message, *_rows(some, "operation", "exchange_id", "next_exchange"))


def _rows(waits: pd.DataFrame, *names: str) -> list[Ints]:
    """Numbers of operations, and rows of exchanges."""
    return [called_by(waits[name]) for name in names]


def _broken(code: str, raw: pd.Series[str], asked_s: pd.Series[float], waited_s: pd.Series[float]) -> Any:
    quoted = told(raw, lambda text: repr(shortened(text)))
    text = ("asked to wait ", in_seconds(asked_s), " (", quoted, "), came back after ", in_seconds(waited_s))
    if code == "RA006":
        return joined(*text, ": ", in_seconds(waited_s - asked_s), " given away")
    if code == "RA002":
        return joined(*text, ": the instruction was ignored")
    return joined(*text, ": ", in_seconds(asked_s - waited_s), " too early")


def _no_instruction(evidence: Evidence) -> Iterator[pa.Table]:
    """RA003: pending in an operation, or throttled, where the protocol documents an instruction, and there is none."""
    exchanges, observed = evidence.timeline.exchanges, evidence.timeline.observations
    unasked = ~known(exchanges["klass"])
    expected = flags(observed["hint_expected"]) & ~flags(observed["throttled"])
    expected &= (unasked & flags(exchanges["ended"]))[ints(observed["row"])]
    if expected.any():
        silent = lent(
            connection_of(evidence.lives.parts),
            "silent",
            observed.select(["row", "protocol"]).filter(pa.array(expected)),
        )
        found = run(_silent, silent, evidence.lives.parts)
        row, number = (found[name].to_numpy(dtype=np.int64) for name in ("row", "number"))
        status = told(ints(exchanges["status"])[row], str)
        text = " shows that the operation is pending, but gives no instruction to wait"
        yield drafted("RA003", joined(status, text), number, row)
    silent_too = evidence.openers.only(evidence.openers.throttles & unasked[evidence.openers.row])
    text = "says that it is throttled, but gives no instruction to wait"
    yield drafted("RA003", text, silent_too.number, silent_too.row)


def _silent(expected: ir.Table, parts: ir.Table) -> ir.Table:
    return expected.join(parts, ["row", "protocol"]).select("row", "number")


def _odd_instructions(evidence: Evidence) -> Iterator[pa.Table]:
    """RA004, RA005."""
    codes = {name: klass.finding for name, klass in CLASSES.items() if klass.finding}
    exchanges = evidence.timeline.exchanges
    opened = evidence.openers.only(among(exchanges["klass"], codes)[evidence.openers.row])
    odd = framed(exchanges.select(["source", "raw", "klass", "lines", "asked_s"]).take(at(opened.row)))
    odd = odd.assign(row=opened.row, number=opened.number)
    alike: Any = odd.groupby(["source", "raw", "klass", "lines", "asked_s"], dropna=False, sort=False)
    for (source, raw, klass, lines, asked_s), group in alike:
        several = f" in {lines} lines" if lines > 1 else ""
        use = "no usable value" if pd.isna(asked_s) else f"read as {seconds(float(asked_s))}"
        text = f"{source}: {shortened(raw)!r} is {klass}{several}, {use}"
        code = "RA005" if lines > 1 else codes[klass]
        yield drafted(str(code), text, group["number"].to_numpy(), group["row"].to_numpy())


def _throttled_host(evidence: Evidence) -> Iterator[pa.Table]:
    """RA007: another method or path of a throttled host before the deadline, and not under way."""
    waits = evidence.waits[evidence.waits["scope"] == "host"]
    exchanges = evidence.timeline.exchanges
    answer = called_by(waits["exchange_id"])
    who = known(exchanges["client"])
    waits, answer = waits[who[answer]], answer[who[answer]]
    if waits.empty:
        return
    server, line, start_us = (ints(exchanges[name]) for name in ("server", "line", "start_us"))
    end_us = waits["end_us"].to_numpy(dtype=np.int64)
    deadline_us = end_us + microseconds(waits["asked_s"].to_numpy(dtype=np.float64))
    slack_us = evidence.tolerance.slack_us(exchanges["tolerance"].take(at(answer)))
    theirs = np.flatnonzero(who & np.isin(server, server[answer]))
    # The waits are in turn: the first of a request's is the one that began first.
    which, sent = Requests(server[theirs], theirs).between(
        server[answer],
        rows_after(exchanges, end_us + UNDER_WAY_US),
        rows_after(exchanges, deadline_us - slack_us - 1),
    )
    found = pd.DataFrame({"wait": which, "sent": sent})[line[answer[which]] != line[sent]]
    found = found.sort_values(["sent", "wait"]).drop_duplicates("sent")
    wait, row = (found[name].to_numpy(dtype=np.int64) for name in ("wait", "sent"))
    left_s = (deadline_us[wait] - start_us[row]) / 1e6
    early = endpoint_names(exchanges.select(["method", "endpoint"]).take(at(row)))
    where = told(early.to_pandas(), _request)
    text = joined(where, " sent to a throttled host ", in_seconds(left_s), " before its deadline")
    yield drafted("RA007", text, called_by(waits["operation"])[wait], answer[wait], row)


def _request(text: str) -> str:
    method, endpoint = text.split(" ", 1)
    return f"{method} {shortened(endpoint)}"


# -------------------------------------------------------------------------------------- operations


def _stuck(evidence: Evidence) -> Iterator[Draft]:
    """OP001."""
    table = evidence.lives.operations
    limit_s = (
        table["protocol"].map({name: evidence.stuck_after(name) for name in table["protocol"].unique()}).astype(float)
    )
    unended = table["ended_us"].isna() & ~table["truncated"].astype(bool) & table["last_pending"].astype(bool)
    stuck = table[unended & (table["lower_s"] >= limit_s)]
    proof = _members(stuck)
    for number, row in enumerate(records(stuck)):
        limit = evidence.stuck_after(row.protocol)
        text = f"still pending after {seconds(row.lower_s)}; {seconds(limit)} is long for {row.protocol}"
        yield Draft("OP001", text, stuck.index[number], proof[number].as_py())


def _members(operations: pd.DataFrame) -> Any:
    """The rows of each operation's exchanges, as lists."""
    offsets, names = listed(whole(operations["exchanges"]))
    return as_lists(offsets, narrow(called_by(names)))


def _abandoned(evidence: Evidence) -> Iterator[pa.Table]:
    """OP002, OP003, CQ003, and OP007 for an operation."""
    operations = evidence.lives.operations
    table = operations[operations["outcome"] == "abandoned"]
    alike = table.groupby(["protocol", "released", "polls", "address", "asked"]).ngroup()
    _, first, which = np.unique(alike, return_index=True, return_inverse=True)
    said = [_left(row) for row in records(table.iloc[first])]  # each says what holds for all that are alike
    codes = np.array([code or "" for code, text in said])
    texts: Any = pa.array([text for code, text in said], pa.string())
    for code in np.unique(codes[codes != ""]):
        some = (codes == code)[which]
        theirs = table[some]
        yield drafted_lists(code, texts.take(at(which[some])), theirs.index.to_numpy(), _members(theirs))


def _left(row: Any) -> tuple[str | None, str]:
    """What it means that the operation was abandoned."""
    known = protocol_named(row.protocol)
    if row.released:
        return "CQ003", "released from the queue, but the request was never sent again"
    if row.polls:
        return "OP002", f"polled {counted(row.polls, 'time')}, then stopped without having seen the end"
    if known is not None and not known.unpolled_is_fault:
        return None, ""
    if row.address or row.asked:
        return "OP003", 'the "not yet" was taken for the answer: nobody ever asked again'
    if known is not None and known.general:
        return None, ""
    return "OP007", "a 202 without address or usable wait, and nobody asked: nothing tells whether work was under way"


def _idle(evidence: Evidence) -> Iterator[Draft]:
    """OP007 for a checkout key that has no operation anywhere: a 202 that its GET gives for ever."""
    outside = evidence.lives.outside
    idle = outside[outside["idle"] & (outside["status"] == ACCEPTED) & (outside["state"] == "pending")]
    ids = evidence.timeline.ids
    for _key, group in idle.groupby("key"):
        text = "GET answers 202, and no write of this checkout is in the capture: it may just be idle"
        rows = np.unique(group["row"].to_numpy())
        by_name = ranked(spelled(called(rows, ids)))
        yield Draft("OP007", text, None, rows[np.argsort(by_name)].tolist())


def _joined(evidence: Evidence) -> Iterator[pa.Table]:
    """OP005."""
    parts = evidence.lives.played
    row, number = ints(parts["row"]), ints(parts["number"])
    joins, submits = (among(parts["role"], [role]) for role in ("join", "submit"))
    submit = np.full(len(evidence.lives.named), NONE)
    submit[number[submits]] = row[submits]
    joins &= submit[number] != NONE
    text = "the same write was sent again while the first was pending"
    yield drafted("OP005", text, number[joins], submit[number[joins]], row[joins])


def _backwards(evidence: Evidence) -> Iterator[Draft]:
    """OP006."""
    for row in _afterwards(evidence, "backwards"):
        yield Draft("OP006", "shown pending again after it had ended", row.number, [int(row.ending), row.row])


def _polled_on(evidence: Evidence) -> Iterator[Draft]:
    """OP004, where the protocol has something to poll that is there for nothing else."""
    for row in _afterwards(evidence, "polled_on"):
        known = protocol_named(row.protocol)
        if known is None or known.polls_after_end:
            text = "polled again although the end had been answered"
            yield Draft("OP004", text, row.number, [int(row.ending), row.row])


def _afterwards(evidence: Evidence, what: str) -> Iterator[Any]:
    table = evidence.lives.afterwards
    table = table[table["what"] == what]
    protocols = evidence.lives.named["protocol"].take(at(table["number"].to_numpy(dtype=np.int64)))
    yield from records(table.assign(protocol=spelled(protocols).to_pylist()))


# ------------------------------------------------------------------------------------------- queue


def _queue(evidence: Evidence) -> Iterator[Draft | pa.Table]:
    """CQ001, CQ002, CQ004."""
    early = ignored_waits(evidence.waits, evidence.lives)
    left_s = (early["asked_s"] - early["waited_s"]).to_numpy(dtype=np.float64)
    text = joined("polled ", in_seconds(left_s), " before pollAfter: the queue ignores such polls")
    yield drafted("CQ001", text, *_rows(early, "operation", "exchange_id", "next_exchange"))
    for row in _afterwards(evidence, "stale"):
        if row.protocol == QUEUE:
            yield Draft("CQ002", "polled with a token that was not the latest", row.number, [row.row])
    bare = list(_afterwards(evidence, "bare"))
    members = _members(evidence.lives.operations.iloc[[row.number for row in bare]])
    for place, row in enumerate(bare):
        text = "the queued request was sent again without its token: its place in the queue is lost"
        yield Draft("CQ004", text, row.number, [members[place][0].as_py(), row.row])


def _estimates(evidence: Evidence) -> Iterator[Draft]:
    """CQ005: the first estimate of how long the queue lasts, against how long it did."""
    for row in records(misjudged(evidence.journeys)):
        text = f"estimated at {seconds(row.eta_s)}, the queue took {seconds(row.eta_s + row.eta_error_s)}"
        yield Draft("CQ005", text, row.number, [row.eta_row, row.release_row])


# ------------------------------------------------------------------------------- what one exchange proves


def _flaws(evidence: Evidence) -> Iterator[Draft]:
    """PN001, PN002, PN004, and whatever else a protocol finds wrong with an exchange alone."""
    observed = evidence.timeline.observations
    counts = ints(pc.list_value_length(whole(observed["flaws"])))
    flawed = observed.select(["row", "flaws"]).filter(pa.array(counts > 0)).to_pylist()
    for each in flawed:
        for flaw in each["flaws"]:
            if flaw["code"] in CODES:
                yield Draft(flaw["code"], flaw["text"], None, [each["row"]])


def _no_exception(evidence: Evidence) -> Iterator[Draft]:
    """PN003: PAR calls 202 an exception; a host where it is none."""
    exchanges, observed = evidence.timeline.exchanges, evidence.timeline.observations
    writing = among(observed["protocol"], [PAR]) & among(observed["role"], ["write"])
    row = np.unique(ints(observed["row"])[writing])
    told = exchanges.select(["host", "status", "ends"]).take(at(row))
    writes = pd.DataFrame({"host": spelled(told["host"]).to_pandas(), "row": row, "ends": ints(told["ends"])})
    accepted = ints(told["status"]) == ACCEPTED
    for host, group in writes.groupby("host", sort=True):
        often = group[accepted[group.index]].sort_values("ends")
        if len(group) >= EXCEPTION_FROM_WRITES and len(often) > EXCEPTIONS[PAR] * len(group):
            text = f"{host} answered {len(often)} of {len(group)} writes with 202, which is to be an exception"
            yield Draft("PN003", text, None, often["row"].tolist())


# ---------------------------------------------------------------------------------------- statuses


def _statuses(evidence: Evidence) -> Iterator[Draft]:
    """ST001, ST002: one for each host, endpoint and status."""
    exchanges = evidence.timeline.exchanges
    status, checkout = ints(exchanges["status"], -1), on_checkout(exchanges["endpoint"])
    suspect = (status >= 400) | (checkout & (status >= 0) & ~np.isin(status, sorted(DOCUMENTED)))
    row = np.flatnonzero(suspect)
    told = exchanges.select(["host", "status", "ends", "method", "endpoint"]).take(at(row))
    columns: dict[str, Any] = {name: told[name] for name in ("host", "status", "ends")}
    columns |= {"endpoint": endpoint_names(told), "checkout": pa.array(checkout[row]), "row": at(row)}
    found = framed(pa.table(columns)).sort_values("ends")
    names: Any
    for names, group in found.groupby(["host", "endpoint", "status", "checkout"], sort=True):
        host, endpoint, code, of_checkout = names
        whose = fault(int(code), checkout=bool(of_checkout))
        if whose is None:
            continue
        times, said = counted(len(group), "time"), meaning(int(code))
        text = f"{shortened(endpoint, 100)} on {host} answered {code} {times}: {said}"
        yield Draft("ST001" if whose == "server" else "ST002", text, None, group["row"].tolist())


Rule = Callable[[Evidence], Iterable[Draft | pa.Table]]
RULES: Final[tuple[Rule, ...]] = (
    _broken_waits,
    _no_instruction,
    _odd_instructions,
    _throttled_host,
    _stuck,
    _abandoned,
    _idle,
    _joined,
    _backwards,
    _polled_on,
    _queue,
    _estimates,
    _flaws,
    _no_exception,
    _statuses,
)
