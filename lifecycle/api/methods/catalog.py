"""compute.zones, regions, machineTypes, images, imageFamilyViews: what a VM can be made of, and where."""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from lifecycle.api import finders, schemas
from lifecycle.api.call import Call
from lifecycle.api.links import region_of
from lifecycle.api.listing import Order, aggregated_answer, filter_of, list_answer, page_of, page_of_items
from lifecycle.api.new_instance import find_image
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.resources.catalog import image_of, machine_type_of, quotas_of, region_resource, zone_of
from lifecycle.api.schemas import Image, ImageFamilyView, MachineType, Region, Zone
from lifecycle.domain.guests import check_shape, parse_custom_machine_type
from lifecycle.models import Image as ImageRow
from lifecycle.models import MachineType as MachineTypeRow
from lifecycle.models import Zone as ZoneRow
from lifecycle.services import quotas

Row = TypeVar("Row", bound=Model)

_ZONES = "projects/{project}/zones"
_REGIONS = "projects/{project}/regions"
_TYPES = "projects/{project}/zones/{zone}/machineTypes"
_IMAGES = "projects/{project}/global/images"
_BY_NAME = Order(by_name=("name",), by_time=("pk",), columns={"name": "name"})
#: A project's own image may be called as one for everybody.
_IMAGES_BY_NAME = Order(("name", "pk"), ("pk",), columns={"name": "name", "family": "family"})
_AGGREGATED = (*LIST_PARAMETERS, "includeAllScopes")


@method("zones.get", "GET", _ZONES + "/{zone}", Zone)
def get_zone(call: Call) -> Zone:
    """One zone."""
    return zone_of(finders.zone_in(call), call.links)


@method("zones.list", "GET", _ZONES, schemas.list_of(Zone), query=LIST_PARAMETERS)
def list_zones(call: Call) -> dict[str, Any]:
    """The zones of the installation."""
    page, token = page_of(call, ZoneRow.objects.all(), lambda row: zone_of(row, call.links), _BY_NAME)
    return list_answer(call, "zone", [item for _row, item in page], token)


@method("regions.get", "GET", _REGIONS + "/{region}", Region)
def get_region(call: Call) -> Region:
    """One region with the project's quotas."""
    limits = quotas_of(quotas.limits_of(call.project), quotas.usage_of(call.project))
    return region_resource(call.path["region"], finders.zones_of_region(call), limits, call.links)


@method("regions.list", "GET", _REGIONS, schemas.list_of(Region), query=LIST_PARAMETERS)
def list_regions(call: Call) -> dict[str, Any]:
    """The regions: what the names of zones begin with."""
    limits = quotas_of(quotas.limits_of(call.project), quotas.usage_of(call.project))
    by_region: dict[str, list[ZoneRow]] = {}
    for zone in ZoneRow.objects.order_by("name"):
        by_region.setdefault(region_of(zone.name), []).append(zone)
    regions = [region_resource(name, zones, limits, call.links) for name, zones in by_region.items()]
    items, token = page_of_items(call, regions)
    return list_answer(call, "region", items, token)


@method("machineTypes.get", "GET", _TYPES + "/{machineType}", MachineType)
def get_machine_type(call: Call) -> MachineType:
    """One machine type, or a custom one: custom-VCPUS-MEMORY, memory in MiB."""
    zone, name = finders.zone_in(call), call.path["machineType"]
    found = MachineTypeRow.objects.filter(name=name.replace("\0", "?")).first()
    found = found or _by_number(MachineTypeRow.objects.all(), name)
    if found is None and (shape := parse_custom_machine_type(name)):
        vcpus, memory_mib = check_shape(*shape)
        found = MachineTypeRow(name=f"custom-{vcpus}-{memory_mib}", family="custom", vcpus=vcpus, memory_mib=memory_mib)
    if found is None:
        raise call.missing()
    return machine_type_of(found, zone.name, call.links)


@method("machineTypes.list", "GET", _TYPES, schemas.list_of(MachineType), query=LIST_PARAMETERS)
def list_machine_types(call: Call) -> dict[str, Any]:
    """The machine types that are offered; every zone has all of them."""
    zone = finders.zone_in(call)
    rows = MachineTypeRow.objects.filter(retired=False)
    page, token = page_of(call, rows, lambda row: machine_type_of(row, zone.name, call.links), _BY_NAME)
    return list_answer(call, "machineType", [item for _row, item in page], token)


@method(
    "machineTypes.aggregatedList",
    "GET",
    "projects/{project}/aggregated/machineTypes",
    schemas.aggregated_list_of(MachineType, "machineTypes"),
    query=_AGGREGATED,
)
def aggregated_machine_types(call: Call) -> dict[str, Any]:
    """The machine types of all zones; a page holds the same types for every zone."""
    zones = list(ZoneRow.objects.values_list("name", flat=True))
    rows = MachineTypeRow.objects.filter(retired=False)
    wanted = filter_of(call)

    def by_zone(row: MachineTypeRow) -> dict[str, MachineType]:
        items = {zone: machine_type_of(row, zone, call.links) for zone in zones}
        return {zone: item for zone, item in items.items() if wanted(dict(item))}

    page, token = page_of(call, rows, by_zone, _BY_NAME, wanted=bool)
    scopes = {f"zones/{zone}": [items[zone] for _row, items in page if zone in items] for zone in zones}
    return aggregated_answer(call, "machineType", scopes, token, "machineTypes")


@method("images.get", "GET", _IMAGES + "/{image}", Image)
def get_image(call: Call) -> Image:
    """One image."""
    name = call.path["image"]
    found = find_image(call.project, name, is_family=False) or _by_number(
        ImageRow.objects.usable_in(call.project), name
    )
    if found is None:
        raise call.missing()
    return image_of(found, call.links)


@method("images.list", "GET", _IMAGES, schemas.list_of(Image), query=LIST_PARAMETERS)
def list_images(call: Call) -> dict[str, Any]:
    """Images for everybody, and the project's own."""
    rows = ImageRow.objects.usable_in(call.project)
    page, token = page_of(call, rows, lambda row: image_of(row, call.links), _IMAGES_BY_NAME)
    return list_answer(call, "image", [item for _row, item in page], token)


@method("images.getFromFamily", "GET", _IMAGES + "/family/{family}", Image)
def get_image_from_family(call: Call) -> Image:
    """The newest image of a family that is ready."""
    found = find_image(call.project, call.path["family"], is_family=True)
    if found is None:
        raise call.missing()
    return image_of(found, call.links)


@method("imageFamilyViews.get", "GET", _ZONES + "/{zone}/imageFamilyViews/{family}", ImageFamilyView)
def get_image_family_view(call: Call) -> ImageFamilyView:
    """The image that a family stands for in a zone."""
    finders.zone_in(call)
    return {"image": get_image_from_family(call)}  # type: ignore[typeddict-item]


def _by_number(rows: "QuerySet[Row]", text: str) -> Row | None:
    """The row whose id is the number that `text` may be."""
    number = finders.number_in(text)
    return None if number is None else rows.filter(pk=number).first()
