"""mitmproxy's flow files: the same exchange that the recorder would have seen."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mitmproxy.flow import Error, Flow
from mitmproxy.http import Headers
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from polltape.capture.flows import UNFINISHED, from_flow, read_flows
from polltape.capture.notes import Notes
from polltape.errors import InputError
from polltape.exchange import Body, Exchange, Header


def dump(flows: Iterable[Flow]) -> bytes:
    file = io.BytesIO()
    writer = FlowWriter(file)
    for flow in flows:
        writer.add(flow)
    return file.getvalue()


def read(path: Path, content: bytes) -> tuple[list[Exchange], Notes]:
    path.write_bytes(content)
    notes = Notes("a.mitm", "flow")
    return [exchange for exchange, _ in read_flows(path, notes)], notes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.mitm"


def test_every_part_of_a_flow_has_its_place(path: Path) -> None:
    flow = tflow.tflow(resp=True)
    flow.request.scheme, flow.request.host, flow.request.port = "https", "192.0.2.1", 8443
    flow.request.headers = Headers([(b"Host", b"Shop.example:444"), (b"X", b"\xe9"), (b"x", b"2")])
    flow.request.data.path = b"/p/\xff%41?q=a b&\xe9"
    flow.request.timestamp_start, flow.request.timestamp_end = 1767225600.25, 1767225600.5
    flow.response.timestamp_start, flow.response.timestamp_end = 1767225601.0, 1767225602.000001
    flow.response.trailers = Headers([(b"t", b"1")])
    (found,), notes = read(path, dump([flow]))
    assert (found.scheme, found.host, found.port) == ("https", "shop.example", 444)
    assert (found.path, found.query) == ("/p/%FF%41", "q=a%20b&%E9")
    assert found.request_headers == (Header("Host", "Shop.example:444"), Header("X", "é"), Header("x", "2"))
    assert found.request_started_at == datetime(2026, 1, 1, microsecond=250_000, tzinfo=UTC)
    assert found.request_ended_at == datetime(2026, 1, 1, microsecond=500_000, tzinfo=UTC)
    assert found.response_started_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert found.response_ended_at == datetime(2026, 1, 1, 0, 0, 2, 1, tzinfo=UTC)
    assert (found.method, found.status, found.reason, found.error) == ("GET", 200, "OK", None)
    assert found.http_version == "HTTP/1.1"
    assert found.response_trailers == (Header("t", "1"),)
    assert found.response_body == Body(wire_size=7, size=7, content=b"message")
    assert found.client_address == "127.0.0.1"
    assert found.server_address == "192.168.0.1:22"
    assert found.client_connection_id == flow.client_conn.id
    assert found.request_started_mono_ns is None
    assert not notes.warnings()


def test_without_a_host_header_the_address_stands() -> None:
    flow = tflow.tflow(resp=True)
    flow.request.headers = Headers()
    flow.request.authority = ""
    flow.request.host, flow.request.port = "2001:db8::1", 8080
    found = from_flow(flow, "id")
    assert (found.host, found.port, found.url) == ("2001:db8::1", 8080, "http://[2001:db8::1]:8080/path")


def test_bodies_are_decoded_missing_ones_are_unknown() -> None:
    flow = tflow.tflow(resp=True)
    flow.response.headers["content-encoding"] = "gzip"
    packed = gzip.compress(b'{"a": 1}')
    flow.response.raw_content = packed
    assert from_flow(flow, "id").response_body == Body(wire_size=len(packed), size=8, content=b'{"a": 1}')
    flow.response.raw_content = b"broken"
    assert from_flow(flow, "id").response_body == Body(wire_size=6, not_stored="broken gzip")
    flow.response.raw_content = None
    assert from_flow(flow, "id").response_body == Body(not_stored="streamed past the recorder")


def test_errors_and_flows_under_way() -> None:
    flow = tflow.tflow(resp=False)
    flow.error = Error("connection reset", 1767225600.0)
    found = from_flow(flow, "id")
    assert (found.status, found.error) == (None, "connection reset")
    assert found.response_ended_at == datetime(2026, 1, 1, tzinfo=UTC)
    flow.error = None
    found = from_flow(flow, "id")
    assert (found.error, found.response_ended_at, found.response_body) == (UNFINISHED, None, Body())


def test_other_flows_are_told_and_not_counted(path: Path) -> None:
    flows = [tflow.ttcpflow(), tflow.tflow(resp=True), tflow.tudpflow(), tflow.tdnsflow(), tflow.ttcpflow()]
    rows, notes = read(path, dump(flows))
    assert (len(rows), notes.skipped) == (1, 0)
    assert notes.warnings() == (
        "a.mitm: 2 flows of type tcp, not HTTP: not counted (flow 0, 4, counted from 0)",
        "a.mitm: 1 flow of type udp, not HTTP: not counted (flow 2, counted from 0)",
        "a.mitm: 1 flow of type dns, not HTTP: not counted (flow 3, counted from 0)",
    )


def test_a_websocket_is_its_upgrade(path: Path) -> None:
    (row,), _ = read(path, dump([tflow.twebsocketflow()]))
    assert row.status == 101
    assert "hello" not in repr(row)


def test_ids_are_the_same_in_every_run_and_each_its_own(path: Path) -> None:
    one, two = tflow.tflow(resp=True), tflow.tflow(resp=True)
    two.id = "another"
    first = [row.exchange_id for row in read(path, dump([one, two, one]))[0]]
    assert len(set(first)) == 3
    assert [row.exchange_id for row in read(path, dump([two, one, one]))[0]] == [first[1], first[0], first[2]]


def test_a_torn_tail_at_every_length_costs_only_the_torn_flow(path: Path) -> None:
    one, two = dump([tflow.tflow(resp=True)]), dump([tflow.tflow(resp=True)])
    for length in range(1, len(two), 37):
        rows, notes = read(path, one + two[:length])
        assert len(rows) == 1
        assert notes.warnings() == ("a.mitm: torn or damaged after 1 flows; what follows is not read",)
    rows, notes = read(path, one + two)
    assert (len(rows), notes.warnings()) == (2, ())


def test_flipped_bits_never_break_the_reader(path: Path) -> None:
    whole = dump([tflow.tflow(resp=True)])
    for place in range(0, len(whole), 29):
        damaged = bytearray(whole)
        damaged[place] ^= 0x15
        try:
            rows, _ = read(path, bytes(damaged))
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert len(rows) <= 1
