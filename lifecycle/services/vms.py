"""What people ask of VMs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from lifecycle.domain import guests, vm_labels
from lifecycle.domain.errors import (
    ActionNotAllowed,
    DeletionProtected,
    InvalidInput,
    NameTaken,
    NotFound,
    OperationInProgress,
)
from lifecycle.domain.metadata import check_metadata, check_tags
from lifecycle.domain.quotas import Amounts
from lifecycle.domain.transitions import TABLE, Action, Asker, allowed_actions, may_preempt, may_start
from lifecycle.models import VM, Change, Disk, Image, MachineType, Operation, Project, User, Zone
from lifecycle.models.images import Firmware, Kind
from lifecycle.realtime import publish
from lifecycle.services import audit, budgets, config_changes, networks, operations, quotas
from lifecycle.services.access import authorise
from lifecycle.services.db import lock_project, service
from lifecycle.services.transitions import born, move

#: Actions that take vCPUs and memory which the VM does not hold while it rests: quota is asked first.
_NEEDS_COMPUTE = frozenset({Action.START, Action.RESUME})


#: The empty disk of a VM that is made from a CD, when nobody says its size.
CD_DISK_GIB = 10


@dataclass(frozen=True, slots=True)
class VMRequest:
    """What a person says of a new VM; empty means the default. Memory in MiB, disk in GiB."""

    name: str
    zone: str = ""
    machine_type: str = ""  # a name, or custom-VCPUS-MEMORY
    image: str = ""  # a name or a family
    firmware: str = ""  # empty: as the image says
    disk_gib: int | None = None
    ssh_keys: str = ""
    use_project_keys: bool = True
    use_my_keys: bool = False  # the keys that the person who asks keeps
    startup_script: str = ""
    user_data: str = ""
    automatic_restart: bool = True
    host_error_timeout_seconds: int = 90
    stop_grace_seconds: int = 90
    deletion_protection: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    disk_auto_delete: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    asked: str = ""  # the digest of what a program sent, whose names may come to stand for something else

    def digest(self) -> str:
        """A short name of all that is asked for: another content has another."""
        whole = asdict(self)
        return whole.pop("asked") or hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


@service
def request_create(
    project: Project, request: VMRequest, *, user: User | None, request_id: UUID | None = None
) -> Operation:
    """Write a new VM in PROVISIONING and the operation that makes it real.

    Raises:
        InvalidInput, NameTaken, BudgetExceeded, QuotaExceeded, Forbidden, RequestIdReused: nothing was written.
    """
    project = lock_project(project.pk)
    authorise(project, user, Action.CREATE)
    if again := _same_request(project, request_id, Action.CREATE, digest=request.digest()):
        return again
    guests.check_name(request.name)
    zone, image, machine_type = (
        _zone(request.zone),
        _image(project, request.image),
        machine_type_of(request.machine_type),
    )
    default_gib = CD_DISK_GIB if image.kind == Kind.ISO else image.min_disk_gib
    disk_gib = guests.check_disk(default_gib if request.disk_gib is None else request.disk_gib, image.min_disk_gib)
    if machine_type.memory_mib < image.min_memory_mib:
        raise InvalidInput(
            "The image needs at least %(least)s MiB of memory; this machine type has %(value)s.",
            field="machine_type",
            least=image.min_memory_mib,
            value=machine_type.memory_mib,
        )
    vm = VM(
        project=project,
        name=request.name,
        zone=zone,
        image=image,
        firmware=_firmware(request.firmware or image.firmware),
        cdrom=image if image.kind == Kind.ISO else None,
        next_cdrom=image if image.kind == Kind.ISO else None,
        machine_type=machine_type,
        vcpus=machine_type.vcpus,
        memory_mib=machine_type.memory_mib,
        cpu_quota_percent=machine_type.cpu_quota_percent,
        mac=networks.new_mac(),
        ssh_keys=guests.check_ssh_keys(request.ssh_keys),
        use_project_keys=request.use_project_keys,
        startup_script=guests.check_startup_script(request.startup_script),
        user_data=guests.check_user_data(request.user_data),
        automatic_restart=request.automatic_restart,
        host_error_timeout_seconds=guests.check_host_error_timeout(request.host_error_timeout_seconds),
        stop_grace_seconds=guests.check_grace(request.stop_grace_seconds),
        deletion_protection=request.deletion_protection,
        labels=(labels := vm_labels.check_labels(request.labels)),
        label_text=vm_labels.as_searched(labels),
        metadata=check_metadata(request.metadata),
        tags=check_tags(request.tags),
        created_by=user,
    )
    _refuse_taken_name(project, request.name)
    budgets.check(project)
    quotas.check(project, Amounts(1, vm.vcpus, vm.memory_mib, disk_gib))
    disk = Disk(vm=vm, size_gib=disk_gib, auto_delete=request.disk_auto_delete)
    operation = _write(vm, disk, user, request_id, request.digest())
    if request.use_my_keys and user is not None:
        vm.key_people.add(user)
    return operation


@service
def request_action(
    vm: VM,
    action: Action,
    *,
    user: User | None,
    asked_by: Asker = Asker.USER,
    request_id: UUID | None = None,
    as_operator: bool = False,
) -> Operation:
    """Open the operation for `action` and move the VM into its first phase; preempts where the table says so.

    Args:
        as_operator: `user` acts by a permission of the staff that the caller checked, not by a role in the project.

    Raises:
        ActionNotAllowed, OperationInProgress, DeletionProtected, QuotaExceeded, Forbidden, NotFound,
        RequestIdReused:
            nothing was changed.
    """
    project = lock_project(vm.project_id)
    authorise(project, None if as_operator else user, action)
    if again := _same_request(project, request_id, action, vm=vm):
        return again
    vm = _live(vm)
    running = operations.current(vm.id)
    _check_allowed(vm, action, running, asked_by)
    if action in _NEEDS_COMPUTE:
        quotas.check(project, Amounts(vcpus=vm.vcpus, memory_mib=vm.memory_mib))
    data = {"asked_in": vm.state}
    if running is not None:
        data["preempted"] = running.action
        vm.fence = operations.preempt(running)
    operation = operations.open_operation(vm, action, asked_by=asked_by, user=user, request_id=request_id, data=data)
    if running is not None:
        Operation.objects.filter(pk=running.pk).update(preempted_by=operation)
    through = TABLE[action].through
    if through and vm.lifecycle_state is not through[0]:
        move(vm.id, action, vm.lifecycle_state, through[0], asked_by=asked_by, operation=operation, user=user)
    else:
        publish.vm_changed(vm.id)
    if user is not None:
        details = {"operation": str(operation.pk), "state": data["asked_in"]}
        audit.record(f"vm.{action}", project=project, user=user, target=vm.name, details=details)
    return operation


@service
def set_deletion_protection(vm: VM, on: bool, *, user: User | None) -> None:
    """Switch deletion protection."""
    project = lock_project(vm.project_id)
    authorise(project, user, Action.DELETE)
    with config_changes.recorded(_live(vm).pk, user=user):
        VM.objects.live().filter(pk=vm.pk).update(deletion_protection=on)
    audit.record("vm.protection", project=project, user=user, target=vm.name, details={"on": on})
    publish.vm_changed(vm.id)


@service
def set_cdrom(vm: VM, image_id: int | None, *, user: User | None) -> None:
    """Put a CD into the VM's drive at its next start, or (None) take it out.

    Raises:
        InvalidInput: no such CD for this project. Forbidden, NotFound.
    """
    project = lock_project(vm.project_id)
    authorise(project, user, Action.START)
    found = _live(vm)
    if found.adopted:
        raise InvalidInput("This VM was adopted: its definition is that of its maker.", field="cdrom")
    image = None
    if image_id is not None:
        cds = Image.objects.usable_in(project).filter(kind=Kind.ISO, status=Image.Status.READY)
        image = cds.filter(pk=image_id).first()
        if image is None:
            raise InvalidInput("There is no such CD. Choose one from the list.", field="cdrom")
    with config_changes.recorded(found.pk, user=user):
        VM.objects.filter(pk=found.pk).update(next_cdrom=image)
    publish.vm_changed(found.pk)


def _same_request(
    project: Project, request_id: UUID | None, action: Action, *, vm: VM | None = None, digest: str = ""
) -> Operation | None:
    """The operation that this request opened before. Raises `RequestIdReused` when it asked for something else."""
    found = operations.of_request(project, request_id)
    if found is None or request_id is None:
        return None
    if isinstance(found, Change):
        raise operations.reused(request_id, found.kind, found.target_name)
    same_vm = vm is None or found.vm_id == vm.pk
    # An operation of the version before has no digest: it is taken to be the same.
    if found.action == action and same_vm and found.data.get("digest", digest) == digest:
        return found
    raise operations.reused(request_id, found.action, found.target_name)


def _live(vm: VM) -> VM:
    found = VM.objects.live().select_for_update().filter(pk=vm.pk).first()
    if found is None:
        raise NotFound("The VM %(name)s does not exist any more.", name=vm.name)
    return found


def _check_allowed(vm: VM, action: Action, running: Operation | None, asked_by: Asker) -> None:
    if asked_by not in TABLE[action].asked_by:
        raise ActionNotAllowed("%(action)s cannot be asked for by %(asker)s.", action=action, asker=asked_by)
    open_action = Action(running.action) if running else None
    if not may_start(action, vm.lifecycle_state):
        possible = allowed_actions(vm.lifecycle_state, open_action)
        raise ActionNotAllowed(
            "%(name)s is %(state)s: %(action)s is not possible now. Possible now: %(possible)s.",
            name=vm.name,
            state=vm.state,
            action=action,
            possible=", ".join(possible) or "–",
        )
    if not may_preempt(action, open_action):
        raise OperationInProgress(
            "%(running)s is under way on %(name)s; %(action)s has to wait until it is done.",
            running=open_action,
            name=vm.name,
            action=action,
        )
    if action is Action.DELETE and vm.deletion_protection:
        raise DeletionProtected(
            "%(name)s is protected against deletion. Switch the protection off first.", name=vm.name
        )


def _zone(name: str) -> Zone:
    found = Zone.objects.filter(name=name).first() if name else Zone.objects.order_by("name").first()
    if found is None:
        raise InvalidInput("There is no zone %(value)s.", field="zone", value=name or "–")
    return found


def _image(project: Project, name: str) -> Image:
    """By name, the project's own before a public one; else the newest of a family."""
    ready = Image.objects.usable_in(project).filter(status=Image.Status.READY)
    if not name:
        disks = ready.filter(kind=Kind.DISK)
        found = disks.filter(project__isnull=True).order_by("pk").first() or disks.order_by("pk").first()
    else:
        found = (
            ready.filter(name=name).order_by(F("project").asc(nulls_last=True)).first()
            or ready.filter(family=name).order_by("-pk").first()
        )
    if found is None:
        raise InvalidInput(
            "There is no image %(value)s that is ready. Choose one from the list.", field="image", value=name or "–"
        )
    return found


def _firmware(name: str) -> str:
    if name not in Firmware.values:
        raise InvalidInput("There is no firmware %(value)s.", field="firmware", value=name)
    return name


def machine_type_of(name: str) -> MachineType:
    """A known type, or a custom one, which is made at its first use; the default for no name.

    Raises:
        InvalidInput: there is none of that name, or it is not offered any more.
    """
    if not name:
        found = MachineType.objects.filter(is_default=True).first() or MachineType.objects.filter(retired=False).first()
    else:
        found = MachineType.objects.filter(name=name).first()
    if found is None and (shape := guests.parse_custom_machine_type(name)):
        found = custom_type(*guests.check_shape(*shape))
    if found is None or (found.retired and found.family != "custom"):
        raise InvalidInput(
            "There is no machine type %(value)s. Choose one from the list.", field="machine_type", value=name or "–"
        )
    return found


def custom_type(vcpus: int, memory_mib: int) -> MachineType:
    """The custom machine type of a size, made at its first use. One that was found need not be one that is offered."""
    values = {"family": "custom", "vcpus": vcpus, "memory_mib": memory_mib, "retired": True}
    found, _made = MachineType.objects.get_or_create(name=f"custom-{vcpus}-{memory_mib}", defaults=values)
    return found


def _refuse_taken_name(project: Project, name: str) -> None:
    if VM.objects.live().filter(project=project, name=name).exists():
        raise NameTaken("This project already has a VM called %(name)s.", field="name", name=name)


def _write(vm: VM, disk: Disk, user: User | None, request_id: UUID | None, digest: str) -> Operation:
    try:
        with transaction.atomic():
            vm.save(force_insert=True)
    except IntegrityError as error:  # a MAC drawn twice, or a name taken outside of the lock
        raise NameTaken("This project already has a VM called %(name)s.", field="name", name=vm.name) from error
    disk.name, disk.volume = vm.name, vm.disk_volume
    disk.save(force_insert=True)
    networks.give_address(vm)
    operation = operations.open_operation(
        vm,
        Action.CREATE,
        asked_by=Asker.USER,
        user=user,
        request_id=request_id,
        data={"asked_in": "", "digest": digest},
    )
    born(vm, Action.CREATE, asked_by=Asker.USER, operation=operation, user=user)
    details = {"operation": str(operation.pk), "machine_type": vm.machine_type.name, "image": vm.image.name}
    audit.record("vm.create", project=vm.project, user=user, target=vm.name, details=details)
    return operation
