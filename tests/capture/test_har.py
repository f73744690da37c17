"""HAR files: the four instants, bodies, headers and ids, as the tools really write them."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.capture.har import entry_id, read_har
from polltape.capture.har_entry import Instants, parse_instant, read_entry, read_instants
from polltape.capture.notes import Notes, UnusableError
from polltape.errors import InputError
from polltape.exchange import Body, Exchange, Header

HARS = Path(__file__).parent / "hars"


def load(name: str) -> tuple[list[Exchange], Notes]:
    notes = Notes(name)
    return [exchange for exchange, _ in read_har(HARS / name, notes)], notes


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def entry(**changes: Any) -> dict[str, Any]:
    """A whole entry; ``request__x=…`` changes a field of the request."""
    made: dict[str, Any] = {
        "startedDateTime": "2026-01-01T00:00:00Z",
        "time": 10,
        "request": {"method": "GET", "url": "https://h.example/p", "headers": [], "bodySize": 0},
        "response": {"status": 200, "headers": [], "content": {"size": 2, "text": "{}"}, "bodySize": 2},
        "timings": {"send": 1, "wait": 2, "receive": 7},
    }
    for name, value in changes.items():
        *path, last = name.split("__")
        place = made
        for step in path:
            place = place[step]
        place[last] = value
    return made


def read(**changes: Any) -> Exchange:
    return read_entry(entry(**changes), "id")


def instants(timings: dict[str, Any] | None, **rest: Any) -> Instants:
    made = {"startedDateTime": "2026-01-01T00:00:00Z", **rest}
    return read_instants(made if timings is None else {**made, "timings": timings})


def micros(found: Instants) -> list[int | None]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [None if i is None else (i - start) // timedelta(microseconds=1) for i in found]


# ------------------------------------------------------------------------------------------ the tools


def test_chrome() -> None:
    exchanges, notes = load("chrome.har")
    put, reset, socket = exchanges
    assert (put.scheme, put.host, put.port, put.path) == (
        "https",
        "shop.example",
        443,
        "/admin/api/2020-01/checkouts/7e9a2c.json",
    )
    assert put.http_version == "HTTP/2.0"
    # 2.5000000001 + 0.008 + 31.25 blocked, dns, connect; ssl lies inside connect
    assert put.request_started_at == at("2026-03-01T10:00:00.156758")
    assert put.request_ended_at == at("2026-03-01T10:00:00.157158")
    assert put.response_started_at == at("2026-03-01T10:00:00.347283")
    assert put.response_ended_at == at("2026-03-01T10:00:00.353754")
    assert put.request_headers == (Header("content-type", "application/json"),)
    assert put.request_body == Body(28, 28, '{"checkout":{"name":"Zoë"}}'.encode())
    assert put.response_headers[2:] == (
        Header("set-cookie", "a=1; path=/"),
        Header("set-cookie", "b=2; path=/"),
    )
    assert put.response_body == Body(wire_size=None, size=15, content=b'{"checkout":{}}')
    assert (put.reason, put.error, put.client, put.client_address) == (None, None, None, None)
    assert put.server_address == "[2001:db8::7]"
    assert put.server_connection_id is None  # "443" is the port, no connection

    assert (reset.status, reset.error) == (None, "net::ERR_CONNECTION_RESET")
    assert reset.query == "x"
    assert reset.response_started_at is None
    assert reset.response_ended_at == at("2026-03-01T10:00:01.0125")
    assert reset.response_body == Body()

    assert (socket.scheme, socket.status, socket.port) == ("https", 101, 443)
    assert "secret" not in repr(socket)

    assert notes.skipped == 3
    assert [line.split(": ", 1)[1] for line in notes.warnings()] == [
        "1 entry left out: its URL is data:, no HTTP exchange (entry 3, counted from 0)",
        "1 entry left out: its URL is chrome-extension:, no HTTP exchange (entry 4, counted from 0)",
        "1 entry left out: its URL is blob:, no HTTP exchange (entry 5, counted from 0)",
    ]


def test_firefox() -> None:
    (post, image), notes = load("firefox.har")
    assert (post.host, post.port) == ("shop.example", 8443)
    assert post.request_started_at == at("2026-03-01T10:00:00.506")
    assert post.request_body.content == b"name=Jo+Doe&a%26b=1%2B1%3D2"
    assert post.response_body.content == b""
    assert post.http_version == "HTTP/2.0"
    assert image.response_body == Body(wire_size=5320, size=5120, not_stored="not in the HAR")
    assert image.request_body == Body(wire_size=0, size=0, content=b"")
    assert not notes.warnings()


def test_safari() -> None:
    (get, post), notes = load("safari.har")
    assert (get.path, get.query) == ("/na%C3%AFve/%C3%A9", "q=a%20b")
    assert get.request_started_at == at("2026-03-01T10:00:00.124000")  # .1239996, rounded
    assert (get.request_ended_at, get.response_started_at) == (None, None)  # send is unknown
    assert get.response_ended_at == at("2026-03-01T10:00:00.205500")
    assert get.response_body == Body(wire_size=25, size=21, not_stored="not in the HAR")
    assert get.request_body == Body()
    assert get.http_version is None
    assert get.server_address is None

    assert post.http_version == "HTTP/3"
    assert post.request_body == Body(not_stored="not in the HAR")  # -1: nobody knows
    assert post.response_body == Body(wire_size=0, size=0, content=b"")  # a 204 has none
    assert post.response_ended_at == at("2026-03-01T10:00:01.003")  # no time: the sum of the timings
    assert notes.warnings() == ("safari.har: 1 entry whose time names no zone: taken as UTC (entry 1, counted from 0)",)


def test_charles() -> None:
    (post,), _ = load("charles.har")
    assert post.request_started_at == at("2026-03-01T10:00:00.022")
    assert post.response_started_at == at("2026-03-01T10:00:00.223")
    assert post.response_ended_at == at("2026-03-01T10:00:00.251")
    assert post.request_body == Body(4, 4, b"caf\xe9")
    assert post.response_body == Body(4, 4, b"\x00\x01\x02\x03")
    # beyond one byte a character: UTF-8, one character for each of its bytes
    assert post.response_header("X-Name") == "naïve — dash".encode().decode("latin-1")


def test_mitmproxy() -> None:
    (put, gone), _ = load("mitmproxy.har")
    assert put.request_started_at == at("2026-03-01T10:00:00.133628")
    assert put.response_ended_at == at("2026-03-01T10:00:00.185172")
    assert put.request_header(":authority") is None
    assert put.response_body == Body(wire_size=33, size=13, content=b'{"status":1}\n')
    assert (gone.status, gone.error, gone.response_body) == (None, "server closed connection", Body())
    assert gone.request_ended_at == at("2026-03-01T10:00:01.0055")


def test_fiddler() -> None:
    (put, post, gone), notes = load("fiddler.har")  # with a byte order mark
    assert put.request_started_at == at("2026-03-01T10:00:00.168457")  # .1234567, rounded, + 12 dns + 33 connect
    assert put.request_ended_at == at("2026-03-01T10:00:00.169457")
    assert put.response_started_at == at("2026-03-01T10:00:00.349457")
    assert put.response_ended_at == at("2026-03-01T10:00:00.369457")
    assert put.request_body == Body(28, 28, '{"checkout":{"name":"Zoë"}}'.encode())
    assert put.response_body == Body(wire_size=35, size=15, content=b'{"checkout":{}}')
    assert [value for name, value in put.response_headers if name == "Set-Cookie"] == ["c=3; path=/; secure", "d=4"]
    assert (put.server_connection_id, put.server_address, put.reason) == ("50123", None, "Accepted")

    assert post.request_body == Body(19, 19, b"name=Jo+Doe&a%26b=1")  # the form is listed, never its text
    assert post.response_body == Body(wire_size=70000, size=70000, not_stored="not in the HAR")

    assert (gone.status, gone.error, gone.response_started_at, gone.http_version) == (
        None,
        "no response",
        None,
        "HTTP/1.1",
    )
    assert notes.warnings() == (
        "fiddler.har: 1 entry left out: it has no start time (entry 3, counted from 0)",  # the year 1
    )


def test_insomnia() -> None:
    (put, poll, unsent), notes = load("insomnia.har")
    assert {row.request_started_at for row in (put, poll, unsent)} == {at("2026-03-01T10:05:15.181")}  # of the export
    assert put.response_ended_at == at("2026-03-01T10:05:16.072566")
    assert put.request_body == Body(None, 33, '{\n\t"checkout": {"name": "Zoë"}\n}'.encode())
    assert put.response_body == Body(None, 15, b'{"checkout":{}}')
    assert [value for name, value in put.response_headers if name == "Vary"] == ["Origin", "Accept"]
    assert poll.request_body == Body()  # a GET without one
    assert poll.response_body == Body(None, 0, b"")
    assert (unsent.status, unsent.error) == (None, "no response")
    assert unsent.request_body == Body(not_stored="not in the HAR")  # "", and nobody knows of how many bytes
    assert put.server_address is put.server_connection_id is None
    assert not notes.warnings()


def test_playwright() -> None:
    put, aborted, api, image = load("playwright.har")[0]
    assert put.request_started_at == at("2026-03-01T10:00:00.131260")
    assert put.request_ended_at == put.request_started_at
    assert put.response_started_at == at("2026-03-01T10:00:00.300160")
    assert put.response_ended_at == at("2026-03-01T10:00:00.306520")
    assert put.http_version == "HTTP/2.0"
    assert put.response_body == Body(wire_size=35, size=15, content=b'{"checkout":{}}')
    assert put.server_address == "[2001:db8::7]:443"

    assert (aborted.status, aborted.error, aborted.query) == (None, "net::ERR_ABORTED", "poll=1")
    assert aborted.http_version is None  # HTTP/1.1 stands there as a filler
    assert (aborted.request_ended_at, aborted.response_started_at, aborted.response_ended_at) == (None, None, None)
    assert (aborted.request_body, aborted.response_body) == (Body(0, 0, b""), Body())

    assert api.http_version == "HTTP/2.0"  # the request's is a filler
    assert (api.request_ended_at, api.response_ended_at) == (None, None)
    assert api.request_body == Body(not_stored="not in the HAR")  # in a file beside the HAR
    assert api.response_body == Body(not_stored="not in the HAR")

    assert image.response_body == Body(wire_size=4, size=4, content=b"GIF8")


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode().replace(b'"x-note"', b'"\xff"'),
        lambda text: text.encode().replace(b'"x-note"', b'"\\ud800"'),
        lambda text: text.encode().replace(b'"x-note"', b"NaN"),
        lambda text: b"\r\n " + text.encode() + b"\n\n",
    ],
    ids=["BOM", "UTF-16", "no UTF-8", "half a surrogate pair", "NaN", "white space around"],
)
def test_what_tools_write_though_it_is_no_strict_json_is_read(tmp_path: Path, encode: Any) -> None:
    document = {"log": {"entries": [entry(comment="x-note"), entry(comment="other")]}}
    (tmp_path / "a.har").write_bytes(encode(json.dumps(document)))
    notes = Notes("a.har")
    assert len(list(read_har(tmp_path / "a.har", notes))) == 2
    assert notes.skipped == 0


def test_a_half_surrogate_pair_in_a_body_is_kept_as_bytes() -> None:
    assert read(response__content={"text": "\ud800"}).response_body.content == b"\xed\xa0\x80"


# ----------------------------------------------------------------------------------------- the instants


@pytest.mark.parametrize(
    ("timings", "time", "expected"),
    [
        ({"blocked": 1, "dns": 2, "connect": 4, "ssl": 3, "send": 8, "wait": 16, "receive": 32}, 63, [7, 15, 31, 63]),
        ({"blocked": -1, "dns": -1, "connect": -1, "send": 8, "wait": 16, "receive": 32}, 56, [0, 8, 24, 56]),
        ({"blocked": 1, "send": -1, "wait": 16, "receive": 32}, 60, [1, None, None, 60]),
        ({"blocked": 1, "send": 8, "receive": 32}, 60, [1, 9, None, 60]),
        ({"blocked": 1, "send": 8, "wait": 16}, None, [1, 9, 25, 25]),
        ({"blocked": 1, "send": 8, "wait": 16, "receive": 32}, None, [1, 9, 25, 57]),
        ({"blocked": 1, "send": 8, "wait": 16, "receive": 32}, -1, [1, 9, 25, 57]),
        ({"send": 8, "wait": 16, "receive": 32}, 500, [0, 8, 24, 500]),
        ({"send": None, "wait": "16"}, 60, [0, None, None, 60]),
        ({"send": True, "wait": 16}, 60, [0, None, None, 60]),
        ({"send": 1e300, "wait": 16}, 60, [0, None, None, 60]),
        ({"send": float("nan"), "wait": 16}, 60, [0, None, None, 60]),
        ({}, None, [0, None, None, None]),
        (None, None, [0, None, None, None]),
        (None, 60, [0, None, None, 60]),
        ({"send": 8, "wait": 16.0004, "receive": 0}, 24, [0, 8, 24, 24]),  # never ends before it started
    ],
)
def test_the_four_instants(timings: dict[str, Any] | None, time: float | None, expected: list[int | None]) -> None:
    found = micros(instants(timings, **({} if time is None else {"time": time})))
    assert found == [None if ms is None else ms * 1000 for ms in expected]


def test_instants_are_rounded_to_the_nearest_microsecond_once() -> None:
    assert micros(instants({"send": 0.0006, "wait": 0.0006, "receive": 0}, time=0.0012)) == [0, 1, 1, 1]
    assert micros(instants({"send": 0.1, "wait": 0.2, "receive": 0}, time=0.3)) == [0, 100, 300, 300]


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=6, max_size=6), st.integers(0, 999_999))
def test_sums_of_microseconds_are_exact(steps: list[int], offset: int) -> None:
    names = ("blocked", "dns", "connect", "send", "wait", "receive")
    timings = {name: step / 1000 for name, step in zip(names, steps, strict=True)}
    found = read_instants(
        {"startedDateTime": f"2026-01-01T00:00:00.{offset:06d}Z", "timings": timings, "time": sum(steps) / 1000}
    )
    assert micros(found) == [offset + sum(steps[:count]) for count in (3, 4, 5, 6)]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["blocked", "dns", "connect", "send", "wait", "receive"]), st.floats(-2, 1e6)),
    st.none() | st.floats(-2, 1e6),
)
def test_instants_never_go_backwards(timings: dict[str, float], time: float | None) -> None:
    found = [i for i in instants(timings, **({} if time is None else {"time": time})) if i is not None]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.1z", "2026-01-02T03:04:05.100"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123457"),
        ("2026-01-02T03:04:05,5+01:00", "2026-01-02T02:04:05.500"),
        ("2026-01-02T03:04:05.5-0330", "2026-01-02T06:34:05.500"),
        ("2026-01-02T03:04:05+14", "2026-01-01T13:04:05"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04", "2026-01-02T03:04:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250"),
        (" 2026-01-02T03:04:05Z ", "2026-01-02T03:04:05"),
    ],
)
def test_start_times_as_tools_write_them(text: str, utc: str) -> None:
    assert read_instants({"startedDateTime": text}).request_started == at(utc)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "٢٠٢٦-01-01T00:00:00Z",
        None,
        1767225600,
        {},
    ],
)
def test_no_time_no_row(text: object) -> None:
    with pytest.raises(UnusableError, match="it has no start time"):
        read(startedDateTime=text)


def test_a_time_beyond_the_calendar_is_no_time() -> None:
    with pytest.raises(UnusableError, match="beyond the calendar"):
        read(startedDateTime="9999-12-31T23:59:59Z", time=10_000)


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_any_instant_is_read_exactly(instant: datetime, minutes: int) -> None:
    aware = instant.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_instant(aware.isoformat()) == Fraction(expected)


# --------------------------------------------------------------------------------- what is missing or odd


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (7, "not an object"),
        (None, "not an object"),
        ([], "not an object"),
        ({}, "it has no request"),
        (entry(request={}), "it has no request method"),
        (entry(request__method=""), "it has no request method"),
        (entry(request__method="GET /x"), "it has no request method"),
        (entry(request__url=""), "it has no URL"),
        (entry(request__url=None), "it has no URL"),
        (entry(request__url="/relative"), "its URL is not absolute"),
        (entry(request__url="about:blank"), "its URL is about:, no HTTP exchange"),
        (entry(request__url="file:///etc/passwd"), "its URL is file:, no HTTP exchange"),
        (entry(request__url="https://"), "its URL has no usable host"),
        (entry(request__url="https://h:99999/"), "its URL has no usable port"),
        (entry(request__url="https://[::1/"), "its URL has no usable host"),
    ],
)
def test_an_entry_that_cannot_be_a_row_says_why(made: object, reason: str) -> None:
    with pytest.raises(UnusableError) as caught:
        read_entry(made, "id")
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h.example", ("https", "h.example", 443, "/", None)),
        ("HTTP://H.Example:80?", ("http", "h.example", 80, "/", "")),
        ("https://user:secret@h.example/p", ("https", "h.example", 443, "/p", None)),
        ("https://[2001:DB8::1]:8443/%2f?a=1?b#c?d", ("https", "2001:db8::1", 8443, "/%2f", "a=1?b")),
        ("ws://h.example/s", ("http", "h.example", 80, "/s", None)),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443, "/", None)),
    ],
)
def test_urls(url: str, expected: tuple[object, ...]) -> None:
    found = read(request__url=url)
    assert (found.scheme, found.host, found.port, found.path, found.query) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"size": 4, "text": "abcd"}, Body(9, 4, b"abcd")),
        ({"size": -1, "text": "abcd"}, Body(9, 4, b"abcd")),
        ({"size": 4}, Body(9, 4, None, not_stored="not in the HAR")),
        ({"size": 0}, Body(9, 0, None, not_stored="not in the HAR")),
        ({}, Body(9, None, None, not_stored="not in the HAR")),
        (None, Body(9, None, None, not_stored="not in the HAR")),
        ({"size": 7, "text": ""}, Body(9, 7, None, not_stored="not in the HAR")),
        ({"size": 0, "text": ""}, Body(9, 0, b"")),
        ({"text": "AA==", "encoding": "base64"}, Body(9, 1, b"\0")),
        ({"text": "A\nA==", "encoding": "BASE64"}, Body(9, 1, b"\0")),
        ({"text": "A", "encoding": "base64"}, Body(9, None, None, not_stored="unreadable base64 in the HAR")),
        ({"size": 9, "text": "abcd", "comment": "Response body is truncated."}, Body(9, 9, b"abcd", truncated=True)),
        ({"text": "é", "mimeType": "text/plain; charset=latin1"}, Body(9, 1, b"\xe9")),
        ({"text": "€", "mimeType": "text/plain; charset=latin1"}, Body(9, 3, "€".encode())),
        ({"text": "é", "mimeType": "text/plain; charset=idna"}, Body(9, 2, "é".encode())),
        ({"text": "é", "mimeType": "text/plain; charset=base64"}, Body(9, 2, "é".encode())),
        ({"text": "é", "mimeType": "text/plain; charset=x\x00y"}, Body(9, 2, "é".encode())),
    ],
)
def test_response_content(content: object, expected: Body) -> None:
    assert read(response__content=content, response__bodySize=9).response_body == expected


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        ({"bodySize": 5, "_transferSize": 900}, 5),
        ({"bodySize": -1, "content": {"size": 10, "text": "0123456789", "compression": 4}}, 6),
        ({"bodySize": -1, "_transferSize": 900, "headersSize": 100}, 800),
        ({"bodySize": -1, "_transferSize": 900, "headersSize": -1}, None),
        ({"bodySize": True}, None),
        ({"bodySize": "5"}, None),
    ],
)
def test_wire_size(fields: dict[str, Any], wire: int | None) -> None:
    assert read(response={"status": 200, "content": {"text": "{}"}, **fields}).response_body.wire_size == wire


@pytest.mark.parametrize(
    ("post", "size", "expected"),
    [
        ({"mimeType": "application/json", "text": "{}"}, 2, Body(2, 2, b"{}")),
        ({"mimeType": "application/json", "text": "{}"}, -1, Body(None, 2, b"{}")),
        ({"mimeType": "application/json", "text": ""}, 0, Body(0, 0, b"")),
        ({"mimeType": "application/json", "text": ""}, 8, Body(8, not_stored="not in the HAR")),
        ({"mimeType": "application/json", "text": ""}, -1, Body(not_stored="not in the HAR")),
        ({"mimeType": "application/json"}, 8, Body(8, not_stored="not in the HAR")),
        (None, 0, Body(0, 0, b"")),
        (None, None, Body(not_stored="not in the HAR")),
        (
            {"mimeType": "multipart/form-data; boundary=x", "params": [{"name": "f", "fileName": "a.txt"}]},
            8,
            Body(8, not_stored="not in the HAR"),
        ),
        ({"mimeType": "x/y", "text": base64.b64encode(b"\xff").decode(), "encoding": "base64"}, 1, Body(1, 1, b"\xff")),
    ],
)
def test_request_body(post: object, size: object, expected: Body) -> None:
    assert read(request__method="POST", request__postData=post, request__bodySize=size).request_body == expected


@pytest.mark.parametrize(
    ("version", "headers", "post", "nothing"),
    [
        ("HTTP/1.1", {}, None, True),
        ("http/1.0", {"Accept": "*/*"}, None, True),
        ("HTTP/1.1", {"Content-Length": "0"}, {"mimeType": "", "text": ""}, True),
        ("h2", {"content-length": "0"}, None, True),
        ("HTTP/1.1", {"Content-Length": "5"}, None, False),
        ("HTTP/1.1", {"Transfer-Encoding": "chunked"}, None, False),
        ("HTTP/1.1", {}, {"mimeType": "application/json", "text": ""}, False),
        ("h2", {}, None, False),
        (None, {}, None, False),
    ],
)
def test_headers_tell_that_a_request_has_no_body(
    version: str | None, headers: dict[str, str], post: object, nothing: bool
) -> None:
    listed = [{"name": name, "value": value} for name, value in headers.items()]
    found = read(
        request__method="POST",
        request__httpVersion=version,
        request__headers=listed,
        request__postData=post,
        request__bodySize=-1,
    ).request_body
    assert found == (Body(0, 0, b"") if nothing else Body(not_stored="not in the HAR"))


def test_a_missing_content_type_is_what_mime_type_says() -> None:
    content = {"text": "{}", "mimeType": "application/json; charset=utf-8"}
    assert read(response__content=content).response_headers == (
        Header("Content-Type", "application/json; charset=utf-8"),
    )
    assert read(response__content={"text": "{}", "mimeType": "x-unknown"}).response_headers == ()


def test_headers_in_every_shape() -> None:
    lines = [
        ["A", "1"],
        {"name": "B", "value": 2},
        {"name": "C"},
        {"name": "D", "value": None},
        {"value": "x"},
        "E: 5",
        7,
    ]
    assert read(response__headers=lines, response__content={}).response_headers == (
        Header("A", "1"),
        Header("B", "2"),
        Header("C", ""),
        Header("D", ""),
    )
    assert read(response__headers={"A": "1"}).response_headers == ()


@pytest.mark.parametrize(
    ("response", "status", "error"),
    [
        ({"status": 200}, 200, None),
        ({"status": "202"}, 202, None),
        ({"status": 202.0}, 202, None),
        ({"status": 0, "_error": "net::ERR_FAILED"}, None, "net::ERR_FAILED"),
        ({"status": -1, "_failureText": "aborted"}, None, "aborted"),
        ({"status": 0}, None, "no response"),
        ({"status": None}, None, "no response"),
        ({}, None, "no response"),
        (None, None, "no response"),
        ({"status": True}, None, "no response"),
        ({"status": 200, "_error": "net::ERR_ABORTED"}, 200, "net::ERR_ABORTED"),
        ({"status": 200, "_error": ""}, 200, None),
    ],
)
def test_status_0_is_an_error(response: object, status: int | None, error: str | None) -> None:
    found = read(response=response)
    assert (found.status, found.error) == (status, error)
    assert (found.response_started_at is None) == (status is None)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["status", "text", "name", "value", "size"]), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    st.sampled_from(
        [
            "startedDateTime",
            "time",
            "request",
            "response",
            "timings",
            "serverIPAddress",
            "connection",
            "_serverPort",
            "request__headers",
            "request__postData",
            "request__bodySize",
            "response__content",
            "response__headers",
            "response__status",
            "response__bodySize",
            "request__httpVersion",
            "request__url",
        ]
    ),
)
def test_no_value_in_any_place_breaks_the_reader(value: object, place: str) -> None:
    with contextlib.suppress(UnusableError):
        assert isinstance(read(**{place: value}), Exchange)


# ------------------------------------------------------------------------------------------------- ids


def test_ids_depend_on_the_entry_and_its_occurrence_and_on_nothing_else(tmp_path: Path) -> None:
    first, second = entry(), entry(time=11)

    def ids(*entries: dict[str, Any]) -> list[str]:
        path = tmp_path / "a.har"
        path.write_text(json.dumps({"log": {"entries": entries}}))
        return [exchange.exchange_id for exchange, _ in read_har(path, Notes("a"))]

    one, two, again = ids(first, second, first)
    assert len({one, two, again}) == 3
    turned = json.loads(json.dumps(dict(reversed(first.items()))))
    assert ids(second, turned, copy.deepcopy(first)) == [two, one, again]


def test_the_id_is_pinned() -> None:
    """It stands in reports and bundles: another way to make it would break them."""
    assert entry_id(entry(), Counter()) == "5cab90c23c8b583ccdc8ad237e1cdfa5"


# --------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a HAR file: it is empty"),
        (b"\xef\xbb\xbf \n", "not a HAR file: it is empty"),
        (b"<html></html>", "not a HAR file: no JSON at line 1, column 1 (Expecting value)"),
        (b'{"log": {"entries": [{}]', "not a HAR file: no JSON at line 1, column 25 (Expecting ',' delimiter)"),
        (b'{"log":\n {"entries": [}}', "not a HAR file: no JSON at line 2, column 15 (Expecting value)"),
        (b"[]", "not a HAR file: it is JSON without a list log.entries"),
        (b'{"log": {}}', "not a HAR file: it is JSON without a list log.entries"),
        (b'{"log": {"entries": {}}}', "not a HAR file: it is JSON without a list log.entries"),
        (b"[" * 200_000, "not a HAR file: its JSON is nested too deeply"),
    ],
)
def test_a_file_that_is_no_har_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.har"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_har(path, Notes("bad.har")))
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize("depth", [100, 900, 5000])
def test_a_deeply_nested_entry_harms_no_other(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.har"
    deep = "[" * depth + "]" * depth
    path.write_text(f'{{"log": {{"entries": [{json.dumps(entry())}, {{"x": {deep}}}]}}}}')
    notes = Notes("deep.har")
    assert len(list(read_har(path, notes))) == 1
    assert notes.skipped == 1
