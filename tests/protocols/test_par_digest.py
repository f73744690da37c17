"""PAR's digest: made as the page says, judged for each response that carries one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.exchange import Body, Exchange, Header
from polltape.protocols.par_digest import digest, judged, message

SHARED_ID = "0123456789ABCDEF"
ORDER: dict[str, Any] = {
    "status": "pending",
    "request_uid": "order-12345",
    "location_id": "loc-001",
    "request_datetime": "2025-01-02T03:04:05.678Z",
    "order_details": {"grand_total": 19.99, "subtotal": 18.5, "online_order_id": None},
}
RIGHT = "17c3b79676faedb3470be0ce24e8605538fd99bb9867af6fb3e1fee17aaa51d2"
"""Of order-12345|loc-001|0|1999|1850|1735787045, made with another program."""


def answer(
    body: bytes = json.dumps(ORDER).encode(),
    digests: tuple[str, ...] = (RIGHT,),
    path: str = "/posnext/order/submit",
    truncated: bool = False,
) -> Exchange:
    return Exchange(
        "1", "POST", "https", "pos.example", 443, path, datetime(2025, 1, 2, tzinfo=UTC),
        status=202,
        response_headers=(Header("Content-Type", "application/json"), *(Header("X-PCH-Digest", d) for d in digests)),
        response_body=Body(content=body, truncated=truncated),
    )  # fmt: skip


def test_the_digest_of_a_message() -> None:
    assert digest(SHARED_ID, "order-12345|loc-001|0|1999|1850|1735787045") == RIGHT
    assert digest(SHARED_ID[:10], "order-12345|loc-001|0|1999|1850|1735787045") == RIGHT  # ten characters are the key


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({}, "0|0|0|0|0|0"),
        ({"request_uid": 7, "location_id": "l"}, "7|l|0|0|0|0"),
        ({"order_details": {"grand_total": Decimal("19.99")}}, "0|0|0|1999|0|0"),
        ({"order_details": {"grand_total": Decimal("0.005"), "subtotal": "1.1"}}, "0|0|0|1|110|0"),
        ({"order_details": {"grand_total": Decimal("-0.5"), "subtotal": 12}}, "0|0|0|-50|1200|0"),
        ({"order_details": None, "grand_total": 3, "online_order_id": "o"}, "0|0|o|300|0|0"),
        ({"request_datetime": "2025-01-02T03:04:05.999Z"}, "0|0|0|0|0|1735787045"),
        ({"request_datetime": "2025-01-02T04:04:05.000+01:00"}, "0|0|0|0|0|1735787045"),
        ({"request_datetime": "2025-01-02T03:04:05"}, "0|0|0|0|0|1735787045"),
        ({"request_datetime": "yesterday"}, "0|0|0|0|0|0"),
    ],
)
def test_what_is_signed(order: dict[str, Any], expected: str) -> None:
    assert message(order) == expected


def test_fractions_of_a_cent_are_rounded_or_cut_off() -> None:
    order = {"order_details": {"grand_total": Decimal("0.019")}}
    assert (message(order), message(order, ROUND_DOWN)) == ("0|0|0|2|0|0", "0|0|0|1|0|0")
    for cents in (1, 2):
        signed = digest(SHARED_ID, f"0|0|0|{cents}|0|0")
        assert judged(answer(b'{"order_details": {"grand_total": 0.019}}', (signed,)), SHARED_ID).digest_ok is True


@pytest.mark.parametrize(
    ("exchange", "shared_id", "expected"),
    [
        (answer(), SHARED_ID, True),
        (answer(path="/posnext/orders/order-12345"), SHARED_ID, True),
        (answer(b"\xef\xbb\xbf" + json.dumps(ORDER).encode()), SHARED_ID, True),
        (answer(), "another shared id", False),
        (answer(digests=(RIGHT.upper(),)), SHARED_ID, False),  # lowercase, says the page
        (answer(digests=(RIGHT, "0" * 64)), SHARED_ID, False),
        (answer(json.dumps(ORDER).encode().replace(b"19.99", b"29.99")), SHARED_ID, False),
        (answer(json.dumps(ORDER).encode().replace(b"pending", b"placed")), SHARED_ID, True),  # not covered
        (answer(digests=()), SHARED_ID, None),
        (answer(path="/api/auth/checkins/balance"), SHARED_ID, None),  # Punchh's own: made otherwise
        (answer(b"<html>"), SHARED_ID, None),
        (answer(b"[]"), SHARED_ID, None),
        (answer(truncated=True), SHARED_ID, None),
        (answer(b'{"order_details": {"grand_total": "much"}}'), SHARED_ID, None),
        (answer(b'{"order_details": {"grand_total": 1e999999999}}'), SHARED_ID, None),
    ],
)
def test_a_response_is_judged(exchange: Exchange, shared_id: str, expected: bool | None) -> None:
    assert judged(exchange, shared_id).digest_ok is expected


def test_after_redaction_the_header_is_there_and_its_value_is_not() -> None:
    made = Redactor(Key.of(b"k" * 32)).redact(judged(answer(), SHARED_ID))
    assert (made.response_header("x-pch-digest"), made.digest_ok) == (DROPPED, True)
