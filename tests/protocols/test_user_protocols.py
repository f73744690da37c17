"""Protocols of the user: the handbook's example works, and what is wrong with a file is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import polltape.protocols
from polltape.cli import main
from polltape.cli import polltape as command
from polltape.errors import ConfigError
from polltape.protocols import add_file, known
from polltape.protocols.user_file import protocols_of_file

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polltape.protocols, "_added", [])
    monkeypatch.setenv("POLLTAPE_PROTOCOL", "")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The class of the handbook."""
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    path = tmp_path / "exports.py"
    path.write_text(code, encoding="utf-8")
    return path


def entry(at: int, method: str, path: str, status: int, body: Any, **headers: str) -> dict[str, Any]:
    content = {"mimeType": "application/json", "text": json.dumps(body)}
    return {
        "startedDateTime": f"2026-11-23T08:00:{at:02d}Z",
        "time": 100,
        "request": {"method": method, "url": f"https://api.example{path}", "headers": []},
        "response": {
            "status": status,
            "headers": [{"name": n.replace("_", "-"), "value": v} for n, v in headers.items()],
            "content": content,
        },
    }


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "exports.har"
    entries = [
        entry(0, "POST", "/exports", 202, {"id": "e1"}),
        entry(2, "GET", "/exports/e1", 200, {"state": "running"}, Retry_After="1"),
        entry(4, "GET", "/exports/e1", 200, {"state": "ready"}),
        entry(6, "GET", "/exports/e1", 200, {"state": "ready"}),
    ]
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}), encoding="utf-8")
    return path


def analysis(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, ["analyze", *arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_the_handbooks_example_is_measured(example: Path, history: Path) -> None:
    told = analysis(str(history), "--protocol", str(example))
    (operation,) = told["operations"]
    assert (operation["protocol"], operation["kind"], operation["outcome"]) == ("exports", "export", "completed")
    assert operation["polls"] == 2
    assert [finding["code"] for finding in told["findings"]] == ["RA003", "OP004"]
    assert {row["endpoint"] for row in told["statuses"]} == {"POST /exports", "GET /exports/{id}"}


def test_what_was_captured_without_it_is_read_again_with_it(example: Path, history: Path, tmp_path: Path) -> None:
    folder = tmp_path / "captured"
    result = CliRunner().invoke(command, ["convert", str(history), str(folder)])
    assert result.exit_code == 0, result.output
    assert analysis(str(folder))["operations"] == []
    with_it = analysis(str(folder), "--protocol", str(example))
    assert [operation["protocol"] for operation in with_it["operations"]] == ["exports"]


BAD = [
    ("def broken(:\n", r"bad\.py:1: SyntaxError"),
    ("x = 1\n\nraise ValueError('no')\n", r"bad\.py:3: ValueError: no"),
    ("import sys\n\nsys.exit(3)\n", r"bad\.py:3: SystemExit: 3"),
    ("x = 1\n", "defines no protocol"),
    (
        "from polltape.protocols.shopify_queue import ShopifyQueue\nclass Mine(ShopifyQueue):\n    pass\n",
        "there is a protocol 'shopify-queue' already",
    ),
    (
        "from polltape.protocols.shopify_queue import ShopifyQueue\nclass Mine(ShopifyQueue):\n    name = 'a|b'\n",
        r"Mine\.name must be a word",
    ),
]


@pytest.mark.parametrize(("code", "said"), BAD)
def test_a_bad_file_is_one_line(code: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        add_file(path)
    assert "\n" not in str(caught.value)


def test_a_protocol_that_raises_loses_no_row_and_that_is_said(example: Path, history: Path) -> None:
    example.write_text(example.read_text().replace("body = json_object(exchange.response_body)", "raise KeyError(1)"))
    result = CliRunner().invoke(command, ["analyze", str(history), "--protocol", str(example), "--format", "json"])
    assert json.loads(result.stdout)["capture"]["exchanges"] == 4
    assert (
        "warning: protocol exports raised KeyError 4 times; what it would have seen there is missing" in result.stderr
    )


@pytest.mark.parametrize(
    ("method", "does"),
    [
        ("observe", "raise RuntimeError"),
        ("observe", "raise SystemExit(3)"),
        ("observe", "return None"),
        ("observe", "return [3]"),
        ("hint", "return 5"),
        ("hint", "return ('later', 1)"),
        ("template", "raise ValueError"),
    ],
)
def test_what_a_protocol_of_the_user_does_wrong_blinds_no_other(
    method: str, does: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.py"
    methods = {"observe": "return ()", "template": "return None", method: does}
    body = "".join(f"    def {name}(self, given):\n        {text}\n" for name, text in methods.items())
    path.write_text(
        f"from polltape.protocols.base import Protocol\nclass Bad(Protocol):\n    name, kinds = 'bad', ()\n{body}"
    )
    order = {"status": "pending"}
    entries = [entry(0, "POST", "/posnext/order/submit", 202, order), entry(1, "GET", "/posnext/orders/o1", 200, order)]
    (tmp_path / "a.har").write_text(json.dumps({"log": {"entries": entries}}))
    assert main(["analyze", str(tmp_path / "a.har"), "--protocol", str(path)]) == 0
    told = capsys.readouterr()
    assert "POST /posnext/order/submit" in told.out
    assert "order.submit" in told.out
    assert told.err.count("\n") == 1
    assert told.err.startswith("warning: protocol bad raised ")


def test_protocols_that_a_file_only_imports_are_not_its_own(example: Path) -> None:
    example.write_text(example.read_text() + "\nfrom polltape.protocols.throttle import Throttle\n")
    assert [protocol.name for protocol in protocols_of_file(example)] == ["exports"]


def test_users_protocols_come_first(example: Path) -> None:
    add_file(example)
    assert [protocol.name for protocol in known()][:2] == ["exports", "shopify-checkout"]
