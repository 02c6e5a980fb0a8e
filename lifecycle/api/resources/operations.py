"""An operation as a zone operation of Compute Engine."""

from typing import Final

from lifecycle.api.errors import http_message_of, http_status_of, operation_error
from lifecycle.api.links import Links, number_of
from lifecycle.api.resources.times import wire_time
from lifecycle.api.schemas import Int64, Operation
from lifecycle.domain.transitions import Action
from lifecycle.models import Change
from lifecycle.models import Operation as Row

#: What each action is called on the wire; what nobody asked for has the name of its system event.
TYPES: Final[dict[str, str]] = {
    Action.CREATE: "insert",
    Action.START: "start",
    Action.STOP: "stop",
    Action.RESET: "reset",
    Action.SUSPEND: "suspend",
    Action.RESUME: "resume",
    Action.DELETE: "delete",
    Action.EXPIRE: "stop",
    Action.REPAIR: "compute.instances.repair.recreateInstance",
    Action.MIGRATE: "compute.instances.migrateOnHostMaintenance",
    Action.MAINTENANCE_STOP: "compute.instances.terminateOnHostMaintenance",
    Action.GUEST_SHUTDOWN: "compute.instances.guestTerminate",
    Action.CRASH: "compute.instances.automaticRestart",
    Action.HOST_ERROR: "compute.instances.hostError",
    Action.OBSERVED_START: "start",
    Action.OBSERVED_SAVE: "suspend",
    Action.ADOPT: "insert",
}


def name_of(row: Row | Change) -> str:
    """The operation's name on the wire."""
    return f"operation-{row.pk}"


def operation_of(row: Row | Change, links: Links) -> Operation:
    """The operation on the wire. One that failed says so twice: Google's Python client sees the second alone."""
    found = _common(row, links)
    if isinstance(row, Change):
        at = wire_time(row.insert_time)
        return found | {"operationType": row.kind, "status": "DONE", "progress": 100, "startTime": at, "endTime": at}
    found |= {"operationType": TYPES.get(row.action, row.action), "status": row.status}
    found["progress"] = 100 if row.is_done else row.progress
    if row.start_time:
        found["startTime"] = wire_time(row.start_time)
    if row.end_time:
        found["endTime"] = wire_time(row.end_time)
    if row.error:
        item = operation_error(row.error)
        found["error"] = {"errors": [item]}
        found["httpErrorStatusCode"] = http_status_of(item["code"])
        found["httpErrorMessage"] = http_message_of(found["httpErrorStatusCode"])
    return found


def _common(row: Row | Change, links: Links) -> Operation:
    zone = row.vm.zone.name
    found: Operation = {
        "kind": "compute#operation",
        "id": Int64(number_of(row.pk)),
        "name": name_of(row),
        "zone": links.zone(zone),
        "targetLink": links.zonal(zone, "instances", row.target_name),
        "targetId": Int64(number_of(row.vm_id)),
        "user": _user(row),
        "insertTime": wire_time(row.insert_time),
        "selfLink": links.zonal(zone, "operations", name_of(row)),
    }
    if row.request_id:
        found["clientOperationId"] = str(row.request_id)
    return found


def _user(row: Row | Change) -> str:
    if row.user is None:
        return "system"
    return row.user.email or row.user.get_username()
