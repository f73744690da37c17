"""Who sent a request, as far as the request tells: the identity of a client, before redaction.

The first that is there:

1. X-Shopify-Access-Token,
2. the user of Basic credentials,
3. a JWT's issuer, its client (``azp`` or ``client_id``) and subject,
4. another Bearer or API key,
5. all cookies but the queue's,
6. a public Storefront token together with the address,
7. the address without port, and User-Agent.

What comes out is in clear: :class:`polltape.capture.redaction.Redactor` makes a pseudonym of it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from polltape.capture.redaction_rules import normalise
from polltape.exchange import Exchange, Header, all_headers

_API_KEYS: Final = (
    "X-Api-Key",
    "Api-Key",
    "X-Auth-Token",
    "Shopify-Storefront-Private-Token",
    "X-Shopify-Customer-Access-Token",
)
_API_KEY_PARAMETERS: Final = ("apikey", "accesstoken")
_ACCESS_TOKEN: Final = "X-Shopify-Access-Token"
_STOREFRONT: Final = "X-Shopify-Storefront-Access-Token"
CREDENTIALS: Final = (_ACCESS_TOKEN, "Authorization", *_API_KEYS, _STOREFRONT)
"""Headers that tell who sends a request, the first that is there."""
_JWT: Final = re.compile(r"[\w-]+\.([\w-]+=*)\.[\w-]*=*")


def client_identity(exchange: Exchange, queue_cookies: Collection[str]) -> tuple[str, ...]:
    """The identity as a tuple: its kind, then what it is made of.

    ``queue_cookies`` are normalised names of cookies that say nothing about who it is: a client in the
    queue gets new ones all the time.
    """
    address = exchange.client_address or ""
    return identity_of(exchange.request_headers, exchange.query, address, queue_cookies)


def identity_of(
    headers: Collection[Header], query: str | None, client_address: str, queue_cookies: Collection[str]
) -> tuple[str, ...]:
    """:func:`client_identity` from a request's parts."""
    token = _first(headers, _ACCESS_TOKEN)
    if token:
        return ("shopify-access-token", token)
    identity = _authorization(_first(headers, "Authorization")) or _api_key(headers, query)
    if identity:
        return identity
    address = without_port(client_address)
    cookies = _cookies(headers, queue_cookies)
    if cookies:
        return ("cookies", *cookies)
    storefront = _first(headers, _STOREFRONT)
    if storefront:
        return ("storefront-token", storefront, address)
    return ("address", address, _first(headers, "User-Agent"))


def without_port(address: str) -> str:
    """``192.0.2.1:4711`` and ``[2001:db8::1]:4711`` → the address alone, in its shortest form."""
    bare = address.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return _shortest(bare)


@lru_cache(maxsize=1024)
def _shortest(address: str) -> str:
    try:
        return ipaddress.ip_address(address).compressed
    except ValueError:
        return address


def _first(headers: Iterable[Header], name: str) -> str:
    return next((value.strip() for value in all_headers(headers, name) if value.strip()), "")


def _authorization(value: str) -> tuple[str, ...] | None:
    if not value:
        return None
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if scheme.lower() == "basic":
        user = _basic_user(rest)
        if user is not None:
            return ("basic", user)
    return _jwt(rest or scheme) or ("credentials", scheme.lower() if rest else "", rest or scheme)


def _basic_user(token: str) -> str | None:
    try:
        decoded = base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded.partition(b":")[0].decode("utf-8", "replace")


def _jwt(token: str) -> tuple[str, ...] | None:
    """RFC 7519 §4.1, RFC 9068 §2.2; a token without any of these claims is just a Bearer token."""
    match = _JWT.fullmatch(token)
    if match is None:
        return None
    payload = match[1].rstrip("=")
    try:
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(claims, dict):
        return None
    found = (claims.get("iss"), claims.get("azp") or claims.get("client_id"), claims.get("sub"))
    return None if found == (None, None, None) else ("jwt", *("" if c is None else str(c) for c in found))


def _api_key(headers: Collection[Header], query: str | None) -> tuple[str, ...] | None:
    for name in _API_KEYS:
        value = _first(headers, name)
        if value:
            return _jwt(value) or ("api-key", value)
    for pair in (query or "").split("&"):
        name, _, value = pair.partition("=")
        if value and normalise(unquote(name)) in _API_KEY_PARAMETERS:
            return ("api-key", unquote(value))
    return None


def _cookies(headers: Iterable[Header], queue_cookies: Collection[str]) -> list[str]:
    pairs: list[str] = []
    for line in all_headers(headers, "Cookie"):
        for pair in line.split(";"):
            name = pair.partition("=")[0].strip()
            if pair.strip() and normalise(name) not in queue_cookies:
                pairs.append(pair.strip())
    return sorted(pairs)
