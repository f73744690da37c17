"""Shopify's REST Admin checkout: 202 until the work is done.

Reference: the Checkout resource of the REST Admin API (deprecated as of 2024-07).  Its writes answer 202, and
a GET of the checkout answers 202 until the checkout is completed — also when nothing is under way (an *idle*
checkout), so a GET outside an open operation opens nothing.  The storefront's own ``/wallets/`` and ``/api/``
forms of the same paths are recognised too.

===========================  ==============================================================
kind                         opened by a 202 to
===========================  ==============================================================
``checkout.create``          POST ``…/checkouts.json``
``checkout.update``          PUT or PATCH ``…/checkouts/{token}.json``
``checkout.complete``        POST ``…/checkouts/{token}/complete.json``
``checkout.shipping_rates``  GET ``…/{token}/shipping_rates.json``, POST or GET
                             ``…/{token}/calculate_shipping.json``
``checkout.payment``         POST ``…/{token}/payments.json``, polled at ``…/payments/{id}.json``
===========================  ==============================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urljoin, urlsplit

from polltape.exchange import Exchange, Observation
from polltape.protocols.base import Protocol, gives_address, json_object, polled_state

_PATH: Final = re.compile(
    r"""^(?P<prefix>/admin(?:/api/(?P<version>[^/]+))?|/wallets|/api(?:/(?P<api_version>[^/]+))?)
        /checkouts
        (?: \.json
          | /(?P<token>[^/]+?)
            (?: \.json
              | /(?P<action>complete|shipping_rates|calculate_shipping)\.json
              | /payments(?:/(?P<payment>[^/]+?))?\.json
            )
        )$""",
    re.VERBOSE,
)

_WRITES: Final = {
    ("POST", "create"): "checkout.create",
    ("PUT", "checkout"): "checkout.update",
    ("PATCH", "checkout"): "checkout.update",
    ("POST", "complete"): "checkout.complete",
    ("POST", "calculate_shipping"): "checkout.shipping_rates",
    ("POST", "payments"): "checkout.payment",
}
_OPENING_READS: Final = frozenset({"shipping_rates", "calculate_shipping"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A recognised path.

    ``what``: create, checkout, complete, shipping_rates, calculate_shipping, payments or payment.
    """

    what: str
    template: str
    token: str | None = None
    payment: str | None = None


def parse_path(path: str) -> Endpoint | None:
    """The checkout endpoint that a path names, None where it names none.

    >>> parse_path("/admin/api/2020-10/checkouts/abc/payments/7.json").template
    '/admin/api/{version}/checkouts/{token}/payments/{id}.json'
    """
    match = _PATH.match(path)
    if match is None:
        return None
    prefix = match["prefix"]
    if match["version"]:
        prefix = "/admin/api/{version}"
    elif match["api_version"]:
        prefix = "/api/{version}"
    base = f"{prefix}/checkouts"
    if match["token"] is None:
        return Endpoint("create", f"{base}.json")
    token = unquote(match["token"])
    if match["action"]:
        return Endpoint(match["action"], f"{base}/{{token}}/{match['action']}.json", token)
    if match["payment"]:
        return Endpoint("payment", f"{base}/{{token}}/payments/{{id}}.json", token, unquote(match["payment"]))
    if path.endswith("/payments.json"):
        return Endpoint("payments", f"{base}/{{token}}/payments.json", token)
    return Endpoint("checkout", f"{base}/{{token}}.json", token)


class ShopifyCheckout(Protocol):
    """REST Admin checkout; see the module's text for kinds and paths."""

    name: ClassVar[str] = "shopify-checkout"
    kinds: ClassVar[tuple[str, ...]] = (
        "checkout.create",
        "checkout.update",
        "checkout.complete",
        "checkout.shipping_rates",
        "checkout.payment",
    )
    stuck_after_s: ClassVar[float] = 20.0
    polls_after_end: ClassVar[bool] = False

    def template(self, path: str) -> str | None:
        """The endpoint template of the path, None where the path is not this protocol's."""
        endpoint = parse_path(path)
        return None if endpoint is None else endpoint.template

    def observe(self, exchange: Exchange) -> Sequence[Observation]:
        """One observation for a request to a checkout endpoint, none for anything else."""
        endpoint = parse_path(exchange.path)
        if endpoint is None:
            return ()
        kind = _WRITES.get((exchange.method, endpoint.what))
        if kind is not None:
            return (self._write(exchange, endpoint, kind),)
        if exchange.method == "GET" and endpoint.what in {"checkout", "payment", *_OPENING_READS}:
            return (self._read(exchange, endpoint),)
        return ()

    def _write(self, exchange: Exchange, endpoint: Endpoint, kind: str) -> Observation:
        body = json_object(exchange.response_body)
        state = _payment_state(exchange, body) if kind == "checkout.payment" else _state(exchange, body)
        sent, issued = self._keys(exchange, endpoint, body)
        return Observation(
            protocol=self.name,
            kind=kind,
            role="write",
            keys=sent,
            issued=issued,
            state=state,
            opens=exchange.status == 202 and state == "pending",
            address=gives_address(exchange),
            hint_expected=exchange.status == 202 and state == "pending",
        )

    def _read(self, exchange: Exchange, endpoint: Endpoint) -> Observation:
        body = json_object(exchange.response_body)
        payment = endpoint.what == "payment"
        state = _payment_state(exchange, body) if payment else _state(exchange, body)
        opening = endpoint.what in _OPENING_READS
        kind = {"payment": "checkout.payment", "checkout": None}.get(endpoint.what, "checkout.shipping_rates")
        return Observation(
            protocol=self.name,
            kind=kind,
            role="read",
            keys=self._keys(exchange, endpoint, {})[0],
            state=state,
            opens=opening and exchange.status == 202 and state == "pending",
            truncates="unwritten" if payment and state == "pending" else None,
            address=gives_address(exchange),
            itself=endpoint.what == "checkout",
            hint_expected=exchange.status == 202 and state == "pending",
        )

    def _keys(
        self, exchange: Exchange, endpoint: Endpoint, answer: dict[str, Any]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The keys that the request addresses, and those that its answer issues."""
        base = f"{self.name}|{exchange.authority}"
        if endpoint.what == "create":
            token = _issued_token(exchange, answer)
            return (), (() if token is None else (f"{base}|{token}",))
        if endpoint.what in _OPENING_READS:
            return (f"{base}|{endpoint.token}|shipping_rates",), ()
        if endpoint.what == "payment":
            return (f"{base}|{endpoint.token}|payments|{endpoint.payment}",), ()
        if endpoint.what == "payments":
            payment = _issued_payment(exchange, answer)
            return (), (() if payment is None else (f"{base}|{endpoint.token}|payments|{payment}",))
        return (f"{base}|{endpoint.token}",), ()


def _state(exchange: Exchange, body: dict[str, Any]) -> str | None:
    """What an answer about the checkout itself, or its shipping rates, shows."""
    status = exchange.status
    if status is None:
        return None
    if 200 <= status < 300 and _is_final(body):
        return "completed"
    if status == 202:
        return "pending"
    if status in (200, 201):
        return "completed"
    return polled_state(status)


def _checkout(body: dict[str, Any]) -> dict[str, Any]:
    """The checkout of an answer: wrapped, as Admin has it, or the body itself."""
    checkout = body.get("checkout", body)
    return checkout if isinstance(checkout, dict) else {}


def _is_final(body: dict[str, Any]) -> bool:
    checkout = _checkout(body)
    return checkout.get("completed_at") is not None or checkout.get("order") is not None


def _payment_state(exchange: Exchange, body: dict[str, Any]) -> str | None:
    """What an answer about a payment shows: it is pending while its ``transaction`` is null."""
    status = exchange.status
    if status is None:
        return None
    payment = body.get("payment")
    if 200 <= status < 300 and isinstance(payment, dict):
        if payment.get("payment_processing_error_message") is not None:
            return "failed"
        transaction = payment.get("transaction")
        if isinstance(transaction, dict):
            return "failed" if transaction.get("status") in ("failure", "error") else "completed"
        if transaction is None:
            return "pending"
    if status == 202:
        return "pending"
    if status in (200, 201):
        return "completed"
    return polled_state(status)


def _location(exchange: Exchange) -> Endpoint | None:
    location = exchange.response_header("Location")
    if not location:
        return None
    try:
        return parse_path(urlsplit(urljoin(exchange.url, location)).path)
    except ValueError:
        return None


def _issued_token(exchange: Exchange, answer: dict[str, Any]) -> str | None:
    token = _checkout(answer).get("token")
    if isinstance(token, str | int) and token != "":
        return str(token)
    named = _location(exchange)
    return None if named is None else named.token


def _issued_payment(exchange: Exchange, answer: dict[str, Any]) -> str | None:
    payment = answer.get("payment")
    number = payment.get("id") if isinstance(payment, dict) else None
    if isinstance(number, str | int) and number != "":
        return str(number)
    named = _location(exchange)
    return None if named is None else named.payment
