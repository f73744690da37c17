"""Findings: each fact worth a person's attention, with its code, whose fault it is, and the proof.

A rule is a function from the tables to :class:`Draft` rows; the table ``RULES`` lists them.  What a draft
leaves open (fault, request ids, the instant) is filled in once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NamedTuple

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from ibis import _

from polltape.measures.answers import ACCEPTED, on_checkout
from polltape.measures.codes import CODES
from polltape.measures.pending_share import EXCEPTIONS
from polltape.measures.queue import QUEUE, ignored_waits, misjudged
from polltape.measures.statistics import Ints
from polltape.measures.statuses import fault, meaning
from polltape.measures.words import counted, seconds, shortened
from polltape.operations.lives import Lives
from polltape.operations.tables import Query, asked, framed, observations, ordered, records, taken
from polltape.operations.waits import UNDER_WAY_US
from polltape.protocols import par_posnext, protocol_named
from polltape.protocols.instruction import CLASSES

FINDING_COLUMNS: Final = ["code", "fault", "message", "operation", "exchanges", "request_ids", "api_versions", "at_us"]
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

    connection: Any
    rows: ir.Table
    lives: Lives
    waits: pd.DataFrame
    openers: ir.Table
    members: ir.Table
    journeys: pd.DataFrame
    stuck_after_s: dict[str, float] = field(default_factory=dict)

    def ask(self, query: Query, *tables: ir.Table, by: Sequence[str] = (), **given: Any) -> pd.DataFrame:
        """What a query results in, in the order of these columns."""
        return framed(ordered(asked(self.connection, query, *tables, **given), by))

    def stuck_after(self, protocol: str) -> float:
        """OP001's threshold in seconds: the user's, else the protocol's own."""
        known = protocol_named(protocol)
        return self.stuck_after_s.get(protocol, known.stuck_after_s if known else 300.0)


class Draft(NamedTuple):
    """A finding before its exchanges are looked up; the last exchange named is the one that it is about."""

    code: str
    message: str
    operation: str | None
    exchanges: list[str]


def findings(evidence: Evidence) -> pd.DataFrame:
    """Every finding by instant, then code and exchange; columns :data:`FINDING_COLUMNS`."""
    drafts = [draft for rule in RULES for draft in rule(evidence)]
    if not drafts:
        return pd.DataFrame(columns=FINDING_COLUMNS)
    ends = np.cumsum([len(draft.exchanges) for draft in drafts])
    proof = _exchanges(evidence, [name for draft in drafts for name in draft.exchanges])
    # Within one finding the latest end counts; a maximum needs no loop.
    latest = np.maximum.reduceat(proof["end_us"].to_numpy(), ends - np.array([len(d.exchanges) for d in drafts]))
    by_request = np.array([draft.code in BY_REQUEST for draft in drafts])
    at_us = np.where(by_request, proof["start_us"].to_numpy()[ends - 1], latest)
    first = pa.array([draft.exchanges[0] for draft in drafts])
    keys = pa.table({"at_us": pa.array(at_us), "code": [draft.code for draft in drafts], "first": first})
    order = pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]).to_numpy()
    requests, versions = _named(proof["request_id"], ends), _named(proof["api_version"], ends)
    ordered = [drafts[place] for place in order]
    return pd.DataFrame(
        {
            "code": [draft.code for draft in ordered],
            "fault": [CODES[draft.code].fault for draft in ordered],
            "message": [draft.message for draft in ordered],
            "operation": [draft.operation for draft in ordered],
            "exchanges": [draft.exchanges for draft in ordered],
            "request_ids": [requests[place] for place in order],
            "api_versions": [sorted(set(versions[place])) for place in order],
            "at_us": at_us[order],
        }
    )


def _exchanges(evidence: Evidence, named: list[str]) -> pa.Table:
    """start_us, end_us, request_id and api_version of these exchanges, in their order; one may be named again."""
    names = pa.table({"place": pa.array(np.arange(len(named))), "named": pa.array(named, pa.string())})
    names = taken(evidence.connection, "proof", names)
    return asked(evidence.connection, _proof, names, evidence.rows).sort_by("place")


def _proof(names: ir.Table, rows: ir.Table) -> ir.Table:
    found = names.left_join(rows, names.named == rows.exchange_id)
    return found.select("place", "start_us", "end_us", "request_id", "api_version")


def _named(values: pa.ChunkedArray[Any], ends: Ints) -> list[list[str]]:
    """The values of each finding, those that are there."""
    every = values.to_pylist()
    return [[value for value in every[start:end] if value is not None] for start, end in pairwise([0, *ends.tolist()])]


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


# ------------------------------------------------------------------------------------- Retry-After


def _broken_waits(evidence: Evidence) -> Iterator[Draft]:
    """RA001, RA002 (instead of RA001), RA006."""
    columns = ["exchange_id", "next_exchange", "operation", "raw", "asked_s", "waited_s", "verdict"]
    for wait in records(evidence.waits.loc[evidence.waits["verdict"].isin(["early", "late"]), columns]):
        asked, waited = float(wait.asked_s), float(wait.waited_s)
        proof = [wait.exchange_id, wait.next_exchange]
        text = f"asked to wait {seconds(asked)} ({shortened(wait.raw)!r}), came back after {seconds(waited)}"
        if wait.verdict == "late":
            yield Draft("RA006", f"{text}: {seconds(waited - asked)} given away", _name(wait.operation), proof)
        elif waited * 10 < asked:
            yield Draft("RA002", f"{text}: the instruction was ignored", _name(wait.operation), proof)
        else:
            yield Draft("RA001", f"{text}: {seconds(asked - waited)} too early", _name(wait.operation), proof)


def _no_instruction(evidence: Evidence) -> Iterator[Draft]:
    """RA003: pending in an operation, or throttled, where the protocol documents an instruction, and there is none."""
    for row in records(evidence.ask(_silent, evidence.rows, evidence.lives.parts, evidence.lives.numbers)):
        text = f"{row.status} shows that the operation is pending, but gives no instruction to wait"
        yield Draft("RA003", text, _name(row.operation), [row.exchange_id])
    for row in records(evidence.ask(_silently_throttled, evidence.openers)):
        text = "says that it is throttled, but gives no instruction to wait"
        yield Draft("RA003", text, _name(row.operation), [row.exchange_id])


def _silent(rows: ir.Table, parts: ir.Table, numbers: ir.Table) -> ir.Table:
    rows = observations(rows.filter(_.klass.isnull() & _.ended))
    expected = rows.filter(rows.observations["hint_expected"] & ~rows.observations["throttled"])
    expected = expected.select("exchange_id", "starts", "status", protocol=expected.observations["protocol"])
    silent = expected.join(parts, ["starts", "protocol"]).join(numbers.select("number", "operation"), "number")
    return silent.select("exchange_id", "operation", "status")


def _silently_throttled(openers: ir.Table) -> ir.Table:
    return openers.filter(_.throttles & _.klass.isnull()).select("exchange_id", "operation")


def _odd_instructions(evidence: Evidence) -> Iterator[Draft]:
    """RA004, RA005."""
    codes = {name: klass.finding for name, klass in CLASSES.items() if klass.finding}
    for row in records(evidence.ask(_odd, evidence.openers, classes=tuple(sorted(codes)))):
        code = "RA005" if row.lines > 1 else codes[row.klass]
        several = f" in {row.lines} lines" if row.lines > 1 else ""
        use = "no usable value" if pd.isna(row.asked_s) else f"read as {seconds(float(row.asked_s))}"
        text = f"{row.source}: {shortened(row.raw)!r} is {row.klass}{several}, {use}"
        yield Draft(code, text, _name(row.operation), [row.exchange_id])


def _odd(openers: ir.Table, *, classes: tuple[str, ...]) -> ir.Table:
    odd = openers.filter(_.klass.isin(classes))
    return odd.select("exchange_id", "operation", "source", "raw", "klass", "lines", "asked_s")


def _throttled_host(evidence: Evidence) -> Iterator[Draft]:
    """RA007: another method or path of a throttled host before the deadline, and not under way."""
    throttled = evidence.waits[evidence.waits["scope"] == "host"]
    if throttled.empty:
        return
    columns = ["exchange_id", "client", "authority", "method", "path", "end_us", "deadline_us", "slack_us", "operation"]
    table = pa.Table.from_pandas(
        throttled[columns].rename(columns=lambda name: f"w_{name}"), preserve_index=False
    ).replace_schema_metadata()
    sent = evidence.ask(_sent_meanwhile, evidence.rows, taken(evidence.connection, "throttled", table))
    for row in records(sent.drop_duplicates("exchange_id")):
        left = (row.w_deadline_us - row.start_us) / 1e6
        text = f"{row.method} {shortened(row.endpoint)} sent to a throttled host {seconds(left)} before its deadline"
        yield Draft("RA007", text, _name(row.w_operation), [row.w_exchange_id, row.exchange_id])


def _sent_meanwhile(rows: ir.Table, throttled: ir.Table) -> ir.Table:
    sent = rows.join(
        throttled,
        [
            rows.client == throttled.w_client,
            rows.authority == throttled.w_authority,
            (rows.method != throttled.w_method) | (rows.path != throttled.w_path),
            rows.start_us > throttled.w_end_us + UNDER_WAY_US,
            rows.start_us < throttled.w_deadline_us - throttled.w_slack_us,
        ],
    )
    early = sent.select(
        "exchange_id", "method", "endpoint", "start_us", "w_exchange_id", "w_end_us", "w_deadline_us", "w_operation"
    )
    return early.order_by("exchange_id", "w_end_us", "w_exchange_id")


# -------------------------------------------------------------------------------------- operations


def _stuck(evidence: Evidence) -> Iterator[Draft]:
    """OP001."""
    table = evidence.lives.operations
    limit_s = (
        table["protocol"].map({name: evidence.stuck_after(name) for name in table["protocol"].unique()}).astype(float)
    )
    whole = table["ended_us"].isna() & ~table["truncated"].astype(bool) & table["last_pending"].astype(bool)
    for row in records(table[whole & (table["lower_s"] >= limit_s)]):
        limit = evidence.stuck_after(row.protocol)
        text = f"still pending after {seconds(row.lower_s)}; {seconds(limit)} is long for {row.protocol}"
        yield Draft("OP001", text, row.id, list(row.exchanges))


def _abandoned(evidence: Evidence) -> Iterator[Draft]:
    """OP002, OP003, CQ003, and OP007 for an operation."""
    for row in records(evidence.lives.operations):
        if row.outcome != "abandoned":
            continue
        code, text = _left(row)
        if code is not None:
            yield Draft(code, text, row.id, list(row.exchanges))


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
    for _key, group in idle.groupby("key"):
        text = "GET answers 202, and no write of this checkout is in the capture: it may just be idle"
        yield Draft("OP007", text, None, sorted(set(group["exchange_id"])))


def _joined(evidence: Evidence) -> Iterator[Draft]:
    """OP005."""
    for row in records(evidence.ask(_joins, evidence.members)):
        text = "the same write was sent again while the first was pending"
        yield Draft("OP005", text, row.operation, [row.submit, row.exchange_id])


def _joins(members: ir.Table) -> ir.Table:
    submits = members.filter(_.role == "submit").select("operation", submit="exchange_id")
    return members.filter(_.role == "join").join(submits, "operation").select("operation", "submit", "exchange_id")


def _backwards(evidence: Evidence) -> Iterator[Draft]:
    """OP006."""
    for row in _afterwards(evidence, "backwards"):
        proof = [row.ending, row.exchange_id]
        yield Draft("OP006", "shown pending again after it had ended", row.operation, proof)


def _polled_on(evidence: Evidence) -> Iterator[Draft]:
    """OP004, where the protocol has something to poll that is there for nothing else."""
    for row in _afterwards(evidence, "polled_on"):
        known = protocol_named(row.operation.split(":", 1)[0])
        if known is None or known.polls_after_end:
            proof = [row.ending, row.exchange_id]
            yield Draft("OP004", "polled again although the end had been answered", row.operation, proof)


def _afterwards(evidence: Evidence, what: str) -> Iterator[Any]:
    table = evidence.lives.afterwards
    yield from records(table[table["what"] == what])


# ------------------------------------------------------------------------------------------- queue


def _queue(evidence: Evidence) -> Iterator[Draft]:
    """CQ001, CQ002, CQ004."""
    early = ignored_waits(evidence.waits)
    for wait in records(early[["exchange_id", "next_exchange", "operation", "asked_s", "waited_s"]]):
        text = f"polled {seconds(wait.asked_s - wait.waited_s)} before pollAfter: the queue ignores such polls"
        yield Draft("CQ001", text, wait.operation, [wait.exchange_id, wait.next_exchange])
    for row in _afterwards(evidence, "stale"):
        if row.operation.startswith(f"{QUEUE}:"):
            text = "polled with a token that was not the latest"
            yield Draft("CQ002", text, row.operation, [row.exchange_id])
    operations = evidence.lives.operations.set_index("id")["exchanges"]
    for row in _afterwards(evidence, "bare"):
        text = "the queued request was sent again without its token: its place in the queue is lost"
        yield Draft("CQ004", text, row.operation, [operations[row.operation][0], row.exchange_id])


def _estimates(evidence: Evidence) -> Iterator[Draft]:
    """CQ005: the first estimate of how long the queue lasts, against how long it did."""
    for row in records(misjudged(evidence.journeys)):
        text = f"estimated at {seconds(row.eta_s)}, the queue took {seconds(row.eta_s + row.eta_error_s)}"
        yield Draft("CQ005", text, row.operation, [row.eta_exchange, row.release_exchange])


# ------------------------------------------------------------------------------- what one exchange proves


def _flaws(evidence: Evidence) -> Iterator[Draft]:
    """PN001, PN002, PN004, and whatever else a protocol finds wrong with an exchange alone."""
    for row in records(evidence.ask(_flawed, evidence.rows, codes=tuple(sorted(CODES)))):
        yield Draft(row.code, row.text, None, [row.exchange_id])


def _flawed(rows: ir.Table, *, codes: tuple[str, ...]) -> ir.Table:
    flawed = observations(rows)
    flawed = flawed.select("exchange_id", flaw=flawed.observations["flaws"].unnest())
    found = flawed.select("exchange_id", code=flawed.flaw["code"], text=flawed.flaw["text"])
    return found.filter(_.code.isin(codes)).order_by("exchange_id")


def _no_exception(evidence: Evidence) -> Iterator[Draft]:
    """PN003: PAR calls 202 an exception; a host where it is none."""
    for row in records(evidence.ask(_often, evidence.rows)):
        text = f"{row.host} answered {len(row.exchanges)} of {row.writes} writes with 202, which is to be an exception"
        yield Draft("PN003", text, None, list(row.exchanges))


def _often(rows: ir.Table) -> ir.Table:
    writes = rows.filter(_.observations.filter(lambda o: (o["protocol"] == PAR) & (o["role"] == "write")).length() > 0)
    accepted = writes.status == ACCEPTED
    hosts = writes.group_by("host").agg(
        writes=_.count(),
        share=accepted.fill_null(False).cast("float64").mean(),
        exchanges=writes.exchange_id.collect(where=accepted, order_by=writes.ends),
    )
    return hosts.filter((_.writes >= EXCEPTION_FROM_WRITES) & (_.share > EXCEPTIONS[PAR])).order_by("host")


# ---------------------------------------------------------------------------------------- statuses


def _statuses(evidence: Evidence) -> Iterator[Draft]:
    """ST001, ST002: one for each host, endpoint and status."""
    for row in records(evidence.ask(_suspects, evidence.rows, by=_BY_STATUS)):
        whose = fault(int(row.status), checkout=bool(row.checkout))
        if whose is None:
            continue
        times, said = counted(len(row.exchanges), "time"), meaning(int(row.status))
        text = f"{shortened(row.endpoint, 100)} on {row.host} answered {row.status} {times}: {said}"
        yield Draft("ST001" if whose == "server" else "ST002", text, None, list(row.exchanges))


_BY_STATUS: Final = ("host", "endpoint", "status", "checkout")


def _suspects(rows: ir.Table) -> ir.Table:
    rows = rows.filter(_.status >= 0)
    rows = rows.select(
        "exchange_id", "host", "status", "ends", endpoint=_.method.concat(" ", _.endpoint), checkout=on_checkout(rows)
    )
    suspects = rows.filter((_.status >= 400) | _.checkout & ~_.status.isin([200, 201, 202, 303]))
    return suspects.group_by(*_BY_STATUS).agg(exchanges=_.exchange_id.collect(order_by=_.ends))


Rule = Callable[[Evidence], Iterable[Draft]]
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
