"""Opening captures: each source, several at once, and every way in which one can be unreadable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.capture.coverage import Session, write_session
from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import Capture, merged, open_capture, read_exchanges
from polltape.errors import InputError
from polltape.exchange import SCHEMA, SCHEMA_VERSION, Body, Coverage, Exchange, Header, from_table, to_table

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


def exchange(number: int = 0, **changes: Any) -> Exchange:
    start = START + timedelta(seconds=number)
    made = Exchange(
        exchange_id=f"id-{number}",
        method="GET",
        scheme="https",
        host="shop.example",
        port=443,
        path=f"/p/{number}",
        request_started_at=start,
        response_ended_at=start + timedelta(milliseconds=500),
        status=200,
        session_id="s1",
        key_id="k",
    )
    return replace(made, **changes)


def coverage(session: str = "s1", *, until: int = 60, **changes: Any) -> Coverage:
    return replace(Coverage(session, START, START + timedelta(seconds=until)), **changes)


def har(*entries: object) -> str:
    return json.dumps({"log": {"entries": entries}})


def har_entry(number: int = 0) -> dict[str, Any]:
    return {
        "startedDateTime": (START + timedelta(seconds=number)).isoformat(),
        "time": 10,
        "request": {"method": "GET", "url": f"https://shop.example/h/{number}", "headers": []},
        "response": {"status": 200, "headers": [], "content": {}},
    }


def as_is(exchange: Exchange) -> Exchange:
    return exchange


def opened(*paths: str | Path, **steps: Any) -> Capture:
    return open_capture(paths, **{"redact": as_is, "observe": as_is, **steps})


# --------------------------------------------------------------------------------------------- sources


def test_a_folder_gives_its_files_rows_and_coverage(tmp_path: Path) -> None:
    rows = [exchange(n) for n in (3, 1, 2)]
    write_exchanges(tmp_path, "one", rows, [coverage(until=5)])
    write_session(tmp_path, Session(coverage(until=9)))
    capture = opened(tmp_path)
    assert [path.name for path in capture.files] == ["one.parquet"]
    assert capture.table is None
    assert list(read_exchanges(capture)) == sorted(rows, key=lambda row: row.request_started_at)
    assert capture.coverage == (coverage(until=9),)  # the latest heartbeat counts
    assert (capture.sources, capture.skipped, capture.warnings) == ((str(tmp_path),), 0, ())


def test_a_file_alone_has_the_coverage_of_its_footer(tmp_path: Path) -> None:
    (path,) = write_exchanges(tmp_path, "one", [exchange()], [coverage(until=5)])
    assert opened(path).coverage == (coverage(until=5),)


def test_without_any_coverage_the_rows_show_it_for_each_session(tmp_path: Path) -> None:
    write_exchanges(tmp_path, "one", [exchange(0), exchange(5, session_id="s2")])
    write_exchanges(tmp_path, "two", [exchange(9)])
    found = {c.session_id: (c.started_at, c.ended_at) for c in opened(tmp_path).coverage}
    end = timedelta(milliseconds=500)
    assert found == {
        "s1": (START, START + timedelta(seconds=9) + end),
        "s2": (START + timedelta(seconds=5), START + timedelta(seconds=5) + end),
    }


def test_rows_do_not_widen_a_coverage_that_was_kept(tmp_path: Path) -> None:
    write_exchanges(tmp_path, "one", [exchange(100)])
    write_session(tmp_path, Session(coverage(until=9)))
    assert opened(tmp_path).coverage == (coverage(until=9),)


def test_what_is_imported_is_redacted_first_and_observed_then(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(har(har_entry()))
    steps: list[str] = []

    def step(name: str) -> Callable[[Exchange], Exchange]:
        return lambda exchange: (steps.append(name), replace(exchange, **{name: name}))[1]

    capture = opened(tmp_path / "a.har", redact=step("key_id"), observe=step("endpoint"))
    (row,) = read_exchanges(capture)
    assert (row.key_id, row.endpoint, steps) == ("key_id", "endpoint", ["key_id", "endpoint"])
    assert capture.table is not None
    assert capture.table.schema.equals(SCHEMA, check_metadata=True)


def test_a_har_covers_its_first_start_to_its_last_end(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(har(har_entry(7), har_entry(2), har_entry(4)))
    capture = opened(tmp_path / "a.har")
    (found,) = capture.coverage
    assert found.started_at == START + timedelta(seconds=2)
    assert found.ended_at == START + timedelta(seconds=7, milliseconds=10)
    assert {row.session_id for row in read_exchanges(capture)} == {found.session_id}


def test_entries_are_rows_or_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(har(har_entry(), 7, None, har_entry(1)))
    capture = opened(tmp_path / "a.har")
    assert capture.table is not None
    assert (capture.table.num_rows, capture.skipped) == (2, 2)
    assert capture.warnings == (f"{tmp_path}/a.har: 2 entries left out: not an object (entry 1, 2, counted from 0)",)


def test_an_empty_har_is_an_empty_capture_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(har())
    capture = opened(tmp_path / "a.har")
    assert capture.table is not None
    assert (capture.table.num_rows, capture.coverage) == (0, ())
    assert capture.warnings == (f"{tmp_path}/a.har: holds no HTTP exchange",)


def test_several_sources_are_one_capture_whatever_their_order(tmp_path: Path) -> None:
    write_exchanges(tmp_path / "c", "one", [exchange(1), exchange(3)], [coverage()])
    (tmp_path / "a.har").write_text(har(har_entry(2), har_entry(0)))
    (tmp_path / "b.har").write_text(har(har_entry(0), har_entry(4)))
    paths = [tmp_path / "c", tmp_path / "a.har", tmp_path / "b.har"]
    one, other = opened(*paths), opened(*reversed(paths))
    assert [row.path for row in read_exchanges(one)] == ["/h/0", "/p/1", "/h/2", "/p/3", "/h/4"]
    assert list(read_exchanges(one)) == list(read_exchanges(other))
    assert one.coverage == other.coverage
    assert one.warnings == ("1 imported exchange stands there more than once; counted once",)


def test_the_same_file_twice_and_the_same_row_twice_count_once(tmp_path: Path) -> None:
    (path,) = write_exchanges(tmp_path, "one", [exchange()], [coverage()])
    write_exchanges(tmp_path, "two", [exchange()], [coverage()])
    capture = opened(tmp_path, path, tmp_path)
    assert len(capture.files) == 2
    assert len(list(read_exchanges(capture))) == 1


def test_a_folder_without_parquet_gives_its_hars_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.har").write_text(har(har_entry()))
    capture = opened(tmp_path)
    assert len(list(read_exchanges(capture))) == 1
    assert capture.warnings == (f"{tmp_path}: no .parquet file in it; reading its 1 .har file",)


def test_work_in_progress_is_not_read_and_spools_are_told(tmp_path: Path) -> None:
    (written,) = write_exchanges(tmp_path, "one", [exchange()], [coverage()])
    written.with_name(".two.parquet.99.tmp").write_bytes(b"half")
    written.with_name(".three.parquet").write_bytes(b"half")
    (tmp_path / ".spool").mkdir()
    (tmp_path / ".spool" / "s2.spool").write_bytes(b"x")
    capture = opened(tmp_path)
    assert capture.files == (written,)
    recover = f"unless a recorder is at it, run `polltape recover {tmp_path}`"
    assert capture.warnings == (f"{tmp_path}: 1 spooled file not yet in Parquet; {recover}",)


@settings(deadline=None)
@given(
    st.permutations(
        [coverage("a", until=1), coverage("a", until=3), coverage("a", until=3, clean=False), coverage("b")]
    )
)
def test_merged_coverage_is_the_latest_of_each_session(found: list[Coverage]) -> None:
    assert merged(found) == (coverage("a", until=3), coverage("b"))


headers = st.lists(
    st.builds(Header, st.text(st.characters(max_codepoint=255), min_size=1), st.text(st.characters(max_codepoint=255)))
).map(tuple)
bodies = st.builds(
    Body,
    wire_size=st.none() | st.integers(0, 2**62),
    size=st.none() | st.integers(0, 2**62),
    content=st.none() | st.binary(),
    truncated=st.booleans(),
    not_stored=st.none() | st.text(),
    digest=st.none() | st.text(),
)


@settings(deadline=None)
@given(
    st.builds(
        exchange,
        number=st.integers(0, 10**6),
        request_headers=headers,
        response_headers=headers,
        request_body=bodies,
        response_body=bodies,
        query=st.none() | st.text(),
        status=st.none() | st.integers(100, 999),
    )
)
def test_any_exchange_survives_the_table(made: Exchange) -> None:
    assert from_table(to_table([made])) == [made]


# ------------------------------------------------------------------------------------------- bad input


def parquet_bytes(tmp_path: Path) -> bytes:
    (path,) = write_exchanges(tmp_path / "good", "one", [exchange(n) for n in range(50)], [coverage()])
    return path.read_bytes()


def with_version(version: bytes | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        metadata = {} if version is None else {"polltape.schema": version}
        pq.write_table(to_table([exchange()]).replace_schema_metadata(metadata), path)

    return write


def with_table(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        table = change(to_table([exchange()]))
        pq.write_table(table.replace_schema_metadata({"polltape.schema": str(SCHEMA_VERSION)}), path)

    return write


def retyped(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("status"), "status", pa.array(["200"]))


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("none.parquet", lambda p: None, "no such file or folder"),
    ("none", lambda p: None, "no such file or folder"),
    ("empty", lambda p: p.mkdir(), "an empty folder"),
    ("other", lambda p: (p.mkdir(), (p / "x.txt").touch()), "not a capture: no .parquet and no .har file in it"),
    (
        "spool",
        lambda p: ((p / ".spool").mkdir(parents=True), (p / ".spool" / "a.spool").write_bytes(b"x")),
        "holds only 1 spooled file",
    ),
    ("a.txt", lambda p: p.touch(), "unknown kind of file"),
    ("a", lambda p: p.touch(), "unknown kind of file"),
    ("a.parquet", lambda p: p.touch(), "empty (0 bytes), not a Parquet file"),
    ("a.parquet", lambda p: p.write_text("{}"), "not a Parquet file"),
    ("a.parquet", lambda p: p.write_bytes(b"PAR1"), "cut off: a Parquet file, but its end is missing"),
    (
        "a.parquet",
        lambda p: p.write_bytes(parquet_bytes(p.parent)[:-100]),
        "cut off: a Parquet file, but its end is missing",
    ),
    ("a.parquet", lambda p: p.write_bytes(b"PAR1" + b"\xff" * 40 + b"PAR1"), "its Parquet footer cannot be read ("),
    ("a.parquet", with_version(None), "not a capture: its footer names no polltape.schema version"),
    ("a.parquet", with_version(b"x"), "not a capture: its footer names no valid polltape.schema version"),
    ("a.parquet", with_version(b"3"), "written with schema 3, newer than the 2 that this polltape reads"),
    ("a.parquet", with_table(lambda t: t.drop_columns(["status"])), "not a capture: it lacks status"),
    (
        "a.parquet",
        with_table(lambda t: t.select(["status"])),
        "not a capture: it lacks exchange_id, session_id, seq and ",
    ),
    ("a.parquet", with_table(retyped), "not a capture: of another type: status (string)"),
    ("a.har", lambda p: p.write_text("<html>"), "not a HAR file: no JSON at line 1, column 1"),
    ("a.har", lambda p: p.write_text('{"log": 1}'), "not a HAR file: it is JSON without a list log.entries"),
    ("a.mitm", lambda p: p.touch(), "empty (0 bytes), not a mitmproxy flow file"),
    ("a.mitm", lambda p: p.write_text("hello"), "not a mitmproxy flow file"),
    ("a.flow", lambda p: p.write_text(har(har_entry())), "JSON, not a mitmproxy flow file"),
]


@pytest.mark.parametrize(("name", "make", "message"), BAD, ids=[f"{name}: {message}" for name, _, message in BAD])
def test_bad_input_is_one_line_that_names_it(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(InputError) as caught:
        opened(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_one_file_of_other_columns_among_good_ones_is_found(tmp_path: Path) -> None:
    write_exchanges(tmp_path, "one", [exchange()], [coverage()])
    bad = tmp_path / "date=2026-03-01" / "two.parquet"
    pq.write_table(pa.table({"x": [1]}), bad)
    with pytest.raises(InputError, match=r"two\.parquet: not a capture"):
        opened(tmp_path)


def test_nothing_named_is_told() -> None:
    with pytest.raises(InputError, match="nothing to read"):
        opened()
    with pytest.raises(InputError, match="an empty path"):
        opened("")


def test_damage_behind_a_sound_footer_is_one_line(tmp_path: Path) -> None:
    content = bytearray(parquet_bytes(tmp_path))
    content[4:600] = b"\xff" * 596
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_exchanges(opened(path)))
    assert str(caught.value).startswith(f"{path}: damaged behind a sound footer (")
    assert "\n" not in str(caught.value)


def test_extra_columns_of_a_later_release_do_no_harm(tmp_path: Path) -> None:
    table = to_table([exchange()]).append_column("new", pa.array([1]))
    pq.write_table(table.replace_schema_metadata({"polltape.schema": b"1"}), tmp_path / "a.parquet")
    assert list(read_exchanges(opened(tmp_path / "a.parquet"))) == [exchange()]


def test_a_file_of_the_first_schema_is_observed_anew(tmp_path: Path) -> None:
    (path,) = write_exchanges(tmp_path / "new", "one", [exchange(n) for n in range(3)], [coverage()])
    table = pq.read_table(path).drop_columns(["digest_ok", "graphql", "observations"])
    old = tmp_path / "old.parquet"
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), b"polltape.schema": b"1"}), old)
    seen: list[str] = []

    def observed(one: Exchange) -> Exchange:
        seen.append(one.exchange_id)
        return replace(one, endpoint="/anew")

    capture = opened(old, redact=fail, observe=observed)
    assert [one.endpoint for one in read_exchanges(capture)] == ["/anew"] * 3
    assert len(seen) == 3
    assert capture.coverage == (coverage(),)


def test_what_a_protocol_stumbles_over_is_told_with_its_row(tmp_path: Path) -> None:
    paths = write_exchanges(tmp_path / "new", "one", [exchange(n) for n in range(5)], [coverage()])

    def stumbles(one: Exchange) -> Exchange:
        if one.exchange_id in ("id-1", "id-3"):
            raise ValueError(one.exchange_id)
        return one

    (told,) = opened(*paths, redact=fail, observe=stumbles, anew=True).warnings
    assert "2 rows could not be read by the protocols (ValueError)" in told
    assert told.endswith("(row 1, 3, counted from 0)")


def test_on_request_files_of_this_schema_are_observed_anew(tmp_path: Path) -> None:
    paths = write_exchanges(tmp_path / "new", "one", [exchange(n) for n in range(3)], [coverage()])
    capture = opened(*paths, redact=fail, observe=lambda one: replace(one, endpoint="/anew"), anew=True)
    assert [one.endpoint for one in read_exchanges(capture)] == ["/anew"] * 3


def fail(one: Exchange) -> Exchange:
    raise AssertionError("what is stored is redacted already")
