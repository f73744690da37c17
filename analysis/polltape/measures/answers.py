"""How often what was answered where: one pass over all exchanges, from which several measures are summed up."""

from __future__ import annotations

from typing import Final

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from polltape.operations.tables import run
from polltape.operations.timeline import Timeline
from polltape.protocols import throttle

ACCEPTED: Final = 202
TOO_LARGE: Final = 413
"""Throttles only where it says when to come back."""


def answers(timeline: Timeline) -> pd.DataFrame:
    """One row for each host, endpoint (``METHOD template``), status, and protocol that calls it a write.

    ``protocol`` is null for what is no write, or was not answered.  ``checkout``: on a path of Shopify's checkout.
    ``count``: exchanges; of these ``pending``: answered 202, or, to a write, by a body that shows *pending*;
    ``throttled``: answered 429 or 503, 413 with an instruction, or by a body that says so, the queue's aside.
    """
    whole = {"status": "Int64", "pending": "int64", "throttled": "int64", "count": "int64"}
    return run(_counts, timeline.rows, timeline.observed, by=_BY).astype(whole)


_BY: Final = ("host", "endpoint", "status", "protocol", "checkout")


def _counts(rows: ir.Table, observed: ir.Table) -> ir.Table:
    told = with_throttled(with_writes(rows, observed))
    named = told.group_by("host", "method", "template", "status", "protocol").agg(
        count=_.count(), pending=_.pending.sum(), throttled=_.throttled.sum()
    )
    named = named.mutate(endpoint=_.method.concat(" ", _.template), checkout=on_checkout(named.template))
    return named.group_by(*_BY).agg(count=_["count"].sum(), pending=_.pending.sum(), throttled=_.throttled.sum())


def with_writes(rows: ir.Table, observed: ir.Table) -> ir.Table:
    """The rows with their ``template``, the ``protocol`` that calls each a write, and whether it is ``pending``.

    Only of requests that were answered there is a protocol; the answer may be "not yet" by its status or its body.
    """
    writes = observed.filter(_.role == "write")
    writes = writes.group_by("starts").agg(
        writer=_.protocol.argmin(_.place), shown=(_.state == "pending").fill_null(False).any()
    )
    writes = writes.rename(written="starts")
    told = rows.rename(template="endpoint").left_join(writes, _.starts == writes.written)
    return told.mutate(
        protocol=told.status.notnull().ifelse(told.writer, ibis.null("string")),
        pending=((told.status == ACCEPTED) | told.shown).fill_null(False),
    )


def with_throttled(rows: ir.Table) -> ir.Table:
    """The rows with whether the answer has ``throttled`` its client: by status, or in the words of its body."""
    by_status = rows.status.isin(sorted(throttle.THROTTLED)) | ((rows.status == TOO_LARGE) & rows.klass.notnull())
    return rows.mutate(throttled=(by_status.fill_null(False) & ~rows.queued) | rows.in_words)


def on_checkout(template: ir.StringValue) -> ir.BooleanValue:
    """Whether the path is one of Shopify's checkout: its template says so."""
    return template.re_search(r"^/(admin|wallets|api)(/.*)?/checkouts(\.json$|/\{token\})") | ibis.literal(False)
