"""The rules of redaction: which names are dropped, pseudonymised or shaped, and where.

The default ones are ``redaction.toml`` beside this file.  A user's file has the same sections and names under
``add`` and ``remove``::

    [add.body]
    drop = ["loyalty_number"]

    [remove.body]
    shape = ["company"]
"""

from __future__ import annotations

import difflib
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from polltape.capture.keys import config_dir
from polltape.capture.pairs import LONGEST_NAME
from polltape.capture.standins import KINDS
from polltape.errors import ConfigError

Action = Literal["drop", "pseudonym", "shape"]
Place = Literal["header", "query", "body"]
Value = dict[str, list[str]]

ORDER: Final[dict[Place, tuple[str, ...]]] = {
    "header": ("headers", "body", "urls"),
    "query": ("urls", "body", "headers"),
    "body": ("body", "headers", "urls"),
}
"""Which section speaks first for a name in that place (form and multipart fields are ``query``)."""

_LISTS: Final[dict[str, tuple[tuple[str, Action], ...]]] = {
    "headers": (("drop", "drop"), ("pseudonym", "pseudonym"), ("shape", "shape")),
    "urls": (("query_drop", "drop"), ("query_pseudonym", "pseudonym"), ("query_shape", "shape")),
    "body": (("drop", "drop"), ("pseudonym", "pseudonym"), ("shape", "shape")),
}
_INSIDE: Final[tuple[tuple[Action, str], ...]] = (
    ("drop", "body.drop_in"),
    ("pseudonym", "body.pseudonym_in"),
    ("shape", "body.shape_in"),
)
_VERBATIM: Final = frozenset({"path_pseudonym", "path_numbered", "path_words", "path_forms", "vaults"})
"""Lists of paths or their segments, which are not names: compared in lower case only."""


@lru_cache(maxsize=8192)
def normalise(name: str) -> str:
    """A name as names are compared: without case, '_', '-' and blanks, and without the mark that some put before it.

    >>> normalise("X-Shopify-Access-Token"), normalise("lastName"), normalise("@Last name")
    ('xshopifyaccesstoken', 'lastname', 'lastname')
    """
    if not name.isascii() or not name.isprintable():  # as it is read: full-width letters, what takes no room
        name = "".join(filter(str.isprintable, unicodedata.normalize("NFKC", name)))
    return name.strip().lstrip("@$").lower().replace("_", "").replace("-", "").replace(" ", "")


_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ENDINGS: Final = ("password", "passwd", "token", "secret")
_AFTER: Final = frozenset({
    "value", "values", "text", "string", "raw", "plain", "hash", "confirm", "confirmation", "again", "repeat", "old",
    "new", "address",
})  # fmt: skip
"""Words behind a name that leave it what it is: ``password_hash``, ``passwordConfirm``; numbers do, too."""


def compounds(name: str) -> list[str]:
    """What a compound name may be a kind of, the most exact first.

    >>> compounds("customerEmail2")
    ['customeremail2', 'email2', '2', 'customeremail', 'email']
    """
    words = [word.lower() for word in _WORDS.findall(name)] if len(name) <= LONGEST_NAME else []
    known = len(words)
    while known > 1 and (words[known - 1] in _AFTER or words[known - 1].isdigit()):
        known -= 1
    found = ["".join(words[start:end]) for end in range(len(words), known - 1, -1) for start in range(end)]
    if words:  # userpassword, csrfmiddlewaretoken
        found += [ending for ending in _ENDINGS if words[known - 1].endswith(ending)]
    return found


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is to happen to a named value: the action, and for shapes the kind."""

    action: Action
    kind: str = "text"


def strictest(one: Ruling | None, other: Ruling | None) -> Ruling | None:
    """Of two rulings for one value: drop before pseudonym before shape, else the inner (second) one.

    >>> strictest(Ruling("shape"), Ruling("drop")).action
    'drop'
    """
    if one is None or other is None:
        return one or other
    return one if STRICTNESS[one.action] > STRICTNESS[other.action] else other


STRICTNESS: Final[dict[Action | None, int]] = {"shape": 0, "pseudonym": 1, "drop": 2}


@dataclass(slots=True, eq=False)
class Name:
    """What the rules say about one name in one place; ``plain`` ones say nothing at all.

    ``action``: what happens to its value, None for nothing.  ``section``: where the rule stands.
    ``card_only``: only in a card or payment.  ``word``: kept where the value is a plain word.
    ``beside``: the action, where one of these names stands beside it.  ``inside``: actions for names directly
    in the object that it names.  ``opens``, ``ends``: a card begins, or ends, in that object.
    ``errors``: the object that it names tells what is wrong, by the names of fields.
    ``each``: what happens to the items of a list, as the name is the plural of another.
    """

    norm: str
    action: Action | None = None
    section: str = ""
    card_only: bool = False
    card_field: bool = False
    word: bool = False
    opens: bool = False
    ends: bool = False
    graphql: bool = False
    errors: bool = False
    beside: tuple[tuple[Action, frozenset[str]], ...] = ()
    inside: Mapping[str, Action] = field(default_factory=dict)
    plain: bool = True
    ruling: Ruling | None = None
    texts: dict[str, str] | None = None
    each: Ruling | None = None


@dataclass(frozen=True)
class Rules:
    """All rules, as sections of lists and, for tables such as ``body.drop_in``, one section a table."""

    sections: Mapping[str, Value]

    @classmethod
    def load(cls, path: Path | None = None) -> Rules:
        """The default rules; with ``path`` those that the user's file leaves of them, and adds.

        Raises :class:`~polltape.errors.ConfigError` for a file that cannot be read, unknown sections or keys,
        and a rule to remove that does not exist.
        """
        text = resources.files(__package__).joinpath("redaction.toml").read_text("utf-8")
        sections = _flatten(tomllib.loads(text))
        if path is not None:
            sections = _merge(sections, path)
        return cls(sections)

    @classmethod
    def of_user(cls, folder: Path | None = None) -> Rules:
        """The rules with the user's own file ``redaction.toml`` of the configuration folder, where it is."""
        path = (config_dir() if folder is None else folder) / "redaction.toml"
        there = path.exists() or path.is_symlink()  # a link that leads nowhere is no reason to go without its rules
        return cls.load(path) if there else DEFAULT_RULES

    def names(self, section: str, key: str) -> frozenset[str]:
        """One list, in the form in which it is compared."""
        listed = self.sections.get(section, {}).get(key, ())
        return frozenset(name.lower() if key in _VERBATIM else normalise(name) for name in listed)

    def table(self, place: Place) -> dict[str, tuple[Action, str]]:
        """Normalised name → (action, section) for that place."""
        found: dict[str, tuple[Action, str]] = {}
        for section in ORDER[place]:
            for key, action in _LISTS[section]:
                for name in self.names(section, key):
                    found.setdefault(name, (action, section))
        return found

    def names_inside(self) -> frozenset[str]:
        """The names that have an action only in objects of certain names: the ``id`` of an order."""
        return _inside(self)

    def name(self, norm: str, place: Place) -> Name:
        """What the rules say about a normalised name; ``X-NAME`` is NAME where nothing is said of itself."""
        bare = norm.removeprefix("x")
        common = self._of("words", "kept") | self._of("card", "only")
        if norm not in self._tables[place] and bare in self._tables[place] and bare not in common:
            norm = bare
        action, section = self._tables[place].get(norm, (None, ""))
        word = place == "body" and section != "body" and norm in self._of("words", "kept")
        tables = _INSIDE
        inside = {normalise(n): a for a, t in tables for n in self._nested(t, norm)}
        beside = [("shape", "body.shape_beside"), ("drop", "body.drop_beside")]
        near = tuple((a, s) for a, t in beside if (s := frozenset(map(normalise, self._nested(t, norm)))))
        card_only = action == "drop" and norm in self._of("card", "only")
        opens, ends = norm in self._of("card", "objects"), norm in self._of("card", "ends")
        graphql = norm in {"query", "mutation", "subscription"}
        errors = norm in {"errors", "error"}
        alone = action is not None and not (near or card_only or word or graphql)
        return Name(
            norm=norm,
            action=action,
            section=section,
            card_only=card_only,
            card_field=norm in self._of("card", "fields"),
            word=word,
            opens=opens,
            ends=ends,
            graphql=graphql,
            errors=errors,
            beside=near,  # type: ignore[arg-type]
            inside=inside,
            plain=not (action or near or inside or opens or ends or graphql or errors),
            ruling=Ruling(action, KINDS.get(norm, "text")) if alone and action else None,
        )

    def compound(self, name: str, place: Place) -> Name | None:
        """What the rules say about a name that ends with one of theirs: ``user_password``, ``billingEmail``."""
        table, alone = self._tables[place], self._of("words", "alone")
        norm = next((norm for norm in compounds(name) if norm in table and norm not in alone), None)
        return None if norm is None else self.name(norm, place)

    def plural(self, name: str) -> Name | None:
        """What the rules say about the plural of one of their names: ``order_ids``, ``accessTokens``."""
        one = name[:-1]
        norm = normalise(one)
        if name[-1:] not in ("s", "S") or norm in self._of("words", "alone"):
            return None
        known = self.name(norm, "body")
        known = (self.compound(one, "body") or known) if known.plain else known
        return None if known.ruling is None else Name(normalise(name), plain=False, each=known.ruling)

    @property
    def _tables(self) -> dict[Place, dict[str, tuple[Action, str]]]:
        return _tables(self)

    def _of(self, section: str, key: str) -> frozenset[str]:
        return _list(self, section, key)

    def _nested(self, table: str, norm: str) -> list[str]:
        return _nested(self, table).get(norm, [])

    def __hash__(self) -> int:
        return id(self)


@lru_cache(maxsize=16)
def _tables(rules: Rules) -> dict[Place, dict[str, tuple[Action, str]]]:
    return {place: rules.table(place) for place in ORDER}


@lru_cache(maxsize=256)
def _list(rules: Rules, section: str, key: str) -> frozenset[str]:
    return rules.names(section, key)


@lru_cache(maxsize=16)
def _inside(rules: Rules) -> frozenset[str]:
    tables = [rules.sections.get(table, {}) for _, table in _INSIDE]
    return frozenset(normalise(name) for table in tables for names in table.values() for name in names)


@lru_cache(maxsize=64)
def _nested(rules: Rules, table: str) -> dict[str, list[str]]:
    merged: dict[str, list[str]] = {}
    for name, values in rules.sections.get(table, {}).items():
        merged.setdefault(normalise(name), []).extend(values)
    return merged


# ------------------------------------------------------------------------------------ the user's file


def _flatten(document: Mapping[str, object]) -> dict[str, Value]:
    """``[body.drop_in]`` becomes the section ``body.drop_in`` beside ``body``."""
    sections: dict[str, Value] = {}
    for section, entries in document.items():
        if not isinstance(entries, Mapping):
            raise TypeError(section)
        sections[section] = {}
        for key, value in entries.items():
            if isinstance(value, Mapping):
                sections[f"{section}.{key}"] = {name: _strings(names, name) for name, names in value.items()}
            else:
                sections[section][key] = _strings(value, key)
    return sections


def _strings(value: object, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(key)
    return list(value)


def _merge(defaults: dict[str, Value], path: Path) -> dict[str, Value]:
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: the rules cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    user = _User(path, text)
    merged = {section: {key: list(names) for key, names in lists.items()} for section, lists in defaults.items()}
    for verb, sections in document.items():
        if verb not in {"add", "remove"}:
            raise user.refuse(verb, ["add", "remove"])
        if not isinstance(sections, Mapping):
            raise user.no_table(verb)
        try:
            flat = _flatten(sections)
        except TypeError as error:
            raise user.wrong_type(str(error)) from None
        for section, lists in flat.items():
            _apply(merged, section, lists, verb, user)
    return merged


def _apply(merged: dict[str, Value], section: str, lists: Value, verb: str, user: _User) -> None:
    if section not in merged:
        raise user.refuse(section.rpartition(".")[2], list(merged))
    open_table = section.startswith("body.")
    for key, names in lists.items():
        if key not in merged[section] and not (open_table and verb == "add"):
            raise user.refuse(key, list(merged[section]))
        for name in names:
            if not normalise(name).strip("/"):
                raise user.empty(key)
            if verb == "remove":
                _remove(merged[section][key], name, user)
            else:
                _add(merged[section], section, key, name)


def _remove(listed: list[str], name: str, user: _User) -> None:
    same = [entry for entry in listed if normalise(entry) == normalise(name)]
    if not same:
        raise user.refuse(name, listed)
    for entry in same:
        listed.remove(entry)


def _add(lists: Value, section: str, key: str, name: str) -> None:
    """A name that the user gives an action loses the one that it had in the same section."""
    actions = [other for other, _ in _LISTS.get(section, ())]
    if key in actions:
        for other in actions:
            lists[other] = [entry for entry in lists.get(other, []) if normalise(entry) != normalise(name)]
    lists.setdefault(key, []).append(name)


@dataclass(frozen=True)
class _User:
    path: Path
    text: str

    def line(self, word: str) -> int | None:
        pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
        lines = enumerate(self.text.splitlines(), 1)
        return next((n for n, line in lines if pattern.search(line.split("#")[0])), None)

    def where(self, word: str) -> str:
        line = self.line(word)
        return f"{self.path}" if line is None else f"{self.path}, line {line}"

    def refuse(self, word: str, known: list[str]) -> ConfigError:
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known)[:12])}"
        return ConfigError(f"{self.where(word)}: {word!r} is not known here", hint=hint)

    def no_table(self, verb: str) -> ConfigError:
        return ConfigError(f"{self.where(verb)}: {verb!r} must have a section behind it", hint=f"like [{verb}.body]")

    def empty(self, key: str) -> ConfigError:
        return ConfigError(f"{self.where(key)}: a name of {key!r} is empty")

    def wrong_type(self, word: str) -> ConfigError:
        return ConfigError(f"{self.where(word)}: {word!r} must be a list of names", hint='like ["loyalty_number"]')


DEFAULT_RULES: Final = Rules.load()
