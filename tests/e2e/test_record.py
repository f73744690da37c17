"""The recorder with real programs: what is kept, and failures that are seen."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import sys
from pathlib import Path

import pytest
from mitmdumps import (
    PATIENCE_S,
    PROGRAMS,
    Start,
    ask_on,
    helper_has_finished,
    request,
    rows,
    spooled,
    wait_for,
)

from polltape.capture.coverage import read_coverage
from polltape.recorder.convert import recover

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
    port, helper = mitmdump.port, mitmdump.helper()
    os.kill(helper, signal.SIGSTOP)
    for _ in range(3):
        request(port)
    os.kill(helper, signal.SIGKILL)
    wait_for("the notice", lambda: "traffic goes on UNRECORDED" in mitmdump.output)
    assert request(port) == 202
    wait_for("what was in the pipe", lambda: len(rows(mitmdump.captures)) == 3)
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0
    assert "polltape recorded 3 exchanges (3 redacted, 0 left out, 0 missing" in mitmdump.output
    assert "; 1 not recorded" in mitmdump.output
    assert " lost" not in mitmdump.output


def test_two_dead_helpers_are_told_and_what_is_missing_is_counted(start: Start, shop: int, tmp_path: Path) -> None:
    program = tmp_path / "polltape-once"
    program.write_text(
        f'#!/bin/sh\n[ -e "{tmp_path}/once" ] && exit 7\n: > "{tmp_path}/once"\nexec "{PROGRAMS}/polltape" "$@"\n'
    )
    program.chmod(0o755)
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", f"polltape_helper={program}")
    port, helper = mitmdump.port, mitmdump.helper()
    request(port)
    wait_for("the spool to hold it", lambda: any(b"PTR" in path.read_bytes() for path in spooled(mitmdump.captures)))
    os.kill(helper, signal.SIGSTOP)
    for _ in range(3):
        request(port)
    os.kill(helper, signal.SIGKILL)
    assert mitmdump.ended() == 1
    [line] = [line for line in mitmdump.output.splitlines() if "cannot be saved" in line]
    assert "what the dead helper had not written cannot be saved: the helper ended with status 7" in line
    assert "Traceback" not in mitmdump.output
    assert recover(mitmdump.captures).gaps == 3
    assert len(rows(mitmdump.captures)) == 1


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("polltape_dirr=x", "no such option: polltape_dirr (there are polltape_body_cap, "),
        ("polltape_helper=/bin/false", "the helper ended with status 1"),
        ("polltape_dir=/dev/null/captures", "polltape_dir=/dev/null/captures: cannot write there (Not a dir"),
        ("polltape_timeout=soon", "polltape_timeout=soon: must be a whole number, 1 to 999999"),
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
sys.executable, sys.modules["polltape"] = "/nowhere/python", None
from mitmproxy.tools.main import mitmdump
sys.exit(mitmdump())
"""
"""mitmdump as if it were installed without polltape beside it, which cannot be imported either."""


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
