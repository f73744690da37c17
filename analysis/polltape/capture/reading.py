"""Opening what a user names: capture folders, Parquet files, HAR files, mitmproxy flow files.

Parquet files are only checked (their footers) and left to whoever queries them; what comes from other
formats is imported: redacted, observed, and held as one Arrow table of the same columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Final

import pyarrow as pa

from polltape.capture.flows import read_flows
from polltape.capture.folder import read_folder
from polltape.capture.footers import read_footer, read_rows
from polltape.capture.har import read_har
from polltape.capture.keys import Key
from polltape.capture.notes import Notes
from polltape.errors import InputError
from polltape.exchange import Coverage, Exchange, from_table, to_table

Step = Callable[[Exchange], Exchange]
Reader = Callable[[Path, Notes, Key | None], Iterator[tuple[Exchange, bool]]]

KINDS: Final = {".parquet": "parquet", ".har": "har", ".mitm": "flows", ".flow": "flows", ".flows": "flows"}
"""What an ending says about a file."""

IMPORTERS: Final[dict[str, tuple[Reader, str]]] = {"har": (read_har, "entry"), "flows": (read_flows, "flow")}
"""How a kind is read, and what its pieces are called; each comes with whether it is redacted already."""


def kind_of(path: Path) -> str:
    """``parquet``, ``har`` or ``flows``, by the ending.  Raises :class:`InputError` for any other."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(KINDS)
        raise InputError(f"{path}: unknown kind of file", hint=f"its name must end in one of {endings}")
    return kind


@dataclass(frozen=True)
class Capture:
    """What was opened.

    ``files``: Parquet files of :data:`~polltape.exchange.SCHEMA`, each checked.  ``table``: what was imported
    from other formats, redacted and observed, each exchange once; None where there are only Parquet files.
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


def open_capture(paths: Sequence[str | Path], *, redact: Step, observe: Step, key: Key | None = None) -> Capture:
    """Open all paths as one capture.

    What is imported goes through ``redact``, then ``observe``; entries that we exported ourselves under
    ``key`` and that nobody changed are not redacted twice.  Raises :class:`~polltape.errors.InputError`.
    """
    if not paths:
        raise InputError("nothing to read", hint="name a capture folder, a .parquet, a .har or a .mitm file")
    opened = _Opened(redact, observe, key)
    for path in paths:
        opened.add(Path(path))
    return opened.capture(tuple(str(path) for path in paths))


def read_exchanges(capture: Capture) -> Iterator[Exchange]:
    """Every exchange of the capture once, by request start, then id.

    Raises :class:`~polltape.errors.InputError` where a Parquet file is damaged behind its footer.
    """
    imported = [] if capture.table is None else from_table(capture.table)
    rows = chain(imported, chain.from_iterable(read_rows(path) for path in capture.files))
    yield from sorted(unique(rows).values(), key=_by_start)


def unique(exchanges: Iterable[Exchange]) -> dict[str, Exchange]:
    """Each exchange once, by its id; of several the one of the first session, whatever their order."""
    found: dict[str, Exchange] = {}
    for exchange in exchanges:
        known = found.setdefault(exchange.exchange_id, exchange)
        if (exchange.session_id or "") < (known.session_id or ""):
            found[exchange.exchange_id] = exchange
    return found


def _by_start(exchange: Exchange) -> tuple[datetime, str]:
    return exchange.request_started_at, exchange.exchange_id


@dataclass
class _Opened:
    """What has been opened so far."""

    redact: Step
    observe: Step
    key: Key | None
    seen: set[Path] = field(default_factory=set)
    files: list[Path] = field(default_factory=list)
    imported: list[Exchange] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    uncovered: list[Path] = field(default_factory=list)
    skipped: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Open one path, by what it is and how its name ends."""
        if not path.exists():
            raise InputError(f"{path}: no such file or folder", hint="name a capture folder, .parquet, .har or .mitm")
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
        if kind == "parquet":
            self.files.append(path)
            covered = read_footer(path)
            self.coverage += covered
            self.uncovered += [] if covered else [path]
        else:
            self._import(path, kind)

    def _import(self, path: Path, kind: str) -> None:
        """Read a file of another format: redact, then observe, each exchange as it comes."""
        read, noun = IMPORTERS[kind]
        notes = Notes(str(path), noun)
        rows = [self._take(*found) for found in read(path, notes, self.key)]
        session_id = f"{kind}-{_digest(row.exchange_id for row in rows)}"
        rows = [row if row.session_id else replace(row, session_id=session_id) for row in rows]
        self.imported += rows
        self.coverage += notes.coverage
        told = {coverage.session_id for coverage in notes.coverage}
        self.coverage += span([row for row in rows if row.session_id not in told], session_id, str(path))
        self.skipped += notes.skipped
        self.warnings += notes.warnings()
        if not rows:
            self.warnings.append(f"{path}: holds no HTTP exchange")

    def _take(self, exchange: Exchange, redacted: bool) -> Exchange:
        return self.observe(exchange if redacted else self.redact(exchange))

    def capture(self, sources: tuple[str, ...]) -> Capture:
        """All of it as one capture."""
        imported = sorted(unique(self.imported).values(), key=_by_start)
        twice = len(self.imported) - len(imported)
        if twice:
            self.warnings.append(f"{_plural(twice)} more than once; counted once")
        table = to_table(imported) if imported or not self.files else None
        return Capture(tuple(self.files), table, self._coverage(), self.skipped, sources, tuple(self.warnings))

    def _coverage(self) -> tuple[Coverage, ...]:
        """What the sources say; of sessions that nothing tells about, what their rows show."""
        told = {coverage.session_id for coverage in self.coverage}
        shown = [row for path in self.uncovered for row in read_rows(path) if row.session_id not in told]
        by_session: dict[str, list[Exchange]] = {}
        for row in shown:
            by_session.setdefault(row.session_id or "unnamed", []).append(row)
        spans = [span(rows, session, "") for session, rows in by_session.items()]
        return merged(chain(self.coverage, *spans))


def span(rows: Sequence[Exchange], session_id: str, source: str) -> list[Coverage]:
    """What a file without recording sessions covers: its first request's start to its last response's end."""
    if not rows:
        return []
    start = min(row.request_started_at for row in rows)
    end = max(row.last_instant for row in rows)
    return [Coverage(session_id, start, max(start, end), source=source)]


def merged(coverage: Iterable[Coverage]) -> tuple[Coverage, ...]:
    """Each session once: of several heartbeats the latest; by start, then id."""
    latest: dict[str, Coverage] = {}
    for found in coverage:
        known = latest.setdefault(found.session_id, found)
        if (found.ended_at, found.clean) > (known.ended_at, known.clean):
            latest[found.session_id] = found
    return tuple(sorted(latest.values(), key=lambda c: (c.started_at, c.session_id)))


def _digest(ids: Iterable[str]) -> str:
    return sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def _plural(count: int) -> str:
    return f"{count} imported exchange{' stands' if count == 1 else 's stand'} there"
