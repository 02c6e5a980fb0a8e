"""The product's own periodic tasks: rows of django-celery-beat that may run more often, and never less or not at all.

Operations, reconciling and alerts do not need them: workers sweep and watchers reconcile by themselves. What beat
adds is the second way, and what has days of time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

from lifecycle.domain.alerts import Condition, Kind
from lifecycle.services import alerts
from lifecycle.services.db import service


@dataclass(frozen=True, slots=True)
class Own:
    """A task of the product: its pace at set-up, and the slowest that is allowed, in seconds."""

    task: str
    seconds: int
    most: int


PERIODIC: Final = (
    Own("lifecycle.sweep_operations", 30, 300),
    Own("lifecycle.reconcile_hosts", 60, 300),
    Own("lifecycle.check_hosts", 30, 120),
    Own("lifecycle.check_alerts", 60, 300),
    Own("lifecycle.check_metering", 900, 6 * 3600),
    Own("lifecycle.bill", 3600, 24 * 3600),
    Own("lifecycle.check_budgets", 300, 3600),
    Own("lifecycle.sum_up_revenue", 3600, 24 * 3600),
    Own("lifecycle.run_schedules", 30, 120),
    Own("lifecycle.look_for_idle", 3600, 24 * 3600),
    Own("lifecycle.expire_suspended", 3600, 24 * 3600),
    Own("lifecycle.verify_images", 900, 6 * 3600),
    Own("lifecycle.sum_up_usage", 600, 3600),
    Own("lifecycle.forget_old_rows", 3600, 24 * 3600),
)
OWN: Final = {own.task: own for own in PERIODIC}
QUEUE: Final = "periodic"

#: The columns of a product's task that must be so; others of them would send it nowhere, late or never.
_FIXED: Final[dict[str, Any]] = {
    "enabled": True,
    "crontab": None,
    "solar": None,
    "clocked": None,
    "one_off": False,
    "args": "[]",
    "kwargs": "{}",
    "queue": QUEUE,
    "exchange": None,
    "routing_key": None,
    "headers": "{}",
    "start_time": None,
    "expires": None,
    "expire_seconds": None,
}


def seconds_of(interval: IntervalSchedule) -> float:
    """The length of an interval."""
    return timedelta(**{interval.period: interval.every}).total_seconds()


def own_of(task: PeriodicTask) -> Own | None:
    """The product's task that the row is; None for a row that people added."""
    return OWN.get(task.name)


def too_slow(own: Own, interval: IntervalSchedule | None) -> bool:
    """Whether the interval is longer than the task may have, or there is none."""
    return interval is None or seconds_of(interval) > own.most


def slowed_by(interval: IntervalSchedule, seconds: float | None = None) -> list[Own]:
    """The product's tasks that would be too slow if the interval became `seconds` long (None: went away)."""
    found = [own for task in PeriodicTask.objects.filter(interval=interval) if (own := own_of(task))]
    return [own for own in found if seconds is None or seconds > own.most]


@service
def put_right(*, report_missing: bool) -> list[str]:
    """Make every task of the product run, within its bound; returns and reports those that did not.

    Args:
        report_missing: a task that is not there was deleted; else it is new with this version.
    """
    missing, changed = _missing_and_changed()
    for own in missing:
        PeriodicTask.objects.create(name=own.task, task=own.task, interval=_interval(own.seconds), **_FIXED)
    for own, task in changed:
        changes = {"task": own.task, **_FIXED}
        if too_slow(own, task.interval):
            changes["interval"] = _interval(own.seconds)
        PeriodicTask.objects.filter(pk=task.pk).update(**changes, date_changed=timezone.now())
    if changed:
        PeriodicTasks.update_changed()
    return _report([*(own for own, _task in changed), *(missing if report_missing else [])])


def wrong() -> bool:
    """Whether a task of the product is missing or not as it must be: one query, nothing locked."""
    return any(_missing_and_changed())


def _missing_and_changed() -> tuple[list[Own], list[tuple[Own, PeriodicTask]]]:
    known = {t.name: t for t in PeriodicTask.objects.filter(name__in=OWN).select_related("interval")}
    missing = [own for own in PERIODIC if own.task not in known]
    found = [(own, known[own.task]) for own in PERIODIC if own.task in known]
    return missing, [(own, task) for own, task in found if _is_wrong(own, task)]


def _is_wrong(own: Own, task: PeriodicTask) -> bool:
    changed = any((getattr(task, name) or None) != (value or None) for name, value in _FIXED.items())
    return changed or task.task != own.task or too_slow(own, task.interval)


def _interval(seconds: int) -> IntervalSchedule:
    rows = IntervalSchedule.objects.filter(every=seconds, period=IntervalSchedule.SECONDS)
    return rows.first() or IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)


def _report(found: Collection[Own]) -> list[str]:
    names = [own.task for own in found]
    for name in names:
        alerts.report(Condition(Kind.PERIODIC_CHANGED, name, {"task": name}))
    return names
