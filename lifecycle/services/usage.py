"""Usage, written down: five minutes at a time as it is collected, hours from those, and dropped when it is old."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import reduce
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from lifecycle.domain.usage import FIVE_MINUTES, HOUR, Summary, begin_of, merge, unpack
from lifecycle.models import VM, HostUsage, Project, VMUsage
from lifecycle.services.db import service

#: Rows of one statement, and of one transaction.
BATCH: Final = 1000
#: How far back hours are summed up, when the round was not done for long.
_HOURS_BACK: Final = 24

#: None stands for the host itself, a number for a project on it.
Place = int | None


@service
def _keep_vms(begin: int, found: Mapping[UUID, Summary]) -> None:
    """Write, or complete, the five minutes of some VMs."""
    known = dict(
        VMUsage.objects.filter(vm__in=list(found), length=FIVE_MINUTES, begin=begin).values_list("vm_id", "packed")
    )
    alive = set(VM.objects.filter(pk__in=list(found)).values_list("pk", flat=True))
    rows = [
        VMUsage(vm_id=vm_id, length=FIVE_MINUTES, begin=begin, packed=_completed(known.get(vm_id), summary))
        for vm_id, summary in found.items()
        if vm_id in alive
    ]
    _upsert(VMUsage, rows, ["vm", "length", "begin"])


@service
def keep_host(host_id: int, begin: int, found: Mapping[Place, Summary]) -> None:
    """Write, or complete, the five minutes of a host and of the projects on it."""
    rows = HostUsage.objects.select_for_update().filter(host=host_id, length=FIVE_MINUTES, begin=begin)
    known = {row.project_id: row for row in rows}
    projects = set(Project.objects.filter(pk__in=[p for p in found if p]).values_list("pk", flat=True))
    new = []
    for place, summary in found.items():
        if row := known.get(place):
            row.packed = _completed(row.packed, summary)
            row.save(update_fields=["packed"])
        elif place is None or place in projects:
            new.append(
                HostUsage(host_id=host_id, project_id=place, length=FIVE_MINUTES, begin=begin, packed=summary.pack())
            )
    HostUsage.objects.bulk_create(new, ignore_conflicts=True)


def keep_vms(begin: int, found: Mapping[UUID, Summary]) -> None:
    """Write, or complete, the five minutes from `begin` (Unix time) of many VMs, a batch a transaction."""
    ids = list(found)
    for start in range(0, len(ids), BATCH):
        _keep_vms(begin, {vm_id: found[vm_id] for vm_id in ids[start : start + BATCH]})


def _completed(known: Any, summary: Summary) -> bytes:
    return summary.pack() if known is None else merge(unpack(bytes(known)), summary).pack()


def _upsert(model: Any, rows: list[Any], unique: list[str]) -> None:
    model.objects.bulk_create(rows, update_conflicts=True, update_fields=["packed"], unique_fields=unique)


# -- hours ---------------------------------------------------------------------------------------


def sum_up_hours(upto: float) -> int:
    """Sum up the whole hours before `upto` (Unix time) that are not summed up; returns how many rows were written.

    An hour that has any row of an hour is done; the last one is done anew, since its last minutes may have come late.
    """
    last = begin_of(upto, HOUR) - HOUR
    newest = VMUsage.objects.filter(length=HOUR).order_by("-begin").values_list("begin", flat=True).first()
    first = max(last - _HOURS_BACK * HOUR, newest or 0)
    return sum(_sum_up_vms(begin) + _sum_up_hosts(begin) for begin in range(first, last + 1, HOUR))


def _sum_up_vms(begin: int) -> int:
    """One hour of all VMs, in batches of VMs."""
    rows = VMUsage.objects.filter(length=FIVE_MINUTES, begin__gte=begin, begin__lt=begin + HOUR)
    ids = list(rows.order_by("vm").values_list("vm_id", flat=True).distinct())
    for start in range(0, len(ids), BATCH):
        _sum_up_batch(begin, ids[start : start + BATCH])
    return len(ids)


@service
def _sum_up_batch(begin: int, ids: list[UUID]) -> None:
    rows = VMUsage.objects.filter(vm__in=ids, length=FIVE_MINUTES, begin__gte=begin, begin__lt=begin + HOUR)
    hours = _merged((row.vm_id, row.summary) for row in rows)
    made = [VMUsage(vm_id=vm_id, length=HOUR, begin=begin, packed=s.pack()) for vm_id, s in hours.items()]
    _upsert(VMUsage, made, ["vm", "length", "begin"])


@service
def _sum_up_hosts(begin: int) -> int:
    rows = HostUsage.objects.filter(length=FIVE_MINUTES, begin__gte=begin, begin__lt=begin + HOUR)
    hours = _merged(((row.host_id, row.project_id), row.summary) for row in rows)
    HostUsage.objects.filter(length=HOUR, begin=begin).delete()
    HostUsage.objects.bulk_create(
        [
            HostUsage(host_id=host, project_id=project, length=HOUR, begin=begin, packed=summary.pack())
            for (host, project), summary in hours.items()
        ],
        batch_size=BATCH,
    )
    return len(hours)


def _merged(found: Iterable[tuple[Any, Summary]]) -> dict[Any, Summary]:
    by_subject: dict[Any, list[Summary]] = defaultdict(list)
    for subject, summary in found:
        by_subject[subject].append(summary)
    return {subject: reduce(merge, summaries) for subject, summaries in by_subject.items()}


# -- retention -----------------------------------------------------------------------------------


def drop_old() -> int:
    """Drop a batch of rows that are older than the settings say; returns how many went."""
    now = timezone.now()
    ages = (
        (FIVE_MINUTES, now - timedelta(days=settings.KEEP_USAGE_DAYS)),
        (HOUR, now - timedelta(days=settings.KEEP_USAGE_HOURS_DAYS)),
    )
    return sum(_drop(model, length, before.timestamp()) for model in (VMUsage, HostUsage) for length, before in ages)


@service
def _drop(model: type[VMUsage] | type[HostUsage], length: int, before: float) -> int:
    rows = model._default_manager.filter(length=length, begin__lt=before).order_by("begin")
    found = list(rows.values_list("pk", flat=True)[:BATCH])
    if found:
        model._default_manager.filter(pk__in=found).delete()
    return len(found)
