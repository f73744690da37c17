"""Recorded answers made to fit: URLs, tokens, headers, numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.exchange import Body, Exchange, Header
from polltape.mock.core import Request, Response
from polltape.mock.rewriting import Names, Rewriter
from polltape.protocols import observe

NOW = 1_800_000_000.0
OLD, NEW = "a1" * 16, "d4" * 16
Ask = Callable[..., Request]


def rewritten(
    ask: Ask, body: object = None, headers: dict[str, str] | None = None, *, names: Names = (), **options: Any
) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = observe(
        Exchange(
            *("x", "GET", "https", "shop.example", 443, "/a", datetime(2026, 1, 1, tzinfo=UTC)),
            status=options.pop("status", 200),
            response_ended_at=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
            response_headers=tuple(Header(*pair) for pair in (headers or {}).items()),
            response_body=Body(content=content),
        )
    )
    rewriter = Rewriter.of(frozenset({"shop.example", "pay.example:8443"}), options.pop("speed", 1.0))
    return rewriter.response(exchange, ask("GET", "/a", **options), NOW, names=names, chance=Random(1))


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("https://shop.example/a?b=c#d", "http://127.0.0.1:9/a?b=c#d"),
        ("HTTPS://Shop.Example/a", "http://127.0.0.1:9/a"),
        ("https://shop.example:443", "http://127.0.0.1:9"),
        ("https://user:pw@shop.example/a", "http://127.0.0.1:9/a"),
        ("https://pay.example:8443/s", "http://127.0.0.1:9/s"),
        ("https://vault.example/sessions", "http://unmatched.invalid/sessions"),
        ("https://shop.example.evil.example/a", "http://unmatched.invalid/a"),
        ("https://shop.example@evil.example/a", "http://unmatched.invalid/a"),
        ("//shop.example/a", "//127.0.0.1:9/a"),
        ("//cdn.example/a", "//unmatched.invalid/a"),
        ("wss://shop.example/live", "ws://127.0.0.1:9/live"),
        (
            "see https://shop.example/a, or <https://cdn.example>",
            "see http://127.0.0.1:9/a, or <http://unmatched.invalid>",
        ),
        ("/login?to=https%3A%2F%2Fshop.example%2Fa", "/login?to=http%3A%2F%2F127.0.0.1%3A9%2Fa"),
        ("/relative/stays", "/relative/stays"),
    ],
)
def test_every_absolute_url_leads_to_the_mock_or_nowhere(ask: Ask, recorded: str, said: str) -> None:
    answer = rewritten(ask, {"deep": [{"url": recorded}]}, {"Location": recorded})
    assert answer.json() == {"deep": [{"url": said}]}
    assert answer.header("Location") == said


def test_urls_name_the_mock_as_the_client_named_it(ask: Ask) -> None:
    answer = rewritten(ask, {"u": "https://shop.example/a"}, authority="localhost:1", scheme="https")
    assert answer.json() == {"u": "https://localhost:1/a"}


@given(host=st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), scheme=st.sampled_from(["http", "https", "HTTPS"]))
def test_no_host_but_the_mocks_is_left(ask: Ask, host: str, scheme: str) -> None:
    said = rewritten(ask, {"u": f"{scheme}://{host}/x"}).json()["u"]
    assert said in ("http://127.0.0.1:9/x", "http://unmatched.invalid/x")


# --------------------------------------------------------------------------------------------- tokens


def test_a_token_is_replaced_wherever_it_stands_alone(ask: Ask) -> None:
    body = {"token": OLD, "gid": f"gid://x/C/{OLD}", "web": f"https://shop.example/c/{OLD}?key=1", "longer": f"{OLD}ff"}
    answer = rewritten(ask, body, {"Location": f"/c/{OLD}.json"}, names=((OLD, NEW),))
    assert answer.json() == {
        "token": NEW,
        "gid": f"gid://x/C/{NEW}",
        "web": f"http://127.0.0.1:9/c/{NEW}?key=1",
        "longer": f"{OLD}ff",
    }
    assert answer.header("Location") == f"/c/{NEW}.json"


def test_a_short_token_is_replaced_only_as_a_value_or_a_path_segment(ask: Ask) -> None:
    body = {"token": "7", "price": "17.00", "text": "7 of 7", "url": "/c/7.json", "id": 7, "quantity": 7}
    answer = rewritten(ask, body, names=(("7", "42"),))
    assert answer.json() == {
        "token": "42",
        "price": "17.00",
        "text": "7 of 7",
        "url": "/c/42.json",
        "id": 42,
        "quantity": 7,
    }


def test_a_hostile_live_token_breaks_neither_header_nor_url(ask: Ask) -> None:
    names = ((OLD, "a\r\nSet-Cookie: x/é"),)
    answer = rewritten(ask, {"token": OLD, "url": f"/c/{OLD}"}, {"Location": f"/c/{OLD}", "X": OLD}, names=names)
    assert answer.json()["token"] == "a\r\nSet-Cookie: x/é"
    assert answer.json()["url"] == answer.header("Location") == "/c/a%0D%0ASet-Cookie%3A%20x%2F%C3%A9"
    assert all("\r" not in header.value and "\n" not in header.value for header in answer.headers)


@pytest.mark.parametrize("live", ["²", "9" * 5000, "mine"])
def test_a_number_stays_where_the_live_name_is_none(ask: Ask, live: str) -> None:
    assert rewritten(ask, {"id": 25428999, "token": "25428999"}, names=(("25428999", live),)).json() == {
        "id": 25428999,
        "token": live,
    }


def test_a_hostile_recorded_header_is_made_harmless(ask: Ask) -> None:
    answer = rewritten(ask, {}, {"X-A": "1\r\nX-B: 2\x00", "Bad Name": "1", "X:Y": "2"})
    assert answer.header("X-A") == "1  X-B: 2 "
    assert {header.name for header in answer.headers} == {"X-A", "Content-Length"}


def test_a_body_that_is_no_json_is_rewritten_as_text_byte_for_byte(ask: Ask) -> None:
    body = b"<a href='https://shop.example/" + OLD.encode() + b"'>\xff\xe4</a>"
    answer = rewritten(ask, body, names=((OLD, NEW),))
    assert answer.body == b"<a href='http://127.0.0.1:9/" + NEW.encode() + b"'>\xff\xe4</a>"


def test_json_that_is_nested_too_deep_is_rewritten_as_text(ask: Ask) -> None:
    body = b"[" * 5000 + b'"https://shop.example"' + b"]" * 5000
    assert b"http://127.0.0.1:9" in rewritten(ask, body).body


# -------------------------------------------------------------------------------------------- headers


def test_headers_of_the_transfer_are_made_anew(ask: Ask) -> None:
    recorded = {
        "Content-Encoding": "gzip",
        "Content-Length": "3",
        "Transfer-Encoding": "chunked",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "ETag": "x",
        "Date": "Tue, 27 Oct 2020 03:46:58 GMT",
        "Strict-Transport-Security": "max-age=1",
        "X-Shopify-Hmac-Sha256": "s",
        "Content-Type": "application/json",
        "X-ShopId": "5",
    }
    answer = rewritten(ask, {"a": 1}, recorded)
    assert answer.headers == (
        Header("Content-Type", "application/json"),
        Header("X-ShopId", "5"),
        Header("Content-Length", "8"),
    )


def test_a_cookie_comes_home_to_the_mock(ask: Ask) -> None:
    cookie = {"Set-Cookie": "a=b; Path=/; Domain=.shop.example; Secure; HttpOnly"}
    assert rewritten(ask, {}, cookie).header("Set-Cookie") == "a=b; Path=/; HttpOnly"
    assert rewritten(ask, {}, cookie, scheme="https").header("Set-Cookie") == "a=b; Path=/; Secure; HttpOnly"


@pytest.mark.parametrize(
    ("line", "speed", "said", "wait"),
    [
        ("1", 1, "1", "1"),
        ("1", 10, "1", "0.1"),
        ("30", 4, "8", "7.5"),
        ("0", 10, "0", "0"),
        ("2.0", 4, "0.5", "0.5"),
        ("2.0", 1, "2.0", "2"),
        ("Thu, 01 Jan 2026 00:00:31 GMT", 1, "Fri, 15 Jan 2027 08:00:30 GMT", "30"),
        ("Thu, 01 Jan 2026 00:00:31 GMT", 20, "Fri, 15 Jan 2027 08:00:02 GMT", "1.5"),
        ("Thursday, 01-Jan-26 00:00:31 GMT", 1, "Friday, 15-Jan-27 08:00:30 GMT", "30"),
        ("Thu Jan  1 00:00:31 2026", 1, "Fri Jan 15 08:00:30 2027", "30"),
        ("soon", 10, "soon", None),
        ("-5", 10, "-5", None),
    ],
)
def test_hints_keep_their_grammar(ask: Ask, line: str, speed: float, said: str, wait: str | None) -> None:
    recorded = {"Date": "Thu, 01 Jan 2026 00:00:01 GMT", "Retry-After": line}
    answer = rewritten(ask, {}, recorded, speed=speed, status=202)
    assert (answer.header("Retry-After"), answer.header("X-Polltape-Wait")) == (said, wait)


def test_milliseconds_are_scaled_too(ask: Ask) -> None:
    assert rewritten(ask, {}, {"retry-after-ms": "1500"}, speed=10).header("retry-after-ms") == "150"


def test_a_body_that_was_not_stored_says_so(ask: Ask) -> None:
    exchange = Exchange(
        *("x", "GET", "https", "shop.example", 443, "/a", datetime(2026, 1, 1, tzinfo=UTC)),
        status=200,
        response_body=Body(size=5, not_stored="no text"),
    )
    answer = Rewriter.of(frozenset(), 1.0).response(exchange, ask("GET", "/a"), NOW, chance=Random(1))
    assert (answer.body, answer.header("X-Polltape-Body")) == (b"", "not stored: no text")


def test_a_204_has_no_length(ask: Ask) -> None:
    assert rewritten(ask, b"", status=204).header("Content-Length") is None
