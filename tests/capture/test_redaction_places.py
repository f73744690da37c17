"""Secrets in places where nobody expects them, and in encodings that programs should not use."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.exchange import Body, Exchange, Header

REDACTOR = Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))
SECRET = "Zq7rW3xK9mVbT2pL"
TOKEN = "k3jd8w0qpz7xnv5m1r4t6y2u9abcde01"
PAN = "5555555555554444"
ADMIN = "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"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.abcdefsig_-x"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def redacted(**values: Any) -> Exchange:
    given = {"method": "POST", "host": "shop.example", "path": "/x", **values}
    method, host, path = given.pop("method"), given.pop("host"), given.pop("path")
    return REDACTOR.redact(Exchange("1", method, "https", host, 443, path, datetime(2026, 11, 5, tzinfo=UTC), **given))


def body(content: str | bytes, kind: str = JSON, **values: Any) -> Body:
    raw = content if isinstance(content, bytes) else content.encode()
    headers = (Header("Content-Type", kind),)
    return redacted(request_headers=headers, request_body=Body(content=raw), **values).request_body


def header(name: str, value: str) -> Header:
    return redacted(response_headers=(Header(name, value),)).response_headers[0]


def from_json(value: object) -> Any:
    return json.loads(body(json.dumps(value)).content or b"")


# ------------------------------------------------------------------------------ what is sent as a form


@pytest.mark.parametrize("indent", [None, 1])
def test_json_that_is_sent_as_a_form_is_json(indent: int | None) -> None:
    """``curl -d '{…}'`` says that it is a form."""
    sent = {"q": "a=b&c=d", "password": SECRET, "nested": {"token": TOKEN}}
    made = json.loads(body(json.dumps(sent, indent=indent), FORM).content or b"")
    assert made == {"q": "a=b&c=d", "password": DROPPED, "nested": {"token": REDACTOR.pseudonym(TOKEN)}}


def test_json_in_the_place_of_a_query_is_json() -> None:
    query = quote(json.dumps({"q": "a=b&c=d", "password": SECRET}), safe="=&")
    assert SECRET not in (redacted(query=query).query or "")


@pytest.mark.parametrize(
    "text",
    [
        f'<a x="1"><password>{SECRET}</password></a>',
        f"hello there password={SECRET}",
        '{"password":"' + SECRET + '","q":"a=b',
        f'a=1&{{"password":"{SECRET}"}}=2',
    ],
)
def test_what_is_no_form_is_not_stored_as_one(text: str) -> None:
    assert body(text, FORM) == Body(size=len(text), not_stored="unparsed", digest=REDACTOR.digest(text.encode()))


@pytest.mark.parametrize(
    "form", ["a=1&b[c][]=x y&d", "checkout[note]=", "a.b-c*~$:@!=1;e=2; f=3", "a+b=c", "%7Bx%7D=1"]
)
def test_a_form_is_stored(form: str) -> None:
    assert body(form, FORM).not_stored is None


# ------------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    "name", ["%70assword", "%2570assword", "%252570assword", "ｐassword", "pass\u200bword", "password%00"]
)
def test_a_name_is_known_however_it_is_encoded(name: str) -> None:
    assert SECRET not in (redacted(query=f"a=1&{quote(name, safe='%')}={SECRET}").query or "")


@pytest.mark.parametrize("name", ["ｐassword", "pass\u200bword", "password\0", " PASS_word "])
def test_a_name_in_json_is_known_however_it_is_written(name: str) -> None:
    assert list(from_json({name: SECRET}).values()) == [DROPPED]


@pytest.mark.parametrize(
    "query",
    [
        f"{PAN[:4]}+{PAN[4:8]}+{PAN[8:12]}+{PAN[12:]}",
        f"a&Bearer+{TOKEN}=1",
        f"a;password={SECRET};b",
        f"a; password={SECRET}",
    ],
)
def test_names_of_fields_and_semicolons(query: str) -> None:
    made = redacted(query=query).query or ""
    assert not [secret for secret in (query.split("=")[0].partition("&")[2] or query, SECRET, TOKEN) if secret in made]


@pytest.mark.parametrize(
    "path",
    ["/checkouts/./{}", "/checkouts/x/../{}", "/%2563heckouts/{}", "/checkouts/.//{}/complete", "/a/..//checkouts/{}"],
)
def test_a_path_is_read_as_servers_read_it(path: str) -> None:
    assert redacted(path=path.format(TOKEN)).path == path.replace("/x/", f"/{REDACTOR.pseudonym('x')}/").format(
        REDACTOR.pseudonym(TOKEN)
    )


def test_a_route_in_a_fragment_has_a_query() -> None:
    url = f"https://h.example/app#/carts/{TOKEN}?code={SECRET}&tab=2"
    assert (
        header("Location", url).value
        == f"https://h.example/app#/carts/{REDACTOR.pseudonym(TOKEN)}?code={DROPPED}&tab=2"
    )


# ------------------------------------------------------------------------------------- odd places


@pytest.mark.parametrize("secret", [PAN, ADMIN, JWT])
def test_the_names_of_headers_hosts_and_methods(secret: str) -> None:
    made = redacted(method=secret, host=f"{secret}.example", request_headers=(Header(secret, "1"),))
    assert not [text for text in (made.method, made.host, made.request_headers[0].name) if secret in text]
    assert secret not in json.dumps(from_json({"x": f"https://{secret}.example.com/y"}))


@pytest.mark.parametrize("name", ["GET", "M-SEARCH", "X-Request-Id", "Retry-After", "x-shopify-stage"])
def test_other_methods_and_names_stay(name: str) -> None:
    made = redacted(method=name, request_headers=(Header(name, "1"),))
    assert (made.method, made.request_headers[0].name, made.host) == (name, name, "shop.example")


@pytest.mark.parametrize("between", [", ", "\n", ",\n "])
def test_several_cookies_in_one_line(between: str) -> None:
    first = "a=1; Expires=Thu, 05 Nov 2026 12:00:00 GMT; Path=/"
    made = header("Set-Cookie", f"{first}{between}sid={SECRET}; Path=/; email=zoe; HttpOnly").value
    assert made == f"{first.replace('1', DROPPED, 1)}{between}sid={DROPPED}; Path=/; email={DROPPED}; HttpOnly"


def test_what_a_cookie_says_behind_a_semicolon() -> None:
    made = header("Set-Cookie", f'a="1;{SECRET}"; Secure; HttpOnly; Path=/; ').value
    assert made == f"a={DROPPED};{DROPPED}; Secure; HttpOnly; Path=/; "


def test_a_multipart_field_with_an_extended_name() -> None:
    content = f"--b\r\nContent-Disposition: form-data; name*=UTF-8''pass%77ord\r\n\r\n{SECRET}\r\n--b--\r\n"
    assert SECRET.encode() not in (body(content, "multipart/form-data; boundary=b").content or SECRET.encode())


def test_a_vault_with_a_slash_at_its_end() -> None:
    given = {
        "response_headers": (Header("Content-Type", JSON),),
        "response_body": Body(content=b'{"id":"' + SECRET.encode() + b'"}'),
    }
    assert redacted(path="/sessions/", **given).response_body.content == b'{"id":"polltape-dropped"}'


# ------------------------------------------------------------------------------------- pairs and GraphQL


@pytest.mark.parametrize(
    "pair",
    [
        {"Name": "X-Api-Key", "Value": TOKEN},
        {"property": "cart_token", "value": TOKEN},
        {"id": "token", "value": TOKEN},
        {"type": "token", "values": [TOKEN]},
        ["X-Api-Key", TOKEN],
    ],
)
def test_pairs_of_a_name_and_a_value(pair: object) -> None:
    made = from_json({"list": [pair]})
    assert json.dumps(made) == json.dumps({"list": [pair]}).replace(TOKEN, REDACTOR.pseudonym(TOKEN))


@pytest.mark.parametrize(
    "value",
    [[["email", "phone"]], {"required": ["email", "phone"]}, [["width", "5"]], [{"type": "email", "value": True}]],
)
def test_lists_of_names_are_no_pairs(value: object) -> None:
    assert from_json(value) == value


@pytest.mark.parametrize("name", ["user.password", "user[password]", "Cookie", "set-cookie"])
def test_names_that_are_paths_and_headers_that_a_body_repeats(name: str) -> None:
    assert from_json({"headers": {name: f"sid={SECRET}; Path=/"}}) == {"headers": {name: DROPPED}}


def test_graphql_variables_are_known_by_the_argument_they_are_for() -> None:
    query = "query Q($t: String!, $p: String, $n: Int) { checkout(token: $t, input: {phone: $p}) { id } x(first: $n) }"
    sent = {"variables": {"t": TOKEN, "p": "+1 502 555 0100", "n": 5, "other": "kept as it is"}, "query": query}
    made = from_json(sent)
    phone = from_json({"phone": "+1 502 555 0100"})["phone"]
    assert made["variables"] == {"t": REDACTOR.pseudonym(TOKEN), "p": phone, "n": 5, "other": "kept as it is"}
    assert list(made) == list(sent)
    assert made["query"] == query


@pytest.mark.parametrize(
    "fields",
    [
        {"query": "query($t: String!) { poll(token: $t) { id } }", "variables[t]": TOKEN},
        {"variables[t]": TOKEN, "query": "query($t: String!) { poll(token: $t) { id } }"},
        {"query": "query($t: String!) { poll(token: $t) { id } }", "variables": json.dumps({"t": TOKEN, "n": [1]})},
    ],
    ids=["form", "variables first", "JSON"],
)
def test_so_are_those_of_a_form_and_of_a_url(fields: dict[str, str]) -> None:
    sent = urlencode(fields)
    for made in ((body(sent, FORM).content or b"").decode(), redacted(query=sent).query or ""):
        found = {name: json.loads(value) if value[0] == "{" else value for name, value in parse_qsl(made)}
        other = fields["query"]
        token = REDACTOR.pseudonym(TOKEN)
        assert found in ({"query": other, "variables[t]": token}, {"query": other, "variables": {"t": token, "n": [1]}})


def test_variables_of_a_form_that_are_no_json_are_text() -> None:
    fields = {"query": "query($t: String!) { poll(token: $t) { id } }", "variables": "{t: 1}"}
    assert dict(parse_qsl(redacted(query=urlencode(fields)).query or "")) == fields


# ------------------------------------------------------------------------------------- one inside the other


@pytest.mark.parametrize("name", ["hmac", "sig", "signature", "access_token", "token", "cart"])
def test_a_query_as_programs_print_it_has_lists(name: str) -> None:
    made = from_json({"query": {name: [TOKEN], "a": ["b"]}, name: {"id": "kept"}, "code": ["THROTTLED"]})
    assert TOKEN not in json.dumps(made["query"])
    assert made["query"]["a"] == ["b"]
    assert made["code"] == ["THROTTLED"]


@pytest.mark.parametrize(
    "document", [{"a": {"password": [SECRET]}}, [{"name": "password", "value": SECRET}], ["a", {"pin": SECRET}]]
)
def test_a_document_inside_text(document: object) -> None:
    text = f"failed ({json.dumps(document)}) and [1] {{x}}"
    made = from_json({"message": text})["message"]
    assert SECRET not in made
    assert made.startswith("failed (")
    assert made.endswith(") and [1] {x}")


def test_an_error_that_is_json() -> None:
    error = f'["{{\\"a\\": 1, \\"password\\": [\\"{SECRET}\\"]}}", "b"] and b"{SECRET}"'
    assert SECRET not in (redacted(status=None, error=error).error or "")


@pytest.mark.parametrize("wraps", range(12))
def test_json_in_json_in_json(wraps: int) -> None:
    """What nests too deeply to be looked at is dropped."""
    text = json.dumps({"password": SECRET})
    for _ in range(wraps):
        text = json.dumps([text])
    made = redacted(query=f"p={quote(text)}", request_headers=(Header("X-A", text),))
    assert SECRET not in f"{made.query} {made.request_headers[0].value}"
    assert (DROPPED in made.request_headers[0].value) == (wraps > 0 or "password" in made.request_headers[0].value)


@pytest.mark.parametrize("path", ["/s/{}/e", "/s/x;a={}/e"])
def test_a_form_in_a_path(path: str) -> None:
    form = quote(f"z=1&p={quote(json.dumps({'a': 1, 'pin': SECRET})).replace('%20', '+')}", safe="")
    made = redacted(path=path.format(form)).path
    assert SECRET not in made
    assert made.startswith("/s/")


# ------------------------------------------------------------------------------- what must not get worse


@pytest.mark.parametrize(
    "text",
    [
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<input type="submit" name="commit" value="Save changes"><input name="quantity" value="2">',
        '<select name="state"><option value="CA" selected>California</option></select>',
        '<div id="phone" class="email">Call us</div><label for="email">Your e-mail</label>',
        '<input name="email" value=""><input type="email" placeholder="you">',
        "<th>City</th><th>Zip</th><td>3 &lt; 4 &amp; 5 &gt; 2</td>",
        "Tom &amp; Jerry &quot;live&quot; &#39;now&#39;",
        "<key>title</key><string>Blue shirt</string>",
        "C:\\Users\\shop\\report.csv and \\\\server\\share",
        "100% of 50%25 done, see %2Fa%2Fb",
        "ICAOCODESAREFOURLETTERS CSVEXPORTFINISHED DVDCOLLECTION",
        "Carts are counted; Discounts: none",
        "Only 3&nbsp;4 of 5&nbsp;& more",
    ],
)
def test_innocent_text_stays(text: str) -> None:
    assert from_json({"x": text}) == {"x": text}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "email", "content": "how to write one", "data": {"a": 1}},
        {"id": "token", "data": "expired"},
        {"key": "title", "value": "Blue shirt", "v": 2},
        {"name": "color", "content": "red", "val": "blue"},
        {"values": [1, 2], "v": "1.0"},
        {"k": "state", "v": "ready"},
        {"application/json": "yes", "a:b": "c", "/customers/email": {"get": "operation"}, "12:30": "x"},
        {"errors.base": ["is wrong"], "a|b": "c", "en:title": "Hello"},
    ],
)
def test_innocent_pairs_and_names_stay(value: dict[str, Any]) -> None:
    assert from_json(value) == value
    assert from_json([value]) == [value]


def test_innocent_fields_stay() -> None:
    query = "name=color&value=red&f[0][name]=size&f[0][value]=L&f[1][value]=token&a:b=c&v=1"
    assert redacted(query=query).query == query


def test_aliases_are_for_one_answer_only() -> None:
    """And hide nothing that has its own name."""
    sent = json.dumps({"query": "{ a: customer { b: email } phone: title c: id(x: $d) }"})
    headers = (Header("Content-Type", JSON),)
    answer = {"b": "word", "c": "other", "phone": "5024592181"}
    for content, changed in ((sent, {"b", "phone"}), ("{}", {"phone"})):
        made = redacted(
            request_headers=headers,
            request_body=Body(content=content.encode()),
            response_headers=headers,
            response_body=Body(content=json.dumps(answer).encode()),
        )
        found = json.loads(made.response_body.content or b"")
        assert {name for name in answer if found[name] != answer[name]} == changed


def test_a_value_in_markup_is_the_same_value() -> None:
    made = from_json({"token": TOKEN, "page": f'<input name="token" value="{TOKEN}">', "u": f"/checkouts\\{TOKEN}/x"})
    token = REDACTOR.pseudonym(TOKEN)
    assert made == {"token": token, "page": f'<input name="token" value="{token}">', "u": f"/checkouts\\{token}/x"}


@pytest.mark.parametrize(
    "text",
    [
        "<a " * 30_000,
        '<a b="' * 20_000,
        "<a " + "x" * 100_000,
        "<a " + "x " * 50_000,
        "<b>x</b>" * 15_000,
        "&lt;" * 25_000,
    ],
)
def test_markup_takes_time_in_proportion(text: str) -> None:
    began = time.process_time()
    from_json({"x": text})
    assert time.process_time() - began < 5


@pytest.mark.parametrize("around", ["{}", "<td>{}</td>&nbsp;<td>x</td>"])
def test_a_card_number_with_blanks_of_markup(around: str) -> None:
    card = "&nbsp;".join(PAN[place : place + 4] for place in range(0, 16, 4))
    assert from_json({"x": around.format(card)}) == {"x": around.format(DROPPED)}


def test_a_header_with_x_before_its_name_is_that_header() -> None:
    assert header("X-Access-Token", SECRET).value == DROPPED
    assert header("X-Customer-Id", TOKEN).value == REDACTOR.pseudonym(TOKEN)
    assert header("X-Email", "zoe@mail.example").value.endswith("@redacted.example")
    assert header("X-Request-Id", SECRET).value == SECRET
    assert from_json({"sent": {"X-Access-Token": SECRET}}) == {"sent": {"X-Access-Token": DROPPED}}


@pytest.mark.parametrize("name", ["code", "state", "key"])
def test_random_letters_are_no_word(name: str) -> None:
    for secret in ("eWuPdkxGHSCRpVHeLm", "kjwqpzmvnbtrhgdfslxcyoaei", "QXZKJWPTBNMLRHGDVSFCYO"):
        assert from_json({name: secret}) == {name: DROPPED}
    for word in (
        "THROTTLED",
        "InvalidRequest",
        "HTTPError",
        "iOS",
        "PaymentMethodNotSupportedError",
        "not found",
        "429",
    ):
        assert from_json({name: word}) == {name: word}


def test_random_letters_behind_a_colon_are_no_prose() -> None:
    secret = "eWuPdkxGHSCRpVHeLm"
    assert secret not in from_json({"message": f"got token: {secret} then"})["message"]
    for text in ("email: invalid", "Token: expired", "password: TooShort", "email: ungültig"):
        assert from_json({"message": text}) == {"message": text}


def test_names_and_values_in_turns() -> None:
    lines = ["Authorization", f"Bearer {SECRET}", "Accept", "text/plain", "X-Api-Key", SECRET, "odd"]
    made = from_json({"rawHeaders": lines})["rawHeaders"]
    assert SECRET not in "".join(made)
    assert made[::2] == lines[::2]
    assert made[3] == "text/plain"
    assert from_json({"path": ["customer", "email", "token"]}) == {"path": ["customer", "email", "token"]}


@pytest.mark.parametrize("name", ["giftCardCodes", "gift_card_number", "gift_card_pin", "epin", "redemption_code"])
def test_gift_cards_and_codes_to_redeem(name: str) -> None:
    assert from_json({name: [SECRET], "in": {name: SECRET}}) == {name: [DROPPED], "in": {name: DROPPED}}
    query = f'mutation($c: [String!]) {{ a({name}: ["{SECRET}"]) {{ id }} b({name}: $c) {{ id }} }}'
    assert SECRET not in json.dumps(from_json({"query": query, "variables": {"c": [SECRET]}}))


# ---------------------------------------------------------------- compound names, lists, and what is a word


@pytest.mark.parametrize(
    "name",
    [
        *("user_password", "customerPassword", "newPassword2", "db.password", "userpassword", "password_hash"),
        *("ACME_API_KEY", "billing-access-token", "verification_value2", "passwordConfirmation", "dbPwd", "otp"),
        *("secret_key", "aws_secret_access_key", "shipping_first_name", "backup_email", "email_address"),
    ],
)
def test_a_name_that_ends_with_a_listed_one_is_treated_as_it(name: str) -> None:
    assert SECRET not in str(from_json({"a": {name: SECRET}}))
    assert SECRET not in (redacted(query=f"{name}={SECRET}").query or "")
    assert SECRET not in (body(f"{name}={SECRET}", FORM).content or b"").decode()
    assert SECRET not in header(f"X-{name}", SECRET).value
    assert SECRET not in from_json({"log": f"{name}={SECRET}"})["log"]


@pytest.mark.parametrize(
    "value",
    [
        {"payment_state": "waiting"},
        {"order_number": 1001},
        {"error_code": "E4711x9"},
        {"cache_expiry": "2026-11-05T00:00:00Z"},
        {"max_tokens": 512, "token_count": 3, "password_changed_at": "2026-11-05"},
        {"primary_key": "sku-4711-b"},
        {"x_api_key_id": "k1"},
        {"release_note": "Faster.", "has_password": True, "emailed_at": "2026-11-05", "phones_sold": 4},
    ],
)
def test_names_that_only_hold_a_listed_word_stay(value: dict[str, Any]) -> None:
    assert from_json(value) == value


@pytest.mark.parametrize(
    "value",
    [
        ["password", SECRET, 1],
        ["a", "b", "password", SECRET],
        ["tool", "--password", SECRET, "-v"],
        ["tool", "--password", "correct", "-v"],
        {"rows": [["password", SECRET, 1]]},
        {"names": ["a", "password"], "values": ["1", SECRET]},
        {"keys": ["user_password"], "vals": [SECRET]},
        {"columns": ["id", "password"], "rows": [[1, SECRET], [2, SECRET]]},
        {"columns": [{"name": "id"}, {"name": "password"}], "data": [[1, SECRET]]},
        {"name": "password", "text": SECRET},
        {"field": "password", "rejectedValue": SECRET},
        {"field": ["customer", "password"], "value": SECRET},
        {"loc": ["body", "password"], "input": SECRET},
        {"op": "replace", "path": "/user/password", "value": SECRET},
        {"hmac": {"value": SECRET}},
        {"sig": {"#text": SECRET}},
        {"code": [SECRET]},
        {"state": {"value": SECRET}},
    ],
)
def test_values_told_by_names_in_other_places_go(value: Any) -> None:
    sent = json.dumps(value)
    made = json.dumps(from_json(value))
    secret = "correct" if "correct" in sent else SECRET
    assert secret not in made
    assert len(made.split(",")) == len(sent.split(","))


@pytest.mark.parametrize(
    "value",
    [
        ["password", "email", "status"],
        {"required": ["email", "password", "label"]},
        {"columns": ["id", "email"], "rows": 2},
        {"names": ["id", "status"], "values": [1, "pending"]},
        {"fields": ["id", "email"], "data": [1]},
        {"get": {"path": "/customers/email", "content": "operation"}},
        {"key": {"value": "pending", "unit": "s"}},
    ],
)
def test_lists_of_names_are_no_values(value: Any) -> None:
    assert from_json(value) == value


def test_a_part_names_what_stands_in_another() -> None:
    def part(name: str, value: str) -> str:
        return f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'

    sent = part("name", "password") + part("value", SECRET) + part("note2", "x") + "--B--\r\n"
    made = (body(sent, "multipart/form-data; boundary=B").content or b"").decode()
    assert SECRET not in made
    assert part("name", "password") in made
    kept = part("name", "colour") + part("value", "blue") + "--B--\r\n"
    assert body(kept, "multipart/form-data; boundary=B").content == kept.encode()


@pytest.mark.parametrize(
    "word",
    [
        "PAYMENT_PROVIDER_TEMPORARILY_UNAVAILABLE",
        "waiting_for_inventory_reservation_confirmation",
        "waitingforinventoryreservationconfirmation",
        "INSUFFICIENTINVENTORYAVAILABLE",
        "InventoryReservationStillPending",
        "requires-customer-authentication",
        "customer.subscription.trial_will_end",
        *("ECONNRESET", "EHOSTUNREACH", "NXDOMAIN", "THROTTLED", "USD", "de_DE", "TXN_DECL", "XSMLKT"),
    ],
)
def test_long_words_are_kept_under_code_state_and_key(word: str) -> None:
    value = {"code": word, "state": word, "key": word, "codes": [{"code": [word]}]}
    assert from_json(value) == value


@pytest.mark.parametrize(
    "letters",
    [
        "qzmvkxjwtgbpfhd",
        "xkqvhtzwplmdgjrb",
        "XKQVHTZWPLMDGJRBNCFS",
        "hvqkw_zxtpl_mdgjr_bncfs",
        "kzxqwv.hjtbdm.gpfxkq",
        "AbqXkzvWqpTgbZxkvQhj",
        "QWXZK-HJVTB-DMGPF",
    ],
)
def test_random_letters_are_no_words(letters: str) -> None:
    assert letters not in str(from_json({"code": letters, "state": [letters], "key": letters}))


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (f"tool --password={SECRET} -v", f"tool --password={DROPPED} -v"),
        (f"<a><password><![CDATA[{SECRET}]]></password></a>", f"<a><password><![CDATA[{DROPPED}]]></password></a>"),
        ("tool --colour=blue <b><![CDATA[x]]></b>", "tool --colour=blue <b><![CDATA[x]]></b>"),
    ],
)
def test_options_of_programs_and_cdata(text: str, made: str) -> None:
    assert from_json({"log": text}) == {"log": made}


# -------------------------------------------------------------- names spelled out, lists, and what is inside a path


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/api/checkouts/v1/{}", "/api/checkouts/{}/"),
        ("/orders/name/{}", "/orders/{}/"),
        ("/gid://shopify/Cart/{}", ""),
        ("/proxy/https://h.example/checkouts/{}", "/proxy/https://h.example/checkouts/"),
        ("/customers/{}/orders.json", "/customers/"),
        ("/api/v1/sessions/{}/events", "/api/v1/sessions/"),
        ("/oauth/tokens/{}", "/oauth/tokens/"),
        ("/v1/payment_sessions/{}", "/v1/payment_sessions/"),
    ],
)
def test_a_token_further_on_in_a_path(path: str, kept: str) -> None:
    made = redacted(path=path.format(TOKEN)).path
    assert REDACTOR.pseudonym(TOKEN) in made
    assert TOKEN not in made
    assert made.startswith(kept.partition("{}")[0])


def test_a_users_password_in_a_url_inside_a_path() -> None:
    assert redacted(path=f"/proxy/https://ada:{SECRET}@h.example/x").path == "/proxy/https://h.example/x"


@pytest.mark.parametrize(
    "path",
    [
        *("/customers/me", "/customers/search.json", "/orders/count.json", "/checkouts/v1"),
        *("/sessions/new", "/sessions/v2/list", "/tokens/revoke", "/orders/partially_fulfilled", "/carts/update"),
    ],
)
def test_words_of_a_path_stay(path: str) -> None:
    assert redacted(path=path).path.startswith(path[:10])
    assert path == "/checkouts/v1" or redacted(path=path).path == path


def test_a_customers_id_is_the_same_in_a_path_and_in_a_body() -> None:
    made = from_json({"customer_id": 207119551, "ids": {"customer_ids": [207119551]}})
    assert redacted(path="/admin/customers/207119551.json").path == f"/admin/customers/{made['customer_id']}.json"
    assert made["ids"]["customer_ids"] == [made["customer_id"]]


def test_a_webhooks_topic_stays() -> None:
    assert header("X-Shopify-Topic", "orders/create").value == "orders/create"
    assert from_json({"webhook": {"topic": "checkouts/update"}}) == {"webhook": {"topic": "checkouts/update"}}


@pytest.mark.parametrize("name", ["session", "sessions", "payment_session"])
def test_the_id_of_a_session_is_what_its_path_has(name: str) -> None:
    made = from_json({name: [{"id": TOKEN, "state": "open"}], "m": f"session {TOKEN} not found"})
    token = REDACTOR.pseudonym(TOKEN)
    assert made == {name: [{"id": token, "state": "open"}], "m": f"session {token} not found"}
    assert redacted(path=f"/sessions/{TOKEN}").path == f"/sessions/{token}"


@pytest.mark.parametrize("name", ["default_address", "shippingAddress", "addresses"])
def test_the_lines_of_an_address_are_shaped(name: str) -> None:
    made = from_json(
        {name: [{"formatted": [SECRET, "Berlin"], "formattedArea": SECRET}], "price": {"formatted": "$ 10"}}
    )
    assert SECRET not in json.dumps(made)
    assert (len(made[name][0]["formatted"]), made["price"]) == (2, {"formatted": "$ 10"})


def test_a_payment_token_is_a_token_and_an_object() -> None:
    sent = {"paymentToken": TOKEN, "payment_token": {"payment_data": SECRET, "type": "apple_pay"}}
    made = {"paymentToken": REDACTOR.pseudonym(TOKEN), "payment_token": {"payment_data": DROPPED, "type": "apple_pay"}}
    assert from_json(sent) == made


def test_a_name_beside_a_cards_fields_is_on_the_card() -> None:
    assert "Zoe" not in str(from_json({"card": {"name": "Zoe Ray", "exp_month": 7}}))
    made = redacted(query="card[name]=Zoe&card[cvc]=123&product[name]=Shirt").query or ""
    assert "Zoe" not in made
    assert made.endswith("product[name]=Shirt")


@pytest.mark.parametrize("name", ["ip", "source_ip", "remoteAddress"])
def test_addresses_of_who_asked(name: str) -> None:
    made = from_json({name: "81.196.210.244", "log": f"{name}=81.196.210.244; shipping, tip=5", "zip_files": 3})
    assert "81.196" not in json.dumps(made)
    assert made["log"].endswith("; shipping, tip=5")


@pytest.mark.parametrize(
    "errors",
    [
        {"email": ["has already been taken"], "password": ["is too short (minimum is 8 characters)"]},
        {"customer": {"phone": ["can't be blank", "The phone field is required."]}, "first_name": "is invalid"},
        {
            "email": ["Enter a valid email address.", "This field may not be blank.", "Required"],
            "zip": "Must be 5 digits",
        },
        {"checkout": {"email": [{"code": "invalid", "message": "is invalid", "options": {}}]}},
    ],
)
@pytest.mark.parametrize("name", ["errors", "error"])
def test_what_is_wrong_with_a_field_is_told_by_its_name(errors: object, name: str) -> None:
    assert from_json({name: errors}) == {name: errors}


@pytest.mark.parametrize(
    "value", ["Zoe Ray", "5024592181 is invalid", f"is {SECRET}", "hunter is too short", "zoe", "May Ray"]
)
def test_but_no_value(value: str) -> None:
    made = json.dumps(from_json({"errors": {"password": [value, {"code": "x", "message": value}], "phone": value}}))
    assert value not in made
    assert from_json({"password": ["is too short"], "note": "has a dog"}) != {"password": "x", "note": "has a dog"}
    assert "too short" not in json.dumps(from_json({"errors": {}, "password": ["is too short"]}))


def test_until_when_a_token_is_valid_stays() -> None:
    until = "2026-12-01T00:00:00Z"
    made = from_json({"customerAccessToken": {"accessToken": SECRET, "expiresAt": until}})
    assert made == {"customerAccessToken": {"accessToken": DROPPED, "expiresAt": until}}
    assert until not in str(from_json({"dob": {"value": until}, "card": {"expiry": {"at": until}}, "token": until}))


@pytest.mark.parametrize("name", ["passwords", "accessTokens", "api_keys", "secrets", "tokens", "OrderIds"])
def test_lists_under_the_plural_of_a_name(name: str) -> None:
    made = from_json({name: [SECRET, "word", 12, {"a": "b"}]})
    assert SECRET not in json.dumps(made)
    assert made[name][1:2] + made[name][3:] == ["word", {"a": "b"}]


@pytest.mark.parametrize("name", ["phones", "phone_numbers", "tokens", "apiKeys"])
def test_an_object_under_the_plural_of_a_name(name: str) -> None:
    made = from_json({name: {"first": SECRET, "more": [SECRET], "count": 12, "in": {"a": "b"}}})
    assert SECRET not in json.dumps(made)
    assert (made[name]["count"], made[name]["in"]) == (12, {"a": "b"})


@pytest.mark.parametrize(
    "value",
    [
        {"tokens": 512},
        {"tokens": {"type": "bearer", "expires_in": 3600}},
        {"total_tokens": 512, "keys": ["a1b2c3d4e5f6a7b8"]},
        {"notes": ["x1"]},
    ],
)
def test_innocent_plurals(value: object) -> None:
    assert from_json(value) == value


@pytest.mark.parametrize(
    "name", ["user_code", "verificationCode", "csrfmiddlewaretoken", "clientsecret", "SAMLResponse", "pass"]
)
@pytest.mark.parametrize("kind", [FORM, JSON])
def test_more_names_of_secrets(name: str, kind: str) -> None:
    sent = json.dumps({name: SECRET}) if kind == JSON else f"a=1&{name}={SECRET}"
    assert SECRET.encode() not in (body(sent, kind).content or b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-WebSocket-Protocol", "access_token, {}"),
        ("X-Forwarded-Cookie", "a={}; b=1"),
        ("DPoP", "{}"),
        ("X-Auth", "{}"),
    ],
)
def test_more_headers_with_tokens(name: str, value: str) -> None:
    made = header(name, value.format(TOKEN)).value
    assert TOKEN not in made
    assert header("Sec-WebSocket-Protocol", "graphql-transport-ws").value == "graphql-transport-ws"


@pytest.mark.parametrize(
    ("pair", "key"),
    [
        ({"column": "password", "before": SECRET, "after": "x"}, "before"),
        ({"attribute": "password", "from": "x", "to": SECRET}, "to"),
        ({"display_name": "Password", "display_value": SECRET}, "display_value"),
        ({"kind": "token", "value": SECRET}, "value"),
        ({"instancePath": "/customer/password", "keyword": "pattern", "data": SECRET}, "data"),
    ],
)
def test_more_pairs(pair: dict[str, str], key: str) -> None:
    assert SECRET not in from_json([pair])[0][key]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("{ me: customer { pw: password } }", "application/graphql"),
        (
            '--B\r\nContent-Disposition: form-data; name="operations"\r\n\r\n'
            '{"query":"{ me: customer { pw: password } }"}\r\n--B--\r\n',
            "multipart/form-data; boundary=B",
        ),
    ],
)
def test_aliases_of_a_query_that_is_no_json(content: str, kind: str) -> None:
    made = redacted(
        request_headers=(Header("Content-Type", kind),),
        request_body=Body(content=content.encode()),
        response_headers=(Header("Content-Type", JSON),),
        response_body=Body(content=json.dumps({"data": {"me": {"pw": SECRET}}}).encode()),
    )
    assert SECRET.encode() not in (made.response_body.content or b"")


def test_an_alias_of_an_orders_id() -> None:
    made = redacted(
        request_headers=(Header("Content-Type", JSON),),
        request_body=Body(content=json.dumps({"query": "query { o: order { i: id n: name } }"}).encode()),
        response_headers=(Header("Content-Type", JSON),),
        response_body=Body(content=json.dumps({"data": {"o": {"i": "450789469", "n": "#1001"}}}).encode()),
    )
    expected = {"data": {"o": {"i": REDACTOR.pseudonym("450789469"), "n": "#1001"}}}
    assert json.loads(made.response_body.content or b"") == expected


def test_variables_as_json_in_a_text_go_by_their_arguments() -> None:
    query = "mutation ($z: String!) { login(password: $z) { id } }"
    made = from_json({"query": query, "variables": json.dumps({"z": SECRET, "n": 1})})
    assert json.loads(made["variables"]) == {"z": DROPPED, "n": 1}


def test_a_percent_encoded_name_of_a_part() -> None:
    part = f'--B\r\nContent-Disposition: form-data; name="user%5Bpassword%5D"\r\n\r\n{SECRET}\r\n--B--\r\n'
    assert SECRET.encode() not in (body(part, "multipart/form-data; boundary=B").content or b"")


def test_a_cards_number_as_a_variable() -> None:
    query = "mutation ($n: Int) { pay(card: {number: $n, month: 1}) { id } }"
    assert from_json({"query": query, "variables": {"n": 98765}})["variables"] == {"n": 0}
    order = {"query": "query ($n: Int) { order(number: $n) { id } }", "variables": {"n": 1001}}
    assert from_json(order) == order


@pytest.mark.parametrize("name", ["pass", "jwt", "sid", "credentials"])
def test_names_that_mostly_say_something_else(name: str) -> None:
    """In JSON plain words, counts and objects stay under them; in a query and a form nothing does."""
    innocent = {name: "failed", "a": {name: 12}, "b": {name: {"type": "basic"}}}
    assert from_json(innocent) == innocent
    assert from_json({name: SECRET})[name] != SECRET
    assert redacted(query=f"{name}=hunter").query != f"{name}=hunter"
