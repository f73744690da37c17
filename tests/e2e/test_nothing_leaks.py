"""Secrets in every place of real traffic, through the real recorder: then every byte of everything it left is searched.

The corpus is that of tests/capture/test_redaction_leaks.py, sent by a real client through mitmdump to a server that
plants the recorded answers; each body that is compressed here is so on the wire.  mitmproxy's own file of the same
traffic (``-w``) is the proof that the secrets were there to be found.
"""

from __future__ import annotations

import gzip
import http.client
import http.server
import importlib.util
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from polltape.capture.keys import load_key
from polltape.exchange import Body, Exchange, Header, from_table

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
PATIENCE_S = 30.0


def load_corpus() -> Any:
    """The test module of redaction itself: its corpus, its secrets, and how to look for them."""
    path = ROOT / "tests" / "capture" / "test_redaction_leaks.py"
    specification = importlib.util.spec_from_file_location("leak_corpus", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


PLANTED = load_corpus()
LOYALTY, TRAILER, FRAME = "LOYAL-77431-ZX", "trailertoken5f0a9c31", "frametoken88d1e2b7"
FILTERED, FILTERED_MAIL = "filtertoken6b20e9c4", "filtered.buyer@mail-provider.org"
SECRETS = [str(s) for s in (*PLANTED.SECRETS, LOYALTY, TRAILER, FRAME) if len(str(s)) > 6]
"""Shorter ones would be found by chance, in digests and times."""

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
    "deflate": zlib.compress,
}


def encoded(exchange: Exchange, encoding: str) -> Exchange:
    """The same with both bodies compressed."""
    told = Header("Content-Encoding", encoding)
    return replace(
        exchange,
        request_headers=(*exchange.request_headers, told),
        request_body=Body(content=ENCODINGS[encoding](exchange.request_body.content or b"")),
        response_headers=(*exchange.response_headers, told),
        response_body=Body(content=ENCODINGS[encoding](exchange.response_body.content or b"")),
    )


def in_nested_text(exchange: Exchange) -> Exchange:
    """The body as JSON in a text in JSON in a text, under names that mean nothing."""
    inner = (exchange.request_body.content or b"").decode()
    content = json.dumps({"x": json.dumps({"y": inner, "loyalty_number": LOYALTY})}).encode()
    return replace(exchange, request_body=Body(content=content), response_body=Body(content=content))


UPDATE: Exchange = PLANTED.CORPUS["checkout update"]
CASES: dict[str, Exchange] = {
    **PLANTED.CORPUS,
    **{encoding: encoded(UPDATE, encoding) for encoding in ENCODINGS},
    "JSON in text": in_nested_text(UPDATE),
    "JSON in text, br": encoded(in_nested_text(UPDATE), "br"),
    "malformed": replace(UPDATE, method="GET", request_body=Body(), request_headers=UPDATE.request_headers[:-1]),
    "poll": replace(UPDATE, method="GET", status=200, request_body=Body(), request_headers=UPDATE.request_headers[:-1]),
}


class Shop(http.server.BaseHTTPRequestHandler):
    """Answers a case with what was recorded of it; one without a status with a closed connection."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        name = self.headers["X-Case"]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        case = CASES[name]
        self.close_connection = True
        if name == "malformed":
            self.wfile.write(f"HTTP/1.1 202 Accepted\r\n{PLANTED.ADMIN} {PLANTED.EMAIL}\r\n\r\n".encode())
        elif case.status is not None:
            content = case.response_body.content or b""
            lines = "".join(f"{name}: {value}\r\n" for name, value in case.response_headers)
            head = f"HTTP/1.1 {case.status} x {PLANTED.EMAIL}\r\n{lines}Connection: close\r\n"
            self.wfile.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode("latin-1") + content)

    do_POST = do_PUT = answer  # noqa: N815

    def do_GET(self) -> None:
        if self.headers.get("Upgrade") != "websocket":
            self.answer()
            return
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: _session=%b\r\n\r\n"
            % PLANTED.COOKIE.encode()
        )
        text = json.dumps({"token": FRAME}).encode()
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.rfile.read(6 + len(text))
        self.wfile.write(b"\x88\x00")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


BEFORE = f"""
from mitmproxy.http import Headers
def response(flow):  # over HTTP/1.1 mitmproxy passes no trailers
    flow.request.trailers = Headers([(b"X-Auth-Token", b"{TRAILER}")])
    flow.response.trailers = Headers([(b"Set-Cookie", b"a={TRAILER}"), (b"X-Note", b"{PLANTED.EMAIL}")])
"""
AFTER = """
def response(flow):
    flow.request.trailers = flow.response.trailers = None
"""


def send(port: int, name: str, case: Exchange) -> None:
    target = case.path if case.query is None else f"{case.path}?{case.query}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.putrequest(case.method, target, skip_host=True, skip_accept_encoding=True)
    content = case.request_body.content or b""
    framing = (Header("X-Case", name), Header("Host", case.host), Header("Content-Length", str(len(content))))
    for header in (*framing, *case.request_headers):
        connection.putheader(*header)
    connection.endheaders(content)
    with suppress(http.client.HTTPException, OSError):
        connection.getresponse().read()
    connection.close()


def upgrade(port: int) -> None:
    """A WebSocket with one message each way."""
    request = (
        f"GET /socket/checkouts/{PLANTED.TOKEN}?access_token={PLANTED.ADMIN} HTTP/1.1\r\nHost: shop.example\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer {PLANTED.JWT}\r\nCookie: _session={PLANTED.COOKIE}\r\n\r\n"
    )
    text = json.dumps({"token": FRAME}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(request.encode())
        received = b""
        while FRAME.encode() not in received:
            received += client.recv(4096)
        client.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        while client.recv(4096):
            pass


def wait_for[T](what: str, condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


# ------------------------------------------------------------------------------------------ the search


def forms(secret: str) -> set[str]:
    """Plain, percent-encoded, escaped as in JSON, in base64, in upper and lower case."""
    escaped = "".join(f"\\u{ord(char):04x}" for char in secret)
    percent = "".join(f"%{ord(char):02x}" for char in secret)
    return {form for form in (*PLANTED.forms(secret), escaped, percent, percent.upper()) if len(form) > 6}


FORMS = [(secret, form) for secret in SECRETS for form in forms(secret)]


def found(content: bytes | str) -> list[tuple[str, str]]:
    """Which secrets stand there, and how they are written."""
    text = content if isinstance(content, str) else content.decode("latin-1")
    lower = text.lower()
    spelled = [(secret, form) for secret, form in FORMS if form in text]
    return spelled + [(secret, "in some case") for secret in SECRETS if secret.lower() in lower]


def leaks(folder: Path) -> list[tuple[str, str, str]]:
    """Every secret in every byte of every file, as it lies there and, of Parquet and zip, as it is read."""
    hits: list[tuple[str, str, str]] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        contents = [path.read_bytes(), str(path).encode()]
        if path.suffix == ".parquet":
            contents.append(decoded(path).encode("utf-8", "surrogatepass"))
        if zipfile.is_zipfile(io.BytesIO(contents[0])):
            with zipfile.ZipFile(path) as members:
                for name in members.namelist():
                    member = path.with_name(f"{path.name}!{Path(name).name}")
                    member.write_bytes(members.read(name))
                    contents += [
                        member.read_bytes(),
                        *([decoded(member).encode()] if name.endswith(".parquet") else []),
                    ]
                    member.unlink()
        hits += [(path.name, *hit) for content in contents for hit in found(content)]
    return hits


def decoded(path: Path) -> str:
    """Every value of every column and the file's own metadata, decompressed."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    columns = file.read().to_pydict()
    texts = [f"{file.metadata.metadata!r} {file.schema_arrow!r}"]
    texts += [text for values in columns.values() for value in values for text in strings(value)]
    return "\n".join(texts)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, dict):
        yield from strings(list(value.items()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)
    else:
        yield str(value)


# ------------------------------------------------------------------------------------------ the recording


def helper_of(pid: int) -> Path:
    """The helper's folder in /proc."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"helper" in (folder / "cmdline").read_bytes():
                return folder
    raise AssertionError("no helper")


class Recording:
    """One recording of all the traffic, and what was found while it went on."""

    def __init__(self, home: Path, shop: int) -> None:
        self.home, self.captures, self.flows = home, home / "captures", home / "raw.mitm"
        self.environment = {**os.environ, "POLLTAPE_CONFIG_DIR": str(home / "config")}
        (home / "config").mkdir(mode=0o700)
        (home / "config" / "redaction.toml").write_text('[add.body]\ndrop = ["loyalty_number"]\n')
        (home / "before.py").write_text(BEFORE)
        (home / "after.py").write_text(AFTER)
        command = [PROGRAMS / "mitmdump", "--mode", f"reverse:http://127.0.0.1:{shop}", "-p", "0"]
        command += ["--listen-host", "127.0.0.1", "-w", self.flows]
        for script in (home / "before.py", ROOT / "addons" / "record.py", home / "after.py"):
            command += ["-s", script]
        options = {"confdir": home / "mitmproxy", "polltape_dir": self.captures, "flow_detail": 0}
        options |= {"keep_host_header": "true", "connection_strategy": "lazy"}
        options["polltape_filter"] = f'~all | ~hq "X-Shopify-Access-Token: {FILTERED}" | ~u {FILTERED_MAIL}'
        for name, value in options.items():
            command += ["--set", f"{name}={value}"]
        self.log = home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    def run(self) -> None:
        port = int(wait_for("mitmdump's port", self._port)[1])
        for name, case in CASES.items():
            send(port, name, case)
        upgrade(port)
        spool = self.captures / ".spool"
        count = len(CASES) + 1
        wait_for("the spool", lambda: sum(p.read_bytes().count(b"PTR") for p in spool.glob("*.spool")) >= count)
        self.while_recording = leaks(self.captures)
        self.files_while_recording = [path.parent.name for path in self.captures.rglob("*") if path.is_file()]
        self.helper_limits = helper_of(self.process.pid).joinpath("limits").read_text()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()

    def _port(self) -> re.Match[str] | None:
        assert self.process.poll() is None, self.log.read_text()
        output = self.log.read_text()
        return re.search(r"listening at \S+:(\d+)", output) if "records to" in output else None

    @property
    def rows(self) -> list[Exchange]:
        import pyarrow.parquet as pq

        files = sorted(self.captures.rglob("*.parquet"))
        return [row for path in files for row in from_table(pq.ParquetFile(path).read())]

    def polltape(self, *arguments: object) -> str:
        done = subprocess.run(
            [PROGRAMS / "polltape", *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, shop: int) -> Iterator[Recording]:
    made = Recording(tmp_path_factory.mktemp("leaks"), shop)
    try:
        made.run()
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def test_the_secrets_were_there(recording: Recording) -> None:
    """In mitmproxy's own file of the same traffic, bodies decoded."""
    from mitmproxy.http import HTTPFlow
    from mitmproxy.io import FlowReader

    texts = [BEFORE]
    with recording.flows.open("rb") as file:
        for flow in FlowReader(file).stream():
            assert isinstance(flow, HTTPFlow)
            texts += strings([flow.request.path, *flow.request.headers.fields, flow.request.content])
            messages = [] if flow.websocket is None else [message.content for message in flow.websocket.messages]
            answer = [] if flow.response is None else [*flow.response.headers.fields, flow.response.content]
            texts += strings([*answer, *messages])
    there = {secret for secret, _ in found("\n".join(texts))}
    assert sorted(set(SECRETS) - there) == []


def test_nothing_is_on_the_disk_while_it_records(recording: Recording) -> None:
    assert {".spool", "_coverage"} <= set(recording.files_while_recording)
    assert recording.while_recording == []


def test_nothing_is_in_the_capture(recording: Recording) -> None:
    assert leaks(recording.captures) == []


def test_nothing_of_the_filter_is_in_the_capture(recording: Recording) -> None:
    """The recorder tells it on the terminal of who typed it; what is stored is searched here."""
    stored = "".join(path.read_text("latin-1") for path in recording.captures.rglob("*") if path.is_file())
    assert "~all | ~hq" in stored
    assert not [word for word in (FILTERED, FILTERED_MAIL) if word in stored]


def test_every_row_has_the_id_of_the_key_which_only_its_owner_can_read(recording: Recording) -> None:
    key = recording.home / "config" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert {row.key_id for row in recording.rows} == {load_key(key.parent).key_id}


def test_the_helper_leaves_no_core_dump(recording: Recording) -> None:
    [line] = [line for line in recording.helper_limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]


def test_bytes_that_an_error_quotes_are_not_kept(recording: Recording) -> None:
    errors = [row.error for row in recording.rows if row.error and "Invalid header line" in row.error]
    assert errors == ["failed: Cannot parse HTTP response: Invalid header line: b'polltape-dropped'"]


def test_every_exchange_is_in_the_capture(recording: Recording) -> None:
    rows = recording.rows
    assert len(rows) == len(CASES) + 1
    assert sum(row.status is None for row in rows) == 2
    trailers = [header.name for row in rows for header in (*row.request_trailers, *row.response_trailers)]
    assert {"X-Auth-Token", "Set-Cookie", "X-Note"} == set(trailers)
    updates = [row for row in rows if row.method == "PUT"]
    assert len(updates) == 3 + len(ENCODINGS)
    assert all(row.request_body.content and row.response_body.content for row in updates)
    [socket_row] = [row for row in rows if row.path.startswith("/socket/")]
    assert (socket_row.status, socket_row.request_body.content, socket_row.response_body.content or b"") == (
        101,
        b"",
        b"",
    )


def test_nothing_is_in_what_the_recorder_says(recording: Recording) -> None:
    assert found(recording.log.read_bytes()) == []


@pytest.mark.parametrize("form", ["json", "html", "text"])
def test_nothing_is_in_a_report(recording: Recording, form: str) -> None:
    printed = recording.polltape("analyze", recording.captures, "--format", form)
    assert len(printed) > 200
    assert found(printed) == []


def test_nothing_is_in_a_bug_report(recording: Recording, tmp_path: Path) -> None:
    recording.polltape("analyze", recording.captures, "--format", "json", "-o", tmp_path / "analysis.json")
    operation = json.loads((tmp_path / "analysis.json").read_text())["operations"][0]["id"]
    recording.polltape("bundle", recording.captures, "--operation", operation, "-o", tmp_path / "bug.polltape")
    assert leaks(tmp_path) == []


@pytest.mark.parametrize("source", ["captures", "raw.mitm"])
def test_nothing_is_in_an_export_nor_in_an_import(recording: Recording, tmp_path: Path, source: str) -> None:
    for out in ("all.har", "all.mitm" if source == "captures" else "all.parquet"):
        recording.polltape("convert", recording.home / source, tmp_path / out)
        assert (tmp_path / out).stat().st_size > 1000
    assert leaks(tmp_path) == []


def test_no_file_but_the_key_holds_the_key(recording: Recording) -> None:
    key = (recording.home / "config" / "key").read_text().strip().rpartition(":")[2]
    for path in recording.captures.rglob("*"):
        assert not path.is_file() or (
            key.encode() not in path.read_bytes() and bytes.fromhex(key) not in path.read_bytes()
        )
