"""An analysis against the truth that lies beside a generated capture: :func:`wrong` lists what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from polltape.measures.analysis import Analysis

DURATIONS: Final = ("duration", "lower", "upper", "observed")
SHOWN: Final = 3
"""Differing rows that are named."""


def wrong(analysis: Analysis, capture: Path) -> list[str]:
    """One line for each column that differs in a row, or code that differs in its count; empty where all is right."""
    truth = capture / "_truth"
    told = json.loads((truth / "truth.json").read_text())
    found = []
    if analysis.exchanges != told["exchanges"]:
        found.append(f"exchanges: {analysis.exchanges}, in truth {told['exchanges']}")
    counts = analysis.findings["code"].value_counts().to_dict()
    found += [
        f"{code}: {counts.get(code, 0)} findings, in truth {told['findings'].get(code, 0)}"
        for code in sorted(counts.keys() | told["findings"].keys())
        if counts.get(code, 0) != told["findings"].get(code, 0)
    ]
    operations = analysis.operations[["id", "kind", "outcome", "polls", "truncated"]].assign(
        **{f"{name}_us": _us(analysis.operations[f"{name}_s"]) for name in DURATIONS}
    )
    waits = analysis.waits[["exchange_id", "verdict", "rated"]].assign(
        **{f"{name}_us": _us(analysis.waits[f"{name}_s"]) for name in ("asked", "waited")}
    )
    found += _differences("operation", operations, _read(truth / "operations.parquet"), "id")
    return found + _differences("wait", waits, _read(truth / "waits.parquet"), "exchange_id")


def _read(path: Path) -> pd.DataFrame:
    return pq.read_table(path).to_pandas()


def _us(seconds: pd.Series[Any]) -> np.ndarray[Any, Any]:
    return np.round(seconds.to_numpy(dtype=float, na_value=np.nan) * 1e6)


def _differences(what: str, analysed: pd.DataFrame, truth: pd.DataFrame, by: str) -> list[str]:
    """Rows are paired by id; numbers are whole microseconds, NaN where there are none."""
    if not analysed[by].is_unique:
        return [f"{what}: several rows of one {by}"]
    both = truth.merge(analysed, on=by, how="outer", suffixes=("", " analysed"), indicator=True)
    found = [
        f"{what}: {(both['_merge'] == side).sum():,} {words}, such as {both.loc[both['_merge'] == side, by].iloc[0]}"
        for side, words in (("left_only", "not found"), ("right_only", "found that are none"))
        if (both["_merge"] == side).any()
    ]
    both = both[both["_merge"] == "both"]
    for name in truth.columns.drop(by):
        expected, got = both[name], both[f"{name} analysed"]
        differ = both[(expected != got) & ~(expected.isna() & got.isna())]
        if len(differ):
            rows = [f"{row[0]}: {row[1]} for {row[2]}" for row in _few(differ, [by, f"{name} analysed", name])]
            found.append(f"{what}, {name}: {len(differ):,} differ from the truth: {'; '.join(rows)}")
    return found


def _few(table: pd.DataFrame, columns: list[str]) -> list[tuple[Any, ...]]:
    return list(table[columns].head(SHOWN).itertuples(index=False, name=None))
