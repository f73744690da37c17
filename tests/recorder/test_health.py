from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from polltape.recorder import health as module
from polltape.recorder.health import Health, HealthFile


def test_the_file_tells_the_state_and_when(tmp_path: Path) -> None:
    file = HealthFile(tmp_path / "_health.json")
    assert file.due
    file.write(Health("s1", recorded=3, last_error="disk full"))
    assert not file.due
    found = msgspec.json.decode((tmp_path / "_health.json").read_bytes(), type=Health)
    assert (found.session_id, found.state, found.recorded, found.last_error) == ("s1", "recording", 3, "disk full")
    assert found.helper_pid == os.getpid()
    assert found.at is not None
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["_health.json"]


def test_it_is_due_again(tmp_path: Path) -> None:
    file = HealthFile(tmp_path / "h")
    file.write(Health("s1"))
    file._written -= module.EVERY_S
    assert file.due


def test_a_disk_that_refuses_is_no_error_here(tmp_path: Path) -> None:
    HealthFile(tmp_path / "nowhere" / "h").write(Health("s1"))
    HealthFile(None).write(Health("s1"))
    (tmp_path / "h").mkdir()
    HealthFile(tmp_path / "h").write(Health("s1"))
    assert [path.name for path in tmp_path.iterdir()] == ["h"]
