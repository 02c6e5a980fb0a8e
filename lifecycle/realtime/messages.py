"""What a browser is told: whole, versioned representations, so that applying a message is replacing.

`snapshot(...)` followed by `apply(...)` of every later event equals a fresh `snapshot(...)`; a test says so.
"""

import math
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, allowed_actions
from lifecycle.domain.usage import Values
from lifecycle.models import VM, Host, Operation, Project

VERSION = 1
VM_CHANGED = "vm"
VM_GONE = "vm.gone"

_RELATED = ("host", "zone", "machine_type", "address")


def operation_payload(operation: Operation | None) -> dict[str, Any] | None:
    """An operation with its steps, as JSON values; None for none.

    Only what every change of is published: `attempt`, which rises each time a worker looks, is not in it.
    """
    if operation is None:
        return None
    return {
        "id": str(operation.id),
        "action": operation.action,
        "status": operation.status,
        "progress": operation.progress,
        "undoing": operation.undoing,
        "recovered": operation.recovered,
        "error": operation.error,
        "steps": [{"name": s.name, "status": s.status, "detail": s.detail} for s in operation.steps.all()],
    }


def vm_payload(vm: VM, operation: Operation | None) -> dict[str, Any]:
    """A VM and its open operation, as JSON values. Times are ISO 8601 in UTC, memory in MiB."""
    running = Action(operation.action) if operation else None
    address = getattr(vm, "address", None)
    return {
        "id": str(vm.id),
        "name": vm.name,
        "state": vm.state,
        "reason": vm.state_reason,
        "since": vm.state_since.isoformat(),
        "zone": vm.zone.name,
        "host": vm.host.name if vm.host else None,
        "machine_type": vm.machine_type.name,
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "address": address.ip if address else None,
        "power": vm.power,
        "silent": vm.host is not None and vm.host.health == Host.Health.DOWN,
        "allowed": [a.value for a in allowed_actions(State(vm.state), running)],
        "operation": operation_payload(operation),
    }


def usage_message(at: int, host_id: int, values: Values) -> dict[str, Any]:
    """A sample of usage at a moment (Unix time); null is unknown. A project's comes in a part a host."""
    known = [None if math.isnan(value) else round(value, 4) for value in values]
    return {"v": VERSION, "type": "usage", "at": at, "part": host_id, "values": known}


def open_operations(vm_ids: Iterable[UUID]) -> dict[UUID, Operation]:
    """The open operation of each VM that has one, steps included: two queries whatever the number."""
    found = Operation.objects.filter(vm__in=list(vm_ids)).exclude(status=Operation.Status.DONE)
    return {op.vm_id: op for op in found.prefetch_related("steps")}


def load_vm(vm_id: UUID) -> VM:
    """A VM with all that its payload shows."""
    return VM.objects.select_related(*_RELATED).get(pk=vm_id)


def snapshot(project: Project, vm_ids: Iterable[UUID] | None = None) -> dict[str, Any]:
    """The project as it is: the number is read first, so that later events apply again without harm."""
    number = Project.objects.values_list("last_event_number", flat=True).get(pk=project.pk)
    vms = VM.objects.live().filter(project=project).select_related(*_RELATED)
    if vm_ids is not None:
        vms = vms.filter(pk__in=list(vm_ids))
    rows = list(vms)
    operations = open_operations(vm.id for vm in rows)
    return {"v": VERSION, "number": number, "vms": [vm_payload(vm, operations.get(vm.id)) for vm in rows]}


def apply(current: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    """The snapshot after an event: what live.js does to the page, as a function."""
    if event["number"] <= current["number"]:
        return current
    vms = {vm["id"]: vm for vm in current["vms"]}
    if event["kind"] == VM_GONE:
        vms.pop(event["payload"]["id"], None)
    else:
        vms[event["payload"]["id"]] = event["payload"]
    return {**current, "number": event["number"], "vms": sorted(vms.values(), key=lambda vm: vm["name"])}
