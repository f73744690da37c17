"""A real server as the target, and the brakes: what a bug replay must not send, and to whom."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from polltape.capture.redaction_rules import Rules, normalise
from polltape.capture.remote import without_credentials
from polltape.errors import UsageError
from polltape.exchange import DEFAULT_PORTS, Exchange, Header
from polltape.replay.carrying import Carrier, Outgoing
from polltape.replay.wire import Peer

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""


def peer_of(url: str) -> Peer:
    """The server that a URL names.  Raises UsageError where it is no bare ``http(s)://host[:port]``."""
    wanted = "give it as http://HOST[:PORT] or https://HOST[:PORT]"
    told = without_credentials(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--target {told}: {error}", hint=wanted) from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise UsageError(f"--target {told}: no http or https address", hint=wanted)
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"--target {told}: only scheme, host and port are taken; the paths are the recording's")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return Peer(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], tls)


def headers_given(options: Iterable[str], environ: Mapping[str, str] | None = None) -> tuple[Header, ...]:
    """``NAME=env:VAR`` as headers, their values taken from the environment.  Raises UsageError."""
    known = os.environ if environ is None else environ
    return tuple(_header(option, known) for option in options)


def _header(option: str, environ: Mapping[str, str]) -> Header:
    name, equals, source = option.partition("=")
    variable = source.removeprefix("env:")
    if not equals or not name.strip() or variable == source or not variable:
        # The option itself is not quoted: it may well be the secret.
        raise UsageError("--header takes NAME=env:VAR", hint="a value on the command line would be seen by others")
    if variable not in environ:
        raise UsageError(f"--header {name}: the environment variable {variable} is not set")
    value = environ[variable]
    if not value.isprintable() or not value.isascii():
        raise UsageError(f"--header {name}: the value of {variable} cannot stand in a header")
    return Header(name.strip(), value)


def check_writes(exchanges: Iterable[Exchange], peer: Peer, allowed: Sequence[str]) -> None:
    """Raises UsageError where a request that may change something would go to a host that nobody allowed."""
    host = peer.host.lower()
    if _is_loopback(host) or host in {name.lower() for name in allowed}:
        return
    writes = [exchange for exchange in exchanges if exchange.method not in _SAFE]
    if writes:
        first = writes[0]
        raise UsageError(
            f"{len(writes)} of the requests may change something on {host}, the first is "
            f"{first.method} {first.endpoint or first.path}: not sent",
            hint=f"if that is meant, add --allow-writes {host}",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def without_pseudonyms(given: Sequence[Header], rules: Rules) -> Callable[[Outgoing, Exchange, Carrier], Outgoing]:
    """What is done to each request: the recording's credentials go, they are pseudonyms; the given ones come.

    Credentials are what the redaction rules call a secret or a pseudonym, and cookies.  A value that the target
    itself has issued during the replay stays.
    """
    mine = {header.name.lower() for header in given}
    headers_ruled, query_ruled = _secret_names(rules, "header"), _secret_names(rules, "query")

    def prepare(outgoing: Outgoing, recorded: Exchange, carrier: Carrier) -> Outgoing:
        def keeps(name: str, value: str) -> bool:
            if name.lower() in mine:
                return False
            ruled = normalise(name) in headers_ruled or normalise(name) in ("cookie", "cookie2")
            return not ruled or carrier.carries(value)

        pairs = zip(recorded_headers(recorded, outgoing), outgoing.headers, strict=True)
        kept = [header for value, header in pairs if keeps(header.name, value)]
        query = outgoing.query
        if query is not None and recorded.query is not None:
            query = _query(recorded.query, query, query_ruled, carrier)
        return replace(outgoing, headers=(*kept, *given), query=query)

    return prepare


def _secret_names(rules: Rules, place: Literal["header", "query"]) -> frozenset[str]:
    table = rules.table(place)
    return frozenset(name for name, (action, _) in table.items() if action in ("drop", "pseudonym"))


def recorded_headers(recorded: Exchange, outgoing: Outgoing) -> list[str]:
    """The recorded values of the headers that are about to go, in their order."""
    wanted = {header.name for header in outgoing.headers}
    return [value for name, value in recorded.request_headers if name in wanted]


def _query(recorded: str, now: str, ruled: frozenset[str], carrier: Carrier) -> str | None:
    old = parse_qsl(recorded, keep_blank_values=True)
    new = parse_qsl(now, keep_blank_values=True)
    if not any(normalise(name) in ruled for name, _ in new):
        return now
    kept = [
        pair
        for (_, value), pair in zip(old, new, strict=True)
        if normalise(pair[0]) not in ruled or carrier.carries(value)
    ]
    return urlencode(kept) if kept else None
