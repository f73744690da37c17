"""A recording of many checkouts, each updated, polled once while it is pending and once when it is done."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "analyze"))

from traffic.multiply import TOKEN, Own, hexadecimal, multiplied, uuids

from polltape.capture.coverage import Session, write_session
from polltape.capture.parquet import ROWS_A_GROUP, schema_with
from polltape.exchange import SCHEMA, Body, Coverage, Exchange, Header, to_table
from polltape.protocols import observe

HOST: Final = "shop.example"
PATH: Final = "/admin/api/2020-10/checkouts/{}.json"
BEGIN: Final = datetime(2026, 11, 23, 20, tzinfo=UTC)
PENDING_S: Final = 2.0
"""How long each operation takes."""
_STEP_US: Final = 1000
"""Between the submits of two checkouts."""


def checkout(token: str) -> dict[str, Any]:
    """A checkout as Shopify answers it, 2.3 KB."""
    address = {
        "first_name": "John", "last_name": "Smith", "phone": "+15555550100", "company": None, "address1": "126 York St",
        "address2": "", "city": "Los Angeles", "province": "California", "province_code": "CA", "zip": "90002",
        "country": "United States", "country_code": "US",
    }  # fmt: skip
    item = {
        "id": "1a2b", "product_id": 632910392, "variant_id": 39072856, "sku": "IPOD2008GREEN", "vendor": "Apple",
        "title": "IPod Nano - 8GB", "variant_title": "green", "taxable": True, "requires_shipping": True,
        "gift_card": False, "price": "199.00", "compare_at_price": None, "line_price": "199.00", "properties": {},
        "quantity": 1, "grams": 200, "fulfillment_service": "manual", "applied_discounts": [], "tax_lines": [],
    }  # fmt: skip
    return {
        "completed_at": None, "created_at": "2026-11-23T20:00:00-05:00", "currency": "USD", "customer_id": 207119551,
        "email": "john@mail.example", "name": "#901414060", "note": "", "note_attributes": {}, "order_id": None,
        "payment_due": "199.00", "payment_url": "https://vault.example/sessions", "payments": [], "phone": None,
        "requires_shipping": True, "subtotal_price": "199.00", "tax_exempt": False, "taxes_included": False,
        "token": token, "total_price": "199.00", "total_tax": "0.00", "updated_at": "2026-11-23T20:00:01-05:00",
        "web_url": f"https://{HOST}/548380009/checkouts/{token}", "line_items": [item], "gift_cards": [],
        "shipping_address": address, "billing_address": address, "tax_lines": [], "order": None,
        "shipping_line": {"handle": "shopify-Standard-5.00", "price": "5.00", "title": "Standard", "tax_lines": []},
        "privacy_policy_url": None, "legal_notice_url": None, "source_name": "755357713", "user_id": None,
    }  # fmt: skip


def steps() -> list[Exchange]:
    """The three exchanges of one checkout; instants count from its submit."""
    path = PATH.format(TOKEN)
    location = f"https://{HOST}{path}"
    found = []
    for method, status, at_s in (("PUT", 202, 0.0), ("GET", 202, 1.1), ("GET", 200, PENDING_S)):
        waits = (Header("Retry-After", "1"), Header("Location", location)) if status == 202 else ()
        content = json.dumps({"checkout": checkout(TOKEN)}, separators=(",", ":")).encode()
        start = BEGIN + timedelta(seconds=at_s)
        exchange = Exchange(
            "template", method, "https", HOST, 443, path, start,
            request_ended_at=start, response_started_at=start, response_ended_at=start, http_version="HTTP/1.1",
            request_headers=(Header("Host", HOST), Header("User-Agent", "bench/1")), request_body=Body(0, 0),
            status=status, reason="Accepted" if status == 202 else "OK",
            response_headers=(
                Header("Content-Type", "application/json; charset=utf-8"), *waits,
                Header("X-Request-Id", "6a1d3f7e-0c52-4e0e-b2b2-2f1cf3a8cf0d"),
                Header("X-Shopify-Shop-Api-Call-Limit", "1/40"), Header("Cache-Control", "no-cache, no-store"),
            ),
            response_body=Body(len(content), len(content), content), key_id="bench",
        )  # fmt: skip
        found.append(observe(exchange))
    return found


def tokens_of(operations: int, seed: int = 1) -> list[str]:
    """The tokens of so many checkouts."""
    random = np.random.default_rng(seed)
    return [str(token) for token in hexadecimal(random.integers(0, 256, (operations, 16), np.uint8)).to_pylist()]


def record(directory: Path, operations: int) -> None:
    """Write the capture of so many checkouts."""
    template = steps()
    table = to_table(template).combine_chunks()
    rows = np.tile(np.arange(len(template)), operations)
    tokens = pa.array(tokens_of(operations)).take(pa.array(np.repeat(np.arange(operations), len(template))))
    own = Own(tokens, tokens)
    start = np.repeat(np.arange(operations) * _STEP_US, len(template))
    end = BEGIN + timedelta(microseconds=operations * _STEP_US) + timedelta(seconds=60)
    coverage = Coverage("bench", BEGIN - timedelta(seconds=1), end)
    columns: dict[str, pa.Array[Any]] = {}
    random = np.random.default_rng(2)
    for field in SCHEMA:
        column = table[field.name].chunk(0)
        if field.name == "exchange_id":
            columns[field.name] = uuids(
                start // 1000 + 1_700_000_000_000, random.integers(0, 256, (len(rows), 16), np.uint8)
            )
        elif pa.types.is_timestamp(field.type):
            moved = column.cast(pa.int64()).to_numpy(zero_copy_only=False)[rows] + start
            columns[field.name] = pa.array(moved).cast(field.type)
        elif field.name == "response_body":
            columns[field.name] = _bodies(column, rows, own)
        else:
            columns[field.name] = multiplied(column, rows, own)
    made = pa.Table.from_arrays([columns[field.name] for field in SCHEMA], schema=SCHEMA)
    folder = directory / "date=2026-11-23"
    folder.mkdir(parents=True)
    path = folder / "bench-000001.parquet"
    described = made.sort_by("request_started_at").replace_schema_metadata(schema_with([coverage]).metadata)
    pq.write_table(described, path, compression="zstd", row_group_size=ROWS_A_GROUP)
    us = (coverage.started_at.timestamp(), coverage.ended_at.timestamp())
    first, last = (int(at * 1_000_000) for at in us)
    write_session(directory, Session(coverage, [(0, first), ((last - first) * 1000, last)]))


def _bodies(column: pa.Array[Any], rows: np.ndarray[Any, Any], own: Own) -> pa.Array[Any]:
    """The bodies, whose content is no text to Arrow, with each row's token."""
    fields = []
    for number, field in enumerate(column.type):
        values = column.field(number)
        if field.name == "content":
            made = multiplied(values.cast(pa.string()), rows, own).cast(field.type)
        else:
            made = multiplied(values, rows, own)
        fields.append(made)
    return pa.StructArray.from_arrays(fields, fields=list(column.type))


if __name__ == "__main__":
    record(Path(sys.argv[1]), int(sys.argv[2]))
