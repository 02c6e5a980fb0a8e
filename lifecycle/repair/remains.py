"""What came to a host after its VM was deleted there, by the last call of a worker that had been taken over.

Such a worker may have one call in flight when it loses its lease (frozen just before it, or the host hung in it);
the call comes through when the delete is long over. What it leaves is ours, nobody's, and of no worth to anybody:
a definition with an outdated fencing counter, a seed, a serial log, an overlay that nobody ever wrote to, an
address reservation. It is removed as what a delete left behind on a host that did not answer. All else that bears
a deleted VM's name (a disk with something on it) is a finding, and waits for a person.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from lifecycle.domain.findings import Volume, owner_of
from lifecycle.drivers.base import DomainView, Hypervisor, Pool
from lifecycle.models import VM
from lifecycle.services import cleanups

log = logging.getLogger(__name__)

#: An overlay that takes no more than this was never written to: qcow2's own tables take about 200 KiB.
EMPTY_BYTES: Final = 1024 * 1024
#: For how long after a delete its address reservation may come back.
LATE: Final = timedelta(hours=1)


def note(
    host_id: int, hypervisor: Hypervisor, views: Iterable[DomainView], volumes: Iterable[Volume], taken_at: datetime
) -> int:
    """Put what was left on the list of what is removed with the next reconcile; of how many VMs there was something.

    Raises:
        HypervisorError: the host did not answer; what was seen until then is noted.
    """
    views, volumes = list(views), list(volumes)
    named = {view.uuid for view in views if view.installation == settings.INSTALLATION_ID}
    named |= {owner for volume in volumes if (owner := owner_of(volume.name)) is not None}
    dead = _deleted_before(named, taken_at)
    found = set(_outdated(views, dead)) | set(_worthless(volumes, dead))
    found |= set(_bound(host_id, hypervisor, taken_at))
    # A cleanup removes all that bears the VM's name: with something among it that waits for a person, all of it does.
    found -= set(_for_a_person(views, volumes, dead))
    noted = sum(cleanups.leave_again(vm_id, host_id) for vm_id in found)
    if noted:
        log.warning("host %s: remains of %s deleted VMs are removed", host_id, noted)
    return noted


def _deleted_before(ids: Iterable[UUID], taken_at: datetime) -> dict[UUID, VM]:
    """Deleted VMs of these ids that nothing accounts for yet. The host was looked at after each was gone."""
    found = VM.objects.filter(pk__in=list(ids), deleted_at__lt=taken_at).exclude(
        cleanup__isnull=False, cleanup__done_at__isnull=True
    )
    return {vm.pk: vm for vm in found.prefetch_related("disks")}


def _outdated(views: Iterable[DomainView], dead: dict[UUID, VM]) -> Iterator[UUID]:
    """A definition of the counter's last value was made after all that was taken over: by a person."""
    for view in views:
        vm = dead.get(view.uuid)
        if vm is not None and view.generation is not None and view.generation < vm.fence:
            yield vm.pk


def _for_a_person(views: Iterable[DomainView], volumes: Iterable[Volume], dead: dict[UUID, VM]) -> Iterator[UUID]:
    """Deleted VMs of which there is a definition that a person made, or a volume with something on it."""
    outdated = set(_outdated(views, dead))
    yield from (view.uuid for view in views if view.uuid in dead and view.uuid not in outdated)
    for volume in volumes:
        vm = dead.get(owner) if (owner := owner_of(volume.name)) else None
        if vm is not None and not (_is_made_anew(volume, vm) or _is_empty(volume, vm)):
            yield vm.pk


def _worthless(volumes: Iterable[Volume], dead: dict[UUID, VM]) -> Iterator[UUID]:
    for volume in volumes:
        vm = dead.get(owner) if (owner := owner_of(volume.name)) else None
        if vm is not None and (_is_made_anew(volume, vm) or _is_empty(volume, vm)):
            yield vm.pk


def _is_made_anew(volume: Volume, vm: VM) -> bool:
    """A seed is written from the record; a serial log is what was recorded of it."""
    return volume.name == vm.seed_volume or volume.pool == Pool.SERIAL


def _is_empty(volume: Volume, vm: VM) -> bool:
    gone_with_it = {disk.volume for disk in vm.disks.all() if disk.auto_delete}
    return volume.name in gone_with_it and volume.allocation_bytes <= EMPTY_BYTES


def _bound(host_id: int, hypervisor: Hypervisor, taken_at: datetime) -> Iterator[UUID]:
    """VMs deleted lately whose MAC still has an address reserved."""
    late = VM.objects.filter(host=host_id, deleted_at__lt=taken_at, deleted_at__gt=timezone.now() - LATE, adopted=False)
    of_network: dict[str, dict[str, UUID]] = {}
    for network, mac, vm_id in late.values_list("project__network__name", "mac", "pk"):
        of_network.setdefault(network, {})[mac.lower()] = vm_id
    for network, macs in of_network.items():
        alive = set(VM.objects.live().filter(mac__in=list(macs)).values_list("mac", flat=True))
        for mac in hypervisor.bound(network):
            if mac in macs and mac not in alive:
                yield macs[mac]
