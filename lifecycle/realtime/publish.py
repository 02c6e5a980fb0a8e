"""Events: written in the transaction of the change, pushed on its commit.

The number comes from the project's row, which stays locked until the commit: numbers have no gaps and
their order is the order of commits.
"""

from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from lifecycle.models import Event, Operation
from lifecycle.realtime import messages, push

_COUNT_ONE: Final = (
    "UPDATE lifecycle_project SET last_event_number = last_event_number + 1 WHERE id = %s RETURNING last_event_number"
)


def record(project_id: int, kind: str, payload: dict[str, Any]) -> int:
    """Append an event and push it on commit; returns its number. Needs an open transaction."""
    number = _next_number(project_id)
    at = timezone.now()
    Event.objects.create(project_id=project_id, number=number, kind=kind, payload=payload, at=at)
    message = {
        "v": messages.VERSION,
        "type": "event",
        "number": number,
        "kind": kind,
        "payload": payload,
        "at": at.isoformat(),
    }
    transaction.on_commit(lambda: push.send(project_id, message))
    return number


def _next_number(project_id: int) -> int:
    """The number of the project's next event; locks its row. One statement, which the ORM has no words for."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_ONE, [project_id])
        (number,) = cursor.fetchone()
    return int(number)


def vm_changed(vm_id: UUID) -> int:
    """Tell what a VM is now: changed, or gone when it is a tombstone."""
    vm = messages.load_vm(vm_id)
    if vm.deleted_at is None:
        operation = messages.open_operations([vm.id]).get(vm.id)
        return record(vm.project_id, messages.VM_CHANGED, messages.vm_payload(vm, operation))
    last = Operation.objects.filter(vm=vm).order_by("-insert_time").prefetch_related("steps").first()
    payload = {"id": str(vm.id), "name": vm.name, "operation": messages.operation_payload(last)}
    return record(vm.project_id, messages.VM_GONE, payload)
