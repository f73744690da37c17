"""``polltape simulate``: policies by name and from a file, forms, and one line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polltape.cli import main

SAMPLE = str(Path(__file__).resolve().parents[2] / "captures" / "samples" / "demo")


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("def wait(poll, asked_s):\n    return max(asked_s or 0, 0.25 * 2**poll)\n\n\nnot_one = 1\n")
    return path


def test_policies_by_name_and_your_own(policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "trade-off.svg"
    options = ["--policy", "fixed:0.5", "--policy", "obey", "--policy", f"{policy}:wait", "--samples", "90"]
    assert main(["simulate", SAMPLE, *options, "--format", "json", "--figure", str(figure)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [group["kind"] for group in told["groups"]] == [
        "checkout.complete", "checkout.create", "checkout.shipping_rates", "checkout.update",
    ]  # fmt: skip
    _, fixed, obey, mine = told["groups"][3]["policies"]
    assert (mine["policy"], mine["compliance"], obey["compliance"]) == (f"{policy}:wait", 1, 1)
    assert fixed["polls"] > obey["polls"] > mine["polls"]
    assert fixed["added_p95_s"] < obey["added_p95_s"] < mine["added_p95_s"]
    assert "<svg" in figure.read_text()


def test_the_usual_policies_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.txt"
    assert main(["simulate", SAMPLE, "--samples", "90", "-o", str(out)]) == 0
    for name in ("recorded", "fixed:0.5", "fixed:1", "fixed:5", "obey", "exponential", "hint+backoff"):
        assert out.read_text().count(f"\n    {name} ") == 4
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--policy", "fixd:1"], "--policy 'fixd:1': there are fixed, obey"),
        (["--policy", "obey", "--policy", "obey"], "--policy: the same one is named twice"),
        (["--policy", "nothere.py"], "--policy nothere.py: cannot read nothere.py: No such file or directory"),
        (["--policy", "MINE:never"], "no function 'never' in "),
        (["--policy", "MINE:not_one"], "no function 'not_one' in "),
        (["--give-up", "0"], "--give-up"),
        (["--samples", "0"], "--samples"),
        (["--figure", "out.pdf"], "--figure out.pdf: the ending must be .png or .svg"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    options: list[str], told: str, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", SAMPLE, *(option.replace("MINE", str(policy)) for option in options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def wait(", "mine.py, line 1: "),
        ("import nothing_of_that_name", "ModuleNotFoundError while "),
        ("import sys\nsys.exit(3)", "SystemExit while "),
        ("import sys\ndef wait(poll):\n    sys.exit(3)", "mine.py, line 3: SystemExit: 3 for poll=0"),
        ("def wait(): return -1", "returned -1 for poll=0"),
        ("def wait(attempt): return 1", "no argument 'attempt'; there are poll, asked_s, elapsed_s, rng"),
        ("def wait(poll):\n    return 1 / poll", "mine.py, line 2: ZeroDivisionError"),
    ],
)
def test_a_mistake_in_your_policy_is_one_line(
    code: str, told: str, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy.write_text(code)
    assert main(["simulate", SAMPLE, "--policy", str(policy)]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1


def test_a_path_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(tmp_path / "no")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
