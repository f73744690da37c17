"""The built wheel in a clean environment: installs polltape and nothing else at top level, and does the work."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it declares, at the pinned versions; returns its bin folder."""
    folder = tmp_path_factory.mktemp("clean")
    pinned = re.findall(r"^(\S+==\S+)(?: ; ([^\\\n]*))?", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(f"{name} ; {marker.strip()}" if marker else name for name, marker in pinned))
    programs = folder / "venv" / "bin"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    venv.create(folder / "venv", with_pip=uv is None)
    install = [uv, "pip", "install", "--python", str(programs / "python")] if uv else [str(programs / "pip"), "install"]
    subprocess.run([*install, "--quiet", str(wheel), "-c", str(constraints)], check=True, capture_output=True)
    return programs


def test_the_wheel_installs_one_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"polltape", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    data = {"py.typed", "capture/redaction.toml", "mock/scenarios/shopify-checkout.toml", "recorder/addon_record.py"}
    assert {f"polltape/{name}" for name in data} <= set(names)


@contextmanager
def running(command: list[str], ready: str, environment: dict[str, str], cwd: Path) -> Iterator[str]:
    """A program; yields what ``ready`` matches in what it prints."""
    process = subprocess.Popen(
        command, env=environment, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        told = ""
        for line in process.stdout:
            told += line
            if match := re.search(ready, line):
                yield match[1]
                break
        else:
            pytest.fail(f"{command} said: {told}")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_the_installed_copy_records_analyses_mocks_and_replays(environment: Path, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean |= {"HOME": str(tmp_path), "PATH": f"{environment}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    clean.pop("XDG_CONFIG_HOME", None)
    program = str(environment / "polltape")

    def polltape(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], env=clean, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False
        )

    mock = [program, "mock", "--scenario", "shopify-checkout", "--port", "0"]
    with running(mock, r"listening on (http://\S+)", clean, tmp_path) as shop:
        record = [program, "record", "--dir", "tape", "--mode", f"reverse:{shop}@0", "--set", f"confdir={tmp_path}"]
        with running(record, r"listening at \S*?:(\d+)", clean, tmp_path) as port:
            for _ in range(2):
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
                body = json.dumps({"checkout": {"token": "t", "email": "ada@mail.example.com"}})
                headers = {"Content-Type": "application/json", "X-Shopify-Access-Token": "shpat_wheel"}
                connection.request("POST", "/admin/api/2024-04/checkouts.json", body, headers)
                assert connection.getresponse().status == 202
                connection.close()
    analysed = polltape("analyze", "tape", "--format", "json")
    assert analysed.returncode == 0, analysed.stderr
    analysis = json.loads(analysed.stdout)
    assert analysis["capture"]["exchanges"] == 2
    assert [row["kind"] for row in analysis["operations"]] == ["checkout.create"] * 2
    assert b"ada@mail" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    operation = analysis["operations"][0]["id"]
    bundled = polltape("bundle", "tape", "--operation", operation, "-o", "BUG.polltape")
    assert bundled.returncode == 0, bundled.stderr
    replayed = polltape("replay", "BUG.polltape", "--format", "json")
    assert replayed.returncode in (0, 1), replayed.stderr
    assert json.loads(replayed.stdout)["by"] == "recording"
    assert polltape("analyze", "tape", "--format", "html", "-o", "report.html").returncode == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!")
