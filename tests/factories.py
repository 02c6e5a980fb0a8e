"""Rows for tests, made the way the services make them; plain functions, no magic.

What a test does not name gets a sensible value. A VM made in any state holds what LIFECYCLE.md says that
state holds: an address and a disk always, a host and a reservation where its state has them.
"""

import base64
import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, pairwise
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from lifecycle.domain.access import Role
from lifecycle.domain.pricing import Item, Line, Sort
from lifecycle.domain.states import HOLDS_COMPUTE, Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import (
    VM,
    Disk,
    Host,
    Image,
    Invoice,
    MachineType,
    Membership,
    Operation,
    OperationStep,
    Project,
    Quota,
    Reservation,
    User,
    Zone,
)
from lifecycle.services import capacity, image_metering, invoices, networks
from lifecycle.services.transitions import born, move

_numbers = count(1)

#: A well-formed public key that belongs to nobody.
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0 tester@example.org"
PASSWORD = "a-long-enough-passphrase"

_POWER = {
    State.RUNNING: Power.ON,
    State.STAGING: Power.UNKNOWN,
    State.STOPPING: Power.ON,
    State.SUSPENDING: Power.ON,
    State.SUSPENDED: Power.SAVED,
    State.TERMINATED: Power.OFF,
    State.REPAIRING: Power.CRASHED,
    State.PROVISIONING: Power.UNKNOWN,
}


def make_public_key(comment: str = "somebody@somewhere") -> str:
    """A well-formed public key of its own."""
    raw = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + secrets.token_bytes(32)
    return f"ssh-ed25519 {base64.b64encode(raw).decode()} {comment}"


def make_user(username: str = "", *, password: str | None = None, **fields: Any) -> User:
    """A person; without `password` nobody can sign in as them except by `client.force_login`."""
    name = username or f"person-{next(_numbers)}"
    return User.objects.create_user(name, email=f"{name}@example.org", password=password, **fields)


def make_project(slug: str = "", *, owner: User | None = None, **quota: int) -> Project:
    """A project with its quota and network; `quota` changes limits."""
    project = Project.objects.create(slug=slug or f"project-{next(_numbers)}")
    Quota.objects.create(project=project, **quota)
    if owner is not None:
        add_member(project, owner, Role.OWNER)
    networks.network_of(project)
    return project


def add_member(project: Project, user: User, role: Role) -> Membership:
    """Make `user` a member."""
    return Membership.objects.create(project=project, user=user, role=role)


def make_zone(name: str = "zone-a") -> Zone:
    """A zone, made once a name."""
    return Zone.objects.get_or_create(name=name)[0]


def make_machine_type(
    name: str = "", *, vcpus: int = 1, memory_mib: int = 128, is_default: bool = False, **fields: Any
) -> MachineType:
    """A machine type."""
    return MachineType.objects.create(
        name=name or f"type-{next(_numbers)}",
        family=fields.pop("family", "tiny"),
        vcpus=vcpus,
        memory_mib=memory_mib,
        is_default=is_default,
        **fields,
    )


def make_image(name: str = "", *, metered: bool = True, **fields: Any) -> Image:
    """A READY image row; its file need not exist. A project's own is metered from now on, as an import does it."""
    name = name or f"image-{next(_numbers)}"
    made = Image.objects.create(
        **{
            "name": name,
            "family": "tiny",
            "size_bytes": 18 * 2**20,
            "virtual_size_bytes": 2**30,
            "sha256": secrets.token_hex(32),
            "file_name": f"{name}.qcow2",
            "status": Image.Status.READY,
            **fields,
        }
    )
    if metered and made.status in {Image.Status.READY, Image.Status.DEPRECATED}:
        image_metering.stored(made, user=None)
    return made


def make_host(name: str = "", *, zone: Zone | None = None, **fields: Any) -> Host:
    """A host that is up and has room for many small VMs: 8 CPUs, 16 GiB of memory, 500 GiB of disk."""
    name = name or f"host-{next(_numbers)}"
    return Host.objects.create(
        **{
            "name": name,
            "uri": f"qemu+unix:///system?socket=/nowhere/{name}.sock",
            "zone": zone or make_zone(),
            "health": Host.Health.UP,
            "last_seen_at": timezone.now(),
            "vcpus_total": 8,
            "memory_mib_total": 16 * 1024,
            "disk_gib_total": 500,
            **fields,
        }
    )


def make_vm(
    project: Project,
    name: str = "",
    state: State = State.RUNNING,
    *,
    host: Host | None = None,
    created_by: User | None = None,
    **fields: Any,
) -> VM:
    """A VM in `state`, holding what that state holds. PROVISIONING is on no host unless `host` is given."""
    if host is None and state is not State.PROVISIONING:
        host = Host.objects.filter(health=Host.Health.UP).first() or make_host()
    machine_type = fields.pop("machine_type", None) or MachineType.objects.first() or make_machine_type()
    disk_gib = fields.pop("disk_gib", 1)
    with transaction.atomic():
        vm = VM.objects.create(
            **{
                "project": project,
                "name": name or f"vm-{next(_numbers)}",
                "zone": host.zone if host else make_zone(),
                "host": host,
                "machine_type": machine_type,
                "image": fields.pop("image", None) or Image.objects.first() or make_image(),
                "state": state,
                "power": _POWER[state],
                "vcpus": machine_type.vcpus,
                "memory_mib": machine_type.memory_mib,
                "mac": networks.new_mac(),
                "created_by": created_by,
                **fields,
            }
        )
        made_at = None if host is None else timezone.now()
        Disk.objects.create(vm=vm, name=vm.name, size_gib=disk_gib, volume=vm.disk_volume, made_at=made_at)
        networks.give_address(vm)
        if host is not None:
            _hold(vm, host, disk_gib)
    return VM.objects.select_related("project", "host", "zone", "image", "machine_type", "address").get(pk=vm.pk)


def _hold(vm: VM, host: Host, disk_gib: int) -> None:
    """Book on the host what the state holds."""
    Reservation.objects.create(vm=vm, host=host, vcpus=0, memory_mib=0, disk_gib=0)
    capacity.reserve(vm)
    if State(vm.state) not in HOLDS_COMPUTE:
        capacity.release_compute(vm)


#: By which way a VM got into a state: what its log says before.
_CAME_BY: dict[State, tuple[tuple[Action, State], ...]] = {
    State.PROVISIONING: ((Action.CREATE, State.PROVISIONING),),
    State.STAGING: ((Action.CREATE, State.PROVISIONING), (Action.CREATE, State.STAGING)),
    State.RUNNING: ((Action.ADOPT, State.RUNNING),),
    State.TERMINATED: ((Action.ADOPT, State.TERMINATED),),
    State.STOPPING: ((Action.ADOPT, State.RUNNING), (Action.STOP, State.STOPPING)),
    State.REPAIRING: ((Action.ADOPT, State.RUNNING), (Action.CRASH, State.REPAIRING)),
    State.SUSPENDING: ((Action.ADOPT, State.RUNNING), (Action.SUSPEND, State.SUSPENDING)),
    State.SUSPENDED: ((Action.ADOPT, State.RUNNING), (Action.OBSERVED_SAVE, State.SUSPENDED)),
}


def give_history(vm: VM, born_at: datetime | None = None) -> VM:
    """Write the log and the metering intervals of a VM that `make_vm` made, as if it had come into its state.

    Born at `born_at` (or `created_at`), in its state since `state_since`. `make_vm` writes neither, because most
    tests look at the transitions they cause.
    """
    state, since = vm.lifecycle_state, vm.state_since
    steps = _CAME_BY[state]
    vm.created_at = vm.state_since = min(born_at or vm.created_at, since)
    with transaction.atomic():
        vm.state = steps[0][1]
        VM.objects.filter(pk=vm.pk).update(state=vm.state, state_since=vm.state_since, created_at=vm.created_at)
        born(vm, steps[0][0], asked_by=Asker.OPERATOR)
        for (_before, source), (action, target) in pairwise(steps):
            move(vm.pk, action, source, target, asked_by=Asker.OPERATOR, occurred_at=since)
        VM.objects.filter(pk=vm.pk).update(state_since=since)
    return reload_vm(vm.pk)


def make_operation(vm: VM, action: Action, *, steps: tuple[str, ...] = (), **fields: Any) -> Operation:
    """An open operation of the VM (PENDING unless `fields` say otherwise), with steps by name."""
    operation = Operation.objects.create(
        **{
            "project": vm.project,
            "vm": vm,
            "target_name": vm.name,
            "action": action,
            "asked_by": Asker.USER,
            "vm_fence": vm.fence,
            **fields,
        }
    )
    OperationStep.objects.bulk_create(
        OperationStep(operation=operation, index=index, name=name) for index, name in enumerate(steps)
    )
    return operation


def make_draft_invoice(vm: VM, month: str = "2026-02") -> Invoice:
    """A draft of one line, about `vm`."""
    since = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    hour = Decimal(3600)
    line = Line(Sort.USAGE, Decimal("36.00"), str(vm.pk), Item.DISK, "standard", vm.zone.name, 1, hour, Decimal("0.01"))
    made = invoices.write_draft(
        vm.project, invoices.Draft(month, since, since + timedelta(days=28), "EUR", [line], month.encode())
    )
    assert made
    return made


def reload_vm(vm_id: UUID) -> VM:
    """The VM as it is now, tombstones included."""
    return VM.objects.select_related("project", "host", "zone", "image", "machine_type").get(pk=vm_id)


def error_of(operation: Operation) -> dict[str, Any]:
    """The error an operation ended with; fails when it ended well."""
    assert isinstance(operation.error, dict), f"{operation} ended without an error"
    return operation.error
