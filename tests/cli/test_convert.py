"""``polltape convert`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from polltape.cli.convert import convert
from polltape.protocols.par_digest import digest

SHARED_ID = "0123456789ABCDEF"


def har(path: Path, *digests: str) -> Path:
    """Answers of PAR with these digests."""
    entries = [
        {
            "startedDateTime": f"2025-01-02T03:04:0{number}.000Z",
            "time": 5,
            "request": {"method": "POST", "url": "https://pos.example/posnext/order/submit", "headers": []},
            "response": {
                "status": 202,
                "headers": [{"name": "x-pch-digest", "value": value}],
                "content": {"mimeType": "application/json", "text": '{"request_uid": "order-12345"}'},
            },
        }
        for number, value in enumerate(digests)
    ]
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


@pytest.mark.parametrize("how", ["option", "environment", "file", "not"])
def test_digests_of_par_are_judged_on_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setenv("POLLTAPE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("SHARED_ID", SHARED_ID)
    (tmp_path / "key").write_text(SHARED_ID)
    source = har(tmp_path / "a.har", digest(SHARED_ID, "order-12345|0|0|0|0|0"), "0" * 64)
    given = {"option": ["--par-key", "env:SHARED_ID"], "file": ["--par-key", str(tmp_path / "key")]}.get(how, [])
    if how == "environment":
        monkeypatch.setenv("POLLTAPE_PAR_KEY", "env:SHARED_ID")
    out = tmp_path / "a.parquet"
    assert CliRunner().invoke(convert, [str(source), str(out), *given]).exit_code == 0
    table = pq.read_table(out, columns=["digest_ok", "response_headers"])
    assert table["digest_ok"].to_pylist() == ([None, None] if how == "not" else [True, False])
    assert SHARED_ID.encode() not in out.read_bytes()
