"""Counters become rates, samples become summaries: over restarts, resets, gaps, and in any order."""

import math
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.usage import (
    LONGEST,
    SERIES,
    UNKNOWN,
    Counters,
    Summary,
    Values,
    add,
    begin_of,
    merge,
    pack_sample,
    rates,
    summary_of,
    total,
    unpack,
    unpack_samples,
)

counts = st.integers(0, 2**53)
seconds = st.floats(0.5, LONGEST)
numbers = st.floats(0, 1e6, width=32)
samples = st.tuples(*[st.one_of(numbers, st.just(math.nan)) for _ in SERIES])


def same(one: Values, other: Values) -> bool:
    """Equal, where unknown equals unknown, to the precision of what is stored."""
    return all(
        (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5)
        for a, b in zip(one, other, strict=True)
    )


@given(counts, st.integers(0, 10**12), seconds)
def test_a_rate_times_its_time_is_what_was_counted(before: int, more: int, took: float) -> None:
    found = rates(Counters(0.0, 1, net_in=before), Counters(took, 1, net_in=before + more))
    assert found is not None
    assert math.isclose(found[SERIES.index("net_in")] * took, more, rel_tol=1e-9)


def test_a_busy_core_is_one() -> None:
    found = rates(Counters(5.0, 1, cpu_ns=10**9), Counters(15.0, 1, cpu_ns=11 * 10**9, memory_mib=64.0))
    assert found is not None
    assert found[:2] == (1.0, 64.0)


@given(counts, counts, seconds)
def test_no_rate_is_negative_and_a_counter_that_fell_is_unknown(before: int, after: int, took: float) -> None:
    found = rates(Counters(0.0, 1, disk_read=before, cpu_ns=0), Counters(took, 1, disk_read=after, cpu_ns=5))
    assert found is not None
    value = found[SERIES.index("disk_read")]
    assert math.isnan(value) if after < before else value >= 0
    assert found[0] > 0, "another counter is not harmed"


@given(counts, counts)
def test_another_run_has_no_rate_even_if_its_counters_are_higher(before: int, after: int) -> None:
    assert rates(Counters(0.0, 1, cpu_ns=before), Counters(10.0, 2, cpu_ns=after)) is None


@pytest.mark.parametrize("took", [0.0, -1.0, LONGEST + 0.1, 1e9])
def test_no_time_or_too_much_of_it_has_no_rate(took: float) -> None:
    assert rates(Counters(0.0, 1, cpu_ns=0), Counters(took, 1, cpu_ns=10)) is None


def test_a_first_look_has_no_rate() -> None:
    assert rates(None, Counters(0.0, 1, cpu_ns=10)) is None


@given(st.lists(samples, min_size=1, max_size=20), st.integers(0, 20))
def test_summaries_of_parts_merge_to_the_summary_of_all(found: list[Values], cut: int) -> None:
    """What a process wrote before it lost its lease, and what the next one adds."""
    whole = reduce(merge, map(summary_of, found))
    first, second = found[:cut], found[cut:]
    parts = [reduce(merge, map(summary_of, part)) for part in (first, second) if part]
    together = reduce(merge, parts)
    assert together.counts == whole.counts
    assert same(together.low, whole.low)
    assert same(together.high, whole.high)
    assert same(together.mean, whole.mean)


@given(st.lists(samples, min_size=1, max_size=20))
def test_a_summary_is_lowest_mean_and_highest_of_what_is_known(found: list[Values]) -> None:
    summary = reduce(merge, map(summary_of, found))
    for index in range(len(SERIES)):
        known = [values[index] for values in found if not math.isnan(values[index])]
        assert summary.counts[index] == len(known)
        if not known:
            assert math.isnan(summary.mean[index])
        else:
            assert summary.low[index] == min(known)
            assert summary.high[index] == max(known)
            assert math.isclose(summary.mean[index], sum(known) / len(known), rel_tol=1e-9, abs_tol=1e-9)


@given(st.lists(samples, min_size=1, max_size=9))
def test_a_summary_survives_its_84_bytes(found: list[Values]) -> None:
    summary = reduce(merge, map(summary_of, found))
    packed = summary.pack()
    back = unpack(packed)
    assert len(packed) == 84
    assert back.counts == summary.counts
    assert same(back.low, summary.low)
    assert same(back.mean, summary.mean)
    assert same(back.high, summary.high)


def test_a_sum_is_of_what_is_known() -> None:
    one = (1.0, math.nan, 2.0, math.nan, 0.0, 5.0)
    other = (1.5, 8.0, math.nan, math.nan, 0.0, 5.0)
    assert same(total([one, other]), (2.5, 8.0, 2.0, math.nan, 0.0, 10.0))
    assert same(total([]), UNKNOWN)


def test_the_sum_of_two_hosts_is_bounded_by_their_lowest_and_highest() -> None:
    flat: Values = (1.0,) * 6
    swinging = Summary((0.0,) * 6, (1.0,) * 6, (3.0,) * 6, (30,) * 6)
    found = add([summary_of(flat), swinging])
    assert (found.low[0], found.mean[0], found.high[0], found.counts[0]) == (1.0, 2.0, 4.0, 30)


@given(st.floats(0, 4e9), st.sampled_from([300, 3600]))
def test_a_span_begins_at_a_multiple_of_its_length(at: float, length: int) -> None:
    begin = begin_of(at, length)
    assert begin % length == 0
    assert begin <= at < begin + length


def test_a_ring_tells_what_is_recent_in_order_and_ignores_empty_slots() -> None:
    values: Values = (1.0, 2.0, 3.0, 4.0, 5.0, math.nan)
    ring = pack_sample(2000, values) + bytes(28) + pack_sample(900, values) + pack_sample(1990, values) + b"cut"
    found = unpack_samples(ring, since=1000)
    assert [at for at, _values in found] == [1990, 2000]
    assert same(found[0][1], values)
