"""The recorder with real programs: mitmdump, the helper, a server and a client."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from polltape.capture.coverage import read_coverage
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


@pytest.fixture
def shop() -> Iterator[int]:
    """The port of a server."""
    handler = type("OneShop", (Shop,), {"over": threading.Event()})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
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
            return re.search(r"listening at \S+:(\d+)", self.output) if "records to" in self.output else None

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
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                line = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if b"--frames" in line and parent == self.process.pid:
                    return int(folder.name)
        raise AssertionError("no helper")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Mitmdump]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
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

    yield run
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
        request(port, "PUT", body=body)


# ------------------------------------------------------------------------------------------ what is kept


def test_reverse_mode_records_until_interrupted(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    port = mitmdump.port
    target = "/admin/api/2024-01/checkouts/0123456789abcdef0123456789abcdef.json?a=1"
    document, token = b'{"checkout": {"email": "zoe@shop.example"}}', "shpat_0123456789abcdef0123456789abcdef"
    assert request(port, "PUT", target, document, X_Shopify_Access_Token=token, **JSON) == 202
    assert request(port) == 202
    mitmdump.send(signal.SIGINT)

    assert mitmdump.ended() == 0
    assert f"polltape records to {mitmdump.captures}" in mitmdump.output
    assert re.search(
        rf"polltape recorded 2 exchanges \(2 redacted, 0 left out, 0 missing; \S+ kB\) in {mitmdump.captures}",
        mitmdump.output,
    )
    put, get = rows(mitmdump.captures)
    assert (put.method, put.scheme, put.host, put.port) == ("PUT", "http", "127.0.0.1", shop)
    assert put.endpoint == "/admin/api/{version}/checkouts/{token}.json"
    assert put.instruction is not None
    assert put.instruction.asked_s == 1.0
    assert put.observations[0].state == "pending"
    assert put.server_address == f"127.0.0.1:{shop}"
    assert (put.status, put.reason, put.http_version) == (202, "Accepted", "HTTP/1.1")
    assert put.response_body.wire_size == 59
    instants = [put.request_started_at, put.request_ended_at, put.response_started_at, put.response_ended_at]
    assert all(instants)
    assert instants == sorted(instants)  # type: ignore[type-var]
    mono = [getattr(put, f"{name}_mono_ns") for name in MONO]
    assert all(mono)
    assert mono == sorted(mono)
    assert get.seq == 2
    assert put.key_id
    assert put.client
    [coverage] = read_coverage(mitmdump.captures)
    assert coverage.clean
    assert coverage.gaps == 0
    assert coverage.started_at <= put.request_started_at
    assert coverage.ended_at >= put.last_instant
    assert not spooled(mitmdump.captures)
    everything = repr((put, get)) + mitmdump.output
    for secret in ("0123456789abcdef", "zoe"):
        assert secret not in everything


JSON = {"Content_Type": "application/json"}
MONO = ("request_started", "request_ended", "response_started", "response_ended")


def test_regular_mode_with_tls_names_what_the_client_named(start: Start, shop: int, tmp_path: Path) -> None:
    """A script sends shop.example to the local server, as the demo does; the row has the client's names."""
    script = tmp_path / "rewrite.py"
    script.write_text(
        "def requestheaders(flow):\n"
        "    host = flow.request.host_header\n"
        f"    flow.request.scheme, flow.request.host, flow.request.port = 'http', '127.0.0.1', {shop}\n"
        "    flow.request.host_header = host\n"
    )
    mitmdump = start("--set", "connection_strategy=lazy", "-s", str(script))
    port = mitmdump.port
    tls = ssl.create_default_context(cafile=str(mitmdump.confdir / "mitmproxy-ca-cert.pem"))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_S, context=tls)
    connection.set_tunnel("shop.example", 443)
    connection.request("GET", "/jobs/1")
    assert connection.getresponse().read()
    connection.close()
    mitmdump.send(signal.SIGTERM)

    assert mitmdump.ended() == 0
    [row] = rows(mitmdump.captures)
    assert (row.scheme, row.host, row.port) == ("https", "shop.example", 443)
    assert row.server_address == f"127.0.0.1:{shop}"


def h2_get(port: int, authority: str, path: str, ca: Path) -> list[tuple[bytes, bytes]]:
    """The response headers of one GET over HTTP/2 and TLS."""
    import h2.connection
    import h2.events

    state = h2.connection.H2Connection()
    state.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
    state.send_headers(1, fields, end_stream=True)
    tls = ssl.create_default_context(cafile=str(ca))
    tls.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    with tls.wrap_socket(plain, server_hostname=authority.partition(":")[0]) as connection:
        headers: list[tuple[bytes, bytes]] = []
        connection.sendall(state.data_to_send())
        while data := connection.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = list(event.headers or [])
                elif isinstance(event, h2.events.StreamEnded):
                    return headers
            connection.sendall(state.data_to_send())
    raise AssertionError("the stream did not end")


def test_http2(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", "keep_host_header=true")
    port, ca = mitmdump.port, mitmdump.confdir / "mitmproxy-ca-cert.pem"
    assert (b":status", b"202") in h2_get(port, "shop.example:8443", "/jobs/1?a", ca)
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0
    [row] = rows(mitmdump.captures)
    assert row.scheme == "https"
    assert (row.http_version, row.host, row.port, row.path) == ("HTTP/2.0", "shop.example", 8443, "/jobs/1")
    assert row.status == 202


def test_requests_without_response_are_rows(start: Start, shop: int) -> None:
    """One that the client gave up, and one that is under way at the end."""
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    with socket.create_connection(("127.0.0.1", mitmdump.port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for("the request at the server", lambda: "server connect " in mitmdump.output)
    wait_for("the end of the connection", lambda: "server disconnect " in mitmdump.output)
    with socket.create_connection(("127.0.0.1", mitmdump.port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for("the second one", lambda: mitmdump.output.count("server connect ") == 2)
        mitmdump.send(signal.SIGINT)
        assert mitmdump.ended() == 0
    given_up, under_way = rows(mitmdump.captures)
    assert (given_up.status, given_up.error) == (None, "reset: Client disconnected.")
    assert given_up.response_ended_at is not None
    assert under_way.error == "unfinished: the recording ended before the exchange did"
    assert under_way.response_ended_at is None


def test_a_streamed_response_is_known_before_its_end(start: Start, shop: int, tmp_path: Path) -> None:
    """mitmproxy calls `response` only after a streamed body went out: SIGKILL in the middle of it."""
    script = tmp_path / "stream.py"
    script.write_text("def responseheaders(flow):\n    flow.response.stream = True\n")
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "-s", str(script))
    with socket.create_connection(("127.0.0.1", mitmdump.port)) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"hello" not in received:
            received += client.recv(1000)
        mitmdump.send(signal.SIGKILL)
        mitmdump.ended()
    helper_has_finished(mitmdump.captures)
    [row] = rows(mitmdump.captures)
    assert (row.status, row.response_body.not_stored) == (200, "streamed")
    assert row.response_started_at is not None
    assert row.response_ended_at is None
    assert (row.error or "").startswith("unfinished")


# ------------------------------------------------------------------------------------------ nothing lost


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


@pytest.mark.parametrize("after", [30, 77, 150])
def test_sigkill_of_mitmdump_under_load_loses_nothing(start: Start, shop: int, after: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    port, answered, stop = mitmdump.port, list[str](), threading.Event()
    clients = [threading.Thread(target=client_load, args=(port, stop, answered, n)) for n in range(4)]
    for client in clients:
        client.start()
    wait_for("load", lambda: len(answered) >= after)
    mitmdump.send(signal.SIGKILL)
    for client in clients:
        client.join()
    mitmdump.ended()

    helper_has_finished(mitmdump.captures)
    recorded = [row.path for row in rows(mitmdump.captures)]
    assert set(answered) <= set(recorded)
    assert len(recorded) == len(set(recorded))
    [coverage] = read_coverage(mitmdump.captures)
    assert not coverage.clean
    assert coverage.gaps <= len(clients)


def test_sigkill_of_both_is_recovered_at_the_next_start(start: Start, shop: int) -> None:
    first = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    for _ in range(5):
        request(first.port)
    spool = next((first.captures / ".spool").glob("*.spool"))
    wait_for("the spool to hold them", lambda: spool.read_bytes().count(b"PTR") >= 5)
    helper = first.helper()
    os.kill(first.process.pid, signal.SIGSTOP)  # so that it cannot see its helper die
    os.kill(helper, signal.SIGKILL)
    first.send(signal.SIGKILL)
    first.ended()
    assert not rows(first.captures)
    kept = first.captures.with_name("kept")
    shutil.copytree(first.captures, kept)
    by_hand = subprocess.run(
        [PROGRAMS / "polltape", "recover", kept], capture_output=True, text=True, timeout=60, check=True
    )
    assert by_hand.stdout == f"recovered 5 exchanges of 1 recordings in {kept}\n"
    assert len(rows(kept)) == 5

    second = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    request(second.port, path="/jobs/2")
    second.send(signal.SIGINT)
    assert second.ended() == 0
    assert "recovering what 1 earlier recording(s) left behind" in second.output
    assert len(rows(second.captures)) == 6
    assert [coverage.clean for coverage in read_coverage(second.captures)] == [False, True]
    assert not spooled(second.captures)


def test_two_recorders_share_a_folder(start: Start, shop: int) -> None:
    """One of them `polltape record`, from the installed copy of the addon."""
    mode = ("--mode", f"reverse:http://127.0.0.1:{shop}")
    both = [start(*mode), start(*mode, program=[str(PROGRAMS / "polltape"), "record"], addon=False)]
    for mitmdump in both:
        request(mitmdump.port)
    for mitmdump in both:
        mitmdump.send(signal.SIGINT)
        assert mitmdump.ended() == 0
    assert len(rows(both[0].captures)) == 2
    assert len(read_coverage(both[0].captures)) == 2


def test_a_capture_can_be_read_while_it_is_written(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", "polltape_rotate=1")
    request(mitmdump.port)
    assert len(wait_for("a Parquet file", lambda: rows(mitmdump.captures))) == 1
    assert mitmdump.process.poll() is None


# -------------------------------------------------------------------------------------- visible failure


def test_a_dead_helper_stops_the_traffic(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    port = mitmdump.port
    request(port)
    os.kill(mitmdump.helper(), signal.SIGKILL)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_on(port)
    assert mitmdump.ended() == 1
    [line] = [line for line in mitmdump.output.splitlines() if "traffic stops here" in line]
    assert "the helper was killed by signal 9" in line
    assert "Traceback" not in mitmdump.output


def test_a_hung_helper_stops_the_traffic(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", "polltape_timeout=1")
    port, helper = mitmdump.port, mitmdump.helper()
    os.kill(helper, signal.SIGSTOP)
    try:
        with pytest.raises((OSError, http.client.HTTPException)):
            ask_on(port, b"x" * 500_000)
        assert mitmdump.ended() == 1
    finally:
        os.kill(helper, signal.SIGCONT)
    assert "took nothing for 1 s; traffic stops here" in mitmdump.output
    helper_has_finished(mitmdump.captures)
    assert rows(mitmdump.captures)


def test_traffic_goes_on_without_the_helper_if_the_user_wants_it(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", "polltape_on_failure=continue")
    port = mitmdump.port
    os.kill(mitmdump.helper(), signal.SIGKILL)
    wait_for("the notice", lambda: "traffic goes on UNRECORDED" in mitmdump.output)
    assert request(port) == 202
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0
    assert "1 not recorded" in mitmdump.output


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("polltape_dirr=x", "no such option: polltape_dirr (there are polltape_body_cap, "),
        ("polltape_helper=/bin/false", "the helper ended with status 1"),
        ("polltape_dir=/dev/null/captures", "polltape_dir=/dev/null/captures: cannot write there (Not a dir"),
        ("polltape_timeout=soon", "polltape_timeout=soon: must be a whole number above 0"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_1(start: Start, option: str, complaint: str) -> None:
    mitmdump = start("--set", option)
    assert mitmdump.ended() == 1
    [line] = [line for line in mitmdump.output.splitlines() if "polltape: " in line]
    assert complaint in line
    assert "Traceback" not in mitmdump.output


ALONE = """
import sys
sys.executable = "/nowhere/python"
from mitmproxy.tools.main import mitmdump
sys.exit(mitmdump())
"""
"""mitmdump as if it were installed without polltape beside it."""


def test_a_mitmproxy_installed_alone_finds_the_helper_on_path(start: Start, shop: int, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "polltape").symlink_to(PROGRAMS / "polltape")
    program, mode = [sys.executable, "-c", ALONE], ("--mode", f"reverse:http://127.0.0.1:{shop}")
    mitmdump = start(*mode, program=program, environment={"PATH": str(tmp_path / "bin")})
    request(mitmdump.port)
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0
    assert len(rows(mitmdump.captures)) == 1

    mitmdump = start(*mode, program=program, environment={"PATH": str(tmp_path)})
    assert mitmdump.ended() == 1
    assert "the program `polltape` is neither beside this Python nor on PATH" in mitmdump.output
