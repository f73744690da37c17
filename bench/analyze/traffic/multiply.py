"""Rows of a few templates, multiplied: columns of Arrow in, columns of Arrow out, no loop over rows."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TOKEN: Final = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
"""Stands in the templates for what is each copy's own; 32 hexadecimal digits, as real tokens have them."""
CLIENT: Final = "c11e47c11e47c11e"
"""Stands there for the client's pseudonym."""
_OWN: Final = re.compile(f"({TOKEN}|{CLIENT})")


class Own(NamedTuple):
    """What each row has of its own, in the place of :data:`TOKEN` and of :data:`CLIENT`."""

    tokens: pa.Array[Any]
    clients: pa.Array[Any]

    def take(self, rows: np.ndarray[Any, Any]) -> Own:
        """Those of these rows."""
        index = pa.array(rows)
        return Own(self.tokens.take(index), self.clients.take(index))


def hexadecimal(values: np.ndarray[Any, Any]) -> pa.Array[Any]:
    """Rows of bytes, shape (n, k) of uint8, as n strings of 2 k hexadecimal digits."""
    count, width = values.shape
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((count, width, 2), np.uint8)
    text[:, :, 0] = digits[values >> 4]
    text[:, :, 1] = digits[values & 15]
    return _strings(text.reshape(count, 2 * width))


def uuids(milliseconds: np.ndarray[Any, Any], random: np.ndarray[Any, Any]) -> pa.Array[Any]:
    """UUIDv7 of the instants (milliseconds since 1970) and 16 random bytes each (RFC 9562 §5.7)."""
    values = random.copy()
    values[:, :6] = milliseconds.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    values[:, 6] = 0x70 | values[:, 6] & 0x0F
    values[:, 8] = 0x80 | values[:, 8] & 0x3F
    plain = np.frombuffer(hexadecimal(values).buffers()[2], np.uint8).reshape(-1, 32)
    text = np.full((len(values), 36), ord("-"), np.uint8)
    for start, end, to in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, to : to + end - start] = plain[:, start:end]
    return _strings(text)


def _strings(text: np.ndarray[Any, Any]) -> pa.Array[Any]:
    count, width = text.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text)))


def multiplied(template: pa.Array[Any], rows: np.ndarray[Any, Any], own: Own) -> pa.Array[Any]:
    """``template[rows]`` with what is each row's own in its place, at any depth."""
    kind = template.type
    if pa.types.is_string(kind):
        return _with_own(template, rows, own)
    if pa.types.is_list(kind):
        return _list(template, rows, own)
    if pa.types.is_struct(kind):
        fields = [multiplied(template.field(number), rows, own) for number in range(kind.num_fields)]
        missing = pc.invert(template.is_valid()).take(pa.array(rows))
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=missing)
    return template.take(pa.array(rows))


def _list(template: pa.Array[Any], rows: np.ndarray[Any, Any], own: Own) -> pa.Array[Any]:
    offsets = template.offsets.to_numpy()
    lengths = np.diff(offsets)[rows]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    owners = np.repeat(np.arange(len(rows)), lengths)
    inner = np.arange(ends[-1]) - ends[:-1][owners] + offsets[:-1][rows][owners]
    values = multiplied(template.values, inner, own.take(owners))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, type=template.type)


def _with_own(template: pa.Array[Any], rows: np.ndarray[Any, Any], own: Own) -> pa.Array[Any]:
    pieces = [[] if text is None else _OWN.split(text) for text in template.to_pylist()]
    most = max((len(found) for found in pieces), default=1)
    index = pa.array(rows)
    if most <= 1:
        return template.take(index)
    parts = []
    for n in range(most):
        texts = [found[n] if n < len(found) else None for found in pieces]
        part = pa.array(texts, pa.string()).take(index)
        if n % 2:  # a name between two pieces of text
            part = pc.if_else(pc.equal(part, CLIENT), own.clients, pc.if_else(part.is_valid(), own.tokens, part))
        parts.append(part)
    # A row without any piece would be dropped, not made null (pyarrow 26).
    joined = pc.binary_join_element_wise(parts[0].fill_null(""), *parts[1:], "", null_handling="skip")
    return pc.if_else(parts[0].is_valid(), joined, pa.scalar(None, pa.string()))
