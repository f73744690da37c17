"""The user's own rules, in the real program: a file beside the key, and every command goes by it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

POLLTAPE = Path(sys.executable).parent / "polltape"
RULES = """
[add.body]
drop = ["loyalty_number"]

[add.urls]
path_pseudonym = ["/baskets/"]

[remove.body]
shape = ["company"]
"""
SENT = {"checkout": {"loyalty_number": "LOYAL-77431", "company": "Wuthering Imports", "email": "zoe@mail.example"}}
BASKET = "b1946ac92492d2347c6235b4d2611184"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def har(tmp_path: Path) -> Path:
    """One request with names that the default rules know, and names that they do not."""
    request = {
        "method": "PUT",
        "url": f"https://shop.example/baskets/{BASKET}",
        "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Content-Type", "value": "application/json"}],
        "postData": {"mimeType": "application/json", "text": json.dumps(SENT)},
    }
    response = {"status": 202, "statusText": "Accepted", "headers": [], "content": {"size": 0, "mimeType": ""}}
    started = "2026-11-23T08:00:00.000Z"
    entry = {"startedDateTime": started, "time": 5, "request": request, "response": response, "timings": {}}
    path = tmp_path / "shop.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": [entry]}}))
    return path


def polltape(config: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POLLTAPE, *map(str, arguments)],
        env={**os.environ, "POLLTAPE_CONFIG_DIR": str(config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def converted(config: Path, har: Path, name: str) -> dict[str, Any]:
    """The one request of the HAR, through ``polltape convert`` into another HAR."""
    out = har.with_name(name)
    done = polltape(config, "convert", har, out)
    assert done.returncode == 0, done.stderr
    request: dict[str, Any] = json.loads(out.read_text())["log"]["entries"][0]["request"]
    return request


def test_convert_adds_and_removes_as_the_users_file_says(config: Path, har: Path) -> None:
    usual = converted(config, har, "usual.har")
    sent = json.loads(usual["postData"]["text"])["checkout"]
    assert sent["loyalty_number"] == "LOYAL-77431"
    assert sent["company"] != "Wuthering Imports"
    assert usual["url"].endswith(BASKET)

    (config / "redaction.toml").write_text(RULES)
    own = converted(config, har, "own.har")
    sent_own = json.loads(own["postData"]["text"])["checkout"]
    assert sent_own["loyalty_number"] == "polltape-dropped"
    assert sent_own["company"] == "Wuthering Imports"
    assert sent_own["email"] == sent["email"]
    assert own["url"] == f"https://shop.example/baskets/{polltape(config, 'token', BASKET).stdout.strip()}"


BAD = [
    ("[add.bodies]\ndrop = ['x']", r"redaction\.toml, line 1: 'bodies' is not known here; did you mean"),
    ("[add.body]\ndrop = 'x'", r"redaction\.toml, line 2: 'drop' must be a list of names"),
    ("[remove.body]\nshape = ['compny']", r"redaction\.toml, line 2: 'compny' is not known here; did you mean"),
    ("add = 3", r"redaction\.toml, line 1: 'add' must have a section behind it; like \[add\.body\]"),
    ("[add.body]\ndrop = ['']", r"redaction\.toml, line 2: a name of 'drop' is empty"),
    ("[add.body\n", r"redaction\.toml: not a TOML file"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
@pytest.mark.parametrize("command", ["convert", "analyze", "token", "analyze --token"])
def test_a_bad_rules_file_is_one_line_and_status_2(
    config: Path, har: Path, text: str, message: str, command: str
) -> None:
    (config / "redaction.toml").write_text(text)
    arguments: dict[str, tuple[object, ...]] = {
        "convert": ("convert", har, har.with_name("out.har")),
        "analyze": ("analyze", har),
        "token": ("token", "secret-token-1"),
        "analyze --token": ("analyze", har, "--token", "secret-token-1"),
    }
    done = polltape(config, *arguments[command])
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert not har.with_name("out.har").exists()
    assert not (config / "key").exists()


def test_a_link_to_rules_that_are_not_there_is_no_reason_to_go_without(config: Path, har: Path) -> None:
    (config / "redaction.toml").symlink_to(config / "gone.toml")
    done = polltape(config, "convert", har, har.with_name("out.har"))
    assert done.returncode == 2
    assert "the rules cannot be read" in done.stderr
