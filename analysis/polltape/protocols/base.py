"""What a protocol is: one file an API, from an exchange to observations.

A protocol reads ONE exchange and has no state.  Which role the exchange played, and in which operation, is
decided in :mod:`polltape.operations`, by the same rules for every protocol.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from polltape.exchange import DEFAULT_PORTS, Body, Exchange, Observation, authority

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
"""Bodies above this are not parsed: a recording is untrusted input."""

SAYS_NOTHING: Final = frozenset({401, 403, 406, 408, 425, 429})
"""Statuses that, while polling, say nothing about the operation (with 5xx and errors)."""


ADDRESS_HEADERS: Final = ("Azure-AsyncOperation", "Operation-Location", "Location", "Content-Location")
"""Headers that name an address to poll; the first that is there counts."""


class Protocol(ABC):
    """One API that answers "not yet".

    ``name`` stands before every key; ``kinds`` are the kinds of its operations; ``stuck_after_s`` is when
    OP001 calls an operation stuck; ``counts_at_once`` is true where the protocol has a closed set of writes;
    ``polls_after_end`` is true where asking on after the end is a fault (OP004); ``unpolled_is_fault`` is true
    where an operation that nobody asked for was given up (OP003, OP007); ``general`` is true where it is no API
    of its own.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    stuck_after_s: ClassVar[float] = 300.0
    counts_at_once: ClassVar[bool] = True
    polls_after_end: ClassVar[bool] = True
    unpolled_is_fault: ClassVar[bool] = True
    general: ClassVar[bool] = False

    @abstractmethod
    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """What the exchange shows to this protocol; empty where it does not recognise it."""

    @abstractmethod
    def template(self, path: str) -> str | None:
        """The endpoint template of the path, None where the path is not this protocol's."""

    def hint(self, exchange: Exchange) -> tuple[str, object] | None:
        """An instruction in the body: (``pollAfter``, text) or (``pollDelay``, milliseconds), else None."""
        return None


def polled_state(status: int | None) -> str | None:
    """What a status says while polling where the protocol itself has no rule for it.

    401, 403, 406, 408, 425, 429, 5xx and errors say nothing; 422 is rejected, other 4xx failed.
    """
    if status is None or status in SAYS_NOTHING or not 400 <= status < 500:
        return None
    return "rejected" if status == 422 else "failed"


def gives_address(exchange: Exchange) -> bool:
    """Whether a header of the answer names an address to poll (the resource itself is always there to ask)."""
    return any(exchange.response_header(name) for name in ADDRESS_HEADERS)


def json_object(body: Body) -> dict[str, Any]:
    """The body as a JSON object; an empty dict where it is none, is cut, or is not stored."""
    if not body.content or body.truncated or len(body.content) > MAX_JSON_BYTES:
        return {}
    try:
        value = msgspec.json.decode(body.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def normal_url(url: str) -> str:
    """Scheme and host lower case, default port and fragment off, query kept (RFC 3986 §6.2.2, §6.2.3).

    Raises ValueError where the URL has an impossible port.

    >>> normal_url("HTTPS://Shop.example:443/a?b#c")
    'https://shop.example/a?b'
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or DEFAULT_PORTS.get(scheme, 0)
    query = f"?{parts.query}" if parts.query else ""
    return f"{scheme}://{authority(scheme, parts.hostname or '', port)}{parts.path or '/'}{query}"


_ID_SEGMENT: Final = re.compile(
    r"""^(?: \d+                                                  # digits
        | [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}  # UUID
        | [0-9a-f]{16,}                                           # hex of 16 or more
        | (?=.*\d).{20,}                                          # 20 or more with a digit
    )$""",
    re.VERBOSE | re.IGNORECASE,
)


def generic_template(path: str) -> str:
    """The path with digits, UUIDs, hex of 16 or more, and segments of 20 or more with a digit as ``{id}``.

    >>> generic_template("/v1/jobs/42/steps")
    '/v1/jobs/{id}/steps'
    """
    return "/".join("{id}" if _ID_SEGMENT.match(segment) else segment for segment in path.split("/"))
