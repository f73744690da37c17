from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.capture import spool as spool_module
from polltape.capture.spool import (
    MAGIC,
    Kind,
    SpoolWriter,
    encode_exchange,
    encode_retract,
    encode_skipped,
    read_spool,
)
from polltape.exchange import Body, Exchange, Header

AT = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def exchange(number: int, **changes: object) -> Exchange:
    values: dict[str, object] = {
        "exchange_id": f"id{number}",
        "seq": number,
        "method": "PUT",
        "scheme": "https",
        "host": "shop.example",
        "port": 443,
        "path": f"/{number}",
        "request_started_at": AT,
        "request_headers": (Header("a", "\xe9"),),
        "response_body": Body(3, 3, b"PTR\xf5PTR", digest="00"),
    }
    return Exchange(**{**values, **changes})  # type: ignore[arg-type]


def write(path: Path, count: int = 4) -> list[Exchange]:
    writer = SpoolWriter(path, "never")
    exchanges = [exchange(number) for number in range(1, count + 1)]
    for one in exchanges:
        writer.append(Kind.EXCHANGE, encode_exchange(one))
    writer.close()
    return exchanges


def test_what_is_written_is_read(tmp_path: Path) -> None:
    exchanges = write(tmp_path / "a.spool")
    found = read_spool(tmp_path / "a.spool")
    assert list(found.exchanges()) == exchanges
    assert found.seqs == {1, 2, 3, 4}
    assert (found.damaged, found.torn) == (0, False)
    assert (tmp_path / "a.spool").stat().st_mode & 0o777 == 0o600


def test_the_last_state_of_an_exchange_counts(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "a.spool")
    writer.append(Kind.PROVISIONAL, encode_exchange(exchange(1, error="unfinished")))
    writer.append(Kind.PROVISIONAL, encode_exchange(exchange(2, error="unfinished")))
    writer.append(Kind.PROVISIONAL, encode_exchange(exchange(3, error="unfinished")))
    writer.append(Kind.EXCHANGE, encode_exchange(exchange(1, status=200)))
    writer.append(Kind.RETRACT, encode_retract("id3", 3))
    writer.append(Kind.SKIPPED, encode_skipped([4, 5]))
    writer.tick()
    writer.close()
    found = read_spool(tmp_path / "a.spool")
    assert [(e.seq, e.status, e.error) for e in found.exchanges()] == [(1, 200, None), (2, None, "unfinished")]
    assert found.open_ids == {"id2"}
    assert found.seqs == {1, 2, 3, 4, 5}
    assert [e.seq for e in found.exchanges(without={"id1", "id2"})] == [1]


def test_cut_at_any_byte_the_whole_records_before_it_are_read(tmp_path: Path) -> None:
    exchanges = write(tmp_path / "a.spool", 3)
    data = (tmp_path / "a.spool").read_bytes()
    ends = [len(MAGIC), *(end for _, end, _, _ in spool_module.records(data))]
    cut = tmp_path / "cut.spool"
    for length in range(len(data) + 1):
        cut.write_bytes(data[:length])
        found = read_spool(cut)
        whole = sum(end <= length for end in ends[1:])
        assert list(found.exchanges()) == exchanges[:whole]
        assert found.torn == (length not in ends)
        assert found.damaged == 0


@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_costs_one_record_at_most(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.spool"
    exchanges = write(path)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    found = read_spool(path)
    kept = list(found.exchanges())
    assert len(kept) >= len(exchanges) - 1
    assert all(one in exchanges for one in kept)
    assert found.damaged or found.torn


def test_a_flipped_bit_in_the_head_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    exchanges = write(path)
    content = path.read_bytes()
    for bit in range(8 * len(MAGIC)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = read_spool(path)
        assert (list(found.exchanges()), found.damaged) == (exchanges, 1)


@given(content=st.binary(max_size=300))
def test_no_file_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a.spool"
    path.write_bytes(content)
    assert list(read_spool(path).exchanges()) == []


def test_a_full_disk_leaves_the_last_whole_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(tmp_path / "a.spool", "always")
    writer.append(Kind.EXCHANGE, encode_exchange(exchange(1)))
    real, room = os.write, [20]

    def write_until_full(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        count = real(descriptor, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(OSError, match="No space"):
        writer.append(Kind.EXCHANGE, encode_exchange(exchange(2)))
    monkeypatch.undo()
    writer.close()
    found = read_spool(tmp_path / "a.spool")
    assert [one.seq for one in found.exchanges()] == [1]
    assert (found.damaged, found.torn) == (0, False)


def test_the_disk_is_forced_as_often_as_the_policy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, synced = [100.0], list[float]()
    monkeypatch.setattr(spool_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(now[0]))
    counts = {}
    for policy in ("never", "second", "always"):
        writer = SpoolWriter(tmp_path / f"{policy}.spool", policy)
        for _ in range(20):
            writer.append(Kind.EXCHANGE, encode_exchange(exchange(1)))
            writer.tick()
            now[0] += 0.25
        counts[policy] = len(synced)
        synced.clear()
        writer.close()
        synced.clear()
    assert counts == {"never": 0, "second": 4, "always": 20}
