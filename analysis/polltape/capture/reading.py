"""Opening what a user names: capture folders, Parquet files, HAR files, mitmproxy flow files, near and far.

Parquet files are only checked (their footers) and left to whoever queries them; what comes from other
formats is imported (:mod:`polltape.capture.importing`): redacted, observed, and held as an Arrow table of the
same columns or, where it is large, as one more Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from polltape.capture import scratch
from polltape.capture.folder import read_folder
from polltape.capture.footers import read_footer, read_parts, read_spans
from polltape.capture.importing import Step, import_file
from polltape.capture.keys import Key
from polltape.capture.named import KINDS, check_capture, is_url, kind_of
from polltape.capture.ordering import STARTS, Part, each_once, in_order, merged_tables
from polltape.capture.remote import fetch, without_credentials
from polltape.errors import InputError
from polltape.exchange import Coverage, Exchange, from_table

__all__ = ["Capture", "Step", "merged", "open_capture", "read_exchanges", "read_tables"]

ROWS_AT_ONCE: Final = 256
"""Rows that become Python objects together."""


@dataclass(frozen=True)
class Capture:
    """What was opened.

    ``files``: Parquet files of :data:`~polltape.exchange.SCHEMA`, each checked; among them large imports, which
    lie in a temporary folder until the program ends.  ``table``: what else was imported from other formats,
    redacted and observed, each exchange once; None where there are only files.
    ``coverage``: of every recording session and import, by start.  ``skipped``: entries that could not become
    a row.  ``sources``: as the user named them.  ``warnings``: lines for standard error.

    One exchange may stand in several Parquet files, or in a file and in the table (a folder and a copy of
    it): equal ``exchange_id`` is the same exchange and counts once.
    """

    files: tuple[Path, ...]
    table: pa.Table | None
    coverage: tuple[Coverage, ...]
    skipped: int
    sources: tuple[str, ...]
    warnings: tuple[str, ...]


def open_capture(
    paths: Sequence[str | Path], *, redact: Step, observe: Step, key: Key | None = None, anew: bool = False
) -> Capture:
    """Open all paths as one capture.

    Parquet files of an older schema, and with ``anew`` all, are observed again, as what is imported is.

    What is imported goes through ``redact``, then ``observe``; entries that we exported ourselves under
    ``key`` and that nobody changed are not redacted twice.  Raises :class:`~polltape.errors.InputError`.
    """
    if not paths:
        raise InputError("nothing to read", hint="name a capture folder, a .parquet, a .har or a .mitm file")
    opened = _Opened(redact, observe, key, anew)
    for path in map(str, paths):
        check_capture(path)
        opened.add(fetch(path, scratch.new_folder(), KINDS) if is_url(path) else Path(path))
    return opened.capture(tuple(without_credentials(path) if is_url(path) else path for path in map(str, paths)))


def read_exchanges(capture: Capture) -> Iterator[Exchange]:
    """Every exchange of the capture once, by request start, then id; memory stays bounded.

    Raises :class:`~polltape.errors.InputError` where a Parquet file is damaged behind its footer.
    """
    for table in read_tables(capture):
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            yield from from_table(table.slice(start, ROWS_AT_ONCE))


def read_tables(capture: Capture) -> Iterator[pa.Table]:
    """The same as tables of :data:`~polltape.exchange.SCHEMA`, none of them empty."""
    parts = [part for path in capture.files for part in read_parts(path)]
    table = capture.table
    if table is not None and table.num_rows:
        parts.append(Part(pc.min(table[STARTS]).as_py(), lambda: table))
    yield from merged_tables(parts)


@dataclass
class _Opened:
    """What has been opened so far."""

    redact: Step
    observe: Step
    key: Key | None
    anew: bool
    seen: set[Path] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    twice: int = 0
    coverage: list[Coverage] = field(default_factory=list)
    uncovered: list[Path] = field(default_factory=list)
    skipped: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Open one path, by what it is and how its name ends."""
        if path.is_dir():
            folder = read_folder(path)
            self.warnings += folder.warnings
            self.coverage += folder.coverage
            for file in (*folder.files, *folder.hars):
                self._add_file(file)
        else:
            self._add_file(path)

    def _add_file(self, path: Path) -> None:
        kind = kind_of(path)
        if path.resolve() in self.seen:
            return
        self.seen.add(path.resolve())
        footer = read_footer(path) if kind == "parquet" else None
        if footer is None or footer.older or self.anew:
            self._import(path, kind)
        else:
            self.files.append(path)
            self.coverage += footer.coverage
            self.uncovered += [] if footer.coverage else [path]

    def _import(self, path: Path, kind: str) -> None:
        """Read a file of another format; large ones become Parquet files."""
        found = import_file(path, kind, redact=self.redact, observe=self.observe, key=self.key)
        if found.file is not None:
            self.files.append(found.file)
        if found.table is not None:
            self.tables.append(found.table)
        before = len(self.ids)
        self.ids.update(found.ids)
        self.twice += before + len(found.ids) - len(self.ids)
        self.coverage += found.coverage
        self.skipped += found.skipped
        self.warnings += found.warnings

    def capture(self, sources: tuple[str, ...]) -> Capture:
        """All of it as one capture."""
        if self.twice:
            self.warnings.append(f"{_plural(self.twice)} more than once; counted once")
        table = each_once(in_order(pa.concat_tables(self.tables)), set()) if self.tables else None
        return Capture(tuple(self.files), table, self._coverage(), self.skipped, sources, tuple(self.warnings))

    def _coverage(self) -> tuple[Coverage, ...]:
        """What the sources say; of sessions that nothing tells about, what their rows show."""
        told = {coverage.session_id for coverage in self.coverage}
        spans: dict[str, Coverage] = {}
        for session, start, end in chain.from_iterable(read_spans(path) for path in self.uncovered):
            if session not in told:
                name = session or "unnamed"
                known = spans.get(name) or Coverage(name, start, end, source="")
                spans[name] = Coverage(name, min(known.started_at, start), max(known.ended_at, end), source="")
        return merged(chain(self.coverage, spans.values()))


def merged(coverage: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """Each session once: of several heartbeats the latest; by start, then id."""
    latest: dict[str, Coverage] = {}
    for found in coverage:
        known = latest.setdefault(found.session_id, found)
        if (found.ended_at, found.clean) > (known.ended_at, known.clean):
            latest[found.session_id] = found
    return tuple(sorted(latest.values(), key=lambda c: (c.started_at, c.session_id)))


def _plural(count: int) -> str:
    return f"{count} imported exchange{' stands' if count == 1 else 's stand'} there"
