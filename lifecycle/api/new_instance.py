"""The body of `instances.insert` as what the services are asked for; what they cannot do is refused here."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.db.models import F

from lifecycle.api import allowed, bodies, references
from lifecycle.api.call import Call
from lifecycle.api.errors import invalid, not_found, unsupported
from lifecycle.api.links import NETWORK, region_of
from lifecycle.api.resources.instances import ARCHITECTURES, BOOT_DEVICE, DISK_TYPE
from lifecycle.domain.guests import parse_custom_machine_type
from lifecycle.models import Image, MachineType, Project, Zone
from lifecycle.services.vm_metadata import seeded_fields
from lifecycle.services.vms import VMRequest


def request_of(call: Call, zone: Zone) -> VMRequest:
    """What the services are asked for.

    Raises:
        ApiError: a field is wrong, or asks for what the product does not have; its path is in the text.
    """
    body = call.body
    bodies.only(body, "resource", allowed.INSTANCE, allowed.NOT_INSTANCE)
    _check_interfaces(call, zone)
    disk, params = _boot_disk(body, zone)
    metadata = metadata_items(bodies.mapping(body, "metadata", "resource"))
    tags = tags_of(bodies.mapping(body, "tags", "resource"), "resource.tags")
    seeded = seeded_fields(metadata)
    scheduling = scheduling_of(body)
    return VMRequest(
        name=bodies.text(body, "name", "resource"),
        zone=zone.name,
        machine_type=machine_type_name(call, body.get("machineType"), zone),
        image=_image_name(call, params),
        disk_gib=_disk_gib(disk, params),
        disk_auto_delete=bodies.flag(disk, "autoDelete", "resource.disks[0]", default=False),
        automatic_restart=bodies.flag(scheduling, "automaticRestart", "resource.scheduling", default=True),
        host_error_timeout_seconds=bodies.number(scheduling, "hostErrorTimeoutSeconds", "resource.scheduling") or 90,
        deletion_protection=bodies.flag(body, "deletionProtection", "resource", default=False),
        labels=bodies.words(body, "labels", "resource"),
        metadata=metadata,
        tags=tuple(tags),
        ssh_keys=seeded["ssh_keys"],
        startup_script=seeded["startup_script"],
        user_data=seeded["user_data"],
        asked=hashlib.sha256(json.dumps([zone.name, body], sort_keys=True).encode()).hexdigest(),
    )


def metadata_items(metadata: Mapping[str, Any], path: str = "resource.metadata") -> dict[str, str]:
    """The items of a Metadata resource by their keys."""
    bodies.only(metadata, path, allowed.METADATA, {})
    found: dict[str, str] = {}
    for item in bodies.items(metadata, "items", path):
        bodies.only(item, f"{path}.items", allowed.METADATA_ITEM, {})
        key = bodies.text(item, "key", f"{path}.items")
        if key in found:
            raise invalid(f"{path}.items", key, "The key stands twice.")
        found[key] = bodies.text(item, "value", f"{path}.items")
    return found


def tags_of(tags: Mapping[str, Any], path: str) -> list[str]:
    """The words of a Tags resource."""
    bodies.only(tags, path, allowed.TAGS, {})
    return bodies.texts(tags, "items", path)


def scheduling_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The scheduling policy that is asked for, without what the product does not do."""
    found = bodies.mapping(body, "scheduling", "resource")
    bodies.only(found, "resource.scheduling", allowed.SCHEDULING, allowed.NOT_SCHEDULING)
    if found.get("provisioningModel", "STANDARD") != "STANDARD":
        raise unsupported("resource.scheduling.provisioningModel", "every VM is STANDARD.")
    if found.get("onHostMaintenance", "MIGRATE") != "MIGRATE":
        raise unsupported("resource.scheduling.onHostMaintenance", "it is MIGRATE and means nothing yet.")
    return found


def machine_type_name(call: Call, reference: object, zone: Zone) -> str:
    """The machine type's name. It must exist, or be custom, and be of the VM's zone."""
    found = references.named(reference, "resource.machineType", "machineTypes")
    if found.zone not in {"", "-", zone.name}:
        raise invalid("resource.machineType", reference, f"The zone must be '{zone.name}'.")
    custom = parse_custom_machine_type(found.name) is not None
    if not custom and not MachineType.objects.filter(name=found.name.replace("\0", "?")).exists():
        path = f"projects/{call.project.slug}/zones/{zone.name}/machineTypes/{found.name}"
        raise invalid("resource.machineType", reference, f"The referenced resource '{path}' was not found.")
    return found.name


def _boot_disk(body: Mapping[str, Any], zone: Zone) -> tuple[dict[str, Any], dict[str, Any]]:
    disks = bodies.items(body, "disks", "resource")
    if not disks:
        raise invalid("resource.disks", "", "No disks specified. Give one with initializeParams.sourceImage.")
    if len(disks) > 1:
        raise unsupported("resource.disks[1]", "a VM is made with its boot disk alone.")
    disk = disks[0]
    bodies.only(disk, "resource.disks[0]", allowed.DISK, allowed.NOT_DISK)
    if not bodies.flag(disk, "boot", "resource.disks[0]", default=True):
        raise invalid("resource.disks[0].boot", False, "Boot disk must be the first disk attached to the instance.")
    for name, only in (("mode", "READ_WRITE"), ("type", "PERSISTENT"), ("interface", "SCSI")):
        if disk.get(name, only) != only:
            raise unsupported(f"resource.disks[0].{name}", f"a boot disk is {only}.")
    params = bodies.mapping(disk, "initializeParams", "resource.disks[0]")
    bodies.only(params, "resource.disks[0].initializeParams", allowed.PARAMS, allowed.NOT_PARAMS)
    _check_disk_names(body, params, zone)
    return disk, params


def _check_disk_names(body: Mapping[str, Any], params: Mapping[str, Any], zone: Zone) -> None:
    path = "resource.disks[0].initializeParams"
    if params.get("diskName", body.get("name")) != body.get("name"):
        raise unsupported(f"{path}.diskName", "a boot disk is called as its VM.")
    if kind := params.get("diskType"):
        found = references.named(kind, f"{path}.diskType", "diskTypes")
        if found.name != DISK_TYPE:
            raise unsupported(f"{path}.diskType", f"there is one type of disk, {DISK_TYPE}.")
        if found.zone not in {"", "-", zone.name}:
            raise invalid(f"{path}.diskType", kind, f"The zone must be '{zone.name}'.")


def _disk_gib(disk: Mapping[str, Any], params: Mapping[str, Any]) -> int | None:
    path = "resource.disks[0]"
    made = bodies.number(params, "diskSizeGb", f"{path}.initializeParams")
    attached = bodies.number(disk, "diskSizeGb", path)
    if made and attached and made != attached:
        raise invalid(f"{path}.diskSizeGb", attached, f"initializeParams.diskSizeGb is {made}.")
    return made or attached


def _image_name(call: Call, params: Mapping[str, Any]) -> str:
    """The image's name; of a family, the newest that is ready. Every project has the installation's images."""
    field, reference = "resource.disks[0].initializeParams.sourceImage", params.get("sourceImage")
    if not reference:
        raise invalid(field, "", "Give the image that the boot disk is made from.")
    found = references.named(reference, field, "images")
    image = find_image(call.project, found.name, is_family=found.is_family)
    if image is None:
        kind = "images/family" if found.is_family else "images"
        raise not_found(f"projects/{found.project or call.project.slug}/global/{kind}/{found.name}")
    if image.status != Image.Status.READY:  # else the newest of a family of that name would be taken for it
        raise invalid(field, reference, f"The image is {image.status}: no VM is made from it.")
    its = ARCHITECTURES.get(image.architecture, "")
    if params.get("architecture", its) not in {its, "", "ARCHITECTURE_UNSPECIFIED"}:
        raise invalid("resource.disks[0].initializeParams.architecture", params["architecture"], f"The image is {its}.")
    return image.name


def find_image(project: Project, name: str, *, is_family: bool) -> Image | None:
    """The image of that name, the project's own before a public one; or the newest ready one of that family."""
    usable = Image.objects.usable_in(project)
    name = name.replace("\0", "?")
    if is_family:
        return usable.filter(family=name, status=Image.Status.READY).order_by("-pk").first()
    return usable.filter(name=name).order_by(F("project").asc(nulls_last=True)).first()


def _check_interfaces(call: Call, zone: Zone) -> None:
    """One interface on the project's network, which is all there is. `accessConfigs` are told of in a warning."""
    interfaces = bodies.items(call.body, "networkInterfaces", "resource")
    if len(interfaces) > 1:
        raise unsupported("resource.networkInterfaces[1]", "a VM has one interface.")
    for interface in interfaces:
        path = "resource.networkInterfaces[0]"
        bodies.only(interface, path, allowed.INTERFACE, allowed.NOT_INTERFACE)
        _check_network(call, interface, path, zone)
        if interface.get("stackType", "IPV4_ONLY") != "IPV4_ONLY":
            raise unsupported(f"{path}.stackType", "networks are IPv4 only.")
        if interface.get("nicType", "VIRTIO_NET") not in {"VIRTIO_NET", "UNSPECIFIED_NIC_TYPE"}:
            raise unsupported(f"{path}.nicType", "each VM has one plain virtio interface.")


def _check_network(call: Call, interface: Mapping[str, Any], path: str, zone: Zone) -> None:
    """The project's one network, and its subnetwork in the VM's own region."""
    region = region_of(zone.name)
    for name, scope in (("network", "global"), ("subnetwork", f"regions/{region}")):
        if not interface.get(name):
            continue
        found = references.named(interface[name], f"{path}.{name}", f"{name}s")
        if name == "subnetwork" and found.region not in {"", region}:
            raise invalid(f"{path}.{name}", interface[name], f"The region must be '{region}', that of the zone.")
        if found.name != NETWORK or found.project not in {"", call.project.slug, str(call.project.pk)}:
            raise not_found(f"projects/{found.project or call.project.slug}/{scope}/{name}s/{found.name}")


def notes_on(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was asked for and is not given, field and reason: the clients send both by default."""
    notes = []
    if any(interface.get("accessConfigs") for interface in bodies.items(body, "networkInterfaces", "resource")):
        why = "There are no external addresses: VMs reach outside by NAT and are reached at their internal address."
        notes.append(("networkInterfaces[0].accessConfigs", why))
    if bodies.items(body, "serviceAccounts", "resource"):
        notes.append(("serviceAccounts", "Guests have no identity of their own: the field was left out."))
    if bodies.items(body, "disks", "resource")[0].get("deviceName", BOOT_DEVICE) != BOOT_DEVICE:
        notes.append(("disks[0].deviceName", f"A boot disk is the device '{BOOT_DEVICE}': the name was left out."))
    return notes
