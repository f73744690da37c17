"""Running a client: its words, its environment, its end.  With mitmdump in front: tests/e2e/test_replay.py."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from polltape.errors import ServiceError, UsageError
from polltape.replay.client import CA_VARIABLES, PROXY_VARIABLES, TAKEN_AWAY, Front, environment, run_client, split

FRONT = Front("http://127.0.0.1:1", "http://127.0.0.1:2", Path("/ca.pem"), Path("/captures"))


def test_a_command_is_split_without_a_shell() -> None:
    assert split("python 'my client.py' $HOME;ls") == ["python", "my client.py", "$HOME;ls"]


@pytest.mark.parametrize("command", ["", "  ", "python 'x"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="--client"):
        split(command)


def test_nothing_inherited_leads_the_client_elsewhere() -> None:
    inherited = dict.fromkeys((*TAKEN_AWAY, *PROXY_VARIABLES, *CA_VARIABLES, "PATH"), "inherited")
    made = environment(inherited, FRONT)
    assert made["POLLTAPE_BASE_URL"] == "http://127.0.0.1:1"
    assert {made[name] for name in PROXY_VARIABLES} == {"http://127.0.0.1:2"}
    assert {made[name] for name in CA_VARIABLES} == {"/ca.pem"}
    assert not set(TAKEN_AWAY) & set(made)
    assert made["PATH"] == "inherited"


def test_what_node_was_told_already_stays() -> None:
    made = environment({"NODE_OPTIONS": "--no-warnings"}, FRONT)
    assert made["NODE_OPTIONS"].startswith('--no-warnings --require "/')
    assert made["POLLTAPE_TLS_PORT"] == "1"


def run(code: str, timeout_s: float = 30.0) -> None:
    run_client([sys.executable, "-c", code], os.environ, timeout_s)


def test_a_client_that_ends_well_is_fine() -> None:
    run("pass")


@pytest.mark.parametrize(
    ("code", "said"),
    [("raise SystemExit(3)", "failed with status 3"), ("import os; os.kill(os.getpid(), 9)", "ended by signal 9")],
)
def test_a_client_that_fails_is_one_line(code: str, said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        run(code)


def test_a_program_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="no program 'no-such-program'"):
        run_client(["no-such-program"], os.environ, 1)
    broken = tmp_path / "broken"
    broken.write_bytes(b"\0\0\0\0")
    broken.chmod(0o755)
    with pytest.raises(ServiceError, match="cannot be started"):
        run_client([str(broken)], os.environ, 1)


def test_a_client_that_never_ends_is_ended_with_all_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    child = "import time; time.sleep(600)"
    code = (
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(ServiceError, match=r"did not end within \d"):
        run(code, timeout_s=3)
    pid = int(note.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _lives(pid):
        time.sleep(0.02)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
