"""One file an API: from an exchange to what it shows.  :func:`observe` is the one way in.

Bodies are parsed here, once, when a spool is turned into Parquet or a file is imported; what was read is
stored as columns, and measuring never opens a body again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from polltape.errors import ConfigError
from polltape.exchange import Exchange, Observation
from polltape.protocols.base import Protocol, generic_template, normal_url
from polltape.protocols.graphql import graphql_request
from polltape.protocols.http_async import HttpAsync
from polltape.protocols.instruction import HINTS, read_instruction
from polltape.protocols.par_posnext import ParPosNext
from polltape.protocols.shopify_cart import ShopifyCart
from polltape.protocols.shopify_checkout import ShopifyCheckout
from polltape.protocols.shopify_queue import ShopifyQueue
from polltape.protocols.throttle import Throttle
from polltape.protocols.user_file import HOW, protocols_of_file

BUILT_IN: Final[tuple[Protocol, ...]] = (
    ShopifyCheckout(),
    ShopifyQueue(),
    ShopifyCart(),
    ParPosNext(),
    HttpAsync(),
    Throttle(),
)
"""The built-in protocols, specific ones first."""

ENTRY_POINTS: Final = "polltape.protocols"
"""Group of entry points by which an installed package adds protocols: each names a Protocol class."""

_added: list[Protocol] = []
_stumbled: Counter[str] = Counter()
_NOTHING: Final[Sequence[Observation]] = ()


def known() -> tuple[Protocol, ...]:
    """Every protocol: those of the user (files, then installed packages), and the built-in ones."""
    return (*_added, *_installed(), *BUILT_IN)


def users() -> tuple[Protocol, ...]:
    """Those of the user alone; what was recorded without them must be observed anew."""
    return (*_added, *_installed())


def add_file(path: Path) -> None:
    """Take the protocols that a Python file defines.

    Raises :class:`~polltape.errors.ConfigError` where it cannot be run, defines none, or uses a name twice.
    """
    for protocol in protocols_of_file(path):
        _check_name(protocol, known(), str(path))
        _added.append(protocol)


@cache
def _installed() -> tuple[Protocol, ...]:
    found: list[Protocol] = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            protocol = point.load()()
        except (Exception, SystemExit) as error:  # whatever a foreign package stumbles over
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"protocol {point.name} of {point.value}: cannot be loaded ({reason})") from error
        if not isinstance(protocol, Protocol):
            raise ConfigError(f"protocol {point.name} of {point.value}: no Protocol", hint=HOW)
        _check_name(protocol, (*found, *BUILT_IN), point.value)
        found.append(protocol)
    return tuple(found)


def _check_name(protocol: Protocol, others: Sequence[Protocol], where: str) -> None:
    if any(other.name == protocol.name for other in others):
        raise ConfigError(f"{where}: there is a protocol {protocol.name!r} already", hint="give it another name")


def stumbled() -> Counter[str]:
    """How often a user's protocol raised since this was last asked, by its name and the error's.

    What it would have seen there is missing; what the others saw is not.
    """
    found = _stumbled.copy()
    _stumbled.clear()
    return found


def _answer[T](protocol: Protocol, ask: Callable[[], T], otherwise: T) -> T:
    """What a protocol answers; where a user's raises, ``otherwise``, counted."""
    try:
        return ask()
    except (Exception, SystemExit) as error:  # whatever a user's program may raise
        if protocol in BUILT_IN:
            raise
        _stumbled[f"protocol {protocol.name} raised {type(error).__name__}"] += 1
        return otherwise


def _hint(protocol: Protocol, exchange: Exchange) -> tuple[str, object] | None:
    found = protocol.hint(exchange)
    if found is not None and (len(found) != 2 or found[0] not in HINTS):
        raise TypeError(f"a hint is one of {', '.join(HINTS)} and its value")
    return found


def _seen(protocol: Protocol, exchange: Exchange) -> Sequence[Observation]:
    found = tuple(protocol.observe(exchange))
    if not all(isinstance(each, Observation) for each in found):
        raise TypeError("what is observed are Observations")
    return found


def observe(exchange: Exchange, protocols: Sequence[Protocol] | None = None) -> Exchange:
    """The exchange with everything that is read from it alone: :data:`~polltape.exchange.OBSERVED`."""
    protocols = known() if protocols is None else protocols
    request = graphql_request(exchange)
    name = None if request is None else request.name or None
    if name != exchange.graphql:
        exchange = replace(exchange, graphql=name)
    hints = (_answer(each, partial(_hint, each, exchange), None) for each in protocols)
    hint = next((found for found in hints if found is not None), None)
    return replace(
        exchange,
        endpoint=endpoint(exchange.path, protocols),
        request_id=exchange.response_header("X-Request-Id"),
        api_version=exchange.response_header("X-Shopify-API-Version"),
        redirect=_redirect(exchange),
        queued=exchange.response_header("X-Checkout-Queue") is not None,
        instruction=(
            None  # an error took the response's place: what headers its record has asked nobody to wait
            if exchange.status is None
            else read_instruction(exchange.response_headers, exchange.response_ended_at, hint)
        ),
        observations=_observations(exchange, protocols),
    )


def _observations(exchange: Exchange, protocols: Sequence[Protocol]) -> tuple[Observation, ...]:
    """What each protocol sees; a specific one that recognises the exchange hides ``http-async``.

    A token that is merely carried along (a queue's, in a cookie) recognises nothing.
    """
    specific = [protocol for protocol in protocols if not protocol.general]
    found = [o for each in specific for o in _answer(each, partial(_seen, each, exchange), _NOTHING)]
    hidden = any(o.opens or not o.role.startswith("resubmit") for o in found)
    for protocol in protocols:
        if protocol.general and not (hidden and protocol.name == HttpAsync.name):
            found += _answer(protocol, partial(_seen, protocol, exchange), _NOTHING)
    return tuple(found)


def _redirect(exchange: Exchange) -> str | None:
    location = exchange.response_header("Location")
    if location is None or exchange.status is None or not 300 <= exchange.status < 400:
        return None
    try:
        return normal_url(urljoin(exchange.url, location))
    except ValueError:
        return None


def endpoint(path: str, protocols: Sequence[Protocol] | None = None) -> str:
    """The template of a path: the protocol's own names, elsewhere ``{id}`` for what looks like one."""
    for protocol in known() if protocols is None else protocols:
        template = _answer(protocol, partial(protocol.template, path), None)
        if template is not None:
            return template
    return generic_template(path)


def protocol_named(name: str) -> Protocol | None:
    """The protocol of that name, None where there is none."""
    return next((protocol for protocol in known() if protocol.name == name), None)
