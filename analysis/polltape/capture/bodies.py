"""Redaction of bodies by their media type: JSON, forms, multipart and GraphQL; nothing else is stored.

Why a body is not stored is said in ``not_stored`` by one of these words:

==================  ==================================================================================
``type``            its media type is none of those that are understood
``no-type``         it has no Content-Type, and is no JSON object or list either
``unparsed``        it is not what its Content-Type claims
``duplicate-keys``  a JSON object has one name twice: readers disagree which value counts
``truncated``       it was cut by the recorder's cap, and what is left cannot be parsed
``too-large``       more than 8 MiB
``too-deep``        nested more than 128 deep
==================  ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from polltape.capture.encodings import name_parts, unquote_form, unquoted
from polltape.capture.pairs import LONGEST_NAME
from polltape.capture.redaction_rules import Action, Ruling
from polltape.capture.scrub import MAX_PAIRS, Scrubber
from polltape.capture.scrub_graphql import aliases_of
from polltape.capture.scrub_json import MAX_BYTES, Unreadable
from polltape.capture.standins import DROPPED
from polltape.exchange import Header, first_header

OTHER_TYPE: Final = "type"
NOT_STORED: Final = (
    OTHER_TYPE,
    "no-type",
    "unparsed",
    "duplicate-keys",
    "truncated",
    "too-large",
    "too-deep",
)
"""Every word that redaction puts into ``not_stored``."""

_MAX_FORM: Final = 1024 * 1024
_LONG_NAME: Final = 4 * LONGEST_NAME  # bytes
_REMEMBERED: Final = 256  # bodies; they and what was made of them take at most 8 MiB of memory
_REMEMBERED_BYTES: Final = 16 * 1024
_NOTHING: Final[Mapping[str, Action]] = {}
Aliases = tuple[tuple[str, str], ...]
"""Names in an answer, each with the one that it stands for."""

_JSON: Final = re.compile(r"(?:application|text)/(?:x-)?json|[\w.+-]+/[\w.+-]+\+json")
_PARAMETER: Final = re.compile(r';\s*([\w*-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)')
_FORM_BYTES: Final = re.compile(rb"[!-~\x80-\xff ]*")
_FORM_FIELDS: Final = re.compile(r"[&;] ?")
_FORM_NAME: Final = re.compile(r"[^\s=<>{}\"'\\]*(?:=|$)")
"""What may stand before a field's '=': text, markup or JSON that is sent as a form is none."""
_DISPOSITION: Final = re.compile(r'(;\s*)(name|filename)(\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)


def media_type(headers: Iterable[Header]) -> tuple[str, Mapping[str, str]]:
    """Type and parameters of the Content-Type (RFC 9110 §8.3.1), the type in lower case; "" without one."""
    return _media_type(first_header(headers, "Content-Type") or "")


@lru_cache(maxsize=256)
def _media_type(value: str) -> tuple[str, Mapping[str, str]]:
    kind = value.partition(";")[0].strip().lower()
    return kind, {m[1].lower(): m[2].strip('"') for m in _PARAMETER.finditer(value)}


class BodyScrubber:
    """Redacts whole bodies with the rules of a :class:`~polltape.capture.scrub.Scrubber`."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber

    def aliases(self, content: bytes, headers: Iterable[Header], query: str | None) -> Aliases:
        """The names in the answer to a GraphQL request that stand for others, which the rules know."""
        texts: list[str] = []
        kind = media_type(headers)[0] if content else ""
        if b"query" in content or b"mutation" in content or kind == "application/graphql":
            texts += _graphql_texts(content, kind)
        if query is not None and "query=" in query:
            texts += _form_texts(query)
        return self._scrubber.json.telling(chain.from_iterable(map(aliases_of, texts))) if texts else ()

    def body(
        self,
        content: bytes,
        headers: Iterable[Header],
        inside: Mapping[str, Action] = _NOTHING,
        aliases: Aliases = (),
    ) -> bytes:
        """The redacted body; ``inside`` are actions for names in a JSON body's outermost object, ``aliases`` names in
        it that stand for others.

        Raises :class:`~polltape.capture.scrub_json.Unreadable` with the reason where it must not be stored.
        """
        kind, parameters = media_type(headers)
        if len(content) > MAX_BYTES:
            raise Unreadable("too-large" if kind else "no-type")
        if not kind:
            return self._untyped(content, inside, aliases)
        if _JSON.fullmatch(kind):
            return self._json(content, parameters.get("charset", "utf-8"), inside, aliases)
        if kind == "application/x-www-form-urlencoded":
            return self._form(content, inside)
        if kind == "multipart/form-data":
            return self._multipart(content, parameters.get("boundary", ""))
        if kind == "application/graphql":
            return self._graphql(content)
        raise Unreadable("type")

    def _untyped(self, content: bytes, inside: Mapping[str, Action], aliases: Aliases) -> bytes:
        """JSON that no Content-Type names, as bare clients and servers send it (RFC 9110 §8.3 lets one look)."""
        if content.lstrip()[:1] not in (b"{", b"["):
            raise Unreadable("no-type")
        try:
            return self._json(content, "utf-8", inside, aliases)
        except Unreadable as unreadable:
            raise Unreadable("no-type" if str(unreadable) == "unparsed" else str(unreadable)) from None

    def _json(self, content: bytes, charset: str, inside: Mapping[str, Action], aliases: Aliases = ()) -> bytes:
        if charset.lower() in ("utf-8", "utf8", "us-ascii", "ascii"):
            return self._scrubber.json.body(content, inside, aliases)
        try:
            text = content.decode(charset).encode()
            return self._scrubber.json.body(text, inside, aliases).decode().encode(charset)
        except (LookupError, UnicodeError):
            raise Unreadable("unparsed") from None

    def _form(self, content: bytes, inside: Mapping[str, Action]) -> bytes:
        """Bytes beyond ASCII, which a form should have percent-encoded, are encoded first.

        JSON that is sent as a form, as ``curl -d`` does it, is JSON.
        """
        if content.lstrip()[:1] in (b"{", b"["):
            try:
                return self._json(content, "utf-8", inside)
            except Unreadable as unreadable:
                if str(unreadable) != "unparsed":
                    raise
        if len(content) > _MAX_FORM or content.count(b"&") >= MAX_PAIRS:
            raise Unreadable("too-large")
        if _FORM_BYTES.fullmatch(content.rstrip(b"\r\n")) is None or not content.strip():
            raise Unreadable("unparsed")
        text = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in content.rstrip(b"\r\n"))
        if not all(map(_FORM_NAME.match, _FORM_FIELDS.split(text))):
            raise Unreadable("unparsed")
        return self._scrubber.query(text).encode()

    def _graphql(self, content: bytes) -> bytes:
        try:
            made = self._scrubber.json.graphql(content.decode())
        except UnicodeDecodeError:
            made = None
        if made is None or made == DROPPED:
            raise Unreadable("unparsed")
        return made.encode()

    # ------------------------------------------------------------------------------ multipart (RFC 7578)

    def _multipart(self, content: bytes, boundary: str) -> bytes:
        """Text parts are redacted, the content of other parts (files) is replaced."""
        if not boundary or len(boundary) > 70:
            raise Unreadable("unparsed")
        delimiter = b"--" + boundary.encode("latin-1", "replace")
        pieces = (b"\r\n" + content).split(b"\r\n" + delimiter)
        if len(pieces) < 3 or pieces[-1].strip() != b"--":
            raise Unreadable("unparsed")
        parts = [self._split(piece) for piece in pieces[1:-1]]
        if len(parts) > MAX_PAIRS:
            raise Unreadable("too-large")
        fields = [name for _, name, _ in parts]
        names = [name_parts(unquoted(field)) for field in fields]
        paired = self._scrubber.paired(fields, names, [quote(body[:_LONG_NAME]) for _, _, body in parts])
        rulings = [ruling or paired.get(place) for place, (_, ruling) in enumerate(self._scrubber.rulings(names))]
        made = [self._part(head, ruling, body) for (head, _, body), ruling in zip(parts, rulings, strict=True)]
        closing = pieces[-1] if pieces[-1].strip(b"\r\n") == b"--" else b"--"
        return b"".join(delimiter + part + b"\r\n" for part in made) + delimiter + closing

    def _split(self, piece: bytes) -> tuple[str, str, bytes]:
        """A part's head, the name of its field, and its body."""
        padding, _, rest = piece.partition(b"\r\n")
        head, gap, body = (b"", b"\r\n\r\n", rest[2:]) if rest[:2] == b"\r\n" else rest.partition(b"\r\n\r\n")
        if padding.strip(b" \t") or not gap:
            raise Unreadable("unparsed")
        text = head.decode("utf-8", "replace")
        name = next((_parameter(m) for m in _DISPOSITION.finditer(text) if m[2].lower() == "name"), "")
        return text, name, body

    def _part(self, head: str, ruling: Ruling | None, body: bytes) -> bytes:
        lines = [Header(*_field(line)) for line in head.split("\r\n") if line]
        clean = "".join(f"{h.name}: {self._part_header(h)}\r\n" for h in lines)
        made = self._part_body(lines, ruling, body)
        return b"\r\n" + clean.encode() + b"\r\n" + made

    def _part_header(self, header: Header) -> str:
        if header.name.lower() != "content-disposition":
            ruling = self._scrubber.ruling("header", [header.name])
            return self._scrubber.text(header.value) if ruling is None else self._scrubber.named(ruling, header.value)

        def parameter(match: re.Match[str]) -> str:
            value = match[4].strip('"')
            named = match[2].lower() == "name"
            made = self._scrubber.text(value) if named else self._scrubber.shape("text", value)
            return f'{match[1]}{match[2]}{match[3]}="{made}"'

        return _DISPOSITION.sub(parameter, header.value)

    def _part_body(self, lines: list[Header], ruling: Ruling | None, body: bytes) -> bytes:
        """Text after the rules, JSON and forms in a part as if they were the body; the rest is replaced."""
        kind = media_type(lines)[0] or "text/plain"
        coded = first_header(lines, "Content-Transfer-Encoding") not in (None, "7bit", "8bit", "binary")
        if coded or kind == "multipart/form-data" or (kind == "text/plain" and _is_file(lines)):
            return DROPPED.encode()
        try:
            if ruling is not None:
                return self._scrubber.named(ruling, body.decode()).encode()
            return self._scrubber.text(body.decode()).encode() if kind == "text/plain" else self.body(body, lines)
        except (Unreadable, UnicodeDecodeError):
            return DROPPED.encode()


class KnownBodies:
    """As :class:`BodyScrubber`, but for a body that came before: who polls is mostly answered the same again."""

    def __init__(self, scrubber: BodyScrubber) -> None:
        self._scrubber = scrubber
        self._made: dict[tuple[object, ...], bytes] = {}

    def body(
        self,
        content: bytes,
        headers: Iterable[Header],
        inside: Mapping[str, Action] = _NOTHING,
        aliases: Aliases = (),
    ) -> bytes:
        """See :meth:`BodyScrubber.body`; equal bodies of one Content-Type are redacted once."""
        known = (content, first_header(headers, "Content-Type"), *inside.items(), *aliases)
        made = self._made.get(known)
        if made is None:
            made = self._scrubber.body(content, headers, inside, aliases)
            if len(content) <= _REMEMBERED_BYTES:
                if len(self._made) >= _REMEMBERED:
                    self._made.clear()
                self._made[known] = made
        return made


class _Query(msgspec.Struct):
    query: str = ""


_PART: Final = re.compile(rb"\r\n\r\n([{\[][^\r]*)\r\n--")
_queries: Final = msgspec.json.Decoder(_Query | list[_Query])


def _graphql_texts(content: bytes, kind: str) -> list[str]:
    """The GraphQL documents in a request's body."""
    if kind == "application/graphql":
        return [content.decode("utf-8", "replace")]
    if kind == "application/x-www-form-urlencoded" and content[:1] not in b"{[":
        return _form_texts(content.decode("latin-1"))
    texts: list[str] = []
    for document in _PART.findall(content) if kind == "multipart/form-data" else [content]:
        with suppress(msgspec.DecodeError):
            found = _queries.decode(document)
            texts += [one.query for one in (found if isinstance(found, list) else [found])]
    return texts


def _form_texts(form: str) -> list[str]:
    fields = (field.partition("=") for field in form.split("&", MAX_PAIRS))
    return [unquote_form(value) for name, _, value in fields if name == "query"]


def _parameter(match: re.Match[str]) -> str:
    """The value of a parameter; of one with an asterisk (RFC 8187) what stands after charset and language."""
    value = match[4].strip('"')
    return unquote(value.rpartition("'")[2]) if match[3] else value


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise Unreadable("unparsed")
    return name, value.strip()


def _is_file(lines: list[Header]) -> bool:
    return any("filename" in value.lower() for _, value in lines)
