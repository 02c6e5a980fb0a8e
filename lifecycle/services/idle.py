"""Hints of idle VMs: looked for by a timer in the hours of usage that are kept, and acted on by people."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from lifecycle.domain import idle
from lifecycle.domain.errors import NotFound
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.domain.usage import HOUR, Summary
from lifecycle.models import VM, IdleHint, Project, User, VMUsage
from lifecycle.services import audit
from lifecycle.services.access import authorise
from lifecycle.services.db import lock_project, service

BATCH: Final = 200  # VMs, each with three days of hours


def look(now: datetime) -> int:
    """Look at all VMs that have been running for days; returns how many are idle. Some are in memory at a time."""
    since = now - timedelta(hours=idle.HOURS)
    running = VM.objects.live().filter(state=State.RUNNING, state_since__lte=since).order_by("pk")
    ids = list(running.values_list("pk", flat=True))
    found = sum(_look_at(ids[start : start + BATCH], since, now) for start in range(0, len(ids), BATCH))
    IdleHint.objects.exclude(vm__in=running.values("pk")).delete()
    return found


@service
def _look_at(ids: Collection[UUID], since: datetime, now: datetime) -> int:
    hours: dict[UUID, list[Summary]] = defaultdict(list)
    rows = VMUsage.objects.filter(vm__in=ids, length=HOUR, begin__gte=since.timestamp() - HOUR)
    for row in rows.iterator():
        hours[row.vm_id].append(row.summary)
    vcpus = dict(VM.objects.filter(pk__in=ids).values_list("pk", "vcpus"))
    judged = {vm_id: idle.judge(hours[vm_id], vcpus[vm_id]) for vm_id in vcpus}
    known = {hint.vm_id: hint for hint in IdleHint.objects.filter(vm__in=ids)}
    IdleHint.objects.filter(vm__in=[vm_id for vm_id, verdict in judged.items() if verdict is None]).delete()
    found = 0
    for vm_id, verdict in judged.items():
        if verdict is None:
            continue
        found += 1
        values = {"cpu_percent": verdict.cpu * 100, "network": verdict.network, "looked_at": now}
        if vm_id in known:
            IdleHint.objects.filter(vm=vm_id).update(**values)
        else:
            IdleHint.objects.create(vm_id=vm_id, since=since, **values)
    return found


def hints(project: Project) -> QuerySet[IdleHint]:
    """The project's hints that nobody has dismissed, idle longest first."""
    rows = IdleHint.objects.filter(vm__project=project, dismissed_at__isnull=True, vm__deleted_at__isnull=True)
    return rows.filter(vm__state=State.RUNNING).select_related("vm").order_by("since", "vm__name")


@service
def dismiss(vm: VM, now: datetime, *, user: User) -> None:
    """The VM is meant to idle: no hint until it was busy. Raises NotFound, Forbidden."""
    project = lock_project(vm.project_id)
    authorise(project, user, Action.START)
    if not IdleHint.objects.filter(vm=vm, dismissed_at__isnull=True).update(dismissed_at=now):
        raise NotFound("There is no hint about %(name)s any more.", name=vm.name)
    audit.record("idle.dismiss", project=project, user=user, target=vm.name)
