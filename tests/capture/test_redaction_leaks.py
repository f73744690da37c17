"""Real-shaped traffic with a secret in every place, redacted, and then searched for each of them."""

# ruff: noqa: E501, UP031 - messages stay on the lines on which they stood; GraphQL is full of braces
from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Exchange, Header

T0 = datetime(2026, 11, 5, 12, tzinfo=UTC)
TOKEN = "exuw7apwoycchjuwtiqg8nytfhphr62a"
CHECKOUT_KEY = "1d17203c6e8db05923bcff0a36789eb5"
ADMIN = "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"
STOREFRONT = "dd4d4dc146542ba7763305d71d1b3d38"
PAN = "4242424242424242"
PAN_SPACED = "3782 822463 10005"
CVV = "7391"
QUEUE = "CmFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1Njc4OQ=="
QUEUE_2 = "TmV4dFRva2VuT2ZUaGVRdWV1ZTQ1Njc4OTAxMjM0NTY3ODkw_w=="
EMAIL = "jonathan.smithers@mail-provider.org"
PHONE = "(502)459-2181"
FIRST, LAST = "Jonathan", "Smithers-Villanueva"
STREET, CITY, ZIP, COMPANY = "126 Yorkshire Terrace", "Louisbourg", "K1A 0B1", "Wuthering Imports"
BUYER_IP = "203.0.113.77"
BUYER_IP6 = "2a02:8108:1234:5678::9f2e"
SESSION = "east-4f8a7c2e91b35d60a1f7c3e84b29d516"
NOTE = "Leave it behind the blue gate"
BIRTHDAY = "1984-07-23"
OAUTH_CODE, OAUTH_STATE = "0907a61c0c8d55e99db179b68161bc00", "nonce325943876218"
CLIENT_SECRET, API_PASSWORD, API_USER = "hush-4d1f0b9a8c7e", "correct-horse-battery", "apiuser77431"
HMAC = "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf"
ORDER_UID, CUSTOMER_ID, ORDER_ID = "order-9981734456", 1073339456, 450789469
ATTEMPT = "6d2f0c1a-93b4-4b0e-8f57-2f4f3b1d9a77"
LOCATION_KEY, BUSINESS_KEY = "LOCKEY8899aabbcc", "BIZKEY7766ddeeff"
GIFT_CARD = "7f3b9k2m4n6p8q1r"
COOKIE = "sessioncookie93f1ab47"
LATITUDE = 45.41634
AGENT = "WuWorkstation-Jonathan/17.4"


def encode(payload: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")


JWT_SUBJECT = "auth0|5f7c8ec7c33c6c004bbafe82"
JWT = f"{encode({'alg': 'HS256'})}.{encode({'iss': 'https://id.example', 'sub': JWT_SUBJECT})}.c2lnbmF0dXJlLW9mLXRoZS1qd3Q"

SECRETS = [
    TOKEN, CHECKOUT_KEY, ADMIN, ADMIN[6:], STOREFRONT, PAN, PAN_SPACED, PAN_SPACED.replace(" ", ""), CVV,
    QUEUE, QUEUE.rstrip("="), QUEUE_2.rstrip("="), EMAIL, EMAIL.split("@")[0], PHONE, FIRST, LAST, STREET, CITY,
    ZIP, COMPANY, BUYER_IP, BUYER_IP6, SESSION, NOTE, BIRTHDAY, OAUTH_CODE, OAUTH_STATE, CLIENT_SECRET,
    API_PASSWORD, API_USER, HMAC, ORDER_UID, str(CUSTOMER_ID), str(ORDER_ID), ATTEMPT, LOCATION_KEY,
    BUSINESS_KEY, GIFT_CARD, COOKIE, str(LATITUDE), JWT, JWT.split(".")[1], JWT_SUBJECT, AGENT,
]  # fmt: skip

ADDRESS = {
    "first_name": FIRST, "last_name": LAST, "name": f"{FIRST} {LAST}", "phone": PHONE, "company": COMPANY,
    "address1": STREET, "address2": "", "city": CITY, "province": "Louisbourg County", "province_code": "CA",
    "country_code": "US", "zip": ZIP, "latitude": LATITUDE, "longitude": -75.6868,
}  # fmt: skip
CHECKOUT = {
    "token": TOKEN, "email": EMAIL, "customer_id": CUSTOMER_ID, "order_id": ORDER_ID, "note": NOTE,
    "note_attributes": {"engraving": f"for {FIRST}", "deep": [{"name": LAST, "value": PHONE}, None, 7, True]},
    "order": {"id": ORDER_ID, "name": "#1001", "status_url": f"https://shop.example/1/orders/{TOKEN}?key={CHECKOUT_KEY}"},
    "web_url": f"https://checkout.local/548380009/checkouts/{TOKEN}?key={CHECKOUT_KEY}",
    "shipping_address": ADDRESS, "billing_address": ADDRESS, "gift_cards": [{"code": GIFT_CARD, "id": 7}],
    "credit_card": {"first_name": FIRST, "last_name": LAST, "first_digits": PAN[:6], "last_digits": "4242",
                    "number": PAN, "month": 11, "year": 2031, "verification_value": CVV},
    "client_details": {"browser_ip": BUYER_IP, "user_agent": AGENT},
    "message": f"Card {PAN} of {EMAIL} was declined", "html": f'<a href="/checkouts/{TOKEN}?key={CHECKOUT_KEY}">',
    EMAIL: {"as": "a name"}, PAN_SPACED: 1, "amex": PAN_SPACED, "unspaced": f"({PAN_SPACED.replace(' ', '')})", "number_as_number": int(PAN),
    "blob": base64.b64encode(json.dumps({"email": EMAIL, "token": TOKEN}).encode()).decode(),
    "nested": json.dumps({"cvv": CVV, "again": json.dumps({"password": API_PASSWORD})}),
    "relative": f"/checkouts/{TOKEN}/thank_you", "callback": f"/done?return={quote(f'https://x.example/?code={OAUTH_CODE}&email={EMAIL}', safe='')}",
    "gid": f"gid://shopify/Checkout/{TOKEN}?key={CHECKOUT_KEY}",
    "gid64": base64.b64encode(f"gid://shopify/Customer/{CUSTOMER_ID}".encode()).decode(),
    "bearer": f"Bearer {ADMIN}", "jwt_somewhere": f"it was {JWT} then",
    "transaction": {"authorization": SESSION, "receipt": {"deep": [CLIENT_SECRET, {"x": CVV}]}, "status": "success"},
}  # fmt: skip
JSON_TYPE = Header("Content-Type", "application/json; charset=utf-8")
COMMON = (
    Header("X-Shopify-Access-Token", ADMIN),
    Header("Cookie", f"_checkout_queue_token={quote(QUEUE, safe='')}; _session={COOKIE}; cart={TOKEN}"),
    Header("User-Agent", AGENT),
    Header("X-Forwarded-For", f"{BUYER_IP}, {BUYER_IP6}"),
    Header("Forwarded", f'for={BUYER_IP};proto=https, for="[{BUYER_IP6}]:4711"'),
    Header("Referer", f"https://{API_USER}:{API_PASSWORD}@shop.example/checkouts/{TOKEN}?key={CHECKOUT_KEY}&email={quote(EMAIL)}"),
    Header("Email", EMAIL),
    Header("X-Debug", f"token seen: {ADMIN}, card {PAN}, {JWT}"),
    Header("X-Json", json.dumps({"password": API_PASSWORD})),
)  # fmt: skip


def exchange(number: str, method: str, path: str, **values: object) -> Exchange:
    given: dict[str, object] = {"client_address": f"{BUYER_IP}:50123", "status": 202, **values}
    for side in ("request_body", "response_body"):
        content = given.get(side)
        if isinstance(content, bytes):
            given[side] = Body(wire_size=len(content), size=len(content), content=content)
    return Exchange(number, method, "https", "shop.example", 443, path, T0, **given)  # type: ignore[arg-type]


MULTIPART = (
    '--B0undary\r\nContent-Disposition: form-data; name="checkout[email]"\r\n\r\n'
    f"{EMAIL}\r\n--B0undary\r\n"
    f'Content-Disposition: form-data; name="proof"; filename="{FIRST}.txt"\r\nContent-Type: image/png\r\n\r\n'
    f"\x89PNG {PAN}\r\n--B0undary\r\n"
    'Content-Disposition: form-data; name="meta"\r\nContent-Type: application/json\r\n\r\n'
    f"{json.dumps({'cvv': CVV, 'token': TOKEN})}\r\n--B0undary\r\n"
    f'Content-Disposition: form-data; name="credit_card[number]"\r\n\r\n{PAN}\r\n--B0undary--\r\n'
).encode("latin-1")

CORPUS = {
    "checkout update": exchange(
        "1", "PUT", f"/admin/api/2020-10/checkouts/{TOKEN}.json",
        query=f"key={CHECKOUT_KEY}&token={TOKEN}&note_attributes[x]={quote_plus(NOTE)}&q={quote(PAN_SPACED)}",
        request_headers=(*COMMON, JSON_TYPE), request_body=json.dumps({"checkout": CHECKOUT}).encode(),
        response_headers=(JSON_TYPE, Header("Location", f"https://shop.example/admin/checkouts/{TOKEN}.json?key={CHECKOUT_KEY}"),
                          Header("Link", f"<https://shop.example/carts/{TOKEN}?access_token={ADMIN}>; rel=\"next\""),
                          Header("Content-Security-Policy", f"report-uri /report?token={TOKEN}; default-src https://u:{API_PASSWORD}@x.example/"),
                          Header("Refresh", f"5; url=/checkouts/{TOKEN}?key={CHECKOUT_KEY}"),
                          Header("X-Shopify-Checkout-Authorization-Token", SESSION), Header("X-Shopify-Hmac-Sha256", HMAC)),
        response_body=json.dumps({"checkout": CHECKOUT}, indent=1, ensure_ascii=False).encode(),
        request_trailers=(Header("X-Auth-Token", SESSION),), response_trailers=(Header("Set-Cookie", f"a={COOKIE}"),),
    ),
    "card vault": exchange(
        "2", "POST", "/sessions", request_headers=(JSON_TYPE,), response_headers=(JSON_TYPE,),
        request_body=json.dumps({"credit_card": {"number": PAN_SPACED, "month": "11", "year": "2031", "verification_value": CVV,
                                                 "name": f"{FIRST} {LAST}", "first_name": FIRST, "last_name": LAST}}).encode(),
        response_body=json.dumps({"id": SESSION}).encode(), status=200,
    ),
    "queue": exchange(
        "3", "POST", "/queue/poll", request_headers=(*COMMON, JSON_TYPE, Header("X-Checkout-Queue-Token", QUEUE)),
        request_body=json.dumps({"query": '{ poll(token: "%s") { token } } # %s' % (QUEUE, NOTE), "variables": {"token": QUEUE}}).encode(),
        response_headers=(JSON_TYPE, Header("Set-Cookie", f"_checkout_queue_token={quote(QUEUE_2, safe='')}; path=/; max-age=3600; secure"),
                          Header("Set-Cookie", f"_queue_replay_data={encode({'email': EMAIL})}; path=/")),
        response_body=json.dumps({"data": {"poll": {"__typename": "PollContinue", "token": QUEUE_2, "pollAfter": "2026-11-05T12:00:01Z"}}}).encode(),
        status=429,
    ),
    "queue, form": exchange(
        "4", "POST", "/queue/poll", request_headers=(Header("content-type", "application/x-www-form-urlencoded"),),
        request_body=f"query={quote_plus('{ poll(token: $token) { token } }')}&variables[token]={quote(QUEUE, safe='')}"
        f"&variables={quote_plus(json.dumps({'token': QUEUE_2, 'email': EMAIL}))}&checkout%5Bemail%5D={quote_plus(EMAIL)}".encode(),
    ),
    "cart": exchange(
        "5", "POST", "/api/2026-04/graphql.json", request_headers=(JSON_TYPE, Header("X-Shopify-Storefront-Access-Token", STOREFRONT)),
        request_body=json.dumps({
            "query": 'mutation Submit($id: ID = "%s") { cartSubmitForCompletion(attemptId: "%s", cartId: "gid://shopify/Cart/%s?key=%s",'
            ' payment: {sessionId: "%s", billingAddress: {firstName: "%s", city: """%s"""}}, free: ["%s"]) { __typename } }'
            % (TOKEN, ATTEMPT, TOKEN, CHECKOUT_KEY, SESSION, FIRST, CITY, NOTE),
            "variables": {"attemptId": ATTEMPT, "cart": {"buyerIdentity": {"email": EMAIL, "customerAccessToken": SESSION}}},
        }).encode(),
        response_headers=(JSON_TYPE,), status=200,
        response_body=json.dumps({"data": {"cartSubmitForCompletion": {"__typename": "SubmitSuccess", "attemptId": ATTEMPT,
                                                                       "redirectUrl": f"https://shop.example/checkouts/cn/{TOKEN}/information"}}}).encode(),
    ),
    "graphql": exchange(
        "6", "POST", "/graphql", request_headers=(Header("Content-Type", "application/graphql"),),
        request_body=f'query {{ customer(email: "{EMAIL}", id: "gid://shopify/Customer/{CUSTOMER_ID}") {{ id }} }}'.encode(),
    ),
    "PAR": exchange(
        "7", "POST", "/posnext/order/submit", request_headers=(JSON_TYPE, Header("Authorization", f"Bearer {JWT}"), Header("x-pch-digest", HMAC)),
        request_body=json.dumps({"request_uid": ORDER_UID, "customer": {"id": CUSTOMER_ID, "email": EMAIL, "birthday": BIRTHDAY},
                                 "payments": [{"number": PAN, "month": 1, "tender": {"number": CVV}}]}).encode(),
        response_headers=(JSON_TYPE, Header("Location", f"/posnext/orders/{ORDER_UID}"), Header("x-pch-digest", HMAC)),
        response_body=json.dumps({"status": "pending", "request_uid": ORDER_UID, "orderId": ORDER_UID}).encode(),
    ),
    "PAR poll": exchange("8", "GET", f"/posnext/orders/{ORDER_UID}", request_headers=(
        Header("Authorization", f"Token token={LOCATION_KEY}, btoken={BUSINESS_KEY}"), Header("punchh-app-device-id", SESSION))),
    "OAuth": exchange(
        "9", "POST", "/admin/oauth/access_token", query=f"code={OAUTH_CODE}&state={OAUTH_STATE}&hmac={HMAC}",
        request_headers=(JSON_TYPE, Header("Authorization", "Basic " + base64.b64encode(f"{API_USER}:{API_PASSWORD}".encode()).decode())),
        request_body=json.dumps({"client_id": "app", "client_secret": CLIENT_SECRET, "code": OAUTH_CODE, "state": "allalphabeticstate"}).encode(),
        response_headers=(JSON_TYPE,), response_body=json.dumps({"access_token": ADMIN, "id_token": JWT}).encode(), status=200,
    ),
    "multipart": exchange("10", "POST", "/upload", request_headers=(Header("Content-Type", "multipart/form-data; boundary=B0undary"),), request_body=MULTIPART),
    "html": exchange("11", "GET", f"/cart/c/{TOKEN}", response_headers=(Header("Content-Type", "text/html"),), response_body=f"<p>{EMAIL}".encode()),
    "cut": exchange("12", "GET", f"/api/checkouts/{TOKEN}/thank_you", response_headers=(JSON_TYPE,),
                    response_body=Body(content=json.dumps(CHECKOUT).encode()[:-9], size=99999, truncated=True)),
    "error": exchange("13", "GET", f"/{quote(EMAIL)}/orders/{ORDER_ID}.json", status=None,
                      error=f"GET https://{API_USER}:{API_PASSWORD}@shop.example/orders/{ORDER_ID}?key={CHECKOUT_KEY}: reset"),
    "markup": exchange("14", "POST", "/render", request_headers=(JSON_TYPE,), request_body=json.dumps({
        "page": f'<form><input type="hidden" name="authenticity_token" value="{TOKEN}"/><input value=\'{API_PASSWORD}\' name=user[password]>'
                f'<meta content="{STOREFRONT}" name="csrf-token"><div data-checkout-token={TOKEN} id="x">'
                f'<textarea name="note">{NOTE}</textarea><input\nid="email" value="{EMAIL}"></form>',
        "escaped": f'&lt;input name=&quot;password&quot; value=&quot;{API_PASSWORD}&quot;&gt;',
        "props": f'<div data-props="{{&quot;accessToken&quot;:&quot;{ADMIN}&quot;,&quot;zip&quot;:&quot;{ZIP}&quot;}}">',
        "twice": f'&amp;lt;b data-cvv=&amp;quot;{CVV}&amp;quot;&amp;gt;',
        "xml": f'<resources><string name="access_token">{SESSION}</string><add key="client_secret" value="{CLIENT_SECRET}"/></resources>',
        "plist": f"<dict><key>password</key>\n<string>{API_PASSWORD}</string><key>pin</key><integer>{CVV}</integer></dict>",
        "broken": f'<p class="x">Hello</p><input type="password" name="password" value="{API_PASSWORD}',
        "json": json.dumps({"html": f'<input name="cvv" value="{CVV}">'})[:-2],
    }).encode()),
    "backslashes": exchange(
        "15", "GET", f"/admin%5Ccheckouts%5c{TOKEN}.json", query=f"return=https:%5C%2F%5C%2Fshop.example%5C%2Fcheckouts%5C%2F{TOKEN}",
        request_headers=(Header("Referer", f"https://shop.example\\carts\\{TOKEN}?key={CHECKOUT_KEY}"),),
        response_headers=(JSON_TYPE, Header("Location", f"/checkouts%255C{TOKEN}"), Header("X-Back", f"/checkouts\\{TOKEN}")),
        response_body=json.dumps({"log": f'{{"url": "https:\\/\\/shop.example\\/orders\\/{ORDER_UID}\\/status", "a": "b'}).encode(),
    ),
    "names in names": exchange("16", "POST", "/profile", query=f"user:email={EMAIL}&a|zip={quote_plus(ZIP)}", request_headers=(JSON_TYPE,), request_body=json.dumps({
        "user:phone": PHONE, "shipping.address1": STREET, "user[password]": API_PASSWORD, "billing/city": CITY, "@token": TOKEN, "Last name": LAST,
        "https://schema.example/claims/birth_date": BIRTHDAY, "a::b::client_secret": CLIENT_SECRET, "$company": {"deep": [COMPANY]},
    }).encode()),
    "blanks before JSON in base64": exchange("17", "POST", "/blobs", request_headers=(JSON_TYPE,), request_body=json.dumps({
        f"{n}{m}": text % base64.b64encode((blank + json.dumps({"password": API_PASSWORD, "m": "x" * m})).encode()).decode()
        for n, blank in enumerate([" ", "\n", "\r\n", "\t", "  \n\t", "    "]) for m in range(3)
        for text in ("%s", "state %s was sent", "data:application/json;base64,%s")
    }).encode()),
    "percent-encoded in prose": exchange(
        "18", "POST", "/log", request_headers=(Header("content-type", "application/x-www-form-urlencoded"),),
        request_body=f"message={quote_plus(f'mail to {EMAIL}: got {quote(f'password={API_PASSWORD}&zip={ZIP}')} and {quote(json.dumps({'cvv': CVV}))}')}"
        f"&trace={quote_plus(f'GET https://x.example/?token={TOKEN} sent {quote(f'https://x.example/?key={CHECKOUT_KEY}', safe='')}')}".encode(),
    ),
    "pairs": exchange("19", "POST", "/settings", query=f"f[0][name]=password&f[0][value]={API_PASSWORD}&f[1][value]={quote(EMAIL)}&f[1][name]=email",
        request_headers=(JSON_TYPE,), request_body=json.dumps([
            {"k": "password", "v": API_PASSWORD}, {"V": CVV, "K": "cvv"}, {"field": "email", "val": EMAIL}, {"fieldName": "zip", "fieldValue": ZIP},
            {"attribute": "phone", "old_value": None, "new_value": PHONE}, {"param": "access_token", "stringValue": ADMIN},
            {"key": "client_secret", "content": CLIENT_SECRET}, {"name": "company", "data": COMPANY}, {"KEY": "city", "VALUE": CITY},
            {"name": "Address 1", "value": STREET}, {"question": "birthday", "answer": BIRTHDAY}, {"n": "token", "v": TOKEN, "type": "email"},
        ]).encode()),
    "aliases": exchange("20", "POST", "/graphql", request_headers=(JSON_TYPE,), response_headers=(JSON_TYPE,), status=200,
        request_body=json.dumps({"query": "query Q($id: ID!) { who: customer(id: $id) { ...F at: createdAt } secretAlias: customerAccessToken } "
                                          "fragment F on Customer { tel: phone, wo: defaultAddress { st: address1 ort: city } k: displayName }"}).encode(),
        response_body=json.dumps({"data": {"who": {"id": CUSTOMER_ID, "tel": PHONE, "wo": {"st": STREET, "ort": CITY}, "k": LAST, "at": "now"},
                                           "secretAlias": SESSION}}).encode()),
    "aliases, as a query": exchange("21", "GET", "/graphql", query=f"query={quote_plus('{ a: customer { b: email c: phone } }')}", status=200,
        response_headers=(JSON_TYPE,), response_body=json.dumps({"data": {"a": {"b": "x", "c": PHONE}}}).encode()),
    "aliases, several": exchange("22", "POST", "/graphql", request_headers=(JSON_TYPE,), response_headers=(JSON_TYPE,), status=200,
        request_body=json.dumps([{"query": "{ x: shop { name } }"}, {"query": "mutation { x: login { t: accessToken } }"}]).encode(),
        response_body=json.dumps([{"data": {}}, {"data": {"x": {"t": SESSION}}}]).encode()),
    "told": exchange("23", "POST", f"/proxy/https://zoe:{API_PASSWORD}@h.example/checkouts/{TOKEN}", status=422,
        request_headers=(JSON_TYPE, Header("Sec-WebSocket-Protocol", f"access_token, {COOKIE}"), Header("X-Forwarded-Cookie", f"a={COOKIE}")),
        request_body=json.dumps({"argv": f"login --password {API_PASSWORD} --token '{ADMIN}'", "run": f"curl -u zoe:{CLIENT_SECRET} https://h.example",
            "customer_ids": [CUSTOMER_ID], "accessTokens": [STOREFRONT], "verification_code": CVV, "session_cookie": f"a={COOKIE}",
            "blob": base64.b64encode(f"user=zoe&password={API_PASSWORD}&z=1".encode()).decode(), "mail": base64.b64encode(EMAIL.encode()).decode()}).encode(),
        response_headers=(JSON_TYPE, Header("WWW-Authenticate", f'Bearer error_description="the token {TOKEN} has expired"'),
            Header("Location", f"/customers/{CUSTOMER_ID}/orders/v1/{TOKEN}")),
        response_body=json.dumps({"errors": [f"Token {TOKEN} has expired", f"password '{API_PASSWORD}' is invalid", f'"{SESSION}" is not a valid session id',
            f"Argument 'token' on Field 'checkout' has an invalid value (\"{TOKEN}\").", f"Field 'first_name' with value '{FIRST}' is taken",
            f"order {ORDER_ID} not found", f"the client secret is {CLIENT_SECRET}", f"invalid value '{ZIP}' for zip", f"('password', '{API_PASSWORD}')",
            f"password: |\n  {API_PASSWORD}\nb: 1", f"\\u0022cvv\\u0022:\\u0022{CVV}\\u0022"]}).encode()),
    "tables": exchange("25", "POST", f"/v1/payment_sessions/{SESSION}/tokens/{QUEUE.rstrip('=')}", status=422,
        request_headers=(JSON_TYPE,), response_headers=(JSON_TYPE, Header("Set-Cookie", f'a="1;{COOKIE}"; Path=/; Secure')),
        request_body=json.dumps({"q": f"first_name:{FIRST} AND last_name:{LAST}", "paymentToken": TOKEN, "ip": BUYER_IP, "session": {"id": SESSION},
            "export": f'id,Email,City,"Address 1",Company\n1,{EMAIL},{CITY},"{STREET}",{COMPANY}\n2,,{CITY},{STREET}, {COMPANY}, x\n',
            "address": {"formatted": [STREET, CITY]}, "card": {"name": f"{FIRST} {LAST}", "cvc": CVV}, "phones": {"home": PHONE}}).encode(),
        response_body=json.dumps({"errors": {"email": [EMAIL, "is invalid"], "city": CITY, "zip": [{"code": "x", "message": ZIP}]},
            "detail": [f"INSERT INTO u (id, city, token) VALUES (1, '{CITY}', '{STOREFRONT}'), (2, NULL, '{TOKEN}')", f"Key (city, zip)=({CITY}, {ZIP}) exists",
                f"[password] => {API_PASSWORD}", f"`client_secret`=`{CLIENT_SECRET}`", f'Argument "company" has invalid value "{COMPANY}".']}).encode()),
    "aliases, raw": exchange("24", "POST", "/graphql", request_headers=(Header("content-type", "application/graphql"),), response_headers=(JSON_TYPE,), status=200,
        request_body=b"{ o: order { i: id tel: phone } }", response_body=json.dumps({"data": {"o": {"i": ORDER_ID, "tel": PHONE}}}).encode()),
}  # fmt: skip


def forms(secret: str) -> Iterator[str]:
    """The secret in every spelling in which it could have slipped through."""
    for text in (secret, secret.lower(), secret.upper()):
        yield from (
            text,
            quote(text, safe=""),
            quote_plus(text),
            json.dumps(text)[1:-1],
            json.dumps(text).replace("/", "\\/")[1:-1],
        )
        for lead in range(3):  # base64 at each of its three alignments, without the letters that neighbours change
            inner = base64.b64encode(b"\0" * lead + text.encode()).decode().rstrip("=")
            core = inner[2 if lead else 0 :][: len(inner) - 4 if lead else len(inner) - 2]
            core = core[2:] if lead else core
            if len(core) >= 8:
                yield from (core, core.replace("+", "-").replace("/", "_"))


def texts(value: object) -> Iterator[str]:
    """Every text and every byte of an exchange."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif is_dataclass(value):
        for field in fields(value):
            yield from texts(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from texts(item)


def found(redacted: object) -> list[tuple[str, str]]:
    everything = "\n".join(texts(redacted))
    return [(secret, form) for secret in SECRETS for form in forms(secret) if len(form) > 3 and form in everything]


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))


@pytest.mark.parametrize("name", CORPUS)
def test_no_secret_is_left_in_any_spelling(redactor: Redactor, name: str) -> None:
    assert found(CORPUS[name]), "the corpus holds no secret: the test would prove nothing"
    assert found(redactor.redact(CORPUS[name])) == []


def test_every_secret_is_in_the_corpus() -> None:
    everything = "\n".join("\n".join(texts(value)) for value in CORPUS.values())
    assert [s for s in SECRETS if not any(form in everything for form in forms(s))] == []


def test_one_token_is_one_pseudonym_wherever_it_stands(redactor: Redactor) -> None:
    first = redactor.redact(CORPUS["checkout update"])
    token = redactor.pseudonym(TOKEN)
    assert first.path == f"/admin/api/2020-10/checkouts/{token}.json"
    assert first.query is not None
    assert f"token={token}" in first.query
    body = json.loads(first.request_body.content or b"")["checkout"]
    assert body["token"] == token
    assert body["web_url"] == f"https://checkout.local/548380009/checkouts/{token}?key=polltape-dropped"
    assert body["relative"] == f"/checkouts/{token}/thank_you"
    assert body["gid"].startswith(f"gid://shopify/Checkout/{token}?")
    assert body["order_id"] == body["order"]["id"]
    assert (
        first.response_header("Location") == f"https://shop.example/admin/checkouts/{token}.json?key=polltape-dropped"
    )
    customer = base64.b64decode(body["gid64"]).decode()
    assert customer == f"gid://shopify/Customer/{body['customer_id']}"


def test_the_queue_can_still_be_followed(redactor: Redactor) -> None:
    queued, form = redactor.redact(CORPUS["queue"]), redactor.redact(CORPUS["queue, form"])
    token, later = redactor.pseudonym(QUEUE), redactor.pseudonym(QUEUE_2)
    sent = json.loads(queued.request_body.content or b"")
    assert queued.request_header("X-Checkout-Queue-Token") == token
    assert sent["variables"] == {"token": token}
    assert f'poll(token: "{token}")' in sent["query"]
    assert (queued.response_header("Set-Cookie") or "").startswith(
        f"_checkout_queue_token={quote(later, safe='')}; path=/;"
    )
    assert (queued.request_header("Cookie") or "").startswith(
        f"_checkout_queue_token={quote(token, safe='')}; _session=polltape-dropped;"
    )
    answer = json.loads(queued.response_body.content or b"")["data"]["poll"]
    assert answer == {"__typename": "PollContinue", "token": later, "pollAfter": "2026-11-05T12:00:01Z"}
    assert f"variables[token]={quote(token, safe='')}&" in (form.request_body.content or b"").decode()


def test_the_order_can_still_be_followed(redactor: Redactor) -> None:
    submit, poll = redactor.redact(CORPUS["PAR"]), redactor.redact(CORPUS["PAR poll"])
    uid = redactor.pseudonym(ORDER_UID)
    assert submit.path == "/posnext/order/submit"
    assert json.loads(submit.response_body.content or b"") == {"status": "pending", "request_uid": uid, "orderId": uid}
    assert submit.response_header("Location") == poll.path == f"/posnext/orders/{uid}"


def test_what_is_not_understood_is_not_stored_but_measured(redactor: Redactor) -> None:
    html, cut = redactor.redact(CORPUS["html"]).response_body, redactor.redact(CORPUS["cut"]).response_body
    assert (html.content, html.not_stored, html.size) == (None, "type", len(EMAIL) + 3)
    assert html.digest is not None
    assert (cut.content, cut.not_stored, cut.size, cut.digest) == (None, "truncated", 99999, None)


def test_nothing_is_logged_or_shown(redactor: Redactor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for one in CORPUS.values():
            redactor.redact(one)
    assert caplog.records == []
    assert "0123456789abcdef" not in repr(Key.of(b"0123456789abcdef0123456789abcdef"))
    assert found(f"{redactor!r} {vars(redactor)['_scrubber']!r}") == []
