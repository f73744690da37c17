"""From patterns to the tables of :mod:`polltape.operations.lives`: what is left are instants, names and lists.

Everything here goes over whole columns of Arrow and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polltape.operations.columns import (
    NONE,
    Flags,
    Floats,
    Ints,
    as_lists,
    at,
    called,
    flags,
    floats,
    in_turn,
    ints,
    joined,
    listed,
    narrow,
    small,
    whole,
)
from polltape.operations.covered import Covered
from polltape.operations.fold import ABANDONED_AFTER_US, ABANDONED_AFTER_WAITS, fold
from polltape.operations.patterns import AFTERWARDS, Laid, Patterns
from polltape.operations.shapes import Grouped, over, shapes
from polltape.operations.sightings import Part, seen

Columns = dict[str, Any]

_NO_NAMES: Final[Any] = pa.array([], pa.string())
_OPERATIONS: Final = (
    *("id", "protocol", "kind", "key", "host", "client", "truncated", "submitted_us", "accepted_us", "ended_us"),
    *("outcome", "polls", "statuses", "duration_s", "lower_s", "upper_s", "observed_s", "exchanges"),
    *("closed", "last_pending", "address", "asked", "released", "first_us"),
)
_NEVER: Final = np.iinfo(np.int64).max
_UNKNOWN: Final = np.iinfo(np.int64).min


class Lived(NamedTuple):
    """The tables of some groups, by name; the names of exchanges and of keys that their numbers stand for."""

    tables: dict[str, pa.Table]
    ids: Any
    names: Any


class LifeTables:
    """The tables, part by part; rows in no order."""

    def __init__(self, covered: Covered) -> None:
        self._covered = covered
        self._tables: dict[str, list[pa.Table]] = {}
        self._operations = 0
        self._exchanges: Any = _NO_NAMES
        self._names: Any = _NO_NAMES

    def lived(self, part: Part) -> Lived:
        """What lived in some groups; operations are numbered from 0."""
        grouped = part()
        shape, firsts = shapes(grouped) if len(grouped.table) else (np.zeros(0, np.int64), np.zeros(0, np.int64))
        patterns = Patterns()
        for group in seen(grouped.only(firsts)):
            patterns.add(group, fold(group))
        laid = patterns.everywhere(shape, grouped.bounds[:-1])
        told = _Part(grouped, laid, patterns.words)
        made = {
            "operations": told.operations(self._covered),
            "members": told.members(),
            "at_once": told.plain(laid.at_once, "protocol", "kind", "host"),
            "afterwards": told.afterwards(),
            "outside": told.outside(),
        }
        return Lived({name: pa.table(columns) for name, columns in made.items()}, grouped.ids, grouped.names)

    def add(self, lived: Lived) -> Ints:
        """These groups, too; the exchanges that an operation of theirs has."""
        self._exchanges, self._names = lived.ids, lived.names
        for name, table in lived.tables.items():
            if "number" in table.column_names:
                number = pa.array(ints(table["number"]) + self._operations, pa.int32())
                table = table.set_column(table.column_names.index("number"), "number", number)
            self._tables.setdefault(name, []).append(table)
        self._operations += len(lived.tables["operations"])
        return ints(lived.tables["members"]["row"])

    def operations(self) -> tuple[pa.Table, Ints]:
        """The operations by the start of the first exchange, then id; and the place of each by its number so far."""
        found = self.table("operations")
        order = in_turn(ints(found["first_us"]), lambda tied: self._ids(found.take(at(tied))))
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        columns: Columns = {}
        for name in found.column_names:  # one by one, so that no more than one is there twice
            columns[name] = whole(found[name].take(at(order)))
            found = found.drop_columns(name)
        named = {"id": self._ids(columns), "key": self._keys(columns)}
        return pa.table({name: named[name] if name in named else columns[name] for name in _OPERATIONS}), places

    def _ids(self, operations: Columns | pa.Table) -> Any:
        """Protocol and name of the exchange that comes first."""
        return joined(operations["protocol"], ":", self._exchanges.take(operations["first"]))

    def _keys(self, operations: Columns) -> Any:
        """The newest key of each operation, without its protocol; else a name that nobody can ask by."""
        offsets, parts = listed(pc.split_pattern(self._names.take(operations["key"]), "|", max_splits=1))
        last = offsets[1:] - 1
        found = parts.take(at(last, np.diff(offsets) == 0))
        return pc.coalesce(found, joined("exchange|", self._exchanges.take(operations["opened"])))

    def table(self, name: str) -> pa.Table:
        """One of them, as a whole."""
        parts = pa.concat_tables(self._tables.pop(name), promote_options="permissive")
        return pa.table({column: _one(parts[column]) for column in parts.column_names})


class _Part:
    """The columns of a part's tables."""

    def __init__(self, grouped: Grouped, laid: Laid, words: Sequence[str]) -> None:
        self._grouped = grouped
        self._laid = laid
        self._words = words
        members = laid.members["operation"]
        self._begins = np.flatnonzero(np.diff(members, prepend=-1))

    def plain(self, at: Mapping[str, Ints], *names: str) -> Columns:
        """Columns of the observations at these rows."""
        return {name: self._of(at["row"], name) for name in names}

    def operations(self, covered: Covered) -> Columns:
        """The table of operations; see :mod:`polltape.operations.lives`."""
        laid = self._laid.operations
        first, opened, ended, last = (laid[name] for name in ("first", "opened", "ended", "last"))
        truncated = laid["truncated"].astype(bool)
        start_us, end_us = self._grouped.ints("start_us"), self._grouped.ints("end_us")
        answered_us = ints(self._grouped.column("response_start_us"), _UNKNOWN)
        t0, ends_us, last_us = end_us[opened], end_us[ended], end_us[last]
        unended, unknown = ended == NONE, answered_us[ended] == _UNKNOWN
        limit_us = np.where(unended, _NEVER, np.where(unknown, ends_us, answered_us[ended]))
        lower_us = self._last_pending(start_us, limit_us)
        asked_s, asked = self._last_asked()
        return {
            "first": narrow(self._of_exchange(first)),
            "opened": narrow(self._of_exchange(opened)),
            **{name: self._of(opened, name) for name in ("protocol", "kind")},
            "key": self._keys(),
            **{name: self._of(first, name) for name in ("host", "client")},
            "truncated": pa.array(truncated),
            "submitted_us": _nullable(start_us[first], truncated),
            "accepted_us": _nullable(t0, truncated),
            "ended_us": _nullable(ends_us, truncated | unended),
            "outcome": self._outcomes(last_us, asked_s, covered),
            "polls": pa.array(laid["polls"]),
            "statuses": self._listed(self._of(self._laid.members["row"], "status")),
            "duration_s": _since(t0, ends_us, truncated | unended),
            "lower_s": _since(t0, np.where(lower_us == _UNKNOWN, t0, lower_us), truncated),
            "upper_s": _since(t0, answered_us[ended], truncated | unended | unknown),
            "observed_s": _since(t0, last_us, truncated),
            "exchanges": self._exchanges(),
            "closed": _nullable(self._grouped.ints("ends")[laid["closed"]], laid["closed"] == NONE),
            "last_pending": pa.array(laid["last_shows"] == self._number("pending")),
            "address": pa.array(self._any("address")),
            "asked": pa.array(asked),
            "released": pa.array(laid["released"].astype(bool)),
            "first_us": pa.array(start_us[first]),
        }

    def members(self) -> Columns:
        """The table of members."""
        at = self._laid.members
        return {
            "row": narrow(self._of_exchange(at["row"])),
            "number": narrow(at["operation"]),
            "protocol": self._of(self._laid.operations["opened"], "protocol").take(narrow(at["operation"])),
            "role": self._worded(at["role"]),
            "state": self._worded(at["state"]),
        }

    def afterwards(self) -> Columns:
        """The table of what happened after an end."""
        at = self._laid.afterwards
        ending = self._laid.operations["ended"][at["operation"]]
        words: Any = pa.array(AFTERWARDS, pa.string())
        return {
            "row": narrow(self._of_exchange(at["row"])),
            "number": narrow(at["operation"]),
            "ending": narrow(self._of_exchange(ending), ending == NONE),
            "what": words.take(narrow(at["what"])),
        }

    def outside(self) -> Columns:
        """The table of reads of an idle resource."""
        at = self._laid.outside
        first = pa.array(np.zeros(len(at["row"]), np.int64))
        keys = self._of(at["row"], "keys")
        return {
            "row": narrow(self._of_exchange(at["row"])),
            "key": self._grouped.names.take(_element(keys, first)),
            **self.plain(at, "status", "state"),
            "idle": pa.array(at["idle"].astype(bool)),
        }

    # --------------------------------------------------------------------------------------- columns

    def _of(self, rows: Ints, name: str) -> Any:
        """A column at these rows; null where there is none."""
        return self._grouped.column(name).take(_rows(rows))

    def _of_exchange(self, places: Ints) -> Ints:
        """The rows of the exchanges that these observations are of."""
        return self._grouped.ints("row")[places]

    def _number(self, word: str) -> int:
        return self._words.index(word) if word in self._words else NONE - 1

    def _worded(self, numbers: Ints) -> Any:
        return small(called(numbers, pa.array(self._words, pa.string())))

    def _keys(self) -> Any:
        """The newest key of each operation, null where it has none."""
        laid = self._laid.operations
        keys, issued = self._of(laid["key"], "keys"), self._of(laid["key"], "issued")
        count = ints(keys.value_lengths())
        asked = np.where((laid["key"] != NONE) & (laid["key_at"] < count), laid["key_at"], NONE)
        given = np.where((laid["key"] != NONE) & (laid["key_at"] >= count), laid["key_at"] - count, NONE)
        return pc.coalesce(_element(keys, _rows(asked)), _element(issued, _rows(given)))

    def _exchanges(self) -> Any:
        return self._listed(called(self._of_exchange(self._laid.members["row"]), self._grouped.ids))

    def _listed(self, values: Any) -> Any:
        """Of each operation the values of its members."""
        return as_lists(np.append(self._begins, len(values)), values)

    def _any(self, name: str) -> Flags:
        said = flags(self._grouped.column(name))
        return over(np.logical_or, said[self._laid.members["row"]], self._begins)

    def _last_pending(self, start_us: Ints, limit_us: Ints) -> Ints:
        """Start of the last member that showed pending and began before the limit."""
        at = self._laid.members
        starts = start_us[at["row"]]
        showing = (at["state"] == self._number("pending")) & (starts < limit_us[at["operation"]])
        return over(np.maximum, np.where(showing, starts, _UNKNOWN), self._begins)

    def _last_asked(self) -> tuple[Floats, Flags]:
        """The last usable wait that a member was asked to keep, else 0; and whether there was one."""
        at = self._laid.members
        asked_s = floats(self._grouped.column("asked_s"))[at["row"]]
        ends = np.where(np.isnan(asked_s), NONE, self._grouped.ints("ends")[at["row"]])
        last = over(np.maximum, ends, self._begins)
        of_last = (ends == last[at["operation"]]) & (ends != NONE)
        return over(np.maximum, np.where(of_last, asked_s, 0.0), self._begins), last != NONE

    def _outcomes(self, last_us: Ints, asked_s: Floats, covered: Covered) -> Any:
        patience_us = np.maximum(ABANDONED_AFTER_US, ABANDONED_AFTER_WAITS * asked_s * 1e6)
        words = list(dict.fromkeys([*self._words, "abandoned", "pending"]))
        waited = covered.until_each(last_us) >= last_us + patience_us
        left = np.where(waited, words.index("abandoned"), words.index("pending"))
        outcome = self._laid.operations["outcome"]
        return small(called(np.where(outcome == NONE, left, outcome), pa.array(words)))


def _one(column: Any) -> Any:
    """The parts of a column as one; lists of names have the same names everywhere."""
    return whole(column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column)


def _rows(rows: Ints) -> Any:
    """Row numbers to take, NONE as null."""
    return at(rows, rows == NONE)


def _element(lists: Any, places: Any) -> Any:
    """One element of each list; null where no place is given."""
    lengths = ints(lists.value_lengths())
    return lists.flatten().take(pc.add(pa.array(np.cumsum(lengths) - lengths), places))


def _nullable(values: np.ndarray[Any, Any], null: Flags) -> Any:
    return pa.array(values, mask=null)


def _since(t0: Ints, us: Ints, null: Flags) -> Any:
    """Seconds since t0, at least 0."""
    return _nullable(np.maximum(0, np.where(null, 0, us) - t0) / 1e6, null)
