"""compute.instances: the VMs and what is done with them."""

from typing import Any

from lifecycle.api import allowed, bodies, finders, new_instance, schemas
from lifecycle.api.call import Call
from lifecycle.api.listing import Order, aggregated_answer, list_answer, page_of
from lifecycle.api.methods.operations import answer_of, known_operation
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.resources.instances import instance_of, one_row, rows
from lifecycle.api.schemas import Instance, Operation
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Zone
from lifecycle.services.vms import request_action, request_create

_ALL = "projects/{project}/zones/{zone}/instances"
_ONE = _ALL + "/{instance}"
ORDER = Order(("name", "pk"), ("created_at", "pk"), columns={"name": "name", "status": "state"})


@method("instances.get", "GET", _ONE, Instance)
def get(call: Call) -> Instance:
    """One VM."""
    return instance_of(finders.vm_in(call, one_row), call.links)


@method("instances.list", "GET", _ALL, schemas.list_of(Instance), query=LIST_PARAMETERS)
def list_(call: Call) -> dict[str, Any]:
    """The VMs of a zone."""
    found = rows(finders.instances(call).filter(zone=finders.zone_in(call)))
    page, token = page_of(call, found, lambda vm: instance_of(vm, call.links), ORDER)
    return list_answer(call, "instance", [item for _vm, item in page], token)


@method(
    "instances.aggregatedList",
    "GET",
    "projects/{project}/aggregated/instances",
    schemas.aggregated_list_of(Instance, "instances"),
    query=(*LIST_PARAMETERS, "includeAllScopes"),
)
def aggregated_list(call: Call) -> dict[str, Any]:
    """The VMs of all zones."""
    page, token = page_of(call, rows(finders.instances(call)), lambda vm: instance_of(vm, call.links), ORDER)
    scopes: dict[str, list[Any]] = {f"zones/{name}": [] for name in Zone.objects.values_list("name", flat=True)}
    for vm, item in page:
        scopes[f"zones/{vm.zone.name}"].append(item)
    return aggregated_answer(call, "instance", scopes, token, "instances")


@method("instances.insert", "POST", _ALL, Operation, body=Instance, query=("requestId",))
def insert(call: Call) -> Operation:
    """Create a VM from an image. What it cannot have is refused; what clients ask for by default is warned of."""
    bodies.without(call.query, allowed.NOT_INSERT)
    request = new_instance.request_of(call, finders.zone_in(call))
    row = request_create(call.project, request, user=call.user, request_id=call.request_id)
    answer = answer_of(call, row)
    if notes := new_instance.notes_on(call.body):
        answer["warnings"] = [
            {"code": "FIELD_VALUE_OVERRIDEN", "message": why, "data": [{"key": "field_name", "value": name}]}
            for name, why in notes
        ]
    return answer


@method("instances.delete", "DELETE", _ONE, Operation, query=("requestId",))
def delete(call: Call) -> Operation:
    """Delete a VM with its auto-delete disks."""
    bodies.without(call.query, allowed.NOT_STOP)
    return _act(call, Action.DELETE)


@method("instances.start", "POST", _ONE + "/start", Operation, query=("requestId",))
def start(call: Call) -> Operation:
    """Start a TERMINATED VM."""
    return _act(call, Action.START)


@method("instances.stop", "POST", _ONE + "/stop", Operation, query=("requestId", "discardLocalSsd"))
def stop(call: Call) -> Operation:
    """Shut a VM down; it is forced off after its grace period."""
    bodies.without(call.query, allowed.NOT_STOP)
    return _act(call, Action.STOP)


@method("instances.reset", "POST", _ONE + "/reset", Operation, query=("requestId",))
def reset(call: Call) -> Operation:
    """The reset button of a machine."""
    return _act(call, Action.RESET)


@method("instances.suspend", "POST", _ONE + "/suspend", Operation, query=("requestId", "discardLocalSsd"))
def suspend(call: Call) -> Operation:
    """Save a VM's memory and switch it off."""
    return _act(call, Action.SUSPEND)


@method("instances.resume", "POST", _ONE + "/resume", Operation, query=("requestId",), body=schemas.Nothing)
def resume(call: Call) -> Operation:
    """Go on where a VM was suspended."""
    bodies.only(call.body, "resource", (), {"disks": "disks have no keys.", "instanceEncryptionKey": "there is none."})
    return _act(call, Action.RESUME)


def _act(call: Call, action: Action) -> Operation:
    """Ask for an action. With a known `requestId` the VM may be gone already: the operation answers for it."""
    if again := known_operation(call):
        return again
    vm: VM = finders.vm_in(call)
    return answer_of(call, request_action(vm, action, user=call.user, request_id=call.request_id))
