"""One file an API: from an exchange to what it shows.  :func:`observe` is the one way in.

Bodies are parsed here, once, when a spool is turned into Parquet or a file is imported; what was read is
stored as columns, and measuring never opens a body again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urljoin

from polltape.exchange import Exchange
from polltape.protocols.base import Protocol, generic_template, normal_url
from polltape.protocols.instruction import read_instruction
from polltape.protocols.shopify_checkout import ShopifyCheckout

PROTOCOLS: Final[tuple[Protocol, ...]] = (ShopifyCheckout(),)
"""The built-in protocols, specific ones first."""


def observe(exchange: Exchange, protocols: Sequence[Protocol] = PROTOCOLS) -> Exchange:
    """The exchange with everything that is read from it alone: the columns from ``endpoint`` on."""
    observations = tuple(o for protocol in protocols for o in protocol.observe(exchange))
    hint = next((h for protocol in protocols if (h := protocol.hint(exchange)) is not None), None)
    return replace(
        exchange,
        endpoint=endpoint(exchange.path, protocols),
        request_id=exchange.response_header("X-Request-Id"),
        api_version=exchange.response_header("X-Shopify-API-Version"),
        redirect=_redirect(exchange),
        queued=exchange.response_header("X-Checkout-Queue") is not None,
        instruction=read_instruction(exchange.response_headers, exchange.response_ended_at, hint),
        observations=observations,
    )


def _redirect(exchange: Exchange) -> str | None:
    location = exchange.response_header("Location")
    if location is None or exchange.status is None or not 300 <= exchange.status < 400:
        return None
    try:
        return normal_url(urljoin(exchange.url, location))
    except ValueError:
        return None


def endpoint(path: str, protocols: Sequence[Protocol] = PROTOCOLS) -> str:
    """The template of a path: the protocol's own names, elsewhere ``{id}`` for what looks like one."""
    for protocol in protocols:
        template = protocol.template(path)
        if template is not None:
            return template
    return generic_template(path)


def protocol_named(name: str, protocols: Sequence[Protocol] = PROTOCOLS) -> Protocol | None:
    """The protocol of that name, None where there is none."""
    return next((protocol for protocol in protocols if protocol.name == name), None)
