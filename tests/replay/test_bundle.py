"""The bug report: what goes in comes out, and what a stranger made of it does no harm."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stories

from polltape.errors import InputError, UsageError
from polltape.exchange import SCHEMA, to_table
from polltape.replay.bundle import EXCHANGES, MANIFEST, README, Limits, bundle_bytes, read_bundle, write_bundle
from polltape.replay.case import Case, case_of


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of(stories.capture(stories.created(), 1900), ["3cab"])


@pytest.fixture
def members(case: Case) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle_bytes(case, "BUG.polltape"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Reads those bytes as a bundle: the error."""

    def read(content: bytes, **limits: Any) -> str:
        path = tmp_path / "BUG.polltape"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_bundle(path, Limits(**limits))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == ["BUG.polltape"]
        return str(caught.value)

    return read


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


# ------------------------------------------------------------------------------------------ round trip


def test_what_goes_in_comes_out(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "BUG.polltape"
    write_bundle(case, path)
    back = read_bundle(path)
    assert back.exchanges == case.exchanges
    assert back.targets == case.targets
    assert back.findings == case.findings
    assert back.coverage == case.coverage


def test_the_same_case_gives_the_same_bytes(case: Case) -> None:
    assert bundle_bytes(case, "BUG.polltape") == bundle_bytes(case, "BUG.polltape")


def test_it_tells_its_reader_what_it_is_and_what_to_do(members: dict[str, bytes]) -> None:
    readme = members[README].decode()
    for command in (
        "polltape replay BUG.polltape\n",
        "polltape replay BUG.polltape --client 'python my_client.py'\n",
        "polltape replay BUG.polltape --target https://staging.example --allow-writes staging.example \\\n",
        "--header Authorization=env:TOKEN\n",
        "polltape explain RA001\n",
    ):
        assert command in readme, command
    assert "RA001, poll 1" in readme
    manifest = json.loads(members[MANIFEST])
    assert manifest["format"] == 1
    assert manifest["operation"]["kind"] == "checkout.update"
    assert [(wait["raw"], wait["asked_s"]) for wait in manifest["waits"]] == [("1", 1.0)] * 3


def test_its_exchanges_are_a_parquet_file_that_anybody_can_read(members: dict[str, bytes]) -> None:
    table = pq.read_table(io.BytesIO(members[EXCHANGES]))
    assert table.column("method").to_pylist() == ["POST", "PUT", "GET", "GET", "GET"]


def test_a_file_that_is_there_is_replaced_only_by_force(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "BUG.polltape"
    path.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_bundle(case, path)
    assert path.read_text() == "mine"
    write_bundle(case, path, force=True)
    assert read_bundle(path).targets == case.targets
    assert [p.name for p in tmp_path.iterdir()] == ["BUG.polltape"]


def test_a_folder_that_is_not_there_is_one_clear_line(case: Case, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_bundle(case, tmp_path / "nowhere" / "BUG.polltape")


# -------------------------------------------------------------------------------------- untrusted input


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 99, b"PAR1" + bytes(60) + b"PAR1"])
def test_what_is_no_zip_is_refused(refused: Callable[..., str], content: bytes) -> None:
    assert "not a bundle" in refused(content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_bundle(tmp_path / "BUG.polltape")


def test_a_bundle_cut_off_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    whole = zipped(members)
    for length in range(0, len(whole), 97):
        assert "not a bundle" in refused(whole[:length])


@pytest.mark.parametrize("lacking", [README, MANIFEST, EXCHANGES])
def test_a_bundle_that_lacks_a_member_is_refused(
    refused: Callable[..., str], members: dict[str, bytes], lacking: str
) -> None:
    del members[lacking]
    assert "it must hold" in refused(zipped(members))


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "evil.py", "sub/bundle.json"])
def test_a_bundle_with_any_other_name_in_it_is_refused(
    refused: Callable[..., str], members: dict[str, bytes], name: str
) -> None:
    assert "it must hold" in refused(zipped({**members, name: b"x"}))
    renamed = {name if key == README else key: content for key, content in members.items()}
    assert "it must hold" in refused(zipped(renamed))


@pytest.mark.parametrize("member", [README, MANIFEST, EXCHANGES])
def test_a_member_that_unpacks_to_too_much_is_refused(
    refused: Callable[..., str], members: dict[str, bytes], member: str
) -> None:
    bomb = zipped({**members, member: bytes(30_000_000)})
    assert len(bomb) < 100_000
    assert "unpacks to more than" in refused(bomb, member=1_000_000)


def test_a_member_that_lies_about_its_size_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    size = 30_000_000
    honest = zipped({**members, MANIFEST: b"[" * size})
    lying = honest.replace(struct.pack("<L", size), struct.pack("<L", 500))
    assert lying != honest
    assert "not a bundle" in refused(lying, member=1_000_000)


def test_a_file_that_is_too_large_is_not_even_opened(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    assert "larger than" in refused(zipped(members), file=1000)


def test_a_directory_of_thousands_is_not_walked_through(refused: Callable[..., str]) -> None:
    assert "it must hold" in refused(zipped({f"{number:0200}": b"" for number in range(3)}), directory=300)
    assert "it must hold" in refused(zipped({str(number): b"" for number in range(5000)}))


def test_parquet_that_unpacks_to_too_much_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    """One value in a dictionary stands for it in thousands of rows: the footer's sizes do not tell."""
    row = {**to_table(stories.early()[:1]).to_pylist()[0]}
    row["request_body"] = {**row["request_body"], "content": b"x" * 100_000}
    table = pa.Table.from_pylist([row], schema=SCHEMA)
    bomb = io.BytesIO()
    pq.write_table(pa.concat_tables([table] * 5000), bomb, compression="zstd")
    assert len(bomb.getvalue()) < 300_000
    assert "unpacks to more than" in refused(zipped({**members, EXCHANGES: bomb.getvalue()}), unpacked=20_000_000)


def test_parquet_of_too_many_rows_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    assert "more than a bundle may hold" in refused(zipped(members), rows=3)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(99) + b"PAR1", b"junk" * 99])
def test_broken_parquet_is_refused(refused: Callable[..., str], members: dict[str, bytes], content: bytes) -> None:
    assert "exchanges.parquet" in refused(zipped({**members, EXCHANGES: content}))


def test_parquet_of_other_columns_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    other = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"polltape.schema": "1"}), other)
    assert "no capture" in refused(zipped({**members, EXCHANGES: other.getvalue()}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": None},
        {"exchange_id": None},
        {"port": None},
        {"request_started_at": None},
        {"response_headers": [{"name": None, "value": "x"}]},
        {"request_started_at": datetime(9999, 12, 31, tzinfo=UTC)},
    ],
)
def test_a_row_that_is_no_exchange_is_refused(
    refused: Callable[..., str], members: dict[str, bytes], wrong: dict[str, Any]
) -> None:
    row = to_table(stories.early()[:1]).to_pylist()[0] | wrong
    odd = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), odd)
    assert "a row" in refused(zipped({**members, EXCHANGES: odd.getvalue()}))


def test_coverage_of_another_age_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    manifest = json.loads(members[MANIFEST])
    manifest["coverage"][0]["ended_at"] = "9999-12-31T23:59:59Z"
    assert "9999" in refused(zipped({**members, MANIFEST: json.dumps(manifest).encode()}))


def test_a_newer_bundle_says_what_to_do(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    manifest = {"format": 2, "polltape": "9.9", "all": "is different"}
    said = refused(zipped({**members, MANIFEST: json.dumps(manifest).encode()}))
    assert "made by a newer polltape (9.9, format 2; this one reads up to 1)" in said


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{}", b"[]", b"null", b'{"format": 0}', b'{"format": "1"}', b'{"format": 1}', b"[" * 9999, b"\xff"],
)
def test_a_broken_manifest_is_refused(refused: Callable[..., str], members: dict[str, bytes], manifest: bytes) -> None:
    assert "bundle.json" in refused(zipped({**members, MANIFEST: manifest}))


def test_an_operation_that_is_not_in_it_is_refused(refused: Callable[..., str], members: dict[str, bytes]) -> None:
    manifest = json.loads(members[MANIFEST])
    manifest["operation"]["exchanges"].append("nowhere")
    assert "lacks exchanges" in refused(zipped({**members, MANIFEST: json.dumps(manifest).encode()}))


def test_every_flipped_byte_is_refused_or_harmless(tmp_path: Path, members: dict[str, bytes]) -> None:
    whole = zipped(members)
    path = tmp_path / "BUG.polltape"
    for place in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read_bundle(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_damaged_parquet_inside_a_sound_zip_is_refused_or_harmless(tmp_path: Path, members: dict[str, bytes]) -> None:
    content = members[EXCHANGES]
    path = tmp_path / "BUG.polltape"
    for place in range(0, len(content), max(1, len(content) // 200)):
        damaged = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        path.write_bytes(zipped({**members, EXCHANGES: damaged}))
        assert zlib.crc32(damaged) != zlib.crc32(content)
        try:
            read_bundle(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
