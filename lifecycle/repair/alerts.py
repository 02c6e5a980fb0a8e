"""The round of alerts: looks at what the database says of everything, and makes the open alerts follow.

No host is asked, and neither Redis nor beat is needed: any worker and any watcher does the round.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Exists, F, Max, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from lifecycle.domain.alerts import (
    CLEANUP_AFTER,
    COLLECTED,
    REPAIRING_AFTER,
    UNTOUCHED_AFTER,
    Condition,
    Kind,
    OpenStep,
    beat_silent,
    held,
    overdue,
)
from lifecycle.domain.states import State
from lifecycle.models import VM, Alert, Finding, Host, HostLease, Operation, OperationStep, Repair, Transition
from lifecycle.models.repairs import FLAPPING_REPAIRS, FLAPPING_WINDOW
from lifecycle.repair.hosts import PURPOSE
from lifecycle.repair.periodic import TIMER
from lifecycle.services import alerts, rounds

log = logging.getLogger(__name__)

#: (action, step) -> its deadline in seconds; a step that waits without end is not in it.
Deadlines = Mapping[tuple[str, str], float]

ROUND: Final = "alerts"
ROUND_SECONDS: Final = 10.0
#: Longer than a round takes; when its process dies, another begins after so long.
TURN_SECONDS: Final = 60.0
#: A VM whose repair was given up longer ago is stopped because nobody wants it.
GAVE_UP_WITHIN: Final = timedelta(days=30)
#: States through which a VM comes up again.
_UP_AGAIN: Final = (State.PROVISIONING, State.STAGING, State.RUNNING)


def look(deadlines: Deadlines) -> alerts.Changes | None:
    """Do the round, if it is due and nobody does it. None when it was not ours."""
    with rounds.turn(ROUND, seconds=TURN_SECONDS, pause_seconds=ROUND_SECONDS) as mine:
        if mine is None:
            return None
        now = timezone.now()
        since = {key: datetime.fromisoformat(at) for key, at in mine.memory.items()}
        lasting, seen = held(list(conditions(deadlines, now)), since, now)
        mine.memory = {key: at.isoformat() for key, at in seen.items()}
        changes = alerts.sync(COLLECTED, lasting)
    if changes != alerts.Changes():
        log.info("alerts: %s opened, %s resolved", changes.opened, changes.resolved)
    return changes


def conditions(deadlines: Deadlines, now: datetime) -> Iterator[Condition]:
    """All that holds now; a fixed number of queries, whatever there is."""
    yield from _operations(deadlines, now)
    yield from _vms(now)
    yield from _hosts(now)
    yield from _waiting_on_hosts(now)
    if silent := beat_silent(_last_sent(), now):
        yield silent


# -- operations ----------------------------------------------------------------------------------


def _operations(deadlines: Deadlines, now: datetime) -> Iterator[Condition]:
    steps = OperationStep.objects.filter(index=F("operation__step_index"), operation__step_started_at__isnull=False)
    for step in steps.exclude(operation__status=Operation.Status.DONE).select_related("operation__project"):
        work = step.operation
        assert work.step_started_at is not None  # noqa: S101  # filtered above
        names = (work.target_name, work.project.slug, work.action, step.name)
        at = OpenStep(work.pk, work.vm_id, *names, work.step_started_at, _due_by(work, step.name))
        if found := overdue(at, deadlines.get((work.action, step.name)), now):
            yield found
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now - UNTOUCHED_AFTER)
    waiting = Operation.objects.filter(free, due_at__lt=now - UNTOUCHED_AFTER)
    if waiting.exclude(status=Operation.Status.DONE).exists():
        yield Condition(Kind.UNTOUCHED, "operations")


def _due_by(work: Operation, step: str) -> datetime | None:
    """When the step ought to be over, as it wrote down itself (`Context.expect_end`)."""
    expected = work.data.get("expected", {})
    return datetime.fromisoformat(expected["by"]) if expected.get("step") == step else None


# -- VMs -----------------------------------------------------------------------------------------


def _vms(now: datetime) -> Iterator[Condition]:
    live = VM.objects.live().select_related("project")
    minutes = str(round(REPAIRING_AFTER.total_seconds() / 60))
    for vm in live.filter(state=State.REPAIRING, state_since__lt=now - REPAIRING_AFTER):
        yield _of_vm(Kind.REPAIRING, vm, minutes=minutes)
    lately = Repair.objects.filter(opened_at__gt=now - FLAPPING_WINDOW).order_by().values_list("vm")
    times = dict(lately.annotate(times=Count("pk")).filter(times__gte=FLAPPING_REPAIRS))
    hours = str(round(FLAPPING_WINDOW.total_seconds() / 3600))
    for vm in live.filter(pk__in=list(times)):
        yield _of_vm(Kind.VM_FLAPPING, vm, number=str(times[vm.pk]), hours=hours)
    yield from _given_up(now)


def _given_up(now: datetime) -> Iterator[Condition]:
    """Repairs that were given up, until the VM comes up again, is gone, or somebody has taken note."""
    later = Repair.objects.filter(vm=OuterRef("vm"), opened_at__gt=OuterRef("opened_at"))
    up = Transition.objects.filter(vm=OuterRef("vm"), to_state__in=_UP_AGAIN, recorded_at__gt=OuterRef("closed_at"))
    repairs = (
        Repair.objects.filter(outcome=Repair.Outcome.GAVE_UP, closed_at__gt=now - GAVE_UP_WITHIN)
        .filter(~Exists(later), ~Exists(up), vm__state=State.TERMINATED, vm__deleted_at__isnull=True)
        .select_related("vm__project")
    )
    noted = set(
        Alert.objects.filter(kind=Kind.REPAIR_GAVE_UP, acknowledged_at__isnull=False).values_list("key", flat=True)
    )
    for repair in repairs:
        found = _of_vm(Kind.REPAIR_GAVE_UP, repair.vm, subject=str(repair.pk), why=repair.outcome_text)
        if found.key not in noted:
            yield found


def _of_vm(kind: Kind, vm: VM, *, subject: str = "", **params: str) -> Condition:
    return Condition(kind, subject or str(vm.pk), {"vm": vm.name, "project": vm.project.slug, **params}, vm_id=vm.pk)


# -- hosts ---------------------------------------------------------------------------------------


def _hosts(now: datetime) -> Iterator[Condition]:
    watching = HostLease.objects.filter(host=OuterRef("pk"), purpose=PURPOSE, expires_at__gt=now)
    for host in Host.objects.annotate(watched=Exists(watching.exclude(owner__startswith=TIMER))):
        if host.health == Host.Health.DOWN:
            yield _of_host(Kind.HOST_DOWN, host, reason=host.health_reason)
        if not host.watched:
            yield _of_host(Kind.HOST_UNWATCHED, host)
        if host.kept_out_until and host.kept_out_until > now:
            yield _of_host(Kind.HOST_FLAPPING, host)


def _waiting_on_hosts(now: datetime) -> Iterator[Condition]:
    undecided = Q(findings__closed_at__isnull=True, findings__choice=Finding.Choice.NONE, findings__isnull=False)
    old = Q(cleanups__done_at__isnull=True, cleanups__created_at__lt=now - CLEANUP_AFTER)
    for host in Host.objects.annotate(number=Count("findings", filter=undecided)).filter(number__gt=0):
        yield _of_host(Kind.FINDINGS, host, number=str(host.number))
    for host in Host.objects.annotate(number=Count("cleanups", filter=old)).filter(number__gt=0):
        yield _of_host(Kind.CLEANUP, host, number=str(host.number))


def _of_host(kind: Kind, host: Host, **params: str) -> Condition:
    return Condition(kind, str(host.pk), {"host": host.name, **params}, host_id=host.pk)


# -- beat ----------------------------------------------------------------------------------------


def _last_sent() -> datetime | None:
    """When beat last sent one of the product's tasks; for those that it never sent, when they were written."""
    tasks = PeriodicTask.objects.filter(name__startswith="lifecycle.", enabled=True)
    found: datetime | None = tasks.aggregate(last=Max(Coalesce("last_run_at", "date_changed")))["last"]
    return found
