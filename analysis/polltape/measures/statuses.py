"""Statuses by host and endpoint, with what each means and whose fault it is.

Meanings: Shopify's page of response status codes, in our own words; for the rest RFC 9110 §15.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import pandas as pd

MEANINGS: Final = {
    200: "processed",
    201: "processed, something was created",
    202: "accepted, not yet processed: poll until it is",
    303: "see another address; Shopify also answers so when checkouts are created too fast",
    400: "not understood: bad syntax, wrong Content-Type or a bad OAuth code",
    401: "no valid credentials",
    402: "the shop is frozen",
    403: "refused: usually a missing access scope",
    404: "not found, though it may be there later",
    406: "cannot answer in the format that Accept asks for",
    422: "understood, but wrong in what it says: see errors in the body",
    429: "too many requests: wait before the next one",
    500: "internal error of the server",
    501: "this endpoint is not available here",
    503: "currently unavailable",
}
CLIENT_ERRORS: Final = frozenset({400, 401, 402, 403, 404, 406, 422})
"""ST002: the client's own error."""
DOCUMENTED: Final = frozenset({200, 201, 202, 303, 400, 401, 402, 403, 404, 406, 422, 429, 500, 501, 503})
"""What Shopify's page lists, and 303, which its checkout also sends; another status on a checkout path is ST001."""


def meaning(status: int | None) -> str:
    """What a status says, in one line; for None that no response came."""
    if status is None:
        return "no response"
    if status in MEANINGS:
        return MEANINGS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "not a registered status code"


def fault(status: int | None, *, checkout: bool) -> str | None:
    """``server`` (ST001), ``client`` (ST002) or None; ``checkout``: on a path of Shopify's checkout."""
    if status is None:
        return None
    if status in CLIENT_ERRORS:
        return "client"
    if status >= 500 or (checkout and status not in DOCUMENTED):
        return "server"
    return None


def statuses(answered: pd.DataFrame) -> pd.DataFrame:
    """Columns host, endpoint (``METHOD template``), status, count, meaning, fault; one row a combination.

    ``answered``: the table of :func:`~polltape.measures.answers.answers`.
    """
    by = ["host", "endpoint", "status"]
    table = answered.groupby(by, dropna=False, sort=True, as_index=False).agg(
        count=("count", "sum"), checkout=("checkout", "first")
    )
    known = [None if pd.isna(status) else int(status) for status in table["status"]]
    table["meaning"] = [meaning(status) for status in known]
    table["fault"] = [fault(s, checkout=bool(c)) for s, c in zip(known, table["checkout"], strict=True)]
    return table[["host", "endpoint", "status", "count", "meaning", "fault"]]
