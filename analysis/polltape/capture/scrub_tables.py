"""Rows of values below or behind their names, inside text: comma-separated values with a line of names,
``INSERT INTO t (email, token) VALUES ('…', '…')``, ``Key (email, token)=(…, …) already exists``.

Exports and errors of databases that a body carries.  Rows are known by having as many cells as there are names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from polltape.capture.redaction_rules import STRICTNESS, Name, Ruling
from polltape.capture.standins import KINDS

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber

type Span = tuple[int, int]

_SEPARATORS: Final = ",;\t|"
_NAME: Final = r"[^\W\d][\w.-]{0,60}+(?: [\w.-]{1,40}+)?"
_COLUMN: Final = re.compile(_NAME)
_HEADER: Final = re.compile(
    rf"""^["']?{_NAME}["']?(?P<mark>[{_SEPARATORS}])["']?{_NAME}["']?(?:(?P=mark)["']?{_NAME}["']?)*\r?\n""",
    re.MULTILINE,
)
"""A line of names and nothing else; what has blanks behind its commas is a sentence."""
_MARKS: Final = "\"'`[] \t\r"
_STRING: Final = r"""'(?:[^'\\]|\\.|'')*+'|"(?:[^"\\]|\\.|"")*+\""""
_ROW: Final = re.compile(rf"\(((?:{_STRING}|[^()'\"])*+)\)", re.DOTALL)
_VALUES: Final = re.compile(r"\s*(?:values|=)\s*(?=\()", re.IGNORECASE)
_NEXT: Final = re.compile(r"\s*,\s*(?=\()")
_LINE: Final = re.compile(r'(?:[^"\n]|"(?:[^"]|"")*+")*+')
_CELLS: Final = {
    mark: re.compile(rf"(?:[ ]*(?:{_STRING})[ ]*(?=[{mark}]|\Z))|[^{mark}]*", re.DOTALL) for mark in _SEPARATORS
}


def may_hold_table(text: str) -> bool:
    """Whether comma-separated values may stand there; what else holds rows has quotation marks or '='."""
    return "\n" in text and _HEADER.search(text) is not None


def tabled_values(text: str, scrubber: Scrubber) -> Iterator[tuple[int, int, Ruling]]:
    """The values in rows whose columns the rules know: where each stands, and what is to become of it."""
    if "\n" in text:
        yield from _of_lines(text, scrubber)
    if "(" in text:
        yield from _of_lists(text, scrubber)


def _of_lists(text: str, scrubber: Scrubber) -> Iterator[tuple[int, int, Ruling]]:
    place = 0
    while (names := _ROW.search(text, place)) is not None:
        place = names.end()
        follows = _VALUES.match(text, place)
        rulings = _rulings(text, _cells(text, *names.span(1), ","), scrubber) if follows else []
        while rulings and follows is not None and (row := _ROW.match(text, follows.end())) is not None:
            place = row.end()
            yield from _row(text, _cells(text, *row.span(1), ","), rulings, scrubber)
            follows = _NEXT.match(text, place)


def _of_lines(text: str, scrubber: Scrubber) -> Iterator[tuple[int, int, Ruling]]:
    place = 0
    while (header := _HEADER.search(text, place)) is not None:
        place, mark = header.end(), header["mark"]
        rulings = _rulings(text, _cells(text, header.start(), place - 1, mark), scrubber)
        while rulings and place < len(text):
            end = _end_of_row(text, place)
            cells = _cells(text, place, end, mark)
            if len(cells) < len(rulings):
                break
            yield from _row(text, cells, rulings, scrubber)
            place = end + 1


def _end_of_row(text: str, start: int) -> int:
    """Where the line ends, not counting ends of lines within quotation marks that are closed again."""
    match = _LINE.match(text, start)
    end = start if match is None else match.end()
    if end < len(text) and text[end] != "\n":
        end = text.find("\n", start)
    return len(text) if end < 0 else end


def _cells(text: str, start: int, end: int, mark: str) -> list[Span]:
    """Where the cells between two places stand, without the marks around them."""
    cells: list[Span] = []
    while start <= end:
        match = _CELLS[mark].match(text, start, end)
        assert match is not None
        cell = match.group()
        left = len(cell) - len(cell.lstrip(_MARKS))
        cells.append((start + left, max(start + left, start + len(cell.rstrip(_MARKS)))))
        start = match.end() + 1
    return cells


def _rulings(text: str, cells: Sequence[Span], scrubber: Scrubber) -> list[tuple[Name, Ruling] | None]:
    """What the rules say of each column; nothing where a cell is no name, or where they know none of them."""
    columns = [text[start:end] for start, end in cells]
    if len(columns) < 2 or not all(map(_COLUMN.fullmatch, columns)):
        return []
    names = [scrubber.names["body"][column] for column in columns]
    found: list[tuple[Name, Ruling] | None] = []
    for name in names:
        action = None if name.plain else scrubber.action(name, columns, "body", card=False)
        found.append(None if action is None else (name, Ruling(action, KINDS.get(name.norm, "text"))))
    return found if any(found) else []


def _row(
    text: str, cells: Sequence[Span], rulings: Sequence[tuple[Name, Ruling] | None], scrubber: Scrubber
) -> Iterator[tuple[int, int, Ruling]]:
    if len(cells) != len(rulings):  # a comma in a value without quotation marks: which is which cannot be told
        strictest = max((one for _, one in filter(None, rulings)), key=lambda one: STRICTNESS[one.action])
        yield cells[0][0], max(cells[0][0], cells[-1][1]), strictest
        return
    for (start, end), known in zip(cells, rulings, strict=True):
        value = text[start:end]
        if known is None or not value or value.lower() == "null" or (known[0].word and scrubber.is_word(value)):
            continue
        yield start, end, known[1]
