"""The JSON is the contract that the handbook writes down, and the same in every run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from polltape.measures.analysis import Analysis
from polltape.report.as_json import to_json

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def _instant(value: object) -> bool:
    return isinstance(value, str) and INSTANT.fullmatch(value) is not None


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return type(value) is int


def _number(value: object) -> bool:
    return type(value) in (int, float)


def _flag(value: object) -> bool:
    return type(value) is bool


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _statuses(value: object) -> bool:
    return isinstance(value, list) and all(item is None or type(item) is int for item in value)


def _or_null(check: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or check(value)


CAPTURE = {
    "exchanges": _whole,
    "skipped": _whole,
    "from": _or_null(_instant),
    "to": _or_null(_instant),
    "sources": _texts,
}
CONTRACT: dict[str, dict[str, Callable[[object], bool]]] = {
    "statuses": {
        "host": _text,
        "endpoint": _text,
        "status": _or_null(_whole),
        "count": _whole,
        "meaning": _text,
        "fault": _or_null(_text),
    },
    "operations": {
        **dict.fromkeys(("id", "protocol", "kind", "key", "host"), _text),
        "client": _or_null(_text),
        "truncated": _flag,
        **dict.fromkeys(("submitted_at", "accepted_at", "ended_at"), _or_null(_instant)),
        "outcome": _text,
        "polls": _whole,
        "statuses": _statuses,
        **dict.fromkeys(("duration_s", "lower_s", "upper_s", "observed_s"), _or_null(_number)),
        "exchanges": _texts,
    },
    "durations": {
        **dict.fromkeys(("protocol", "kind", "host"), _text),
        **dict.fromkeys(("operations", "completed", "failed", "rejected", "action_required"), _whole),
        **dict.fromkeys(("superseded", "abandoned", "pending", "truncated"), _whole),
        "at_once": _or_null(_whole),
        **dict.fromkeys(("p50_s", "p50_low_s", "p50_high_s", "p50_lower_s"), _or_null(_number)),
        **dict.fromkeys(("p90_s", "p95_s", "p99_s", "bracket_s"), _or_null(_number)),
    },
    "waits": {
        "operation": _or_null(_text),
        "exchange": _text,
        "next_exchange": _or_null(_text),
        **dict.fromkeys(("source", "raw", "class", "clock"), _text),
        "asked_s": _number,
        **dict.fromkeys(("waited_s", "margin_s"), _or_null(_number)),
        "verdict": _text,
    },
    "compliance": {
        **dict.fromkeys(("protocol", "kind"), _or_null(_text)),
        "host": _text,
        **dict.fromkeys(("kept", "late", "early", "unanswered", "open", "void"), _whole),
        **dict.fromkeys(("rate", "low", "high"), _or_null(_number)),
        **dict.fromkeys(("operations", "operations_clean", "clients"), _whole),
    },
    "findings": {
        **dict.fromkeys(("code", "fault", "message"), _text),
        "operation": _or_null(_text),
        **dict.fromkeys(("exchanges", "request_ids"), _texts),
        "at": _instant,
    },
}


def _strict(text: str) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return document


@pytest.mark.parametrize("fixture", ["small", "empty", "hostile", "thousands"])
def test_every_key_of_the_contract_is_there_with_its_type(fixture: str, request: pytest.FixtureRequest) -> None:
    document = _strict(to_json(request.getfixturevalue(fixture)))
    assert document["schema"] == "polltape.analysis/1"
    for key, check in CAPTURE.items():
        assert check(document["capture"][key]), key
    for table, keys in CONTRACT.items():
        for row in document[table]:
            assert list(row)[: len(keys)] == list(keys), "the contract's keys come first, in its order"
            for key, check in keys.items():
                assert check(row[key]), f"{table}.{key} = {row[key]!r}"


def test_small_analysis(small: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("small.json", to_json(small))


def test_unknown_is_null_not_zero(small: Analysis) -> None:
    document = _strict(to_json(small))
    pending = next(operation for operation in document["operations"] if operation["outcome"] == "pending")
    assert [pending[key] for key in ("ended_at", "duration_s", "upper_s")] == [None] * 3
    assert pending["statuses"] == [202, 202, None, 202]
    unanswered = next(wait for wait in document["waits"] if wait["verdict"] == "unanswered")
    assert [unanswered[key] for key in ("next_exchange", "waited_s", "margin_s")] == [None] * 3


def test_a_share_that_the_interval_does_not_settle_is_no_exception_and_none_the_less(busy: Analysis) -> None:
    shares = _strict(to_json(busy))["pending_shares"]
    assert [(row["threshold"], row["exception"]) for row in shares] == [(0.05, False), (0.05, None), (None, None)]
    journeys = _strict(to_json(busy))["journeys"]
    assert [(row["release_s"], row["eta_error_s"]) for row in journeys[2:]] == [(None, None)] * 2


def test_rows_keep_their_order_and_number(thousands: Analysis) -> None:
    document = _strict(to_json(thousands))
    assert [row["id"] for row in document["operations"]] == thousands.operations["id"].tolist()
    assert len(document["waits"]) == len(thousands.waits)


def test_what_was_recorded_comes_through_unchanged(hostile: Analysis) -> None:
    document = _strict(to_json(hostile))
    assert document["waits"][0]["raw"] == "<script>alert(1)</script>\x1b[2J\u202e\"'&{{7*7}}]]>"
