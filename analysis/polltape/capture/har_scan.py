"""The entries of a HAR, one after the other, from a file of any size: never more than one entry is in memory.

Nor is all of a text that is as long as a download: the entry is read without it (null), since the exchange is worth
more than its body.

A small scanner over bytes that knows just enough of JSON (RFC 8259) to find ``log.entries`` and where each of
its elements begins and ends: strings, escapes, nesting.  What lies in between (``pages``, ``creator``) is
passed over.  Every structural character is ASCII, so that neither a character of several bytes across two
chunks nor a byte that is no UTF-8 leads it astray.  Each entry is decoded, and judged, by whoever asks for it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from polltape.errors import InputError

CHUNK_BYTES: Final = 256 * 1024
MAX_ENTRY_BYTES: Final = 32 * 1024 * 1024
"""An entry longer than this is left out: it would have to be held, decoded, in memory as a whole."""

MAX_DEPTH: Final = 20_000
"""Brackets within brackets: far beyond what any decoder takes, and soon found."""

HINT: Final = "export it again as HAR 1.2, or name a capture folder, a .parquet or a .mitm file"

_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_SCALAR: Final = re.compile(rb"[^ \t\r\n,:\[\]{}\"]*+")
_BEGINS_SCALAR: Final = re.compile(rb"(?:true|false|null|NaN|-?Infinity)(?=[ \t\r\n,:\]}]|$)|-?[0-9]")
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


def _balanced(depth: int) -> bytes:
    """What does not change the nesting: all but brackets, whole strings, and whole nests of that depth at most."""
    nest = rb"|[{\[]" + _balanced(depth - 1) + rb"[}\]]" if depth else b""
    return rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"' + nest + rb")*+"


_BALANCED: Final = re.compile(_balanced(4), re.DOTALL)
"""An entry nests three deep; what nests deeper is gone through step by step."""
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TooLong(NamedTuple):
    """Stands for an element that is longer than the bound, with how long it is."""

    size: int


class Cut(NamedTuple):
    """An element that had texts longer than half the bound; null stands for each."""

    raw: bytes


Raw = bytes | Cut | TooLong


def scan(path: Path, extension: str, *, max_entry: int = MAX_ENTRY_BYTES) -> Iterator[tuple[str, Raw]]:
    """Each element of ``log.entries`` as ``("entry", raw)``; the log's member ``extension`` under that name.

    In the file's order; raw is JSON as far as its brackets tell.  Raises
    :class:`~polltape.errors.InputError` where the file cannot be read, is no JSON around the entries (with
    line and column), ends too early, or has no list ``log.entries``.
    """
    try:
        with path.open("rb") as file:
            yield from _Scanner(path, _chunks(file), extension, max_entry).log()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The file as UTF-8 without a byte order mark; UTF-16, which PowerShell's Out-File writes, is made into it."""
    first = file.read(max(CHUNK_BYTES, len(codecs.BOM_UTF8)))
    if first[:2] in _UTF16:
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        yield decoder.decode(first).encode("utf-8", "replace")
        while chunk := file.read(CHUNK_BYTES):
            yield decoder.decode(chunk).encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")
        return
    yield first.removeprefix(codecs.BOM_UTF8)
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


class _Scanner:
    """A buffer of what has been read, a place in it, and how many lines lie before the buffer."""

    def __init__(self, path: Path, chunks: Iterator[bytes], extension: str, max_entry: int) -> None:
        self._path = path
        self._chunks = chunks
        self._extension = extension
        self._max_entry = max_entry
        self._buffer = b""
        self._at = 0
        self._lines = 0
        self._columns = 0

    # ------------------------------------------------------------------------------- what a HAR is made of

    def log(self) -> Iterator[tuple[str, Raw]]:
        """The entries and the extension of the member ``log`` of the one value in the file."""
        if not self._peek():
            raise self._no_har("it is empty")
        found = False
        for name in self._members():
            if name == b'"log"' and self._peek() == b"{":
                for inner in self._members():
                    if inner == b'"entries"' and self._peek() == b"[":
                        found = True
                        for raw in self._elements():
                            yield "entry", raw
                    elif inner == f'"{self._extension}"'.encode():
                        yield self._extension, self._value(self._max_entry)
                    else:
                        self._value(0)
            else:
                self._value(0)
        if self._peek():
            raise self._no_json("Extra data")
        if not found:
            raise self._no_har("it is JSON without a list log.entries")

    def _members(self) -> Iterator[bytes]:
        """The raw name of each member of the object here, the place being before its value; none of another value."""
        if self._peek() != b"{":
            self._value(0)
            return
        for _ in self._separated(b"}"):
            if self._peek() != b'"':
                raise self._no_json("Expecting property name enclosed in double quotes")
            name = self._value(1024)
            self._expect(b":")
            yield name if isinstance(name, bytes) else b""

    def _elements(self) -> Iterator[Raw]:
        """Each element, raw, of the array here."""
        for _ in self._separated(b"]"):
            yield self._value(self._max_entry)

    def _separated(self, closing: bytes) -> Iterator[None]:
        """Once before each item of the array or object here; whoever iterates consumes the item."""
        self._at += 1
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            yield
            if self._peek() == closing:
                self._at += 1
                return
            self._expect(b",")

    def _expect(self, mark: bytes) -> None:
        if self._peek() != mark:
            raise self._no_json(f"Expecting {mark.decode()!r} delimiter")
        self._at += 1

    # ----------------------------------------------------------------------------------------- one value

    def _value(self, limit: int) -> Raw:
        """The raw value here; beyond the limit only how long it is."""
        first = self._peek()
        taken = _Taken(limit)
        if first == b'"':
            self._string(taken)
        elif first in (b"{", b"["):
            self._nested(taken)
        else:
            self._scalar(taken)
        return taken.value()

    def _scalar(self, taken: _Taken) -> None:
        """A number, true, false or null here; NaN and Infinity are none, yet tools write them."""
        while len(self._buffer) - self._at < 16 and self._fill():
            pass
        if not _BEGINS_SCALAR.match(self._buffer, self._at):
            raise self._no_json("Expecting value")
        more = True
        while more:
            match = _SCALAR.match(self._buffer, self._at)
            self._take(taken, match.end() if match else self._at)
            more = self._at == len(self._buffer) and self._fill()

    def _string(self, taken: _Taken) -> None:
        """From the quotation mark here to the one that ends the string."""
        self._take(taken, self._at + 1)
        while True:
            match = _IN_STRING.match(self._buffer, self._at)
            end = match.end() if match else self._at
            self._take(taken, end)
            if self._buffer[end : end + 1] == b'"':
                self._take(taken, end + 1)
                return
            # Here is nothing, or a reverse solidus whose character is in the next chunk.
            if not self._fill():
                raise self._no_json("Unterminated string")

    def _nested(self, taken: _Taken) -> None:
        """From the bracket here to the one that closes it."""
        self._take(taken, self._at + 1)
        depth = 1
        while depth:
            match = _BALANCED.match(self._buffer, self._at)
            self._take(taken, match.end() if match else self._at)
            mark = self._buffer[self._at : self._at + 1]
            if mark == b'"':  # its end is not in the buffer
                taken.text_begins()
                self._string(taken)
                taken.text_ends()
                continue
            if not mark:
                if not self._fill():
                    raise self._no_json("Expecting ',' delimiter")
                continue
            self._take(taken, self._at + 1)
            depth += 1 if mark in b"{[" else -1
            if depth > MAX_DEPTH:
                raise self._no_har("its JSON is nested too deeply")

    # ---------------------------------------------------------------------------------------- the buffer

    def _peek(self) -> bytes:
        """The next byte that is no white space; nothing at the end of the file."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._fill():
                return b""

    def _take(self, taken: _Taken, end: int) -> None:
        taken.add(self._buffer, self._at, end)
        self._at = end

    def _fill(self) -> bool:
        """Another chunk behind what has not been passed yet; false at the end of the file."""
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        passed = self._buffer[: self._at]
        if lines := passed.count(b"\n"):
            self._lines += lines
            self._columns = 0
        self._columns += len(passed) - (passed.rfind(b"\n") + 1)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    # ------------------------------------------------------------------------------------- what is wrong

    def _no_json(self, why: str) -> InputError:
        passed = self._buffer[: self._at]
        lines = passed.count(b"\n")
        column = len(passed) - (passed.rfind(b"\n") + 1) + (0 if lines else self._columns)
        where = f"line {self._lines + lines + 1}, column {column + 1}"
        return self._no_har(f"no JSON at {where} ({why})")

    def _no_har(self, why: str) -> InputError:
        return InputError(f"{self._path}: not a HAR file: {why}", hint=HINT)


class _Taken:
    """Pieces of a value, as long as they are no more than the limit together; of a long text inside none."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._pieces: list[bytes] = []
        self._text: tuple[int, int] | None = None  # pieces and size before the text at hand
        self._long = False  # whether that is too long
        self._cut = False

    def add(self, buffer: bytes, start: int, end: int) -> None:
        if self._long:
            return
        self.size += end - start
        if self._text is not None and self.size - self._text[1] > self._limit // 2:
            pieces, self.size = self._text
            del self._pieces[pieces:]
            self._long = self._cut = True
        elif self.size <= self._limit:
            self._pieces.append(buffer[start:end])
        else:
            self._pieces.clear()

    def text_begins(self) -> None:
        self._text = len(self._pieces), self.size

    def text_ends(self) -> None:
        self._text = None
        if self._long:
            self._long = False
            self.add(b"null", 0, 4)

    def value(self) -> Raw:
        if self.size > self._limit:
            return TooLong(self.size)
        raw = b"".join(self._pieces)
        return Cut(raw) if self._cut else raw
