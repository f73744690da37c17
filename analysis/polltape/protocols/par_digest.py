"""PAR POS Next signs orders with ``x-pch-digest``: how it is made, and whether a response carries the right one.

Source: developers.partech.com/docs/pos-next/integration-requirements/payload-signing.  Lowercase hexadecimal
HMAC-SHA256 under the first ten characters of SharedId, over::

    RequestUid|LocationId|OnlineOrderId|GrandTotalCents|SubtotalCents|ReceivedAtSeconds

What is missing is ``0``.  Cents are the decimal amount times 100: a float would make 1998 of 19.99.  The page says
"round", its sample cuts off: where an amount has fractions of a cent, either is right.  The digest does not cover the
order's status.  Punchh's own APIs have a header of the same name that is made otherwise: it is not judged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, DecimalException
from typing import Any, Final

import msgspec

from polltape.exchange import Body, Exchange, all_headers

HEADER: Final = "x-pch-digest"
KEY_CHARACTERS: Final = 10
_ORDERS: Final = re.compile(r"/posnext/orders?(?:/|$)", re.IGNORECASE)  # the pages write both
_MAX_BYTES: Final = 8 * 1024 * 1024
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)


def digest(shared_id: str, message: str) -> str:
    """The digest of a message, as it stands in the header.

    >>> digest("0123456789ABCDEF", "order-12345|loc-001|0|1999|1850|1735787045")
    '17c3b79676faedb3470be0ce24e8605538fd99bb9867af6fb3e1fee17aaa51d2'
    """
    key = shared_id[:KEY_CHARACTERS].encode()
    return hmac.new(key, message.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def message(order: Mapping[str, Any], rounding: str = ROUND_HALF_UP) -> str:
    """What is signed of an order, as its JSON has it; amounts are Decimal, int or text, never float.

    The totals and the online order's id stand in ``order_details``.  Raises ValueError for an amount that is none.

    >>> message({"request_uid": "order-12345", "order_details": {"grand_total": Decimal("19.99")},
    ...          "request_datetime": "2025-01-02T03:04:05.678Z"})
    'order-12345|0|0|1999|0|1735787045'
    """
    details = order.get("order_details")
    totals: Mapping[str, Any] = details if isinstance(details, Mapping) else order
    parts = (
        _text(order.get("request_uid")),
        _text(order.get("location_id")),
        _text(totals.get("online_order_id")),
        _cents(totals.get("grand_total"), rounding),
        _cents(totals.get("subtotal"), rounding),
        _seconds(order.get("request_datetime")),
    )
    return "|".join(parts)


def judged(exchange: Exchange, shared_id: str) -> Exchange:
    """The (unredacted) exchange with ``digest_ok``, if it is one of PAR's orders and its answer carries a digest."""
    given = all_headers(exchange.response_headers, HEADER)
    if not given or _ORDERS.search(exchange.path) is None:
        return exchange
    order = _order(exchange.response_body)
    if order is None:
        return exchange
    try:
        right = [digest(shared_id, message(order, rounding)) for rounding in (ROUND_HALF_UP, ROUND_DOWN)]
    except ValueError:
        return exchange
    return replace(exchange, digest_ok=all(value.strip() in right for value in given))


def signature(content: bytes, shared_id: str) -> str | None:
    """The digest of an answer with that body; None where it is no order that can be signed."""
    order = _order(Body(content=content))
    try:
        return None if order is None else digest(shared_id, message(order))
    except ValueError:
        return None


def _order(body: Body) -> dict[str, Any] | None:
    """The body as JSON with exact fractions; None where it is no object, or not all there."""
    if body.content is None or body.truncated or len(body.content) > _MAX_BYTES:
        return None
    try:
        order = _DECODER.decode(body.content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return order if isinstance(order, dict) else None


def _text(value: object) -> str:
    return "0" if value is None else str(value)


def _cents(value: object, rounding: str) -> str:
    if value is None:
        return "0"
    try:
        return str(int((Decimal(str(value)) * 100).quantize(Decimal(1), rounding)))
    except (DecimalException, ValueError, OverflowError):
        raise ValueError("an amount that is no number") from None


def _seconds(value: object) -> str:
    """Whole seconds since 1970 of ``yyyy-MM-ddTHH:mm:ss.fffZ``; 0 for what is no instant, as in PAR's sample."""
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None:
        return "0"
    return str(int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() // 1))
