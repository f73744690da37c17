"""``polltape mock`` as a user runs it: a process, real sockets, clients of the standard library."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from polltape.cli import main

TOKEN = "b1946ac92492d2347c6235b4d2611184"
ADMIN = "/admin/api/2020-10/checkouts"
PATIENCE_S = 30.0
PROGRAM = (sys.executable, "-m", "polltape", "mock")


class Running:
    """A mock that is ready: what it said, its URL, its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            self.said.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                break
        else:
            raise AssertionError(f"the mock ended: {self.said}")
        self.url = self.said[-1].removeprefix("listening on ")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status after that signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


Start = Callable[..., Running]


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    return {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def start(environment: Mapping[str, str]) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path) -> Running:
        command = [*PROGRAM, *map(str, arguments)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        return Running(process)

    yield run
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def call(method: str, url: str, sent: object = None, context: ssl.SSLContext | None = None) -> tuple[int, Any, Any]:
    """Status, headers and JSON of the answer."""
    body = None if sent is None else json.dumps(sent).encode()
    try:
        with urlopen(Request(url, body, method=method), timeout=PATIENCE_S, context=context) as answer:
            return answer.status, answer.headers, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, refused.headers, json.load(refused)


@pytest.fixture
def har(tmp_path: Path) -> Path:
    """A recording: an update that was pending at 1 s and 2 s and had its 200 at 3 s."""
    path = tmp_path / "session.har"
    entries = [entry("PUT", 202, -0.1, {"Retry-After": "1", "Location": f"https://shop.example{ADMIN}/{TOKEN}.json"})]
    entries += [entry("GET", 202, at, {"Retry-After": "1"}) for at in (1.0, 2.0)]
    entries += [entry("GET", 200, 3.0)]
    log = {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": entries}
    path.write_text(json.dumps({"log": log}))
    return path


def entry(method: str, status: int, at: float, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    shown = {"checkout": {"token": TOKEN, "email": None, "web_url": f"https://shop.example/1/checkouts/{TOKEN}"}}
    lines = [{"name": name, "value": value} for name, value in (headers or {}).items()]
    content = {"size": 1, "mimeType": "application/json", "text": json.dumps(shown)}
    return {
        "startedDateTime": f"2026-11-01T12:00:{at + 10:06.3f}Z",
        "time": 100,
        "timings": {"send": 0, "wait": 100, "receive": 0},
        "cache": {},
        "request": {
            "method": method,
            "url": f"https://shop.example{ADMIN}/{TOKEN}.json",
            "httpVersion": "HTTP/1.1",
            "headers": [],
            "cookies": [],
            "queryString": [],
            "headersSize": -1,
            "bodySize": -1,
        },
        "response": {
            "status": status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "Content-Type", "value": "application/json"}, *lines],
            "cookies": [],
            "content": content,
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
        },
    }


def test_the_scenario_answers_a_client_that_polls_as_it_is_told(start: Start) -> None:
    mock = start("--scenario", "shopify-checkout", "--port", "0", "--speed", "5")
    status, headers, body = call("POST", f"{mock.url}{ADMIN}.json", {"checkout": {"email": "a@b.example"}})
    assert status == 202
    began = time.monotonic()
    polls = 0
    while status == 202:
        time.sleep(float(headers["X-Polltape-Wait"]))
        status, answered, body = call("GET", headers["Location"])
        polls += 1
    assert (status, body["checkout"]["email"]) == (200, "a@b.example")
    assert 1 <= polls <= 2  # 1.5 s and a wait of 1 s, both five times as fast
    assert time.monotonic() - began >= 0.29
    assert answered["X-Request-Id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_also_with_a_client_connected(start: Start, number: signal.Signals) -> None:
    mock = start("--scenario", "shopify-checkout", "--port", "0")
    port = int(mock.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(b"GET /__polltape HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        assert mock.end(number) == 0
    assert mock.process.stderr is not None
    assert mock.process.stderr.read() == ""


def test_a_recording_answers_by_time_in_the_clients_own_words(start: Start, har: Path) -> None:
    mock = start(har, "--port", "0", "--speed", "10")
    target = f"{mock.url}{ADMIN}/mine.json"
    status, headers, body = call("PUT", target, {"checkout": {"email": "me@mine.example"}})
    assert (status, headers["Location"], headers["Retry-After"]) == (202, target, "1")
    assert body["checkout"] == {
        "token": "mine",
        "email": "me@mine.example",
        "web_url": f"{mock.url}/1/checkouts/mine",
    }
    assert call("GET", target)[0] == 202
    call("GET", f"{mock.url}/__polltape/advance?seconds=0.31")
    assert call("GET", target)[0] == 200
    status, headers, body = call("GET", f"{mock.url}/nothing/like/it")
    assert (status, len(body["nearest"])) == (404, 2)


def test_tls_can_be_trusted_by_the_authority_that_it_names(start: Start) -> None:
    mock = start("--scenario", "shopify-checkout", "--port", "0", "--tls")
    authority = next(line for line in mock.said if line.startswith("certificate authority: ")).partition(": ")[2]
    context = ssl.create_default_context(cafile=authority)
    assert mock.url.startswith("https://")
    assert call("GET", f"{mock.url}/__polltape", context=context)[0] == 200
    assert mock.end() == 0
    assert not Path(authority).exists()


def test_verbose_says_a_line_a_request(start: Start) -> None:
    mock = start("--scenario", "shopify-checkout", "--port", "0", "-v")
    call("GET", f"{mock.url}/a?b=c")
    mock.end()
    assert mock.process.stderr is not None
    assert mock.process.stderr.read() == "GET /a?b=c -> 404\n"


def test_a_printed_scenario_can_be_changed_and_played(
    start: Start, environment: Mapping[str, str], tmp_path: Path
) -> None:
    command = [*PROGRAM, "--print-scenario", "shopify-checkout"]
    printed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    copy = tmp_path / "mine.toml"
    copy.write_text(printed.replace("retry_after = 1\n", "retry_after = 7\n", 1))
    mock = start("--scenario", copy, "--port", "0")
    assert call("POST", f"{mock.url}{ADMIN}.json", {"checkout": {}})[1]["Retry-After"] == "7"


def in_one_line(stderr: str) -> str:
    assert re.fullmatch(r"error: [^\n]+\n", stderr), stderr
    return stderr


def test_a_port_in_use_is_named(environment: Mapping[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [*PROGRAM, "--scenario", "shopify-checkout", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"port {port} " in in_one_line(done.stderr)


def test_what_cannot_be_played_is_refused_in_one_line(
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    har: Path,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def refused(*arguments: str | Path) -> str:
        assert main(["mock", *map(str, arguments)]) == 2
        out, told = capsys.readouterr()
        assert out == ""
        return in_one_line(told)

    wrong = tmp_path / "wrong.toml"
    wrong.write_text('protocol = "shopify-checkout"\n[create]\nduration_s = -1\n')
    (tmp_path / "empty").mkdir()
    assert "shopify-checkout" in refused("--scenario", "shopify-chekout")
    assert f"{wrong}:3: create.duration_s" in refused("--scenario", wrong)
    assert "no such file" in refused("--scenario", tmp_path / "none.toml")
    assert "no such file" in refused(tmp_path / "none")
    assert "show" in refused(har, "--operation", "zzz")
    assert "speed" in refused(har, "--speed", "0")
    assert "neither" in refused()
    assert "at once" in refused(har, "--scenario", "shopify-checkout")
    assert "scenario has none" in refused("--scenario", "shopify-checkout", "--operation", "x")
    for option in (("--by", "count"), ("--latency",), ("--complete-at", "lower"), ("--par-key", "env:NONE")):
        assert option[0] in refused("--scenario", "shopify-checkout", *option)
    refused(tmp_path / "empty")
