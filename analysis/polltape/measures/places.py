"""Where each finding is: the host and the endpoint of the exchange that it is about."""

from __future__ import annotations

import pandas as pd


def placed(findings: pd.DataFrame, timeline: pd.DataFrame) -> pd.DataFrame:
    """The findings with ``host`` and ``endpoint`` (``METHOD template``) of the last exchange that each names.

    ``timeline``: exchange_id, host, method, endpoint of the exchanges; null where it does not have one.
    """
    known = timeline.drop_duplicates("exchange_id").set_index("exchange_id")
    about = findings["exchanges"].str[-1]
    return findings.assign(
        host=about.map(known["host"]).astype("string"),
        endpoint=about.map(known["method"] + " " + known["endpoint"]).astype("string"),
    )
