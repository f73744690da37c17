from __future__ import annotations

from datetime import UTC, datetime

from polltape.capture.keys import Key
from polltape.capture.redaction import Redactor
from polltape.exchange import Body, Exchange, Header
from polltape.recorder.unredacted import Unredacted

REDACTOR = Redactor(Key.of(b"k" * 32))
EXCHANGE = Exchange(
    "id",
    "PUT",
    "https",
    "shop.example",
    443,
    "/admin/api/2024-01/checkouts/0123456789abcdef0123456789abcdef.json",
    datetime(2026, 11, 23, tzinfo=UTC),
    request_headers=(Header("X-Shopify-Access-Token", "shpat_secret"), Header("Content-Type", "application/json")),
    request_body=Body(12, None, b'{"a": "zoe"}'),
    response_body=Body(9, None, b"beg", truncated=True),
)


def test_everything_stays_and_measuring_has_what_it_needs() -> None:
    row, redacted = Unredacted(REDACTOR).redact(EXCHANGE), REDACTOR.redact(EXCHANGE)
    assert row.request_headers == EXCHANGE.request_headers
    assert row.request_body.content == EXCHANGE.request_body.content
    assert (row.path, row.response_body) == (EXCHANGE.path, EXCHANGE.response_body)
    assert (row.client, row.request_body.digest) == (redacted.client, redacted.request_body.digest)
    assert row.request_body.size == 12


def test_the_row_names_no_key_by_which_converting_knows_it() -> None:
    assert Unredacted(REDACTOR).redact(EXCHANGE).key_id is None
