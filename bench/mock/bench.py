"""A mock of many operations against WireMock and mitmproxy's server replay; interleaved in one run on loopback.

    python bench/run.py mock -- [--operations N] [--stubs N] [--rounds N] [--seconds S] [--warm S] [--wiremock JAR]

Every server answers polls of checkouts, 2.3 KB each, asked by wrk over 64 connections, each time for another
checkout drawn at random.

==================  ============================================================================================
polltape            all operations loaded and submitted by a client of its own tokens: each poll is found by its
                    token, timed by the operation's clock, and answered with the client's token and address
WireMock, 1 stub    its best case: one pattern of the path, one body for everybody
WireMock, N stubs   a stub for each of ``--stubs`` checkouts
mitmproxy           ``--server-replay`` of ``--stubs`` recorded polls, each kept for the next time
==================  ============================================================================================

Answers are checked before and after the load: status and token of a sample, after the load the final answers of
the same sample too; under load every status.  A wrong answer of anybody's makes the exit status 1, and so does a
connection that polltape drops; where a peer drops some, that is said.  The ratio is taken within a round; the medians
of the rounds are told, and the server's processor time for each request, which says most where the machine is busy
otherwise.
wrk has to be installed; a server that is not there is left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent))

import shop

PROGRAMS: Final = Path(sys.executable).parent
SAMPLE: Final = 200
READY_S: Final = 900
SCRIPT: Final = """
local tokens = {}
for line in io.lines("%s") do tokens[#tokens + 1] = "/admin/api/2020-10/checkouts/" .. line .. ".json" end
math.randomseed(1)
request = function() return wrk.format("GET", tokens[math.random(#tokens)]) end
"""


@dataclass
class Server:
    """One contestant: where it listens, what it knows, and what was measured."""

    name: str
    url: str
    tokens: Sequence[str]
    check: Callable[[Server], list[str]]
    script: Path
    pid: int
    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """What wrk says of connections that the server let go of: answers that never came, but no wrong ones."""


@contextmanager
def running(command: list[str], told: str, home: Path) -> Iterator[tuple[str, int]]:
    """What ``told`` finds in a program's output, once it is there, and its process; ended with the block."""
    output = home / f"{Path(command[0]).name}-{random.getrandbits(32):08x}.log"
    with output.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + READY_S
        while (found := re.search(told, output.read_text())) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start:\n{output.read_text()[-2000:]}")
            time.sleep(0.05)
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait(30)


# ------------------------------------------------------------------------------------------- contestants


@contextmanager
def polltape(capture: Path, tokens: Sequence[str], home: Path) -> Iterator[Server]:
    """Slow enough that what is submitted stays pending until its clock is moved on."""
    begun = time.perf_counter()
    command = [str(PROGRAMS / "polltape"), "mock", str(capture), "--port", "0", "--speed", "0.001"]
    with running(command, r"listening on (http://\S+)", home) as (url, pid):
        print(f"polltape: {len(tokens):,} operations loaded in {time.perf_counter() - begun:.0f} s", flush=True)
        begun = time.perf_counter()
        submit(url, tokens)
        print(f"polltape: as many submitted in {time.perf_counter() - begun:.0f} s", flush=True)
        yield Server(
            "polltape", url, tokens, lambda server: sampled(server, 202), script(tokens, home, "polltape"), pid
        )


@contextmanager
def wiremock(jar: Path, tokens: Sequence[str], home: Path) -> Iterator[Server]:
    """``tokens``: each gets a stub; none of them: one stub for all."""
    name = f"WireMock, {max(1, len(tokens)):,} stub{'s' if tokens else ''}"
    root = home / f"wiremock-{len(tokens)}"
    (root / "mappings").mkdir(parents=True)
    known = tokens or ["[0-9a-f]{32}"]
    how = "urlPath" if tokens else "urlPathPattern"
    mappings = [
        {
            "request": {"method": "GET", how: shop.PATH.format(token)},
            "response": {
                "status": 202,
                "body": json.dumps({"checkout": shop.checkout(token if tokens else shop.TOKEN)}),
                "headers": {"Content-Type": "application/json; charset=utf-8", "Retry-After": "1"},
            },
        }
        for token in known
    ]
    (root / "mappings" / "all.json").write_text(json.dumps({"mappings": mappings}))
    command = [
        *("java", "-Xmx2g", "-jar", str(jar), "--port", "0", "--bind-address", "127.0.0.1", "--root-dir", str(root)),
        *("--no-request-journal", "--disable-request-logging"),
    ]
    with running(command, r"port:\s+([1-9][0-9]*)", home) as (port, pid):
        asked = tokens or shop.tokens_of(1000)
        url = f"http://127.0.0.1:{port}"
        token = None if tokens else shop.TOKEN
        yield Server(
            name, url, asked, lambda server: sampled(server, 202, token), script(asked, home, f"wm{len(tokens)}"), pid
        )


@contextmanager
def mitmproxy(capture: Path, tokens: Sequence[str], home: Path) -> Iterator[Server]:
    flows = home / "polls.mitm"
    write_flows(capture, len(tokens), flows)
    command = [
        *(str(PROGRAMS / "mitmdump"), "--mode", "reverse:http://127.0.0.1:9", "--listen-host", "127.0.0.1"),
        *(
            "--listen-port",
            "0",
            "-q",
            "--server-replay",
            str(flows),
            "-s",
            str(Path(__file__).with_name("told_port.py")),
        ),
        *("--set", "server_replay_reuse=true", "--set", "server_replay_extra=404"),
        *("--set", "server_replay_ignore_host=true", "--set", "server_replay_ignore_port=true"),
        *("--set", "connection_strategy=lazy", "--set", "server_replay_ignore_content=true"),
    ]
    with running(command, r"listening on (http://\S+)", home) as (url, pid):
        yield Server(
            f"mitmproxy, {len(tokens):,} flows",
            url,
            tokens,
            lambda server: sampled(server, 202),
            script(tokens, home, "mitm"),
            pid,
        )


def write_flows(capture: Path, count: int, path: Path) -> None:
    """The recorded pending polls of the first checkouts as a flow file, asked over plain HTTP."""
    from dataclasses import replace
    from itertools import islice

    from polltape.capture.flow_export import write_flows as write
    from polltape.capture.reading import open_capture, read_exchanges
    from polltape.exchange import Exchange

    def nothing(_: Exchange) -> Exchange:
        raise RuntimeError("the capture is Parquet only")

    opened = open_capture([capture], redact=nothing, observe=nothing)
    polls = (replace(one, scheme="http") for one in read_exchanges(opened) if (one.method, one.status) == ("GET", 202))
    with path.open("wb") as file:
        write(file, islice(polls, count))


# ------------------------------------------------------------------------------------- asking and checking


def submit(url: str, tokens: Sequence[str]) -> None:
    """Update every checkout once and poll it once, many at a time over one connection."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0))) as client:
        answers = client.makefile("rb")
        for at in range(0, len(tokens), 50):
            some = tokens[at : at + 50]
            rest = f"HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 2\r\n\r\n{{}}"
            for method in ("PUT", "GET"):
                client.sendall("".join(f"{method} {shop.PATH.format(token)} {rest}" for token in some).encode())
            for token in (*some, *some):
                status = answers.readline()
                size = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        size = int(line.partition(b":")[2])
                if b" 202 " not in status or token.encode() not in answers.read(size):
                    raise RuntimeError(f"{token} was not taken: {status!r}")


def sampled(server: Server, status: int, token: str | None = None) -> list[str]:
    """What is wrong in the answers to a sample; ``token``: what all of them show."""
    wrong = []
    for asked in random.Random(3).sample(list(server.tokens), min(SAMPLE, len(server.tokens))):
        with urlopen(server.url + shop.PATH.format(asked), timeout=60) as answer:
            shown = json.load(answer)["checkout"]["token"]
            if answer.status != status or shown != (token or asked):
                wrong.append(f"{server.name}: {asked} was answered {answer.status}, token {shown}")
    return wrong


def script(tokens: Sequence[str], home: Path, name: str) -> Path:
    """What wrk asks."""
    listed = home / f"{name}.txt"
    listed.write_text("\n".join(tokens) + "\n")
    path = home / f"{name}.lua"
    path.write_text(SCRIPT % listed)
    return path


def load(server: Server, seconds: int) -> None:
    """One round of wrk."""
    used = cpu_s(server.pid)
    done = subprocess.run(
        ["wrk", "-t1", "-c64", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", str(server.script), server.url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    server.rates.append(float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1]))  # type: ignore[index]
    answered = int(re.search(r"(\d+) requests in", done)[1])  # type: ignore[index]
    server.cpu_us.append((cpu_s(server.pid) - used) / max(1, answered) * 1e6)
    for kept, name in ((server.p50_ms, "50%"), (server.p99_ms, "99%")):
        found = re.search(rf"{name}\s+([\d.]+)(us|ms|s)", done)
        kept.append(float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]])  # type: ignore[index]
    for kept_lines, said in ((server.wrong, "Non-2xx"), (server.dropped, "Socket err")):
        kept_lines += [f"{server.name}: {line.strip()}" for line in done.splitlines() if said in line]


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def finals(server: Server) -> list[str]:
    """What is wrong once every clock has been moved past its end."""
    with urlopen(f"{server.url}/__polltape/advance?seconds={shop.PENDING_S * 1000 + 1}", timeout=600) as page:
        told = json.load(page)
    pending = sum(operation["state"] == "pending" for operation in told["operations"])
    wrong = [] if len(told["operations"]) == len(server.tokens) else [f"{len(told['operations'])} operations"]
    wrong += [f"{pending} are pending"] if pending else []
    return [*wrong, *sampled(server, 200)]


# -------------------------------------------------------------------------------------------------- main


def tell(servers: list[Server]) -> None:
    ours = servers[0]
    print(f"\n{'':24}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'ours / it':>11}{'p99, ours / it':>16}")
    for server in servers:
        counted = (server.rates, server.p50_ms, server.p99_ms, server.cpu_us)
        rate, p50, p99, cpu = map(statistics.median, counted)
        times, later = ratio(ours.rates, server.rates), ratio(ours.p99_ms, server.p99_ms)
        print(f"{server.name:24}{rate:12,.0f}{p50:9.2f}{p99:9.2f}{cpu:9.0f}{times:11.2f}{later:16.2f}")


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median within the rounds; nan where nothing came."""
    return statistics.median(a / b if b else math.nan for a, b in zip(ours, theirs, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--stubs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=20, metavar="S", help="seconds of load before the first round")
    parser.add_argument(
        "--wiremock", type=Path, metavar="JAR", help="wiremock-standalone.jar; npm pack wiremock has one"
    )
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("left out: wrk is not installed")
        return 0
    tokens = shop.tokens_of(options.operations)
    some = tokens[: options.stubs]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        capture = home / "capture"
        shop.record(capture, options.operations)
        servers = [stack.enter_context(polltape(capture, tokens, home))]
        if options.wiremock is not None and shutil.which("java"):
            servers.append(stack.enter_context(wiremock(options.wiremock, [], home)))
            servers.append(stack.enter_context(wiremock(options.wiremock, some, home)))
        else:
            print("left out: WireMock (needs java, and --wiremock JAR)")
        servers.append(stack.enter_context(mitmproxy(capture, some, home)))
        for server in servers:
            server.wrong += server.check(server)
            load(server, options.warm)
            for counted in (server.rates, server.p50_ms, server.p99_ms, server.cpu_us):
                counted.clear()
        for _ in range(options.rounds):
            for server in servers:
                load(server, options.seconds)
        for server in servers:
            server.wrong += server.check(server)
        servers[0].wrong += finals(servers[0])
        tell(servers)
        ours, *peers = servers
        for line in (line for peer in peers for line in peer.dropped):
            print(f"a peer dropped connections, {line}")
        wrong = [*ours.dropped, *(line for server in servers for line in server.wrong)]
        print("\n".join(wrong[:20]) if wrong else "\nevery answer that was checked was right, under load every status")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
