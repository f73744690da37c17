"""Makes turnbull.json beside this file: what survival (R) says of brackets that are half-open.

    python make_turnbull.py

It needs numpy and an Rscript with the package survival.  R tells the middle of each innermost interval and the share
that has not ended after it.
"""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

R_SCRIPT = """
suppressMessages(library(survival))
rows <- read.csv(file("stdin"), na.strings = "NA")
fit <- survfit(Surv(rows$lower, rows$upper, type = "interval2") ~ 1)
here <- fit$n.event > 0
numbers <- function(x) paste(sprintf("%.15g", x), collapse = ", ")
cat(sprintf('{"times": [%s], "survival": [%s]}', numbers(fit$time[here]), numbers(fit$surv[here])))
"""


def sample(seed: int, size: int, every: float, leaving: float) -> dict[str, Any]:
    """Completions seen by polls ``every`` so many seconds, each client's shifted; some leave unended."""
    rng = np.random.default_rng(seed)
    done, left = rng.lognormal(0.9, 0.7, size), rng.exponential(leaving, size)
    shift = rng.integers(0, 4, size) * every / 4
    lower = np.maximum(np.floor((done - shift) / every) * every + shift, 0)
    seen = lower + every <= left
    unended = np.maximum(np.floor((left - shift) / every) * every + shift, 0)
    upper = [float(end) if here else None for end, here in zip(lower + every, seen, strict=True)]
    return {"lower": np.where(seen, lower, np.minimum(lower, unended)).tolist(), "upper": upper}


def from_r(case: dict[str, Any]) -> dict[str, Any]:
    rows = "lower,upper\n" + "\n".join(
        f"{low},{'NA' if high is None else high}" for low, high in zip(case["lower"], case["upper"], strict=True)
    )
    answer = subprocess.run(["Rscript", "-e", R_SCRIPT], input=rows, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    assert all(math.isfinite(share) for share in found["survival"])
    return found


def main() -> None:
    plans = {"grid": (1, 60, 1.0, 1e9), "leaving": (2, 150, 1.0, 6.0), "coarse": (3, 80, 4.0, 12.0)}
    cases = {name: sample(*plan) for name, plan in plans.items()}
    for case in cases.values():
        case["r"] = from_r(case)
    versions = subprocess.run(
        ["Rscript", "-e", 'cat(R.version.string, "survival", as.character(packageVersion("survival")))'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = json.dumps({"made_by": versions, "cases": cases}, separators=(",", ":"))
    path = Path(__file__).with_name("turnbull.json")
    path.write_text(text.replace('"cases"', '\n"cases"').replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
