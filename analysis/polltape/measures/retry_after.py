"""Who kept to Retry-After: compliance over the waits whose deadline was seen to pass.

rate = (kept + late) / (kept + late + early), over rated waits.  Late is no breach: the instruction is a
minimum; its cost is told in seconds.
"""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from polltape.measures.statistics import wilson

GROUP: Final = ["protocol", "kind", "host"]


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
    return pd.DataFrame(rows, columns=[*columns, "operations", "operations_clean", "clients", "late_s"])


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
    return counts | {
        "rate": obeyed / total if total else None,
        "low": None if interval is None else interval[0],
        "high": None if interval is None else interval[1],
        "operations": int(operations["operation"].nunique()),
        "operations_clean": int(operations["operation"].nunique() - early),
        "clients": int(rated["client"].nunique()),
        "late_s": float((late["waited_s"] - late["asked_s"]).sum()),
    }
