"""The helper in this process: frames in through a pipe, a capture folder out."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from packing import frame

from polltape.capture.coverage import coverage_path, read_coverage, read_session
from polltape.capture.spool import MARKER, SpoolWriter
from polltape.errors import InputError, UsageError
from polltape.exchange import Exchange, Header, from_table
from polltape.protocols.par_digest import digest
from polltape.recorder.convert import convert_spool, dead_sessions, lock_path, recover, spool_path, take_lock
from polltape.recorder.frames import FRAMES_VERSION, FrameReader
from polltape.recorder.helper import NICENESS, Plan, Recording, _lock, serve
from polltape.recorder.marks import MARKS_AT

WALL = datetime(2025, 11, 23, 12, 0, 0, tzinfo=UTC).timestamp()
SESSION = "01900000-0000-7000-8000-000000000001"


class Marks:
    """Stands for the redactor: marks what passed it; breaks on /breaks."""

    def redact(self, exchange: Exchange) -> Exchange:
        if exchange.path == "/breaks":
            raise ValueError("secret")
        return dataclasses.replace(exchange, client="redacted", request_headers=())

    def words(self, text: str) -> str:
        return text


def exchange_head(seq: int, **changes: Any) -> dict[str, Any]:
    head = {
        "kind": "exchange",
        "seq": seq,
        "method": "GET",
        "named": ["regular", False, "http", "shop.example", 80, "shop.example"],
        "target": f"/jobs/{seq}",
        "times": [WALL + seq, WALL + seq, WALL + seq, WALL + seq],
        "mono": [seq * 10**9] * 4,
        "status": 202,
        "request_headers": [["Authorization", "secret"]],
        "request_body": {"size": 6, "kept": 6},
        "response_body": {"size": 0, "kept": 0},
    }
    return {**head, **changes}


START = {
    "kind": "start",
    "wall": WALL,
    "mono": 0,
    "options": {"polltape_filter": "~c 202", "polltape_key": "ephemeral"},
}


def stop(last: int, **changes: Any) -> dict[str, Any]:
    return {"kind": "stop", "wall": WALL + 60, "mono": 60_000_000_000, "last": last, **changes}


def skipped(*numbers: int) -> dict[str, Any]:
    return {"kind": "skipped", "skipped": numbers}


def stream(*heads: dict[str, Any]) -> bytes:
    numbered = enumerate(heads, start=1)
    return b"".join(frame(n, head, b"secret" if "method" in head else b"") for n, head in numbered)


def record(directory: Path, data: bytes, session: str = SESSION, **options: Any) -> Recording:
    """Record what the pipe holds."""
    reading, writing = os.pipe()

    def fill() -> None:
        with suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(data)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        return serve(Plan(directory, session, **options), Marks(), FrameReader(reading))
    finally:
        os.close(reading)
        thread.join()


def rows(directory: Path) -> list[Exchange]:
    files = sorted(directory.glob("date=*/*.parquet"))
    return [row for file in files for row in from_table(pq.ParquetFile(file).read())]


def leftovers(directory: Path) -> list[Path]:
    return list((directory / ".spool").iterdir())


def test_frames_become_rows_and_coverage(tmp_path: Path) -> None:
    recording = record(tmp_path, stream(START, exchange_head(1), exchange_head(2), stop(2)))
    one, two = rows(tmp_path)
    assert (one.seq, two.seq) == (1, 2)
    assert (one.client, one.session_id, one.endpoint) == ("redacted", SESSION, "/jobs/{id}")
    [coverage] = read_coverage(tmp_path)
    assert (coverage.clean, coverage.gaps, coverage.filter) == (True, 0, "~c 202")
    assert (coverage.started_at.timestamp(), coverage.ended_at.timestamp()) == (WALL, WALL + 60)
    assert recording.health.recorded == 2
    assert leftovers(tmp_path) == []


def test_the_end_without_a_stop_is_not_clean(tmp_path: Path) -> None:
    data = stream(START, exchange_head(1), exchange_head(4), exchange_head(5))
    record(tmp_path, data[:-3])
    assert [row.seq for row in rows(tmp_path)] == [1, 4]
    [coverage] = read_coverage(tmp_path)
    assert not coverage.clean
    assert coverage.gaps == 2
    session = read_session(coverage_path(tmp_path, SESSION))
    assert session is not None
    assert session.torn == 1


def test_numbers_that_the_filter_left_out_are_no_gap(tmp_path: Path) -> None:
    record(tmp_path, stream(START, skipped(1), exchange_head(3), stop(6, skipped=[2, 5])))
    assert read_coverage(tmp_path)[0].gaps == 2  # 4 and 6


def test_the_last_state_of_an_exchange_is_its_row(tmp_path: Path) -> None:
    unfinished = {"kind": "provisional", "status": None}
    data = stream(
        START,
        exchange_head(1, **unfinished),
        exchange_head(2, **unfinished),
        exchange_head(3, **unfinished),
        exchange_head(1),
        {"kind": "retract", "seq": 3},
        stop(3),
    )
    recording = record(tmp_path, data)
    assert [(row.seq, row.status) for row in rows(tmp_path)] == [(1, 202), (2, None)]
    assert recording.session.coverage.gaps == 0


def test_what_cannot_be_redacted_is_kept_without_content(tmp_path: Path) -> None:
    recording = record(tmp_path, stream(START, exchange_head(1, target="/breaks?secret"), stop(1)))
    [row] = rows(tmp_path)
    assert recording.health.withheld == 1
    assert "secret" not in repr(row)
    assert row.request_headers == (Header("Authorization", ""),)


def test_no_raw_byte_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is ever written, the spool included, passes os.write."""
    written = bytearray()
    real = os.write

    def spy(descriptor: int, data: bytes) -> int:
        written.extend(data)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", spy)
    heads = [exchange_head(1, target="/breaks"), exchange_head(2, kind="provisional", target="/breaks")]
    record(tmp_path, stream(START, *heads, stop(2)))
    assert b"breaks" not in written
    assert b"secret" not in written
    assert b"polltape-spool" in written


def test_rotation_carries_over_what_is_under_way(tmp_path: Path) -> None:
    unfinished = {"kind": "provisional", "status": None}
    rotate = {"kind": "rotate", "wall": WALL, "mono": 1}
    data = stream(
        START,
        exchange_head(1),
        exchange_head(2, **unfinished),
        exchange_head(3, **unfinished),
        rotate,
        exchange_head(2),
        rotate,
        rotate,
        stop(3),
    )
    record(tmp_path, data)
    found = sorted((row.seq or 0, row.status) for row in rows(tmp_path))
    assert found == [(1, 202), (2, 202), (3, None)]
    assert leftovers(tmp_path) == []


def test_spools_rotate_by_size_and_by_time(tmp_path: Path) -> None:
    heads = [exchange_head(n) for n in range(1, 3)]
    record(tmp_path / "size", stream(START, *heads, stop(2)), rotate_bytes=1)
    record(tmp_path / "time", stream(START, *heads, stop(2)), rotate_s=0.0)
    for name in ("size", "time"):
        assert len(rows(tmp_path / name)) == 2
        assert len(list((tmp_path / name).glob("date=*/*.parquet"))) == 2


def killed(directory: Path, data: bytes, session: str = SESSION) -> None:
    """What a helper leaves that takes the frames and is then killed: no finish, the lock let go."""
    (directory / ".spool").mkdir(parents=True, exist_ok=True)
    lock = take_lock(lock_path(directory, session))
    assert lock is not None
    recording = Recording(Plan(directory, session), Marks(), lock)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(data)
    for item in FrameReader(reading).frames():
        assert item is not None
        recording.take(item)
    recording.give_up("killed")
    os.close(reading)
    os.close(lock)


def test_a_killed_session_is_recovered_with_its_gaps(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1), skipped(2), exchange_head(4), exchange_head(5)))
    assert dead_sessions(tmp_path) == [SESSION]
    said: list[str] = []
    done = recover(tmp_path, said.append)
    assert (done.rows, done.sessions, done.gaps) == (3, 1, 1)
    assert said == [f"{SESSION}: 3 exchanges (1 missing)"]
    [coverage] = read_coverage(tmp_path)
    assert (coverage.clean, coverage.gaps) == (False, 1)
    assert coverage.ended_at.timestamp() == WALL + 5
    assert leftovers(tmp_path) == []
    assert recover(tmp_path).sessions == 0
    assert len(rows(tmp_path)) == 3


def test_what_cannot_be_recovered_keeps_nothing_else_from_it(tmp_path: Path) -> None:
    """A spool of another version stays; what has another name than spools have is passed over."""
    later = SESSION.replace("1", "2")
    for session in (SESSION, later):
        killed(tmp_path, stream(START, exchange_head(1)), session)
    foreign, other = spool_path(tmp_path, SESSION, 1), tmp_path / ".spool" / "x.spool"
    foreign.write_bytes(content := foreign.read_bytes().replace(b"spool/1", b"spool/2").replace(MARKER, b"\xf6PTR"))
    other.write_text("x")
    assert dead_sessions(tmp_path) == [SESSION, later]
    with pytest.raises(InputError, match=r"cannot recover \(another version of polltape wrote it\)"):
        recover(tmp_path)
    assert (foreign.read_bytes(), other.read_text()) == (content, "x")
    assert [row.session_id for row in rows(tmp_path)] == [later]


def test_a_torn_spool_is_recovered_to_its_last_whole_record(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1), exchange_head(2)))
    path = spool_path(tmp_path, SESSION, 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert recover(tmp_path).torn == 1
    assert [row.seq for row in rows(tmp_path)] == [1]


def test_a_crash_between_rename_and_removal_makes_no_duplicates(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1), exchange_head(2)))
    path = spool_path(tmp_path, SESSION, 1)
    content = path.read_bytes()
    convert_spool(tmp_path, path, [], None)
    path.write_bytes(content)
    recover(tmp_path)
    assert [row.seq for row in rows(tmp_path)] == [1, 2]


def test_what_was_given_and_is_missing_at_the_end_is_a_gap(tmp_path: Path) -> None:
    """Both are dead: the addon's mark in the lock file tells how far the numbers went."""
    killed(tmp_path, stream(START, exchange_head(1), exchange_head(3)))
    with lock_path(tmp_path, SESSION).open("r+b") as file:
        file.seek(MARKS_AT)
        file.write((9).to_bytes(8, sys.byteorder))
    said: list[str] = []
    assert recover(tmp_path, said.append).gaps == 7
    assert said == [f"{SESSION}: 2 exchanges (7 missing)"]
    assert read_coverage(tmp_path)[0].gaps == 7


def resumed(directory: Path, *heads: dict[str, Any], counts: dict[str, int], last: int) -> Recording:
    """What a second helper makes of the session, given these frames."""
    data = stream({**START, "session": SESSION, "counts": counts, "last": last}, *heads)
    return record(directory, data, resumes=True)


def test_a_second_helper_goes_on_with_the_session_of_a_dead_one(tmp_path: Path) -> None:
    """Exchange 2 was spooled, which the dead helper could not tell any more; 3, 4 and 6 had begun."""
    begun = {"kind": "provisional", "status": None}
    heads = [exchange_head(1), exchange_head(2), *(exchange_head(n, **begun) for n in (3, 4, 6))]
    killed(tmp_path, stream(START, *heads))
    again = [exchange_head(2), exchange_head(3), {"kind": "retract", "seq": 6}, exchange_head(7)]
    recording = resumed(tmp_path, *again, counts={"recorded": 4, "left_out": 2}, last=8)
    found = sorted((row.seq or 0, row.status) for row in rows(tmp_path))
    assert found == [(1, 202), (2, 202), (3, 202), (4, None), (7, 202)]
    [coverage] = read_coverage(tmp_path)
    assert (coverage.clean, coverage.gaps) == (False, 2)  # 5 and 8
    assert recording.health.recorded == 5
    assert recording.end().startswith("recorded 5 exchanges (5 redacted, 1 unfinished, 3 left out, 2 missing;")
    assert leftovers(tmp_path) == []


def test_a_second_helper_writes_nothing_twice_that_another_recorder_has_recovered(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1), exchange_head(2)))
    recover(tmp_path)
    resumed(tmp_path, exchange_head(2), exchange_head(3), counts={"recorded": 1}, last=3)
    assert sorted(row.seq or 0 for row in rows(tmp_path)) == [1, 2, 3]
    assert read_coverage(tmp_path)[0].gaps == 0


def test_a_second_helper_makes_no_folder_where_there_is_none(tmp_path: Path) -> None:
    heads = [{**START, "session": SESSION}, exchange_head(1)]
    status, said = run_helper(tmp_path / "gone", stream(*heads))
    assert status == 1
    assert "No such file or directory" in said[0]["error"]
    assert not (tmp_path / "gone").exists()
    (tmp_path / "other" / ".spool").mkdir(parents=True)
    status, said = run_helper(tmp_path / "other", stream(*heads))
    assert (status, "is not there any more" in said[0]["error"]) == (2, True)


def test_a_retracted_exchange_is_no_row_of_an_earlier_spool(tmp_path: Path) -> None:
    unfinished = {"kind": "provisional", "status": None}
    rotate = {"kind": "rotate", "wall": WALL, "mono": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polltape.recorder.helper.Background.add", lambda *_: None)  # both spools are there at the end
        record(tmp_path, stream(START, exchange_head(1, **unfinished), rotate, {"kind": "retract", "seq": 1}, stop(1)))
    assert rows(tmp_path) == []


def test_living_sessions_are_left_alone(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1)))
    lock = take_lock(lock_path(tmp_path, SESSION))
    assert lock is not None
    assert take_lock(lock_path(tmp_path, SESSION)) is None
    assert dead_sessions(tmp_path) == []
    said: list[str] = []
    for pid in (b"", b"%d\n" % os.getpid()):
        os.pwrite(lock, pid, 0)
        assert recover(tmp_path, said.append).sessions == 0
    assert said == [f"{SESSION}: is being recorded, left alone"] * 2
    os.close(lock)
    assert recover(tmp_path).rows == 1


def test_the_lock_names_the_helper(tmp_path: Path) -> None:
    lock = _lock(Plan(tmp_path, SESSION))
    assert lock_path(tmp_path, SESSION).read_text() == f"{os.getpid()}\n"
    os.close(lock)


@pytest.mark.parametrize("reaped", [True, False])
@pytest.mark.parametrize("done", [False, True])
def test_recovery_waits_for_the_child_of_a_dead_recorder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: bool, reaped: bool
) -> None:
    """A spool was becoming Parquet when mitmdump and helper were killed: what came after it is recovered, too."""
    killed(tmp_path, stream(START, exchange_head(1)))
    path = lock_path(tmp_path, SESSION)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    lock = take_lock(path)
    assert lock is not None
    os.pwrite(lock, b"%d\n" % dead.pid, 0)

    def lets_go(_: float) -> None:
        if done:  # another recovery was at it
            path.unlink()
        os.close(lock)

    monkeypatch.setattr("polltape.recorder.convert.time.sleep", lets_go)
    assert dead_sessions(tmp_path) == [SESSION]
    assert recover(tmp_path).rows == (0 if done else 1)
    dead.wait()


def test_the_next_recording_recovers_the_one_before(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1)), SESSION)
    record(tmp_path, stream(START, exchange_head(1), stop(1)), session=SESSION.replace("1", "2"))
    assert len(rows(tmp_path)) == 2
    assert len(read_coverage(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    killed(tmp_path, stream(START, exchange_head(1)))
    (tmp_path / "date=2025-11-23").write_text("in the way")
    with pytest.raises(InputError, match=r"cannot recover \(.*(exists|Not a directory)") as caught:
        recover(tmp_path)
    assert "polltape recover" in (caught.value.hint or "")
    assert spool_path(tmp_path, SESSION, 1).exists()


def test_an_exchange_that_no_protocol_can_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polltape.protocols

    def breaks(exchange: Exchange) -> Exchange:
        raise RecursionError

    monkeypatch.setattr(polltape.protocols, "observe", breaks)
    record(tmp_path, stream(START, exchange_head(1), stop(1)))
    assert [row.endpoint for row in rows(tmp_path)] == [None]


def test_one_session_is_recorded_once(tmp_path: Path) -> None:
    (tmp_path / ".spool").mkdir()
    lock = take_lock(lock_path(tmp_path, SESSION))
    assert lock is not None
    with pytest.raises(UsageError, match="being recorded already"):
        record(tmp_path, stream(START))
    os.close(lock)


def test_a_step_of_the_wall_clock_is_seen(tmp_path: Path) -> None:
    beats = [{"kind": "beat", "wall": WALL + n * 5, "mono": n * 5_000_000_000} for n in range(1, 4)]
    back = [{"kind": "beat", "wall": WALL + n * 5 - 3600, "mono": n * 5_000_000_000} for n in range(4, 7)]
    record(tmp_path, stream(START, *beats, *back))
    session = read_session(coverage_path(tmp_path, SESSION))
    assert session is not None
    assert [mono // 5_000_000_000 for mono, _ in session.clock[:-1]] == [0, 3, 4, 6]


# ------------------------------------------------------------------------------------------ the process


def run_helper(directory: Path, data: bytes, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The helper as the addon starts it; its status and what it says."""
    code = (
        "import sys; from pathlib import Path; from polltape.recorder.helper import run\n"
        "sys.exit(run(Path(sys.argv[1]), int(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(directory), *(arguments or (str(FRAMES_VERSION),))]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_process_tells_its_counts(tmp_path: Path) -> None:
    status, said = run_helper(tmp_path, stream(START, exchange_head(1), stop(2)))
    assert status == 0
    ready, *working, end = said
    session = ready.pop("session")
    assert ready == {"ready": True, "body_cap": 1 << 24, "marks": str(lock_path(tmp_path, session))}
    assert all(sign == {"working": True} for sign in working)
    size = sum(path.stat().st_size for path in tmp_path.glob("date=*/*.parquet"))
    assert end == {
        "end": f"recorded 1 exchange (1 redacted, 0 left out, 1 missing; {size / 1000:.1f} kB)",
        "exchanges": 1,
    }
    [row] = rows(tmp_path)
    assert row.key_id
    assert "secret" not in repr(row.request_headers)


def test_the_process_refuses_frames_of_another_version(tmp_path: Path) -> None:
    status, said = run_helper(tmp_path, b"", "99")
    assert status == 2
    assert "the addon sends 99" in said[0]["error"]


def test_the_process_tells_what_the_disk_says(tmp_path: Path) -> None:
    (tmp_path / ".spool").write_text("in the way")
    status, said = run_helper(tmp_path, stream(START))
    assert status == 1
    assert ".spool" in said[0]["error"]


def test_a_full_disk_ends_the_helper_and_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, room = os.write, [1_500]

    def write_until_full(descriptor: int, data: memoryview | bytes) -> int:
        if not bytes(data).startswith(MARKER):
            return real(descriptor, data)
        if room[0] < len(data):
            raise OSError(28, "No space left on device")
        room[0] -= len(data)
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write_until_full)
    with pytest.raises(OSError, match="No space left"):
        record(tmp_path, stream(START, *(exchange_head(n) for n in range(1, 9)), stop(8)))
    monkeypatch.undo()
    assert rows(tmp_path) == []
    done = recover(tmp_path)
    assert done.rows > 0
    assert (done.torn, done.damaged) == (0, 0)


def test_the_process_is_protected() -> None:
    code = (
        "import resource, signal; from polltape.recorder.helper import protect; protect()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), signal.getsignal(signal.SIGINT).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "(0, 0) SIG_IGN\n"


# ------------------------------------------------------------------------------------------ the wall clock


def clock_head(seq: int, second: float, set_s: float, **changes: Any) -> dict[str, Any]:
    """An exchange that began so many seconds after the start, the wall clock set by ``set_s`` until then."""
    at = WALL + second + set_s
    mono = [int((second + n / 100) * 10**9) for n in range(4)]
    return exchange_head(seq, times=[at + n / 100 for n in range(4)], mono=mono, **changes)


def clock_note(kind: str, second: float, set_s: float, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "wall": WALL + second + set_s, "mono": int(second * 10**9), **more}


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
@pytest.mark.parametrize("stopped", [True, False])
def test_coverage_and_rows_stay_on_one_clock_when_it_is_set(tmp_path: Path, step_s: float, stopped: bool) -> None:
    """An hour back or forth between the second exchange and the third: the session still lasted 60 seconds."""
    from polltape.capture.reading import open_capture
    from polltape.operations.timeline import timeline

    heads = [clock_head(1, 1, 0), clock_note("beat", 5, 0), clock_head(2, 6, 0)]
    heads += [clock_note("beat", 10, step_s), clock_head(3, 12, step_s)]
    if stopped:
        record(tmp_path, stream(START, *heads, clock_note("stop", 60, step_s, last=3)))
    else:
        killed(tmp_path, stream(START, *heads))
        recover(tmp_path)
    [coverage] = read_coverage(tmp_path)
    assert coverage.started_at.timestamp() == WALL
    assert coverage.ended_at.timestamp() == pytest.approx(WALL + (60 if stopped else 12.03))
    assert [row.request_started_at.timestamp() - WALL for row in rows(tmp_path)] == [1, 6, 12 + step_s]
    capture = open_capture([tmp_path], redact=lambda exchange: exchange, observe=lambda exchange: exchange)
    seen = timeline(capture).exchanges.to_pandas()
    assert [start - round(WALL * 1e6) for start in seen["start_us"]] == [1_000_000, 6_000_000, 12_000_000]
    assert seen["end_us"].max() <= coverage.ended_at.timestamp() * 1e6


def test_a_clock_set_before_the_first_exchange_moves_the_start(tmp_path: Path) -> None:
    """The analysis takes the clock of the first exchange: so does the coverage."""
    data = stream(START, clock_note("beat", 5, -3600), clock_head(1, 6, -3600), clock_note("stop", 60, -3600, last=1))
    record(tmp_path, data)
    [coverage] = read_coverage(tmp_path)
    assert (coverage.started_at.timestamp(), coverage.ended_at.timestamp()) == (WALL - 3600, WALL - 3600 + 60)


# ------------------------------------------------------------------------------------------ health, retention


def health(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "_health.json").read_bytes())
    return found


def test_health_tells_the_counts_at_the_end(tmp_path: Path) -> None:
    plan = {"health": tmp_path / "_health.json"}
    record(tmp_path, stream(START, skipped(1), exchange_head(2), stop(3)), **plan)
    found = health(tmp_path)
    assert (found["state"], found["recorded"], found["redacted"], found["left_out"]) == ("stopped", 1, 1, 1)
    assert (found["gaps"], found["spool_bytes"], found["last_error"]) == (1, 0, None)


def test_health_tells_of_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: SpoolWriter, kind: object, payload: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpoolWriter, "append", full)
    with pytest.raises(OSError, match="No space"):
        record(tmp_path, stream(START, exchange_head(1), stop(1)), health=tmp_path / "_health.json")
    found = health(tmp_path)
    assert found["state"] == "failed"
    assert "No space left on device" in found["last_error"]


def test_old_recordings_go_at_the_start_and_at_the_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record(tmp_path, stream(START, exchange_head(1), stop(1)))
    [first] = tmp_path.glob("date=*/*.parquet")
    os.utime(first, (WALL, WALL))
    record(tmp_path, stream(START, exchange_head(1), stop(1)), session=SESSION.replace("1", "2"), keep_days=1)
    assert not first.exists()
    assert len(rows(tmp_path)) == 1
    assert "removed 1 old Parquet file(s)" in capfd.readouterr().out


def test_the_process_warns_when_redaction_is_off(tmp_path: Path) -> None:
    options = {"polltape_store_secrets": True, "polltape_key": "ephemeral"}
    head = exchange_head(1, request_headers=[["Authorization", "secret"]])
    status, said = run_helper(tmp_path, stream({**START, "options": options}, head, stop(1)))
    assert status == 0
    assert "redaction is OFF (polltape_store_secrets)" in said[0]["warning"]
    assert "(0 redacted" in said[-1]["end"]
    [row] = rows(tmp_path)
    assert (row.request_headers[0].value, row.key_id) == ("secret", None)
    assert row.client
    assert row.request_body.digest


def test_the_process_refuses_options_that_cannot_be(tmp_path: Path) -> None:
    status, said = run_helper(tmp_path, stream({**START, "options": {"polltape_keep_size": "lots"}}))
    assert (status, said) == (2, [{"error": "polltape_keep_size=lots: no size like 16m"}])


@pytest.mark.parametrize(
    ("health", "complaint"),
    [("nowhere/health", "cannot write there (No such file or directory)"), ("device", "is no file")],
)
def test_a_health_file_that_cannot_be_is_told_at_once(tmp_path: Path, health: str, complaint: str) -> None:
    os.mkfifo(tmp_path / "device")
    path = tmp_path / health
    status, said = run_helper(tmp_path / "captures", stream({**START, "options": {"polltape_health": str(path)}}))
    assert (status, said) == (2, [{"error": f"polltape_health={path}: {complaint}"}])
    assert (tmp_path / "device").is_fifo()


def test_the_process_is_not_for_people(tmp_path: Path) -> None:
    status, said = run_helper(tmp_path, b"")
    assert status == 2
    assert "started by the addon" in said[0]["error"]


def test_a_digest_of_par_is_judged_before_it_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED_ID", shared_id := "0123456789ABCDEF")
    signed = digest(shared_id, "order-12345|0|0|0|0|0")
    answers = [(signed, "order-12345"), (signed, "order-54321"), (None, "order-12345")]
    heads = []
    for seq, (value, _) in enumerate(answers, start=1):
        headers = [["Content-Type", "application/json"], *([["x-pch-digest", value]] if value else [])]
        heads.append(exchange_head(seq, target="/posnext/order/submit", response_headers=headers))
    bodies = [b'{"request_uid": "%b"}' % uid.encode() for _, uid in answers]
    frames = [frame(1, {**START, "options": {"polltape_key": "ephemeral", "polltape_par_key": "env:SHARED_ID"}})]
    for number, (head, body) in enumerate(zip(heads, bodies, strict=True), start=2):
        sizes = {"request_body": {"size": 0, "kept": 0}, "response_body": {"size": len(body), "kept": len(body)}}
        frames.append(frame(number, {**head, **sizes}, b"", body))
    frames.append(frame(len(frames) + 1, stop(len(answers))))
    status, said = run_helper(tmp_path, b"".join(frames))
    assert status == 0, said
    found = rows(tmp_path)
    assert [row.digest_ok for row in found] == [True, False, None]
    assert signed not in repr(found)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and shared_id.encode() in path.read_bytes()]
    assert shared_id not in repr(said)


def test_a_key_of_par_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    options = {"polltape_key": "ephemeral", "polltape_par_key": "0123456789ABCDEF"}
    status, [said] = run_helper(tmp_path, stream({**START, "options": options}))
    assert status == 2
    assert said["error"].startswith("polltape_par_key: no such file")
    assert "env:NAME" in said["error"]
    assert "0123456789ABCDEF" not in said["error"]


def test_mitmproxy_goes_first() -> None:
    """In a session of its own, as the addon starts it, Linux weighs a process by the niceness of the session."""
    code = "import os; from polltape.recorder import helper; helper.protect(); print(os.nice(0))"
    told = "print(helper.AUTOGROUP.read_text() if helper.AUTOGROUP.exists() else '')"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; {told}"], start_new_session=True, capture_output=True, text=True
    )
    niceness, session, *_ = run.stdout.splitlines()
    assert int(niceness) >= NICENESS
    assert not session or session.endswith(f" nice {NICENESS}")
