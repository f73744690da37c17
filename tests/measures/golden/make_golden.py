"""Makes golden.json beside this file: what lifelines (Python) and survival (R) say on the same data.

    python make_golden.py

It needs numpy, pandas, lifelines and an Rscript with the package survival.  lifelines holds pandas below 3,
so it runs in an environment of its own; polltape's tests only read the numbers.

Where a library differs from our definitions, ours win.  R's median is left out: it is the middle of two times
where S(t) is exactly one half.  lifelines moves tied times apart at random for Aalen-Johansen, so it only gets
data without ties; its median misses an S(t) of exactly one half by rounding (the case "light").
"""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lifelines import AalenJohansenFitter, KaplanMeierFitter
from lifelines.utils import median_survival_times

HERE = Path(__file__).parent
CAUSES = ("completed", "failed")

R_SCRIPT = """
suppressMessages(library(survival))
rows <- read.csv(file("stdin"), na.strings = "NA")
horizon <- as.numeric(commandArgs(TRUE)[1])
numbers <- function(name, x)
  cat(sprintf('"%s": [%s]', name, paste(ifelse(!is.finite(x), "null", sprintf("%.15g", x)), collapse = ", ")))
fit <- survfit(Surv(rows$seconds, rows$cause > 0) ~ 1, conf.type = "log-log")
table <- summary(fit, rmean = horizon)$table
ends <- quantile(fit, probs = 0.5)
states <- survfit(Surv(rows$seconds, factor(rows$cause, levels = 0:2)) ~ 1)
cat("{")
numbers("times", fit$time); cat(", ")
numbers("survival", fit$surv); cat(", ")
numbers("greenwood", fit$std.err^2); cat(", ")
numbers("low", fit$lower); cat(", ")
numbers("high", fit$upper); cat(", ")
numbers("median_interval", c(ends$lower, ends$upper)); cat(", ")
numbers("restricted_mean", c(table["rmean"], table["se(rmean)"])); cat(", ")
numbers("completed", states$pstate[, 2]); cat(", ")
numbers("failed", states$pstate[, 3])
cat("}")
"""


def sample(seed: int, size: int, censoring: float, decimals: int) -> dict[str, Any]:
    """Operations with two ends and right-censoring; few decimals make ties."""
    rng = np.random.default_rng(seed)
    times = np.stack([rng.lognormal(0.9, 0.8, size), rng.exponential(9, size), rng.exponential(censoring, size)])
    seconds = np.round(times.min(axis=0), decimals)
    causes = [("completed", "failed", None)[which] for which in times.argmin(axis=0)]
    return {"durations": seconds.tolist(), "causes": causes, "horizon": float(np.quantile(seconds, 0.8).round(2))}


def from_r(data: dict[str, Any]) -> dict[str, Any]:
    codes = [0 if cause is None else 1 + CAUSES.index(cause) for cause in data["causes"]]
    rows = pd.DataFrame({"seconds": data["durations"], "cause": codes}).to_csv(index=False)
    command = ["Rscript", "-e", R_SCRIPT, str(data["horizon"])]
    answer = subprocess.run(command, input=rows, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def from_lifelines(data: dict[str, Any]) -> dict[str, Any]:
    durations = pd.Series(data["durations"])
    ended = pd.Series([cause is not None for cause in data["causes"]])
    fitter = KaplanMeierFitter().fit(durations, ended)
    ends = median_survival_times(fitter.confidence_interval_).iloc[0]
    found: dict[str, Any] = {
        "median": fitter.median_survival_time_,
        "median_interval": [None if np.isinf(end) else float(end) for end in ends],
    }
    if durations.is_unique:
        codes = pd.Series([0 if cause is None else 1 + CAUSES.index(cause) for cause in data["causes"]])
        for number, cause in enumerate(CAUSES, 1):
            curve = AalenJohansenFitter(calculate_variance=False).fit(durations, codes, number)
            found[cause] = curve.cumulative_density_.iloc[1:, 0].tolist()
    return found


def main() -> None:
    plans = {"small": (1, 20, 6, 1), "ties": (2, 120, 5, 0), "distinct": (3, 150, 8, 6), "light": (4, 60, 500, 2)}
    cases = {name: sample(*plan) for name, plan in plans.items()}
    for data in cases.values():
        data["r"], data["lifelines"] = from_r(data), from_lifelines(data)
    versions = subprocess.run(
        ["Rscript", "-e", 'cat(R.version.string, "survival", as.character(packageVersion("survival")))'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    made_by = [f"lifelines {version('lifelines')}", versions]
    text = json.dumps({"made_by": made_by, "cases": cases}, separators=(",", ":"))
    (HERE / "golden.json").write_text(text.replace('"cases"', '\n"cases"').replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
