"""Scales of charts: round, equal steps that hold everything and little more."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.axes import ticks

D = Decimal


@pytest.mark.parametrize(
    ("most", "found"),
    [
        ("4", ["0", "1", "2", "3", "4"]),
        ("4.01", ["0", "2", "4", "6"]),
        ("100", ["0", "25", "50", "75", "100"]),
        ("0.07", ["0", "0.02", "0.04", "0.06", "0.08"]),
        ("31500", ["0", "10000", "20000", "30000", "40000"]),
        ("0", ["0", "0.25", "0.50", "0.75", "1"]),
        ("-3", ["0", "0.25", "0.50", "0.75", "1"]),
    ],
)
def test_a_scale_is_round(most: str, found: list[str]) -> None:
    assert ticks(D(most)) == [D(each) for each in found]


@given(st.decimals(D("0.01"), D("1e12"), places=2), st.integers(2, 8))
def test_a_scale_holds_what_it_is_for(most: Decimal, steps: int) -> None:
    found = ticks(most, steps)
    assert found[0] == 0
    assert found[-2] < most <= found[-1]
    assert len(found) <= steps + 1
    assert len({after - before for before, after in pairwise(found)}) == 1
