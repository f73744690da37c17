"""Redaction of JSON: decoded once, walked once, encoded again with order, numbers and keys as they stood.

Fractions and exponents keep their spelling (1.10 stays 1.10), integers of any size their value.  White space
between tokens goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from polltape.capture.encodings import name_parts
from polltape.capture.pairs import (
    LONGEST_NAME,
    LOOSE_VALUES,
    LOOSELY_NAMING,
    NAME_LISTS,
    NAMING,
    VALUE_LISTS,
    VALUES,
    WRAPPERS,
)
from polltape.capture.pan import has_pan, is_pan
from polltape.capture.redaction_rules import STRICTNESS, Action, Name, Ruling, strictest
from polltape.capture.scrub_graphql import arguments_of, names_in, redact_graphql
from polltape.capture.spoken import is_complaint
from polltape.capture.standins import KINDS

if TYPE_CHECKING:
    from polltape.capture.scrub import Scrubber
    from polltape.capture.scrub_memory import Names

MAX_BYTES: Final = 8 * 1024 * 1024
"""Longer documents are not read."""

MAX_DEPTH: Final = 128
"""Deeper ones neither."""

MAX_NESTING: Final = 8
"""How deep URLs, percent-encoding, JSON and base64 inside one another are followed; deeper text is dropped."""

_LONG: Final = 10**12  # of 13 digits, as the shortest card number
_MINUS_LONG: Final = -_LONG
_NOTHING_INSIDE: Final[Mapping[str, Action]] = {}
_TELLING: Final = VALUES | NAME_LISTS | {"variables"}
"""Names of values that others beside them name."""
_ALTERNATING: Final = frozenset({"rawheaders", "rawtrailers"})
"""As Node's servers print headers."""
_LONGEST_RECORD: Final = 64
"""A list of so many items may be a record, with names among its values."""
_LONGEST_TOLD: Final = 40
"""So many letters such a name has."""
_NONE_TOLD: Final[Mapping[int, Name]] = {}
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_DECODER: Final = msgspec.json.Decoder(float_hook=lambda spelling: msgspec.Raw(spelling.encode()))
_ENCODER: Final = msgspec.json.Encoder()


class Unreadable(Exception):  # noqa: N818 - not a user's error: the body is then not stored
    """A body that cannot be redacted safely; the argument is the word kept in ``not_stored``."""


class JsonScrubber:
    """Walks JSON with the rules of a :class:`~polltape.capture.scrub.Scrubber`."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._names = scrubber.names["body"]
        self._seen = 0  # names in the objects of the document at hand
        self._errors = False  # whether it is inside an object that tells errors by the names of fields
        self._texts: list[tuple[dict[str, Any], str, str]] = []  # those that no rule names: where each stands, and it

    def body(
        self,
        content: bytes,
        inside: Mapping[str, Action] = _NOTHING_INSIDE,
        aliases: tuple[tuple[str, str], ...] = (),
    ) -> bytes:
        """The redacted document; ``inside`` are actions for names in its outermost object, ``aliases`` names that
        stand for others in it.

        Raises :class:`Unreadable` (``unparsed``, ``duplicate-keys``, ``too-deep``, ``too-large``).
        """
        if not aliases:
            return self._document(content, None, inside, 0)
        plain, self._names = self._names, self._aliased(aliases)
        try:
            return self._document(content, None, inside, 0)
        finally:
            self._names = plain

    def telling(self, aliases: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """The aliases that hide a name which the rules know; of two fields with one alias the stricter."""
        names = self._names
        inside = self._scrubber.rules.names_inside()
        known = {
            pair
            for pair in aliases
            if names[pair[0]].plain and (not names[pair[1]].plain or names[pair[1]].norm in inside)
        }
        return tuple(sorted(known, key=lambda pair: (STRICTNESS.get(names[pair[1]].action, -1), pair)))

    def _aliased(self, aliases: tuple[tuple[str, str], ...]) -> Names:
        """The names of bodies, with these aliases among them."""
        made = self._scrubber.fresh_names()
        made.update({alias: self._scrubber.names["body"][field] for alias, field in aliases})
        return made

    def inside(self, text: str, ruling: Ruling | None, level: int) -> str:
        """JSON inside text, redacted; every leaf after ``ruling`` where there is one.

        Raises :class:`Unreadable` where the text is not JSON.
        """
        if level > MAX_NESTING:
            raise Unreadable("too-deep")
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise Unreadable("unparsed") from None
        made = self._document(content, ruling, _NOTHING_INSIDE, level)
        return text if made == _ENCODER.encode(_decode(content)) else made.decode()

    def graphql(self, text: str) -> str | None:
        """A GraphQL document with its literals redacted; None where the text is none."""
        return redact_graphql(text, self._scrubber)

    def variables(self, query: str, variables: str, level: int) -> str | None:
        """The variables of a GraphQL document that stand beside it as JSON, redacted; None where they are none."""
        try:
            made = self.inside(f'{{"query":{json.dumps(query)},"variables":{variables}}}', None, level + 1)
        except Unreadable:
            return None
        return bytes(msgspec.json.decode(made, type=dict[str, msgspec.Raw])["variables"]).decode()

    def _document(self, content: bytes, ruling: Ruling | None, inside: Mapping[str, Action], level: int) -> bytes:
        tree = _decode(content)
        outer, self._seen, self._texts = (self._seen, self._texts), 0, []
        try:
            if ruling is not None:
                tree = self._leaves(tree, ruling, level, 0)
            elif type(tree) is dict:
                tree = self._object(tree, inside, False, level, 0)
            else:
                tree = self._value(tree, _NOTHING_INSIDE, False, level, 0)
            self._settle(level)
            if content.count(b'":') != self._seen:
                _refuse_duplicates(content)
            return _ENCODER.encode(tree)
        except RecursionError:
            raise Unreadable("too-deep") from None
        finally:
            self._seen, self._texts = outer

    def _settle(self, level: int) -> None:
        """Redact the texts that have been put aside: together they are told faster to hold nothing."""
        texts = self._texts.copy()
        self._texts.clear()
        for place in self._scrubber.texts.not_plain([value for _, _, value in texts]):
            node, key, value = texts[place]
            node[key] = self._scrubber.text(value, level)

    def _object(
        self, node: dict[str, Any], inside: Mapping[str, Action], card: bool, level: int, depth: int
    ) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise Unreadable("too-deep")
        names, put_aside = self._names, self._texts.append
        self._seen += len(node)
        paired = tabled = given = None
        if not _TELLING.isdisjoint(node):
            paired = None if VALUES.isdisjoint(node) else self._paired(node, card, level, depth)
            tabled = None if NAME_LISTS.isdisjoint(node) else self._tabled(node, card, level, depth)
            given = self._variables(node, level, depth) if "variables" in node else None
        for key, value in node.items():
            name = names[key]  # of every name, as there are those that are data
            kind = type(value)
            common = not inside or name.norm not in inside
            if name.plain and common:
                if kind is str:
                    if len(value) > 5:
                        put_aside((node, key, value))
                elif not value or value is True:
                    continue
                elif kind is dict:
                    node[key] = self._object(value, _NOTHING_INSIDE, card, level, depth + 1)
                elif kind is list and name.norm in _ALTERNATING:
                    node[key] = self._alternating(value, card, level, depth)
                elif kind is not int or not _MINUS_LONG < value < _LONG:
                    node[key] = self._value(value, _NOTHING_INSIDE, card, level, depth)
            elif value is True or (not value and kind is not int):
                continue  # null, true, false, "", [] and {} stay under every rule
            elif kind is str and name.texts is not None and common and not self._errors:
                node[key] = name.texts[value]
            else:
                node[key] = self._special(node, name, value, inside, card, level, depth)
        if paired is not None:
            node.update(paired)
        if tabled is not None:
            node.update(tabled)
        if isinstance(given, str):
            node["variables"] = given
        elif given is not None:
            node["variables"].update(given)
        odd = names.odd
        if odd and not odd.keys().isdisjoint(node):
            self._settle(level)  # while they have their names
            return self._renamed(node)
        return node

    def _paired(self, node: dict[str, Any], card: bool, level: int, depth: int) -> dict[str, Any] | None:
        """The values of a pair whose name the rules know, redacted; the node keeps None for them.  Else None."""
        called = [
            (key, name)
            for key in NAMING.intersection(node)
            if (text := _spoken(node[key])) and not (name := self._names[text]).plain
        ]
        if not called:
            return None
        loose = LOOSELY_NAMING.issuperset(key for key, _ in called)
        name = max((name for _, name in called), key=lambda name: STRICTNESS.get(name.action, -1))
        made: dict[str, Any] = {}
        for key in VALUES.intersection(node):
            value = node[key]
            if value is True or (not value and type(value) is not int):
                continue
            if key in LOOSE_VALUES and (loose or type(value) not in (str, int)):
                continue
            made[key] = self._special(node, name, value, _NOTHING_INSIDE, card, level, depth)
            node[key] = None
        return made

    def _tabled(self, node: dict[str, Any], card: bool, level: int, depth: int) -> dict[str, Any]:
        """The values, or rows of them, whose names stand in a list beside them; the node keeps None for them."""
        made: dict[str, Any] = {}
        for naming in NAME_LISTS.intersection(node):
            listed = node[naming]
            columns = [self._column(column) for column in listed] if type(listed) is list else []
            if not any(columns):
                continue
            for key in VALUE_LISTS.intersection(node):
                values = node[key]
                rows = values if type(values) is list and values and type(values[0]) is list else [values]
                if any(type(row) is not list or len(row) != len(columns) for row in rows):
                    continue
                cells = [
                    [self._cell(*cell, card, level, depth + 2) for cell in zip(columns, row, strict=True)]
                    for row in rows
                ]
                made[key], node[key] = (cells if rows is values else cells[0]), None
        return made

    def _column(self, column: Any) -> Name | None:
        """What the rules know of a column's name, which may stand in an object of its own."""
        if type(column) is dict:
            column = next((column[key] for key in ("name", "id", "key", "field") if type(column.get(key)) is str), "")
        name = self._names[column] if type(column) is str and len(column) <= LONGEST_NAME else None
        return None if name is None or name.plain else name

    def _cell(self, name: Name | None, value: Any, card: bool, level: int, depth: int) -> Any:
        if name is None or value is True or (not value and type(value) is not int):
            return self._value(value, _NOTHING_INSIDE, card, level, depth)
        return self._special({name.norm: value}, name, value, _NOTHING_INSIDE, card, level, depth)

    def _variables(self, node: dict[str, Any], level: int, depth: int) -> dict[str, Any] | str | None:
        """The GraphQL variables that the rules know by the argument that they are for: ``checkout(token: $t)``; all of
        them where they stand as JSON in a text.

        Their names are left with None for them.
        """
        text, variables = node.get("query"), node["variables"]
        if type(text) is str and type(variables) is str and variables.lstrip().startswith("{"):
            if (redacted := self.variables(text, variables, level)) is not None:
                node["variables"] = None
            return redacted
        if type(text) is not str or type(variables) is not dict:
            return None
        made: dict[str, Any] = {}
        given = arguments_of(text)
        beside = dict.fromkeys(names_in(text))
        for variable, argument in given:
            value, name = variables.get(variable), self._names[argument]
            if name.plain or not self._names[variable].plain or value is True or (not value and type(value) is not int):
                continue
            made[variable] = self._special(beside, name, value, _NOTHING_INSIDE, False, level, depth)
            variables[variable] = None
        return made

    def _listed(self, pair: list[Any], card: bool, level: int, depth: int) -> Any:
        """``["X-Api-Key", "…"]``, as lists of headers have it; not two names, as lists of fields have them."""
        first, second = pair
        name = self._names[first] if type(first) is str and len(first) <= LONGEST_NAME else None
        two_names = type(second) is str and not self._names[second].plain
        if name is None or name.plain or two_names or second is True or (not second and type(second) is not int):
            return self._value(pair, _NOTHING_INSIDE, card, level, depth)
        return [first, self._special({first: second}, name, second, _NOTHING_INSIDE, card, level, depth)]

    def _told(self, items: list[Any]) -> Mapping[int, Name]:
        """The places of values that stand behind their names in a list: ``["password", "…", 1]``, ``["--token", "…"]``.

        A list of texts may be one of names; there a word is no value.
        """
        found: dict[int, Name] = {}
        for place, text in enumerate(items[:-1]):
            if type(text) is not str or len(text) > _LONGEST_TOLD or not text.isascii() or place in found:
                continue
            if not self._scrubber.is_listed(text) or (name := self._names[text]).word or not name.action:
                continue
            value = items[place + 1]
            if type(value) is not str or not value or self._scrubber.is_listed(value):
                continue
            if text[0] == "-" or not self._scrubber.is_word(value) or any(type(item) in (int, bool) for item in items):
                found[place + 1] = name
        return found

    def _alternating(self, lines: list[Any], card: bool, level: int, depth: int) -> list[Any]:
        """``["X-Api-Key", "…", "Email", "…"]``: name, value, name, value."""
        made: list[Any] = []
        for place in range(0, len(lines), 2):
            pair = lines[place : place + 2]
            made += (
                self._listed(pair, card, level, depth)
                if len(pair) == 2
                else self._value(pair, _NOTHING_INSIDE, card, level, depth)
            )
        return made

    def _value(self, value: Any, inside: Mapping[str, Action], card: bool, level: int, depth: int) -> Any:
        """A value that no rule names: of whatever type, redacted inside."""
        kind = type(value)
        if kind is str:
            return self._scrubber.text(value, level)
        if kind is dict:
            return self._object(value, inside, card, level, depth + 1)
        if kind is list:
            if depth > MAX_DEPTH:
                raise Unreadable("too-deep")
            told = self._told(value) if 1 < len(value) <= _LONGEST_RECORD else _NONE_TOLD
            for place, item in enumerate(value):
                if type(item) is dict:
                    value[place] = self._object(item, inside, card, level, depth + 2)
                elif place in told:
                    value[place] = self._cell(told[place], item, card, level, depth + 1)
                elif type(item) is list and len(item) == 2:
                    value[place] = self._listed(item, card, level, depth + 1)
                else:
                    value[place] = self._value(item, inside, card, level, depth + 1)
            return value
        if kind is int:
            return 0 if not _MINUS_LONG < value < _LONG and is_pan(str(abs(value))) else value
        if kind is msgspec.Raw:
            return msgspec.Raw(b"0.0") if _is_pan_number(_spelling(value)) else value
        return value

    def _special(
        self,
        node: dict[str, Any],
        name: Name,
        value: Any,
        inside: Mapping[str, Action],
        card: bool,
        level: int,
        depth: int,
    ) -> Any:
        """A value whose name the rules know."""
        scrubber = self._scrubber
        if name.each is not None:
            if type(value) is list:
                value = [self._one(item, name.each, level, depth) for item in value]
            elif type(value) is dict:  # {"phones": {"home": …, "work": […]}}
                value = {key: self._each(key, item, name.each, level, depth) for key, item in value.items()}
            return self._value(value, _NOTHING_INSIDE, card, level, depth)
        demanded = inside.get(name.norm)
        action = demanded or scrubber.action(name, node.keys(), "body", card=card)
        if action and name.word and not demanded and not scrubber.neighbours(name, node.keys()):
            action = None if self._is_plain(value) else action
        container = type(value) in (dict, list)
        if action is None and name.word and type(value) is list:
            action = name.action
        if action is None or (container and name.section == "urls"):
            if name.graphql and type(value) is str:
                made = self.graphql(value)
                if made is not None:
                    return made
            if action is not None and type(value) is list:
                value = [self._item(item, name, self._ruling(name)) for item in value]
            card = (card or name.opens) and not name.ends
            if name.errors and container:
                return self._complaining(value, card, level, depth)
            if type(value) is dict and name.section == "urls" and name.action and not WRAPPERS.isdisjoint(value):
                return self._wrapper(value, name, card, level, depth)
            return self._value(value, name.inside, card, level, depth)
        return self._leaves(value, Ruling(action, KINDS.get(name.norm, "text")), level, depth)

    def _complaining(self, value: Any, card: bool, level: int, depth: int) -> Any:
        """What is wrong, by the names of fields: ``{"errors": {"email": ["is invalid"]}}``."""
        outer, self._errors = self._errors, True
        try:
            return self._value(value, _NOTHING_INSIDE, card, level, depth)
        finally:
            self._errors = outer

    def _wrapper(self, node: dict[str, Any], name: Name, card: bool, level: int, depth: int) -> dict[str, Any]:
        """An object with a query's name that only holds its value: ``{"hmac": {"value": "…"}}``."""
        wrapped = {key: node[key] for key in WRAPPERS.intersection(node) if type(node[key]) is str}
        node.update(dict.fromkeys(wrapped))
        made = self._object(node, name.inside, card, level, depth + 1)
        made.update((key, self._item(text, name, self._ruling(name))) for key, text in wrapped.items())
        return made

    def _ruling(self, name: Name) -> Ruling:
        return Ruling(name.action or "drop", KINDS.get(name.norm, "text"))

    def _item(self, item: Any, name: Name, ruling: Ruling) -> Any:
        """An item of a list that has a query's name, as programs print a query: ``{"hmac": ["…"]}``."""
        if type(item) is not str or (name.word and self._is_plain(item)):
            return item
        return self._scrubber.named(ruling, item)

    def _one(self, item: Any, ruling: Ruling, level: int, depth: int) -> Any:
        """An item of a list of tokens; what may be a word stays, as ``tokens`` of a text are, and objects do."""
        if type(item) not in (str, int) or (ruling.action != "pseudonym" and type(item) is int):
            return item
        return item if type(item) is str and self._scrubber.is_word(item) else self._leaves(item, ruling, level, depth)

    def _each(self, key: str, item: Any, ruling: Ruling, level: int, depth: int) -> Any:
        """What stands under a name of its own that says nothing, in an object with the plural of a name."""
        if not self._names[key].plain:
            return item
        if type(item) is list:
            return [self._one(one, ruling, level, depth) for one in item]
        return self._one(item, ruling, level, depth) if type(item) is str else item  # {"tokens": {"count": 3}}

    def _is_plain(self, value: Any) -> bool:
        """A word, a small number or a container, as ``code`` and ``state`` mostly are."""
        if type(value) is str:
            return self._scrubber.is_word(value)
        return type(value) is not int or abs(value) < 100_000

    def _leaves(self, value: Any, ruling: Ruling, level: int, depth: int) -> Any:
        """A value, or every leaf of a container, after a ruling; a stricter one for a name inside wins."""
        kind = type(value)
        if kind is str:
            if self._errors and is_complaint(value):
                return self._scrubber.text(value, level)
            return self._scrubber.named(ruling, value)
        if kind is dict:
            return self._leaf_object(value, ruling, level, depth)
        if kind is list:
            if depth > MAX_DEPTH:
                raise Unreadable("too-deep")
            return [self._leaves(item, ruling, level, depth + 1) for item in value]
        if kind is int:
            return self._integer(value, ruling)
        if kind is msgspec.Raw:
            return self._fraction(value, ruling)
        return value

    def _leaf_object(self, node: dict[str, Any], ruling: Ruling, level: int, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise Unreadable("too-deep")
        self._seen += len(node)
        error = "code" in node and "message" in node  # what a shop answers about a field
        for key, value in node.items():
            name = self._names[key]
            if type(value) is str and (
                (error and ruling.action == "shape" and name.norm == "code" and self._is_plain(value))
                or (error and name.norm == "message" and is_complaint(value))
                or (ruling.action == "pseudonym" and _INSTANT.fullmatch(value))  # until when a token is valid
            ):
                continue
            action = None if name.card_only or name.word else name.action
            inner = None if action is None else Ruling(action, KINDS.get(name.norm, "text"))
            node[key] = self._leaves(value, strictest(ruling, inner) or ruling, level, depth + 1)
        return self._renamed(node)

    def _integer(self, value: int, ruling: Ruling) -> int:
        if ruling.action == "drop" or is_pan(str(abs(value))):
            return 0
        if ruling.action == "pseudonym":
            return self._scrubber.pseudonyms.number(value)
        return int(float(self._scrubber.shapes.number(ruling.kind, str(value))))

    def _fraction(self, value: msgspec.Raw, ruling: Ruling) -> msgspec.Raw:
        spelling = _spelling(value)
        if ruling.action == "drop" or _is_pan_number(spelling):
            return msgspec.Raw(b"0.0")
        return msgspec.Raw(self._scrubber.shapes.number(ruling.kind, spelling).encode())

    def _renamed(self, node: dict[str, Any]) -> dict[str, Any]:
        """The object with data for names replaced; as many names as before."""
        odd = self._names.odd
        if not odd or odd.keys().isdisjoint(node):
            return node
        made: dict[str, Any] = {}
        for key, value in node.items():
            clean = odd.get(key, key)
            while clean in made or (clean != key and clean in node):
                clean += "-"
            made[clean] = value
        return made


def _spoken(value: Any) -> str:
    """The name that the value of ``name`` or ``path`` is: as it stands, or the last of a path or list of names."""
    if type(value) is list and value and len(value) <= MAX_NESTING:
        value = next((part for part in reversed(value) if type(part) is str), "")
    if type(value) is not str or len(value) > LONGEST_NAME:
        return ""
    return name_parts(value)[-1] if value.startswith(("/", "#/")) else value


def _decode(content: bytes) -> Any:
    """The document as Python values, fractions as their spelling."""
    if len(content) > MAX_BYTES:
        raise Unreadable("too-large")
    try:
        return _DECODER.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except RecursionError:
        raise Unreadable("too-deep") from None
    except ValueError:  # the decoder's own message would quote the body
        raise Unreadable("unparsed") from None


def _refuse_duplicates(content: bytes) -> None:
    """Look closer where there are not as many names as there seem to be in the text."""
    try:
        json.loads(content.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_once)
    except ValueError:
        raise Unreadable("unparsed") from None


def _once(pairs: list[tuple[str, Any]]) -> None:
    """Which of two equal names counts, readers disagree."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise Unreadable("duplicate-keys")


def _spelling(value: msgspec.Raw) -> str:
    return bytes(value).decode()


def _is_pan_number(spelling: str) -> bool:
    """Whether a fraction is, or holds, a card number: 4242424242424242.0, 4.242424242424242e15."""
    if has_pan(spelling):
        return True
    if len(spelling) > 60 or ("e" not in spelling and "E" not in spelling):
        return False
    number = float(spelling)
    return 10**12 < abs(number) < 10**19 and number.is_integer() and is_pan(str(abs(int(number))))
