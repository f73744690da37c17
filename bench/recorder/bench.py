"""What recording costs: mitmdump bare, with polltape, with -w, with hardump; interleaved in one run on loopback.

    python bench/run.py recorder -- [--rounds N] [--requests N] [--sizes N] [--long N]

Each variant is a mitmdump in reverse mode between the same client and server.  In each round every variant
gets the same number of requests, bare mitmdump as two variants; the ratio to the two is taken within the round,
and the median of the rounds is told with its interval of 95 % (bootstrap).  How far the two bare ones are apart
is what the machine's own unrest does to the others, too.  Afterwards the capture must hold as many rows as
responses were received.  What an exchange takes on the disk is measured
with a shop's traffic (``traffic.py``), and memory over many exchanges.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent))

import load
import traffic

ROOT: Final = Path(__file__).resolve().parents[2]
ADDON: Final = ROOT / "addons" / "record.py"
PROGRAMS: Final = Path(sys.executable).parent
CONNECTIONS: Final = 8
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def stat_fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and of its children that have ended."""
    with suppress(OSError):
        return sum(int(part) for part in stat_fields(pid)[11:15]) / TICKS
    return 0.0


def memory_mb(pid: int) -> float:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6
    return 0.0


def helper_of(pid: int) -> int | None:
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if int(stat_fields(int(entry.name))[1]) == pid and b"--frames" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    return None


@dataclass
class Variant:
    """One mitmdump under test, and what was measured of it."""

    name: str
    arguments: list[str]
    home: Path
    rates: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    requests: int = 0
    port: int = 0
    helper: int | None = None
    process: subprocess.Popen[str] | None = None

    def start(self, upstream: int) -> None:
        """Start it and wait for its port; raises RuntimeError with what it said."""
        self.home.mkdir(parents=True)
        command = [str(PROGRAMS / "mitmdump"), "--mode", f"reverse:http://127.0.0.1:{upstream}", "-p", "0"]
        sets = {"confdir": self.home / "mitmproxy", "flow_detail": 0, "termlog_verbosity": "info"}
        options = [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
        self.log = (self.home / "log").open("w+")
        self.process = subprocess.Popen(
            [*command, "--listen-host", "127.0.0.1", *options, *self.arguments],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "POLLTAPE_CONFIG_DIR": str(self.home / "config")},
        )
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening at \S+:(\d+)", (self.home / "log").read_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {(self.home / 'log').read_text()}")
            time.sleep(0.05)
        self.port = int(found[1])
        while "-s" in self.arguments and self.helper is None and time.monotonic() < deadline:
            time.sleep(0.1)
            self.helper = helper_of(self.process.pid)

    def cpu_now(self) -> tuple[float, float]:
        assert self.process is not None
        return cpu_s(self.process.pid), cpu_s(self.helper) if self.helper else 0.0

    async def round(self, count: int) -> float:
        """One round; requests a second."""
        before = self.cpu_now()[0]
        seconds, waited = await load.ask(self.port, load.puts(self.requests, count), count, CONNECTIONS)
        self.requests += count
        self.cpu.append((self.cpu_now()[0] - before) / count * 1e6)
        self.waits += waited
        return count / seconds

    def settle(self) -> None:
        """Until its helper has nothing to do: what it still works on must not slow the next one."""
        if self.helper:
            while True:
                before = cpu_s(self.helper)
                time.sleep(0.2)
                if cpu_s(self.helper) - before < 0.02:
                    return

    def stop(self) -> str:
        """End it as a user does; what it said."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait(600)
        self.log.close()
        return (self.home / "log").read_text()


def variants(home: Path) -> list[Variant]:
    return [
        Variant("bare", [], home / "bare"),
        Variant(
            "polltape", ["-s", str(ADDON), "--set", f"polltape_dir={home / 'polltape' / 'captures'}"], home / "polltape"
        ),
        Variant("-w", ["-w", str(home / "w" / "flows")], home / "w"),
        Variant("hardump", ["--set", f"hardump={home / 'har' / 'flows.har'}"], home / "har"),
        Variant("bare again", [], home / "bare-again"),
    ]


@contextmanager
def running(chosen: list[Variant], upstream: int) -> Iterator[None]:
    try:
        for variant in chosen:
            variant.start(upstream)
        yield
    finally:
        for variant in chosen:
            if variant.process is not None and variant.process.poll() is None:
                variant.process.kill()
                variant.process.wait()


def rows(captures: Path) -> int:
    """How many rows the Parquet files of a capture hold."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in captures.glob("date=*/*.parquet"))


def size(path: Path, pattern: str = "*") -> int:
    files = path.rglob(pattern) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


async def throughput(home: Path, rounds: int, count: int) -> None:
    """The table of requests a second."""
    upstream = await load.serve()
    alone = (await load.ask(upstream, load.puts(0, 4_000), 4_000, CONNECTIONS))[0]
    chosen = variants(home)
    print(f"{rounds} rounds of {count} PUTs each, 2.5 KB both ways, {CONNECTIONS} connections, {os.cpu_count()} cores,")
    print(f"Python {platform.python_version()}; client and server without a proxy: {4_000 / alone:,.0f} a second")
    with running(chosen, upstream):
        for variant in chosen:
            await variant.round(500)  # warm, not counted
            variant.settle()
            variant.waits.clear(), variant.cpu.clear()
        helper_before = chosen[1].cpu_now()[1]
        for number in range(rounds):
            first = number % len(chosen)
            for variant in chosen[first:] + chosen[:first]:
                variant.rates.append(await variant.round(count))
                variant.settle()
        helper_us = (chosen[1].cpu_now()[1] - helper_before) / (rounds * count) * 1e6
        last_words = [variant.stop() for variant in chosen]
    tell(chosen, helper_us)
    check(chosen[1], last_words[1])


def of_bare(chosen: list[Variant], measured: str) -> dict[str, list[float]]:
    """Of each variant a round's value over that of bare mitmdump, the mean of its two."""
    values = {variant.name: getattr(variant, measured) for variant in chosen}
    bare = [(one + other) / 2 for one, other in zip(values["bare"], values["bare again"], strict=True)]
    return {name: [value / base for value, base in zip(some, bare, strict=True)] for name, some in values.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the medians of samples drawn from the values again."""
    draw = random.Random(1)
    medians = statistics.quantiles((statistics.median(draw.choices(values, k=len(values))) for _ in range(4_000)), n=40)
    return medians[0], medians[-1]


def tell(chosen: list[Variant], helper_us: float) -> None:
    rates, spent = of_bare(chosen, "rates"), of_bare(chosen, "cpu")
    print(f"\n{'':10} {'a second':>8} {'of bare':>8} {'95 %':>12} ", end="")
    print(f"{'CPU':>8} {'of bare':>8} {'p50':>8} {'p99':>8} {'bytes':>7}")
    kept = {"polltape": "captures", "-w": "flows", "hardump": "flows.har"}
    for variant in chosen:
        low, high = interval(rates[variant.name])
        waits = statistics.quantiles(variant.waits, n=100)
        stored = size(variant.home / kept[variant.name]) / variant.requests if variant.name in kept else 0
        print(
            f"{variant.name:10} {statistics.median(variant.rates):8,.0f} {statistics.median(rates[variant.name]):8.3f} "
            f"{low:6.3f}..{high:5.3f}{statistics.median(variant.cpu):6.0f} µs "
            f"{statistics.median(spent[variant.name]):7.3f} "
            f"{waits[49] * 1e3:5.2f} ms {waits[98] * 1e3:5.2f} ms {stored:7,.0f}"
        )
    print(f"CPU: of mitmdump, an exchange; the helper's own, redaction included: {helper_us:.0f} µs, on the other core")


def check(variant: Variant, said: str) -> None:
    """As many rows as responses, else RuntimeError."""
    held = rows(variant.home / "captures")
    if held != variant.requests:
        raise RuntimeError(f"{variant.requests} responses were received, the capture holds {held} rows:\n{said}")
    print(f"the capture holds {held:,} rows for {variant.requests:,} responses received")


async def sizes(home: Path, count: int) -> None:
    """Bytes an exchange of a shop's traffic, beside ``-w``; its responses as they are, and compressed."""
    upstream = await load.serve(load.Shop)
    print(f"\nbytes an exchange, {count:,} exchanges of a shop, no two alike")
    print(f"{'responses':10} {'sent':>7} {'-w':>7} {'polltape':>9} {'of -w':>6}")
    for coding in ("plain", "gzip"):
        _, ours, flows, *_ = variants(home / coding)
        with running([ours, flows], upstream):
            for variant in (ours, flows):
                mix = traffic.Traffic(seed=1, gzipped=coding == "gzip")
                pairs = list(islice(mix, count))
                await load.ask(variant.port, load.varied(pairs), count, CONNECTIONS)
                variant.requests = count
            said = [variant.stop() for variant in (ours, flows)]
        check(ours, said[0])
        kept, written = size(ours.home / "captures", "*.parquet") / count, size(flows.home / "flows") / count
        sent = sum(map(len, chain.from_iterable(pairs))) / count
        print(f"{coding:10} {sent:7,.0f} {written:7,.0f} {kept:9,.0f} {kept / written:6.3f}", flush=True)


async def long_run(home: Path, count: int) -> None:
    """Memory of mitmdump and helper over many exchanges."""
    upstream = await load.serve()
    ours = variants(home)[1]
    print(f"\nmemory over {count:,} exchanges (MB)\n{'exchanges':>10} {'mitmdump':>9} {'helper':>7} {'a second':>9}")
    with running([ours], upstream):
        assert ours.process is not None
        for _ in range(10):
            rate = await ours.round(count // 10)
            used = memory_mb(ours.process.pid), memory_mb(ours.helper or 0)
            print(f"{ours.requests:10,} {used[0]:9.0f} {used[1]:7.0f} {rate:9,.0f}", flush=True)
        said = ours.stop()
    check(ours, said)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/run.py recorder --", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=16, help="of the table of requests a second; 0: none")
    parser.add_argument("--requests", type=int, default=600, help="a round and variant")
    parser.add_argument("--sizes", type=int, default=2_000, help="exchanges of a shop whose size is measured; 0: none")
    parser.add_argument(
        "--long", type=int, default=20_000, help="exchanges of the memory run; 0: none (200000: the full one)"
    )
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="polltape-bench-"))
    try:
        if arguments.rounds:
            asyncio.run(throughput(home / "throughput", arguments.rounds, arguments.requests))
        if arguments.sizes:
            asyncio.run(sizes(home / "sizes", arguments.sizes))
        if arguments.long:
            asyncio.run(long_run(home / "long", arguments.long))
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
