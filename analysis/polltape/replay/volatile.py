"""What may differ between a recording and its replay without meaning anything: known fields, values, own rules.

A field is named ``status``, ``error``, ``asked_s``, ``waited_s``, ``elapsed_s``, ``verdict``, ``findings``,
``header:NAME`` (lower case) or ``body:PATH`` (names and list positions, joined by dots).  A rule is such a name
in which ``*`` stands for any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from polltape.errors import ConfigError, UsageError
from polltape.protocols.base import generic_template

PLAIN: Final = ("status", "error", "asked_s", "waited_s", "elapsed_s", "verdict", "findings")
"""The fields that are neither a header nor in a body."""

KNOWN: Final = (
    # when and by whom the answer was made
    *("date", "age", "expires", "last-modified", "server", "via", "x-runtime", "x-cache*", "server-timing", "cf-*"),
    # names of this one answer
    *("etag", "*request-id", "*correlation-id", "*trace-id", "traceparent", "tracestate", "*-digest", "*hmac*"),
    # how it travelled (RFC 9110 §7.6.1), and what binds a browser to one server
    *("connection", "keep-alive", "proxy-connection", "transfer-encoding", "content-length", "content-encoding"),
    *("te", "trailer", "upgrade", "vary", "alt-svc", "strict-transport-security", "expect-ct", "nel", "report-to"),
    # what others have left of a limit
    *("x-shopify-shop-api-call-limit", "ratelimit*", "x-ratelimit*"),
    # ours
    "x-polltape-*",
)
"""Headers that no replay can repeat."""

SCALED: Final = ("header:retry-after", "header:*retry-after-ms", "body:*pollDelay", "body:*queueEtaSeconds")
"""What the mock divides by its speed; the exact wait is compared as ``asked_s``."""

LARGEST_FILE: Final = 1024 * 1024
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"
    r"|[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT"
)
"""ISO 8601, and HTTP's dates (RFC 9110 §5.6.7)."""
_WORD: Final = re.compile(r"[A-Za-z0-9_-]+")
_DIGIT: Final = re.compile(r"\d")
_ID_FIELD: Final = re.compile(r"(?:(?:^|[.:_-])(?:id|token|uid|uuid|guid)|Id|Token|Uid)s?(?:\.\d+)?$")
_SHORTEST_ID: Final = 8
"""A text with digits in it that has as many characters is an id; a shorter one only in a field of that name."""


class Ignored:
    """The rules in force.  Raises UsageError for one that names no field."""

    def __init__(self, rules: Iterable[str] = ()) -> None:
        every = [*(f"header:{name}" for name in KNOWN), *map(checked, rules)]
        self._pattern = re.compile("|".join(re.escape(rule).replace(r"\*", ".*") for rule in every), re.DOTALL)

    def __call__(self, field: str) -> bool:
        """Whether a difference in that field means nothing."""
        return self._pattern.fullmatch(field) is not None


def checked(rule: str) -> str:
    """The rule, if it can match a field.  Raises UsageError."""
    kind, colon, name = rule.strip().partition(":")
    if colon and kind in ("header", "body") and name:
        return f"header:{name.lower()}" if kind == "header" else rule.strip()
    if rule.strip() in PLAIN:
        return rule.strip()
    raise UsageError(f"--ignore {rule!r} names no field", hint=f"header:NAME, body:PATH, or {', '.join(PLAIN)}")


def read_rules(path: Path) -> list[str]:
    """The rules in a file: one a line, ``#`` begins a comment.

    Raises ConfigError for a file that cannot be read and, with its line, for a rule that names no field.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not text in UTF-8") from error
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        rule = line.partition("#")[0].strip()
        if rule:
            try:
                rules.append(checked(rule))
            except UsageError as error:
                raise ConfigError(f"{path}, line {number}: {rule!r} names no field", hint=error.hint) from None
    return rules


def alike(field: str, one: Any, other: Any) -> bool:
    """Whether two values of a field are of the volatile kind: two instants, or two ids of one build.

    >>> alike("body:at", "2026-11-23T08:00:00Z", "2027-01-01T09:11:11Z")
    True
    >>> alike("body:url", "https://a.example/checkouts/5cb4149503d1", "http://127.0.0.1:1/checkouts/1fe79205fae7")
    True
    >>> alike("body:state", "pending", "completed"), alike("body:price", 19900, 29900), alike("body:id", 7, 8)
    (False, False, True)
    """
    if isinstance(one, int) and isinstance(other, int):
        return not isinstance(one, bool | None) and _ID_FIELD.search(field) is not None
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    if _INSTANT.fullmatch(one) and _INSTANT.fullmatch(other):
        return True
    one, other = local(one), local(other)
    if _ID_FIELD.search(field) and " " not in one + other:
        return bool(one) == bool(other)
    if _WORD.split(one) != _WORD.split(other):
        return False
    in_address = one.startswith("/")
    words = zip(_WORD.findall(one), _WORD.findall(other), strict=True)
    return all(a == b or all(_is_id(text, in_address=in_address) for text in (a, b)) for a, b in words)


def _is_id(text: str, *, in_address: bool) -> bool:
    """Whether a server made it up: long, with a digit in it, or in an address what its template calls an id."""
    return (len(text) >= _SHORTEST_ID and _DIGIT.search(text) is not None) or (
        in_address and generic_template(text) == "{id}"
    )


def local(text: str) -> str:
    """A URL without scheme and authority, whoever's server it names; any other text as it is."""
    if "://" not in text and not text.startswith("//"):
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    if parts.scheme not in ("", "http", "https", "ws", "wss") or not parts.netloc:
        return text
    return text.split(parts.netloc, 1)[1] or "/"
