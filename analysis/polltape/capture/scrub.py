"""Redaction of single values, of free text, and of what stands in text: URLs, tokens, addresses.

:class:`Scrubber` knows the rules and the key.  :mod:`polltape.capture.scrub_json` walks JSON with it,
:mod:`polltape.capture.bodies` the other kinds of body.  Every text goes through exactly one of ``pseudonym``,
``shape``, ``drop`` or ``text``, and what one of them made is not touched again: else equal values would not
stay equal.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final
from urllib.parse import unquote

from polltape.capture.encodings import (
    BLANK_JSON64,
    TEXT64,
    decode64,
    encode64,
    escaped,
    may_hold_text64,
    name_parts,
    requote,
    unescaped,
    unquote_form,
    unquoted,
)
from polltape.capture.pairs import LONGEST_NAME, LOOSE_VALUES, NAMING, VALUES
from polltape.capture.pan import find_pans, has_pan, replace_pans
from polltape.capture.pseudonyms import Pseudonyms
from polltape.capture.redaction_rules import Action, Name, Place, Rules, Ruling, normalise, strictest
from polltape.capture.scrub_graphql import arguments_of
from polltape.capture.scrub_json import MAX_NESTING, JsonScrubber, Unreadable
from polltape.capture.scrub_memory import Memory, Names, Rulings, Texts, is_plain
from polltape.capture.scrub_prose import documents, named_values
from polltape.capture.scrub_tables import may_hold_table
from polltape.capture.scrub_told import Telling
from polltape.capture.spoken import looks_spoken
from polltape.capture.standins import DROPPED, KINDS, MAIL_DOMAIN, Shapes, drop_text

MAX_PAIRS: Final = 10_000
"""Queries and forms of more fields are not read."""

_SHORT: Final = 6
_SURE_VALUES: Final = VALUES - LOOSE_VALUES
_SUSPECT: Final = re.compile(
    r"[/?@%=<]|\d[^A-Za-z.,:;]{11}|eyJ|shp[a-z]{2}_|Z2lk|^(?:e[wy]|W[w-z13])[\w+/-]{6}|(?i:basic|bearer|token)\s|^\s*[\[{\"]"
    r"|[\w.\]-]\\*[\"'`]?[ \t]{0,4}[:\uff1a]|eyAi|ew[0o][\w+/-]|W3s[ig]|WyJ|&(?:quot|lt|apos|nbsp|#)|\\u00|"
    + BLANK_JSON64
)
_WEB: Final = re.compile(r"""https?://[^\s"'<>\\]+""")
_REST: Final = r"""(?:[^\s"'<>\\?\#]|\\+(?=[\w/]))*+[^\s"'<>\\]*"""
"""Of a URL what follows its beginning.  In a path '\\' is a '/' (as browsers read it), and '\\/' one in JSON."""
_TOKENS: Final = re.compile(
    rf"""(?<![A-Za-z0-9])(?:  # as each of them demands: in the middle of a word there is only this to look at
        (?P<jwt>(?<![\w-])eyJ[\w-]{{4,}}\.[\w-]+(?:\.[\w-]*)*)
      | (?P<json64>(?<![\w+/-])
            (?:(?:eyJ|eyAi|ew[0o][\w+/-]|W3s[ig]|WyJ)[\w+/-]{{8,}}|(?:{BLANK_JSON64})[\w+/-]*)={{0,2}})
      | (?P<gid>(?<![\w+.-])gid://[\w.-]+/(?P<type>\w+)/[^\s"'<>\\]+)
      | (?P<gid64>(?<![\w+/-])Z2lkOi8v[\w+/-]+={{0,2}})
      | (?P<text64>{TEXT64}[\w+/-]*={{0,2}}(?![^\s"'<>,;&)\]}}]))
      | (?P<pem>(?<!\w)-----BEGIN[ A-Z0-9]{{0,40}}PRIVATE[ ]KEY-----[^-]*(?:-----END[ A-Z0-9]{{0,60}}-----)?)
      | (?P<auth>(?<![\w-])(?i:Basic|Bearer)[ ]+(?![a-z_]{{3,30}}=")[\w.~+/-]{{6,}}=*)
      | (?P<shop>(?<![A-Za-z0-9])shp[a-z]{{2}}_[0-9A-Za-z]{{8,}})
      | (?P<url>(?<![\w+.-])[A-Za-z][\w+.-]{{0,30}}:(?://|\\+/\\+/)(?=[^\s"'<>]){_REST}
              | (?<![^\s"'<>\\=,;()\[\]|])[^\s"'<>\\=,;()\[\]|/?]*+(?=[/?]){_REST})
      | (?P<email>(?<![\w.+-])[\w+][\w.+'-]{{0,63}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{1,8}}))""",
    re.VERBOSE,
)
_URL: Final = re.compile(r"(?:([A-Za-z][\w+.-]*:)?(//)([^/?#\\]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_FORM: Final = re.compile(r"[\w.\[\]%-]+=[^\s&]*(?:&[\w.\[\]%-]+(?:=[^\s&]*)?)*")
_USER: Final = re.compile(r"[^:@]*:[^@]+@(?=[\w\[])")
"""User and password, in a URL that lacks a slash or has one too many."""
_PADDED: Final = re.compile(r"[\w+/-]+={1,2}")
"""Base64 with its padding, no form of one name."""
_SEPARATOR: Final = re.compile(r"(&|;[ +]?(?=[\w.\[\]%-]{1,80}=))")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED: Final = re.compile(r"[^\s\"'<>]*%[0-9A-Fa-f]{2}[^\s\"'<>]*")
_BACKSLASH: Final = re.compile(r"\\|%(?:25){0,4}5[Cc](?=[\w/])")
_SLASHES: Final = re.compile(r"(/|\\|%(?:25){0,4}5[Cc](?=[\w/]))")
"""Browsers and many servers take a backslash for a slash; before anything else it escapes something."""
_INNER_URL: Final = re.compile(r"(?<=/)[A-Za-z][\w+.-]{1,30}://(?=[^/])")
_VERSION: Final = re.compile(r"v\d+|[a-z_-]{2,20}")
_MADE_UP: Final = re.compile(r"(?=[^\d]*\d)[^/]{8}")
"""What is a token even behind a word or a version, where one belongs: /checkouts/v1/TOKEN, /orders/name/TOKEN."""
_SUFFIXES: Final = frozenset({"json", "js", "xml", "html"})
_SCHEMES: Final = re.compile(
    r"(?i)(Basic|Bearer|Token|Digest|Negotiate|NTLM|ApiKey|Api-Key|OAuth|DPoP|JWT|Key|Hawk|Signature|SharedKey|"
    r"AWS4-HMAC-SHA256|GoogleLogin|PrivateToken)(\s+)(\S.*)",
    re.DOTALL,
)
_PARAMETER: Final = re.compile(r'([A-Za-z_][\w-]*)(\s*=\s*)("(?:[^"\\]|\\.)*"|[^\s,"]+)')
_PARAMETERS: Final = re.compile(r"[A-Za-z_][\w-]*\s*=\s*[\"\w]")
_PUBLIC_PARAMETERS: Final = frozenset({"realm", "algorithm", "qop", "nc", "charset", "stale", "signedheaders"})
_PREFIX: Final = re.compile(r"((?:[a-z]{2,6}_)(?:(?:live|test)_)?)([0-9A-Za-z]{16,})")
_GID: Final = re.compile(r"(gid://[^/?#]+/[^/?#]+/)([^?#]+)(\?[^#]*)?(#.*)?", re.DOTALL)
_NUMBERED: Final = re.compile(r"gid://[\w.-]+/\w+/\d+")
_LETTERS: Final = r"(?:[A-Za-z]{1,8}|[A-Z]+|[A-Z]{0,5}[a-z]{2,}(?:[A-Z]{1,5}[a-z]{2,})*[A-Z]{0,5})"
"""Letters as words have them, camel case too."""
_WORD: Final = re.compile(rf"{_LETTERS}(?:[_. -]{_LETTERS})*|-?[0-9]{{1,5}}")
_PSEUDONYM: Final = Ruling("pseudonym")
_INDEX: Final = re.compile(r"[\[\].]+")


class Scrubber:
    """Redacts values by name and text by what stands in it, under one key and one set of rules."""

    def __init__(self, secret: bytes, rules: Rules) -> None:
        self.pseudonyms = Pseudonyms(secret)
        self.shapes = Shapes(self.pseudonyms)
        self.rules = rules
        self.names: dict[Place, Names] = {p: Names(self, p) for p in ("header", "query", "body")}
        self.texts = Texts(self)
        self.ruled = Rulings(self)
        self.paths = Memory(self.path)
        self.json = JsonScrubber(self)
        self._listed = frozenset(rules.table("body"))
        self.alone = rules.names("words", "alone")
        self._with_id = frozenset(map(normalise, rules.sections.get("body.pseudonym_in", ())))
        self.telling = Telling((self._listed - self.alone) | self._with_id)
        self._gids = rules.names("gids", "pseudonym")
        self._words = rules.names("urls", "path_words")
        self._forms = rules.names("urls", "path_forms")
        self._after: dict[str, list[list[str]]] = {}  # last word → the words before it, and it
        for literals in filter(None, map(_literals, rules.names("urls", "path_pseudonym"))):
            self._after.setdefault(literals[-1], []).append(literals)
        numbered = list(filter(None, map(_literals, rules.names("urls", "path_numbered"))))
        self._numbered = frozenset(literals[-1] for literals in numbered)
        for literals in numbered:
            self._after.setdefault(literals[-1], []).append(literals)
        self._before = self._forms | set(self._after)

    # ------------------------------------------------------------------------------- by name

    def ruling(self, place: Place, parts: Sequence[str], beside: Iterable[str] = ()) -> Ruling | None:
        """What the rules say of a text named by a path such as ``checkout``, ``email``; None for nothing.

        ``beside`` are the names that stand beside it.
        """
        names = self.names[place]
        inherited: Ruling | None = None
        inside: dict[str, Action] = {}
        card = False
        name = names[""]
        for depth, part in enumerate(parts):
            name = names[part]
            last = depth == len(parts) - 1
            card = card or (name.opens and not last)
            card = card and not (name.ends and not last)
            action = inside.get(name.norm) or self.action(name, beside if last else (), place, card=card)
            if action and (last or self.names["body"][part].section != "urls"):
                inherited = strictest(inherited, Ruling(action, KINDS.get(name.norm, "text")))
            inside = dict(name.inside)
        return inherited

    def fresh_names(self) -> Names:
        """Names of bodies without memory."""
        return Names(self, "body")

    def action(self, name: Name, beside: Iterable[str], place: Place, *, card: bool) -> Action | None:
        """The action for a name among its neighbours; ``card`` is whether it stands in a card or payment."""
        if name.card_only:
            return "drop" if card or self._card_beside(name, beside, place) else None
        return (self.neighbours(name, beside) if name.beside else None) or name.action

    def is_listed(self, text: str) -> bool:
        """Whether a text is one of the names that the rules list."""
        return normalise(text) in self._listed

    def has_id(self, text: str) -> bool:
        """Whether a text is the name of an object whose id is a pseudonym: order, cart."""
        return normalise(text) in self._with_id

    def neighbours(self, name: Name, beside: Iterable[str]) -> Action | None:
        """The action that a name has because of those beside it."""
        near: set[str] = set()
        for action, others in name.beside:
            near = near or {normalise(other) for other in beside}
            if not near.isdisjoint(others):
                return action
        return None

    def _card_beside(self, name: Name, beside: Iterable[str], place: Place) -> bool:
        others = [self.names[place][other] for other in beside]
        if any(other.card_field for other in others):
            return True
        norms = {other.norm for other in others}
        return {"number", "month"} <= norms or (name.norm == "number" and "year" in norms)

    def named(self, ruling: Ruling, value: str) -> str:
        """A text that a rule names, after the rule's action."""
        return self.ruled[ruling][value]

    def maker(self, ruling: Ruling) -> Callable[[str], str]:
        """What makes the stand-in of a text, without memory."""
        if ruling.action == "drop":
            return drop_text
        if ruling.action == "shape":
            return partial(self.shape, ruling.kind)
        return self._pseudonym

    def shape(self, kind: str, value: str) -> str:
        """A stand-in of the same shape; containers in JSON text keep their structure."""
        if has_pan(value):
            return DROPPED
        if value.startswith(("{", "[")):
            try:
                return self.json.inside(value, Ruling("shape", kind), MAX_NESTING - 1)
            except Unreadable:
                pass
        return self.shapes.text(kind, value)

    def is_word(self, value: str) -> bool:
        """A plain word, as statuses and error codes are: nothing that could be a secret."""
        return len(value) <= 80 and _WORD.fullmatch(value) is not None and looks_spoken(value)

    # ---------------------------------------------------------------------------- pseudonyms

    def pseudonym(self, value: str) -> str:
        """The pseudonym of a value in whatever encoding it stands; schemes, prefixes and quotes stay."""
        return self.ruled[_PSEUDONYM][value]

    def _pseudonym(self, value: str, level: int = 0) -> str:
        bare = value.strip()
        if not bare or level > MAX_NESTING:
            return drop_text(bare)
        if bare != value:
            return value.replace(bare, self._pseudonym(bare, level + 1), 1)
        if len(bare) >= 2 and bare[0] == bare[-1] == '"':
            return f'"{self._pseudonym(bare[1:-1], level + 1)}"'
        if "%" in bare and _ESCAPE.search(bare):
            return requote(self._pseudonym(unquote(bare), level + 1), bare)
        if _only_pan(bare):
            return DROPPED
        if " " in bare and (scheme := _SCHEMES.fullmatch(bare)):
            return self._credentials(scheme[1], scheme[2], scheme[3], level)
        if bare.startswith("gid://") and (gid := _GID.fullmatch(bare)):
            return self._gid(gid, level)
        if bare.startswith("Z2lkOi8v"):
            return self._decoded(bare, level) or self.pseudonyms.text(bare)
        if prefix := _PREFIX.fullmatch(bare):
            return prefix[1] + self.pseudonyms.text(prefix[2])
        return self.pseudonyms.text(bare)

    def _credentials(self, scheme: str, gap: str, rest: str, level: int) -> str:
        """RFC 9110 §11.4: a scheme, then one token or a list of parameters."""
        if scheme.lower() == "basic":
            return f"{scheme}{gap}{self._basic(rest)}"
        if not _PARAMETERS.match(rest) or re.fullmatch(r"[\w.~+/-]+=*", rest):
            return f"{scheme}{gap}{self._pseudonym(rest, level + 1)}"

        def parameter(match: re.Match[str]) -> str:
            if match[1].lower() in _PUBLIC_PARAMETERS:
                return match[0]
            return f"{match[1]}{match[2]}{self._pseudonym(match[3], level + 1)}"

        made = _PARAMETER.sub(parameter, rest)
        left = _PARAMETER.sub("", rest).strip(" ,;\t")
        return f"{scheme}{gap}{made}" if not left else f"{scheme}{gap}{self.pseudonyms.text(rest)}"

    def _basic(self, token: str) -> str:
        """RFC 7617: base64 of user:password, each a pseudonym of its own."""
        decoded = decode64(token)
        if decoded is None or ":" not in decoded:
            return self.pseudonyms.text(token) if decoded is None else encode64(self.pseudonym(decoded), token)
        user, _, password = decoded.partition(":")
        return encode64(f"{self.pseudonym(user)}:{self.pseudonym(password)}", token)

    def _gid(self, match: re.Match[str], level: int) -> str:
        """Shopify's global ids: the number in one has the pseudonym of the plain number."""
        query = "" if match[3] is None else f"?{self.query(match[3][1:], level + 1)}"
        return f"{match[1]}{self._pseudonym(match[2], level + 1)}{query}"

    def _decoded(self, token: str, level: int) -> str | None:
        """A base64 of a global id, as the Storefront API had them, in base64 again."""
        decoded = decode64(token)
        gid = None if decoded is None else _GID.fullmatch(decoded)
        return None if gid is None else encode64(self._gid(gid, level), token)

    # ----------------------------------------------------------------------------- free text

    def text(self, value: str, level: int = 0) -> str:
        """Free text without what may stand nowhere; the same object where there is nothing.

        Gone are card numbers, JWTs, credentials, and what the rules name inside URLs, forms, JSON and base64
        of JSON in the text; e-mail addresses are shaped.
        """
        if len(value) < _SHORT:
            return value
        return self.texts[value] if level == 0 else self.fresh_text(value, level)

    def fresh_text(self, value: str, level: int) -> str:
        """:meth:`text` without its memory."""
        if level <= MAX_NESTING and is_plain(value, self.telling):
            return replace_pans(value, DROPPED)
        if level <= MAX_NESTING and value.startswith("http") and _WEB.fullmatch(value) and unescaped(value) is None:
            return self._cleaned(value, self._url_like(value, level), level)
        return self.searched_text(value, level)

    def searched_text(self, value: str, level: int) -> str:
        """:meth:`text` without short cuts."""
        if not (_SUSPECT.search(value) or may_hold_text64(value) or self.telling.may(value) or may_hold_table(value)):
            return value
        if level > MAX_NESTING:
            return DROPPED
        nested = self._nested(value, level)
        if nested is not None:
            return nested
        if (plain := unescaped(value)) is not None:
            clean = self.text(plain, level + 1)
            if clean != plain:
                return escaped(clean, value)
        if "=" in value and _FORM.fullmatch(value) and not _PADDED.fullmatch(value):
            return self.query(value, level + 1)
        return self._cleaned(value, self._prose(value, level), level)

    def _prose(self, value: str, level: int) -> str:
        """Free text: JSON documents that stand in it, and what is around them."""
        made: list[str] = []
        place = 0
        for start, end in documents(value) if "{" in value or "[" in value else ():
            document = self._json_text(value[start:end], level)
            if document is None:
                continue
            made += (self._named(value[place:start], level), document)
            place = end
        rest = self._named(value[place:], level)
        return "".join([*made, rest]) if made else rest

    def _named(self, value: str, level: int) -> str:
        """Values beside their names, and what is known by its looks."""
        made: list[str] = []
        place = 0
        for start, end, ruling in named_values(value, self):
            made += (self._tokens(value[place:start], level), self.named(ruling, value[start:end]))
            place = end
        rest = self._tokens(value[place:], level)
        return "".join([*made, rest]) if made else rest

    def _tokens(self, value: str, level: int) -> str:
        if "%" not in value or _ESCAPE.search(value) is None:
            return _TOKENS.sub(lambda match: self._token(match, level), value)
        made: list[str] = []
        place = 0
        for match in _TOKENS.finditer(value):
            made += (self._escaped(value[place : match.start()], level), self._token(match, level))
            place = match.end()
        return "".join([*made, self._escaped(value[place:], level)])

    def _escaped(self, value: str, level: int) -> str:
        """Text in which words stand percent-encoded."""
        return _ESCAPED.sub(lambda match: self._decoded_text(match[0], level + 1), value) if "%" in value else value

    def _cleaned(self, value: str, made: str, level: int) -> str:
        """What was made of a text without card numbers, or, where nothing was, the text read percent-encoded."""
        made = replace_pans(made, DROPPED)
        if made == value and "%" in value and _ESCAPE.search(value):
            return self._decoded_text(value, level + 1)
        return made if made != value else value

    def _decoded_text(self, value: str, level: int) -> str:
        """Text that stands percent-encoded, its blanks maybe as in a form; encoded again as it was."""
        decoded = unquote(value)
        clean = self.text(decoded, level)
        if clean == decoded and "+" in value:
            decoded = unquote_form(value)
            clean = self.text(decoded, level)
            return value if clean == decoded else requote(clean, value, form=True)
        return value if clean == decoded else requote(clean, value)

    def _nested(self, value: str, level: int) -> str | None:
        """JSON in text, and base64 of JSON, redacted inside; None where the text is neither."""
        first = value.lstrip()[:1]
        if first and first in '{["':
            return self._json_text(value, level)
        return self._json64(value, level) if value[0] in "eWICD" else None

    def _json64(self, value: str, level: int) -> str | None:
        """Base64 of JSON, redacted inside; None where it is none."""
        decoded = decode64(value)
        if decoded is None or not decoded.lstrip().startswith(("{", "[")):
            return None
        clean = self._json_text(decoded, level)
        return clean and (value if clean == decoded else encode64(clean, value))

    def _json_text(self, value: str, level: int) -> str | None:
        """JSON, redacted; None where it is none, and dropped where it nests too deeply to be looked at."""
        try:
            return self.json.inside(value, None, level + 1)
        except Unreadable as unreadable:
            return DROPPED if str(unreadable) == "too-deep" else None

    def _token(self, match: re.Match[str], level: int) -> str:
        kind, found = match.lastgroup, match.group()
        if match["gid"]:
            gid = _GID.fullmatch(found)
            type_ = normalise(match["type"])
            listed = type_ in self._gids
            if not listed and type_ not in self._before and _NUMBERED.fullmatch(found):
                return found
            return self._gid(gid, level) if gid and listed else self._url_like(found, level)
        if kind in ("jwt", "pem"):
            return DROPPED
        if kind == "url" and found.startswith("gid:\\"):  # as JSON inside JSON may have it
            return self.text(found.replace("\\/", "/"), level + 1).replace("/", "\\/")
        if kind == "json64":
            made = self._json64(found, level)
            return made if made is not None else self._url_like(found, level) if "/" in found else found
        if kind == "text64":
            return self._text64(found, level)
        if kind == "gid64":
            return self._gid64(found, level)
        if kind == "url":
            return self._url_like(found, level)
        if kind == "email":
            return found if found.endswith(f"@{MAIL_DOMAIN}") else self.shapes.text("email", found)
        if kind == "auth" and found.split()[1].isalpha() and len(found.split()[1]) < 16:
            return found  # "basic research", "Bearer token": prose
        return self._pseudonym(found, level)

    def _text64(self, found: str, level: int) -> str:
        """Base64 of a form, a URL or any other text, redacted inside."""
        decoded = decode64(found)
        if decoded is None:
            return self._url_like(found, level) if "/" in found else found
        clean = self.text(decoded, level + 1)
        return found if clean == decoded else encode64(clean, found)

    def _gid64(self, found: str, level: int) -> str:
        decoded = decode64(found)
        gid = None if decoded is None else _GID.fullmatch(decoded)
        if gid is None or normalise(gid[1].split("/")[-2]) not in self._gids:
            return found
        return encode64(self._gid(gid, level), found)

    # ------------------------------------------------------------------------------------ URLs

    def _url_like(self, found: str, level: int) -> str:
        bare = found.rstrip(".,;)!")
        return self.url(bare, level + 1) + found[len(bare) :]

    def url(self, url: str, level: int = 0) -> str:
        """An absolute or relative URL (RFC 3986 §4.1) after the rules; user and password go."""
        if level > MAX_NESTING:
            return DROPPED
        if url.startswith("data:") and ";base64," in url:  # RFC 2397
            head, base64, content = url.partition(";base64,")
            return f"{head}{base64}{self.text(content, level + 1)}"
        match = _URL.fullmatch(url)
        if match is None:
            return drop_text(url)
        scheme, slashes, authority, path, query, fragment = match.groups()
        made = ""
        if slashes is not None:
            made = f"{scheme or ''}//{self.host(authority.rpartition('@')[2])}"
        made += self.path(path, level)
        if query is not None:
            made += f"?{self.query(query, level)}"
        if fragment is not None:
            route = fragment.startswith(("/", "!/", "?")) or "?" in fragment.partition("=")[0]
            made += f"#{self.url(fragment, level + 1) if route else self.query(fragment, level)}"
        return made

    def host(self, host: str) -> str:
        """A host's name, which may be a token or a card number (TOKEN.example.com)."""
        return self.texts[host]

    def path(self, path: str, level: int = 0) -> str:
        """A path, percent-encoded: tokens after the rules' words are pseudonyms, other segments free text."""
        if "://" in path and (inner := _INNER_URL.search(path)):
            return self.path(path[: inner.start()], level) + self.text(path[inner.start() :], level + 1)
        if ("\\" in path or "%" in path) and _BACKSLASH.search(path):
            pieces = _SLASHES.split(path)  # segments, and between them what separates them
            pieces[::2] = self._segments(pieces[::2], level)
            return "".join(pieces)
        return "/".join(self._segments(path.split("/"), level))

    def _segments(self, segments: list[str], level: int) -> list[str]:
        seen: list[str] = []  # the words before, without empty ones: servers read // as /
        for place, segment in enumerate(segments):
            if not segment:
                continue
            if "@" in segment and (user := _USER.match(segment)):
                segment = segments[place] = segment[user.end() :]
            # Parameters (RFC 3986 §3.3) are no part of the word: /checkouts;v=1/TOKEN, /orders/validate;v=1
            bare = segment.partition(";")[0] if ";" in segment else segment
            word = (unquoted(bare) if "%" in bare else bare).lower()
            if word in (".", ".."):  # RFC 3986 §5.2.4; what is before '..' is gone
                del seen[len(seen) - word.count(".") + 1 :]
                continue
            if (
                seen
                and not self._before.isdisjoint(seen[-2:])
                and self._is_token(seen, word, segments[place + 1 : place + 3])
            ):
                segments[place] = self._segment(bare) + self._token_parameters(segment[len(bare) :], level)
            elif len(segment) >= _SHORT:
                segments[place] = self._encoded(segment, level + 1)
            if named := word.partition(";")[0]:
                seen.append(named)
        return segments

    def _is_token(self, seen: list[str], word: str, rest: list[str]) -> bool:
        """Whether a segment follows ``/checkouts/`` or the like, or one of its forms: ``/checkouts/cn/``."""
        if self._follows(seen, 0):
            if seen[-1] in self._numbered:
                return any(map(str.isdigit, word)) and _VERSION.fullmatch(word) is None
            return not (word in self._forms and any(rest)) and word.partition(".")[0] not in self._words
        if len(seen) > 1 and self._follows(seen, 1) and seen[-2] not in self._numbered:
            return seen[-1] in self._forms or (
                _VERSION.fullmatch(seen[-1]) is not None and _MADE_UP.search(word) is not None
            )
        return False

    def _follows(self, seen: list[str], back: int) -> bool:
        end = len(seen) - back
        after = self._after.get(seen[end - 1], ())
        for literals in after:  # noqa: SIM110 - for every path: a generator takes twice the time
            if seen[max(0, end - len(literals)) : end] == literals:
                return True
        return False

    def _segment(self, segment: str) -> str:
        token, dot, suffix = segment.rpartition(".")
        if token and suffix in _SUFFIXES:
            return self.pseudonym(token) + dot + suffix
        return self.pseudonym(segment)

    def _token_parameters(self, parameters: str, level: int) -> str:
        """What follows a token, each part after a semicolon; one without a name may belong to the token."""
        first, *rest = parameters.split(";")
        made = [self.query(one, level) if "=" in one else self.pseudonym(one) for one in rest]
        return ";".join([first, *made])

    def _encoded(self, raw: str, level: int) -> str:
        """Free text that stands percent-encoded."""
        if ";" in raw:  # path parameters (RFC 3986 §3.3)
            first, _, rest = raw.partition(";")
            return f"{self._encoded(first, level)};{self.query(rest, level)}"
        if "%" not in raw:
            return self.text(raw, level)
        return self._decoded_text(raw, level)

    def query(self, query: str, level: int = 0) -> str:
        """A query or a form (``a=b&c=d``): order, spelling and what no rule names stay as they are."""
        if level > MAX_NESTING:
            return DROPPED
        if query.startswith(("{", "[", "%7", "%5")) and (json := self._json_query(query, level)) is not None:
            return json
        pieces = _SEPARATOR.split(query)  # fields, and between them what separates them
        if len(pieces) > 2 * MAX_PAIRS:
            return DROPPED
        pairs = [piece.partition("=") for piece in pieces[::2]]
        plain = [unquoted(unquote_form(name)) for name, _, _ in pairs]
        names = list(map(name_parts, plain))
        paired = self.paired(plain, names, [value for _, _, value in pairs])
        for place, (parts, ruling) in enumerate(self.rulings(names)):
            pieces[2 * place] = self._pair(pairs[place], parts[-1], ruling or paired.get(place), level)
        for place, field in self._variables(names, pairs, level):
            pieces[2 * place] = field
        return "".join(pieces)

    def paired(self, plain: list[str], names: list[list[str]], values: list[str]) -> dict[int, Ruling]:
        """The places of values whose names are the values of other fields: ``f[0][name]=email&f[0][value]=…``.

        ``values`` as a form has them.
        """
        found: dict[int, Ruling] = {}
        lasts = [parts[-1] for parts in names]
        if VALUES.isdisjoint(lasts):
            return found
        naming: dict[str, list[int]] = {}
        for place, last in enumerate(lasts):
            if last in NAMING:
                naming.setdefault(plain[place][: plain[place].rfind(last)], []).append(place)
        for place, last in enumerate(lasts):
            near = naming.get(plain[place][: plain[place].rfind(last)]) if last in _SURE_VALUES else None
            name = unquote_form(values[near[max(0, bisect(near, place) - 1)]]) if near else ""
            if 0 < len(name) <= LONGEST_NAME and (ruling := self.ruling("query", [name])):
                found[place] = ruling
        return found

    def _variables(
        self, names: list[list[str]], pairs: list[tuple[str, str, str]], level: int
    ) -> Iterator[tuple[int, str]]:
        """The GraphQL variables that the rules know by the argument that they are for: ``variables[t]=``, or as JSON.

        Each field redacted, with its place.
        """
        if not any(parts[0] == "variables" for parts in names):
            return
        text = next((unquote_form(pairs[place][2]) for place, parts in enumerate(names) if parts == ["query"]), "")
        given = {name: ruling for name, known in arguments_of(text) if (ruling := self.ruling("body", [known]))}
        for place, parts in enumerate(names if given else []):
            name, equals, value = pairs[place]
            if parts == ["variables"]:
                made = self.json.variables(text, unquote_form(value), level)
                if made is not None:
                    yield place, f"{name}{equals}{requote(made, value, form=True)}"
            elif parts[0] == "variables" and parts[-1] in given and self.ruling("query", parts) is None:
                yield place, self._pair(pairs[place], parts[-1], given[parts[-1]], level)

    def _json_query(self, query: str, level: int) -> str | None:
        """A query that is a JSON document, as some clients send it; None where it is none."""
        made = self._json_text(unquote_form(query), level)
        return None if made is None else requote(made, query, form=True)

    def rulings(self, names: list[list[str]]) -> list[tuple[list[str], Ruling | None]]:
        """Each name of a form, as its parts, and what the rules say of it among those of the same object."""
        beside: dict[tuple[str, ...], dict[str, None]] = {}
        for parts in names:
            beside.setdefault(tuple(parts[:-1]), {})[parts[-1]] = None
        known: dict[tuple[str, ...], Ruling | None] = {}
        for parts in names:
            if tuple(parts) not in known:
                known[tuple(parts)] = self.ruling("query", parts, beside[tuple(parts[:-1])])
        return [(parts, known[tuple(parts)]) for parts in names]

    def _pair(self, pair: tuple[str, str, str], last: str, ruling: Ruling | None, level: int) -> str:
        name, equals, value = pair
        if len(name) >= _SHORT:
            name = self._field_name(name, level)
        if not value:
            return f"{name}{equals}"
        if ruling is None:
            return f"{name}{equals}{self._form_value(value, last, level)}"
        if ruling.action == "pseudonym":  # here a '+' is base64's, not a blank
            return f"{name}{equals}{self.pseudonym(value)}"
        decoded = unquote_form(value)
        return f"{name}{equals}{requote(self.named(ruling, decoded), value, form=True)}"

    def _field_name(self, name: str, level: int) -> str:
        """A field's name, which may be data: ``?4242+4242+4242+4242``, ``?zoe%40mail.example``."""
        return self._decoded_text(name, level + 1) if "%" in name or "+" in name else self.text(name, level + 1)

    def _form_value(self, value: str, last: str, level: int) -> str:
        decoded = unquote_form(value)
        if last.lower() == "query":
            made = self.json.graphql(decoded)
            if made is not None:
                return requote(made, value, form=True)
        made = self.text(decoded, level + 1)
        return value if made == decoded else requote(made, value, form=True)


def _only_pan(value: str) -> bool:
    """A card number alone or among other text; digits that chance to be one inside a longer token are none."""
    for start, end in find_pans(value) if len(value) > 12 else ():
        around = value[start - 1 : start] + value[end : end + 1]
        if not any(char.isalnum() for char in around) or len(value) - (end - start) < 8:
            return True
    return False


def _literals(path: str) -> list[str]:
    """``/cart/c/`` → [cart, c]."""
    return [part for part in path.split("/") if part]
