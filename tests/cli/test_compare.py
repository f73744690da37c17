"""``polltape compare``: captures from files, bounds, exit status, and one line for each mistake."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polltape.cli import main

SAMPLE = str(Path(__file__).resolve().parents[2] / "captures" / "samples" / "demo")
T0 = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)


def har(path: Path, took_s: float) -> str:
    """Eight checkouts, updated with a 202 and polled each second until they are done ``took_s`` later."""
    entries = []
    for number in range(8):
        url = f"https://shop.example/admin/api/2024-04/checkouts/t{number}.json"
        at = 100.0 * number
        entries.append(entry(at, "PUT", url, 202))
        polls = [at + 1.2 + second for second in range(round(took_s))]
        entries += [entry(poll, "GET", url, 202) for poll in polls]
        entries.append(entry(at + 0.3 + took_s + number * 0.07, "GET", url, 200))
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}), encoding="utf-8")
    return str(path)


def entry(at: float, method: str, url: str, status: int) -> dict[str, Any]:
    done = {"completed_at": "2026-11-23T08:00:00Z"} if status == 200 else {}
    return {
        "startedDateTime": (T0 + timedelta(seconds=at)).isoformat(),
        "time": 100,
        "request": {"method": method, "url": url, "headers": [{"name": "X-Shopify-Access-Token", "value": "a"}]},
        "response": {
            "status": status,
            "headers": [{"name": "Retry-After", "value": "1"}],
            "content": {"mimeType": "application/json", "text": json.dumps({"checkout": done})},
        },
        "timings": {"send": 0, "wait": 100, "receive": 0},
    }


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_slower_beyond_the_bound_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast, slow = har(tmp_path / "fast.har", 2), har(tmp_path / "slow.har", 5)
    assert main(["compare", fast, slow, "--format", "json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)["durations"]
    assert row["difference_s"] == pytest.approx(3)
    assert (row["change"], row["server"], row["regression"]) == ("slower", "slower", True)
    assert main(["compare", fast, slow, "--max-slower", "4"]) == 0
    assert main(["compare", fast, slow, "--max-slower", "50%"]) == 1
    assert main(["compare", slow, fast]) == 0


def test_a_capture_beside_itself_has_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figure = tmp_path / "out.txt", tmp_path / "curves.png"
    assert main(["compare", SAMPLE, SAMPLE, "-o", str(out), "--figure", str(figure)]) == 0
    assert out.read_text().endswith("Answer\n  no regression beyond the bounds\n")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-slower", "-1"], "--max-slower '-1': seconds such as 0.5, or per cent such as 10%, at least 0"),
        (["--max-slower", "fast"], "--max-slower 'fast'"),
        (["--max-slower", "nan"], "--max-slower 'nan'"),
        (["--max-drop", "2"], "--max-drop '2' is more than all: write a share such as 0.05, or 5%"),
        (["--horizon", "0"], "--horizon"),
        (["--horizon", "nan"], "--horizon"),
        (["--horizon", "inf"], "--horizon"),
        (["--figure", "curves.pdf"], "--figure curves.pdf: the ending must be .png or .svg"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", SAMPLE, SAMPLE, *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}" if told.startswith("--max") else "error: ")


def test_a_path_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", SAMPLE, str(tmp_path / "nope")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "no such file or folder" in err


def test_a_figure_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", SAMPLE, SAMPLE, "--figure", str(tmp_path / "no" / "x.svg")]) == 2
    assert "cannot write" in capsys.readouterr().err
