"""Keys that belong together: connected components of the small table of edges between keys.

A key is what an answer issues and later requests ask by.  Most operations have one key all their life; queue
tokens rotate and monitors move, so that one exchange asks by one key and issues the next: an edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from polltape.operations.columns import Flags, Ints, coded, flags, known, listed
from polltape.operations.shapes import over


def components[Name: (str, int)](edges: Iterable[tuple[Name, Name]]) -> dict[Name, Name]:
    """Each linked key with the smallest key of its component; keys without an edge are left out.

    >>> components([("b", "c"), ("a", "b"), ("x", "y")])
    {'b': 'a', 'c': 'a', 'a': 'a', 'x': 'x', 'y': 'x'}
    """
    parent: dict[Name, Name] = {}

    def root(key: Name) -> Name:
        parent.setdefault(key, key)
        top = key
        while parent[top] != top:
            top = parent[top]
        while parent[key] != top:  # compress the path: chains may be long
            parent[key], key = top, parent[key]
        return top

    for left, right in edges:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return {key: root(key) for key in parent}


def linked(names: pa.Table) -> tuple[Ints, Flags]:
    """The component of each row: equal where names are linked, however far apart; and which rows are part of anything.

    ``names``: ``keys`` and ``issued`` (lists) and ``target``, ``opening`` (opens or truncates an operation), ``opens``,
    ``general`` (whatever a request addresses is a key).  A target equals no key.

    A name that nobody ever issued links nothing: any GET addresses its own URL and all the endings of its path.
    """
    columns: dict[str, Any] = {name: names[name].combine_chunks() for name in names.column_names}
    rows = len(names)
    lists = [listed(columns["keys"]), listed(columns["issued"])]
    there = known(columns["target"]).astype(np.int64)
    counts = [np.diff(offsets) for offsets, _ in lists] + [there]
    keys = coded(pa.concat_arrays([values for _, values in lists]))
    number = np.append(keys, coded(columns["target"].drop_null()) + int(keys.max(initial=0)))
    row = np.concatenate([np.repeat(np.arange(rows), count) for count in counts])
    opening = flags(columns["opening"])
    links = _may_link(number, row, counts, opening)
    order = np.argsort(row, kind="stable")
    number, row = number[order], row[order]
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    several = np.zeros(rows, bool)
    several[row[begins]] = over(np.minimum, number, begins) != over(np.maximum, number, begins)
    several |= (there > 0) & (counts[0] + counts[1] > 0)
    most = int(number.max(initial=0))
    first = np.arange(rows) + most + 1  # of its own, where it has no name
    first[row[begins]] = number[begins]
    told = links[number] & several[row]
    linking, of = number[told], row[told]
    heads = np.flatnonzero(np.diff(of, prepend=-1))
    first[of[heads]] = linking[heads]
    top = np.arange(rows + most + 1)
    for name, least in components(_edges(first[of], linking)).items():
        top[name] = least
    related = np.zeros(rows, bool)
    related[of[heads]] = True
    # What addresses nothing that was issued, and opens nothing, is no part of anything.
    part = ~flags(columns["general"]) | related | ~several | flags(columns["opens"])
    return top[first], part


def _may_link(number: Ints, row: Ints, counts: list[Ints], opening: Flags) -> Flags:
    """By name: what an answer gave out, what an opening request addressed, what may be sent again."""
    asked = int(counts[0].sum())
    links = np.zeros(int(number.max(initial=0)) + 1, bool)
    links[number[asked:]] = True
    begins = np.flatnonzero(np.diff(row[:asked], prepend=-1))
    links[number[begins[opening[row[begins]]]]] = True
    return links


def _edges(left: Ints, right: Ints) -> Iterable[tuple[int, int]]:
    """Each pair of different names once."""
    apart = left != right
    pairs = np.unique(np.stack([left[apart], right[apart]], axis=1), axis=0)
    return map(tuple, pairs.tolist())
