"""Values that sentences and command lines tell beside their names."""

# ruff: noqa: E501 - sentences stand as they are written
from __future__ import annotations

import json
from base64 import b64encode

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.capture.scrub import Scrubber

REDACTOR = Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))
SCRUBBER: Scrubber = REDACTOR._scrubber
SECRET = "Zq7rW3xK9mVbT2pL"
TOKEN = "k3jd8w0qpz7xnv5m1r4t6y2u9abcde01"


@pytest.mark.parametrize(
    "text",
    [
        "password '{}' is invalid", 'password "{}" is invalid', "password `{}` is invalid", "password \u201c{}\u201d is invalid",
        "password ({}) is invalid", "the password is {}", "password {} was refused", "the password is '{}'",
        "Field 'password' with value '{}' is too short", "Invalid value '{}' for password",
        'Invalid value "{}" for the parameter password', "'{}' is not a valid password", "Value '{}' for field 'user.password' is wrong",
        "api key {} is not valid", "Invalid API key provided: {}", "security code '{}'", "verification code is {}",
        "login --password {} --verbose", "tool --x-shopify-hmac-sha256 {} --y", "login --password '{}'", "app --api-key\n{}", "curl -u zoe:{} https://h.example",
        "login, password - {}", "password -> {}", "password|{}|", "password\t{}", "user_password '{}'", "Key (password)=({}) exists",
        's:8:"password";s:16:"{}";', "$filter=password eq '{}'", "password\uff1a{}", '\\u0022password\\u0022:\\u0022{}\\u0022',
    ],
)  # fmt: skip
def test_a_secret_goes_by_the_name_beside_it(text: str) -> None:
    made = SCRUBBER.text(text.format(SECRET))
    assert SECRET not in made
    if "zoe:" not in text:  # a user's password: a pseudonym, as in Basic credentials
        assert made == text.format(DROPPED)


@pytest.mark.parametrize(
    "text",
    [
        "Token {} has expired", "token '{}' not found", '"{}" is not a valid token', "Checkout with token {} does not exist",
        "checkout {} not found", "cart_token eq '{}'", "Argument 'token' on Field 'checkout' has an invalid value (\"{}\").",
        "error_description=\"the token {} has expired\"", "tool --token {}",
    ],
)  # fmt: skip
def test_a_token_has_its_pseudonym(text: str) -> None:
    made = text.format(REDACTOR.pseudonym(TOKEN))
    assert SCRUBBER.text(text.format(TOKEN)) == made
    body = json.dumps({"message": text.format(TOKEN)}).encode()
    assert json.loads(SCRUBBER.json.body(body)) == {"message": made}


def test_personal_data_is_shaped() -> None:
    assert SCRUBBER.text("first name 'Zoe' is taken") == f"first name '{SCRUBBER.shapes.text('text', 'Zoe')}' is taken"
    assert "Lonu" not in SCRUBBER.text('Argument "email" has invalid value "Lonu".')
    assert "4915112345678" not in SCRUBBER.text("phone +4915112345678 is taken")


@pytest.mark.parametrize(
    "text",
    [
        "password: |\n  {}\nport: 1", "password: >-\n  {}", 'password = """{}"""', "<b>password</b>: {}", "<label>password</label><span>{}</span>",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", "('password', b'{}')", "{{'password': u'{}'}}",
        '{{"password":["{}"', '"a", "password", "{}"', "https:ada:{}@h.example/x", "https:/ada:{}@h.example/x",
    ],
)  # fmt: skip
def test_more_ways_to_write_a_value(text: str) -> None:
    assert SECRET not in SCRUBBER.text(text.format(SECRET))


@pytest.mark.parametrize(
    "text", ["['email', 'required']", "('password', 'email')", "'__code__', '__file__'", "{'key': [1, 2], 'a': [3]}"]
)
def test_lists_of_names_stay(text: str) -> None:
    assert SCRUBBER.text(text) == text


def test_an_id_in_json_inside_broken_json() -> None:
    made = SCRUBBER.text(f'got {{"a":"gid:\\/\\/shopify\\/Checkout\\/{TOKEN}"')
    assert made == f'got {{"a":"gid:\\/\\/shopify\\/Checkout\\/{REDACTOR.pseudonym(TOKEN)}"'


@pytest.mark.parametrize(
    "text",
    [
        'Bearer error_description="none", error="x"',
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON", "Unexpected token } in JSON at position 1234567890",
        "Line 12: unexpected token 'export'", "The token has expired at 2026-10-01T10:00:00Z", "password must be 8-72 characters",
        "Cannot query field 'email' on type 'Customer'.", "Field 'note' doesn't accept argument 'first'",
        "Argument 'token' on Field 'checkout' has an invalid value (null). Expected type 'ID!'.",
        "parameter \"token\" of type 'String!' is required", "Order #1001 not found", "Customer 12 items", "Your cart has 12345678 items",
        "Access token scope 'read_orders' is required", "Header 'X-Shopify-Access-Token' is missing",
        "The 'password' field is required when 'email' is present", "pin 1 of connector", "Cart was created 2026-11-23",
        "Product 'iPod Nano 8GB' is sold out", "discount code 'SUMMER2026' is not valid", "state 'CA', status 'pending'",
        "Too many requests, token bucket 40/40", "Use --token to log in; the --password option is needed", "retry after 12345678 ms",
        "Content-Type, Authorization, X-B3-TraceId", "job 5f2d0c1b-7c2e-4b9c-9d0e-6ad1f0f1c2d3 pending", "Blue T-Shirt 'Summer 2026'",
        "we pass 'size' and a note 'thin' to it", "signature SHA256withRSA is unsupported", "fields email, phone, x2abc456d are unknown",
    ],
)  # fmt: skip
def test_sentences_stay(text: str) -> None:
    assert SCRUBBER.text(text) == text


@pytest.mark.parametrize(
    "text", [f"a=1&password={SECRET}", f"https://h.example/cb?access_token={SECRET}", f"X-Trace: password={SECRET}"]
)
@pytest.mark.parametrize("around", ["{}", "state was {}, then", '{{"blob": "{}"}}'])
def test_base64_of_text_is_looked_into(text: str, around: str) -> None:
    coded = b64encode(text.encode()).decode()
    made = SCRUBBER.text(around.format(coded))
    clean = b64encode(text.replace(SECRET, DROPPED).encode()).decode()
    assert made.replace(" ", "") == around.format(clean).replace(" ", "")
    plain = around.format(b64encode(b"a cursor:1,b:2 of a list").decode())
    assert SCRUBBER.text(plain) == plain


@pytest.mark.parametrize("key", ["?key=ab", "?key=abc", "?key=abcd", ""])
def test_base64_alone_is_no_form_of_one_name(key: str) -> None:
    """What is made of it is padded as its own length asks."""
    coded = b64encode(f"gid://shopify/Checkout/{TOKEN}{key}".encode()).decode()
    clean = f"gid://shopify/Checkout/{REDACTOR.pseudonym(TOKEN)}{key and '?key=' + DROPPED}"
    assert SCRUBBER.text(coded) == b64encode(clean.encode()).decode() == REDACTOR.pseudonym(coded)
