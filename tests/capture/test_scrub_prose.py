"""Names and values inside free text."""

from __future__ import annotations

import json

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.capture.scrub import Scrubber
from polltape.capture.scrub_prose import named_values

REDACTOR = Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))
SCRUBBER: Scrubber = REDACTOR._scrubber
SECRET = "Zq7rW3xK9mVbT2pL"
TOKEN = "k3jd8w0qpz7xnv5m1r4t6y2u9abcde01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login failed for password={}, try again", "login failed for password=D, try again"),
        ("a=1&password={} was sent", "a=1&password=D was sent"),
        ("sent password: {} and more", "sent password: D and more"),
        ("password => '{}'", "password => 'D'"),
        ('bad input: {{"a": 1, "password": "{}"}}', 'bad input: {{"a":1,"password":"D"}}'),
        ('{{"a": 1, "password": "{}', '{{"a": 1, "password": "D'),
        ("{{'user': {{'password': '{}'}}}}", "{{'user': {{'password': 'D'}}}}"),
        ('{{"body": "{{\\"password\\":\\"{}\\"}}"', '{{"body": "{{\\"password\\":\\"D\\"}}"'),
        ("<login><password>{}</password></login>", "<login><password>D</password></login>"),
        ('<soap:Password Type="x">{}</soap:Password>', '<soap:Password Type="x">D</soap:Password>'),
        ("Cookie: a=1; sid={}; b=2", "Cookie: D"),
        ("user[password]={}", "user[password]=D"),
        ('sig="{}", keyId="a"', 'sig="D", keyId="a"'),
        ("SET `id`=1, `password`='{}'", "SET `id`=1, `password`='D'"),
        ("headers: {{ authorization: `Bearer {}` }}", "headers: {{ authorization: `D` }}"),
        ("Array\n(\n    [password] => {}\n)", "Array\n(\n    [password] => D\n)"),
        ("params['password'] = '{}'", "params['password'] = 'D'"),
        ('params["password"] = "{}"', 'params["password"] = "D"'),
    ],
)
def test_a_value_goes_by_its_name(text: str, expected: str) -> None:
    assert SCRUBBER.text(text.format(SECRET)) == expected.format().replace("D", DROPPED)


@pytest.mark.parametrize("text", ["X-Api-Key: {}", "token={} is unknown", 'see "token": "{}"', "token: {}, 5"])
def test_a_token_has_its_pseudonym(text: str) -> None:
    assert SCRUBBER.text(text.format(TOKEN)) == text.format(REDACTOR.pseudonym(TOKEN))


def test_a_card_is_known_by_what_stands_beside_it() -> None:
    assert SCRUBBER.text('"number": "4111", "cvv": "123"') == f'"number": "{DROPPED}", "cvv": "{DROPPED}"'
    assert SCRUBBER.text("order number: 1001") == "order number: 1001"


@pytest.mark.parametrize(
    "text",
    [
        "email: is invalid; password: can't be blank; token: expired",
        "state=ready code=200 key=order",
        "password: null, token=false",
        "processing;dur=25, db;dur=9",
        'a = b; c == d; x => y; <b>word</b> <p class="x">y</p>',
        "at 2026-11-05T12:00:01Z, ratio 3:4",
        "password=",
    ],
)
def test_prose_stays(text: str) -> None:
    assert SCRUBBER.text(text) == text


def test_a_word_right_behind_a_colon_is_a_value() -> None:
    """As in searches and in what programs print: ``first_name:Zoe``."""
    made = SCRUBBER.text("first_name:Zoe AND state:open, {Password:hunter FirstName:Zoe}, email: invalid")
    zoe = SCRUBBER.shapes.text("text", "Zoe")
    assert made == f"first_name:{zoe} AND state:open, {{Password:{DROPPED} FirstName:{zoe}}}, email: invalid"


def test_in_a_url_the_rules_of_urls_hold() -> None:
    text = f"GET https://h.example/carts/{TOKEN}/x?token={TOKEN}&a=1 gave token={TOKEN}"
    assert len(named_values(text, SCRUBBER)) == 1
    assert SCRUBBER.text(text) == text.replace(TOKEN, REDACTOR.pseudonym(TOKEN))


@pytest.mark.parametrize("spaces", ["", " ", "\n  "])
def test_base64_of_json_inside_text(spaces: str) -> None:
    from base64 import b64encode

    document = f'{{{spaces}"password":{spaces.strip()} "{SECRET}"}}'
    for text in ("state was {} then", "data:application/json;base64,{}", "a,{}"):
        made = SCRUBBER.text(text.format(b64encode(document.encode()).decode()))
        clean = json.dumps({"password": DROPPED}, separators=(",", ":"))
        assert made == text.format(b64encode(clean.encode()).decode())
