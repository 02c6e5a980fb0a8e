"""Times at which a VM is started or stopped, pure: on chosen days of the week, at a time on the wall of a zone.

Each chosen day has one due time. Where the clock is put forward over it, it is due when the clock has been; where the
clock is put back and shows it twice, it is due the first time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action

#: What the table lets a schedule ask for.
ACTIONS: Final = (Action.START, Action.STOP)
#: Monday is 0.
DAYS: Final = range(7)
WORKING_DAYS: Final = frozenset(range(5))
#: Later than this a due time is missed: it is written down and not made up for.
BOUND: Final = timedelta(minutes=15)
#: States in which what a schedule wants is so, or about to be.
REACHED: Final = {
    Action.START: frozenset({State.PROVISIONING, State.STAGING, State.RUNNING, State.REPAIRING}),
    Action.STOP: frozenset({State.STOPPING, State.TERMINATED, State.SUSPENDED}),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """At `at` of the wall clock in `zone`, on each of `days` (0 is Monday)."""

    at: time
    days: frozenset[int]
    zone: ZoneInfo

    def due_on(self, day: date) -> datetime:
        """The moment, in UTC."""
        return datetime.combine(day, self.at, tzinfo=self.zone).astimezone(UTC)

    def next_due(self, after: datetime) -> datetime:
        """The first due time later than `after`.

        Raises:
            ValueError: the rule has no days.
        """
        # A day early and some late: the clock's jumps can carry a due time over midnight.
        first = after.astimezone(self.zone).date() - timedelta(days=1)
        days = (first + timedelta(days=number) for number in range(11))
        return min(due for day in days if day.weekday() in self.days and (due := self.due_on(day)) > after)


def check_days(days: Iterable[int]) -> frozenset[int]:
    """Days of the week. Raises InvalidInput for none, and for what is none."""
    found = frozenset(days)
    if not found or not found <= set(DAYS):
        raise InvalidInput("Choose at least one day of the week.", field="days")
    return found


def check_action(action: str) -> Action:
    """Start or stop. Raises InvalidInput."""
    if action not in ACTIONS:
        raise InvalidInput("A schedule starts or stops a VM.", field="action")
    return Action(action)


def is_missed(due: datetime, now: datetime) -> bool:
    """Whether it is too late for a due time."""
    return now - due > BOUND
