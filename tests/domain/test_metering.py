"""Intervals derived from a log, and what of them is billed or counts for the SLA: without a database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain import metering
from lifecycle.domain.metering import Billed, Change, Metered, Shape, Span, add_up, billed, compare, derive, seconds
from lifecycle.domain.states import State

NOON = datetime(2028, 2, 28, 12, tzinfo=UTC)  # the day before a leap day
SHAPE = Shape("tiny-1", vcpus=2, memory_mib=512, disk_gib=10)


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def log(*rows: tuple[State | None, float]) -> list[Change[State]]:
    """Rows of a log, numbered from 1: state and minute."""
    return [Change(number, state, at(minute)) for number, (state, minute) in enumerate(rows, 1)]


# -- from the log --------------------------------------------------------------------------------


def test_no_log_no_interval() -> None:
    assert derive([]) == []


def test_each_row_ends_an_interval_and_begins_the_next() -> None:
    spans = derive(log((State.PROVISIONING, 0), (State.STAGING, 1), (State.RUNNING, 3)))
    assert spans == [
        Span(1, State.PROVISIONING, at(0), at(1)),
        Span(2, State.STAGING, at(1), at(3)),
        Span(3, State.RUNNING, at(3), None),
    ]


def test_a_vm_that_is_gone_has_no_interval_that_lasts() -> None:
    assert derive(log((State.PROVISIONING, 0), (None, 5))) == [Span(1, State.PROVISIONING, at(0), at(5))]


def test_what_happened_in_one_instant_has_no_length() -> None:
    spans = derive(log((State.RUNNING, 0), (State.STOPPING, 7), (State.TERMINATED, 7)))
    assert spans[1] == Span(2, State.STOPPING, at(7), at(7))


def test_a_row_that_claims_an_earlier_time_occurred_with_the_row_before() -> None:
    spans = derive(log((State.RUNNING, 10), (State.STOPPING, 3), (State.TERMINATED, 8), (State.PROVISIONING, 12)))
    assert [(span.started_at, span.ended_at) for span in spans] == [
        (at(10), at(10)),
        (at(10), at(10)),
        (at(10), at(12)),
        (at(12), None),
    ]


@given(st.lists(st.tuples(st.sampled_from(State), st.integers(-(10**13), 10**13)), min_size=1), st.booleans())
def test_intervals_never_overlap_and_leave_no_gap(rows: list[tuple[State, int]], gone: bool) -> None:
    """Whatever the clocks said (microseconds, up to four months back and forth)."""
    changes = [
        Change(number, state, NOON + timedelta(microseconds=moment)) for number, (state, moment) in enumerate(rows, 1)
    ]
    if gone:
        changes.append(Change(len(rows) + 1, None, changes[-1].occurred_at))
    spans = derive(changes)
    assert [span.state for span in spans] == [state for state, _moment in rows]
    assert all(before.ended_at == after.started_at for before, after in pairwise(spans))
    ends = [span.ended_at or max(change.occurred_at for change in changes) for span in spans]
    assert all(span.started_at <= end for span, end in zip(spans, ends, strict=True))
    assert (spans[-1].ended_at is not None) == gone
    lived = ends[-1] - changes[0].occurred_at
    assert sum((end - span.started_at for span, end in zip(spans, ends, strict=True)), timedelta()) == lived


def test_what_differs_is_told_in_words() -> None:
    derived = derive(log((State.RUNNING, 0), (State.STOPPING, 7), (State.TERMINATED, 8)))
    longer = Span(1, State.RUNNING, at(0), at(8))
    surplus = Span(9, State.RUNNING, at(9), None)
    found = compare(derived, [longer, derived[2], surplus])
    assert [each.opened_by for each in found] == [1, 2, 9]
    told = [str(each) for each in found]
    assert "recorded RUNNING" in told[0]
    assert "12:08" in told[0]
    assert "12:07" in told[0]
    assert "missing: STOPPING" in told[1]
    assert "not in the log: RUNNING" in told[2]
    assert "to now" in told[2]


def test_what_agrees_is_no_difference() -> None:
    derived = derive(log((State.RUNNING, 0), (State.STOPPING, 7)))
    assert compare(derived, reversed(derived)) == []


# -- what is billed ------------------------------------------------------------------------------

#: LIFECYCLE.md's columns by hand: vCPU, memory, memory at the storage rate, disk.
BILLS = {
    State.PROVISIONING: (0, 0, 0, 10),
    State.STAGING: (0, 0, 0, 10),
    State.RUNNING: (2, 512, 0, 10),
    State.STOPPING: (0, 0, 0, 10),
    State.REPAIRING: (0, 0, 0, 0),
    State.TERMINATED: (0, 0, 0, 10),
    State.SUSPENDING: (0, 512, 0, 10),
    State.SUSPENDED: (0, 0, 512, 10),
}


@pytest.mark.parametrize("state", State)
def test_each_state_bills_what_the_specification_says(state: State) -> None:
    assert billed(state, SHAPE, Decimal(1)) == Billed(*(Decimal(amount) for amount in BILLS[state]))


def test_seconds_are_exact_to_the_microsecond() -> None:
    assert seconds(timedelta(days=31, microseconds=1)) == Decimal("2678400.000001")
    assert seconds(timedelta(seconds=-1)) == 0


# -- usage ---------------------------------------------------------------------------------------


def met(state: State, start: float, end: float | None, **more: object) -> Metered:
    return Metered(state, SHAPE, at(start), None if end is None else at(end), **more)  # type: ignore[arg-type]


def sla(usage: metering.Usage) -> tuple[float, float]:
    """Minutes up and down."""
    return float(usage.up / 60), float(usage.down / 60)


def minutes(usage: metering.Usage) -> dict[State, int]:
    """Whole minutes by state, those with none left out."""
    return {state: int(length / 60) for state, length in usage.by_state.items() if length}


def test_usage_is_cut_at_both_ends_of_the_time_asked_for() -> None:
    intervals = [met(State.TERMINATED, 0, 10), met(State.RUNNING, 10, 30), met(State.SUSPENDED, 30, None)]
    usage = add_up(intervals, at(5), at(40))
    assert minutes(usage) == {State.TERMINATED: 5, State.RUNNING: 20, State.SUSPENDED: 10}
    assert usage.total == 35 * 60
    assert usage.billed == Billed(
        vcpu=Decimal(20 * 60 * 2),
        memory=Decimal(20 * 60 * 512),
        suspended_memory=Decimal(10 * 60 * 512),
        disk=Decimal(35 * 60 * 10),
    )


def test_what_lies_outside_of_the_time_counts_nothing() -> None:
    assert add_up([met(State.RUNNING, 0, 10), met(State.RUNNING, 60, None)], at(20), at(50)).total == 0


def test_a_leap_day_has_its_24_hours() -> None:
    march = datetime(2028, 3, 1, tzinfo=UTC)
    assert add_up([met(State.RUNNING, 0, None)], NOON, march).total == 36 * 3600


def test_repair_is_metered_and_unbilled() -> None:
    usage = add_up([met(State.REPAIRING, 0, 12)], at(0), at(60))
    assert usage.unbilled_repair == 12 * 60
    assert usage.billed == Billed()


def test_repair_is_in_neither_part_of_the_sla() -> None:
    usage = add_up(
        [met(State.RUNNING, 0, 50), met(State.REPAIRING, 50, 70, broke_in=State.RUNNING, noticed_at=at(50))],
        at(0),
        at(100),
    )
    assert sla(usage) == (50, 0)
    assert usage.availability == 1


def test_from_the_last_proof_of_life_until_repair_it_was_down() -> None:
    repairing = met(State.REPAIRING, 90, 120, broke_in=State.RUNNING, noticed_at=at(100))
    usage = add_up([met(State.RUNNING, 0, 90), repairing], at(0), at(120))
    assert sla(usage) == (90, 10)
    assert usage.availability == Decimal("0.9")


def test_a_repair_that_was_over_before_it_was_recorded_was_down_for_its_length() -> None:
    usage = add_up([met(State.REPAIRING, 0, 3, broke_in=State.RUNNING, noticed_at=at(10))], at(0), at(60))
    assert usage.down == 3 * 60


@pytest.mark.parametrize("state", [State.STAGING, State.STOPPING, State.SUSPENDING])
def test_what_broke_outside_of_the_sla_was_not_down(state: State) -> None:
    usage = add_up([met(State.REPAIRING, 0, 30, broke_in=state, noticed_at=at(10))], at(0), at(60))
    assert sla(usage) == (0, 0)
    assert usage.availability is None


def test_terminated_by_a_failure_is_down_and_by_its_user_is_not() -> None:
    stopped = add_up([met(State.TERMINATED, 0, 30)], at(0), at(60))
    failed = add_up([met(State.TERMINATED, 0, 30, by_failure=True)], at(0), at(60))
    assert (sla(stopped), sla(failed)) == ((0, 0), (0, 30))


def test_downtime_in_announced_maintenance_counts_for_neither() -> None:
    """Windows before, over its beginning, within, over each other, over its end, and after."""
    minutes = [(-20, -10), (-5, 5), (10, 20), (15, 25), (12, 13), (55, 90), (95, 99)]
    windows = tuple(sorted((at(begin), at(end)) for begin, end in minutes))
    failed = met(State.TERMINATED, 0, 60, by_failure=True, excused=windows)
    silent = met(State.REPAIRING, 0, 30, broke_in=State.RUNNING, noticed_at=at(12), excused=windows)
    assert sla(add_up([failed], at(0), at(100))) == (0, 60 - 5 - 15 - 5)
    assert sla(add_up([silent], at(0), at(100))) == (0, 12 - 5 - 2)
    assert sla(add_up([met(State.TERMINATED, 0, 60, excused=windows)], at(0), at(100))) == (0, 0)
    assert sla(add_up([met(State.RUNNING, 0, 60, excused=windows)], at(0), at(100))) == (60, 0)


def test_a_clock_set_back_between_proof_and_record_takes_nothing_off() -> None:
    assert add_up([met(State.REPAIRING, 10, 30, broke_in=State.RUNNING, noticed_at=at(5))], at(0), at(60)).down == 0
