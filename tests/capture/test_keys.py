"""The key: made once, private, never shown."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from polltape.capture.keys import Key, config_dir, given_secret, load_key
from polltape.errors import ConfigError


def test_the_key_is_made_at_first_use_and_stays(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "polltape"
    first = load_key(folder)
    assert load_key(folder) == first
    assert len(first.secret) == 32
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_an_ephemeral_key_is_new_each_time_and_written_nowhere(tmp_path: Path) -> None:
    one, other = load_key(tmp_path, ephemeral=True), load_key(tmp_path, ephemeral=True)
    assert one.key_id != other.key_id
    assert list(tmp_path.iterdir()) == []


def test_the_id_tells_keys_apart_but_not_what_they_are() -> None:
    one, other = Key.of(b"a" * 32), Key.of(b"b" * 32)
    assert one.key_id != other.key_id
    assert one.key_id not in one.secret.hex()
    assert "aaaa" not in repr(one)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"POLLTAPE_CONFIG_DIR": "/p", "XDG_CONFIG_HOME": "/x"}, Path("/p")),
        ({"XDG_CONFIG_HOME": "/x"}, Path("/x/polltape")),
        ({}, Path.home() / ".config/polltape"),
    ],
)
def test_where_it_lies(environ: dict[str, str], expected: Path) -> None:
    assert config_dir(environ) == expected


def test_the_folder_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path / "here"))
    assert load_key() == load_key(tmp_path / "here")


def test_of_many_that_start_at_once_all_have_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(12)
    found: list[Key] = []

    def start() -> None:
        barrier.wait()
        found.append(load_key(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 12
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    "content",
    [b"", b"not a key", b"polltape-key-1:", b"polltape-key-1:beef", b"polltape-key-2:" + b"ab" * 32, b"\xff\xfe",
     b"polltape-key-1:" + b"zz" * 32, b"polltape-key-1:" + b"ab" * 33],
)  # fmt: skip
def test_a_file_that_is_no_key_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a key of polltape") as caught:
        load_key(tmp_path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert caught.value.__cause__ is None
    assert "beef" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_key(tmp_path)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="may be read by others") as caught:
        load_key(tmp_path)
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="cannot be read or made"):
        load_key(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read or made") as caught:
        load_key(tmp_path / "file" / "polltape")
    assert "POLLTAPE_CONFIG_DIR" in (caught.value.hint or "")


def test_a_draft_is_never_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left"):
        load_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_was_given_out_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").write_text("0123456789ABCDEF\n")
    assert given_secret(str(tmp_path / "shared"), "--par-key") == "0123456789ABCDEF"
    monkeypatch.setenv("SHARED_ID", "0123456789ABCDEF")
    assert given_secret("env:SHARED_ID", "--par-key") == "0123456789ABCDEF"


@pytest.mark.parametrize("source", ["env:NOT_THERE", "env:", "0123456789ABCDEF", "/", "/dev/null", "x" * 5000])
def test_a_secret_that_is_not_there_is_one_line_that_does_not_tell_it(source: str) -> None:
    with pytest.raises(ConfigError, match=r"^--par-key: ") as caught:
        given_secret(source, "--par-key")
    assert "0123456789" not in f"{caught.value}{caught.value.hint}"
    assert "\n" not in str(caught.value)
