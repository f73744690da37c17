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
from ibis import _

from polltape.measures.answers import ACCEPTED, on_checkout
from polltape.measures.codes import CODES
from polltape.measures.drafts import Draft, drafted, drafted_lists, in_seconds, together, told
from polltape.measures.pending_share import EXCEPTIONS
from polltape.measures.queue import QUEUE, ignored_waits, misjudged
from polltape.measures.statistics import Ints
from polltape.measures.statuses import DOCUMENTED, fault, meaning
from polltape.measures.words import counted, seconds, shortened
from polltape.operations.columns import Flags, among, at, ints, joined, known
from polltape.operations.governed import UNDER_WAY_US, Requests, requests_within
from polltape.operations.lives import Lives
from polltape.operations.tables import asked, connection_of, framed, lent, records, run
from polltape.operations.timeline import Timeline, endpoint_names, places
from polltape.operations.waits import NONE, Openers
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
    stuck_after_s: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> ir.Table:
        """The exchanges as queries see them."""
        return self.timeline.rows

    @property
    def observed(self) -> ir.Table:
        """The observations as queries see them."""
        return self.timeline.observed

    def opened(self, which: Flags, *names: str) -> pd.DataFrame:
        """Of some of the openers ``operation`` and these columns of the exchange."""
        opening = self.openers.only(which)
        number = at(opening.number, opening.number == NONE)
        told = self.timeline.exchanges.select(names).take(at(opening.row))
        return framed(told.append_column("operation", self.lives.named["operation"].take(number)))

    def stuck_after(self, protocol: str) -> float:
        """OP001's threshold in seconds: the user's, else the protocol's own."""
        known = protocol_named(protocol)
        return self.stuck_after_s.get(protocol, known.stuck_after_s if known else 300.0)


def findings(evidence: Evidence) -> pd.DataFrame:
    """Every finding by instant, then code and exchange; columns :data:`FINDING_COLUMNS`."""
    drafts = together(draft for rule in RULES for draft in rule(evidence))
    if not len(drafts):
        return pd.DataFrame(columns=FINDING_COLUMNS)
    exchanges: Any = drafts["exchanges"].chunk(0)
    ends = exchanges.offsets.to_numpy()[1:].astype(np.int64)
    proof = _exchanges(evidence, exchanges.values)
    about = pa.array(ends - 1)
    # Within one finding the latest end counts; a maximum needs no loop.
    latest = np.maximum.reduceat(proof["end_us"].to_numpy(), exchanges.offsets.to_numpy()[:-1])
    by_request = pc.is_in(drafts["code"], pa.array(sorted(BY_REQUEST))).to_numpy()
    at_us = np.where(by_request, proof["start_us"].to_numpy()[ends - 1], latest)
    whole = drafts.append_column("at_us", pa.array(at_us))
    faults = {code: known.fault for code, known in CODES.items()}
    whole = whole.append_column("fault", told(drafts["code"].to_pandas(), faults.__getitem__))
    whole = whole.append_column("request_ids", _named(proof["request_id"], ends))
    whole = whole.append_column("api_versions", _named(proof["api_version"], ends, once=True))
    for name in ("host", "endpoint"):
        whole = whole.append_column(name, proof[name].take(about))
    first: Any = exchanges.values.take(exchanges.offsets[:-1])
    order = pc.sort_indices(
        whole.append_column("first", first), [(name, "ascending") for name in ("at_us", "code", "first")]
    )
    return framed(whole.take(order).select(FINDING_COLUMNS))


def _exchanges(evidence: Evidence, named: Any) -> pa.Table:
    """What is told of these exchanges, in their order; one may be named again."""
    connection = connection_of(evidence.rows)
    names = lent(connection, "proof", pa.table({"place": at(np.arange(len(named))), "named": named}))
    found = asked(connection, _proof, names, evidence.rows)
    starts = np.empty(len(named), np.int64)
    starts[ints(found["place"])] = ints(found["starts"])
    exchanges = evidence.timeline.exchanges
    told = exchanges.select(_PROOF).take(at(places(exchanges, starts)))
    return told.set_column(_PROOF.index("endpoint"), "endpoint", endpoint_names(told)).combine_chunks()


_PROOF: Final = ["start_us", "end_us", "request_id", "api_version", "host", "method", "endpoint"]


def _proof(names: ir.Table, rows: ir.Table) -> ir.Table:
    return names.join(rows, names.named == rows.exchange_id).select("place", "starts")


def _named(values: pa.ChunkedArray[Any], ends: Ints, *, once: bool = False) -> Any:
    """The values of each finding, those that are there; ``once``: each once, in order."""
    column: Any = values.combine_chunks()
    coded: Any = pc.dictionary_encode(column)
    finding = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    there = known(column)
    finding, number = finding[there], coded.indices.drop_null().to_numpy().astype(np.int64)
    dictionary = coded.dictionary
    if once and len(dictionary):
        order = pc.sort_indices(dictionary).to_numpy().astype(np.int64)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        pairs = np.unique(finding * len(order) + place[number])
        finding, number = pairs // len(order), order[pairs % len(order)]
    offsets: Any = pa.array(np.append(0, np.cumsum(np.bincount(finding, minlength=len(ends)))), pa.int32())
    return pa.ListArray.from_arrays(offsets, dictionary.take(pa.array(number)))


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


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
            yield drafted(code, message, some["operation"], some["exchange_id"], some["next_exchange"])


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
    tables = (evidence.rows, evidence.observed, evidence.lives.parts, evidence.lives.numbers)
    silent = run(_silent, *tables)
    if len(silent):
        text = " shows that the operation is pending, but gives no instruction to wait"
        yield drafted("RA003", joined(told(silent["status"], str), text), silent["operation"], silent["exchange_id"])
    throttling = evidence.openers.throttles & ~known(evidence.timeline.exchanges["klass"])[evidence.openers.row]
    silent = evidence.opened(throttling, "exchange_id")
    if len(silent):
        text = "says that it is throttled, but gives no instruction to wait"
        yield drafted("RA003", text, silent["operation"], silent["exchange_id"])


def _silent(rows: ir.Table, observed: ir.Table, parts: ir.Table, numbers: ir.Table) -> ir.Table:
    expected = observed.filter(_.hint_expected & ~_.throttled).select("starts", "protocol")
    unasked = rows.filter(_.klass.isnull() & _.ended).select("exchange_id", "starts", "status")
    silent = (
        expected.join(unasked, "starts")
        .join(parts, ["starts", "protocol"])
        .join(numbers.select("number", "operation"), "number")
    )
    return silent.select("exchange_id", "operation", "status")


def _odd_instructions(evidence: Evidence) -> Iterator[pa.Table]:
    """RA004, RA005."""
    codes = {name: klass.finding for name, klass in CLASSES.items() if klass.finding}
    which = among(evidence.timeline.exchanges["klass"], codes)[evidence.openers.row]
    odd = evidence.opened(which, "exchange_id", "source", "raw", "klass", "lines", "asked_s")
    alike: Any = odd.groupby(["source", "raw", "klass", "lines", "asked_s"], dropna=False, sort=False)
    for (source, raw, klass, lines, asked_s), group in alike:
        several = f" in {lines} lines" if lines > 1 else ""
        use = "no usable value" if pd.isna(asked_s) else f"read as {seconds(float(asked_s))}"
        text = f"{source}: {shortened(raw)!r} is {klass}{several}, {use}"
        code = "RA005" if lines > 1 else codes[klass]
        yield drafted(str(code), text, group["operation"], group["exchange_id"])


def _throttled_host(evidence: Evidence) -> Iterator[pa.Table]:
    """RA007: another method or path of a throttled host before the deadline, and not under way."""
    waits = evidence.waits[evidence.waits["scope"] == "host"]
    exchanges = evidence.timeline.exchanges
    answer = places(exchanges, waits["starts"].to_numpy(dtype=np.int64))
    who = known(exchanges["client"])
    waits, answer = waits[who[answer]], answer[who[answer]]
    if waits.empty:
        return
    server, line, start_us = (ints(exchanges[name]) for name in ("server", "line", "start_us"))
    end_us, deadline_us, slack_us = (
        waits[name].to_numpy(dtype=np.int64) for name in ("end_us", "deadline_us", "slack_us")
    )
    sent = np.flatnonzero(who & np.isin(server, server[answer]))
    starts = ints(exchanges["starts"])[sent]
    # The waits are in turn: the first of a request's is the one that began first.
    which, row = requests_within(
        *(server[answer], end_us + UNDER_WAY_US, deadline_us - slack_us),
        *(Requests(server[sent], starts), starts, start_us[sent]),
    )
    elsewhere = line[answer[which]] != line[sent[row]]
    found = pd.DataFrame({"wait": which, "sent": sent[row]})[elsewhere]
    found = found.sort_values(["sent", "wait"]).drop_duplicates("sent")
    if len(found):
        wait, early = waits.iloc[found["wait"]], exchanges.take(at(found["sent"].to_numpy()))
        left_s = (wait["deadline_us"].to_numpy(dtype=np.int64) - ints(early["start_us"])) / 1e6
        where = told(endpoint_names(early).to_pandas(), _request)
        text = joined(where, " sent to a throttled host ", in_seconds(left_s), " before its deadline")
        yield drafted("RA007", text, wait["operation"], wait["exchange_id"], early["exchange_id"])


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
    whole = table["ended_us"].isna() & ~table["truncated"].astype(bool) & table["last_pending"].astype(bool)
    for row in records(table[whole & (table["lower_s"] >= limit_s)]):
        limit = evidence.stuck_after(row.protocol)
        text = f"still pending after {seconds(row.lower_s)}; {seconds(limit)} is long for {row.protocol}"
        yield Draft("OP001", text, row.id, list(row.exchanges))


def _abandoned(evidence: Evidence) -> Iterator[pa.Table]:
    """OP002, OP003, CQ003, and OP007 for an operation."""
    operations = evidence.lives.operations
    table = operations[operations["outcome"] == "abandoned"]
    alike = table.groupby(["protocol", "released", "polls", "address", "asked"], sort=False)
    said = [_left(row) for row in records(alike.head(1))]  # each says what holds for all that are alike
    codes = np.array([code or "" for code, text in said])
    texts: Any = pa.array([text for code, text in said], pa.string())
    which = alike.ngroup().to_numpy(dtype=np.int64)
    for code in np.unique(codes[codes != ""]):
        some = (codes == code)[which]
        yield drafted_lists(code, texts.take(at(which[some])), table["id"][some], table["exchanges"][some])


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


def _joined(evidence: Evidence) -> Iterator[pa.Table]:
    """OP005."""
    found = run(_joins, evidence.rows, evidence.lives.parts, evidence.lives.numbers)
    if len(found):
        text = "the same write was sent again while the first was pending"
        yield drafted("OP005", text, found["operation"], found["submit"], found["exchange_id"])


def _joins(rows: ir.Table, parts: ir.Table, numbers: ir.Table) -> ir.Table:
    ids = rows.select("exchange_id", of="starts")
    joins = parts.filter(_.role == "join").select("number", joined="starts")
    submits = parts.filter(_.role == "submit").select("number", submitted="starts")
    both = joins.join(submits, "number").join(numbers.select("number", "operation"), "number")
    both = both.join(ids, both.joined == ids.of).drop("of")
    first = ids.rename(submit="exchange_id")
    return both.join(first, both.submitted == first.of).select("operation", "submit", "exchange_id")


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
    early = ignored_waits(evidence.waits, evidence.lives)
    for wait in records(early[["exchange_id", "next_exchange", "operation", "asked_s", "waited_s"]]):
        text = f"polled {seconds(wait.asked_s - wait.waited_s)} before pollAfter: the queue ignores such polls"
        yield Draft("CQ001", text, wait.operation, [wait.exchange_id, wait.next_exchange])
    for row in _afterwards(evidence, "stale"):
        if row.operation.startswith(f"{QUEUE}:"):
            text = "polled with a token that was not the latest"
            yield Draft("CQ002", text, row.operation, [row.exchange_id])
    bare = list(_afterwards(evidence, "bare"))
    table = evidence.lives.operations
    table = table[table["id"].isin([row.operation for row in bare])]
    submits = {name: exchanges[0] for name, exchanges in zip(table["id"], table["exchanges"], strict=True)}
    for row in bare:
        text = "the queued request was sent again without its token: its place in the queue is lost"
        yield Draft("CQ004", text, row.operation, [submits[row.operation], row.exchange_id])


def _estimates(evidence: Evidence) -> Iterator[Draft]:
    """CQ005: the first estimate of how long the queue lasts, against how long it did."""
    for row in records(misjudged(evidence.journeys)):
        text = f"estimated at {seconds(row.eta_s)}, the queue took {seconds(row.eta_s + row.eta_error_s)}"
        yield Draft("CQ005", text, row.operation, [row.eta_exchange, row.release_exchange])


# ------------------------------------------------------------------------------- what one exchange proves


def _flaws(evidence: Evidence) -> Iterator[Draft]:
    """PN001, PN002, PN004, and whatever else a protocol finds wrong with an exchange alone."""
    for row in records(run(_flawed, evidence.rows, evidence.observed, codes=tuple(sorted(CODES)))):
        yield Draft(row.code, row.text, None, [row.exchange_id])


def _flawed(rows: ir.Table, observed: ir.Table, *, codes: tuple[str, ...]) -> ir.Table:
    flawed = observed.filter(_.flaws.length() > 0).join(rows.select("starts", "exchange_id"), "starts")
    flawed = flawed.select("exchange_id", flaw=flawed.flaws.unnest())
    found = flawed.select("exchange_id", code=flawed.flaw["code"], text=flawed.flaw["text"])
    return found.filter(_.code.isin(codes)).order_by("exchange_id")


def _no_exception(evidence: Evidence) -> Iterator[Draft]:
    """PN003: PAR calls 202 an exception; a host where it is none."""
    for row in records(run(_often, evidence.rows, evidence.observed)):
        text = f"{row.host} answered {len(row.exchanges)} of {row.writes} writes with 202, which is to be an exception"
        yield Draft("PN003", text, None, list(row.exchanges))


def _often(rows: ir.Table, observed: ir.Table) -> ir.Table:
    writing = observed.filter((_.protocol == PAR) & (_.role == "write"))
    writes = rows.semi_join(writing, "starts").select("host", "exchange_id", "ends", "status")
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
    exchanges = evidence.timeline.exchanges
    status, checkout = ints(exchanges["status"], -1), on_checkout(exchanges["endpoint"])
    suspect = (status >= 400) | (checkout & (status >= 0) & ~np.isin(status, sorted(DOCUMENTED)))
    columns: dict[str, Any] = {name: exchanges[name] for name in ("host", "status", "ends", "exchange_id")}
    columns |= {"endpoint": endpoint_names(exchanges), "checkout": pa.array(checkout)}
    found = framed(pa.table(columns).filter(pa.array(suspect))).sort_values("ends")
    names: Any
    for names, group in found.groupby(["host", "endpoint", "status", "checkout"], sort=True):
        host, endpoint, code, of_checkout = names
        whose = fault(int(code), checkout=bool(of_checkout))
        if whose is None:
            continue
        times, said = counted(len(group), "time"), meaning(int(code))
        text = f"{shortened(endpoint, 100)} on {host} answered {code} {times}: {said}"
        yield Draft("ST001" if whose == "server" else "ST002", text, None, list(group["exchange_id"]))


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
