"""The general pattern: 202 with an address to poll or an instruction to wait, or a body that is an operation.

RFC 9110 §15.3.3, RFC 7240 (``Prefer: respond-async``), Azure's asynchronous operations and API guidelines,
JSON:API's asynchronous processing, FHIR's asynchronous pattern, Google's AIP-151.  A protocol of its own that
recognises an exchange hides this one.

The first of these that an answer has is its poll address, and says how the address is to be read:

===========================================  ==============  =======================================
address                                      reads as        completed by
===========================================  ==============  =======================================
Azure-AsyncOperation, Operation-Location     ``body``        a word in the body
Location                                     ``location``    200, 201, 204, 303
Content-Location                             ``content-…``   303, or 200 after a 202
link in the body, AIP-151 ``name``           ``body``        a word in the body
the resource itself                          ``self``        200, 201, 204, 303
===========================================  ==============  =======================================

Keys are addresses, normalised (:func:`~polltape.protocols.base.normal_url`).  An AIP-151 operation is polled
at any path that ends in its name, so a GET addresses every such ending of its path, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import urljoin

from polltape.exchange import Exchange, Observation, Reading
from polltape.protocols.base import Protocol, json_object, normal_url, polled_state
from polltape.protocols.instruction import read_instruction

NAME: Final = "http-async"
_HEADERS: Final = (
    ("Azure-AsyncOperation", "body"),
    ("Operation-Location", "body"),
    ("Location", "location"),
    ("Content-Location", "content-location"),
)
_OPENING: Final = frozenset({"Azure-AsyncOperation", "Operation-Location"})
"""Headers that make even a 200 or a 201 the beginning of an operation."""
_LINKS: Final = ("status_url", "statusUrl", "statusQueryGetUri", "poll_url", "polling_url", "operation_url")
_WORDS: Final = {
    **dict.fromkeys(("succeeded", "completed", "complete", "jobcomplete"), "completed"),
    **dict.fromkeys(("failed", "aborted", "error"), "failed"),
    **dict.fromkeys(("canceled", "cancelled", "voided"), "rejected"),
    **dict.fromkeys(("requires_action", "action_required", "payer_action_required"), "action_required"),
}
_DONE: Final = frozenset({200, 201, 204, 303})
_READS: Final = frozenset({"GET", "HEAD"})
_SAFE: Final = frozenset({"OPTIONS", "TRACE"})


class Address(NamedTuple):
    """A poll address: the header (``link``, ``name``) that gave it, how it is read, its key."""

    source: str
    reads_as: str
    key: str


class HttpAsync(Protocol):
    """Long-running operations over plain HTTP; see the module's text."""

    name: ClassVar[str] = NAME
    kinds: ClassVar[tuple[str, ...]] = ("async",)
    counts_at_once: ClassVar[bool] = False
    general: ClassVar[bool] = True

    def template(self, path: str) -> str | None:
        """None: any path may be one."""
        return None

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation, whatever the exchange is: any GET may turn out to be a poll."""
        if exchange.method in _SAFE:
            return ()
        try:
            own = f"{NAME}|{normal_url(exchange.url)}"
        except ValueError:
            return ()
        body = json_object(exchange.response_body)
        address = _address(exchange, body)
        if exchange.method in _READS:
            return (self._read(exchange, own, body, address),)
        return (self._write(exchange, own, body, address),)

    def _write(self, exchange: Exchange, own: str, body: dict[str, Any], address: Address | None) -> Observation:
        opens = _opens(exchange, body, address)
        issued, reads_as = (own, "self") if address is None else (address.key, address.reads_as)
        return Observation(
            protocol=self.name,
            kind="async",
            role="cancel" if exchange.method == "DELETE" else "write",
            keys=(own,),
            issued=(issued,) if _succeeded(exchange) and (opens or address is not None) else (),
            reads_as=reads_as,
            state="pending" if opens else _by_status(exchange.status),
            opens=opens,
            address=address is not None,
        )

    def _read(self, exchange: Exchange, own: str, body: dict[str, Any], address: Address | None) -> Observation:
        keys = (own, *_endings(exchange))
        itself = address is None or address.key in keys
        shows = exchange.status == 202 or (_succeeded(exchange) and _is_running(body))
        opens = not itself and _opens(exchange, body, address)
        state = "pending" if shows or opens else _by_status(exchange.status)
        return Observation(
            protocol=self.name,
            kind="async",
            role="read",
            keys=keys,
            issued=() if address is None or not _succeeded(exchange) else (address.key,),
            reads_as="self" if address is None else address.reads_as,
            state=state,
            readings=_readings(exchange, body, state),
            opens=opens,
            truncates="always" if shows and itself else None,
            address=address is not None,
        )


def _succeeded(exchange: Exchange) -> bool:
    return exchange.status is not None and 200 <= exchange.status < 300


def _opens(exchange: Exchange, body: dict[str, Any], address: Address | None) -> bool:
    if exchange.status == 202:
        return address is not None or read_instruction(exchange.response_headers, None) is not None
    if exchange.status in (200, 201) and address is not None and address.source in _OPENING:
        return True
    return _succeeded(exchange) and _is_running(body)


def _by_status(status: int | None) -> str | None:
    """As Location and the resource itself are read."""
    if status == 202:
        return "pending"
    return "completed" if status in _DONE else polled_state(status)


def _readings(exchange: Exchange, body: dict[str, Any], state: str | None) -> tuple[Reading, ...]:
    """The other ways to read the answer, as far as they differ."""
    status = exchange.status
    plain = _by_status(status)
    content = {200: "unsettled", 202: "pending", 303: "completed"}.get(status or 0, polled_state(status))
    worded = _by_word(body) if _succeeded(exchange) else polled_state(status)
    every = (
        Reading("location", plain),
        Reading("self", plain),
        Reading("content-location", content),
        Reading("body", worded),
    )
    return tuple(reading for reading in every if reading.state != state)


def _by_word(body: dict[str, Any]) -> str:
    """``done: true`` with error or response, else ``status``, else ``state``, without case."""
    if body.get("done") is True and body.get("error") is not None:
        return "failed"
    if body.get("done") is True and "response" in body:
        return "completed"
    word = body.get("status") if body.get("status") is not None else body.get("state")
    return _WORDS.get(word.lower(), "pending") if isinstance(word, str) else "pending"


def _is_running(body: dict[str, Any]) -> bool:
    """AIP-151: an Operation that is not done."""
    return isinstance(body.get("name"), str) and bool(body["name"]) and body.get("done") is False


def _address(exchange: Exchange, body: dict[str, Any]) -> Address | None:
    """The first poll address of the answer; one that cannot be read counts as none."""
    given = [(name, reads_as, exchange.response_header(name)) for name, reads_as in _HEADERS]
    for source, reads_as, value in (*given, ("link", "body", _link(body))):
        if not value:
            continue
        try:
            return Address(source, reads_as, f"{NAME}|{normal_url(urljoin(exchange.url, value))}")
        except ValueError:
            continue
    if _is_running(body):
        return Address("name", "body", _named(exchange, body["name"]))
    return None


def _link(body: dict[str, Any]) -> str | None:
    for name in _LINKS:
        if isinstance(body.get(name), str) and body[name]:
            return str(body[name])
    for holder in ("links", "_links"):
        inside = body.get(holder)
        for name in ("status", "monitor", "self"):
            found = inside.get(name) if isinstance(inside, dict) else None
            found = found.get("href") if isinstance(found, dict) else found
            if isinstance(found, str) and found:
                return found
    return None


def _named(exchange: Exchange, name: str) -> str:
    return f"{NAME}|name|{exchange.authority}|{name.strip('/')}"


def _endings(exchange: Exchange) -> list[str]:
    """The keys of the operations whose names the path may end in."""
    segments = exchange.path.split("/")
    return [_named(exchange, name) for start in range(1, len(segments)) if (name := "/".join(segments[start:]))]
