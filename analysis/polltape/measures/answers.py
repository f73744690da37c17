"""How often what was answered where: one pass over all exchanges, from which several measures are summed up."""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.operations.tables import run
from polltape.protocols import throttle

ACCEPTED: Final = 202
TOO_LARGE: Final = 413
"""Throttles only where it says when to come back."""


def answers(rows: ir.Table) -> pd.DataFrame:
    """One row for each host, endpoint (``METHOD template``), status, and protocol that calls it a write.

    ``protocol`` is null for what is no write, or was not answered.  ``checkout``: on a path of Shopify's checkout.
    ``count``: exchanges; of these ``pending``: answered 202, or, to a write, by a body that shows *pending*;
    ``throttled``: answered 429 or 503, 413 with an instruction, or by a body that says so, the queue's aside.
    """
    whole = {"status": "Int64", "pending": "int64", "throttled": "int64", "count": "int64"}
    return run(_counts, rows, by=_BY).astype(whole)


_BY: Final = ("host", "endpoint", "status", "protocol", "checkout")


def _counts(rows: ir.Table) -> ir.Table:
    named = rows.select("host", "status", **written(rows), throttled=throttles(rows), checkout=on_checkout(rows))
    return named.group_by(*_BY).agg(count=_.count(), pending=_.pending.sum(), throttled=_.throttled.sum())


def written(rows: ir.Table) -> dict[str, ir.Value]:
    """The endpoint, the protocol that calls the request a write, if it was answered, and whether it was "not yet"."""
    writes = rows.observations.filter(lambda o: o["role"] == "write")
    shown = writes.filter(lambda o: o["state"] == "pending").length() > 0
    return {
        "endpoint": rows.method.concat(" ", rows.endpoint),
        "protocol": rows.status.notnull().ifelse(writes[0]["protocol"], ibis.null("string")),
        "pending": ((rows.status == ACCEPTED) | shown).fill_null(False),
    }


def throttles(rows: ir.Table) -> ir.BooleanValue:
    """Whether the answer throttles its client: by status, or in the words of its body."""
    by_status = rows.status.isin(sorted(throttle.THROTTLED)) | ((rows.status == TOO_LARGE) & rows.klass.notnull())
    in_words = rows.observations.filter(lambda o: o["throttled"]).length() > 0
    return (by_status.fill_null(False) & ~rows.queued) | in_words.fill_null(False)


def on_checkout(rows: ir.Table) -> ir.BooleanValue:
    """Whether the path is one of Shopify's checkout: its template says so."""
    return rows.endpoint.re_search(r"^/(admin|wallets|api)(/.*)?/checkouts(\.json$|/\{token\})") | ibis.literal(False)
