"""Waits: each instruction to wait, and the next request that it governed.

A wait is opened by an instruction on the submit, a join or a non-final poll of an operation, on every 429,
503, 413 and 3xx, and on a checkout GET outside an operation.  The status decides the scope first:

=============================  =======================================================================
answer                         governed is the next …
=============================  =======================================================================
429, 503, 413                  request of the same client to the same host; to another method or path
(without X-Checkout-Queue)     only if it starts more than 100 ms later, before that it was under way
3xx                            request of the same client to the address redirected to
else, in an operation          poll, join or resubmit of the operation
else                           request of the same client, method, host and path
=============================  =======================================================================

that starts at or after the response's end.  A date is only as good as a second, a delay is good to 10 ms.
"""

from __future__ import annotations

from typing import Any, Final

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from ibis import _

from polltape.operations.covered import Covered
from polltape.operations.fold import FINAL
from polltape.operations.lives import Lives

THROTTLED: Final = (429, 503, 413)
UNDER_WAY_US: Final = 100_000
LONGEST_S: Final = 1e12
"""Longer waits are counted as this: an instant so far off still fits 64 bits of microseconds."""


def openers(connection: Any, rows: ir.Table, lives: Lives) -> ir.Table:
    """Every response with an instruction, usable or not, that could open a wait, with its operation and scope.

    Columns of the timeline and ``operation``, ``closed`` (rank of the operation's end), ``scope`` (``host``,
    ``redirect``, ``operation`` or ``request``).
    """
    members = connection.create_table("members", lives.members.astype("string"), temp=True, overwrite=True)
    closed = lives.operations[["id", "closed"]].rename(columns={"id": "of"}).astype({"of": "string"})
    operations = connection.create_table("closed_operations", closed, temp=True, overwrite=True)
    owned = members.group_by("exchange_id").agg(
        operation=_.operation.min(),
        waits=(~_.state.isin(sorted(FINAL)).fill_null(False)).any(),  # noqa: FBT003
    )
    owned = owned.rename(member="exchange_id")
    joined = rows.filter(rows.ended & rows.klass.notnull()).left_join(owned, _.exchange_id == owned.member)
    joined = joined.left_join(operations, _.operation == operations.of).drop("of")
    by_status = joined.status.isin(THROTTLED) | joined.status.between(300, 399)
    joined = joined.mutate(
        opens=by_status
        | joined.waits.fill_null(False)  # noqa: FBT003
        | (joined.operation.isnull() & _is_checkout_get(joined))
    )
    scope = ibis.cases(
        (joined.status.isin(THROTTLED) & ~joined.queued, "host"),
        (joined.status.between(300, 399), "redirect"),
        (joined.operation.notnull(), "operation"),
        else_="request",
    )
    return joined.mutate(scope=scope).filter(_.opens).drop("opens", "waits", "member")


def _is_checkout_get(rows: ir.Table) -> ir.BooleanValue:
    """A GET of the checkout itself: the one read of shopify-checkout that belongs to no single kind."""
    return rows.observations.filter(
        lambda o: (o["protocol"] == "shopify-checkout") & (o["role"] == "read") & o["kind"].isnull()
    ).length() > 0


def waits(connection: Any, rows: ir.Table, lives: Lives, covered: Covered, tolerances: Tolerances) -> pd.DataFrame:
    raise NotImplementedError
