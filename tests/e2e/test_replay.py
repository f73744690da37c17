"""`polltape bundle` and `polltape replay` as a user runs them: real sockets, real mitmdump, real clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from components import needs

from polltape.capture.parquet import write_exchanges
from polltape.capture.reading import open_capture, read_exchanges
from polltape.cli import main
from polltape.protocols import observe

REPLAY_TESTS = Path(__file__).parents[1] / "replay"
sys.path.insert(0, str(REPLAY_TESTS))

import stories  # noqa: E402

POLLING = REPLAY_TESTS / "clients" / "polling.py"
SUBMIT = "/posnext/order/submit"
PROGRAM = Path(sys.executable).parent / "polltape"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a capture, and a bundle of the early poller in it."""
    folder = tmp_path_factory.mktemp("home")
    write_exchanges(folder / "captures", "early", stories.created(), [stories.coverage(1900)])
    made = polltape(folder, "bundle", "captures", "--operation", "3cab", "-o", "BUG.polltape")
    assert made.returncode == 0, made.stderr
    assert "findings: RA001" in made.stdout
    assert "next: polltape replay BUG.polltape" in made.stdout
    bad_bundles(folder)
    return folder


def polltape(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=home,
        env={**os.environ, "POLLTAPE_CONFIG_DIR": str(home / "config"), "NO_PROXY": "*", "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def client(manner: str) -> str:
    return f"{sys.executable} {POLLING} {manner}"


def refused(done: subprocess.CompletedProcess[str], said: str) -> None:
    """Exit 2, the error one line, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(said, errors[0]), errors[0]
    assert "Traceback" not in done.stderr


def test_the_recordings_own_requests_reproduce_the_bug_over_real_sockets(home: Path) -> None:
    done = polltape(home, "replay", "BUG.polltape", "--record", "again")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reproduced  (by: recording)")
    assert "polltape replay BUG.polltape --client 'your command'" in done.stdout
    capture = open_capture([home / "again"], redact=lambda e: e, observe=lambda e: e)
    first, *others = read_exchanges(capture)
    assert (first.status, first.host) == (201, "shop.example")
    assert [e.status for e in others] == [202, 202, 202, 200]
    starts = [(e.request_started_at - others[0].request_started_at).total_seconds() for e in others]
    assert starts == pytest.approx([0, 0.4, 0.81, 1.89], abs=0.05)


def test_at_another_speed_and_as_json(home: Path) -> None:
    done = polltape(home, "replay", "captures", "--operation", "3cab", "--speed", "5", "--format", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["by"]) == (0, "reproduced", "recording")
    assert [found["standing"] for found in told["findings"]] == ["again", "again"]


def test_who_obeys_does_not_have_the_bug(home: Path) -> None:
    done = polltape(home, "replay", "BUG.polltape", "--timing", "obey", "--virtual")
    assert done.returncode == 1
    assert done.stdout.startswith("not reproduced")


@pytest.mark.parametrize(
    ("manner", "status", "answer"),
    [("early", 0, "reproduced"), ("polite", 1, "not reproduced"), ("hard", 1, "not reproduced")],
)
def test_a_client_has_the_bug_or_has_it_not(home: Path, manner: str, status: int, answer: str) -> None:
    """`hard` speaks to https://shop.example itself: through the proxy, it gets to the mock all the same."""
    done = polltape(home, "replay", "BUG.polltape", "--client", client(manner), "--format", "json")
    assert done.returncode == status, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["by"]) == (answer, "client")
    assert told["operations"][1]["replayed"]["outcome"] == "completed"
    assert "the checkout is done" in done.stderr
    assert not [path for path in home.iterdir() if path.name.startswith("polltape-")]


@pytest.mark.parametrize(
    ("key", "status", "said"),
    [
        ((), 2, "PN002: without PAR's SharedId nobody can tell"),
        (("--par-key", "env:SHARED_ID"), 0, "reproduced  (by: client)"),
    ],
)
def test_a_wrong_digest_is_found_in_a_clients_run_with_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: tuple[str, ...], status: int, said: str
) -> None:
    monkeypatch.setenv("SHARED_ID", "0123456789ABCDEF")
    sent = {"request_uid": "order-1", "location_id": "loc-1"}
    one = stories.exchange(
        0, "POST", SUBMIT, 202, sent=sent, got={**sent, "status": "pending"}, more=[("x-pch-digest", "0" * 64)]
    )
    write_exchanges(tmp_path / "captures", "wrong", [observe(replace(one, digest_ok=False))], [stories.coverage(1)])
    client = tmp_path / "client.py"
    client.write_text(
        "import os, urllib.request as u\n"
        f"r = u.Request(os.environ['POLLTAPE_BASE_URL'] + '{SUBMIT}', {json.dumps(sent).encode()!r}, "
        "{'Content-Type': 'application/json'})\n"
        "assert len(u.urlopen(r).headers['x-pch-digest']) == 64\n"
    )
    done = polltape(tmp_path, "replay", "captures", "--client", f"{sys.executable} {client}", *key)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "PN001" not in done.stdout


@pytest.mark.parametrize("manner", ["fetch", "https"])
def test_a_node_client_with_the_shops_address_in_it_gets_to_the_mock(home: Path, manner: str) -> None:
    needs(shutil.which("node"), "node is missing")
    command = f"node {REPLAY_TESTS / 'clients' / 'polling.mjs'} {manner}"
    done = polltape(home, "replay", "BUG.polltape", "--client", command, "--format", "json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["operations"][1]["replayed"]["outcome"] == "completed"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", "it sent no request to the mock"),
        ("raise SystemExit(3)", "failed with status 3"),
        (
            "import urllib.request as u, urllib.error\n"
            "try: u.urlopen('https://other.example/x')\n"
            "except urllib.error.HTTPError as e: assert e.code == 502 and b'not in the recording' in e.read()\n",
            "it asked only for other.example, which the recording does not know",
        ),
        (
            "import os, urllib.request as u, urllib.error\n"
            "try: u.urlopen(os.environ['POLLTAPE_BASE_URL'] + '/nowhere')\n"
            "except urllib.error.HTTPError as e: assert e.code == 404\n",
            "it began no checkout.update, so nothing can be compared",
        ),
        (
            "import os, urllib.request as u, urllib.error\n"
            "try: u.urlopen(os.environ['POLLTAPE_BASE_URL'] + '/nowhere')\n"
            "except urllib.error.HTTPError: raise SystemExit(1)\n",
            r"no answer to 1 of the client's requests \(404\), the last: GET /nowhere",
        ),
    ],
    ids=["sends nothing", "fails", "asks elsewhere", "does something else", "fails for want of an answer"],
)
def test_a_client_that_proves_nothing_is_one_line(home: Path, code: str, said: str) -> None:
    script = home / "client.py"
    script.write_text(code)
    refused(polltape(home, "replay", "BUG.polltape", "--client", f"{sys.executable} {script}"), said)


def bad_bundles(home: Path) -> None:
    """What is no bundle, one of the future, one that is a bomb, and one with a way out of its folder in it."""
    with zipfile.ZipFile(home / "BUG.polltape") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    readme, bomb = members.pop("README.md"), {"exchanges.parquet": bytes(80_000_000)}
    future = {"bundle.json": json.dumps({"format": 99, "polltape": "99"}).encode()}
    bad = {
        "newer": {"README.md": readme} | future,
        "bomb": {"README.md": readme} | bomb,
        "slip": {"../README.md": readme},
    }
    for name, changed in bad.items():
        with zipfile.ZipFile(home / f"{name}.polltape", "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in (members | changed).items():
                archive.writestr(member, content)
    (home / "none.polltape").write_text("no zip")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "none.polltape"], "none.polltape: not a bundle"),
        (["replay", "gone.polltape"], "gone.polltape: cannot be read"),
        (["replay", "BUG.polltape", "--operation", "xyz"], "no operation 'xyz'; nearest: shopify-checkout:"),
        (["replay", "BUG.polltape", "--target", "nowhere"], "no http or https address"),
        (["replay", "BUG.polltape", "--target", "https://shop.example"], "--allow-writes shop.example"),
        (["replay", "BUG.polltape", "--target", "http://127.0.0.1:1"], "cannot be reached"),
        (["replay", "BUG.polltape", "--header", "A=env:B"], "are for a --target"),
        (["replay", "BUG.polltape", "--client", "x", "--speed", "2"], "--client runs at its own pace"),
        (["replay", "BUG.polltape", "--client", "no-such-program"], "no program 'no-such-program'"),
        (["replay", "newer.polltape"], "made by a newer polltape (99, format 99"),
        (["replay", "bomb.polltape"], "exchanges.parquet unpacks to more than"),
        (["replay", "slip.polltape"], "it must hold README.md, bundle.json, exchanges.parquet and nothing else"),
        (["replay", "BUG.polltape", "--client", "sleep 600", "--client-timeout", "0.5"], "did not end within 0.5 s"),
        (["bundle", "captures", "--operation", "xyz", "-o", "B.polltape"], "no operation 'xyz'"),
        (["bundle", "captures", "--operation", "3cab", "-o", "B.zip"], "ends in .polltape"),
        (["bundle", "captures", "--operation", "3cab", "-o", "BUG.polltape"], "is there already"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(
    home: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(home / "config"))
    assert main(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
