"""One file an API: from an exchange to what it shows.  :func:`observe` is the one way in.

Bodies are parsed here, once, when a spool is turned into Parquet or a file is imported; what was read is
stored as columns, and measuring never opens a body again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from polltape.exchange import Exchange
from polltape.protocols.base import Protocol, generic_template
from polltape.protocols.instruction import read_instruction
from polltape.protocols.shopify_checkout import ShopifyCheckout

PROTOCOLS: Final[tuple[Protocol, ...]] = (ShopifyCheckout(),)
"""The built-in protocols, specific ones first."""


def observe(exchange: Exchange, protocols: Sequence[Protocol] = PROTOCOLS) -> Exchange:
    """The exchange with ``endpoint``, ``instruction`` and ``observations`` filled in."""
    observations = tuple(o for protocol in protocols for o in protocol.observe(exchange))
    hint = next((h for protocol in protocols if (h := protocol.hint(exchange)) is not None), None)
    return replace(
        exchange,
        endpoint=endpoint(exchange.path, protocols),
        instruction=read_instruction(exchange.response_headers, exchange.response_ended_at, hint),
        observations=observations,
    )


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
