"""Finding what an address names: through the person's own view of the project, by name or by number."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from lifecycle.api.call import Call
from lifecycle.api.errors import not_found
from lifecycle.api.links import range_of, region_of
from lifecycle.models import VM, Change, Operation, Zone
from lifecycle.models.vms import VMQuerySet

#: Columns of a VM of which each may hold some hundred KiB.
_TEXTS: Final = ("definition", "host_keys", "metadata", "notes", "ssh_keys", "startup_script", "user_data")


def zone_in(call: Call) -> Zone:
    """The zone of the address."""
    name = call.path["zone"]
    found = Zone.objects.filter(name=name).first() if "\0" not in name else None
    if found is None:
        raise not_found(f"projects/{call.project.slug}/zones/{name}")
    return found


def zones_of_region(call: Call) -> list[Zone]:
    """The zones of the region of the address; a region without zones does not exist."""
    name = call.path["region"]
    found = [zone for zone in Zone.objects.order_by("name") if region_of(zone.name) == name]
    if not found:
        raise not_found(f"projects/{call.project.slug}/regions/{name}")
    return found


def instances(call: Call) -> VMQuerySet:
    """The project's live VMs."""
    return call.place.vms().live()


def vm_in(call: Call, select: Callable[[VMQuerySet], VMQuerySet] = lambda vms: vms) -> VM:
    """The VM of the address; `select` says what is read of it."""
    zone = call.path["zone"].replace("\0", "?")
    found = select(instances(call)).filter(zone__name=zone, **by_name_or_id(call.path["instance"])).first()
    if found is None:
        zone_in(call)
        raise call.missing()
    return found


def by_name_or_id(text: str) -> dict[str, Any]:
    """The condition for a name, or for the number that stands for an id."""
    if between := range_of(text):
        return {"pk__range": between}
    return {"name": text.replace("\0", "?")}


def number_in(text: str) -> int | None:
    """The row's number that stands in an address instead of a name; None: it is a name."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def with_vm(rows: "QuerySet[Any]", *more: str) -> "QuerySet[Any]":
    """The rows with their VM, its zone and `more`, but without the VM's texts, which a list would read for nothing."""
    return rows.select_related("vm__zone", *more).defer(*(f"vm__{column}" for column in _TEXTS))


def every_operation(call: Call, **conditions: Any) -> "list[QuerySet[Any]]":
    """The project's operations and changes, also those that a client deleted, with what an answer shows of each."""
    asked = {"project": call.project, **conditions}
    return [with_vm(kind.objects.filter(**asked), "user") for kind in (Operation, Change)]


def operations(call: Call, **conditions: Any) -> "list[QuerySet[Any]]":
    """Those of them that its clients may see."""
    return every_operation(call, hidden_from_api=False, **conditions)


def operation_in(call: Call) -> Operation | Change:
    """The zone's operation of the address."""
    zone = zone_in(call)
    text = call.path["operation"]
    if between := range_of(text):
        condition: dict[str, Any] = {"pk__range": between}
    else:
        try:
            condition = {"pk": UUID(text.removeprefix("operation-"))}
        except ValueError:
            raise call.missing() from None
    for rows in operations(call, vm__zone=zone, **condition):
        found: Operation | Change | None = rows.first()
        if found is not None:
            return found
    raise call.missing()
