"""Transparent and local mode: clients that know of no proxy, in namespaces where nobody else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mitmdumps import rows, spooled

HERE = Path(__file__).parent

ALONE = """
mount -t cgroup2 none "$1" && mkdir "$1/$2" && echo $$ > "$1/$2/cgroup.procs" || exit 3
shift 2; exec unshare -C -n -m "$@"
"""
"""A cgroup of its own, too: mitmproxy's redirector sees every process of the cgroup that it takes for the root."""

REMOVE = """
mount -t cgroup2 none "$1" || exit
for _ in $(seq 100); do [ ! -d "$1/$2" ] || rmdir "$1/$2" && exit; sleep 0.05; done
"""
"""The group is busy for a moment after its last process has ended."""


@pytest.mark.parametrize("mode", ["transparent", "local"])
def test_clients_that_know_of_no_proxy_are_recorded(tmp_path: Path, mode: str) -> None:
    home, groups, name = tmp_path / "home", tmp_path / "cgroups", f"polltape-test-{os.getpid()}-{mode}"
    home.mkdir()
    groups.mkdir()
    program = [sys.executable, str(HERE / "redirected.py"), mode, str(home)]
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", ALONE, "alone", str(groups), name, *program],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        subprocess.run(["unshare", "-m", "sh", "-c", REMOVE, "remove", groups, name], capture_output=True, check=False)
    if done.returncode == 3:
        pytest.skip(f"{mode} mode cannot be tried here: {done.stdout.strip() or done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    port, status = (int(word) for word in done.stdout.split()[:2])
    assert status == 202
    [row] = rows(home / "captures")
    assert (row.scheme, row.host, row.port, row.path, row.query) == ("http", "127.0.0.1", port, "/jobs/1", "a")
    assert (row.status, row.server_address) == (202, f"127.0.0.1:{port}")
    assert not spooled(home / "captures")
