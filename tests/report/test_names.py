"""Short names of operations name exactly one."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.measures.analysis import Analysis
from polltape.report.names import find_operation, shell_paths, short_ids

names = st.lists(st.text("ab", min_size=1, max_size=14), unique=True, max_size=12)


def _with_ids(analysis: Analysis, ids: list[str]) -> Analysis:
    return replace(analysis, operations=pd.DataFrame({"id": ids}, dtype="string"))


@given(names)
def test_every_short_name_finds_its_operation(small_ids: list[str]) -> None:
    analysis = _with_ids(EMPTY, [f"shopify-checkout:{name}" for name in small_ids])
    for operation, short in short_ids(analysis).items():
        assert find_operation(analysis, short) == operation


def test_one_exchange_in_two_operations_keeps_the_protocol() -> None:
    analysis = _with_ids(EMPTY, ["a:same-exchange", "b:same-exchange", "a:other-exchange"])
    assert short_ids(analysis) == {
        "a:same-exchange": "a:same-exchange",
        "b:same-exchange": "b:same-exchange",
        "a:other-exchange": "other-ex",
    }


@pytest.mark.parametrize(
    ("sources", "shown"), [(("a b.har",), "'a b.har'"), (("captures",), "captures"), (("a", "b"), "PATH")]
)
def test_sources_as_shell_argument(sources: tuple[str, ...], shown: str) -> None:
    assert shell_paths(replace(EMPTY, sources=sources)) == shown


EMPTY = Analysis(
    exchanges=0,
    skipped=0,
    from_us=None,
    to_us=None,
    sources=("captures",),
    warnings=(),
    coverage=(),
    **dict.fromkeys(
        ("statuses", "operations", "durations", "waits", "compliance", "findings", "timeline"), pd.DataFrame()
    ),
)
