from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from polltape.cli import record as module
from polltape.cli.record import addon_path, find_mitmdump, mitmdump_arguments, record, recover
from polltape.errors import InputError, ServiceError


def test_mitmdump_gets_the_addon_the_folder_and_the_users_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: called.append(arguments))
    result = CliRunner().invoke(record, ["--dir", "here", "--mode", "reverse:http://x", "-p", "0", "~m PUT"])
    assert result.exit_code == 0
    [[program, *arguments]] = called
    assert Path(program).name == "mitmdump"
    assert arguments[:4] == ["-s", str(addon_path()), "--set", "polltape_dir=here"]
    assert arguments[-5:] == ["--mode", "reverse:http://x", "-p", "0", "~m PUT"]
    assert f"polltape_helper={Path(sys.executable).parent / 'polltape'}" in arguments


def test_the_users_own_helper_and_folder_are_left_alone() -> None:
    given = ("--set", "polltape_helper=/opt/polltape", "--set", "polltape_dir=there")
    assert mitmdump_arguments(None, given) == ["-s", str(addon_path()), *given]


def test_the_addon_can_be_asked_for() -> None:
    result = CliRunner().invoke(record, ["--addon"])
    assert result.output.strip() == str(addon_path())
    assert addon_path().is_file()


def test_no_mitmdump_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="mitmdump is neither beside this Python nor on PATH"):
        find_mitmdump()


def test_recover_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, complaint in (("nothing", "no such folder"), ("file", "no folder")):
        result = CliRunner().invoke(recover, [str(tmp_path / name)])
        assert isinstance(result.exception, InputError)
        assert str(result.exception) == f"{tmp_path / name}: {complaint}"


def test_recover_with_nothing_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(recover, [str(tmp_path)])
    assert result.exit_code == 0
    assert result.output == f"recovered 0 exchanges of 0 recordings in {tmp_path}\n"
