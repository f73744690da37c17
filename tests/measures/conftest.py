"""Histories as HAR entries, analysed by the whole program."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polltape.capture.keys import Key
from polltape.capture.reading import Capture, open_capture
from polltape.capture.redaction import Redactor
from polltape.measures.analysis import Analysis, Selection, Settings, analyse
from polltape.protocols import observe

T0 = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
KEY = Key(b"0123456789abcdef0123456789abcdef", "test")
CHECKOUT = "/admin/api/2024-04/checkouts/t1.json"

Entry = dict[str, Any]


def make_entry(
    at: float,
    method: str,
    path: str,
    status: int,
    *,
    took: float = 0.1,
    headers_after: float | None = None,
    hint: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    sent: str | None = None,
    body: Any = None,
    client: str = "a",
    host: str = "shop.example",
) -> Entry:
    """A request that starts ``at`` seconds and whose response ends ``took`` later, its headers sooner."""
    answer = [("Date", "Mon, 23 Nov 2026 08:00:00 GMT"), *headers]
    answer += [] if hint is None else [("Retry-After", hint)]
    request: dict[str, Any] = {
        "method": method,
        "url": f"https://{host}{path}",
        "headers": [{"name": "X-Shopify-Access-Token", "value": client}],
        "bodySize": len(sent or ""),
    }
    if sent is not None:
        request["postData"] = {"mimeType": "application/json", "text": sent}
    content = {"size": 0, "text": ""} if body is None else {"mimeType": "application/json", "text": json.dumps(body)}
    wait = took if headers_after is None else headers_after
    return {
        "startedDateTime": (T0 + timedelta(seconds=at)).isoformat(),
        "time": took * 1000,
        "request": request,
        "response": {
            "status": status,
            "headers": [{"name": name, "value": value} for name, value in answer],
            "content": content,
        },
        "timings": {"send": 0, "wait": wait * 1000, "receive": (took - wait) * 1000},
    }


@pytest.fixture
def entry() -> Callable[..., Entry]:
    return make_entry


@pytest.fixture
def captured(tmp_path: Path) -> Callable[..., Capture]:
    def opened(*histories: Sequence[Entry]) -> Capture:
        paths = []
        for number, entries in enumerate(histories):
            path = tmp_path / f"{number}.har"
            path.write_text(json.dumps({"log": {"version": "1.2", "entries": list(entries)}}), encoding="utf-8")
            paths.append(path)
        return open_capture(paths, redact=Redactor(KEY).redact, observe=observe, key=KEY)

    return opened


@pytest.fixture
def analysed(captured: Callable[..., Capture]) -> Callable[..., Analysis]:
    def analysis(
        *histories: Sequence[Entry], selection: Selection | None = None, settings: Settings | None = None
    ) -> Analysis:
        return analyse(captured(*histories), selection=selection, settings=settings)

    return analysis
