"""Due times: one a chosen day, whatever the clocks on the wall do."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.schedules import ACTIONS, BOUND, REACHED, Rule, check_action, check_days, is_missed
from lifecycle.domain.states import State
from lifecycle.domain.transitions import TABLE, Asker, may_start

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))


def rule(at: str, days: frozenset[int] = EVERY_DAY, zone: ZoneInfo = BERLIN) -> Rule:
    return Rule(time.fromisoformat(at), days, zone)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def dues(of: Rule, after: datetime, count: int) -> list[datetime]:
    found = []
    for _number in range(count):
        after = of.next_due(after)
        found.append(after)
    return found


def test_it_follows_the_wall_through_summer_time() -> None:
    found = dues(rule("08:00"), utc("2026-03-27T12:00"), 3)  # the clock is put forward on the 29th
    assert found == [utc("2026-03-28T07:00"), utc("2026-03-29T06:00"), utc("2026-03-30T06:00")]


def test_a_time_that_the_clock_skips_is_due_when_it_has() -> None:
    found = dues(rule("02:30"), utc("2026-03-28T12:00"), 2)
    assert found == [utc("2026-03-29T01:30"), utc("2026-03-30T00:30")]  # 03:30 there, and 02:30


def test_a_time_that_the_clock_shows_twice_is_due_once() -> None:
    found = dues(rule("02:30"), utc("2026-10-24T12:00"), 2)
    assert found == [utc("2026-10-25T00:30"), utc("2026-10-26T01:30")]


def test_only_on_its_days_over_a_weekend() -> None:
    working = rule("19:00", frozenset(range(5)), ZoneInfo("UTC"))
    assert working.next_due(utc("2026-11-27T19:00")) == utc("2026-11-30T19:00")  # from a Friday to Monday


def test_a_day_that_does_not_exist_is_no_second_due_time() -> None:
    """Samoa had no 30 December 2011."""
    found = dues(rule("08:00", EVERY_DAY, ZoneInfo("Pacific/Apia")), utc("2011-12-29T00:00"), 3)
    assert len(set(found)) == 3
    assert all(later - before >= timedelta(hours=23) for before, later in pairwise(found))


@given(
    st.integers(1_420_000_000, 2_050_000_000),
    st.times(),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]),
)
def test_each_chosen_day_has_one_due_time(after: int, at: time, days: frozenset[int], zone: str) -> None:
    mine = Rule(at, days, ZoneInfo(zone))
    start = datetime.fromtimestamp(after, UTC)
    found = dues(mine, start, 30)
    assert found == sorted(set(found))
    assert found[0] > start
    expected = sorted(
        due
        for number in range(-2, 230)
        if (day := date.fromordinal(start.date().toordinal() + number)).weekday() in days
        and (due := datetime.combine(day, at, tzinfo=ZoneInfo(zone)).astimezone(UTC)) > start
    )
    assert found == expected[:30]


@pytest.mark.parametrize("days", [[], [7], [-1]])
def test_days_are_days_of_the_week(days: list[int]) -> None:
    with pytest.raises(InvalidInput):
        check_days(days)


@pytest.mark.parametrize("action", ["", "delete", "suspend", "START"])
def test_schedules_start_and_stop(action: str) -> None:
    with pytest.raises(InvalidInput):
        check_action(action)


def test_the_table_lets_schedules_ask_and_each_state_has_an_answer() -> None:
    for action in ACTIONS:
        assert Asker.SCHEDULE in TABLE[action].asked_by
        for state in State:
            neither = state in REACHED[action] or may_start(action, state)
            assert neither or state in {State.SUSPENDED, State.SUSPENDING, State.STOPPING}


def test_a_time_is_missed_after_its_bound() -> None:
    due = utc("2026-01-01T00:00")
    assert not is_missed(due, due + BOUND)
    assert is_missed(due, due + BOUND + timedelta(seconds=1))
