"""compute.instances.set…: settings of a VM. Each is done at once; its operation is DONE as it is answered."""

from typing import Any

from lifecycle.api import bodies, finders, new_instance, schemas
from lifecycle.api.call import Call
from lifecycle.api.errors import invalid, unsupported
from lifecycle.api.methods.operations import answer_of, known_operation
from lifecycle.api.registry import method
from lifecycle.api.resources.instances import device_name
from lifecycle.api.schemas import Metadata, Operation, Scheduling, ShieldedInstanceConfig, Tags
from lifecycle.services import vm_changes

_ONE = "projects/{project}/zones/{zone}/instances/{instance}"
_REQUEST = ("requestId",)


@method("instances.setMetadata", "POST", _ONE + "/setMetadata", Operation, body=Metadata, query=_REQUEST)
def set_metadata(call: Call) -> Operation:
    """Replace all metadata. Keys, startup script and user data reach the guest at its next cold start."""
    if again := known_operation(call):
        return again
    items = new_instance.metadata_items(call.body, "resource")
    fingerprint = bodies.text(call.body, "fingerprint", "resource")
    vm = finders.vm_in(call)
    return answer_of(call, vm_changes.set_metadata(vm, items, fingerprint, user=call.user, request_id=call.request_id))


@method("instances.setTags", "POST", _ONE + "/setTags", Operation, body=Tags, query=_REQUEST)
def set_tags(call: Call) -> Operation:
    """Replace all network tags."""
    if again := known_operation(call):
        return again
    tags = new_instance.tags_of(call.body, "resource")
    fingerprint = bodies.text(call.body, "fingerprint", "resource")
    vm = finders.vm_in(call)
    return answer_of(call, vm_changes.set_tags(vm, tags, fingerprint, user=call.user, request_id=call.request_id))


@method("instances.setLabels", "POST", _ONE + "/setLabels", Operation, body=schemas.LabelsRequest, query=_REQUEST)
def set_labels(call: Call) -> Operation:
    """Replace all labels."""
    if again := known_operation(call):
        return again
    bodies.only(call.body, "resource", {"labels", "labelFingerprint"}, {})
    labels = bodies.words(call.body, "labels", "resource")
    fingerprint = bodies.text(call.body, "labelFingerprint", "resource")
    vm = finders.vm_in(call)
    return answer_of(call, vm_changes.set_labels(vm, labels, fingerprint, user=call.user, request_id=call.request_id))


@method(
    "instances.setMachineType",
    "POST",
    _ONE + "/setMachineType",
    Operation,
    body=schemas.MachineTypeRequest,
    query=_REQUEST,
)
def set_machine_type(call: Call) -> Operation:
    """Give a TERMINATED VM another size, from its next start on."""
    if again := known_operation(call):
        return again
    bodies.only(call.body, "resource", {"machineType"}, {})
    vm = finders.vm_in(call)
    name = new_instance.machine_type_name(call, call.body.get("machineType"), vm.zone)
    return answer_of(call, vm_changes.set_machine_type(vm, name, user=call.user, request_id=call.request_id))


@method("instances.setScheduling", "POST", _ONE + "/setScheduling", Operation, body=Scheduling, query=_REQUEST)
def set_scheduling(call: Call) -> Operation:
    """Change the scheduling policy: automaticRestart and hostErrorTimeoutSeconds; what is not named stays."""
    if again := known_operation(call):
        return again
    wanted = new_instance.scheduling_of({"scheduling": call.body})
    restart = bodies.flag(wanted, "automaticRestart", "resource", default=True)
    change = vm_changes.set_scheduling(
        finders.vm_in(call),
        automatic_restart=restart if "automaticRestart" in wanted else None,
        host_error_timeout_seconds=bodies.number(wanted, "hostErrorTimeoutSeconds", "resource"),
        user=call.user,
        request_id=call.request_id,
    )
    return answer_of(call, change)


@method(
    "instances.setDeletionProtection",
    "POST",
    _ONE + "/setDeletionProtection",
    Operation,
    query=("deletionProtection", "requestId"),
)
def set_deletion_protection(call: Call) -> Operation:
    """Switch deletion protection; on when nothing is said, as in Compute Engine."""
    if again := known_operation(call):
        return again
    on = _flag(call, "deletionProtection", "true")
    vm = finders.vm_in(call)
    return answer_of(call, vm_changes.set_protection(vm, on, user=call.user, request_id=call.request_id))


@method(
    "instances.setDiskAutoDelete",
    "POST",
    _ONE + "/setDiskAutoDelete",
    Operation,
    query=("autoDelete", "deviceName", "requestId"),
)
def set_disk_auto_delete(call: Call) -> Operation:
    """Say whether a disk is deleted with its VM."""
    if again := known_operation(call):
        return again
    on = _flag(call, "autoDelete", "")
    vm = finders.vm_in(call)
    device = call.query.get("deviceName", "")
    disk = next((disk for disk in vm.disks.all() if device_name(disk) == device), None)
    if disk is None:
        raise invalid("deviceName", device, "No disk of the instance has this device name.")
    return answer_of(call, vm_changes.set_disk_auto_delete(vm, disk, on, user=call.user, request_id=call.request_id))


@method(
    "instances.updateShieldedInstanceConfig",
    "PATCH",
    _ONE + "/updateShieldedInstanceConfig",
    Operation,
    body=ShieldedInstanceConfig,
    query=_REQUEST,
)
def update_shielded_instance_config(call: Call) -> Operation:
    """Nothing can be switched on: guests have neither Secure Boot nor a TPM. To ask for what is, is refused too."""
    finders.vm_in(call)
    raise unsupported("updateShieldedInstanceConfig", "guests boot without Secure Boot and without a TPM.")


@method(
    "instances.simulateMaintenanceEvent",
    "POST",
    _ONE + "/simulateMaintenanceEvent",
    Operation,
    query=("requestId", "withExtendedNotifications"),
)
def simulate_maintenance_event(call: Call) -> Operation:
    """Refused: maintenance of a host is announced by its operators, and moves no VM yet."""
    finders.vm_in(call)
    raise unsupported(
        "simulateMaintenanceEvent", "maintenance is announced by a host's operators, and moves no VM yet."
    )


@method(
    "instances.attachDisk",
    "POST",
    _ONE + "/attachDisk",
    Operation,
    body=schemas.AttachedDisk,
    query=("forceAttach", "requestId"),
)
def attach_disk(call: Call) -> Operation:
    """Refused: VMs have their boot disk alone."""
    finders.vm_in(call)
    raise unsupported("attachDisk", "VMs have their boot disk alone.")


@method("instances.detachDisk", "POST", _ONE + "/detachDisk", Operation, query=("deviceName", "requestId"))
def detach_disk(call: Call) -> Operation:
    """Refused: VMs have their boot disk alone, which cannot be taken away."""
    finders.vm_in(call)
    raise unsupported("detachDisk", "VMs have their boot disk alone.")


@method(
    "instances.getSerialPortOutput",
    "GET",
    _ONE + "/serialPort",
    schemas.SerialPortOutput,
    query=("port", "start"),
)
def get_serial_port_output(call: Call) -> dict[str, Any]:
    """What the guest wrote to its serial port, as far as it is kept: the last 64 KiB of characters."""
    port = call.query.get("port", "1")
    if port != "1":
        raise invalid("port", port, "There is one serial port, 1.")
    start = _start(call)
    vm = finders.vm_in(call)
    log = getattr(vm, "serial_log", None)
    text, end = (log.text, log.read_bytes) if log else ("", 0)
    kept = text.encode()
    first = max(start if start >= 0 else end + start, end - len(kept))
    contents = kept[len(kept) - max(0, end - first) :] if first < end else b""
    return {
        "kind": "compute#serialPortOutput",
        "contents": contents.decode(errors="replace"),
        "start": str(first),
        "next": str(max(end, start)),
        "selfLink": f"{call.links.zonal(vm.zone.name, 'instances', vm.name)}/serialPort",
    }


def _start(call: Call) -> int:
    """The byte to begin with; a negative one counts from the end."""
    text = call.query.get("start", "") or "0"
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise invalid("start", text, "It must be a whole number.")
    return int(text)


def _flag(call: Call, name: str, default: str) -> bool:
    text = call.query.get(name, default).lower()
    if text not in {"true", "false"}:
        raise invalid(name, text, "It must be true or false.")
    return text == "true"
