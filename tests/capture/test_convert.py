"""Between the formats and back: what the middle one can hold survives, and nothing passes unredacted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polltape.capture.converting import target_kind, write_capture
from polltape.capture.coverage import Session, write_session
from polltape.capture.extension import FIELD, coverage_extension, coverage_told, sealed, unseal
from polltape.capture.flow_export import to_flow
from polltape.capture.flows import _unseal, from_flow
from polltape.capture.har_entry import read_entry
from polltape.capture.har_export import to_entry, write_har
from polltape.capture.keys import Key, load_key
from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import Capture, open_capture, read_exchanges
from polltape.capture.redaction import Redactor
from polltape.cli.convert import convert
from polltape.errors import InputError, UsageError
from polltape.exchange import Body, Coverage, Exchange, Header
from polltape.protocols import observe

HARS = Path(__file__).parent / "hars"
START = datetime(2026, 3, 1, 10, tzinfo=UTC)
KEY, OTHER_KEY = Key.of(b"k" * 32), Key.of(b"o" * 32)
REDACT = Redactor(KEY).redact
UUIDS = ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058")
COVERAGE = (Coverage(UUIDS[1], START, START + timedelta(hours=1), filter="~d shop.example", gaps=2),)

# ---------------------------------------------------------------------------------------- any exchange

tokens = st.text("abcXYZ09-", min_size=1, max_size=8)
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=12)
codings = st.sampled_from(["gzip", "br", "GZIP, zstd", "deflate", "x-gzip", "identity", "foo", "gzip, foo", "", ",,"])
types = st.sampled_from(["application/json", "text/plain; charset=latin-1", "text/html; charset=utf-16", "x"])
lines = (
    st.builds(Header, tokens, values)
    | st.builds(Header, st.just("Content-Encoding"), codings)
    | st.builds(Header, st.just("content-type"), types)
    | st.just(Header("Host", "other.example:444"))
)
headers = st.lists(lines, max_size=4).map(tuple)
sizes = st.none() | st.integers(0, 2**40)
contents = st.none() | st.binary(max_size=30) | st.text(max_size=20).map(str.encode)
bodies = st.builds(
    Body,
    wire_size=sizes,
    size=sizes,
    content=contents,
    truncated=st.booleans(),
    not_stored=st.none() | st.just("too large"),
    digest=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
)
instants = st.integers(0, 10**12).map(lambda us: START + timedelta(microseconds=us))
maybe = st.none() | instants
counts = st.none() | st.integers(0, 2**60)
exchanges = st.builds(
    Exchange,
    exchange_id=st.sampled_from(UUIDS) | st.text("0123456789abcdef", min_size=32, max_size=32),
    method=st.sampled_from(["GET", "PUT", "POST", "HEAD", "purge"]),
    scheme=st.sampled_from(["http", "https"]),
    host=st.sampled_from(["shop.example", "127.0.0.1", "::1"]),
    port=st.integers(1, 65535),
    path=st.just("*") | st.text("ab/%2F;=", max_size=8).map(lambda text: f"/{text}"),
    request_started_at=instants,
    query=st.none() | st.text("ab=&%2B+", max_size=8),
    http_version=st.none() | st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3"]),
    request_ended_at=maybe,
    response_started_at=maybe,
    response_ended_at=maybe,
    request_started_mono_ns=counts,
    response_ended_mono_ns=counts,
    request_headers=headers,
    request_body=bodies,
    request_trailers=headers,
    status=st.none() | st.integers(100, 599),
    reason=st.none() | st.just("OK") | st.just(""),
    response_headers=headers,
    response_body=bodies,
    response_trailers=headers,
    error=st.none() | st.just("connection reset"),
    client=st.none() | tokens,
    client_address=st.none() | st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    server_address=st.none() | st.sampled_from(["192.0.2.1:443", "[2001:db8::1]:443"]),
    client_connection_id=st.none() | st.just(UUIDS[0]),
    server_connection_id=st.none() | st.just(UUIDS[1]),
    digest_ok=st.none() | st.booleans(),
    session_id=st.none() | st.just(UUIDS[1]),
    seq=counts,
    key_id=st.just(KEY.key_id),
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@settings(deadline=None)
@given(exchanges)
def test_har_and_back_loses_nothing(exchange: Exchange) -> None:
    entry = through_json(sealed(to_entry(exchange), exchange, KEY))
    assert unseal(entry, read_entry(entry, "new"), KEY) == (exchange, True)


@settings(deadline=None)
@given(exchanges)
def test_flow_and_back_loses_nothing(exchange: Exchange) -> None:
    if exchange.status is None:
        exchange = replace(exchange, response_headers=(), response_body=Body())
    flow = to_flow(exchange, KEY)
    assert _unseal(flow, from_flow(flow, "new"), KEY) == (exchange, True)


@settings(deadline=None)
@given(exchanges)
def test_plain_har_keeps_what_har_itself_can_hold(exchange: Exchange) -> None:
    found = read_entry(through_json(to_entry(exchange)), "new")
    if exchange.path == "*":
        exchange = replace(exchange, path="/")  # a URL has no place for it
    for name in ("method", "url", "request_headers", "response_headers", "http_version", "status"):
        assert getattr(found, name) == getattr(exchange, name), name
    assert found.request_started_at == exchange.request_started_at
    if exchange.request_body.content:
        assert found.request_body.content == exchange.request_body.content
    if exchange.response_body.content:
        assert found.response_body.content == exchange.response_body.content
        assert found.response_body.wire_size == exchange.response_body.wire_size


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**11), min_size=4, max_size=4).map(sorted))
def test_plain_har_keeps_four_known_instants_to_the_microsecond(us: list[int]) -> None:
    at = [START + timedelta(microseconds=n) for n in us]
    exchange = Exchange("id", "GET", "http", "h", 80, "/", at[0], None, None, *at[1:], status=200)
    found = read_entry(through_json(to_entry(exchange)), "id")
    assert [found.request_started_at, found.request_ended_at, found.response_started_at, found.response_ended_at] == at


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(exchanges, max_size=4, unique_by=lambda exchange: exchange.exchange_id),
    st.lists(st.sampled_from(["har", "mitm", "parquet", "folder"]), min_size=1, max_size=4),
)
def test_a_capture_goes_through_any_chain_of_formats_and_back(made: list[Exchange], kinds: list[str]) -> None:
    """Trailers, duplicate and non-ASCII headers, errors, truncated and missing bodies, unfinished exchanges."""
    rows = [observe(_answered(replace(row, session_id=UUIDS[1]), "mitm" in kinds)) for row in made]
    rows.sort(key=lambda row: (row.request_started_at, row.exchange_id))
    with tempfile.TemporaryDirectory() as folder:
        write_exchanges(Path(folder, "start"), "one", rows, COVERAGE)
        at = Path(folder, "start")
        if not rows:
            return
        for step, kind in enumerate(kinds):
            out = Path(folder, f"{step}" if kind == "folder" else f"{step}.{kind}")
            assert written(opened(at), out) == len(rows)
            at = out
        assert list(read_exchanges(opened(at))) == rows


def _answered(exchange: Exchange, as_flow: bool) -> Exchange:
    """Without a status a flow has no response, thus no place for its headers."""
    if as_flow and exchange.status is None:
        return replace(exchange, response_headers=(), response_body=Body())
    return exchange


def test_a_flow_that_mitmproxy_shows_is_encoded_as_its_headers_say() -> None:
    exchange = sample(response_headers=(Header("Content-Encoding", "gzip"),), response_body=Body(3, 5, b"hello"))
    flow = to_flow(exchange)
    assert flow.response is not None
    assert flow.response.content == b"hello"
    assert flow.response.raw_content != b"hello"


# ----------------------------------------------------------------------------------------------- seals


def sample(**changes: Any) -> Exchange:
    made = Exchange(
        exchange_id=UUIDS[0],
        method="PUT",
        scheme="https",
        host="shop.example",
        port=443,
        path="/admin/api/2020-01/checkouts/7e9a2c.json",
        request_started_at=START,
        request_headers=(
            Header("X-Shopify-Access-Token", "shppa_planted_secret"),
            Header("Content-Type", "application/json"),
        ),
        request_body=Body(30, 30, b'{"card":{"number":"4111111111111111"}}'),
        status=202,
        response_headers=(Header("Retry-After", "1"), Header("Content-Type", "application/json")),
        response_body=Body(2, 2, b"{}"),
        request_ended_at=START,
        response_started_at=START + timedelta(seconds=1),
        response_ended_at=START + timedelta(seconds=2),
        client="c1",
        session_id=UUIDS[1],
        seq=7,
    )
    return replace(made, **changes)


def entry_of(exchange: Exchange, key: Key | None) -> dict[str, Any]:
    entry: dict[str, Any] = through_json(sealed(to_entry(exchange), exchange, key))
    return entry


def test_only_the_own_seal_keeps_a_row_from_being_redacted_again() -> None:
    row = REDACT(sample())
    entry = entry_of(row, KEY)
    carried = read_entry(entry, "new")
    assert unseal(entry, carried, KEY) == (row, True)
    assert unseal(entry, carried, OTHER_KEY)[1] is False
    assert unseal(entry, carried, None)[1] is False


def test_a_changed_entry_is_redacted_again() -> None:
    entry = entry_of(REDACT(sample()), KEY)
    for change in (
        lambda e: e["request"]["headers"].append({"name": "Authorization", "value": "Bearer secret"}),
        lambda e: e["response"]["content"].update(text='{"password":"secret"}'),
        lambda e: e["request"].update(url="https://shop.example/?access_token=secret"),
        lambda e: e[FIELD]["facts"].update(client="secret"),
        lambda e: e[FIELD].update(seal="0" * 64),
        lambda e: e[FIELD].update(seal="é"),
        lambda e: e[FIELD].pop("seal"),
    ):
        changed = json.loads(json.dumps(entry))
        change(changed)
        assert unseal(changed, read_entry(changed, "new"), KEY)[1] is False


def test_a_row_of_another_key_or_of_none_is_never_sealed() -> None:
    assert "seal" not in entry_of(sample(), KEY)[FIELD]
    assert "seal" not in entry_of(Redactor(OTHER_KEY).redact(sample()), KEY)[FIELD]


def test_unsealed_facts_are_believed_only_where_no_secret_can_hide() -> None:
    entry = entry_of(sample(), None)
    facts = entry[FIELD]["facts"]
    facts.update(
        client="hidden",
        session_id="hidden",
        error="hidden",
        key_id=KEY.key_id,
        path="/hidden",
        server_address="hidden",
        client_address="hidden",
    )
    facts["request_body"]["not_stored"] = facts["request_body"]["digest"] = "hidden"
    facts["request_trailers"] = [{"name": "x", "value": "hidden"}]
    found, redacted = unseal(entry, read_entry(entry, "new"), KEY)
    assert redacted is False
    assert "hidden" not in repr(found)
    assert (found.exchange_id, found.seq, found.key_id) == (UUIDS[0], 7, None)
    assert found.response_ended_at == START + timedelta(seconds=2)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"request_started_at": "soon"},
        {"request_started_at": "2026-01-01T00:00:00"},
        {"request_started_at": 5},
        {"request_started_at": "0001-01-01T00:00:00+14:00"},
        [],
        "x",
    ],
)
def test_unsound_facts_are_no_facts(facts: object) -> None:
    entry = {**through_json(to_entry(sample())), FIELD: {"version": 1, "facts": facts}}
    carried = read_entry(entry, "new")
    assert unseal(entry, carried, KEY) == (carried, False)


def test_coverage_travels_in_a_har() -> None:
    extension = through_json(coverage_extension(COVERAGE, KEY))
    assert coverage_told(extension, KEY) == list(COVERAGE)
    assert coverage_told(extension, OTHER_KEY) == [replace(COVERAGE[0], filter=None)]
    assert coverage_told({**extension, "coverage": [{"session_id": "x"}]}, KEY) == []
    assert coverage_told("x", KEY) == []


# --------------------------------------------------------------------------------------------- convert


def opened(*paths: Path, key: Key = KEY) -> Capture:
    return open_capture(paths, redact=Redactor(key).redact, observe=observe, key=key)


def written(capture: Capture, out: Path, key: Key = KEY) -> int:
    kind = target_kind(out, capture.sources, force=False)
    return write_capture(capture, out, kind, redact=Redactor(key).redact, observe=observe, key=key)


@pytest.fixture
def captured(tmp_path: Path) -> Path:
    rows = [
        observe(REDACT(sample())),
        observe(
            REDACT(
                sample(
                    exchange_id=UUIDS[1], seq=8, status=None, error="reset", response_headers=(), response_body=Body()
                )
            )
        ),
    ]
    write_exchanges(tmp_path / "capture", "one", rows, COVERAGE)
    write_session(tmp_path / "capture", Session(COVERAGE[0]))
    return tmp_path / "capture"


@pytest.mark.parametrize(
    "through", [["a.har"], ["a.mitm"], ["a.parquet"], ["folder"], ["a.har", "b.mitm", "c.parquet", "d"]]
)
def test_a_capture_comes_back_as_it_was(captured: Path, tmp_path: Path, through: list[str]) -> None:
    before = list(read_exchanges(opened(captured)))
    at = captured
    for name in through:
        assert written(opened(at), tmp_path / name) == 2
        at = tmp_path / name
    after = opened(at)
    assert list(read_exchanges(after)) == before
    if "mitm" not in "".join(through):  # flows have no place for it
        assert after.coverage == COVERAGE


def test_a_har_of_somebody_else_is_redacted_again_and_keeps_ids_and_equality(captured: Path, tmp_path: Path) -> None:
    written(opened(captured), tmp_path / "a.har")
    before = list(read_exchanges(opened(captured)))
    after = list(read_exchanges(opened(tmp_path / "a.har", key=OTHER_KEY)))
    assert [row.exchange_id for row in after] == [row.exchange_id for row in before]
    assert {row.key_id for row in after} == {OTHER_KEY.key_id}
    assert after[0].request_headers[0] != before[0].request_headers[0]
    assert after[0].request_headers[0] == after[1].request_headers[0]
    assert after[0].client == after[1].client


@pytest.mark.parametrize("name", sorted(path.name for path in HARS.glob("*.har")))
@pytest.mark.parametrize("out", ["capture", "a.parquet", "a.har", "a.mitm"])
def test_every_har_goes_everywhere_and_stays_itself(tmp_path: Path, name: str, out: str) -> None:
    before = opened(HARS / name)
    assert before.table is not None
    assert written(before, tmp_path / out) == before.table.num_rows
    assert list(read_exchanges(opened(tmp_path / out))) == list(read_exchanges(before))


@pytest.mark.parametrize("out", ["capture", "a.parquet", "a.har", "a.mitm"])
def test_importing_redacts(tmp_path: Path, out: str) -> None:
    with (tmp_path / "raw.har").open("w") as file:
        write_har(file, [sample()], ())
    written(opened(tmp_path / "raw.har"), tmp_path / out)
    assert not leaks(tmp_path / out)


def leaks(path: Path) -> list[str]:
    rows = repr(list(read_exchanges(opened(path)))).encode()
    files = [file.read_bytes() for file in ([path] if path.is_file() else path.rglob("*.parquet"))]
    return [
        secret
        for secret in ("shppa_planted_secret", "4111111111111111")
        for data in (rows, *files)
        if secret.encode() in data
    ]


@pytest.mark.parametrize("out", ["a.har", "a.mitm", "b.parquet", "copy"])
def test_rows_recorded_without_redaction_pass_the_gate_on_their_way_out(tmp_path: Path, out: str) -> None:
    write_exchanges(tmp_path / "raw", "one", [sample()], COVERAGE)
    written(opened(tmp_path / "raw"), tmp_path / out)
    assert not leaks(tmp_path / out)


def test_a_capture_written_from_a_har_is_one_that_plain_parquet_readers_read(tmp_path: Path) -> None:
    written(opened(HARS / "chrome.har"), tmp_path / "out")
    (path,) = (tmp_path / "out").glob("date=2026-03-01/*.parquet")
    assert pq.read_table(path).num_rows == 3


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(convert, list(args), catch_exceptions=True)


def test_the_command_says_what_it_did_and_what_it_left_out(run: Any, tmp_path: Path) -> None:
    result = run(str(HARS / "chrome.har"), "captures")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1] == "captures: 3 exchanges written, 3 left out"
    assert sum(line.startswith("warning: ") for line in result.stderr.splitlines()) == 3
    assert run("captures", "back.har").exit_code == 0
    rows = open_capture(["back.har"], redact=REDACT, observe=observe, key=load_key(tmp_path / "config"))
    assert rows.table is not None
    assert rows.table.num_rows == 3


def test_nothing_is_overwritten_unless_forced(run: Any, tmp_path: Path) -> None:
    har = str(HARS / "charles.har")
    for out in ("out.har", "out.parquet", "out.mitm", "captures"):
        assert run(har, out).exit_code == 0
        refused = run(har, out)
        assert isinstance(refused.exception, UsageError)
        assert str(refused.exception) == f"{out}: is there already"
        assert run(har, out, "--force").exit_code == 0
    assert len(list((tmp_path / "captures").rglob("*.parquet"))) == 1  # the same import is the same file


@pytest.mark.parametrize(
    ("source", "out", "error", "message"),
    [
        ("none.har", "out.har", InputError, "none.har: no such file or folder"),
        ("bad.har", "out.har", InputError, "bad.har: not a HAR file: no JSON at line 1, column 1 (Expecting value)"),
        ("good.har", "out.txt", UsageError, "out.txt: unknown kind to write"),
        ("good.har", "good.har", UsageError, "good.har: cannot be read and written at once"),
        ("good.har", "-", UsageError, "OUT is -: only files and folders are written"),
        ("good.har", "", UsageError, "OUT is empty: only files and folders are written"),
        ("good.har", "bad.har/out.har", InputError, "bad.har: cannot be written (File exists)"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(
    run: Any, tmp_path: Path, source: str, out: str, error: type, message: str
) -> None:
    (tmp_path / "bad.har").write_text("no")
    (tmp_path / "good.har").write_bytes((HARS / "charles.har").read_bytes())
    result = run(source, out)
    assert type(result.exception) is error
    assert str(result.exception) == message
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "config") == ["bad.har", "good.har"]


def test_an_export_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "a.har"
    out.write_text("old")

    def fail(exchange: Exchange) -> Exchange:
        raise RuntimeError("redactor died")

    write_exchanges(tmp_path / "raw", "one", [sample()], COVERAGE)
    with pytest.raises(RuntimeError):
        write_capture(opened(tmp_path / "raw"), out, "har", redact=fail, observe=observe, key=KEY)
    assert (out.read_text(), sorted(p.name for p in tmp_path.iterdir())) == ("old", ["a.har", "raw"])


def test_what_lies_in_a_store_is_converted_by_its_url(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.har"
    done = run((Path(__file__).parents[2] / "captures" / "samples" / "demo").as_uri(), str(out))
    assert done.exit_code == 0, done.output
    assert len(json.loads(out.read_text())["log"]["entries"]) == 136
