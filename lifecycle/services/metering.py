"""Metering intervals: opened and closed with each transition, summed up, derived again from the log and compared.

`begin` is called by `services.transitions` alone, in the transaction of the transition.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from django.db.models import Case, F, OuterRef, QuerySet, Subquery, Sum, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from lifecycle.domain import metering
from lifecycle.domain.metering import Change, Difference, Metered, Shape, Span, Usage
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Disk, Maintenance, MeteringInterval, Project, Repair, Transition
from lifecycle.services.db import lock_project_of, service

#: VMs whose log is read at once by a check.
VMS_AT_ONCE = 200
ROWS_AT_ONCE = 2000


# -- with each transition ------------------------------------------------------------------------


Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Now:
    """A VM as a transition finds it. Nothing that follows may have occurred before `changed_at`."""

    state: State
    changed_at: datetime
    shape: Shape
    labels: Labels


def look(vm_id: UUID) -> Now:
    """The VM as it is, in one query. Raises `VM.DoesNotExist`."""
    lasting = MeteringInterval.objects.filter(vm=OuterRef("pk"), ended_at__isnull=True)
    state, since, opened_at, labels, *shape = (
        VM.objects.annotate(opened_at=Subquery(lasting.values("started_at")[:1]), disk_gib=_disk_gib())
        .values_list("state", "state_since", "opened_at", "labels", *_SHAPE)
        .get(pk=vm_id)
    )
    return Now(State(state), max(since, opened_at or since), Shape(*shape), labels)


def begin(transition: Transition, project_id: int, now: Now) -> None:
    """End the VM's interval where `transition` occurred, and begin the next unless the VM is gone.

    Needs the project's lock and a `transition` that occurred no earlier than `Now.changed_at`.
    """
    lasting = MeteringInterval.objects.filter(vm_id=transition.vm_id, ended_at__isnull=True)
    if transition.from_state:
        lasting.update(ended_at=transition.occurred_at)
    if transition.to_state:
        span = Span(transition.pk, State(transition.to_state), transition.occurred_at, None)
        _row(span, transition.vm_id, project_id, now.shape, now.labels).save(force_insert=True)


_SHAPE = ("machine_type__name", "vcpus", "memory_mib", "disk_gib", "machine_type__family", "zone__name")


def _disk_gib() -> Coalesce:
    sizes = Disk.objects.filter(vm=OuterRef("pk")).order_by().values("vm").annotate(all=Sum("size_gib")).values("all")
    return Coalesce(Subquery(sizes), 0)


def _row(span: Span[State], vm_id: UUID, project_id: int, shape: Shape, labels: Labels | None) -> MeteringInterval:
    return MeteringInterval(
        vm_id=vm_id,
        project_id=project_id,
        opened_by_id=span.opened_by,
        state=span.state,
        started_at=span.started_at,
        ended_at=span.ended_at,
        machine_type=shape.machine_type,
        vcpus=shape.vcpus,
        memory_mib=shape.memory_mib,
        disk_gib=shape.disk_gib,
        family=shape.family,
        zone=shape.zone,
        labels=labels,
    )


# -- usage ---------------------------------------------------------------------------------------


def usage(vm: VM, since: datetime, until: datetime | None = None) -> Usage:
    """What the VM used in [since, until), up to now at most: one query."""
    return _usage(MeteringInterval.objects.filter(vm=vm), since, until)


def project_usage(project: Project, since: datetime, until: datetime | None = None) -> Usage:
    """What all VMs of the project used together in [since, until), up to now at most: one query."""
    return _usage(MeteringInterval.objects.filter(project=project), since, until)


def usage_by_vm(vms: QuerySet[VM], since: datetime, until: datetime | None = None) -> dict[str, Usage]:
    """VM id -> what it used in [since, until), up to now at most: one query, one VM's intervals in memory at a time."""
    now = timezone.now()
    until = min(until or now, now)
    rows = MeteringInterval.objects.filter(vm__in=vms, started_at__lt=until).exclude(ended_at__lte=since)
    found: dict[str, Usage] = {}
    for vm_id, intervals in groupby(_metered_by_vm(rows, since, until), key=lambda pair: pair[0]):
        found[str(vm_id)] = metering.add_up((interval for _id, interval in intervals), since, until)
    return found


def _usage(rows: QuerySet[MeteringInterval], since: datetime, until: datetime | None) -> Usage:
    now = timezone.now()
    until = min(until or now, now)
    rows = rows.filter(started_at__lt=until).exclude(ended_at__lte=since)
    return metering.add_up(_metered(rows, since, until), since, until)


def _metered(rows: QuerySet[MeteringInterval], since: datetime, until: datetime) -> Iterator[Metered]:
    """The intervals with why and when they began."""
    return (interval for _vm, interval in _metered_by_vm(rows, since, until))


def _metered_by_vm(
    rows: QuerySet[MeteringInterval], since: datetime, until: datetime
) -> Iterator[tuple[UUID, Metered]]:
    """The same with their VM's id, VM by VM.

    A start that failed leaves a VM TERMINATED for the reason it was so before: the last transition into
    TERMINATED that is not a start's tells it. REPAIRING becomes TERMINATED by a failure alone. Maintenance is that of
    the host on which the VM failed; it is read when the first failure is met.
    """
    announced = _Announced(since, until)
    stopped = Transition.objects.filter(vm=OuterRef("vm"), to_state=State.TERMINATED, id__lte=OuterRef("opened_by"))
    cause = stopped.exclude(action=Action.START).order_by("-id").values("from_state")[:1]
    found = rows.annotate(stopped_in=Subquery(cause), noticed_at=F("opened_by__recorded_at"), failed_on=_failed_on())
    for vm_id, state, start, end, came_from, noticed_at, stopped_in, host_id, *shape in (
        found.order_by("vm_id")
        .values_list(
            "vm_id",
            "state",
            "started_at",
            "ended_at",
            "opened_by__from_state",
            "noticed_at",
            "stopped_in",
            "failed_on",
            *_INTERVAL_SHAPE,
        )
        .iterator(chunk_size=ROWS_AT_ONCE)
    ):
        metered = Metered(
            State(state),
            Shape(*shape),
            start,
            end,
            broke_in=State(came_from) if came_from else None,
            noticed_at=noticed_at,
            by_failure=stopped_in == State.REPAIRING,
            excused=announced.of(host_id),
        )
        yield vm_id, metered


def _failed_on() -> Case:
    """The host of the last repair before the interval, of those that may be downtime."""
    repair = Repair.objects.filter(vm=OuterRef("vm"), opened_at__lte=OuterRef("started_at"))
    host = repair.order_by("-opened_at", "-pk").values("host")[:1]
    return Case(When(state__in=[State.REPAIRING, State.TERMINATED], then=Subquery(host)))


Windows = tuple[tuple[datetime, datetime], ...]


class _Announced:
    """Maintenance in a span of time, host by host: one query, when it is asked for the first time."""

    def __init__(self, since: datetime, until: datetime) -> None:
        self._rows = Maintenance.objects.filter(cancelled_at__isnull=True, starts_at__lt=until, ends_at__gt=since)
        self._found: dict[int, Windows] | None = None

    def of(self, host_id: int | None) -> Windows:
        """From and to of each, in the order of the beginnings."""
        if host_id is None:
            return ()
        if self._found is None:
            rows = self._rows.order_by("host", "starts_at").values_list("host", "starts_at", "ends_at")
            by_host = groupby(rows, key=lambda row: row[0])
            self._found = {host: tuple((start, end) for _host, start, end in mine) for host, mine in by_host}
        return self._found.get(host_id, ())


_INTERVAL_SHAPE = ("machine_type", "vcpus", "memory_mib", "disk_gib", "family", "zone")


# -- derived again -------------------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    """What a check found: VMs and images looked at, differences, and the first of them in words."""

    vms: int = 0
    images: int = 0
    differences: int = 0
    words: list[str] = field(default_factory=list)

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.vms + other.vms,
            self.images + other.images,
            self.differences + other.differences,
            self.words + other.words,
        )


def check(limit: int = 20) -> Report:
    """Derive the intervals of every VM again from the log and compare; `limit` differences are told in words.

    What differs is looked at again under the project's lock, so that a VM that moves meanwhile is no difference.
    """
    report = Report()
    for ids in _batches():
        report.vms += len(ids)
        for vm_id in _suspects(ids):
            found = differences(vm_id)
            report.differences += len(found)
            report.words += found[: max(0, limit - len(report.words))]
    return report


@service
def differences(vm_id: UUID) -> list[str]:
    """What differs for one VM, in words, as of one moment."""
    lock_project_of(vm_id)
    vm = VM.objects.get(pk=vm_id)
    log, recorded = _read([vm_id])
    found = [str(each) for each in _compare(log[vm_id], recorded[vm_id])]
    if _strayed(vm, log[vm_id]):
        found.append(f"the log ends in {log[vm_id][-1].target or 'gone'}, the VM is {_where(vm) or 'gone'}")
    return [f"{vm.name} ({vm.id}): {each}" for each in found]


@service
def repair(vm_id: UUID) -> int:
    """Write the intervals of one VM that differ from its log anew; returns how many.

    The others are left alone. A new interval has the shape of the one it replaces, else of the one before it,
    else the VM's of now: the log tells no shapes.
    """
    project = lock_project_of(vm_id)
    if project is None:
        return 0
    now = look(vm_id)
    log, recorded = _read([vm_id])
    wrong = _compare(log[vm_id], recorded[vm_id])
    rows = MeteringInterval.objects.filter(vm=vm_id)
    shapes = {key: Shape(*shape) for key, *shape in rows.values_list("opened_by", *_INTERVAL_SHAPE)}
    labels: dict[int, Labels | None] = dict(rows.values_list("opened_by", "labels"))
    rows.filter(opened_by__in=[each.opened_by for each in wrong]).delete()
    MeteringInterval.objects.bulk_create(
        _row(
            each.derived,
            vm_id,
            project.pk,
            _shape(each.opened_by, shapes, now.shape),
            labels.get(each.opened_by, now.labels),
        )
        for each in wrong
        if each.derived
    )
    return len(wrong)


def vms_that_differ() -> Iterator[UUID]:
    """Every VM whose intervals are not those of its log; each is to be looked at again under its project's lock."""
    for ids in _batches():
        yield from _suspects(ids)


def _batches() -> Iterator[list[UUID]]:
    """The ids of all VMs, tombstones included, some at a time."""
    rows, last = VM.objects.order_by("pk").values_list("pk", flat=True), None
    while ids := list((rows.filter(pk__gt=last) if last else rows)[:VMS_AT_ONCE]):
        yield ids
        last = ids[-1]


def _suspects(ids: list[UUID]) -> list[UUID]:
    """Those that differ as read without a lock, in three queries."""
    vms = VM.objects.in_bulk(ids)
    log, recorded = _read(ids)
    return [pk for pk in ids if _compare(log[pk], recorded[pk]) or _strayed(vms[pk], log[pk])]


def _read(ids: Iterable[UUID]) -> tuple[dict[UUID, list[Change[State]]], dict[UUID, list[Span[State]]]]:
    """The log and the intervals of each VM, in two queries."""
    ids = list(ids)
    log: dict[UUID, list[Change[State]]] = {pk: [] for pk in ids}
    recorded: dict[UUID, list[Span[State]]] = {pk: [] for pk in ids}
    rows = Transition.objects.filter(vm__in=ids).order_by("id")
    for vm_id, number, target, at in rows.values_list("vm", "id", "to_state", "occurred_at"):
        log[vm_id].append(Change(number, State(target) if target else None, at))
    intervals = MeteringInterval.objects.filter(vm__in=ids).order_by()
    for vm_id, opened_by, state, start, end in intervals.values_list(
        "vm", "opened_by", "state", "started_at", "ended_at"
    ):
        recorded[vm_id].append(Span(opened_by, State(state), start, end))
    return log, recorded


def _compare(log: list[Change[State]], recorded: list[Span[State]]) -> list[Difference[State]]:
    return metering.compare(metering.derive(log), recorded)


def _strayed(vm: VM, log: list[Change[State]]) -> bool:
    """Whether the VM is not where its log says; one that has no log is not asked."""
    return bool(log) and log[-1].target != _where(vm)


def _where(vm: VM) -> State | None:
    return None if vm.deleted_at else vm.lifecycle_state


def _shape(opened_by: int, shapes: dict[int, Shape], now: Shape) -> Shape:
    known = [key for key in shapes if key <= opened_by]
    return shapes[max(known)] if known else now
