"""Rounds: one process's at a time, put off by their turns and pauses, and by no clock that was set back since."""

from datetime import UTC, datetime

import pytest
import time_machine

from lifecycle.services import rounds

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


def is_due(*, seconds: float = 300.0, pause_seconds: float = 0.0) -> bool:
    """Whether a turn can be had; it ends at once."""
    with rounds.turn("tea", seconds=seconds, pause_seconds=pause_seconds) as mine:
        return mine is not None


def test_a_turn_is_one_processs_until_it_ends_or_is_lost() -> None:
    with time_machine.travel(NOON, tick=False) as clock, rounds.turn("tea", seconds=300) as mine:
        assert mine is not None
        assert not is_due()
        clock.shift(299)
        assert not is_due()
        clock.shift(1)
        assert is_due()


def test_a_round_is_due_again_after_its_pause() -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        assert is_due(pause_seconds=60)
        clock.shift(59)
        assert not is_due(pause_seconds=60)
        clock.shift(1)
        assert is_due(pause_seconds=60)


def test_what_a_turn_remembers_is_there_for_the_next_unless_it_was_lost() -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        with rounds.turn("tea", seconds=300) as mine:
            assert mine is not None
            mine.memory["cups"] = 1
        with rounds.turn("tea", seconds=300) as late:
            assert late is not None
            assert late.memory == {"cups": 1}
            late.memory["cups"] = 7
            clock.shift(301)
            with rounds.turn("tea", seconds=300) as other:
                assert other is not None
                other.memory["cups"] = 2
        with rounds.turn("tea", seconds=300) as last:
            assert last is not None
            assert last.memory == {"cups": 2}


@pytest.mark.parametrize(("set_back_seconds", "due"), [(30, False), (300, False), (3600, True), (10**7, True)])
def test_a_clock_that_is_set_back_puts_no_round_off_for_longer_than_a_turn(set_back_seconds: float, due: bool) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        assert is_due(seconds=300, pause_seconds=5)
        clock.shift(-set_back_seconds)
        assert is_due(seconds=300, pause_seconds=5) is due


def test_clocks_of_machines_may_differ_by_a_minute() -> None:
    with time_machine.travel(NOON, tick=False) as clock, rounds.turn("tea", seconds=300) as mine:
        assert mine is not None
        clock.shift(-59)
        assert not is_due()
