"""Keys that belong together: connected components of the small table of edges between keys.

A key is what an answer issues and later requests ask by.  Most operations have one key all their life; queue
tokens rotate and monitors move, so that one exchange asks by one key and issues the next: an edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from polltape.operations.columns import Flags, Ints, Numbers, coded, flags, ints, known, listed, whole
from polltape.operations.shapes import over


def components(left: Numbers, right: Numbers, size: int) -> Numbers:
    """For each number below ``size`` the smallest that it is linked with, through edges between two each.

    >>> components(np.array([1, 0, 4]), np.array([2, 1, 3]), 6).tolist()
    [0, 0, 0, 3, 3, 5]
    """
    top = np.arange(size, dtype=np.int32)
    while True:
        ends = top[left], top[right]
        least = np.minimum(*ends)
        linked = top.copy()
        for end in ends:
            np.minimum.at(linked, end, least)
        while not np.array_equal(further := linked[linked], linked):  # what leads on: chains may be long
            linked = further
        if np.array_equal(linked, top):
            return top
        top = linked


def linked(names: pa.Table) -> tuple[Numbers, Flags]:
    """The component of each row: equal where names are linked, however far apart; and which rows are part of anything.

    ``names``: ``keys`` and ``issued`` (lists of numbers) and ``target``, ``opening`` (opens or truncates an operation),
    ``opens``, ``general`` (whatever a request addresses is a key).  A target equals no key.

    A name that nobody ever issued links nothing: any GET addresses its own URL and all the endings of its path.
    """
    columns: dict[str, Any] = {name: whole(names[name]) for name in names.column_names}
    rows = len(names)
    lists = [listed(columns["keys"]), listed(columns["issued"])]
    there = known(columns["target"]).astype(np.int64)
    counts = [np.diff(offsets) for offsets, _ in lists] + [there]
    keys = np.concatenate([ints(values) for _, values in lists]).astype(np.int32)
    number = np.append(keys, (coded(columns["target"].drop_null()) + int(keys.max(initial=0))).astype(np.int32))
    row = np.concatenate([np.repeat(np.arange(rows, dtype=np.int32), count) for count in counts])
    opening = flags(columns["opening"])
    links = _may_link(number, row, counts, opening)
    order = np.argsort(row, kind="stable")
    number, row = number[order], row[order]
    begins = np.flatnonzero(np.diff(row, prepend=-1))
    several = np.zeros(rows, bool)
    several[row[begins]] = over(np.minimum, number, begins) != over(np.maximum, number, begins)
    several |= (there > 0) & (counts[0] + counts[1] > 0)
    most = int(number.max(initial=0))
    first = np.arange(most + 1, most + 1 + rows, dtype=np.int32)  # of its own, where it has no name
    first[row[begins]] = number[begins]
    told = links[number] & several[row]
    linking, of = number[told], row[told]
    heads = np.flatnonzero(np.diff(of, prepend=-1))
    first[of[heads]] = linking[heads]
    top = components(first[of], linking, rows + most + 1)
    related = np.zeros(rows, bool)
    related[of[heads]] = True
    # What addresses nothing that was issued, and opens nothing, is no part of anything.
    part = ~flags(columns["general"]) | related | ~several | flags(columns["opens"])
    return top[first], part


def _may_link(number: Numbers, row: Numbers, counts: list[Ints], opening: Flags) -> Flags:
    """By name: what an answer gave out, what an opening request addressed, what may be sent again."""
    asked = int(counts[0].sum())
    links = np.zeros(int(number.max(initial=0)) + 1, bool)
    links[number[asked:]] = True
    begins = np.flatnonzero(np.diff(row[:asked], prepend=-1))
    links[number[begins[opening[row[begins]]]]] = True
    return links
