"""Nothing lost: SIGKILL, full disks, folders that go away, Ctrl-C.

POLLTAPE_KILL_ROUNDS: how often mitmdump, its helper, and both are killed under load at a random instant (8 times each
here, more by hand).
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from components import needs
from mitmdumps import (
    PATIENCE_S,
    PROGRAMS,
    Mitmdump,
    Nursery,
    Start,
    ask_on,
    client_load,
    helper_has_finished,
    helper_of,
    kill,
    lives,
    request,
    rows,
    spooled,
    wait_for,
)

from polltape.capture.coverage import read_coverage
from polltape.capture.spool import read_spool
from polltape.recorder.convert import dead_sessions, recover

ROUNDS = int(os.environ.get("POLLTAPE_KILL_ROUNDS", "8"))
CLIENTS = 4


@contextmanager
def load(port: int) -> Iterator[list[str]]:
    """Clients that ask as fast as they can, until the proxy is gone; the paths that were answered whole."""
    answered, stop = list[str](), threading.Event()
    clients = [threading.Thread(target=client_load, args=(port, stop, answered, n)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield answered
    finally:
        stop.set()
        for client in clients:
            client.join()


@pytest.fixture
def nursery(tmp_path: Path, shop: int) -> Iterator[Nursery]:
    made = Nursery(tmp_path, shop)
    yield made
    made.close()


def test_sigkill_of_mitmdump_under_load_loses_nothing(nursery: Nursery, tmp_path: Path) -> None:
    """At random instants; the seed is told where it fails."""
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    for number in range(ROUNDS):
        captures = tmp_path / f"captures{number}"
        mitmdump, port = nursery.start(captures)
        with load(port) as answered:
            wait_for("load", lambda: len(answered) >= CLIENTS)
            time.sleep(draw.uniform(0.0, 0.2))
            kill(mitmdump)

        helper_has_finished(captures)
        recorded = [row.path for row in rows(captures)]
        assert set(answered) <= set(recorded), f"seed {seed}"
        assert len(recorded) == len(set(recorded))
        [coverage] = read_coverage(captures)
        assert not coverage.clean
        assert coverage.gaps <= CLIENTS  # at most what each client had under way


def test_sigkill_of_the_helper_under_load_loses_nothing(nursery: Nursery, tmp_path: Path) -> None:
    """What was in the pipe, and in the helper's hands, was let through to the clients: a second helper writes it."""
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    saved = 0
    for number in range(ROUNDS):
        captures = tmp_path / f"captures{number}"
        mitmdump, port = nursery.start(captures)
        helper = helper_of(mitmdump)
        with load(port) as answered:
            wait_for("load", lambda: len(answered) >= CLIENTS)
            time.sleep(draw.uniform(0.0, 0.3))
            if number % 2:  # much in the pipe
                os.kill(helper, signal.SIGSTOP)
                time.sleep(draw.uniform(0.0, 0.5))
            os.kill(helper, signal.SIGKILL)
        wait_for("mitmdump's end", lambda: not lives(mitmdump))  # noqa: B023
        output = (tmp_path / f"{captures.name}.log").read_text()
        recorded = [row.path for row in rows(captures)]
        assert set(answered) <= set(recorded), f"seed {seed}: {output}"
        assert len(recorded) == len(set(recorded)), f"seed {seed}"
        assert not spooled(captures)
        [coverage] = read_coverage(captures)
        assert not coverage.clean
        assert coverage.gaps <= CLIENTS, f"seed {seed}"
        assert "the helper was killed by signal 9; traffic stops here" in output
        [end] = re.findall(r"polltape recorded (\d+) exchanges .*", output)
        assert int(end) == len(recorded), f"seed {seed}: {output}"
        assert " lost" not in output
        assert "Traceback" not in output
        saved += "what the dead helper had not written is saved" in output
    assert saved == ROUNDS


def test_sigkill_of_both_under_load_loses_at_most_the_pipe_and_says_so(nursery: Nursery, tmp_path: Path) -> None:
    """Whatever is missing is counted, at the end of the sequence, too."""
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    lost = 0
    for number in range(ROUNDS):
        captures = tmp_path / f"captures{number}"
        mitmdump, port = nursery.start(captures)
        helper = helper_of(mitmdump)
        with load(port) as answered:
            wait_for("load", lambda: len(answered) >= CLIENTS)
            time.sleep(draw.uniform(0.0, 0.2))
            if number % 2:  # much in the pipe
                os.kill(helper, signal.SIGSTOP)
                time.sleep(draw.uniform(0.0, 0.5))
            os.kill(mitmdump, signal.SIGSTOP)  # else it may see its helper die
            kill(helper, mitmdump)
        wait_for("the helper's death", lambda: dead_sessions(captures))  # noqa: B023
        said: list[str] = []
        done = recover(captures, said.append)
        recorded = [row.path for row in rows(captures)]
        assert done.rows == len(recorded) == len(set(recorded)), f"seed {seed}"
        missing = set(answered) - set(recorded)
        pipe = 1 << 20
        assert len(missing) * 500 <= pipe, f"seed {seed}"  # a frame here has more than 500 bytes
        [coverage] = read_coverage(captures)
        assert (coverage.clean, coverage.gaps) == (False, done.gaps)
        assert len(missing) <= done.gaps <= len(missing) + CLIENTS, f"seed {seed}"
        assert not done.gaps or f"{done.gaps} missing" in said[0]
        assert not spooled(captures)
        lost += len(missing)
    assert lost  # else this proves nothing


def test_sigkill_of_both_is_recovered_at_the_next_start(start: Start, shop: int) -> None:
    first = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    for _ in range(5):
        request(first.port)
    spool = next((first.captures / ".spool").glob("*.spool"))
    wait_for("the spool to hold them", lambda: spool.read_bytes().count(b"PTR") >= 5)
    helper = first.helper()
    os.kill(first.process.pid, signal.SIGSTOP)  # so that it cannot see its helper die
    os.kill(helper, signal.SIGKILL)
    first.send(signal.SIGKILL)
    first.ended()
    assert not rows(first.captures)
    kept = first.captures.with_name("kept")
    shutil.copytree(first.captures, kept)
    by_hand = subprocess.run(
        [PROGRAMS / "polltape", "recover", kept], capture_output=True, text=True, timeout=60, check=True
    )
    assert by_hand.stdout == f"recovered 5 exchanges of 1 recording in {kept}\n"
    assert len(rows(kept)) == 5

    second = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    request(second.port, path="/jobs/2")
    second.send(signal.SIGINT)
    assert second.ended() == 0
    assert "recovering what 1 earlier recording(s) left behind" in second.output
    assert len(rows(second.captures)) == 6
    assert [coverage.clean for coverage in read_coverage(second.captures)] == [False, True]
    assert not spooled(second.captures)


def test_two_recorders_share_a_folder(start: Start, shop: int) -> None:
    """One of them `polltape record`, from the installed copy of the addon."""
    mode = ("--mode", f"reverse:http://127.0.0.1:{shop}")
    both = [start(*mode), start(*mode, program=[str(PROGRAMS / "polltape"), "record"], addon=False)]
    for mitmdump in both:
        request(mitmdump.port)
    for mitmdump in both:
        mitmdump.send(signal.SIGINT)
        assert mitmdump.ended() == 0
    assert len(rows(both[0].captures)) == 2
    assert len(read_coverage(both[0].captures)) == 2


def test_a_capture_can_be_read_while_it_is_written(start: Start, shop: int) -> None:
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", "polltape_rotate=1")
    request(mitmdump.port)
    assert len(wait_for("a Parquet file", lambda: rows(mitmdump.captures))) == 1
    assert mitmdump.process.poll() is None


# ------------------------------------------------------------------------------------- the disk and the folder


_libc = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> bool:
    data = options.encode() or None
    return bool(_libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, data) == 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.5 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    needs(os.geteuid() == 0 and mount("tmpfs", disk, "tmpfs", options="size=1536k"), "no right to mount a tmpfs")
    yield disk
    _libc.umount2(str(disk).encode(), 2)


def refused(port: int, body: bytes = b"") -> None:
    """Ask until the traffic stops visibly."""
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_on(port, body)


def one_line(mitmdump: Mitmdump, words: str) -> str:
    """The one line of the output in which they stand; and nowhere a traceback."""
    assert "Traceback" not in mitmdump.output
    [line] = [line for line in mitmdump.output.splitlines() if words in line]
    return line


def test_a_full_disk_stops_visibly_damages_nothing_and_is_recovered(start: Start, shop: int, small_disk: Path) -> None:
    captures, ballast = small_disk / "captures", small_disk / "ballast"
    to_disk = ("--set", f"polltape_dir={captures}", "--set", "polltape_rotate=1")
    first = start("--mode", f"reverse:http://127.0.0.1:{shop}", *to_disk)
    port = first.port
    request(port)
    before = wait_for("a Parquet file", lambda: rows(captures))
    ballast.write_bytes(b"x" * 500_000)
    refused(port, json.dumps({"title": os.urandom(60_000).hex()}).encode())
    assert first.ended() == 1
    assert "No space left on device" in one_line(first, "traffic stops here")
    assert "polltape recorded" in first.output
    assert spooled(captures)
    spools = [read_spool(path) for path in (captures / ".spool").glob("*.spool")]
    assert [(spool.damaged, spool.torn) for spool in spools] == [(0, False)] * len(spools)

    ballast.unlink()
    written = {row.seq for row in rows(captures)} | {seq for spool in spools for seq in spool.seqs}
    second = start("--mode", f"reverse:http://127.0.0.1:{shop}", *to_disk)
    assert second.port
    second.send(signal.SIGINT)
    assert second.ended() == 0
    assert "recovering what 1 earlier recording(s) left behind" in second.output
    after = rows(captures)
    assert {row.seq for row in after} == written
    assert after[: len(before)] == before
    assert not spooled(captures)


def test_a_folder_that_goes_away_stops_visibly(start: Start, shop: int) -> None:
    """Long before the next rotation: a file without a name takes what is written, and nobody gets it."""
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    port = mitmdump.port
    request(port)
    shutil.rmtree(mitmdump.captures)
    begin = time.monotonic()
    refused(port)
    assert time.monotonic() - begin < 10
    assert mitmdump.ended() == 1
    assert "No such file or directory" in one_line(mitmdump, "traffic stops here")
    assert "those not in Parquet yet are gone with the spool" in one_line(mitmdump, "polltape recorded")
    assert not mitmdump.captures.exists()


def test_a_folder_without_permission_is_told_at_once(start: Start, shop: int, tmp_path: Path) -> None:
    captures = tmp_path / "captures"
    captures.mkdir()
    # For root permission bits do not count: a read-only mount does.
    bound = os.geteuid() == 0 and mount(str(captures), captures, "none", MS_BIND)
    needs(bound and mount("none", captures, "none", MS_REMOUNT | MS_BIND | MS_RDONLY), "no right to mount read-only")
    try:
        mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
        assert mitmdump.ended() == 1
        assert "cannot write there (Read-only file system)" in one_line(mitmdump, "polltape: ")
    finally:
        _libc.umount2(str(captures).encode(), 2)


def test_a_file_in_the_place_of_the_spool_is_told_at_once(start: Start, shop: int, tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    (tmp_path / "captures" / ".spool").write_text("in the way")
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}")
    assert mitmdump.ended() == 1
    assert ".spool: File exists" in one_line(mitmdump, "polltape: ")


# ------------------------------------------------------------------------------------------------ the end


def test_ctrl_c_in_a_terminal_ends_with_parquet(shop: int, tmp_path: Path) -> None:
    """A real terminal sends SIGINT to its whole process group; the helper is not in it."""
    command = [str(PROGRAMS / "mitmdump"), "-s", str(Path(__file__).parents[2] / "addons" / "record.py")]
    command += ["--mode", f"reverse:http://127.0.0.1:{shop}", "-p", "0", "--listen-host", "127.0.0.1"]
    captures = tmp_path / "captures"
    command += ["--set", f"polltape_dir={captures}", "--set", f"confdir={tmp_path / 'mitmproxy'}"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["POLLTAPE_CONFIG_DIR"] = str(tmp_path / "config")
        os.execv(command[0], command)
    output = b""

    def read_until(pattern: bytes) -> re.Match[bytes]:
        nonlocal output
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, output)):
            assert time.monotonic() < deadline, output
            with suppress(OSError):
                output += os.read(terminal, 4096)
        return found

    try:
        read_until(b"polltape records to")
        port = int(read_until(rb"listening at \S*?:(\d+)")[1])
        for _ in range(5):
            request(port)
        os.write(terminal, b"\x03")
        read_until(rb"polltape recorded 5 exchanges \(5 redacted")
        _, status = os.waitpid(pid, 0)
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(rows(captures)) == 5
    assert not spooled(captures)


SLOW = """
import sys, time
import polltape.recorder.helper as helper
real = helper.convert_all
def convert_all(*arguments):
    for _ in range(int({signs})):
        time.sleep(0.1)
        helper.say(working=True)
    return real(*arguments)
helper.convert_all = convert_all
from polltape.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A helper that takes its time to make Parquet, and says so."""


def slow_helper(tmp_path: Path, signs: int) -> str:
    import sys

    program = tmp_path / "slow-polltape"
    (tmp_path / "slow.py").write_text(SLOW.format(signs=signs))
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "slow.py"} "$@"\n')
    program.chmod(0o755)
    return str(program)


def test_mitmdump_waits_as_long_as_the_helper_works(start: Start, shop: int, tmp_path: Path) -> None:
    helper = slow_helper(tmp_path, signs=40)
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", f"polltape_helper={helper}")
    request(mitmdump.port)
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 0
    assert "polltape makes Parquet of what is recorded" in mitmdump.output
    assert len(rows(mitmdump.captures)) == 1


def test_ctrl_c_again_leaves_the_rest_to_the_helper(start: Start, shop: int, tmp_path: Path) -> None:
    helper = slow_helper(tmp_path, signs=50)
    mitmdump = start("--mode", f"reverse:http://127.0.0.1:{shop}", "--set", f"polltape_helper={helper}")
    request(mitmdump.port)
    mitmdump.send(signal.SIGINT)
    wait_for("the notice", lambda: "Ctrl-C: leave that to the helper" in mitmdump.output)
    mitmdump.send(signal.SIGINT)
    assert mitmdump.ended() == 1
    assert "SIGINT again: left; the helper makes the Parquet alone" in one_line(mitmdump, "SIGINT")
    assert not rows(mitmdump.captures)
    helper_has_finished(mitmdump.captures)
    assert len(rows(mitmdump.captures)) == 1
