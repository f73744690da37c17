from __future__ import annotations

from datetime import UTC, datetime

import pytest

from polltape.exchange import Body, Exchange, Header
from polltape.recorder.upstream import UpstreamWatch

AT = datetime(2026, 11, 23, tzinfo=UTC)
UPSTREAMS = [("shop.example", 443), ("10.0.0.1", 8080), ("::1", 81)]


def answer(header: str = "", value: str = "", content: bytes = b"", kind: str = "application/json") -> Exchange:
    headers = (Header("content-type", kind), *((Header(header, value),) if header else ()))
    return Exchange(
        "id", "GET", "http", "me", 80, "/", AT, response_headers=headers, response_body=Body(content=content)
    )


@pytest.mark.parametrize(
    ("exchange", "place"),
    [
        (answer("Location", "https://shop.example/jobs/1"), "Location"),
        (answer("location", "https://SHOP.example:443"), "location"),
        (answer("Operation-Location", "http://10.0.0.1:8080/a"), "Operation-Location"),
        (answer("Azure-AsyncOperation", "http://[::1]:81/a"), "Azure-AsyncOperation"),
        (answer("Link", '<https://shop.example/a>; rel="monitor"'), "Link"),
        (answer(content=b'{"status_url": "https://shop.example/jobs/1"}'), "JSON body"),
        (answer(content=rb'{"web_url": "https:\/\/shop.example\/jobs"}'), "JSON body"),
        (answer("Location", "/jobs/1"), None),
        (answer("Location", "https://other.example/"), None),
        (answer("Location", "http://shop.example/"), None),
        (answer("Location", "https://shop.example:8443/"), None),
        (answer("Location", "https://shop.example.evil/"), None),
        (answer("Location", "https://myshop.example/"), None),
        (answer("Server", "https://shop.example/"), None),
        (answer(content=b"https://shop.example/", kind="text/html"), None),
    ],
)
def test_absolute_urls_of_the_upstream_are_seen(exchange: Exchange, place: str | None) -> None:
    assert UpstreamWatch(UPSTREAMS).look(exchange) == place


def test_it_is_told_once() -> None:
    watch, found = UpstreamWatch(UPSTREAMS), answer("Location", "https://shop.example/")
    assert watch.look(answer()) is None
    assert watch.look(found) == "Location"
    assert watch.look(found) is None


def test_without_reverse_mode_nothing_is_looked_for() -> None:
    assert UpstreamWatch([]).look(answer("Location", "https:///")) is None
