"""What the fold says of one group, told for all groups of its shape: places within the group, not exchanges.

:class:`Patterns` collects the fold's answers for one group of each shape as columns of whole numbers;
:meth:`Patterns.everywhere` lays them over the groups.  No loop there: a million operations of a hundred shapes cost
a hundred folds and a few gathers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from polltape.operations.columns import NONE, Ints
from polltape.operations.fold import Folded, Operation, Seen
from polltape.operations.shapes import ragged

AFTERWARDS: Final = ("backwards", "polled_on", "stale", "bare")
"""What happened after an end, or beside an operation; told by its place here."""


class Columns:
    """Rows of whole numbers of each shape, and of each group when they are laid over the groups."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._rows: list[tuple[int, ...]] = []
        self._ends: list[int] = []

    def add(self, rows: Sequence[tuple[int, ...]]) -> None:
        """The rows of the next shape."""
        self._rows += rows
        self._ends.append(len(self._rows))

    def everywhere(self, shape: Ints) -> tuple[Ints, dict[str, Ints]]:
        """The number of each row's group, and the columns: each group has the rows of its shape."""
        ends = np.array(self._ends, np.int64)
        counts = np.diff(ends, prepend=0)
        rows = ragged((ends - counts)[shape], counts[shape])
        table = np.array(self._rows, np.int64).reshape(-1, len(self._names))
        columns = {name: table[rows, place] for place, name in enumerate(self._names)}
        return np.repeat(np.arange(len(shape)), counts[shape]), columns


@dataclass(frozen=True)
class Laid:
    """The patterns laid over groups: columns of row numbers, operations numbered from 0 in the order of groups.

    ``operations``: ``first`` (by start), ``opened`` (its t0), ``truncated``, ``ended`` and ``closed`` (rows, or NONE),
    ``outcome``, ``polls``, ``last``, ``last_shows``, ``released``, and where its key stands: ``key`` (row, or NONE)
    and ``key_at`` (place among the row's keys and issued keys).  ``members``: ``operation``, ``row``, ``role``,
    ``state``; by operation, the submit first, then by start.  ``at_once``: ``row``.  ``afterwards``: ``row``,
    ``operation``, ``what``.  ``outside``: ``row``, ``idle``.  Roles, states and outcomes are numbers of
    :attr:`Patterns.words`, or NONE.
    """

    operations: dict[str, Ints]
    members: dict[str, Ints]
    at_once: dict[str, Ints]
    afterwards: dict[str, Ints]
    outside: dict[str, Ints]


_ROWS: Final = frozenset({"row", "first", "opened", "ended", "closed", "last", "key"})


class Patterns:
    """The fold's answers, one shape after the other; ``words``: roles, states and outcomes by number."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._operations = Columns(
            *("first", "opened", "truncated", "ended", "closed", "outcome", "polls", "last", "last_shows"),
            *("released", "key", "key_at"),
        )
        self._members = Columns("operation", "row", "role", "state")
        self._at_once = Columns("row")
        self._afterwards = Columns("row", "operation", "what")
        self._outside = Columns("row", "idle")

    @property
    def words(self) -> list[str]:
        """Roles, states and outcomes, in the order of their numbers."""
        return list(self._words)

    def add(self, group: Sequence[Seen], folded: Folded) -> None:
        """What the fold says of a group, rows in the order of their ends."""
        places = {id(seen): place for place, seen in enumerate(group)}
        numbers = {id(operation): number for number, operation in enumerate(folded.operations)}
        self._operations.add(self._told(group, places, folded.operations))
        self._members.add(
            [
                (number, places[id(member.seen)], self._word(member.role), self._word(member.state))
                for number, operation in enumerate(folded.operations)
                for member in operation.by_start
            ]
        )
        self._at_once.add([(places[id(seen)],) for seen in folded.at_once])
        self._afterwards.add(
            [
                (places[id(seen)], numbers[id(operation)], what)
                for what, name in enumerate(AFTERWARDS)
                for seen, operation in getattr(folded, name)
            ]
        )
        taken = {key for operation in folded.operations for key in operation.types} if folded.outside else set()
        self._outside.add([(places[id(seen)], int(seen.keys[0] not in taken)) for seen in folded.outside])

    def _told(
        self, group: Sequence[Seen], places: dict[int, int], operations: Sequence[Operation]
    ) -> list[tuple[int, ...]]:
        ends = {seen.ends: place for place, seen in reversed(list(enumerate(group)))}
        keys = _keys(group) if operations else {}
        rows: list[tuple[int, ...]] = []
        for operation in operations:
            last, end, closed = operation.last, operation.ended_by, operation.closed_at
            rows.append(
                (
                    places[id(operation.by_start[0].seen)],
                    places[id(operation.first)],
                    int(operation.truncated),
                    NONE if end is None else places[id(end)],
                    NONE if closed is None else ends[closed],
                    self._word(operation.outcome),
                    operation.polls,
                    places[id(last.seen)],
                    self._word(last.state),
                    int(operation.released is not None),
                    *(keys[operation.named] if operation.named else (NONE, NONE)),
                )
            )
        return rows

    def _word(self, text: str | None) -> int:
        return NONE if text is None else self._words.setdefault(text, len(self._words))

    def everywhere(self, shape: Ints, begins: Ints) -> Laid:
        """For groups of these shapes that begin at these rows."""
        group, operations = self._operations.everywhere(shape)
        first = np.searchsorted(group, np.arange(len(shape)))
        parts = {"operations": _placed(operations, begins[group])}
        for name in ("members", "at_once", "afterwards", "outside"):
            at, columns = getattr(self, f"_{name}").everywhere(shape)
            if "operation" in columns:
                columns["operation"] = columns["operation"] + first[at]
            parts[name] = _placed(columns, begins[at])
        return Laid(**parts)


def _placed(columns: dict[str, Ints], begins: Ints) -> dict[str, Ints]:
    """Places within the group as row numbers."""
    return {
        name: np.where(numbers == NONE, NONE, numbers + begins) if name in _ROWS else numbers
        for name, numbers in columns.items()
    }


def _keys(group: Sequence[Seen]) -> dict[str, tuple[int, int]]:
    """Where each key stands first: the row's place, and its place among the row's keys and issued keys."""
    found: dict[str, tuple[int, int]] = {}
    for place, seen in enumerate(group):
        for at, key in enumerate((*seen.keys, *seen.issued)):
            found.setdefault(key, (place, at))
    return found
