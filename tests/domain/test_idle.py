"""What looks idle, and what does not."""

import math

import pytest

from lifecycle.domain.idle import HOURS_KNOWN, judge
from lifecycle.domain.usage import Summary, summary_of


def hour(cpu: float = 0.01, net_in: float = 100, net_out: float = 50) -> Summary:
    return summary_of((cpu, 100, 0, 0, net_in, net_out))


def test_hours_of_next_to_nothing_are_idle() -> None:
    found = judge([hour()] * 71 + [hour(cpu=0.08, net_in=500)], 2)
    assert found is not None
    assert (found.cpu, found.network) == (0.04, 550)


@pytest.mark.parametrize("busy", [hour(cpu=0.11), hour(net_in=2000), hour(net_out=1000)])
def test_one_busy_hour_is_enough_not_to_be(busy: Summary) -> None:
    assert judge([hour()] * 71 + [busy], 2) is None


@pytest.mark.parametrize("unknown", [hour(cpu=math.nan), hour(net_in=math.nan)])
def test_what_is_not_known_is_not_idle(unknown: Summary) -> None:
    assert judge([hour()] * HOURS_KNOWN + [unknown] * 20, 1) is not None
    assert judge([hour()] * (HOURS_KNOWN - 1) + [unknown] * 20, 1) is None
    assert judge([], 1) is None
