"""The seams to Ibis and pandas, and work on two cores."""

from __future__ import annotations

from functools import partial
from threading import Barrier

import pytest

from polltape.operations.tables import ahead


def test_work_is_done_two_at_a_time_and_told_in_its_order() -> None:
    together = Barrier(2, timeout=30)

    def piece(number: int) -> int:
        together.wait()  # nobody comes through alone
        return number

    assert list(ahead(partial(piece, number) for number in range(6))) == list(range(6))


def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        list(ahead([lambda: 1, lambda: 1 // 0]))
