"""Captures of any size from a seed, and the truth about them.

A few hundred stories (:mod:`traffic.stories`) are made into exchanges and observed by the program's own protocols;
their rows are then multiplied without a loop over rows: own ids, tokens, clients and pauses for every copy.

``DIR`` becomes a capture folder like a recorder's: one session, rows in the order of their responses.  Beside
them, in ``DIR/_truth``, lies what the maker knows: ``operations.parquet`` and ``waits.parquet``, one row each,
and ``truth.json``, how many findings there are of each code.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from polltape.capture.coverage import Session, write_session
from polltape.capture.parquet import ROWS_A_GROUP, schema_with
from polltape.exchange import SCHEMA, Body, Coverage, Exchange, Header, to_table
from polltape.protocols import observe, protocol_named
from traffic.multiply import CLIENT, TOKEN, Own, hexadecimal, multiplied, uuids
from traffic.others import other_protocols
from traffic.stories import Life, Step, Story, checkout_stories, encoded, is_st, other_stories

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BEGIN: Final = datetime(2026, 11, 23, 20, tzinfo=UTC)
BEGIN_US: Final = (BEGIN - EPOCH) // timedelta(microseconds=1)
HOSTS: Final = ("one.example", "two.example", "three.example", "four.example")
STORIES_A_CLIENT: Final = 400
ROWS_A_FILE: Final = 200_000
INSTANTS: Final = ("request_started", "request_ended", "response_started", "response_ended")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cast:
    """Which stories are lived: one row each, all told on one host.

    ``story``, ``host``, ``client``: numbers.  ``token``: 16 random bytes.  ``first``: the number of its first
    exchange.  Exchanges are numbered story by story, step by step.
    """

    stories: Sequence[Story]
    story: Array
    host: Array
    client: Array
    token: Array
    first: Array


def generate(directory: Path, rows: int, seed: int = 1) -> None:
    """Write a capture of exactly so many exchanges, and its truth; what was in the folder is removed."""
    shutil.rmtree(directory, ignore_errors=True)
    random = np.random.default_rng(seed)
    cast = _cast([*checkout_stories(), *other_protocols(), *other_stories()], rows, random)
    start, end = _instants(cast, rows, random)
    coverage = Coverage(
        session_id=uuids(np.array([BEGIN_US // 1000]), random.integers(0, 256, (1, 16), np.uint8))[0].as_py(),
        started_at=BEGIN - timedelta(seconds=1),
        ended_at=EPOCH + timedelta(microseconds=int(end.max()) + 20_000_000),
    )
    ids = random.integers(0, 256, (rows, 16), np.uint8)
    _write_rows(directory, cast, start, end, ids, coverage)
    first_us, last_us = ((at - EPOCH) // timedelta(microseconds=1) for at in (coverage.started_at, coverage.ended_at))
    clock = [(0, first_us), ((last_us - first_us) * 1000, last_us)]
    write_session(directory, Session(coverage, clock))
    _write_truth(directory / "_truth", cast, start, end, ids, last_us)


def _cast(told: Sequence[Story], rows: int, random: np.random.Generator) -> Cast:
    """Draw stories by weight until the rows are full; the last ones have a single step."""
    sizes = np.array([len(story.steps) for story in told])
    weights = np.array([story.weight for story in told])
    weights = weights / weights.sum()
    drawn = random.choice(len(told), size=int(rows / (weights @ sizes) * 1.2) + 50, p=weights)
    drawn = drawn[: np.searchsorted(np.cumsum(sizes[drawn]), rows, side="right")]
    filler = next(number for number, story in enumerate(told) if story.name == "GET /health")
    drawn = np.concatenate([drawn, np.full(rows - sizes[drawn].sum(), filler)])
    count = len(drawn)
    client = random.integers(0, max(10, count // STORIES_A_CLIENT), count)
    lone = np.array([story.lone for story in told])[drawn]
    client[lone] = client.max() + 1 + np.arange(lone.sum())
    host = client % len(HOSTS)
    first = np.concatenate([[0], np.cumsum(sizes[drawn])])[:-1]
    return Cast(told, drawn, host, client, random.integers(0, 256, (count, 16), np.uint8), first)


def _instants(cast: Cast, rows: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Start and end of every exchange in microseconds since 1970; a client lives one story after the other."""
    start, end = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    length = np.zeros(len(cast.story), np.int64)
    for number, story in enumerate(cast.stories):
        lived = np.flatnonzero(cast.story == number)
        for place, step in enumerate(story.steps):
            at = cast.first[lived] + place
            before = cast.first[lived] + (place - 1 if step.after is None else step.after)
            pause = 0 if place == 0 else _drawn(random, step.gap_s, step.spread_s, len(lived))
            start[at] = (end[before] if place else 0) + pause
            end[at] = start[at] + _drawn(random, step.took_s, step.took_s / 2, len(lived))
            length[lived] = np.maximum(length[lived], end[at])
    begun = _one_after_the_other(cast.client, length, random)
    offset = np.repeat(begun, np.diff(np.append(cast.first, rows)))
    return start + offset, end + offset


def _drawn(random: np.random.Generator, low_s: float, spread_s: float, count: int) -> Array:
    """Microseconds between the bounds."""
    return np.round((low_s + spread_s * random.random(count)) * 1e6).astype(np.int64)


def _one_after_the_other(client: Array, length: Array, random: np.random.Generator) -> Array:
    """When each story begins: its client has ended the one before, longer ago than any wait lasts."""
    order = np.argsort(client, kind="stable")
    whole = length[order] + _drawn(random, 20.0, 40.0, len(order))
    ends = np.cumsum(whole)
    starts = ends - whole
    group = np.flatnonzero(np.diff(client[order], prepend=-1))
    sizes = np.diff(np.append(group, len(order)))
    late = _drawn(random, 0.0, 3600.0, len(group))
    begun = np.empty(len(order), np.int64)
    begun[order] = BEGIN_US + starts - np.repeat(starts[group] - late, sizes)
    return begun


# ----------------------------------------------------------------------------------------------- rows


def exchange_of(step: Step, host: str) -> Exchange:
    """A step as an exchange that the protocols can read; instants are set afterwards."""
    answer = [*step.headers, ("Date", "Mon, 23 Nov 2026 08:00:00 GMT"), ("X-Request-Id", f"{TOKEN[:20]}")]
    content = encoded(step.body)
    return Exchange(
        exchange_id="template",
        method=step.method,
        scheme="https",
        host=host,
        port=443,
        path=step.path,
        request_started_at=BEGIN,
        response_ended_at=BEGIN,
        http_version="HTTP/1.1",
        request_headers=tuple(
            Header(*header) for header in (("Host", host), ("User-Agent", "bench/1"), ("Accept", "*/*"), *step.carried)
        ),
        request_body=Body(0, 0)
        if step.sent is None
        else Body(64, 64, encoded(step.request), digest=f"{TOKEN}{step.sent}"),
        status=step.status,
        reason="",
        response_headers=tuple(Header(*header) for header in answer),
        response_body=Body(0, 0) if content is None else Body(len(content), len(content), content),
        key_id="bench",
        client=CLIENT,
        digest_ok=step.digest_ok,
    )


def templates(told: Sequence[Story]) -> tuple[pa.Table, Array]:
    """One row for each host and exchange that differs, observed, without bodies; and its number in the table.

    The numbers have the shape (host, step), where steps are counted story by story.
    """
    table: list[Exchange] = []
    known: dict[Exchange, int] = {}
    rows = np.zeros((len(HOSTS), sum(len(story.steps) for story in told)), np.int64)
    for host, name in enumerate(HOSTS):
        for number, step in enumerate(step for story in told for step in story.steps):
            plain = exchange_of(step, name)
            if plain not in known:
                known[plain] = len(table)
                observed = observe(plain)
                bodies = (observed.request_body, observed.response_body)
                sent, answered = (replace(body, content=None, not_stored="size") for body in bodies)
                table.append(replace(observed, request_body=sent, response_body=answered))
            rows[host, number] = known[plain]
    return to_table(table).combine_chunks(), rows


def _write_rows(directory: Path, cast: Cast, start: Array, end: Array, ids: Array, coverage: Coverage) -> None:
    table, template = templates(cast.stories)
    sizes = np.array([len(story.steps) for story in cast.stories])
    before = np.concatenate([[0], np.cumsum(sizes)])
    story_of = np.repeat(np.arange(len(cast.story)), sizes[cast.story])
    place = np.arange(len(start)) - cast.first[story_of]
    row_of = template[cast.host[story_of], before[cast.story[story_of]] + place]
    order = np.argsort(end, kind="stable")
    day = (start // 86_400_000_000)[order]
    schema = schema_with([coverage])
    number = 0
    for date in np.unique(day):
        of_day = order[day == date]
        name = (EPOCH + timedelta(days=int(date))).strftime("date=%Y-%m-%d")
        (directory / name).mkdir(parents=True)
        for at in range(0, len(of_day), ROWS_A_FILE):
            rows = of_day[at : at + ROWS_A_FILE]
            part = _rows(table, row_of[rows], cast, story_of[rows], start[rows], end[rows], ids[rows], rows, coverage)
            number += 1
            path = directory / name / f"{coverage.session_id}-{number:06}.parquet"
            pq.write_table(
                part.replace_schema_metadata(schema.metadata), path, compression="zstd", row_group_size=ROWS_A_GROUP
            )


def _rows(
    table: pa.Table,
    row_of: Array,
    cast: Cast,
    story_of: Array,
    start: Array,
    end: Array,
    ids: Array,
    seq: Array,
    coverage: Coverage,
) -> pa.Table:
    own = Own(hexadecimal(cast.token[story_of]), _clients(cast.client[story_of]))
    took = end - start
    instants = dict(zip(INSTANTS, (start, start + took // 10, start + took * 4 // 5, end), strict=True))
    columns: dict[str, pa.Array[Any]] = {
        "exchange_id": uuids(start // 1000, ids),
        "session_id": pa.array([coverage.session_id]).take(pa.array(np.zeros(len(start), np.int64))),
        "seq": pa.array(seq + 1),
        "client": own.clients,
    }
    for name, us in instants.items():
        columns[f"{name}_at"] = pa.array(us).cast(pa.timestamp("us", tz="UTC"))
        columns[f"{name}_mono_ns"] = pa.array((us - BEGIN_US) * 1000 + 1_000_000_000)
    return pa.Table.from_arrays(
        [
            columns[field.name] if field.name in columns else multiplied(table[field.name].chunk(0), row_of, own)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def _clients(client: Array) -> pa.Array[Any]:
    """A pseudonym each."""
    return hexadecimal((client.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.uint8).reshape(-1, 8))


# ---------------------------------------------------------------------------------------------- truth


def _write_truth(directory: Path, cast: Cast, start: Array, end: Array, ids: Array, covered_us: int) -> None:
    directory.mkdir(parents=True)
    found: Counter[str] = Counter()
    seen: set[tuple[int, str, str, int]] = set()
    operations, waits = [], []
    writes, accepted = np.zeros((2, len(HOSTS)), np.int64)
    for number, story in enumerate(cast.stories):
        lived = np.flatnonzero(cast.story == number)
        if not len(lived):
            continue
        at = cast.first[lived]
        found.update({code: count * len(lived) for code, count in story.findings.items()})
        hosts = np.unique(cast.host[lived])
        seen |= {(host, step.method, step.path, step.status) for host in hosts.tolist() for step in story.steps}
        by_host = np.bincount(cast.host[lived], minlength=len(HOSTS))
        orders = [step.status for step in story.steps if step.method == "POST" and "/posnext/" in step.path]
        writes += by_host * len(orders)
        accepted += by_host * orders.count(202)
        for life in story.lives:
            table, codes = _operations(life, at, start, end, ids, covered_us)
            operations.append(table)
            found.update(codes)
        waits += list(_waits(story, at, start, end, ids, covered_us))
    judged = [is_st(status, checkout="/checkouts" in path) for _, _, path, status in seen]
    found.update(Counter(code for code in judged if code))
    found["PN003"] += int(((writes >= 20) & (accepted * 20 > writes)).sum())
    pq.write_table(pa.concat_tables(operations), directory / "operations.parquet", compression="zstd")
    pq.write_table(pa.concat_tables(waits), directory / "waits.parquet", compression="zstd")
    findings = {code: count for code, count in sorted(found.items()) if count}
    (directory / "truth.json").write_text(json.dumps({"exchanges": len(start), "findings": findings}, indent=2) + "\n")


def _operations(
    life: Life, at: Array, start: Array, end: Array, ids: Array, covered_us: int
) -> tuple[pa.Table, dict[str, int]]:
    """The operations of one life of a story, and the findings that depend on when the recording ends."""
    t0, last = end[at + life.submit], end[at + life.last]
    abandoned = covered_us >= last + max(30e6, life.asked_s * 10e6)
    lower = np.zeros(len(at), np.int64) if life.pending is None else np.maximum(0, start[at + life.pending] - t0)
    upper_at = None if life.end is None else start[at + life.end] + (end - start)[at + life.end] * 4 // 5
    whole = not life.truncated
    outcome = np.where(abandoned, "abandoned", "pending") if life.outcome is None else np.full(len(at), life.outcome)
    codes: dict[str, int] = {}
    protocol = protocol_named(life.protocol)
    if life.outcome is None:
        if life.left:
            codes[life.left] = int(abandoned.sum())
        shown = life.pending == life.last
        codes["OP001"] = int((lower >= (protocol.stuck_after_s if protocol else 0) * 1e6).sum()) if shown else 0
    nothing = pa.nulls(len(at), pa.int64())
    columns = {
        "id": _ids(life.protocol, at + life.submit, start, ids),
        "kind": pa.array([life.kind]).take(pa.array(np.zeros(len(at), np.int64))),
        "outcome": pa.array(outcome.astype(str), pa.string()),
        "polls": pa.array(np.full(len(at), life.polls)),
        "truncated": pa.array(np.full(len(at), life.truncated)),
        "duration_us": pa.array(last_of(end, at, life.end) - t0) if whole and life.end is not None else nothing,
        "lower_us": pa.array(lower) if whole else nothing,
        "upper_us": pa.array(np.maximum(0, upper_at - t0)) if whole and upper_at is not None else nothing,
        "observed_us": pa.array(last - t0) if whole else nothing,
    }
    return pa.table(columns), codes


def last_of(end: Array, at: Array, step: int | None) -> Array:
    """When that step ended."""
    return end[at + (step or 0)]


def _ids(protocol: str | None, at: Array, start: Array, ids: Array) -> pa.Array[Any]:
    plain = uuids(start[at] // 1000, ids[at])
    return plain if protocol is None else pc.binary_join_element_wise(f"{protocol}:", plain, "")


def _waits(story: Story, at: Array, start: Array, end: Array, ids: Array, covered_us: int) -> Iterator[pa.Table]:
    for place, step in enumerate(story.steps):
        if step.verdict is None or step.asked_s is None:
            continue
        received = end[at + place]
        deadline = received + round(step.asked_s * 1e6)
        waited: pa.Array[Any] = pa.nulls(len(at), pa.int64())
        verdict = np.full(len(at), step.verdict)
        rated = np.zeros(len(at), bool)
        if step.governs is not None:
            waited = pa.array(start[at + step.governs] - received)
            rated = (deadline <= covered_us) & step.rated
        elif step.verdict == "left":
            verdict = np.where(covered_us > deadline, "unanswered", "open")
        yield pa.table(
            {
                "exchange_id": _ids(None, at + place, start, ids),
                "verdict": pa.array(verdict.astype(str), pa.string()),
                "asked_us": pa.array(deadline - received),
                "waited_us": waited,
                "rated": pa.array(rated),
            }
        )
