"""What holds for every value: type and alphabet, equality across places, structure, stability."""

# ruff: noqa: E501 - a property stays on one line
from __future__ import annotations

import base64
import ipaddress
import json
import re
import string
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, quote
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from polltape.capture.keys import Key
from polltape.capture.pan import has_pan
from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Exchange, Header

KEY = Key.of(b"0123456789abcdef0123456789abcdef")
REDACTOR = Redactor(KEY)
SCRUBBER = REDACTOR._scrubber
ALNUM = string.ascii_letters + string.digits
TOKENS = st.text(ALNUM, min_size=6, max_size=40).filter(lambda t: not has_pan(t))
LONG = st.text(ALNUM, min_size=20, max_size=64).filter(lambda t: not has_pan(t))


def kinds(text: str) -> tuple[bool, bool, bool]:
    return (
        any(c in string.digits for c in text),
        any(c in string.ascii_lowercase for c in text),
        any(c in string.ascii_uppercase for c in text),
    )


def exchange(**values: Any) -> Exchange:
    return Exchange(
        "1", "POST", "https", "h", 443, values.pop("path", "/"), datetime(2026, 11, 5, tzinfo=UTC), **values
    )


def redact_json(value: object) -> Any:
    headers = (Header("Content-Type", "application/json"),)
    made = REDACTOR.redact(exchange(request_headers=headers, request_body=Body(content=json.dumps(value).encode())))
    return json.loads(made.request_body.content or b"")


# ------------------------------------------------------------------------------------------ pseudonyms


@given(TOKENS)
def test_text_keeps_length_and_kinds_of_character(token: str) -> None:
    made = REDACTOR.pseudonym(token)
    assert made != token
    assert len(made) == len(token)
    assert kinds(made) == kinds(token)
    assert made.isalnum()


@given(st.uuids(), st.booleans())
def test_a_uuid_stays_one(value: UUID, upper: bool) -> None:
    text = str(value).upper() if upper else str(value)
    made = REDACTOR.pseudonym(text)
    assert UUID(made).version == value.version
    assert UUID(made).variant == value.variant
    assert UUID(made) != value
    assert made == (made.upper() if upper else made.lower())
    assert UUID(made) == UUID(REDACTOR.pseudonym(str(value)))


@given(st.binary(min_size=4, max_size=32), st.booleans())
def test_hexadecimal_stays_so(value: bytes, upper: bool) -> None:
    text = value.hex().upper() if upper else value.hex()
    assume(not has_pan(text))
    made = REDACTOR.pseudonym(text)
    assert len(bytes.fromhex(made)) == len(value)
    assert made == (made.upper() if upper else made.lower())
    assert made.lower() == REDACTOR.pseudonym(value.hex())


@given(st.binary(min_size=9, max_size=60))
def test_base64_stays_so_in_either_alphabet_with_its_padding(value: bytes) -> None:
    plain = base64.b64encode(value).decode()
    assume(not has_pan(plain))
    # As Shopify's shpat_ does, small letters and '_' before a token stay: no telling them from base64 that begins so.
    assume(not re.match("[a-z]{2,6}_", base64.urlsafe_b64encode(value).decode()))
    made = REDACTOR.pseudonym(plain)
    assert len(base64.b64decode(made, validate=True)) == len(value)
    url_safe = REDACTOR.pseudonym(base64.urlsafe_b64encode(value).decode())
    assert url_safe == made.translate(str.maketrans("+/", "-_"))
    assert REDACTOR.pseudonym(plain.rstrip("=")) == made.rstrip("=")


@given(st.integers(-(10**25), 10**25))
def test_an_integer_stays_one_below_2_to_the_53(value: int) -> None:
    made = redact_json({"order_id": value})["order_id"]
    assert type(made) is int
    assert abs(made) < 2**53
    if abs(value) < 2**53 and not has_pan(str(abs(value))):
        assert len(str(made)) == len(str(value))
        assert (made < 0) == (value < 0)


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_short_numbers_never_share_a_pseudonym_and_none_is_its_own(digits: int) -> None:
    numbers = range(0 if digits == 1 else 10 ** (digits - 1), 10**digits)
    made = [SCRUBBER.pseudonyms.number(number) for number in numbers]
    assert sorted(made) == list(numbers)
    assert all(a != b for a, b in zip(numbers, made, strict=True))


@pytest.mark.parametrize("alphabet", ["0123456789abc", "ABCDEFG", "xyz09"])
def test_short_codes_never_share_a_pseudonym_and_none_is_its_own(alphabet: str) -> None:
    codes = [a + b + c for a in alphabet for b in alphabet for c in alphabet]
    made = [REDACTOR.pseudonym(code) for code in codes]
    assert len(set(made)) == len(codes)
    assert all(a != b for a, b in zip(codes, made, strict=True))


@given(st.integers(0, 2**53 - 1).filter(lambda n: not has_pan(str(n))))
def test_a_number_is_one_wherever_it_stands(number: int) -> None:
    made = redact_json({"order_id": number, "token": str(number), "cart": f"gid://shopify/Order/{number}"})
    assert made["token"] == str(made["order_id"])
    assert made["cart"] == f"gid://shopify/Order/{made['order_id']}"
    gid = base64.b64encode(f"gid://shopify/Order/{number}".encode()).decode()
    assert base64.b64decode(redact_json({"x": gid})["x"]).decode() == made["cart"]
    assert REDACTOR.redact(exchange(path=f"/orders/{number}.json")).path == f"/orders/{made['order_id']}.json"


@given(st.binary(min_size=12, max_size=40).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_a_token_is_one_wherever_it_stands_in_whatever_encoding(token: str) -> None:
    assume(not has_pan(token) and not token.startswith(("eyJ", "Z2lk")))
    escaped = quote(token, safe="")
    body = json.dumps(
        {"token": token, "url": f"https://h/checkouts/{escaped}?token={escaped}", "in": json.dumps({"token": token})}
    )
    escapes = "".join(f"\\u{ord(c):04x}" for c in token)
    redacted = REDACTOR.redact(
        exchange(
            path=f"/checkouts/{escaped}",
            query=f"token={escaped}&x[token]={token}",
            request_headers=(
                Header("X-Checkout-Queue-Token", token),
                Header("Cookie", f"_checkout_queue_token={escaped}"),
                Header("Content-Type", "application/json"),
            ),
            request_body=Body(content=body.encode()),
            response_headers=(Header("Content-Type", "application/json"),),
            response_body=Body(content=f'{{"token":"{escapes}"}}'.encode()),
        )
    )
    made = REDACTOR.pseudonym(token)
    again = quote(made, safe="")
    assert redacted.path == f"/checkouts/{again}"
    assert redacted.query is not None
    assert dict(parse_qsl(redacted.query)) == {"token": made, "x[token]": made}
    assert redacted.request_headers[0].value == made
    assert redacted.request_headers[1].value == f"_checkout_queue_token={again}"
    sent = json.loads(redacted.request_body.content or b"")
    assert sent["token"] == json.loads(sent["in"])["token"] == made
    assert sent["url"] == f"https://h/checkouts/{again}?token={again}"
    assert json.loads(redacted.response_body.content or b"") == {"token": made}


@given(LONG, LONG)
def test_two_tokens_are_two_pseudonyms(one: str, other: str) -> None:
    assert (REDACTOR.pseudonym(one) == REDACTOR.pseudonym(other)) == (one == other)


@given(st.text(max_size=60))
def test_whatever_text_it_is_it_has_a_pseudonym_of_no_card_number(text: str) -> None:
    assert not has_pan(REDACTOR.pseudonym(text))
    assert REDACTOR.pseudonym(text) == Redactor(KEY).pseudonym(text)


@given(st.sampled_from(["Bearer ", "Token token=", "shpat_", "gid://shopify/Checkout/"]), LONG)
def test_prefixes_stay_and_the_token_after_them_is_the_plain_one(prefix: str, token: str) -> None:
    assert REDACTOR.pseudonym(prefix + token) == prefix + REDACTOR.pseudonym(token)


# ---------------------------------------------------------------------------------------------- shapes


@given(st.emails())
def test_an_email_stays_one(email: str) -> None:
    assume(not has_pan(email))
    made = redact_json({"email": email, "x": {"note": email}})
    assert re.fullmatch(r"[a-z]{8}@redacted\.example", made["email"])
    assert made["x"]["note"] == made["email"]
    assert (
        redact_json({"email": email.swapcase()})["email"] == made["email"]
        or email.casefold() != email.swapcase().casefold()
    )


@given(
    st.text("0123456789()+- ", min_size=3, max_size=18).filter(lambda t: any(map(str.isdigit, t)) and not has_pan(t))
)
def test_a_phone_number_keeps_punctuation_and_number_of_digits(phone: str) -> None:
    made = redact_json({"phone": phone})["phone"]
    assert re.sub(r"\d", "0", made) == re.sub(r"\d", "0", phone)
    assert not has_pan(made)


@given(st.ip_addresses())
def test_an_address_stays_one_that_nobody_has(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    made = ipaddress.ip_address(redact_json({"browser_ip": str(address)})["browser_ip"])
    assert made.version == address.version
    assert made in ipaddress.ip_network("240.0.0.0/4" if made.version == 4 else "2001:db8::/32")
    assert REDACTOR.redact(exchange(client_address=str(address))).client_address == str(made)


@given(st.dates(), st.sampled_from(["%Y-%m-%d", "%d/%m/%Y", "%m.%d.%Y", "%Y%m%d"]))
def test_a_birthday_stays_a_day(day: date, form: str) -> None:
    written = day.strftime(form)
    assume(len(written) == len("2026-11-05") - (form == "%Y%m%d") * 2)
    made = redact_json({"birthday": written})["birthday"]
    assert made != written
    assert len(made) == len(written)
    datetime.strptime(made, form).replace(tzinfo=UTC)


@given(st.floats(-90, 90).map(lambda f: round(f, 5)))
def test_a_latitude_stays_one(value: float) -> None:
    made = redact_json({"latitude": value, "longitude": str(value)})
    assert type(made["latitude"]) is float
    assert -90 <= made["latitude"] <= 90


@given(st.text(string.printable, min_size=2, max_size=40).filter(lambda t: not has_pan(t)))
def test_a_name_keeps_its_shape(name: str) -> None:
    assume("@" not in name and not name.startswith(("{", "[")) and name.count(":") < 2 and name.count(".") < 3)
    made = redact_json({"last_name": name})["last_name"]
    pattern = [(str.isdigit, "0"), (str.islower, "a"), (str.isupper, "A")]

    def shape(text: str) -> str:
        return "".join(next((mark for is_, mark in pattern if is_(c)), c) for c in text)

    assert shape(made) == shape(name)
    if sum(map(str.isalnum, name)) > 0:
        assert made != name


@given(
    st.sampled_from(["email", "phone", "zip", "city", "dob", "browser_ip", "latitude", "user_agent"]),
    st.text(min_size=1),
)
def test_a_shape_of_a_shape_is_of_that_shape(name: str, value: str) -> None:
    once = redact_json({name: value})[name]
    twice = redact_json({name: once})[name]
    assert ("@" in once) == ("@" in twice)
    if name not in ("dob", "latitude"):  # a month's name, and degrees, may be of any length
        assert len(once) == len(twice)


# ------------------------------------------------------------------------------------------- structure

NAMES = st.sampled_from(
    [
        "token",
        "email",
        "password",
        "note",
        "order_id",
        "order",
        "card",
        "number",
        "month",
        "x",
        "items",
        "code",
        "query",
        "latitude",
    ]
) | st.text(max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30)
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


def structure(value: object) -> object:
    if isinstance(value, dict):
        return [structure(item) for item in value.values()]
    if isinstance(value, list):
        return ["list", *[structure(item) for item in value]]
    if isinstance(value, float):
        return "number"
    return "number" if type(value) is int else type(value).__name__


@settings(max_examples=300)
@given(DOCUMENTS)
def test_json_keeps_its_structure(document: Any) -> None:
    made = redact_json(document)
    assert structure(made) == structure(document)


@given(st.dictionaries(st.sampled_from(["token", "email", "x", "zip"]), st.text(max_size=20), min_size=1))
def test_a_form_keeps_its_names_and_their_order(fields: dict[str, str]) -> None:
    content = "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()
    headers = (Header("Content-Type", "application/x-www-form-urlencoded"),)
    made = REDACTOR.redact(exchange(request_headers=headers, request_body=Body(content=content))).request_body
    assert made.content is not None
    assert [name for name, _ in parse_qsl(made.content.decode(), keep_blank_values=True)] == list(fields)


@settings(max_examples=200)
@given(st.text(max_size=80), st.text(max_size=40), st.binary(max_size=80), st.sampled_from(["application/json", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "application/graphql"]))  # fmt: skip
def test_nothing_makes_it_fail(path: str, query: str, content: bytes, kind: str) -> None:
    wire = content.decode("latin-1")
    headers = (Header("Content-Type", kind), Header("Authorization", wire), Header("Cookie", wire), Header("X", wire))
    REDACTOR.redact(
        exchange(
            path=path,
            query=query,
            request_headers=headers,
            request_body=Body(content=content),
            client_address=query,
            error=path,
        )
    )
