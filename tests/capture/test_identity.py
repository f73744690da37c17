"""Who a client is: the first that is there."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from polltape.capture.identity import client_identity, without_port
from polltape.capture.keys import Key
from polltape.capture.redaction import Redactor
from polltape.exchange import Exchange, Header

QUEUE = frozenset({"checkoutqueuetoken", "ctd"})


def segment(payload: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")


def jwt(**claims: object) -> str:
    return f"{segment({'alg': 'none'})}.{segment(claims)}.c2ln"


def request(*headers: tuple[str, str], address: str | None = "192.0.2.7:4711", query: str | None = None) -> Exchange:
    return Exchange(
        "1", "GET", "https", "shop.example", 443, "/", datetime(2026, 11, 5, tzinfo=UTC), query=query,
        request_headers=tuple(Header(*h) for h in headers), client_address=address,
    )  # fmt: skip


BASIC = ("Authorization", "Basic " + base64.b64encode(b"anna:secret").decode())
SHOPIFY, BEARER = ("X-Shopify-Access-Token", "shpat_1"), ("Authorization", "Bearer opaque")
COOKIES, STOREFRONT = ("Cookie", "b=2; _ctd=9; a=1"), ("X-Shopify-Storefront-Access-Token", "public")
AGENT = ("User-Agent", "agent/1")

ORDER = [
    (SHOPIFY, ("shopify-access-token", "shpat_1")),
    (BASIC, ("basic", "anna")),
    (("X-Api-Key", "k1"), ("api-key", "k1")),
    (COOKIES, ("cookies", "a=1", "b=2")),
    (STOREFRONT, ("storefront-token", "public", "192.0.2.7")),
    (AGENT, ("address", "192.0.2.7", "agent/1")),
]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_first_that_is_there_decides(first: int) -> None:
    headers = [header for header, _ in reversed(ORDER[first:])]
    assert client_identity(request(*headers), QUEUE) == ORDER[first][1]


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (request(("authorization", "basic YW5uYTo=")), ("basic", "anna")),
        (request(("Authorization", "Basic dG9rZW4")), ("basic", "token")),
        (request(("Authorization", "Basic !!")), ("credentials", "basic", "!!")),
        (request(("Authorization", f"Bearer {jwt(iss='i', azp='a', sub='s', jti='1')}")), ("jwt", "i", "a", "s")),
        (request(("Authorization", f"Bearer {jwt(iss='i', client_id='c', iat=7)}")), ("jwt", "i", "c", "")),
        (request(("Authorization", f"Bearer {jwt(jti='1')}")), ("credentials", "bearer", jwt(jti="1"))),
        (request(("Authorization", "Bearer a.b.c")), ("credentials", "bearer", "a.b.c")),
        (request(BEARER), ("credentials", "bearer", "opaque")),
        (request(("Authorization", "Token token=a, btoken=b")), ("credentials", "token", "token=a, btoken=b")),
        (request(("Authorization", "bare")), ("credentials", "", "bare")),
        (request(query="x=1&api_key=k%20y"), ("api-key", "k y")),
        (request(("Cookie", "_checkout_queue_token=x"), AGENT), ("address", "192.0.2.7", "agent/1")),
        (request(("Cookie", "b=2"), ("Cookie", "a=1")), ("cookies", "a=1", "b=2")),
        (request(STOREFRONT, address=None), ("storefront-token", "public", "")),
        (request(address=None), ("address", "", "")),
        (request(("X-Shopify-Access-Token", " "), BEARER), ("credentials", "bearer", "opaque")),
    ],
)  # fmt: skip
def test_each_kind(exchange: Exchange, expected: tuple[str, ...]) -> None:
    assert client_identity(exchange, QUEUE) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.1", "192.0.2.1"), ("192.0.2.1:80", "192.0.2.1"), ("[2001:DB8::1]:80", "2001:db8::1"),
     ("2001:db8:0::1", "2001:db8::1"), ("", ""), ("unix", "unix")],
)  # fmt: skip
def test_the_port_says_nothing(address: str, expected: str) -> None:
    assert without_port(address) == expected


@pytest.mark.parametrize("claims", [[], "text", 7, None])
def test_a_payload_that_is_no_object_is_just_a_token(claims: object) -> None:
    token = f"{segment({})}.{segment(claims)}.x"
    assert client_identity(request(("Authorization", f"Bearer {token}")), QUEUE) == ("credentials", "bearer", token)


def test_a_bomb_for_a_payload_is_just_a_token() -> None:
    bomb = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    token = f"x.{bomb}.x"
    assert client_identity(request(("Authorization", f"Bearer {token}")), QUEUE)[0] == "credentials"


def test_the_pseudonym_is_of_the_identity_alone() -> None:
    redactor = Redactor(Key.of(b"k" * 32))
    one = request(("Authorization", f"Bearer {jwt(iss='i', sub='s', exp=1)}"))
    renewed = request(("Authorization", f"Bearer {jwt(iss='i', sub='s', exp=2)}"), address="198.51.100.1:1")
    other = request(("Authorization", f"Bearer {jwt(iss='i', sub='t', exp=1)}"))
    assert redactor.redact(one).client == redactor.redact(renewed).client
    assert redactor.redact(one).client != redactor.redact(other).client
    assert redactor.client(request(AGENT)) == redactor.client(request(AGENT, address="192.0.2.7:9"))
    assert Redactor(Key.of(b"l" * 32)).client(one) != redactor.client(one)
    assert redactor.redact(replace(one, client="left over")).client == redactor.client(one)
