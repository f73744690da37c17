"""Many findings at once read as each of them would alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polltape.measures.drafts import Draft, drafted, in_seconds, together
from polltape.measures.words import seconds
from polltape.operations.columns import NONE, joined

TIMES = st.one_of(
    st.integers(-(10**6), 10**9).map(lambda us: us / 1e6),
    st.integers(0, 10**5).map(lambda half: half / 2000),
    st.sampled_from([0.0, 0.00945, 0.0095, 9.9995, 9.99949, 99.995, 100.0, 599.95, 600.0, 600.5, 3599.5, 86399.5]),
    st.floats(-1e9, 1e9),
)


@settings(deadline=None)
@given(st.lists(TIMES, max_size=50))
def test_durations_read_as_they_do_one_by_one(values: list[float]) -> None:
    assert in_seconds(values).to_pylist() == [seconds(value) for value in values]


def test_columns_and_single_drafts_come_together() -> None:
    columns = (np.array(each) for each in ([NONE, 0], [1, 2], [3, 4]))
    several = drafted("RA001", joined("after ", in_seconds([1.0, 2.5])), *columns)
    alone = Draft("OP001", "still pending", 1, [7, 8, 9])
    rows = [tuple(row.values()) for row in together([alone, several]).to_pylist()]
    assert rows == [
        ("RA001", "after 1 s", None, [1, 3]),
        ("RA001", "after 2.5 s", 0, [2, 4]),
        ("OP001", "still pending", 1, [7, 8, 9]),
    ]


def test_nothing_is_a_table_as_well() -> None:
    assert len(together([])) == 0
