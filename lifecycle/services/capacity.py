"""Capacity of hosts: reserved with the choice of the host in one transaction, released by state."""

from django.db.models import F
from django.utils import timezone

from lifecycle.domain.errors import ResourcePoolExhausted
from lifecycle.domain.placement import Choice, Need, Room, choose
from lifecycle.domain.text import mark
from lifecycle.models import VM, Host, Reservation
from lifecycle.services.db import lock_project

NO_ROOM = mark("No host in zone %(zone)s has room for this VM now.")


def rooms_of(hosts: list[Host]) -> list[Room]:
    """What each host has left."""
    return [
        Room(
            host_id=h.pk,
            name=h.name,
            schedulable=h.schedulable,
            healthy=h.health == Host.Health.UP,
            architecture=h.architecture,
            vcpus=h.vcpus_limit - h.vcpus_reserved,
            memory_mib=h.memory_mib_limit - h.memory_mib_reserved,
            disk_gib=h.disk_gib_limit - h.disk_gib_reserved,
            kept_out=h.kept_out_until is not None and h.kept_out_until > timezone.now(),
        )
        for h in hosts
    ]


def reserve(vm: VM) -> Host:
    """Choose a host (the one that holds the disks, if any) and reserve on it. Needs an open transaction.

    Reserving twice changes nothing. Raises `ResourcePoolExhausted` with the reasons, host by host.
    """
    lock_project(vm.project_id)
    held = Reservation.objects.filter(vm=vm).first()
    hosts = list(Host.objects.select_for_update().filter(zone=vm.zone).order_by("pk"))
    disk_gib = sum(vm.disks.values_list("size_gib", flat=True))
    need = Need(
        vcpus=vm.vcpus - (held.vcpus if held else 0),
        memory_mib=vm.memory_mib - (held.memory_mib if held else 0),
        disk_gib=disk_gib - (held.disk_gib if held else 0),
        architecture=vm.image.architecture,
    )
    found = choose(rooms_of(hosts), need, pinned_to=held.host_id if held else None)
    if found.host_id is None:
        raise _exhausted(vm, found)
    host = next(h for h in hosts if h.pk == found.host_id)
    _book(host, need)
    Reservation.objects.update_or_create(
        vm=vm,
        defaults={"host": host, "vcpus": vm.vcpus, "memory_mib": vm.memory_mib, "disk_gib": disk_gib},
    )
    return host


def take_in(vm: VM, host: Host, *, compute: bool) -> None:
    """Book a VM that is on its host already, with its disks; `compute`: and vCPUs and memory. Open transaction.

    Raises `ResourcePoolExhausted` when it does not fit.
    """
    lock_project(vm.project_id)
    host = Host.objects.select_for_update().get(pk=host.pk)
    disk_gib = sum(vm.disks.values_list("size_gib", flat=True))
    vcpus, memory_mib = (vm.vcpus, vm.memory_mib) if compute else (0, 0)
    need = Need(vcpus, memory_mib, disk_gib, vm.image.architecture)
    found = choose(rooms_of([host]), need, pinned_to=host.pk)
    if found.host_id is None:
        raise _exhausted(vm, found)
    _book(host, need)
    Reservation.objects.create(vm=vm, host=host, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib)


def release_compute(vm: VM) -> None:
    """Give vCPU and memory back, keep the disk. Needs an open transaction; twice changes nothing."""
    lock_project(vm.project_id)
    held = Reservation.objects.select_for_update().filter(vm=vm).first()
    if held is None or not (held.vcpus or held.memory_mib):
        return
    _book(held.host, Need(-held.vcpus, -held.memory_mib, 0, ""))
    Reservation.objects.filter(pk=held.pk).update(vcpus=0, memory_mib=0)


def release_all(vm: VM) -> None:
    """Give everything back. Needs an open transaction; twice changes nothing."""
    lock_project(vm.project_id)
    held = Reservation.objects.select_for_update().filter(vm=vm).first()
    if held is None:
        return
    _book(held.host, Need(-held.vcpus, -held.memory_mib, -held.disk_gib, ""))
    held.delete()


def _book(host: Host, amount: Need) -> None:
    Host.objects.filter(pk=host.pk).update(
        vcpus_reserved=F("vcpus_reserved") + amount.vcpus,
        memory_mib_reserved=F("memory_mib_reserved") + amount.memory_mib,
        disk_gib_reserved=F("disk_gib_reserved") + amount.disk_gib,
    )


def _exhausted(vm: VM, choice: Choice) -> ResourcePoolExhausted:
    reasons = choice.reasons or {vm.zone.name: mark("the zone has no hosts")}
    return ResourcePoolExhausted(NO_ROOM, zone=vm.zone.name, reasons=reasons)
