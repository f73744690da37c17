"""PAR POS Next: orders that a point of sale validates and submits, at times with 202 and polls.

Reference: developers.partech.com, POS Next, "Asynchronous Responses Handling".  PAR Ordering is the client.
Both spellings of the documents are taken: ``/posnext/order/submit`` and ``/posnext/orders/submit``.

============  ================================  ===========================================================
body status   on ``order.validate``             on ``order.submit``
============  ================================  ===========================================================
validated     completed                         pending
pending       pending                           pending
placed        completed                         completed
errored       failed                            failed
rejected      rejected                          rejected
============  ================================  ===========================================================

A 202 without one of these is pending.  A poll, ``GET /posnext/orders/{orderId}``, does not tell the kind; it
is read by the operation that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urljoin, urlsplit

from polltape.exchange import Exchange, Flaw, Observation, Reading
from polltape.protocols.base import Protocol, gives_address, json_object, polled_state

NAME: Final = "par-posnext"
VALIDATE: Final = "order.validate"
SUBMIT: Final = "order.submit"
DIGEST_HEADER: Final = "x-pch-digest"
_PATH: Final = re.compile(r"^(?P<prefix>.*/posnext)/(?P<orders>orders?)/(?P<last>[^/]+)$")
_WRITES: Final = {"validate": VALIDATE, "submit": SUBMIT}
_STATES: Final = {"placed": "completed", "errored": "failed", "rejected": "rejected", "pending": "pending"}
STATUSES: Final = frozenset({*_STATES, "validated"})
"""GenericOrderStatuses of the reference."""


class ParPosNext(Protocol):
    """Orders of PAR POS Next; see the module's text."""

    name: ClassVar[str] = NAME
    kinds: ClassVar[tuple[str, ...]] = (VALIDATE, SUBMIT)
    stuck_after_s: ClassVar[float] = 60.0

    def template(self, path: str) -> str | None:
        """The two writes as they stand, the order's own path with ``{id}``."""
        match = _PATH.match(path)
        if match is None:
            return None
        return path if match["last"] in _WRITES else f"{match['prefix']}/{match['orders']}/{{id}}"

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation for a validate, a submit, or a GET of an order."""
        match = _PATH.match(exchange.path)
        if match is None:
            return ()
        kind = _WRITES.get(match["last"])
        if exchange.method == "POST" and kind is not None:
            return (self._write(exchange, kind),)
        if exchange.method == "GET" and kind is None:
            return (self._read(exchange, unquote(match["last"])),)
        return ()

    def _write(self, exchange: Exchange, kind: str) -> Observation:
        body = json_object(exchange.response_body)
        state = _state(exchange, body, kind)
        sent = _ids(json_object(exchange.request_body))
        issued = [_located(exchange), *_ids(body), *sent]
        return Observation(
            protocol=self.name,
            kind=kind,
            role="write",
            keys=_keys(exchange, sent),
            issued=_keys(exchange, issued) if _succeeded(exchange) else (),
            reads_as=kind,
            state=state,
            opens=state == "pending",
            address=gives_address(exchange),
            flaws=_flaws(exchange, body),
        )

    def _read(self, exchange: Exchange, order: str) -> Observation:
        body = json_object(exchange.response_body)
        state = _state(exchange, body, SUBMIT)
        issued = [_located(exchange), *_ids(body), order] if state == "pending" else []
        return Observation(
            protocol=self.name,
            kind=SUBMIT,
            role="read",
            keys=_keys(exchange, [order]),
            issued=_keys(exchange, issued),
            state=state,
            readings=(Reading(VALIDATE, _state(exchange, body, VALIDATE)),),
            # "validated" alone does not tell which write is missing, and a validate would have ended with it
            truncates="unwritten" if state == "pending" and _word(body) != "validated" else None,
            address=gives_address(exchange),
            flaws=_flaws(exchange, body),
        )


def _succeeded(exchange: Exchange) -> bool:
    return exchange.status is not None and 200 <= exchange.status < 300


def _word(body: dict[str, Any]) -> str | None:
    """The body's status, if it is one that the reference knows."""
    word = body.get("status")
    return word if isinstance(word, str) and word in STATUSES else None


def _state(exchange: Exchange, body: dict[str, Any], kind: str) -> str | None:
    if not _succeeded(exchange):
        return polled_state(exchange.status)
    word = _word(body)
    if word == "validated":
        return "pending" if kind == SUBMIT else "completed"
    if word is not None:
        return _STATES[word]
    return "pending" if exchange.status == 202 else None


def _flaws(exchange: Exchange, body: dict[str, Any]) -> tuple[Flaw, ...]:
    found = []
    if exchange.status == 202 and exchange.response_header(DIGEST_HEADER) is None:
        found.append(Flaw("PN001", f"202 without {DIGEST_HEADER}"))
    if exchange.digest_ok is False:
        found.append(Flaw("PN002", f"{DIGEST_HEADER} does not match the order"))
    if _succeeded(exchange) and body.get("status") is not None and _word(body) is None:
        found.append(Flaw("PN004", f"status {str(body['status'])[:40]!r} is none of {', '.join(sorted(STATUSES))}"))
    return tuple(found)


def _ids(body: dict[str, Any]) -> list[str]:
    """The order's own names in a body; ``request_uid`` last, since it is there on every write."""
    found = [body.get("orderId"), body.get("order_id"), body.get("request_uid")]
    return [str(value) for value in found if isinstance(value, str | int) and value != ""]


def _located(exchange: Exchange) -> str | None:
    location = exchange.response_header("Location")
    if not location:
        return None
    try:
        match = _PATH.match(urlsplit(urljoin(exchange.url, location)).path)
    except ValueError:
        return None
    return unquote(match["last"]) if match else None


def _keys(exchange: Exchange, ids: Sequence[str | None]) -> tuple[str, ...]:
    named = [f"{NAME}|{exchange.authority}|{order}" for order in ids if order]
    return tuple(dict.fromkeys(reversed(named)))[::-1]  # each once, at its last place
