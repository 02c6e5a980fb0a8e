"""Schedules of VMs: written by people, taken by whoever looks first, each due time once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction
from django.utils import timezone

from lifecycle.domain.errors import DomainError, InvalidInput, NotFound, OperationInProgress
from lifecycle.domain.schedules import REACHED, WORKING_DAYS, Rule, check_action, check_days, is_missed
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Operation, Project, Schedule, ScheduleRun, User
from lifecycle.services import audit, notifications, prices, vms
from lifecycle.services.access import authorise
from lifecycle.services.db import lock_project, service

Outcome = ScheduleRun.Outcome
SCHEDULES_MOST: Final = 20
#: What the one click on a hint makes: nights and weekends off.
OFFICE_START, OFFICE_STOP = time(8), time(19)
#: Outcomes that somebody has to know of.
_TOLD: Final = frozenset({Outcome.MISSED, Outcome.REFUSED})


@dataclass(frozen=True, slots=True)
class Wish:
    """A schedule as a person writes it. Days: 0 is Monday."""

    action: str
    at: time
    days: tuple[int, ...]
    time_zone: str


# -- written by people ---------------------------------------------------------------------------


@service
def add(vm: VM, wish: Wish, *, user: User) -> Schedule:
    """Add one to the VM.

    Raises:
        NotFound, Forbidden: by the user's role. InvalidInput: nothing was written.
    """
    project = _changeable(vm, user)
    action, days = check_action(wish.action), check_days(wish.days)
    zone = prices.check_time_zone(wish.time_zone)
    if Schedule.objects.filter(vm=vm).count() >= SCHEDULES_MOST:
        raise InvalidInput("A VM has at most %(most)s schedules.", most=SCHEDULES_MOST)
    at = wish.at.replace(second=0, microsecond=0, tzinfo=None)
    row = Schedule(
        vm=vm,
        action=action,
        at=at,
        days="".join(str(day) for day in sorted(days)),
        time_zone=zone,
        next_at=Rule(at, days, ZoneInfo(zone)).next_due(timezone.now()),
        created_by=user,
    )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise InvalidInput("The VM has this schedule already.", field="at") from None
    _record("schedule.add", project, vm, row, user)
    return row


@service
def remove(vm: VM, schedule_id: int, *, user: User) -> Schedule:
    """Forget one; what became of its due times stays. Raises NotFound, Forbidden."""
    project = _changeable(vm, user)
    row = _own(vm, schedule_id)
    _record("schedule.remove", project, vm, row, user)
    row.delete()
    return row


@service
def skip(vm: VM, schedule_id: int, on: bool, *, user: User) -> Schedule:
    """Let the next due time pass, once; or take that back. Raises NotFound, Forbidden."""
    project = _changeable(vm, user)
    row = _own(vm, schedule_id)
    row.skip_next = on
    row.save(update_fields=["skip_next"])
    _record("schedule.skip", project, vm, row, user, on=on)
    return row


@service
def keep_office_hours(vm: VM, *, user: User) -> list[Schedule]:
    """On from eight to seven on working days, in the project's time zone; what of it is there stays."""
    zone = prices.account_of(vm.project).time_zone
    found = []
    for action, at in ((Action.START, OFFICE_START), (Action.STOP, OFFICE_STOP)):
        days = "".join(str(day) for day in sorted(WORKING_DAYS))
        known = Schedule.objects.filter(vm=vm, action=action, at=at, days=days, time_zone=zone).first()
        found.append(known or add(vm, Wish(action, at, tuple(WORKING_DAYS), zone), user=user))
    return found


def _changeable(vm: VM, user: User) -> Project:
    project = lock_project(vm.project_id)
    authorise(project, user, Action.START)
    if not VM.objects.live().filter(pk=vm.pk).exists():
        raise NotFound("The VM %(name)s does not exist any more.", name=vm.name)
    return project


def _own(vm: VM, schedule_id: int) -> Schedule:
    found = Schedule.objects.select_for_update().filter(vm=vm, pk=schedule_id).first()
    if found is None:
        raise NotFound("The VM %(name)s has no such schedule.", name=vm.name)
    return found


def _record(code: str, project: Project, vm: VM, row: Schedule, user: User, **more: Any) -> None:
    details = {"action": row.action, "at": f"{row.at:%H:%M}", "days": row.days, "time_zone": row.time_zone, **more}
    audit.record(code, project=project, user=user, target=vm.name, details=details)


# -- taken by the clock --------------------------------------------------------------------------


def due(now: datetime, limit: int, without: Iterable[int] = ()) -> list[tuple[int, datetime]]:
    """Schedules whose time has come and the time, earliest first."""
    rows = Schedule.objects.filter(next_at__lte=now, vm__deleted_at__isnull=True).exclude(pk__in=list(without))
    return list(rows.order_by("next_at", "pk").values_list("pk", "next_at")[:limit])


@service
def take(schedule_id: int, due_at: datetime, now: datetime) -> ScheduleRun | None:
    """Do what is due at `due_at`, once whoever else tries; None: another did, or it has to wait.

    Record, operation and the next due time are one transaction: a crash does nothing twice and forgets nothing.
    """
    project_id = Schedule.objects.filter(pk=schedule_id).values_list("vm__project_id", flat=True).first()
    if project_id is None:
        return None
    lock_project(project_id)
    row = Schedule.objects.select_related("vm__project").filter(pk=schedule_id, next_at=due_at).first()
    if row is None:
        return None
    try:
        outcome, operation, error = _done(row, now)
    except OperationInProgress:  # it waits for what is under way, within its bound
        return None
    following = row.rule.next_due(due_at)
    if not Schedule.objects.filter(pk=row.pk, next_at=due_at).update(next_at=following, skip_next=False):
        return None
    run = ScheduleRun.objects.create(
        vm=row.vm,
        schedule=row,
        action=row.action,
        due_at=due_at,
        at=now,
        outcome=outcome,
        operation=operation,
        error=error,
    )
    if outcome in _TOLD:
        notifications.schedule_failed(row.vm, row.action, due_at.astimezone(row.zone))
    return run


def _done(row: Schedule, now: datetime) -> tuple[ScheduleRun.Outcome, Operation | None, dict[str, Any] | None]:
    action = Action(row.action)
    if row.skip_next:
        return Outcome.SKIPPED, None, None
    if is_missed(row.next_at, now):
        return Outcome.MISSED, None, None
    if row.vm.lifecycle_state in REACHED[action]:
        return Outcome.NOTHING, None, None
    try:
        with transaction.atomic():
            return Outcome.ASKED, vms.request_action(row.vm, action, user=None, asked_by=Asker.SCHEDULE), None
    except OperationInProgress:
        raise
    except DomainError as error:
        return Outcome.REFUSED, None, error.as_dict()
