"""``make demo``: a mock shop, the recorder in front, real clients; then the analysis, the report, the replay.

Everything runs on this machine and through the real programs.  The recording is left in ``captures/demo``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polltape

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = Path("captures/demo")
CLIENTS = Path("docs/demo/clients")
BUYERS = {"early.py": True, "polite.py": False}
"""The clients that poll, and whether each has the bug."""
SHOP = "demo-shop.myshopify.com"
SEEN_ABANDONED_S = 32.0
"""How long the recorder looks on after the forum client's last answer: only then it counts as abandoned."""

STARTED = time.monotonic()
POLLTAPE = (sys.executable, "-m", "polltape")


def main() -> None:
    """The whole demo, step by step."""
    os.chdir(ROOT)
    shutil.rmtree(FOLDER, ignore_errors=True)
    work = FOLDER / "work"
    work.mkdir(parents=True)
    step("1/5  A mock shop that answers 202 by elapsed time, and the recorder in front of it, with TLS.")
    with shop() as mock, recorder(mock, work) as proxy:
        say(f"shop {mock}, recorder on port {proxy}, recording to {FOLDER}")
        step("2/5  Three clients buy: the forum's (ShopifyAPI), a polite one, one that polls too early.")
        record_clients(proxy, work)
    step("3/5  What the recording says.")
    report = FOLDER / "report.html"
    numbers = start("analyze", str(FOLDER), "--format", "json")
    page = ["analyze", str(FOLDER), "--format", "html", "--output", str(report)]
    written = start(*page)
    run("analyze", str(FOLDER))
    tell(written, *page)
    step("4/5  The early poller's bug as one file, replayed against a mock made from it.")
    bug = FOLDER / "BUG.polltape"
    run("bundle", str(FOLDER), "--operation", early_operation(json.loads(numbers.communicate()[0])), "-o", str(bug))
    run("replay", str(bug))
    step("5/5  Which client has the bug? Each buys once more, from that mock.")
    clients = {name: ["replay", str(bug), "--client", f"{sys.executable} {CLIENTS / name}"] for name in BUYERS}
    buying = {name: start(*arguments) for name, arguments in clients.items()}
    for name, has_the_bug in BUYERS.items():
        tell(buying[name], *clients[name], expected=0 if has_the_bug else 1)
    shutil.rmtree(work)
    print(f"\nThe report lies in {report.resolve()}\n")


def record_clients(proxy: int, work: Path) -> None:
    """Run the clients through the proxy; wait until the forum's checkout counts as abandoned."""
    through = client_environment(proxy, work)
    client("forum.py", through)
    asked_last = time.monotonic()
    running = [start_client(name, through) for name in ("polite.py", "early.py", "polite.py", "early.py")]
    while any(process.poll() is None for _, process in running) or time.monotonic() < asked_last + SEEN_ABANDONED_S:
        left = max(0, round(asked_last + SEEN_ABANDONED_S - time.monotonic()))
        buying = sum(process.poll() is None for _, process in running)
        progress(f"{buying} clients still buying; the forum's client has not asked again, {left} s until that counts")
        time.sleep(0.5)
    progress("")
    for name, process in running:
        finished(name, process)


def early_operation(analysis: dict[str, Any]) -> str:
    """The id of the shortest purchase of the early poller: quick to replay, and all that led to it goes along."""
    early = {finding["operation"] for finding in analysis["findings"] if finding["code"] == "RA001"}
    ended = [row for row in analysis["operations"] if row["id"] in early and row["kind"] == "checkout.complete"]
    return str(min(ended, key=lambda row: (row["duration_s"], row["id"]))["id"])


# ------------------------------------------------------------------------------------------- programs


@contextmanager
def shop() -> Iterator[str]:
    """The mock shop; yields its address."""
    command = [*POLLTAPE, "mock", "--scenario", str(HERE / "shop.toml"), "--port", "0"]
    with running(command, os.environ, r"listening on (http://\S+)") as address:
        yield address


@contextmanager
def recorder(mock: str, work: Path) -> Iterator[int]:
    """mitmdump with the recorder, as a regular proxy; yields its port."""
    mitmdump = shutil.which("mitmdump", path=str(Path(sys.executable).parent)) or "mitmdump"
    front = Path(polltape.__file__).parent / "replay" / "front.py"  # the shop's host leads to the mock, others nowhere
    command = [mitmdump, "-s", "addons/record.py", "-s", str(front), "--mode", "regular@0"]
    settings = [f"polltape_dir={FOLDER}", f"confdir={work}", "connection_strategy=lazy", "listen_host=127.0.0.1"]
    settings += [f"front_mock={mock.removeprefix('http://')}", f"front_hosts={SHOP}"]
    command += [part for setting in settings for part in ("--set", setting)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with running(command, environment, r"listening at \S*?:(\d+)") as port:
        yield int(port)


@contextmanager
def running(command: list[str], environment: dict[str, str] | os._Environ[str], ready: str) -> Iterator[str]:
    """A program in the background; yields what ``ready`` matches in its output, ends it with SIGINT."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    told = []
    try:
        for line in process.stdout:
            told.append(line)
            if match := re.search(ready, line):
                yield match[1]
                break
        else:
            raise SystemExit(f"{command[0]} did not start:\n{''.join(told)}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        for line in rest.splitlines():
            if "recorded" in line:
                say(line.strip())


def client_environment(proxy: int, work: Path) -> dict[str, str]:
    """A client's environment: through the proxy, trusting its certificate, and nothing else."""
    authority = str((work / "mitmproxy-ca-cert.pem").resolve())
    environment = {name: value for name, value in os.environ.items() if name.upper() != "NO_PROXY"}
    environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{proxy}")
    environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), authority)
    return environment | {"SHOP": SHOP}


def start_client(name: str, environment: dict[str, str]) -> tuple[str, subprocess.Popen[str]]:
    """A client in the background, with a token of its own."""
    own = environment | {"TOKEN": f"shpat_{name.encode().hex():0>32}"}
    command = [sys.executable, str(CLIENTS / name)]
    return name, subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def client(name: str, environment: dict[str, str]) -> None:
    """A client, until it ends."""
    finished(*start_client(name, environment))


def finished(name: str, process: subprocess.Popen[str]) -> None:
    """Tell what the client said."""
    output, _ = process.communicate(timeout=120)
    for line in output.splitlines():
        say(f"{name:10} {line}")
    if process.returncode:
        raise SystemExit(f"{name} failed with status {process.returncode}")


def run(*arguments: str) -> None:
    """A polltape command, shown with what it prints, as it prints it."""
    typed(arguments)
    ended(arguments, subprocess.run([*POLLTAPE, *arguments], check=False).returncode, 0)


def start(*arguments: str) -> subprocess.Popen[str]:
    """A polltape command in the background."""
    return subprocess.Popen([*POLLTAPE, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def tell(process: subprocess.Popen[str], *arguments: str, expected: int = 0) -> None:
    """Show a command that was started, and what it printed."""
    output, _ = process.communicate(timeout=120)
    typed(arguments)
    print(output, end="", flush=True)
    ended(arguments, process.returncode, expected)


def typed(arguments: Sequence[str]) -> None:
    print(f"\n$ polltape {shlex.join(arguments).replace(sys.executable, 'python')}", flush=True)


def ended(arguments: Sequence[str], status: int, expected: int) -> None:
    if status != expected:
        raise SystemExit(f"polltape {arguments[0]} ended with {status} instead of {expected}")


# -------------------------------------------------------------------------------------------- telling


def step(text: str) -> None:
    print(f"\n== {text}  [{time.monotonic() - STARTED:.0f} s]", flush=True)


def say(text: str) -> None:
    print(f"   {text}", flush=True)


def progress(text: str) -> None:
    """One line that renews itself on a terminal, nothing elsewhere."""
    if sys.stdout.isatty():
        print(f"\r\033[K   {text}" if text else "\r\033[K", end="", flush=True)


if __name__ == "__main__":
    main()
