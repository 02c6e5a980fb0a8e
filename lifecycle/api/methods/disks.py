"""compute.disks and diskTypes: the disks of VMs; they are made and deleted with them."""

from typing import Any

from django.db.models import QuerySet

from lifecycle.api import finders, schemas
from lifecycle.api.call import Call
from lifecycle.api.listing import Order, aggregated_answer, list_answer, page_of, page_of_items
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.resources.catalog import disk_of, disk_type_of
from lifecycle.api.resources.instances import DISK_TYPE
from lifecycle.api.schemas import Disk, DiskType
from lifecycle.models import Disk as Row
from lifecycle.models import Zone

_DISKS = "projects/{project}/zones/{zone}/disks"
_TYPES = "projects/{project}/zones/{zone}/diskTypes"
_ORDER = Order(by_name=("name", "pk"), by_time=("pk",), columns={"name": "name"})
_AGGREGATED = (*LIST_PARAMETERS, "includeAllScopes")


@method("disks.get", "GET", _DISKS + "/{disk}", Disk)
def get(call: Call) -> Disk:
    """One disk."""
    zone, name = finders.zone_in(call), call.path["disk"].replace("\0", "?")
    number = finders.number_in(name)
    asked = {"name": name} if number is None else {"pk": number}
    found = _disks(call).filter(vm__zone=zone, **asked).first()
    if found is None:
        raise call.missing()
    return disk_of(found, call.links)


@method("disks.list", "GET", _DISKS, schemas.list_of(Disk), query=LIST_PARAMETERS)
def list_(call: Call) -> dict[str, Any]:
    """The disks of a zone."""
    rows = _disks(call).filter(vm__zone=finders.zone_in(call))
    page, token = page_of(call, rows, lambda row: disk_of(row, call.links), _ORDER)
    return list_answer(call, "disk", [item for _row, item in page], token)


@method(
    "disks.aggregatedList",
    "GET",
    "projects/{project}/aggregated/disks",
    schemas.aggregated_list_of(Disk, "disks"),
    query=_AGGREGATED,
)
def aggregated_list(call: Call) -> dict[str, Any]:
    """The disks of all zones."""
    page, token = page_of(call, _disks(call), lambda row: disk_of(row, call.links), _ORDER)
    scopes: dict[str, list[Any]] = {f"zones/{name}": [] for name in Zone.objects.values_list("name", flat=True)}
    for row, item in page:
        scopes[f"zones/{row.vm.zone.name}"].append(item)
    return aggregated_answer(call, "disk", scopes, token, "disks")


@method("diskTypes.get", "GET", _TYPES + "/{diskType}", DiskType)
def get_type(call: Call) -> DiskType:
    """One type of disk."""
    zone = finders.zone_in(call)
    if call.path["diskType"] != DISK_TYPE:
        raise call.missing()
    return disk_type_of(zone.name, call.links)


@method("diskTypes.list", "GET", _TYPES, schemas.list_of(DiskType), query=LIST_PARAMETERS)
def list_types(call: Call) -> dict[str, Any]:
    """The types of disk: there is one."""
    items, token = page_of_items(call, [disk_type_of(finders.zone_in(call).name, call.links)])
    return list_answer(call, "diskType", items, token)


@method(
    "diskTypes.aggregatedList",
    "GET",
    "projects/{project}/aggregated/diskTypes",
    schemas.aggregated_list_of(DiskType, "diskTypes"),
    query=_AGGREGATED,
)
def aggregated_types(call: Call) -> dict[str, Any]:
    """The types of disk of all zones."""
    scopes, token = {}, ""
    for zone in Zone.objects.values_list("name", flat=True):
        scopes[f"zones/{zone}"], token = page_of_items(call, [disk_type_of(zone, call.links)])
    return aggregated_answer(call, "diskType", scopes, token, "diskTypes")


def _disks(call: Call) -> "QuerySet[Row]":
    return finders.with_vm(Row.objects.filter(vm__in=finders.instances(call)), "vm__image")
