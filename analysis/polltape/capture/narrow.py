"""A few columns of a whole capture, as measuring wants them: one chunk each, texts as numbers into a dictionary.

Most texts of a capture stand there many times: a host, a path that is polled, a protocol.  Parquet keeps each
once a row group, and what is read so is never spelled out again: equal texts are equal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from polltape.capture.footers import damage
from polltape.exchange import SCHEMA

if TYPE_CHECKING:
    from polltape.capture.reading import Capture

Ints = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
Place = tuple[str, ...]
"""A column of the capture's schema, or a field of it: its names from the outside in."""

UNCODED: Final = frozenset({"exchange_id", "request_id", "flaws"})
"""Columns whose texts hardly ever stand there twice, or are hardly ever there."""
ROWS_AT_ONCE: Final = 1 << 17
BYTES_AT_ONCE: Final = 32_000_000
COLUMNS_AT_ONCE: Final = 2
"""So many columns are put together side by side: their texts are compared, which takes as long as reading them."""


def read_columns(capture: Capture, columns: Mapping[str, Place]) -> pa.Table:
    """These columns of every row, under these names, in the order of the capture's sources.

    Texts are dictionaries, those of :data:`UNCODED` aside.  An exchange that stands in several sources is there as
    often.  Raises :class:`~polltape.errors.InputError` where a file is damaged behind its footer.
    """
    fields = _fields(columns)
    parts = [_empty(columns)]
    if capture.files:
        parts.append(_of_files(capture.files, fields))
    if capture.table is not None:
        parts.append(_of_table(capture.table, fields))
    return _whole(parts)


def read_rows(capture: Capture, columns: Mapping[str, Place], rows: Ints) -> pa.Table:
    """The same of some rows, in their order; of large captures only a part is there at a time."""
    fields = _fields(columns)
    order = np.argsort(rows, kind="stable")
    wanted = rows[order]
    parts = [_empty(columns)]
    begin = 0
    for files in _together(capture.files):
        end = begin + sum(map(_rows, files))
        theirs = wanted[slice(*np.searchsorted(wanted, (begin, end)))] - begin
        if len(theirs):
            parts.append(_whole([_of_files(files, fields)]).take(theirs))
        begin = end
    if capture.table is not None:
        parts.append(_of_table(capture.table, fields).take(wanted[wanted >= begin] - begin))
    back: Ints = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return _whole(parts).take(back)


def _together(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The files in their order, some megabytes at a time."""
    some: list[Path] = []
    size = 0
    for path in files:
        some.append(path)
        size += path.stat().st_size
        if size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _rows(path: Path) -> int:
    with damage(path):
        return pq.read_metadata(path).num_rows


def _fields(columns: Mapping[str, Place]) -> dict[str, Any]:
    return {name: pc.field(place if len(place) > 1 else place[0]) for name, place in columns.items()}


def _whole(parts: list[pa.Table]) -> pa.Table:
    """The tables one behind the other; they are used up, so that no column is there twice for long."""
    columns = {name: [chunk for part in parts for chunk in part[name].chunks] for name in parts[0].column_names}
    parts.clear()

    def one(name: str) -> Any:
        return pa.chunked_array(columns.pop(name)).unify_dictionaries().combine_chunks()

    names = list(columns)
    with ThreadPoolExecutor(COLUMNS_AT_ONCE) as threads:
        found = dict(zip(names, threads.map(one, names), strict=True))
    # Row groups come with a dictionary each, several times what is left of them; Arrow would keep that for later.
    pa.default_memory_pool().release_unused()
    return pa.table(found)


def _of_files(files: Sequence[Path], fields: Mapping[str, Any]) -> pa.Table:
    coded = ds.ParquetFileFormat(dictionary_columns=list(_texts(SCHEMA)))

    def read(some: Sequence[Path]) -> pa.Table:
        return ds.dataset(list(map(str, some)), format=coded).to_table(columns=dict(fields), batch_size=ROWS_AT_ONCE)

    try:
        return read(files)
    except (pa.ArrowException, OSError):
        for path in files:  # one by one, to tell which it is
            with damage(path):
                read([path])
        raise


def _of_table(table: pa.Table, fields: Mapping[str, Any]) -> pa.Table:
    found = ds.dataset(table).to_table(columns=dict(fields))
    return pa.table({name: _coded(found[name].combine_chunks(), name) for name in found.column_names})


def _empty(columns: Mapping[str, Place]) -> pa.Table:
    """No row, so that there is a table where there is no source; and what each source's columns must be."""
    kinds: dict[str, Any] = {}
    for name, (column, *inner) in columns.items():
        kind: Any = SCHEMA.field(column).type
        for field in inner:
            kind = kind.field(field).type
        kinds[name] = _coded(pa.array([], kind), name)
    return pa.table(kinds)


def _coded(values: Any, name: str) -> Any:
    """The values with dictionaries for texts, at any depth."""
    kind = values.type
    if name in UNCODED:
        return values
    if pa.types.is_string(kind):
        return values.dictionary_encode()
    if pa.types.is_list(kind):
        inner = _coded(values.flatten(), "")
        offsets: Any = _offsets(values)
        return pa.ListArray.from_arrays(offsets, inner, mask=values.is_null() if values.null_count else None)
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        parts = [_coded(pc.struct_field(values, field.name), field.name) for field in fields]
        return pa.StructArray.from_arrays(parts, names=[field.name for field in fields])
    return values


def _offsets(values: Any) -> Any:
    """Where each list begins among all values, nulls being empty."""
    lengths = pc.fill_null(values.value_lengths(), 0)
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])


def _texts(fields: Sequence[Any] | pa.Schema, within: str = "") -> Iterator[str]:
    """The columns of texts, by the names that they have inside of a Parquet file."""
    for field in fields:
        if field.name not in UNCODED:
            yield from _leaves(f"{within}{field.name}", field.type)


def _leaves(path: str, kind: Any) -> Iterator[str]:
    if pa.types.is_string(kind):
        yield path
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        yield from _texts([kind.field(number) for number in range(kind.num_fields)], f"{path}.")
