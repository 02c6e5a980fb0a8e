"""What a project uses, and what it may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import QuotaExceeded
from lifecycle.domain.quotas import Amounts, Holding, check, usage
from lifecycle.domain.states import State
from tests.domain.lifecycle_md import STATE_FACTS

LIMITS = Amounts(vms=10, vcpus=20, memory_mib=4096, disk_gib=100)


@pytest.mark.parametrize("state", list(State))
def test_a_vm_counts_as_its_state_holds(state: State) -> None:
    held = STATE_FACTS[state.value].holds_compute
    expected = Amounts(1, 2 if held else 0, 512 if held else 0, 10)
    assert usage([Holding(state, 2, 512, 10)]) == expected


def test_usage_is_the_sum_of_what_exists() -> None:
    holdings = [Holding(State.RUNNING, 2, 512, 10), Holding(State.TERMINATED, 4, 1024, 20)]
    assert usage(holdings) == Amounts(2, 2, 512, 30)


def test_nothing_uses_nothing() -> None:
    assert usage([]) == Amounts()


@pytest.mark.parametrize("metric", ["vms", "vcpus", "memory_mib", "disk_gib"])
def test_what_reaches_the_limit_exactly_is_allowed(metric: str) -> None:
    limit = getattr(LIMITS, metric)
    check(LIMITS, Amounts(**{metric: limit - 1}), Amounts(**{metric: 1}), "project lab")


@pytest.mark.parametrize("metric", ["vms", "vcpus", "memory_mib", "disk_gib"])
def test_what_goes_over_a_limit_is_refused_with_metric_limit_usage_and_scope(metric: str) -> None:
    limit = getattr(LIMITS, metric)
    with pytest.raises(QuotaExceeded) as refused:
        check(LIMITS, Amounts(**{metric: limit}), Amounts(**{metric: 1}), "project lab")
    assert refused.value.http_status == 403
    assert refused.value.code == "QUOTA_EXCEEDED"
    assert refused.value.params == {
        "metric": metric,
        "limit": limit,
        "usage": limit,
        "requested": 1,
        "scope": "project lab",
    }


def test_a_project_over_its_lowered_quota_may_still_do_what_needs_nothing_more() -> None:
    check(LIMITS, Amounts(vms=99, vcpus=99, memory_mib=99_999, disk_gib=999), Amounts(), "project lab")


amounts = st.builds(Amounts, *[st.integers(0, 50)] * 4)


@given(amounts, amounts, amounts)
def test_what_is_let_through_stays_within_every_limit_it_adds_to(limits: Amounts, used: Amounts, more: Amounts) -> None:
    try:
        check(limits, used, more, "")
    except QuotaExceeded:
        return
    for metric in ("vms", "vcpus", "memory_mib", "disk_gib"):
        wanted = getattr(more, metric)
        assert wanted == 0 or getattr(used, metric) + wanted <= getattr(limits, metric)
