"""Ids and tokens that are issued anew are carried into later requests, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import stories

from polltape.exchange import Body, Exchange, Header
from polltape.protocols import observe
from polltape.replay.carrying import Carrier

NEW = "00112233445566778899aabbccddeeff"


def answered(recorded: Exchange, got: Any, headers: tuple[tuple[str, str], ...] = ()) -> Exchange:
    """The same exchange with another answer."""
    return observe(
        replace(
            recorded,
            response_body=stories.body(got),
            response_headers=tuple(Header(*pair) for pair in headers),
        )
    )


def create(**options: Any) -> Exchange:
    return stories.exchange(0.0, "POST", stories.CREATE, 201, **options)


def test_an_issued_token_is_carried_into_path_query_header_and_body() -> None:
    first = create(got=stories.checkout())
    later = replace(
        stories.put(1.0, sent_headers=[("X-Checkout", f"id={stories.TOKEN};v=1")]),
        query=f"cart={stories.TOKEN}&x=1",
        request_body=stories.body({"token": stories.TOKEN, "of": f"gid://shopify/Checkout/{stories.TOKEN}?key=1"}),
    )
    carrier = Carrier([first, later])
    assert stories.TOKEN in carrier.outgoing(later).path
    carrier.learn(first, answered(first, stories.checkout(NEW)))
    sent = carrier.outgoing(later)
    assert sent.path == stories.CHECKOUT.replace(stories.TOKEN, NEW)
    assert sent.query == f"cart={NEW}&x=1"
    assert Header("X-Checkout", f"id={NEW};v=1") in sent.headers
    assert sent.body.count(NEW.encode()) == 2
    assert stories.TOKEN.encode() not in sent.body


def test_a_token_only_in_location_is_learnt() -> None:
    first = create(more=[("Location", f"https://shop.example{stories.CHECKOUT}")])
    later = stories.poll(1.0)
    carrier = Carrier([first, later])
    there = f"http://127.0.0.1:8202{stories.CHECKOUT.replace(stories.TOKEN, NEW)}"
    carrier.learn(first, answered(first, None, (("location", there),)))
    assert NEW in carrier.outgoing(later).path


def test_a_token_in_a_header_of_its_own_and_in_a_cookie_is_learnt() -> None:
    first = create(more=[("X-Checkout-Queue-Token", "queue-token-1"), ("Set-Cookie", "_ctd=cookie-token-1; path=/")])
    later = stories.poll(
        1.0, sent_headers=[("X-Checkout-Queue-Token", "queue-token-1"), ("Cookie", "_ctd=cookie-token-1")]
    )
    carrier = Carrier([first, later])
    fresh = (("x-checkout-queue-token", "queue-token-2"), ("set-cookie", "_ctd=cookie-token-2; path=/"))
    carrier.learn(first, answered(first, None, fresh))
    sent = dict(carrier.outgoing(later).headers)
    assert sent == {"X-Checkout-Queue-Token": "queue-token-2", "Cookie": "_ctd=cookie-token-2"}


def test_a_short_id_that_a_protocol_issues_is_replaced_in_the_path_alone() -> None:
    path = stories.CHECKOUT.replace(".json", "/payments.json")
    first = stories.exchange(0.0, "POST", path, 202, got={"payment": {"id": 7}})
    later = replace(
        stories.exchange(1.0, "GET", path.replace(".json", "/7.json"), 202), request_body=stories.body({"count": 7})
    )
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, {"payment": {"id": 8}}))
    sent = carrier.outgoing(later)
    assert sent.path.endswith("/payments/8.json")
    assert sent.body == b'{"count": 7}'


def test_two_ids_that_change_places_are_replaced_at_once() -> None:
    first = create(got={"a": "token-one", "b": "token-two"})
    later = stories.poll(1.0, sent_headers=[("X-A", "token-one"), ("X-B", "token-two")])
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, {"a": "token-two", "b": "token-one"}))
    assert [value for _, value in carrier.outgoing(later).headers] == ["token-two", "token-one"]


@pytest.mark.parametrize("header", ["X-Part", "X-Other"])
def test_a_word_inside_another_stays(header: str) -> None:
    first = create(got={"a": "token-one"})
    later = stories.poll(1.0, sent_headers=[(header, "token-one-more"), ("X-Same", "token-one")])
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, {"a": "token-two"}))
    assert [value for _, value in carrier.outgoing(later).headers] == ["token-one-more", "token-two"]


def test_what_no_request_speaks_of_is_not_learnt() -> None:
    first = create(got={"updated_at": "2026-11-23T08:00:00Z", "price": "100000"})
    later = stories.poll(1.0, sent_headers=[("If-Modified-Since", "2026-11-23T08:00:00Z")])
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, {"updated_at": "2027-01-01T09:11:11Z", "price": "200000"}))
    assert not carrier.carries("100000")
    assert carrier.outgoing(later).headers == later.request_headers[1:]


def test_an_answer_without_body_or_of_another_build_teaches_nothing() -> None:
    first = create(got=stories.checkout())
    later = stories.poll(1.0)
    carrier = Carrier([first, later])
    carrier.learn(first, replace(first, response_body=Body(content=b"<html>"), observations=()))
    assert carrier.outgoing(later).path == later.path


def test_a_cookie_is_known_by_its_name_whatever_the_order() -> None:
    first = create(more=[("Set-Cookie", "a=cookie-one; path=/"), ("Set-Cookie", "b=cookie-two%3D%3D; secure")])
    later = stories.poll(1.0, sent_headers=[("Cookie", "b=cookie-two%3D%3D; a=cookie-one")])
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, None, (("set-cookie", "b=fresh-two"), ("set-cookie", "a=fresh-one"))))
    assert dict(carrier.outgoing(later).headers)["Cookie"] == "b=fresh-two; a=fresh-one"


def test_an_address_of_another_build_is_followed_as_it_is_given() -> None:
    """A monitor that moves: the new address has no word in common with the recorded one."""
    first = create(more=[("Location", "/operations/op-4207896a?v=1")])
    later = replace(stories.exchange(1.0, "GET", "/operations/op-4207896a", 202), query="v=1")
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, None, (("Location", "http://127.0.0.1:1/elsewhere/a/b/77?x=2&y=3"),)))
    assert carrier.outgoing(later).target == "/elsewhere/a/b/77?x=2&y=3"


def test_a_token_of_another_alphabet_is_carried_as_a_whole() -> None:
    """Base64 with its signs, in a body as JSON and in a query, encoded."""
    first = create(more=[("X-Checkout-Queue-Token", "AbC123deF==")])
    later = replace(
        stories.exchange(1.0, "POST", "/queue/poll", 200),
        query="checkout_queue_token=AbC123deF%3D%3D",
        request_body=stories.body({"variables": {"token": "AbC123deF=="}}),
    )
    carrier = Carrier([first, later])
    carrier.learn(first, answered(first, None, (("x-checkout-queue-token", "xy/zz+9"),)))
    sent = carrier.outgoing(later)
    assert sent.query == "checkout_queue_token=xy%2Fzz%2B9"
    assert sent.body == b'{"variables": {"token": "xy/zz+9"}}'


def test_the_newest_token_of_a_chain_is_carried() -> None:
    chain = [stories.exchange(t, "POST", "/queue/poll", 200, got={"token": f"queue-token-{t}"}) for t in range(3)]
    asking = [
        replace(e, request_body=stories.body({"token": f"queue-token-{t - 1}"})) for t, e in enumerate(chain) if t > 0
    ]
    carrier = Carrier([chain[0], *asking])
    for number, one in enumerate((chain[0], asking[0])):
        carrier.learn(one, answered(one, {"token": f"fresh-token-{number}"}))
    assert b"fresh-token-0" in carrier.outgoing(asking[0]).body
    assert b"fresh-token-1" in carrier.outgoing(asking[1]).body
