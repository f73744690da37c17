"""Every short cut gives what the plain way gives: nothing is saved at the price of a secret."""

# ruff: noqa: E501 - pieces stand as they come
from __future__ import annotations

import json
import re
import string
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polltape.capture import pan, pseudonyms, scrub, standins
from polltape.capture.bodies import BodyScrubber, KnownBodies
from polltape.capture.keys import Key
from polltape.capture.pseudonyms import Pseudonyms
from polltape.capture.redaction import Redactor
from polltape.capture.scrub import Scrubber
from polltape.capture.scrub_json import MAX_NESTING
from polltape.capture.scrub_prose import named_values
from polltape.exchange import Body, Exchange, Header

SECRET = b"0123456789abcdef0123456789abcdef"
SCRUBBER = Redactor(Key.of(SECRET))._scrubber
ALNUM = string.ascii_letters + string.digits

PIECES = [
    "4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242", "4242\t424242424242", "42424242\u00a042424242",
    "378282246310005", "0000000000000", "1234567890123456789012345", "2026-11-23T08:00:00-05:00",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ6b2UifQ.x", "eyJ0b2tlbiI6ICJhYmMifQ==", "W3sidG9rZW4iOiAiYSJ9XQ==", "Z2lkOi8vc2hvcGlmeS9PcmRlci8x",
    "gid://shopify/Order/450789469", "gid://shopify/Product/1", "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", "shpat_", "shp",
    "Bearer ", "bearer abcdef1234567", "Basic em9lOmh1c2g=", "token ", "basic research",
    "https://u:p@h.example/checkouts/5cb4149503d186d8eec0ad2c4b9c6ea7?key=1&a=b#c", "http://", "https:", "http",
    "/carts/abcdef12345", "zoe@mail.example", "@", "a=b&c=d", "token=abcdef", "%40", "%34242424242424242", "?", "=", "&",
    '{"token":"abc"}', '["a"]', '"', "{", "[", " ", "  ", "\n", "\t", ".", ",", ";", ":", "-", "_", "+", "(", ")", "'", "*", "|",
    " 'Zq7rW3x' ", '"Zq7rW3x"', " k3jd8w0qpz7x ", " is ", " was ", "password", "Token", "--password ", "-u a:", "user_token",
    "cGFzc3dvcmQ9WnE3clczeEs5bVZiVDJwTCZhPTE=", "em9lQG1haWwuZXhhbXBsZS5vcmc", "for password", "is not a valid token", "->",
    "password=", "X-Api-Key: ", '"cvv": ', "'pin':", "<pin>", "</pin>", "note:", "ewogICJ0b2tlbiI6ICJhYmMiCn0=", "WyJhIl0=",
    "IHsidG9rZW4iOiAiYWJjZGVmIn0=", "CnsidG9rZW4iOiAiYWJjZGVmMSJ9", "&quot;", "&lt;", "&amp;", "<input name=\"token\" value=", "data-token=",
    "<key>token</key><string>", "\\/", "%5C", "%5Ccheckouts%5Cabcdef12345", "https:\\/\\/h.example\\/carts\\/abcdef12345", "user:token=", "\\", "/",
    "e", "W", "ey", "é", "４２４２４２４２４２４２４２４２", "\u200b", "\x00", "word", "Word", "x", "0", "7",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=7).map("".join)


@settings(max_examples=1500, deadline=None)
@given(TEXTS.filter(bool), st.sampled_from([0, 0, 0, 1, MAX_NESTING, MAX_NESTING + 1]))
@example("http4242424242424242", 0)
@example("https://h/4242424242424242", 0)
@example("https://h/%34242424242424242", 0)
def test_a_text(value: str, level: int) -> None:
    assert SCRUBBER.fresh_text(value, level) == SCRUBBER.searched_text(value, level)
    if len(value) > 5 and level == 0:
        assert SCRUBBER.texts[value] == SCRUBBER.searched_text(value, 0)


@settings(max_examples=1000, deadline=None)
@given(TEXTS | st.text("0123456789 -\tx:", max_size=60))
def test_card_numbers(text: str) -> None:
    assert pan.find_pans(text) == pan._searched(text)


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
def test_a_text_that_holds_a_named_value_is_suspect(text: str) -> None:
    assert scrub._SUSPECT.search(text) or SCRUBBER.telling.may(text) or not named_values(text, SCRUBBER)


@settings(max_examples=1000, deadline=None)
@given(TEXTS)
def test_the_condition_before_every_token(text: str) -> None:
    whole = scrub._TOKENS.pattern
    assert whole.startswith("(?<![A-Za-z0-9])(?:")
    plain = re.compile(whole.removeprefix("(?<![A-Za-z0-9])"), re.VERBOSE)
    spans = [(m.span(), m.lastgroup) for m in plain.finditer(text)]
    assert [(m.span(), m.lastgroup) for m in scrub._TOKENS.finditer(text)] == spans


@given(st.text(ALNUM, min_size=26, max_size=80) | st.binary(min_size=13, max_size=40).map(bytes.hex))
def test_a_token_of_letters_and_digits_alone(token: str) -> None:
    keyed = Pseudonyms(SECRET)
    folded, upper = pseudonyms._fold(token)
    made = keyed._hashed(folded, pseudonyms._template(folded))
    assert folded.isdigit() or keyed.text(token) == (made.upper() if upper else made)


@given(st.text(max_size=30))
def test_kinds_of_character(text: str) -> None:
    digit = any("0" <= c <= "9" for c in text)
    upper = any("A" <= c <= "Z" for c in text)
    lower = any("a" <= c <= "z" or c > "\x7f" for c in text)
    assert pseudonyms._kinds(text) == (digit, upper, lower)


@given(st.text(st.characters(max_codepoint=127), max_size=40) | st.text("0123456789.,a ", max_size=20), st.randoms())
def test_letters_by_tables(text: str, random: object) -> None:
    stream = random.randbytes(len(text))  # type: ignore[attr-defined]
    assert standins._ascii_letters(text, stream) == standins._any_letters(text, stream)


@pytest.mark.parametrize("end", ["", ".json", ".js", ".xml", ".html", ".JSON", ".png", ".", ".json.json", "json"])
@pytest.mark.parametrize("token", ["", "5cb4149503d186d8eec0ad2c4b9c6ea7", "a.b"])
def test_the_ending_of_a_path(token: str, end: str) -> None:
    match = re.fullmatch(r"(.+?)(\.(?:json|js|xml|html))", token + end, re.DOTALL)
    parts = (match[1], match[2]) if match else (token + end, "")
    assert SCRUBBER._segment(token + end) == SCRUBBER.pseudonym(parts[0]) + parts[1]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["token", "x", "email", "card", "id"]) | TEXTS, TEXTS, max_size=5), TEXTS)
def test_what_is_remembered_changes_nothing(document: dict[str, str], value: str) -> None:
    """The second time, and after other exchanges, an exchange is redacted as the first time by a new redactor."""
    headers = (Header("Content-Type", "application/json"), Header("X-Api-Key", value), Header("X-Note", value))
    exchange = Exchange(
        "1", "PUT", "https", "h", 443, f"/checkouts/{value}", datetime(2026, 11, 23, tzinfo=UTC),
        request_headers=headers, request_body=Body(content=json.dumps(document).encode()),
        response_headers=headers[:1], response_body=Body(content=json.dumps({"id": 1, **document}).encode()),
        client_address="192.0.2.1:4711",
    )  # fmt: skip
    first = Redactor(Key.of(SECRET)).redact(exchange)
    assert _WARM.redact(exchange) == _WARM.redact(exchange) == first


_WARM = Redactor(Key.of(SECRET))


def test_a_body_is_remembered_for_its_content_type_and_place_alone() -> None:
    known = KnownBodies(BodyScrubber(Scrubber(SECRET, Redactor(Key.of(SECRET))._scrubber.rules)))
    content, as_json, as_form = b'{"id":"a1"}', "application/json", "application/x-www-form-urlencoded"
    plain = known.body(content, [Header("Content-Type", as_json)])
    vault = known.body(content, [Header("Content-Type", as_json)], {"id": "drop"})
    form = known.body(b"token=abc", [Header("Content-Type", as_form)])
    assert (plain, vault) == (content, b'{"id":"polltape-dropped"}')
    assert known.body(content, [Header("Content-Type", as_json)]) == content
    assert form == known.body(b"token=abc", [Header("Content-Type", as_form)]) != b"token=abc"


DOCUMENTS = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["token", "x", "card", "email"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=1000, deadline=None)
@given(DOCUMENTS, st.booleans())
@example({"x": "4242424242424242", "y": "zoe@mail.example", "z": "W3sidG9rZW4iOiAiYSJ9XQ=="}, True)
@example({"x": " token", "y": ["[4242424242424242]", "Item 12"], "z": "4242 4242 4242 4242"}, True)
@example({"x": "ordinary", "4242424242424242": "zoe@mail.example", "variables": {"y": "Bearer abcdef1234567"}}, True)
def test_the_texts_of_a_document_together(document: object, ascii_only: bool) -> None:
    """Looked at together they give what each gives by itself."""
    content = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        made = SCRUBBER.json.body(content)
        patch.setattr(SCRUBBER.texts, "not_plain", lambda texts: range(len(texts)))
        assert SCRUBBER.json.body(content) == made


@settings(max_examples=1000, deadline=None)
@given(st.lists(TEXTS, max_size=8))
@example(["word", "\x00", "zoe@mail.example"])
@example(["4242424242", "424242"])
@example(["word", "eyJhIjoxfQ", "WyJ0b2tlbiIsMV0"])
@example(["password", "k3jd8w0qpz7x"])
def test_texts_that_are_told_together_to_hold_nothing(texts: list[str]) -> None:
    odd = set(SCRUBBER.texts.not_plain(texts))
    assert [text for place, text in enumerate(texts) if place not in odd and SCRUBBER.text(text) != text] == []


def test_what_is_told_together() -> None:
    """Else nothing would be saved."""
    ordinary = ["Item 12", "ACME-1-2", "2026-11-23T08:00:00-05:00", "e-mail", "Ice cream, Wool", "199.00"]
    assert list(SCRUBBER.texts.not_plain(ordinary)) == []
    assert list(SCRUBBER.texts.not_plain([*ordinary, "https://h.example/", "Item 12"])) == [6]
