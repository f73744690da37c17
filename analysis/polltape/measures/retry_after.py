"""Who kept to Retry-After: compliance over the waits whose deadline was seen to pass.

rate = (kept + late) / (kept + late + early), over rated waits.  Late is no breach: the instruction is a
minimum; its cost is told in seconds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from polltape.measures.statistics import Ints, cluster_bootstrap, wilson

GROUP: Final = ["protocol", "kind", "host"]
FEWEST_CLIENTS: Final = 10
"""With fewer, nobody can tell how much clients differ: there is no interval by client."""


def compliance(waits: pd.DataFrame, by: list[str] | None = None) -> pd.DataFrame:
    """One row for each group of waits; columns as in the JSON contract.

    ``waits``: the table of waits with protocol, kind, host, client, operation, verdict, rated.  ``kept``,
    ``late`` and ``early`` count rated waits; ``unanswered``, ``open`` and ``void`` count all.
    """
    by = GROUP if by is None else by
    columns = [*by, "kept", "late", "early", "unanswered", "open", "void", "rate", "low", "high"]
    rows = [
        dict(zip(by, names, strict=True)) | _row(group) for names, group in waits.groupby(by, dropna=False, sort=True)
    ]
    return pd.DataFrame(
        rows, columns=[*columns, "operations", "operations_clean", "clients", "late_s", "cluster_low", "cluster_high"]
    )


def _row(group: pd.DataFrame) -> dict[str, Any]:
    rated = group[group["rated"].astype(bool)]
    counts = {verdict: int((rated["verdict"] == verdict).sum()) for verdict in ("kept", "late", "early")}
    counts |= {verdict: int((group["verdict"] == verdict).sum()) for verdict in ("unanswered", "open", "void")}
    obeyed = counts["kept"] + counts["late"]
    total = obeyed + counts["early"]
    interval = wilson(obeyed, total)
    operations = rated.dropna(subset=["operation"])
    early = operations.loc[operations["verdict"] == "early", "operation"].nunique()
    late = rated[rated["verdict"] == "late"]
    by_client = _by_client(rated)
    return counts | {
        "rate": obeyed / total if total else None,
        "low": None if interval is None else interval[0],
        "high": None if interval is None else interval[1],
        "operations": int(operations["operation"].nunique()),
        "operations_clean": int(operations["operation"].nunique() - early),
        "clients": int(rated["client"].nunique()),
        "late_s": float((late["waited_s"] - late["asked_s"]).sum()),
        "cluster_low": None if by_client is None else by_client[0],
        "cluster_high": None if by_client is None else by_client[1],
    }


def _by_client(rated: pd.DataFrame) -> tuple[float, float] | None:
    """The 95 % interval of the rate that takes clients, not waits, as independent; None below ten of them."""
    known = rated[rated["client"].notna()]
    numbers, names = pd.factorize(known["client"])
    totals = np.bincount(numbers, minlength=len(names))
    obeyed = np.bincount(numbers[(known["verdict"] != "early").to_numpy()], minlength=len(names))
    return clustered(obeyed, totals)


def clustered(obeyed: Ints, totals: Ints, level: float = 0.95) -> tuple[float, float] | None:
    """The interval of Σ obeyed / Σ totals over clusters (clients); None with fewer than ten.

    A cluster bootstrap.  Where all or none obeyed each resample would be the same and the interval a point:
    there each cluster counts as one trial of Wilson's interval.
    """
    if totals.size < FEWEST_CLIENTS:
        return None
    if obeyed.sum() in (0, totals.sum()):
        return wilson(totals.size if obeyed.any() else 0, totals.size, level)
    return cluster_bootstrap(obeyed, totals, level)
