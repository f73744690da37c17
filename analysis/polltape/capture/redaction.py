"""What may never reach the disk: an exchange as it was goes in, one that may be stored comes out.

>>> from polltape.capture.keys import load_key
>>> redactor = Redactor(load_key(ephemeral=True))
>>> redactor.pseudonym("4207896aad57dfb159").isalnum()
True

The rules are data (``redaction.toml``, :class:`Rules`), the key is the user's
(:func:`polltape.capture.keys.load_key`).  docs/redaction.md is the handbook page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from polltape.capture.bodies import Aliases, BodyScrubber, KnownBodies
from polltape.capture.identity import client_identity, without_port
from polltape.capture.keys import Key, load_key
from polltape.capture.redaction_rules import DEFAULT_RULES, Action, Rules, normalise
from polltape.capture.scrub import Scrubber
from polltape.capture.scrub_json import Unreadable
from polltape.capture.scrub_memory import Headers
from polltape.capture.standins import DROPPED, drop_text
from polltape.exchange import Body, Exchange, Header

__all__ = ["DEFAULT_RULES", "DROPPED", "Redactor", "Rules"]

_NOTHING: Final[Mapping[str, Action]] = {}
_VAULT: Final[Mapping[str, Action]] = {"id": "drop", "token": "drop"}
_COOKIES: Final = frozenset({"cookie", "cookie2"})
_POLICIES: Final = frozenset({"contentsecuritypolicy", "contentsecuritypolicyreportonly"})
_PROTOCOLS: Final = frozenset({"secwebsocketprotocol"})
"""Where pages that open a WebSocket put a token, as they can set no other header."""
_SET_COOKIES: Final = frozenset({"setcookie", "setcookie2"})
_QUOTED: Final = re.compile(r"""(?<![\w"'])b(?:'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?)""", re.DOTALL)
_GAPS: Final = re.compile(r"""([\s"'()|&!]+)""")
_NEXT_COOKIE: Final = re.compile(r"([,\n]\s*)(?=[^\s=;,]+=)")
_COOKIE_ATTRIBUTES: Final = frozenset({
    "path", "domain", "expires", "maxage", "samesite", "priority", "version", "secure", "httponly", "partitioned",
    "sameparty",
})  # fmt: skip
_TOKEN: Final = re.compile(r"(?=[A-Za-z_=-]*[0-9])[A-Za-z0-9_=-]{12,}")


class Redactor:
    """Redacts exchanges under one key and one set of rules; safe to keep for a whole recording.

    ``keep_unparsed`` keeps bodies that cannot be read as what they claim to be, or are of another type, with
    only what can be found in plain text taken out: secrets may then reach the disk.
    """

    def __init__(self, key: Key, rules: Rules = DEFAULT_RULES, *, keep_unparsed: bool = False) -> None:
        self.key = key
        self._scrubber = Scrubber(key.secret, rules)
        self._known_headers = Headers(self._scrubber.text, self._header)
        bodies = BodyScrubber(self._scrubber)
        self._aliases = bodies.aliases
        self._bodies = KnownBodies(bodies)
        self._keep_unparsed = keep_unparsed
        self._queue_cookies = rules.names("cookies", "pseudonym")
        self._vaults = tuple(rules.names("paths", "vaults"))
        self._digest_key = hashlib.blake2b(key.secret, digest_size=32, person=b"body digests").digest()

    @classmethod
    def of_user(cls, *, ephemeral: bool = False) -> Redactor:
        """The one that every command and the recorder use: the user's key and the user's rules.

        With ``ephemeral`` the key is a new one that is written nowhere.  Raises
        :class:`~polltape.errors.ConfigError` for a key or a rules file that cannot be used.
        """
        rules = Rules.of_user()  # first: a key is made at first use, and not for a run that is refused
        return cls(load_key(ephemeral=ephemeral), rules)

    def redact(self, exchange: Exchange) -> Exchange:
        """The exchange as it may be stored, with ``client``, ``key_id`` and the bodies' digests.

        What was read from the raw exchange (``endpoint``, ``redirect``, ``observations``) is left out: it has
        to be read from the redacted one.
        """
        for names in self._scrubber.names.values():
            names.tidy()
        inside = _VAULT if exchange.path.lower().rstrip("/").endswith(self._vaults) else _NOTHING
        sent = exchange.request_body.content or b""
        aliases = self._aliases(sent, exchange.request_headers, exchange.query)
        return replace(
            exchange,
            client=self.client(exchange),
            client_address=self._address(exchange.client_address),
            key_id=self.key.key_id,
            method=self._scrubber.text(exchange.method),
            host=self._scrubber.host(exchange.host),
            path=self._path(exchange.path),
            query=None if exchange.query is None else self._scrubber.query(exchange.query),
            request_headers=self._headers(exchange.request_headers),
            request_trailers=self._headers(exchange.request_trailers),
            request_body=self._body(exchange.request_body, exchange.request_headers, inside),
            response_headers=self._headers(exchange.response_headers),
            response_trailers=self._headers(exchange.response_trailers),
            response_body=self._body(exchange.response_body, exchange.response_headers, inside, aliases),
            reason=None if exchange.reason is None else self._scrubber.text(exchange.reason),
            error=None if exchange.error is None else self._error(exchange.error),
            endpoint=None,
            redirect=None,
            observations=(),
        )

    def pseudonym(self, value: str) -> str:
        """The pseudonym that stands in every capture under this key for a value that the rules pseudonymise.

        Whatever encoding it stands in (``%3D``, a global id, base64 of one, ``Bearer …``) is kept.
        """
        return self._scrubber.pseudonym(value)

    def words(self, text: str) -> str:
        """What the user typed, as it may be stored: a filter that names a token or an address.

        As any text; and there, what may be a token (12 letters and digits or more) has its pseudonym.
        """
        return "".join(map(self._word, _GAPS.split(text)))

    def client(self, exchange: Exchange) -> str:
        """The pseudonym (16 hexadecimal digits) of who sent a raw exchange."""
        return self._scrubber.pseudonyms.digest("client", *client_identity(exchange, self._queue_cookies))

    def digest(self, content: bytes) -> str:
        """The keyed digest (32 hexadecimal digits) of a decoded, unredacted body."""
        return hashlib.blake2b(content, key=self._digest_key, digest_size=16).hexdigest()

    def _word(self, word: str) -> str:
        made = self._scrubber.text(word)
        return _TOKEN.sub(lambda match: self.pseudonym(match[0]), word) if made == word else made

    def _error(self, error: str) -> str:
        """An error's text; bytes that it quotes (``Invalid header line: b'…'``) may be anything, and go."""
        return self._scrubber.text(_QUOTED.sub(f"b'{DROPPED}'", error))

    def _path(self, target: str) -> str:
        """The path; a target in absolute form (RFC 9112 §3.2.2) may name a user, too."""
        absolute = "://" in target and not target.startswith("/")
        return self._scrubber.url(target) if absolute else self._scrubber.paths[target]

    # ------------------------------------------------------------------------------------- bodies

    def _body(
        self, body: Body, headers: tuple[Header, ...], inside: Mapping[str, Action], aliases: Aliases = ()
    ) -> Body:
        if body.content is None:
            empty = self.digest(b"") if body.size == 0 else None
            return replace(body, digest=body.digest or empty)
        size = len(body.content) if body.size is None and not body.truncated else body.size
        digest = body.digest if body.truncated else self.digest(body.content)
        if not body.content:
            return replace(body, size=size, digest=digest)
        content, reason = self._stored(body, headers, inside, aliases)
        return Body(body.wire_size, size, content, body.truncated, reason or body.not_stored, digest)

    def _stored(
        self, body: Body, headers: tuple[Header, ...], inside: Mapping[str, Action], aliases: Aliases
    ) -> tuple[bytes | None, str | None]:
        """What may be stored of it, or why nothing."""
        content = body.content or b""
        try:
            return self._bodies.body(content, headers, inside, aliases), None
        except Unreadable as unreadable:
            reason = str(unreadable)
        if self._keep_unparsed and reason not in ("too-large", "too-deep"):
            return self._scrubber.text(content.decode("latin-1")).encode("latin-1", "replace"), None
        return None, "truncated" if body.truncated and reason == "unparsed" else reason

    # ------------------------------------------------------------------------------------- headers

    def _headers(self, headers: tuple[Header, ...]) -> tuple[Header, ...]:
        known = self._known_headers
        return tuple([known[header] for header in headers])

    def _header(self, name: str, value: str) -> str:
        known = self._scrubber.names["header"][name]
        norm = known.norm
        if norm in _POLICIES:  # most of it is the same in every response, but maybe for one address in it
            return ";".join([self._in_bytes(directive, None) for directive in value.split(";")])
        if norm in _PROTOCOLS:
            return self.words(value)
        forwarded = norm.endswith("cookie") and norm not in _SET_COOKIES
        if known.plain and not forwarded and norm not in _COOKIES and norm not in _SET_COOKIES:
            return self._in_bytes(value, None)
        if forwarded or norm in _COOKIES:
            return ";".join(self._cookie(pair) for pair in value.split(";"))
        if norm in _SET_COOKIES:
            pieces = _NEXT_COOKIE.split(value)  # several in one line, as proxies and exports join them
            return "".join(self._set_cookie(piece) if place % 2 == 0 else piece for place, piece in enumerate(pieces))
        return self._in_bytes(value, name)

    def _in_bytes(self, value: str, name: str | None) -> str:
        """A header's value is bytes as ISO 8859-1; what it says is mostly UTF-8, as in bodies."""
        if name is None and value.isascii():
            return self._scrubber.text(value)
        try:
            text = value if value.isascii() else value.encode("latin-1").decode()
        except UnicodeError:
            text = value
        ruling = None if name is None else self._scrubber.ruling("header", [name])
        made = self._scrubber.text(text) if ruling is None else self._scrubber.named(ruling, text)
        if made == text:
            return value
        return made if made.isascii() else made.encode().decode("latin-1")

    def _set_cookie(self, value: str) -> str:
        """``name=value; Path=/; …`` (RFC 6265 §4.1): attributes of other names are treated as cookies."""
        pair, *attributes = value.split(";")
        made = [self._cookie(pair)]
        for attribute in attributes:
            known = not attribute.strip() or normalise(attribute.partition("=")[0]) in _COOKIE_ATTRIBUTES
            made.append(self._scrubber.text(attribute) if known else self._cookie(attribute))
        return ";".join(made)

    def _cookie(self, pair: str) -> str:
        """``name=value`` (RFC 6265 §4): the name stays; one without a value is all value."""
        name, equals, value = pair.partition("=")
        if not equals:
            return drop_text(pair.strip()) and f"{pair[: len(pair) - len(pair.lstrip())]}{DROPPED}"
        clean = f"{self._scrubber.text(name)}{equals}"
        if normalise(name) in self._queue_cookies:
            return clean + self._scrubber.pseudonym(value)
        return clean + drop_text(value)

    def _address(self, address: str | None) -> str | None:
        """The stand-in of ``address`` or ``address:port``; the port stays."""
        if not address:
            return address
        bare = without_port(address)
        made = self._scrubber.shapes.text("ip", bare)
        tail = address.rpartition("]")[2] if address.startswith("[") else ""
        if address.startswith("["):
            return f"[{made}]{tail}"
        return f"{made}:{address.rpartition(':')[2]}" if address.count(":") == 1 else made
