"""A VM as a Compute Engine instance."""

from typing import Final

from django.db.models import Prefetch

from lifecycle.api.links import NETWORK, Links, number_of, region_of
from lifecycle.api.resources.times import wire_time
from lifecycle.api.schemas import AttachedDisk, Base64, Instance, Int64, Metadata, NetworkInterface, Scheduling, Tags
from lifecycle.domain.fingerprints import fingerprint, fingerprint_of_text
from lifecycle.domain.states import State
from lifecycle.models import VM, Disk
from lifecycle.models.vms import VMQuerySet
from lifecycle.services.vm_metadata import labels_of, metadata_of

#: The architectures of hosts by Compute Engine's names.
ARCHITECTURES: Final = {"x86_64": "X86_64", "aarch64": "ARM64"}
DISK_TYPE: Final = "pd-standard"
#: What a VM calls its boot disk.
BOOT_DEVICE: Final = "boot"


#: What `instance_of` reads of a VM, and what lists are ordered by.
_COLUMNS: Final = (
    *("name", "zone", "machine_type", "image", "mac", "state", "state_reason", "state_since", "created_at"),
    *("last_started_at", "deletion_protection", "automatic_restart", "host_error_timeout_seconds", "labels", "tags"),
    *("metadata", "ssh_keys", "startup_script", "user_data", "address__ip"),
)


_COLUMNS_BESIDE: Final = ("zone__name", "machine_type__name", "image__architecture")
_DISKS: Final = Prefetch("disks", Disk.objects.order_by("pk"), to_attr="attached")


def rows(vms: VMQuerySet) -> VMQuerySet:
    """The rows with what `instance_of` reads, and no more: a list has many.

    Zones, types and images are few, whatever the number of VMs: each is read once, by a query of its own.
    """
    lean = vms.select_related(None).select_related("address").only(*_COLUMNS)
    return lean.prefetch_related("zone", "machine_type", "image", _DISKS)


def one_row(vms: VMQuerySet) -> VMQuerySet:
    """The same for a single VM: two queries in all."""
    lean = vms.select_related(None).select_related("address", "zone", "machine_type", "image")
    return lean.only(*_COLUMNS, *_COLUMNS_BESIDE).prefetch_related(_DISKS)


def instance_of(vm: VM, links: Links) -> Instance:
    """The VM, of `rows` or `one_row`, on the wire."""
    zone, labels = vm.zone.name, labels_of(vm)
    machine_type, labels_now = links.zonal(zone, "machineTypes", vm.machine_type.name), fingerprint(labels)
    versions = f"{machine_type} {labels_now} {vm.deletion_protection} {vm.automatic_restart}"
    found: Instance = {
        "kind": "compute#instance",
        "id": Int64(number_of(vm.pk)),
        "name": vm.name,
        "creationTimestamp": wire_time(vm.created_at),
        "status": vm.state,
        "zone": links.zone(zone),
        "machineType": machine_type,
        "cpuPlatform": "Unknown CPU Platform",
        "canIpForward": False,
        "deletionProtection": vm.deletion_protection,
        "startRestricted": False,
        "disks": [_attached(disk, index, vm, links) for index, disk in enumerate(_disks_of(vm))],
        "networkInterfaces": [_interface(vm, links)],
        "metadata": metadata_resource(vm),
        "tags": tags_resource(vm),
        "labelFingerprint": Base64(labels_now),
        "fingerprint": Base64(fingerprint_of_text(versions)),
        "scheduling": _scheduling(vm),
        "shieldedInstanceConfig": {
            "enableSecureBoot": False,
            "enableVtpm": False,
            "enableIntegrityMonitoring": False,
        },
        "selfLink": links.zonal(zone, "instances", vm.name),
    }
    if labels:
        found["labels"] = labels
    if vm.state_reason:
        found["statusMessage"] = vm.state_reason
    _add_times(found, vm)
    return found


def _add_times(found: Instance, vm: VM) -> None:
    if vm.last_started_at:
        found["lastStartTimestamp"] = wire_time(vm.last_started_at)
    if vm.state == State.TERMINATED:
        found["lastStopTimestamp"] = wire_time(vm.state_since)
    if vm.state == State.SUSPENDED:
        found["lastSuspendedTimestamp"] = wire_time(vm.state_since)


def _disks_of(vm: VM) -> list[Disk]:
    found: list[Disk] = vm.attached  # type: ignore[attr-defined]  # by _DISKS
    return found


def _attached(disk: Disk, index: int, vm: VM, links: Links) -> AttachedDisk:
    return {
        "kind": "compute#attachedDisk",
        "type": "PERSISTENT",
        "mode": "READ_WRITE",
        "source": links.zonal(vm.zone.name, "disks", disk.name),
        "deviceName": device_name(disk),
        "index": index,
        "boot": disk.boot,
        "autoDelete": disk.auto_delete,
        "interface": "SCSI",
        "diskSizeGb": Int64(str(disk.size_gib)),
        "architecture": ARCHITECTURES.get(vm.image.architecture, "ARCHITECTURE_UNSPECIFIED"),
    }


def device_name(disk: Disk) -> str:
    """What the VM calls the disk."""
    return BOOT_DEVICE if disk.boot else disk.name


def _interface(vm: VM, links: Links) -> NetworkInterface:
    ip = getattr(getattr(vm, "address", None), "ip", "")
    found: NetworkInterface = {
        "kind": "compute#networkInterface",
        "name": "nic0",
        "network": links.to_global("networks", NETWORK),
        "subnetwork": links.subnetwork(region_of(vm.zone.name)),
        "stackType": "IPV4_ONLY",
        "fingerprint": Base64(fingerprint_of_text(f"{vm.mac} {ip}")),
    }
    if ip:
        found["networkIP"] = ip
    return found


def metadata_resource(vm: VM) -> Metadata:
    """The VM's metadata; it is always there, as Terraform's provider expects."""
    items = metadata_of(vm)
    found: Metadata = {"kind": "compute#metadata", "fingerprint": Base64(fingerprint(items))}
    if items:
        found["items"] = [{"key": key, "value": value} for key, value in sorted(items.items())]
    return found


def tags_resource(vm: VM) -> Tags:
    """The VM's tags; they, too, are always there."""
    found: Tags = {"fingerprint": Base64(fingerprint(vm.tags))}
    if vm.tags:
        found["items"] = list(vm.tags)
    return found


def _scheduling(vm: VM) -> Scheduling:
    return {
        "automaticRestart": vm.automatic_restart,
        "onHostMaintenance": "MIGRATE",
        "preemptible": False,
        "provisioningModel": "STANDARD",
        "hostErrorTimeoutSeconds": vm.host_error_timeout_seconds,
    }
