"""``docs/schema.md``, made from :data:`polltape.exchange.COLUMNS`: ``python -m polltape.capture.schema_doc``."""

from __future__ import annotations

import pyarrow as pa

from polltape.exchange import COLUMNS, SCHEMA_VERSION

_HEAD = """\
# The columns of a capture

Schema version {version}, one row an exchange. Every Parquet file of a capture carries the version in its metadata
(`polltape.schema`) and each column's meaning as the field's `comment`. Older versions stay readable; a newer one
is refused with a line that says so. Unknown is null, never 0.

Made by `python -m polltape.capture.schema_doc > docs/schema.md`; a test holds it up to date.

| column | type | meaning |
|---|---|---|
"""


def markdown() -> str:
    """The page: a table of columns, then one of the fields inside the nested ones."""
    rows = [f"| `{name}` | {_type(kind)} | {meaning} |\n" for name, kind, meaning in COLUMNS]
    nested = [f"\n`{name}`: {_fields(kind)}\n" for name, kind, _ in COLUMNS if _struct(kind) is not None]
    return (
        _HEAD.format(version=SCHEMA_VERSION) + "".join(rows) + "\n## Fields of the nested columns\n" + "".join(nested)
    )


def _struct(kind: pa.DataType) -> pa.StructType | None:
    inner = kind.value_type if isinstance(kind, pa.ListType) else kind
    return inner if isinstance(inner, pa.StructType) else None


def _fields(kind: pa.DataType) -> str:
    struct = _struct(kind)
    assert struct is not None
    return ", ".join(f"`{field.name}` {_type(field.type)}" for field in struct)


def _type(kind: pa.DataType) -> str:
    if isinstance(kind, pa.ListType):
        return f"list of {_type(kind.value_type)}"
    return "struct" if isinstance(kind, pa.StructType) else str(kind)


if __name__ == "__main__":
    print(markdown(), end="")
