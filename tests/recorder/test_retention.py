from __future__ import annotations

import os
from pathlib import Path

from polltape.recorder.retention import DAY_S, Removed, recordings, remove_old

NOW = 1_800_000_000.0


def recording(directory: Path, day: int, part: int = 1, size: int = 100) -> Path:
    """A recorder's file of so many days ago."""
    path = directory / f"date=2027-01-{day + 1:02}" / f"01900000-0000-7000-8000-00000000000{day}-{part:06}.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - day * DAY_S, NOW - day * DAY_S))
    return path


def test_nothing_is_removed_by_default(tmp_path: Path) -> None:
    recording(tmp_path, 9)
    assert remove_old(tmp_path, 0, 0, NOW) == Removed(0, 0)
    assert len(recordings(tmp_path)) == 1


def test_by_age(tmp_path: Path) -> None:
    paths = [recording(tmp_path, day) for day in (1, 2, 3, 4)]
    assert remove_old(tmp_path, 2, 0, NOW) == Removed(2, 200)
    assert [path.exists() for path in paths] == [True, True, False, False]
    assert not paths[3].parent.exists()


def test_by_size_the_oldest_first(tmp_path: Path) -> None:
    paths = [recording(tmp_path, day) for day in (4, 1, 3, 2)]
    assert remove_old(tmp_path, 0, 250, NOW) == Removed(2, 200)
    assert [path.exists() for path in paths] == [False, True, False, True]
    assert remove_old(tmp_path, 0, 250, NOW) == Removed(0, 0)


def test_both(tmp_path: Path) -> None:
    for day in (1, 2, 3, 4):
        recording(tmp_path, day)
    assert remove_old(tmp_path, 3, 100, NOW).files == 3


def test_what_no_recorder_wrote_here_stays(tmp_path: Path) -> None:
    folder, outside = tmp_path / "captures", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    linked = recording(outside, 9)
    (folder / "date=2027-01-10").symlink_to(linked.parent)
    old = recording(folder, 8)
    kept = [old.with_name("imported.parquet"), old.with_name("notes.txt"), folder / old.name]
    for path in kept:
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    link = old.with_name(old.name.replace("000001.p", "000002.p"))
    link.symlink_to(linked)
    assert remove_old(folder, 1, 1, NOW) == Removed(1, 100)
    assert linked.exists()
    assert link.is_symlink()
    assert all(path.exists() for path in kept)
