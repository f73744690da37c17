"""Finding the entries of a HAR: the same ones as a JSON decoder finds, wherever the chunks end."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.capture import har_scan
from polltape.capture.har_scan import Cut, Raw, TooLong, scan
from polltape.errors import InputError

texts = st.text(st.sampled_from('ab"\\{}[],: \n/é€😀'), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
others = st.dictionaries(texts.filter(lambda name: name not in ("log", "entries", "x")), values, max_size=3)


def found(content: bytes, chunk: int = har_scan.CHUNK_BYTES, **bound: int) -> list[tuple[str, Raw]]:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(har_scan, "CHUNK_BYTES", chunk)
        path = Path(folder, "a.har")
        path.write_bytes(content)
        return list(scan(path, "x", **bound))


def decoded(pieces: list[tuple[str, Raw]], name: str) -> list[Any]:
    return [json.loads(raw) for what, raw in pieces if what == name and isinstance(raw, bytes)]


@settings(deadline=None)
@given(
    st.lists(values, max_size=6),
    others,
    others,
    st.none() | values,
    st.permutations(["before", "entries", "x"]),
    st.integers(2, 40),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_every_entry_is_found_whole(
    entries: list[Any],
    log: dict[str, Any],
    around: dict[str, Any],
    extension: Any,
    order: list[str],
    chunk: int,
    indent: int | str | None,
    ascii_only: bool,
    encoding: str,
) -> None:
    members = {"entries": entries, "x": extension, **log}
    inner = {name: members[name] for name in (*(n for n in order if n in members), *log)}
    document = {**around, "log": inner}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    pieces = found(text.encode(encoding), chunk)
    assert decoded(pieces, "entry") == entries
    assert decoded(pieces, "x") == [extension]


@settings(deadline=None)
@given(st.lists(values, max_size=4), st.integers(2, 30), st.data())
def test_cut_off_anywhere_it_is_no_har(entries: list[Any], chunk: int, data: st.DataObject) -> None:
    content = json.dumps({"log": {"entries": entries}}, ensure_ascii=False).encode()
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(InputError, match="not a HAR file: "):
        found(content[:length], chunk)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"log": {"entries": [1 2]}}', "no JSON at line 1, column 24 (Expecting ',' delimiter)"),
        ('{"log": {"entries": [1,]}}', "no JSON at line 1, column 24 (Expecting value)"),
        ('{"log" {"entries": []}}', "no JSON at line 1, column 8 (Expecting ':' delimiter)"),
        ('{"log": {entries: []}}', "no JSON at line 1, column 10 (Expecting property name enclosed in double quotes)"),
        ('{"log":\n\n  {"entries": [tru]}}', "no JSON at line 3, column 16 (Expecting value)"),
        ('{"log": {"entries": []}} {}', "no JSON at line 1, column 26 (Extra data)"),
        ('{"log": {"entries": ["abc', "no JSON at line 1, column 26 (Unterminated string)"),
    ],
)
@pytest.mark.parametrize("chunk", [2, 7, 1000])
def test_what_is_no_json_is_told_with_its_place(content: str, message: str, chunk: int) -> None:
    with pytest.raises(InputError) as caught:
        found(content.encode(), chunk)
    assert str(caught.value).endswith(f"not a HAR file: {message}")


def test_what_stands_outside_of_the_entries_is_passed_over() -> None:
    pages = [{"title": "]}\\", "entries": [1, 2]}]
    document = {"pages": pages, "log": {"creator": {"entries": [3]}, "entries": [{"entries": [4]}], "pages": pages}}
    assert decoded(found(json.dumps(document).encode()), "entry") == [{"entries": [4]}]


@pytest.mark.parametrize("chunk", [5, 100_000])
def test_too_long_an_element_is_never_held(chunk: int) -> None:
    entries = [{"a": 1}, {"b": "x" * 200_000}, "y" * 200_000, [["z"] * 60_000], 2]
    content = json.dumps({"log": {"entries": entries}}).encode()
    pieces = [raw for _, raw in found(content, chunk, max_entry=1000)]
    assert [raw if isinstance(raw, bytes | Cut) else raw.size for raw in pieces] == [
        b'{"a": 1}',
        Cut(b'{"b": null}'),
        len(json.dumps(entries[2])),
        len(json.dumps(entries[3])),
        b"2",
    ]


def test_an_element_is_read_without_its_long_texts() -> None:
    entries = [{"a": ['x\\"' * 200, "y" * 400, 1], "b": {"c": "z" * 2000}}, {"d": ["v" * 400] * 3}]
    pieces = found(json.dumps({"log": {"entries": entries}}).encode(), 50, max_entry=1000)
    assert [raw if isinstance(raw, Cut) else type(raw) for _, raw in pieces] == [
        Cut(('{"a": [null, "' + "y" * 400 + '", 1], "b": {"c": null}}').encode()),
        TooLong,
    ]


def test_memory_is_that_of_one_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    with path.open("w") as file:
        file.write('{"log": {"pages": ["' + "p" * 2**22 + '"], "entries": [')
        file.write(",".join(json.dumps({"n": n, "text": "x" * 100_000}) for n in range(200)))
        file.write("]}}")
    tracemalloc.start()
    try:
        assert sum(1 for _ in scan(path, "x")) == 200
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**20 < path.stat().st_size / 10
