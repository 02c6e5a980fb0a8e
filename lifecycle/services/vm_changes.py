"""Changes of a VM's settings. Those of its machine and its seed reach the guest at its next cold start."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.utils import timezone

from lifecycle.domain import fingerprints, guests
from lifecycle.domain.errors import ActionNotAllowed, InvalidInput, NotFound
from lifecycle.domain.metadata import check_metadata, check_tags
from lifecycle.domain.quotas import Amounts
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Change, Disk, User
from lifecycle.realtime import publish
from lifecycle.services import audit, config_changes, operations, quotas, vm_details
from lifecycle.services.access import authorise
from lifecycle.services.db import lock_project, service
from lifecycle.services.vm_metadata import metadata_of, seeded_fields
from lifecycle.services.vms import machine_type_of

Apply = Callable[[VM], dict[str, Any]]


@service
def set_metadata(
    vm: VM, items: Mapping[str, str], fingerprint: str, *, user: User | None, request_id: UUID | None = None
) -> Change:
    """Replace all metadata; keys, script and user data reach the guest at its next cold start.

    Raises:
        ConditionNotMet: somebody was faster; InvalidInput: a key or value is not possible.
    """

    def apply(row: VM) -> dict[str, Any]:
        fingerprints.check(fingerprint, metadata_of(row), fingerprints.METADATA_MOVED)
        metadata = check_metadata(items)
        fields = seeded_fields(metadata)
        guests.check_ssh_keys(fields["ssh_keys"])
        guests.check_startup_script(fields["startup_script"])
        guests.check_user_data(fields["user_data"])
        return {"metadata": metadata, **fields}

    return _change(vm, "setMetadata", apply, user, request_id)


@service
def set_tags(
    vm: VM, tags: Sequence[str], fingerprint: str, *, user: User | None, request_id: UUID | None = None
) -> Change:
    """Replace all network tags.

    Raises:
        ConditionNotMet: somebody was faster; InvalidInput: a tag is not possible.
    """

    def apply(row: VM) -> dict[str, Any]:
        fingerprints.check(fingerprint, row.tags, fingerprints.TAGS_MOVED)
        return {"tags": check_tags(tags)}

    return _change(vm, "setTags", apply, user, request_id)


@service
def set_labels(
    vm: VM, labels: Mapping[str, str], fingerprint: str, *, user: User | None, request_id: UUID | None = None
) -> Change:
    """Replace all labels.

    Raises:
        ConditionNotMet: somebody was faster; InvalidInput: a label is not possible.
    """

    def apply(row: VM) -> dict[str, Any]:
        fingerprints.check(fingerprint, row.labels, fingerprints.LABELS_MOVED)
        vm_details.set_labels(row, labels, user=user)
        return {}

    return _change(vm, "setLabels", apply, user, request_id)


@service
def set_machine_type(vm: VM, name: str, *, user: User | None, request_id: UUID | None = None) -> Change:
    """Give a TERMINATED VM another size, from its next start on.

    Raises:
        ActionNotAllowed: it is not TERMINATED, or its definition is others'; InvalidInput: there is no such type, or
            it is too small for the image; QuotaExceeded: the project could not start it.
    """

    def apply(row: VM) -> dict[str, Any]:
        _check_may_be_resized(row)
        wanted = machine_type_of(name)
        if wanted.memory_mib < row.image.min_memory_mib:
            raise InvalidInput(
                "The image needs at least %(least)s MiB of memory; this machine type has %(value)s.",
                field="machine_type",
                least=row.image.min_memory_mib,
                value=wanted.memory_mib,
            )
        quotas.check(row.project, Amounts(vcpus=wanted.vcpus, memory_mib=wanted.memory_mib))
        return {
            "machine_type": wanted,
            "vcpus": wanted.vcpus,
            "memory_mib": wanted.memory_mib,
            "cpu_quota_percent": wanted.cpu_quota_percent,
            "resized_at": timezone.now(),
        }

    return _change(vm, "setMachineType", apply, user, request_id)


@service
def set_scheduling(
    vm: VM,
    *,
    automatic_restart: bool | None = None,
    host_error_timeout_seconds: int | None = None,
    user: User | None,
    request_id: UUID | None = None,
) -> Change:
    """Change the scheduling policy, which counts from now on. What is None stays, whoever changes it meanwhile."""

    def apply(_row: VM) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        if automatic_restart is not None:
            wanted["automatic_restart"] = automatic_restart
        if host_error_timeout_seconds is not None:
            seconds = guests.check_host_error_timeout(host_error_timeout_seconds)
            wanted["host_error_timeout_seconds"] = seconds
        return wanted

    return _change(vm, "setScheduling", apply, user, request_id)


@service
def set_protection(vm: VM, on: bool, *, user: User | None, request_id: UUID | None = None) -> Change:
    """Switch deletion protection."""
    return _change(
        vm, "setDeletionProtection", lambda _row: {"deletion_protection": on}, user, request_id, Action.DELETE
    )


@service
def set_disk_auto_delete(vm: VM, disk: Disk, on: bool, *, user: User | None, request_id: UUID | None = None) -> Change:
    """Say whether a disk of the VM is deleted with it."""

    def apply(row: VM) -> dict[str, Any]:
        if not Disk.objects.filter(pk=disk.pk, vm=row).update(auto_delete=on):
            raise NotFound("The VM %(name)s has no such disk.", name=row.name)
        return {}

    return _change(vm, "setDiskAutoDelete", apply, user, request_id, Action.DELETE)


def _change(
    vm: VM, kind: str, apply: Apply, user: User | None, request_id: UUID | None, right: Action = Action.START
) -> Change:
    """Under the project's lock: authorise, change, write it down, tell. The same request again changes nothing.

    Raises:
        RequestIdReused: the id stands for another kind of change, or for that of another VM.
    """
    project = lock_project(vm.project_id)
    authorise(project, user, right)
    again = operations.of_request(project, request_id)
    if isinstance(again, Change) and (again.kind, again.vm_id) == (kind, vm.pk):
        return again
    if again is not None and request_id is not None:
        what = again.kind if isinstance(again, Change) else again.action
        raise operations.reused(request_id, what, again.target_name)
    row = VM.objects.live().select_for_update(of=("self",)).select_related("image", "project").filter(pk=vm.pk).first()
    if row is None:
        raise NotFound("The VM %(name)s does not exist any more.", name=vm.name)
    if fields := apply(row):
        with config_changes.recorded(row.pk, user=user):
            VM.objects.filter(pk=row.pk).update(**fields)
    audit.record("vm.settings", project=project, user=user, target=row.name, details={"kind": kind})
    publish.vm_changed(row.pk)
    return Change.objects.create(
        project=project, vm=row, target_name=row.name, kind=kind, user=user, request_id=request_id
    )


def _check_may_be_resized(vm: VM) -> None:
    if vm.lifecycle_state is not State.TERMINATED:
        raise ActionNotAllowed(
            "%(name)s is %(state)s: its machine type can be changed while it is TERMINATED. Stop it first.",
            name=vm.name,
            state=vm.state,
        )
    if vm.adopted or vm.definition is not None:
        raise ActionNotAllowed("The definition of %(name)s was made outside of the portal and is kept.", name=vm.name)
