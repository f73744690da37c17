"""Which bodies are stored, how, and why the others are not."""

# ruff: noqa: E501 - a message stays on one line
from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from polltape.capture.bodies import NOT_STORED, media_type
from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.capture.scrub_json import MAX_BYTES, MAX_DEPTH
from polltape.exchange import Body, Exchange, Header

REDACTOR = Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))
T0 = datetime(2026, 11, 5, tzinfo=UTC)


def redact(content: bytes | None, kind: str | None, redactor: Redactor = REDACTOR, **body: object) -> Body:
    headers = () if kind is None else (Header("content-type", kind),)
    sent = Body(content=content, **body)  # type: ignore[arg-type]
    exchange = Exchange("1", "POST", "https", "h", 443, "/", T0, request_headers=headers, request_body=sent)
    return redactor.redact(exchange).request_body


def depth(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"<p>", "text/html", "type"),
        (b"x", "text/plain", "type"),
        (b"{}\n{}", "application/x-ndjson", "type"),
        (b"\x89PNG", "image/png", "type"),
        (b"--b\r\n\r\nx\r\n--b--", "multipart/mixed; boundary=b", "type"),
        (b"a=b", None, "no-type"),
        (b"{} x", "", "no-type"),
        (b"x" * (MAX_BYTES + 1), None, "no-type"),
        (depth(MAX_DEPTH + 2), None, "too-deep"),
        (b"{", "application/json", "unparsed"),
        (b"{} x", "application/json", "unparsed"),
        (b"NaN", "application/json", "unparsed"),
        (b'"\xff"', "application/json", "unparsed"),
        (b'"\\ud800"', "application/json", "unparsed"),
        (b"{}", "application/json; charset=klingon", "unparsed"),
        (b'{"a":1,"a":2}', "application/json", "duplicate-keys"),
        (b'{"x":[{"a":1, "\\u0061":2}]}', "application/json", "duplicate-keys"),
        (b'{"x":{"a" :1,"a":2},"y":"\\":"}', "application/json", "duplicate-keys"),
        (depth(MAX_DEPTH + 2), "application/json", "too-deep"),
        (depth(100_000), "application/json", "too-deep"),
        (b"[" * 5_000_000, "application/json", "too-deep"),
        (b'"' + b"x" * MAX_BYTES + b'"', "application/json", "too-large"),
        (b"<x>=1\x00", "application/x-www-form-urlencoded", "unparsed"),
        (b"a=1\nb=2", "application/x-www-form-urlencoded", "unparsed"),
        (b"&" * 20_000, "application/x-www-form-urlencoded", "too-large"),
        (b"no parts", "multipart/form-data; boundary=b", "unparsed"),
        (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data", "unparsed"),
        (b"--b\r\n\r\ncut off", "multipart/form-data; boundary=b", "unparsed"),
        (b"--b\r\nnot a header\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b", "unparsed"),
        (b"hello", "application/graphql", "unparsed"),
        (b'{ a(b: "cut', "application/graphql", "unparsed"),
        (b"\xff{", "application/graphql", "unparsed"),
    ],
)
def test_what_is_not_stored_says_why_and_is_still_measured(content: bytes, kind: str | None, reason: str) -> None:
    assert reason in NOT_STORED
    made = redact(content, kind)
    assert (made.content, made.not_stored, made.size) == (None, reason, len(content))
    assert made.digest == REDACTOR.digest(content)


@pytest.mark.parametrize("kind", [None, "", " "])
def test_json_that_names_no_type_is_json(kind: str | None) -> None:
    made = redact(b' {"status": "pending", "password": "Zq7rW3xK9mVbT2pL"}', kind)
    assert json.loads(made.content or b"") == {"status": "pending", "password": DROPPED}
    assert redact(b"[1]", kind).content == b"[1]"


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b'{"cvv":"123"}', "application/json", b'{"cvv":"polltape-dropped"}'),
        (b'{"cvv":"123"}', 'Application/JSON;charset="UTF-8"', b'{"cvv":"polltape-dropped"}'),
        (b'{"cvv":"123"}', "application/vnd.api+json", b'{"cvv":"polltape-dropped"}'),
        (b'{"cvv":"123"}', "text/json", b'{"cvv":"polltape-dropped"}'),
        (b'\xef\xbb\xbf{"cvv":1}', "application/json", b'{"cvv":0}'),
        (b'{"x":"\xe9"}', "application/json; charset=iso-8859-1", b'{"x":"\xe9"}'),
        (b"null", "application/json", b"null"),
        (b'[{"cvv":1},2]', "application/json", b'[{"cvv":0},2]'),
        (b"4242424242424242", "application/json", b"0"),
        (b'"4242424242424242"', "application/json", b'"polltape-dropped"'),
        (depth(100), "application/json", depth(100)),
        (b"a=1&cvv=2\r\n", "application/x-www-form-urlencoded", b"a=1&cvv=polltape-dropped"),
        (b"a=caf\xe9&b", "application/x-www-form-urlencoded", b"a=caf%E9&b"),
        (b'{ a(cvv: "1", n: 5) # who\n }', "application/graphql", b'{ a(cvv: "polltape-dropped", n: 5) #\n }'),
        (b"", "text/html", b""),
    ],
)
def test_what_is_stored(content: bytes, kind: str, expected: bytes) -> None:
    made = redact(content, kind)
    assert (made.content, made.not_stored) == (expected, None)
    assert made.digest == REDACTOR.digest(content)


def test_a_body_that_is_unknown_has_no_digest() -> None:
    unknown = redact(None, "application/json", not_stored="streamed")
    assert (unknown.content, unknown.not_stored, unknown.digest) == (None, "streamed", None)
    assert redact(None, None, size=12).digest is None
    assert redact(None, None, size=0).digest == redact(b"", None).digest == REDACTOR.digest(b"")
    assert redact(None, None, digest="given").digest == "given"


def test_the_beginning_of_a_body_is_not_the_body() -> None:
    cut = redact(b'{"a": 1, "b', "application/json", truncated=True, size=400)
    assert (cut.content, cut.not_stored, cut.size, cut.digest) == (None, "truncated", 400, None)


def test_the_digest_is_of_the_body_as_it_was_sent() -> None:
    one, other = (redact(json.dumps({"cvv": cvv}).encode(), "application/json") for cvv in ("1", "2"))
    assert one.content == other.content
    assert one.digest != other.digest


def test_a_body_that_is_kept_unparsed_still_loses_what_can_be_seen() -> None:
    keeping = Redactor(Key.of(b"k" * 32), keep_unparsed=True)
    text = b'{"a": 4242424242424242, /checkouts/abcdefgh12345678?key=abc caf\xe9'
    made = redact(text, "application/json", keeping)
    assert made.not_stored is None
    assert made.content is not None
    assert made.content.endswith(f"?key={DROPPED} caf\xe9".encode("latin-1"))
    assert b"4242424242424242" not in made.content
    assert b"abcdefgh12345678" not in made.content
    assert redact(depth(999), "application/json", keeping).not_stored == "too-deep"


def test_multipart_keeps_its_form() -> None:
    content = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello there\r\n'
        + b'--b\r\nContent-Disposition: form-data; name="plain"\r\nAuthorization: Bearer abcdef123456\r\n\r\n4\r\n5\r\n'
        + b'--b\r\nContent-Disposition: form-data; name="f"; filename="anna.txt"\r\n\r\nsecret file\r\n'
        + b'--b\r\nContent-Disposition: form-data; name="payment_data"\r\nContent-Type: application/json\r\n\r\n{"x":"y"}\r\n'
        + b"--b--\r\n"
    )
    made = redact(content, "multipart/form-data; boundary=b").content or b""
    assert made.count(b"--b") == 5
    assert made.endswith(b"--b--\r\n")
    assert b'name="plain"\r\nAuthorization: Bearer ' in made
    assert b"\r\n\r\n4\r\n5\r\n--b" in made
    for secret in (b"hello", b"abcdef123456", b"anna", b"secret file", b'"y"'):
        assert secret not in made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ a }", "{ a }"),
        ("query Q($t: String!) { poll(token: $t) { token } }", "query Q($t: String!) { poll(token: $t) { token } }"),
        ("{ a(first: 10, ok: true, e: ENUM) @include(if: $x) { b } }", "{ a(first: 10, ok: true, e: ENUM) @include(if: $x) { b } }"),
        ('{ a(cvv: "1") }', '{ a(cvv: "polltape-dropped") }'),
        ('{ a(card: {number: "1", month: 7}) }', '{ a(card: {number: "polltape-dropped", month: 0}) }'),
        ('{ a(b: """x\\"""y""") }', None),
        ('{ a(b: "unterminated }', DROPPED),
    ],
)  # fmt: skip
def test_graphql_text(text: str, expected: str | None) -> None:
    made = json.loads(redact(json.dumps({"query": text}).encode(), "application/json").content or b"")["query"]
    if expected is None:
        assert made not in (text, DROPPED)
        assert made.startswith('{ a(b: "')
    else:
        assert made == expected


def test_a_search_is_no_graphql() -> None:
    assert redact(b'{"query":"blue shoes"}', "application/json").content == b'{"query":"blue shoes"}'


@pytest.mark.parametrize(
    "text",
    [
        "a" * 400_000, "/" * 400_000, "?a=" * 100_000, "1 2 3 4 5 6 7 8 9 " * 20_000, "@" * 200_000, "eyJ" * 100_000,
        "%25" * 100_000, '{"' * 100_000, '"' * 200_000, "gid://" * 50_000, "a.b-c+d" * 50_000, "Basic " * 50_000,
        "name=1&" * 9_000, "=" * 200_000, "Z2lkOi8v" * 40_000, "query {" + '"""' * 50_000, "{#" * 100_000,
    ],
)  # fmt: skip
def test_hostile_text_takes_bounded_time(text: str) -> None:
    begin = time.process_time()
    redact(
        json.dumps({"x": text, "query": text, "token": text, "email": text, "note": text}).encode(), "application/json"
    )
    assert time.process_time() - begin < 20


def test_media_types() -> None:
    headers = [Header("CONTENT-TYPE", 'Multipart/Form-Data; Boundary="a b"; x=1')]
    assert media_type(headers) == ("multipart/form-data", {"boundary": "a b", "x": "1"})
    assert media_type([]) == ("", {})
