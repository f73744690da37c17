"""TOML files that users write: read into a msgspec class, and what is wrong in one told with its line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from polltape.errors import ConfigError

type Step = str | int
type Words = dict[re.Pattern[str], str]


class Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A table of such a file; a key that it does not have is refused."""


def parse(text: str, source: str, what: str) -> dict[str, Any]:
    """The values of a TOML text.  Raises ConfigError with ``source``; ``what`` names the kind of file."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{source}: {_decapitalised(str(problem))}", hint=f"{what} is a TOML file") from None


def convert[T: Table](
    values: object,
    schema: type[T],
    text: str,
    source: str,
    *,
    hint: str,
    words: Words | None = None,
    inside: tuple[Step, ...] = (),
) -> T:
    """The values as that class.  Raises ConfigError with ``source`` and the line.

    ``hint``: what to do about a wrong or missing value.  ``words``: what to say for a message of msgspec.
    ``inside``: where in the file the values stand.
    """
    try:
        return msgspec.convert(values, schema)
    except msgspec.ValidationError as problem:
        steps, message, instead = _told(str(problem), schema)
        for pattern, plain in (words or {}).items():
            message = pattern.sub(plain, message)
        raise Lines(text).error(source, (*inside, *steps), _decapitalised(message), instead or hint) from None


_AT: Final = re.compile(r" - at `\$\.?(.*)`$")
_STEP: Final = re.compile(r"[^.\[\]]+")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`")
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`")


def _told(message: str, schema: type[Table]) -> tuple[tuple[Step, ...], str, str | None]:
    """msgspec's message in the words of the file: where, what, and what to do where that is known."""
    at = _AT.search(message)
    steps: tuple[Step, ...] = ()
    if at is not None:
        message = message[: at.start()]
        steps = tuple(int(step) if step.isdigit() else step for step in _STEP.findall(at[1]))
    table = _table_at(schema, steps)
    instead = None
    if unknown := _UNKNOWN.search(message):
        steps = (*steps, unknown[1])
        message = f"unknown key {unknown[1]!r}"
        names = [] if table is None else sorted(table.__struct_encode_fields__)
        near = get_close_matches(unknown[1], names, 1)
        instead = f"did you mean {near[0]!r}?" if near else f"it can have: {', '.join(names)}"
    elif missing := _MISSING.search(message):
        message = f"has no {missing[1]!r}"
    return steps, message.replace("`", ""), instead


def _table_at(schema: type[Table], steps: tuple[Step, ...]) -> type[Table] | None:
    """The class of the table at that path, None where it is not clear."""
    current: Any = schema
    for step in steps:
        if isinstance(step, int):
            continue
        hints = {field.name: field.type for field in msgspec.structs.fields(current)}
        current = _table_in(hints.get(step))
        if current is None:
            return None
    return current  # type: ignore[no-any-return]


def _table_in(kind: Any) -> type[Table] | None:
    """The one table class that a type names, looking into lists and unions."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind
    found = {table for part in getattr(kind, "__args__", ()) if (table := _table_in(part)) is not None}
    return found.pop() if len(found) == 1 else None


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


_TABLE_LINE: Final = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY_LINE: Final = re.compile(r"^\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")


@dataclass(frozen=True)
class Lines:
    """Where each key of a TOML text stands, as far as a look at its lines can tell."""

    text: str

    def error(self, source: str, steps: tuple[Step, ...], message: str, hint: str) -> ConfigError:
        """The error at that path, with the line of the path or of what it lies in."""
        line = self.line(steps)
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
        where = f"{path}: " if path else ""
        return ConfigError(f"{source}:{line}: {where}{message}", hint=hint)

    def line(self, steps: tuple[Step, ...]) -> int:
        """The line of the path, or of what it lies in; 1 where neither can be told."""
        known = self._known()
        return next((known[steps[:n]] for n in range(len(steps), 0, -1) if steps[:n] in known), 1)

    def _known(self) -> dict[tuple[Step, ...], int]:
        known: dict[tuple[Step, ...], int] = {}
        counts: dict[tuple[Step, ...], int] = {}
        table: tuple[Step, ...] = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _TABLE_LINE.match(line):
                table = _parts(header[2])
                known.setdefault(table, number)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                    known.setdefault(table, number)
            elif key := _KEY_LINE.match(line):
                known.setdefault((*table, *_parts(key[1])), number)
        return known


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
