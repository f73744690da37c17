"""Groups of rows, against pandas' own."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polltape.measures.groups import grouped

ROWS = st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.none() | st.sampled_from("xy"), st.integers(0, 2)))


@pytest.mark.parametrize("coded", [True, False])
@given(rows=ROWS, by=st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, unique=True))
def test_rows_are_grouped_as_pandas_does(
    rows: list[tuple[str | None, str | None, int]], by: list[str], coded: bool
) -> None:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(("one", "two", "three"))}
    table = pd.DataFrame({"one": pd.Series(columns["one"], dtype="str"), "two": pd.Series(columns["two"], dtype="str")})
    table = table.astype({"one": "category"} if coded else {}).assign(three=pd.Series(columns["three"], dtype="Int64"))
    table.index = table.index + 5  # of which nothing depends
    number, names = grouped(table, by)
    known = table.astype("str").assign(three=columns["three"]).groupby(by, dropna=False, sort=True)
    assert number.tolist() == known.ngroup().tolist()
    wanted = known.head(1).sort_values(by, na_position="last")[by]
    assert names.astype("str").fillna("-").to_numpy().tolist() == wanted.astype("str").fillna("-").to_numpy().tolist()
