"""All of ``analyze``, beside the least that could do it: one run, the same file, the answers checked.

*analyze*: open, every measure, the report as text.  *DuckDB*: the least query that could do it, one scan with
``lag`` over key and time and one group-by.  *pandas*: the same with a sort, a shift and a group-by.  *FlowReader*:
a Python loop over the same exchanges as a mitmproxy flow file, with a dict for what came last; that file holds
the first ``--flows`` of them, and its time is per exchange.

Each runs in a process of its own that has imported everything before the clock starts; ``ratio`` is analyze's
time for an exchange over the other's, ``CPU`` the same in processor time.  Captures are generated from a seed
with the truth beside them (:mod:`traffic.generate`), and a run whose answers differ from it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from traffic.generate import generate

from polltape.cli.analyze import MEMORY_POOL
from polltape.exchange import Exchange

HERE: Final = Path(__file__).resolve()
COLUMNS: Final = ("client", "host", "path", "endpoint", "status", "request_started_at", "response_ended_at")
LEAST: Final = """
    SELECT host, endpoint, status, count(*) AS n, avg(epoch_us(request_started_at) - before) AS pause
    FROM (
        SELECT *, lag(epoch_us(response_ended_at)) OVER (
            PARTITION BY client, host, path ORDER BY request_started_at
        ) AS before
        FROM read_parquet(?, hive_partitioning = false)
    )
    GROUP BY ALL
"""
FLOWS: Final = "flows.mitm"
FLOWS_COUNT: Final = "flows.count"


@dataclass(frozen=True)
class Measured:
    """What one piece of work took; ``wrong``: what is wrong with its answers, a line each."""

    seconds: float
    cpu_s: float
    mb: float
    wrong: list[str]


def measured(work: Callable[[], Any], wrong: Callable[[Any], list[str]]) -> Measured:
    """Time and the most memory of the work; its answers are checked behind that."""
    begun, spent = time.perf_counter(), time.process_time()
    answer = work()
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - spent
    peak = peak_mb()
    return Measured(seconds, cpu_s, peak, wrong(answer))


def peak_mb() -> float:
    """The most memory this process has held; 0 where the system does not tell (getrusage counts the parent's, too)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


# --------------------------------------------------------------------------------------- who does what


def with_analyze(capture: Path) -> Measured:
    """All of ``polltape analyze DIR``."""
    import ibis
    from traffic.check import wrong

    from polltape.cli.inputs import capture_of
    from polltape.measures.analysis import Analysis, analyse
    from polltape.report import as_text

    ibis.duckdb.connect().disconnect()

    def work() -> Analysis:
        analysis = analyse(capture_of([str(capture)]), steps=False)  # as the text report has it
        as_text.render(analysis)
        return analysis

    return measured(work, lambda analysis: wrong(analysis, capture))


def with_duckdb(capture: Path) -> Measured:
    """The least query."""
    import duckdb
    import pandas as pd

    def work() -> pd.DataFrame:
        return duckdb.execute(LEAST, [_files(capture)]).df()

    return measured(work, lambda found: _uncounted(capture, found["n"].sum()))


def with_pandas(capture: Path) -> Measured:
    """The same in memory."""
    import pandas as pd

    def work() -> pd.DataFrame:
        parts = [pd.read_parquet(path, columns=list(COLUMNS), partitioning=None) for path in _files(capture)]
        table = pd.concat(parts).sort_values(["client", "host", "path", "request_started_at"])
        before = table.groupby(["client", "host", "path"], sort=False)["response_ended_at"].shift()
        table["pause"] = (table["request_started_at"] - before).dt.total_seconds()
        return table.groupby(["host", "endpoint", "status"], dropna=False)["pause"].agg(["size", "mean"])

    return measured(work, lambda found: _uncounted(capture, found["size"].sum()))


def with_flow_reader(capture: Path) -> Measured:
    """A loop over the flows, which lie beside the capture."""
    from mitmproxy.http import HTTPFlow
    from mitmproxy.io import FlowReader

    def work() -> int:
        last: dict[tuple[str, str, str], float] = {}
        found: dict[tuple[str, str, int], tuple[int, float]] = {}
        with (capture / FLOWS).open("rb") as file:
            for flow in FlowReader(file).stream():
                if not isinstance(flow, HTTPFlow) or flow.response is None:
                    continue
                request, response = flow.request, flow.response
                key = (str(flow.client_conn.peername), request.host, request.path)
                count, pause = found.get((request.host, request.method, response.status_code), (0, 0.0))
                pause += request.timestamp_start - last.get(key, request.timestamp_start)
                found[request.host, request.method, response.status_code] = (count + 1, pause)
                last[key] = response.timestamp_end or 0.0
        return sum(count for count, _ in found.values())

    return measured(work, lambda count: _uncounted(capture, count, (capture / FLOWS_COUNT).read_text()))


WORK: Final = {
    "analyze": with_analyze,
    "DuckDB": with_duckdb,
    "pandas": with_pandas,
    "FlowReader": with_flow_reader,
}


def _files(capture: Path) -> list[str]:
    return [str(path) for path in sorted(capture.glob("date=*/*.parquet"))]


def _uncounted(capture: Path, counted: int, rows: str | None = None) -> list[str]:
    told = int(rows or json.loads((capture / "_truth" / "truth.json").read_text())["exchanges"])
    return [] if counted == told else [f"{counted} of {told} exchanges"]


# ----------------------------------------------------------------------------------------- side by side


def write_flows(capture: Path, most: int) -> int:
    """The capture's first exchanges as a flow file beside it; how many."""
    from polltape.capture import flow_export
    from polltape.capture.reading import open_capture, read_exchanges

    def nothing_to_import(_: Exchange) -> Exchange:
        raise RuntimeError("a generated capture is Parquet only")

    opened = open_capture([capture], redact=nothing_to_import, observe=nothing_to_import)
    with (capture / FLOWS).open("wb") as file:
        count = flow_export.write_flows(file, islice(read_exchanges(opened), most))
    (capture / FLOWS_COUNT).write_text(str(count))
    return count


def alone(name: str, capture: Path) -> Measured:
    """One piece of work in a process of its own."""
    command = [sys.executable, str(HERE), "--alone", name, str(capture)]
    lean = dict([MEMORY_POOL]) if name == "analyze" else {}  # as the command sets it for itself
    done = subprocess.run(command, stdout=subprocess.PIPE, env=os.environ | lean, check=True)
    return Measured(**json.loads(done.stdout))


def compare(rows: int, seed: int, home: Path, *, flows: int, rounds: int) -> list[str]:
    """Print a line for each way of doing it; what was wrong."""
    begun = time.perf_counter()
    capture = home / str(rows)
    generate(capture, rows, seed)
    sizes = dict.fromkeys(WORK, rows) | {"FlowReader": write_flows(capture, min(rows, flows))}
    size_mb = sum(Path(path).stat().st_size for path in _files(capture)) / 1e6
    print(f"\n{rows:,} exchanges, {size_mb:,.0f} MB, made in {time.perf_counter() - begun:.0f} s", flush=True)
    print(
        f"{'':12}{'exchanges':>12}{'seconds':>10}{'CPU s':>9}{'us each':>10}{'MB':>8}{'ratio':>8}{'CPU':>8}", flush=True
    )
    done: dict[str, list[Measured]] = {name: [] for name in WORK}
    for _ in range(rounds):
        for name, found in done.items():
            found.append(alone(name, capture))
    least = {name: min(found, key=lambda one: one.seconds) for name, found in done.items()}
    each_us = {name: one.seconds / sizes[name] * 1e6 for name, one in least.items()}
    cpu_us = {name: one.cpu_s / sizes[name] * 1e6 for name, one in least.items()}
    for name, one in least.items():
        mb = max(each.mb for each in done[name])
        ratio, cpu = each_us["analyze"] / each_us[name], cpu_us["analyze"] / cpu_us[name]
        times = f"{one.seconds:10.2f}{one.cpu_s:9.2f}{each_us[name]:10.2f}"
        print(f"{name:12}{sizes[name]:12,}{times}{mb:8,.0f}{ratio:8.2f}{cpu:8.2f}", flush=True)
    shutil.rmtree(capture)
    return [f"{name}, {rows:,} exchanges: {line}" for name, found in done.items() for line in found[0].wrong]


def main() -> int:
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(asdict(WORK[sys.argv[2]](Path(sys.argv[3])))))
        return 0
    parser = argparse.ArgumentParser(prog="bench/run.py analyze --", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000], help="exchanges of each capture")
    parser.add_argument("--flows", type=int, default=10_000, help="exchanges of the flow file, at most")
    parser.add_argument("--rounds", type=int, default=1, help="the fastest counts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--make", type=Path, metavar="DIR", help="only make the first capture, there, and leave it")
    arguments = parser.parse_args()
    if arguments.make:
        generate(arguments.make, arguments.rows[0], arguments.seed)
        return 0
    with tempfile.TemporaryDirectory(prefix="polltape-bench-") as home:
        wrong = [
            line
            for rows in arguments.rows
            for line in compare(rows, arguments.seed, Path(home), flows=arguments.flows, rounds=arguments.rounds)
        ]
    print("\n" + ("\n".join(f"wrong: {line}" for line in wrong) or "every answer is the truth"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
