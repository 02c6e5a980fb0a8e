"""Adopting what a host has and the record does not: a domain as it is, or a VM around a disk that was left."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils import timezone

from lifecycle.domain.definitions import Definition, as_json
from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.domain.findings import Choice
from lifecycle.domain.quotas import Amounts
from lifecycle.domain.states import HOLDS_COMPUTE, Power, State
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Disk, Finding, Image, MachineType, Project
from lifecycle.services import capacity, networks, operations, quotas
from lifecycle.services.db import lock_project, service
from lifecycle.services.findings import refuse_taken, still_open
from lifecycle.services.transitions import born
from lifecycle.services.vms import custom_type

GIB: Final = 2**30
FROM_A_DISK: Final = mark("It was made around a disk that was found on its host.")

# -- domains ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adoptee:
    """A domain as its host shows it."""

    uuid: UUID
    architecture: str
    persistent: bool
    power: Power
    run_id: int | None
    definition: Definition
    disk_bytes: Mapping[str, int]
    seen_at: datetime

    @property
    def state(self) -> State:
        """The state that the VM begins in."""
        return State.RUNNING if self.power in {Power.ON, Power.PAUSED} else State.TERMINATED

    @property
    def disks(self) -> list[tuple[str, str, int]]:
        """(target, source, size in GiB) of its disks."""
        sources = dict(self.definition.disks)
        return [(t, sources.get(t, ""), max(1, math.ceil(size / GIB))) for t, size in self.disk_bytes.items()]


@service
def adopt(finding: Finding, found: Adoptee) -> VM:
    """Make a VM of a domain, as it is: its row, its disks, its place on the host. Again: the same VM.

    Raises:
        InvalidInput, NameTaken, QuotaExceeded, ResourcePoolExhausted: nothing was written.
    """
    row, project = _chosen(finding)
    known = VM.objects.select_related("project").filter(pk=found.uuid).first()
    if known is not None:
        if known.deleted_at is None and known.adopted and known.host_id == finding.host_id:
            return known
        raise InvalidInput("A VM of this id is known already: %(name)s.", name=known.name)
    _refuse_what_cannot_be_adopted(found)
    refuse_taken(project, row.choice_data["name"])
    return _write(row, project, row.choice_data["name"], found)


def _chosen(finding: Finding) -> tuple[Finding, Project]:
    """The finding and the project that was chosen, both locked, when the choice still stands."""
    data = finding.choice_data
    if not Project.objects.filter(pk=data["project"]).exists():
        raise InvalidInput("The project is not there any more. Choose another.", field="project")
    project = lock_project(data["project"])
    row = still_open(finding.pk)
    if (row.choice, row.choice_data) != (Choice.ADOPT, data):
        raise StateConflict("The choice was changed meanwhile.")
    return row, project


def _refuse_what_cannot_be_adopted(found: Adoptee) -> None:
    if not found.persistent:
        raise InvalidInput("The domain is gone when it is switched off. Define it on its host first.")
    if found.power is Power.SAVED:
        raise InvalidInput("The domain has saved memory. Start it or throw the memory away on its host first.")
    if found.definition.memory_mib < 64:
        raise InvalidInput("The domain has less memory than a VM needs: 64 MiB.")
    for mac, _source, _filter in found.definition.interfaces[:1]:
        if VM.objects.live().filter(mac=mac).exists():
            raise InvalidInput("Another VM has the same MAC address: %(mac)s.", mac=mac)


def _write(row: Finding, project: Project, name: str, found: Adoptee) -> VM:
    shape, running = found.definition, found.state in HOLDS_COMPUTE
    disk_gib = sum(size for _target, _source, size in found.disks)
    compute = (shape.vcpus, shape.memory_mib) if running else (0, 0)
    quotas.check(project, Amounts(1, *compute, disk_gib))
    now = timezone.now()
    vm = VM.objects.create(
        id=found.uuid,
        project=project,
        name=name,
        zone=row.host.zone,
        host=row.host,
        machine_type=custom_type(shape.vcpus, shape.memory_mib),
        image=_no_image(found.architecture),
        state=found.state,
        state_since=now,
        power=found.power,
        power_seen_at=found.seen_at,
        run_id=found.run_id,
        vcpus=shape.vcpus,
        memory_mib=shape.memory_mib,
        cpu_quota_percent=shape.cpu_quota_percent,
        mac=shape.interfaces[0][0] if shape.interfaces else networks.new_mac(),
        adopted=True,
        definition=as_json(shape),
        created_by=row.chosen_by,
        created_at=now,
    )
    Disk.objects.bulk_create(
        Disk(vm=vm, name=target, size_gib=size, boot=n == 0, auto_delete=False, volume=source[-120:], made_at=now)
        for n, (target, source, size) in enumerate(found.disks)
    )
    capacity.take_in(vm, row.host, compute=running)
    operation = operations.record_done(vm, Action.ADOPT, asked_by=Asker.OPERATOR, user=row.chosen_by)
    born(vm, Action.ADOPT, asked_by=Asker.OPERATOR, operation=operation, user=row.chosen_by)
    return vm


def _no_image(architecture: str) -> Image:
    """The row that stands for the image of VMs that were made from none of ours. It has no file and is not offered."""
    architecture = architecture or "x86_64"
    values = {
        "family": "adopted",
        "description": "Stands for the image of VMs that were adopted.",
        "architecture": architecture,
        "size_bytes": 0,
        "virtual_size_bytes": 0,
        "sha256": "",
        "file_name": "",
        "status": Image.Status.DEPRECATED,
    }
    found, _made = Image.objects.get_or_create(
        project=None, name=f"adopted-{architecture}".replace("_", "-"), defaults=values
    )
    return found


# -- volumes ---------------------------------------------------------------------------------------


@service
def adopt_volume(finding: Finding, *, capacity_bytes: int, image_file: str) -> VM:
    """Make a TERMINATED VM around the boot disk of one that the record does not know. Again: the same VM.

    Args:
        image_file: the golden image that the disk stands on.

    Raises:
        InvalidInput, NameTaken, QuotaExceeded, ResourcePoolExhausted: nothing was written.
    """
    row, project = _chosen(finding)
    vm_id = UUID(row.details["boot_of"])
    known = VM.objects.filter(pk=vm_id).first()
    if known is not None:
        if known.deleted_at is None and known.host_id == row.host_id:
            return known
        raise InvalidInput("A VM of this id is known already: %(name)s.", name=known.name)
    refuse_taken(project, row.choice_data["name"])
    image = Image.objects.filter(file_name=image_file).first() if image_file else None
    if image is None:
        raise InvalidInput("The disk stands on no image that is known here: %(file)s.", file=image_file or "–")
    return _around(row, project, vm_id, image, max(1, math.ceil(capacity_bytes / GIB)))


def _around(row: Finding, project: Project, vm_id: UUID, image: Image, disk_gib: int) -> VM:
    shape, name, now = _smallest_for(image), row.choice_data["name"], timezone.now()
    quotas.check(project, Amounts(1, 0, 0, disk_gib))
    vm = VM.objects.create(
        id=vm_id,
        project=project,
        name=name,
        zone=row.host.zone,
        host=row.host,
        machine_type=shape,
        image=image,
        firmware=image.firmware,
        state=State.TERMINATED,
        state_reason=FROM_A_DISK,
        state_since=now,
        power=Power.ABSENT,
        power_seen_at=now,
        vcpus=shape.vcpus,
        memory_mib=shape.memory_mib,
        cpu_quota_percent=shape.cpu_quota_percent,
        mac=networks.new_mac(),
        created_by=row.chosen_by,
        created_at=now,
    )
    Disk.objects.create(vm=vm, name=name, size_gib=disk_gib, volume=vm.disk_volume, made_at=now)
    networks.give_address(vm)
    capacity.take_in(vm, row.host, compute=False)
    operation = operations.record_done(vm, Action.ADOPT, asked_by=Asker.OPERATOR, user=row.chosen_by)
    born(vm, Action.ADOPT, asked_by=Asker.OPERATOR, operation=operation, user=row.chosen_by)
    return vm


def _smallest_for(image: Image) -> MachineType:
    """The default machine type, or where that is too small for the image the smallest that is not."""
    offered = MachineType.objects.filter(retired=False, memory_mib__gte=image.min_memory_mib)
    found = offered.order_by("-is_default", "memory_mib", "vcpus").first()
    if found is None:
        raise InvalidInput(
            "No machine type has the %(least)s MiB of memory that the image needs.", least=image.min_memory_mib
        )
    return found
