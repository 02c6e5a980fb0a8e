"""What operators set by hand: placement and limits of hosts, machine types, settings rows, memberships."""

from collections.abc import Collection

from django.db import models
from django.db.models import Q

from lifecycle.domain.access import Role
from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_shape
from lifecycle.models import VM, Host, Image, MachineType, Membership, Project, Quota, User
from lifecycle.services.db import lock_project, service
from lifecycle.services.networks import network_of

#: The columns of a host that people set; all others are observed or reserved by the product.
HOST_SETTINGS = (
    "zone",
    "schedulable",
    "memory_mib_kept",
    "cpu_overcommit_percent",
    "memory_overcommit_percent",
    "disk_overcommit_percent",
)


@service
def set_schedulable(host: Host, on: bool) -> bool:
    """Let a host take new VMs, or not; its VMs stay. False when it already was so.

    Letting it ends the time for which too many repairs kept it out.
    """
    rows = Host.objects.filter(pk=host.pk)
    ended = on and rows.filter(kept_out_until__isnull=False).update(kept_out_until=None)
    return bool(rows.exclude(schedulable=on).update(schedulable=on) or ended)


def check_limits(host: Host) -> None:
    """Refuse limits below what is reserved on the host.

    Raises:
        InvalidInput: `field` names the setting to raise.
    """
    for field, limit, reserved in (
        ("cpu_overcommit_percent", host.vcpus_limit, host.vcpus_reserved),
        ("memory_overcommit_percent", host.memory_mib_limit, host.memory_mib_reserved),
        ("disk_overcommit_percent", host.disk_gib_limit, host.disk_gib_reserved),
    ):
        if reserved > limit:
            raise InvalidInput(
                "This would make the limit %(limit)s, but VMs on %(host)s hold %(reserved)s. "
                "Stop or delete some of them first.",
                field=field,
                limit=limit,
                reserved=reserved,
                host=host.name,
            )


@service
def change_host(host: Host, fields: Collection[str]) -> None:
    """Write the settings of a host, checked against what is reserved at this moment.

    Raises:
        InvalidInput: a limit would be below what is reserved, or a host with VMs would change its zone.
    """
    found = Host.objects.select_for_update().get(pk=host.pk)
    wanted = [name for name in HOST_SETTINGS if name in fields]
    if "zone" in wanted and found.zone_id != host.zone_id and VM.objects.live().filter(host=found).exists():
        raise InvalidInput("A host with VMs stays in its zone.", field="zone")
    for name in wanted:
        setattr(found, name, getattr(host, name))
    check_limits(found)
    found.save(update_fields=wanted)


@service
def save_settings(row: models.Model, fields: Collection[str]) -> None:
    """Write a row that only people change (a zone, a quota): a new one whole, a known one by its named fields."""
    if row._state.adding:
        row.save(force_insert=True)
    elif fields:
        row.save(update_fields=list(fields))


@service
def save_machine_type(row: MachineType, fields: Collection[str]) -> None:
    """Write a machine type. Its size is fixed once a VM has it: a VM's size must not change under its name.

    Raises:
        InvalidInput: an impossible size, or a changed size of a type in use.
    """
    check_shape(row.vcpus, row.memory_mib)
    resized = {"vcpus", "memory_mib", "cpu_quota_percent"} & set(fields)
    if not row._state.adding and resized and VM.objects.filter(machine_type=row).exists():
        raise InvalidInput("VMs have this machine type: its size stays. Make another machine type instead.")
    save_settings(row, fields)


@service
def make_default(machine_type: MachineType) -> None:
    """New VMs get this machine type when they name none. Raises InvalidInput for a retired one."""
    if machine_type.retired:
        raise InvalidInput("%(name)s is retired: offer it again first.", name=machine_type.name)
    MachineType.objects.filter(is_default=True).exclude(pk=machine_type.pk).update(is_default=False)
    MachineType.objects.filter(pk=machine_type.pk).update(is_default=True)


@service
def set_retired(machine_type: MachineType, on: bool) -> bool:
    """Offer a machine type for new VMs, or not. False when it already was so; the default cannot be retired."""
    if on and MachineType.objects.filter(pk=machine_type.pk, is_default=True).exists():
        raise InvalidInput("%(name)s is the default: make another the default first.", name=machine_type.name)
    return bool(MachineType.objects.filter(pk=machine_type.pk).exclude(retired=on).update(retired=on))


@service
def set_deprecated(image: Image, on: bool) -> bool:
    """Offer an image for new VMs, or not; VMs made from it keep it. False when its status does not allow this."""
    source, target = Image.Status.READY, Image.Status.DEPRECATED
    if not on:
        source, target = target, source
    rows = Image.objects.filter(pk=image.pk, status=source).exclude(file_name="")  # one without a file boots nobody
    return bool(rows.update(status=target))


@service
def complete_project(project: Project) -> None:
    """Give a project made by an operator what every project has: its quota and its network."""
    Quota.objects.get_or_create(project=project)
    network_of(project)


@service
def add_member(project: Project, member: User, role: str) -> Membership:
    """Make somebody a member without an invitation.

    Raises:
        InvalidInput: an unknown role, or a member already.
    """
    project = lock_project(project.pk)
    if role not in set(Role):
        raise InvalidInput("There is no role %(value)s.", field="role", value=role)
    if Membership.objects.filter(Q(project=project) & Q(user=member)).exists():
        raise InvalidInput("%(name)s is a member already.", field="user", name=member.get_username())
    return Membership.objects.create(project=project, user=member, role=role)
