"""Importing whatever a file holds: rows, counted entries, one line each; never a traceback, never much memory."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mitmproxy.flow import Error
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from polltape.capture import importing, scratch
from polltape.capture.har import read_har
from polltape.capture.keys import Key
from polltape.capture.reading import Capture, open_capture, read_exchanges
from polltape.capture.redaction import Redactor
from polltape.errors import InputError
from polltape.exchange import Exchange
from polltape.protocols import observe

HARS = Path(__file__).parent / "hars"
REDACT = Redactor(Key.of(b"k" * 32)).redact


def opened(path: Path, redact: Callable[[Exchange], Exchange] = REDACT) -> Capture:
    return open_capture([path], redact=redact, observe=observe)


# ------------------------------------------------------------------------------------- any HAR whatsoever

odd_texts = st.sampled_from(
    ["", "A", "=", "\x00", "\ud800", "é€😀", "1e400", "-1", "https://", "http://[::1", "gzip, br, gzip", "a" * 300]
)
odd: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_texts | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "text", "encoding", "size", "facts", "version"]), inner)
    ),
    max_leaves=4,
)
ENTRIES = [
    entry
    for name in ("chrome", "firefox", "safari", "charles", "fiddler", "insomnia", "playwright", "mitmproxy")
    for entry in json.loads((HARS / f"{name}.har").read_bytes().decode("utf-8-sig"))["log"]["entries"]
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The value with what stands at the place replaced, or for Ellipsis removed."""
    if not place:
        return None if new is ... else new
    copy = value.copy()
    if len(place) == 1 and new is ...:
        del copy[place[0]]
    else:
        copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    entry = draw(st.sampled_from(ENTRIES))
    extension = {"version": 1, "facts": draw(odd | st.dictionaries(st.sampled_from(["exchange_id", "seq"]), odd))}
    entry = {**entry, "_polltape": extension} if draw(st.booleans()) else entry
    for _ in range(draw(st.integers(0, 3))):
        entry = changed(entry, draw(st.sampled_from(places(entry))), draw(odd | st.just(...)))
    return entry


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mutated(), max_size=4), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_every_entry_is_a_row_or_counted_and_told(entries: list[Any], encoding: str, ascii_only: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.har")
        text = json.dumps({"log": {"entries": entries}}, ensure_ascii=ascii_only)
        path.write_bytes(text.encode(encoding, "replace" if encoding == "utf-16" else "surrogatepass"))
        capture = opened(path)
        rows = list(read_exchanges(capture))
    assert len(rows) + capture.skipped == len(entries)
    assert all("\n" not in line for line in capture.warnings)
    assert {row.key_id for row in rows} <= {Key.of(b"k" * 32).key_id}
    assert not any("could not be redacted" in line for line in capture.warnings), capture.warnings


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(HARS.glob("*.har"))), st.data())
def test_a_damaged_file_is_read_or_is_one_line(har: Path, data: st.DataObject) -> None:
    content = bytearray(har.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 30))] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{"])
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.har")
        path.write_bytes(content)
        try:
            capture = opened(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert list(read_exchanges(capture)) is not None


@pytest.mark.parametrize("name", sorted(path.stem for path in HARS.glob("*.har")))
def test_a_file_cut_off_anywhere_is_one_line(tmp_path: Path, name: str) -> None:
    content = (HARS / f"{name}.har").read_bytes()
    whole = len(content.rstrip())
    for length in range(0, whole, max(1, whole // 60)):
        (tmp_path / "a.har").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"a\.har: not a HAR file: ") as caught:
            opened(tmp_path / "a.har")
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------ any flow whatsoever

headers = st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=12)), max_size=3).map(tuple)
codings = st.sampled_from([(), ((b"content-encoding", b"gzip"),), ((b"Content-Encoding", b"br, zstd"),)])
times = st.none() | st.floats() | st.integers(-(10**18), 10**18)


def mostly(value: Any, odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda n: odd if n == 0 else st.just(value))


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_flow_is_a_row_or_counted_and_told(data: st.DataObject) -> None:
    draw = data.draw
    flow = tflow.tflow(resp=True)
    request, response = flow.request.data, flow.response.data
    request.method = draw(mostly(b"PUT", st.binary(max_size=6)))
    request.scheme = draw(mostly(b"https", st.sampled_from([b"http", b"\xff", b""])))
    request.path, request.authority = draw(st.binary(max_size=12)), draw(st.binary(max_size=12))
    request.host, request.port = draw(mostly("h.example", odd_texts)), draw(mostly(443, st.integers(-1, 2**40)))
    request.http_version = draw(mostly(b"HTTP/1.1", st.sampled_from([b"", b"\xff"])))
    request.timestamp_start = draw(mostly(1767225600.5, st.floats()))
    request.timestamp_end = draw(mostly(1767225601, times))
    response.timestamp_start, response.timestamp_end = draw(mostly(1767225602, times)), draw(mostly(1767225603, times))
    response.status_code, response.reason = draw(mostly(202, st.integers(-(2**40), 2**40))), draw(st.binary(max_size=4))
    for message in (request, response):
        message.headers = type(message.headers)(draw(headers) + draw(codings))
        message.content = draw(st.none() | st.binary(max_size=20))
        message.trailers = draw(st.none() | headers.map(type(message.headers)))
    flow.client_conn.peername = draw(mostly(("192.0.2.1", 1), st.tuples(odd_texts, st.integers())))
    flow.error = draw(st.none() | odd_texts.map(lambda text: Error(text, 1767225600.0)))
    flow.metadata["_polltape"] = draw(st.none() | st.builds(dict, version=st.just(1), facts=odd))
    file = io.BytesIO()
    try:
        FlowWriter(file).add(flow)
    except (ValueError, UnicodeError):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mitm")
        path.write_bytes(file.getvalue())
        try:
            capture = opened(path)
        except InputError:
            return  # mitmproxy itself cannot read it
        rows = list(read_exchanges(capture))
    assert len(rows) + capture.skipped == 1, capture.warnings
    assert not any("could not be redacted" in line for line in capture.warnings), capture.warnings


def test_what_the_redactor_fails_on_is_lost_and_told_not_leaked(tmp_path: Path) -> None:
    def fail(exchange: Exchange) -> Exchange:
        if exchange.method == "PUT":
            raise KeyError("secret")
        return REDACT(exchange)

    (tmp_path / "a.har").write_bytes((HARS / "chrome.har").read_bytes())
    capture = opened(tmp_path / "a.har", fail)
    assert [row.method for row in read_exchanges(capture)] == ["GET", "GET"]
    assert capture.skipped == 4
    assert f"{tmp_path}/a.har: 1 entry left out: it could not be redacted (KeyError) (entry 0, counted from 0)" in (
        capture.warnings
    )
    assert "secret" not in repr(capture)


def test_requests_that_all_start_at_one_instant_are_told(tmp_path: Path) -> None:
    (told,) = opened(HARS / "insomnia.har").warnings
    assert told.endswith(
        "insomnia.har: all requests start at one instant (the export's, as Insomnia writes it): waits mean nothing"
    )


# ------------------------------------------------------------------------------------------- what is large


def entry(number: int, body: str = "") -> dict[str, Any]:
    return {
        "startedDateTime": f"2026-03-01T10:{number // 60 % 60:02}:{number % 60:02}Z",
        "time": 10,
        "request": {"method": "GET", "url": f"https://shop.example/{number}", "headers": []},
        "response": {"status": 200, "headers": [], "content": {"size": len(body), "text": body}},
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large."""
    monkeypatch.setattr(importing, "ROWS_A_BATCH", 3)
    monkeypatch.setattr(importing, "BYTES_A_BATCH", 4000)
    monkeypatch.setattr(importing, "BYTES_IN_MEMORY", 8000)


def numbers(count: int, order: str) -> list[int]:
    chosen = list(range(count))
    if order == "shuffled":
        random.Random(1).shuffle(chosen)
    return chosen[::-1] if order == "backwards" else chosen


@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled"])
def test_a_large_import_is_a_parquet_file_and_else_the_same(
    tmp_path: Path, order: str, request: pytest.FixtureRequest
) -> None:
    entries = [entry(number, "x" * (number % 7)) for number in numbers(200, order)]
    entries += entries[:5]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": entries}}))
    held = opened(tmp_path / "a.har")
    request.getfixturevalue("small")
    spooled = opened(tmp_path / "a.har")
    assert held.table is not None
    assert (held.files, spooled.table, len(spooled.files)) == ((), None, 1)
    assert list(read_exchanges(spooled)) == list(read_exchanges(held))
    assert [row.path for row in read_exchanges(spooled)][:3] == ["/0", "/0", "/1"] or order != "in order"
    assert spooled.coverage == held.coverage
    assert spooled.warnings == held.warnings
    assert {row.session_id for row in read_exchanges(spooled)} == {spooled.coverage[0].session_id}


@pytest.mark.usefixtures("small")
def test_two_large_imports_of_the_same_entries_count_them_once(tmp_path: Path) -> None:
    for name, numbers in (("a", range(100)), ("b", range(50, 150))):
        (tmp_path / f"{name}.har").write_text(json.dumps({"log": {"entries": [entry(n) for n in numbers]}}))
    paths = [tmp_path / "a.har", tmp_path / "b.har"]
    one = open_capture(paths, redact=REDACT, observe=observe)
    other = open_capture(paths[::-1], redact=REDACT, observe=observe)
    assert [row.path for row in read_exchanges(one)] == [f"/{n}" for n in range(150)]
    assert list(read_exchanges(one)) == list(read_exchanges(other))
    assert one.warnings == ("50 imported exchanges stand there more than once; counted once",)


@pytest.mark.usefixtures("small")
def test_what_is_spooled_is_redacted_and_nobody_elses_to_read(tmp_path: Path) -> None:
    entries = [entry(n) for n in range(50)]
    for made in entries:
        made["request"]["headers"] = [{"name": "X-Shopify-Access-Token", "value": "shppa_planted_secret"}]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": entries}}))
    (file,) = opened(tmp_path / "a.har").files
    assert list(file.parent.glob("*.arrow")) == []
    assert file.parent.stat().st_mode & 0o077 == 0
    assert b"planted_secret" not in repr(pq.read_table(file).to_pylist()).encode()


@pytest.mark.usefixtures("small")
def test_a_file_that_is_cut_off_leaves_no_run_behind(tmp_path: Path) -> None:
    text = json.dumps({"log": {"entries": [entry(n) for n in range(100)]}})
    (tmp_path / "a.har").write_text(text[:-10])
    before = set(scratch.folder().iterdir())
    with pytest.raises(InputError, match="not a HAR file: no JSON at line 1"):
        opened(tmp_path / "a.har")
    assert set(scratch.folder().iterdir()) == before


def test_a_long_body_costs_no_row_and_an_entry_beyond_the_bound_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(importing.IMPORTERS, "har", (partial(read_har, max_entry=2**20), "entry"))
    path = tmp_path / "a.har"
    wide = entry(2) | {"cache": ["x" * 1000] * 2000}
    path.write_text(json.dumps({"log": {"entries": [entry(0), entry(1, "x" * 2**20), wide, entry(3)]}}))
    capture = opened(path)
    assert [row.path for row in read_exchanges(capture)] == ["/0", "/1", "/3"]
    assert [row.response_body.not_stored for row in read_exchanges(capture)] == [None, "not in the HAR", None]
    assert sorted(capture.warnings) == [
        f"{path}: 1 entry left out: longer than 1 MiB (entry 2, counted from 0)",
        f"{path}: 1 entry read without a text of more than 0.5 MiB (entry 1, counted from 0)",
    ]


_CONVERT = """
import resource, sys
from polltape.cli import main
status = main(["convert", sys.argv[1], sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(status)
"""


def peak_mib(source: Path, out: Path) -> int:
    """Megabytes that converting needs at most, in a process of its own."""
    environment = {**os.environ, "POLLTAPE_CONFIG_DIR": str(source.parent / "config"), "TMPDIR": str(source.parent)}
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, str(source), str(out)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def write_large(path: Path, count: int) -> float:
    """A HAR of that many entries, each with a body of 128 KiB that is kept; its size in MiB."""
    letters = "".join(random.Random(1).choices("abcdefghijklmnop", k=128 * 1024))
    with path.open("w") as file:
        file.write('{"log": {"entries": [')
        for number in range(count):
            made = entry(number, json.dumps({"letters": letters[number:] + letters[:number]}))
            made["response"]["content"]["mimeType"] = "application/json"
            file.write(("," if number else "") + json.dumps(made))
        file.write("]}}")
    return path.stat().st_size / 2**20


@pytest.mark.parametrize("kind", ["parquet", "har"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    """Both are larger than what is held in memory; the second is five times as large."""
    sizes = [write_large(tmp_path / f"{count}.har", count) for count in (120, 600)]
    peaks = [peak_mib(tmp_path / f"{count}.har", tmp_path / f"out-{count}.{kind}") for count in (120, 600)]
    assert peaks[1] - peaks[0] < 20 < (sizes[1] - sizes[0]) / 3
    assert list(tmp_path.glob("polltape-*")) == []  # the spool has gone with the process
    if kind == "parquet":
        bodies = pq.read_table(tmp_path / "out-600.parquet", columns=["response_body"])["response_body"]
        assert pc.min(pc.binary_length(pc.struct_field(bodies, "content"))).as_py() > 128 * 1024
