"""``polltape show``: every operation in a line, or one operation request by request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from polltape.errors import UsageError
from polltape.measures.analysis import Analysis
from polltape.report.timeline import operations, render


def test_operations(small: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("operations.txt", operations(small, width=80))


def test_an_operation_is_listed_with_what_was_found_in_its_exchanges_alone(small: Analysis) -> None:
    """PN001 names an exchange, no operation; who looks for what to put into a bug report finds it here."""
    last = small.operations.iloc[-1]
    found = small.findings.iloc[:1].copy()
    found["code"], found["operation"], found["exchanges"] = "PN001", None, [list(last["exchanges"])[:1]]
    with_it = replace(small, findings=pd.concat([small.findings, found, found], ignore_index=True))
    before, after = (operations(analysis).splitlines() for analysis in (small, with_it))
    (changed,) = (new for old, new in zip(before, after, strict=True) if old != new)
    assert last["id"].partition(":")[2] in changed
    assert changed.count("PN001") == 1


def test_early_poller(small: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("early_poller.txt", render(small, "shopify-checkout:x2-0", width=80))


def test_unended_operation(small: Analysis, golden: Callable[[str, str], None]) -> None:
    golden("unended.txt", render(small, "x4", width=80))


def test_never_polled(small: Analysis) -> None:
    text = render(small, "x3")
    assert "abandoned: never polled" in text
    assert "unanswered  OP003" in text


def test_bar_starts_where_the_request_started(small: Analysis) -> None:
    lines = [line for line in render(small, "x2", width=80).splitlines() if "█" in line][:4]
    starts = [line.index("█") for line in lines]
    assert starts == sorted(starts)
    assert len(set(starts)) == 4


def test_no_operation_is_said(empty: Analysis) -> None:
    assert operations(empty).startswith("no operation: no exchange was answered")


def test_a_long_list_is_cut_and_says_so(thousands: Analysis) -> None:
    text = operations(thousands)
    assert text.count("checkout.update") == 1000
    assert "… and 2000 operations more" in text


def test_unknown_operation_names_the_nearest(small: Analysis) -> None:
    with pytest.raises(UsageError, match="no operation 'x2-9' in captures/shop") as caught:
        render(small, "x2-9")
    assert caught.value.hint == "did you mean x2-0?"


def test_ambiguous_beginning_is_refused(small: Analysis) -> None:
    with pytest.raises(UsageError, match="'x' is the beginning of 4 operations"):
        render(small, "x")


def test_a_truncated_operation_says_what_is_unknown(small: Analysis) -> None:
    table = small.operations.copy()
    table.loc[0, ["truncated", "submitted_us", "accepted_us", "duration_s", "upper_s"]] = [True, None, None, None, None]
    text = render(replace(small, operations=table), "x1")
    assert "truncated: its submit is not in the capture" in text
    assert "submit not in the capture" in operations(replace(small, operations=table))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_width_is_kept(small: Analysis, hostile: Analysis, width: int) -> None:
    texts = [operations(small, width=max(80, width)), render(small, "x4", width=max(80, width))]
    texts += [render(hostile, "x1", width=max(80, width))]
    for text in texts:
        assert max(map(len, text.splitlines())) <= max(80, width)


def test_what_was_recorded_cannot_steer_the_terminal(hostile: Analysis) -> None:
    for text in (operations(hostile), render(hostile, "x1")):
        assert not set(text) & {"\x1b", "\u202e"}
