"""Real programs for the tests of the recorder: a mitmdump that records, a server behind it, a client."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from polltape.exchange import Exchange

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "addons" / "record.py"
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 30.0


def wait_for[T](what: str, condition: Callable[[], T]) -> T:
    """The condition's first true value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers 202; /slow only when the test is over; /stream in chunks, the end of them withheld as long."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    over: threading.Event

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/slow"):
            self.over.wait()
        if self.path.startswith("/stream"):
            self.stream()
            return
        body = b'{"checkout": {"token": "0123456789abcdef0123456789abcdef"}}'
        self.send_response(202)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = answer  # noqa: N815

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n")
        self.wfile.flush()
        self.over.wait()
        with suppress(OSError):
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # killed proxies leave broken connections behind


@contextmanager
def serving() -> Iterator[int]:
    """The port of a server."""
    handler = type("OneShop", (Shop,), {"over": threading.Event()})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            handler.over.set()
            server.shutdown()
            thread.join()


class Mitmdump:
    """A mitmdump that records; its output is read as it comes."""

    def __init__(self, home: Path, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.captures = home / "captures"
        self.confdir = home / "mitmproxy"
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "POLLTAPE_CONFIG_DIR": str(home / "config"), **(environment or {})},
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.decode())

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def port(self) -> int:
        def found() -> re.Match[str] | None:
            if self.process.poll() is not None:
                self._reader.join()
                raise AssertionError(self.output)
            return listening(self.output)

        match = wait_for("mitmdump's port", found)
        assert match is not None
        return int(match[1])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        return code

    def helper(self) -> int:
        """The pid of the helper of this mitmdump."""
        return helper_of(self.process.pid)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def listening(output: str) -> re.Match[str] | None:
    """Where a mitmdump that records listens, once it says so."""
    return re.search(r"listening at \S+:(\d+)", output) if "records to" in output else None


def helper_of(mitmdump: int) -> int:
    """The pid of the helper of a mitmdump."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            line = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--frames" in line and parent == mitmdump:
                return int(folder.name)
    raise AssertionError("no helper")


NURSERY = """
import json, os, signal, sys
from mitmproxy.tools.main import mitmdump
for line in sys.stdin:
    arguments, output = json.loads(line)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are gone at once
    if (pid := os.fork()) == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        sys.exit(mitmdump(arguments))
    print(pid, flush=True)
"""
"""Most of what starting a mitmdump takes is reading its modules: done once, for many that are killed."""


class Nursery:
    """Starts mitmdumps that record; each is its own process, with a helper of its own."""

    def __init__(self, home: Path, upstream: int) -> None:
        self._home = home
        self._options = ["-s", str(ADDON), "-p", "0", "--listen-host", "127.0.0.1"]
        sets = {"confdir": home / "mitmproxy", "termlog_verbosity": "info", "flow_detail": 0}
        self._options += [part for name, value in sets.items() for part in ("--set", f"{name}={value}")]
        self._options += ["--mode", f"reverse:http://127.0.0.1:{upstream}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "POLLTAPE_CONFIG_DIR": str(home / "config")},
            text=True,
        )

    def start(self, captures: Path) -> tuple[int, int]:
        """One that records to the folder: its pid and port."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = self._home / f"{captures.name}.log"
        output.touch()
        order = [[*self._options, "--set", f"polltape_dir={captures}"], str(output)]
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        match = wait_for("mitmdump's port", lambda: listening(output.read_text()))
        assert match is not None
        return pid, int(match[1])

    def close(self) -> None:
        self._process.communicate()


Start = Callable[..., Mitmdump]


@contextmanager
def starting(tmp_path: Path) -> Iterator[Start]:
    """Starts a mitmdump with the addon, port 0 and folders of its own."""
    running: list[Mitmdump] = []

    def run(
        *arguments: str,
        program: Sequence[str] = (str(PROGRAMS / "mitmdump"),),
        addon: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Mitmdump:
        given = {argument.partition("=")[0] for argument in arguments}
        settings = {
            "confdir": tmp_path / "mitmproxy",
            "polltape_dir": tmp_path / "captures",
            "termlog_verbosity": "info",
            "flow_detail": 0,
        }
        sets = [part for name, value in settings.items() if name not in given for part in ("--set", f"{name}={value}")]
        command = [*program, *(("-s", str(ADDON)) if addon else ()), "-p", "0", "--listen-host", "127.0.0.1"]
        running.append(Mitmdump(tmp_path, [*command, *sets, *arguments], environment))
        return running[-1]

    try:
        yield run
    finally:
        for mitmdump in running:
            mitmdump.close()


def rows(captures: Path) -> list[Exchange]:
    """Every row of every Parquet file of a folder, by sequence number."""
    import pyarrow.parquet as pq

    from polltape.exchange import from_table

    files = sorted(captures.glob("date=*/*.parquet"))
    found = [exchange for file in files for exchange in from_table(pq.ParquetFile(file).read())]
    return sorted(found, key=lambda exchange: exchange.seq or 0)


def spooled(captures: Path) -> list[Path]:
    return list((captures / ".spool").glob("*"))


def helper_has_finished(captures: Path) -> None:
    wait_for("the helper's end", lambda: not spooled(captures))


def kill(*pids: int) -> None:
    """SIGKILL to each, until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for("their end", lambda: not any(map(lives, pids)))


def lives(pid: int) -> bool:
    """Whether the process is there and more than a name that nobody has taken note of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def request(port: int, method: str = "GET", path: str = "/jobs/1", body: bytes | None = None, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def ask_on(port: int, body: bytes = b"") -> None:
    """Requests until one is refused."""
    while True:
        request(port, "PUT", body=body, Content_Type="application/json")


def client_load(port: int, stop: threading.Event, answered: list[str], worker: int) -> None:
    """Requests one after the other; each whose response arrived whole is written down."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with suppress(OSError, http.client.HTTPException):
        for number in range(1_000_000):
            if stop.is_set():
                break
            name = f"/jobs/w{worker}n{number}"
            connection.request("PUT", name, b'{"a": 1}', {"Content-Type": "application/json"})
            connection.getresponse().read()
            answered.append(name)
    connection.close()
