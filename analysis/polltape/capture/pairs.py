"""Names and values in pairs: ``{"name": "email", "value": …}``, ``k``/``v``, ``field``/``val``.

Forms, lists of headers, audit logs and markup have them.  Spellings are all that are usual: ``fieldName``,
``field_name``, ``FieldName``, ``FIELD_NAME``.
"""

from __future__ import annotations

from typing import Final

LONGEST_NAME: Final = 80
"""A longer text names nothing."""


def _spellings(*names: str) -> frozenset[str]:
    """Each name, of words with '_' between them, as it may be written."""
    made = set[str]()
    for name in names:
        camel = "".join(word.capitalize() for word in name.split("_"))
        made |= {name, name.upper(), camel, camel[0].lower() + camel[1:], name.replace("_", "-"), name.replace("_", "")}
    return frozenset(made)


_NAMED: Final = (
    *("field", "key", "param", "parameter", "property", "attribute", "attr", "header", "item", "input", "column"),
)
LOOSELY_NAMING: Final = _spellings("id", "type", "label", "question", "title", "path", "pointer", "kind", "system")
"""These mostly say something else; ``content`` and the like beside them is no value of theirs."""
NAMING: Final = LOOSELY_NAMING | _spellings(
    *("name", "k", "n", "loc", "option", "variable", "setting", "claim", "itemprop", "for", "display_name", *_NAMED),
    *("instance_path", "data_path"),
    *(f"{name}_name" for name in _NAMED),
)
LOOSE_VALUES: Final = _spellings("content", "data", "text", "input", "before", "after", "from", "to")
VALUES: Final = LOOSE_VALUES | _spellings(
    *("value", "values", "val", "vals", "v", "answer"),
    *(
        f"{name}_value"
        for name in (*_NAMED, "string", "text", "default", "raw", "old", "new", "previous", "current", "display")
    ),
    *(f"{name}_value" for name in ("rejected", "invalid", "actual", "received", "given", "submitted", "provided")),
)
WRAPPERS: Final = VALUES | {"S", "$t", "#text", "_", "_text", "__text"}
"""Names of the value itself inside an object that has its name: ``{"hmac": {"value": …}}``; and in XML made JSON."""
NAME_LISTS: Final = _spellings(
    "names", "keys", "columns", "fields", "headers", "labels", "params", "header", "column_names"
)
VALUE_LISTS: Final = _spellings("values", "vals", "data", "rows", "row", "records", "items", "args")
"""``{"names": ["email"], "values": ["…"]}``, ``{"columns": […], "rows": [[…], […]]}``."""
