"""A VM as a Compute Engine instance."""

from typing import Final

from lifecycle.api.links import NETWORK, Links, number_of, region_of
from lifecycle.api.resources.times import wire_time
from lifecycle.api.schemas import AttachedDisk, Base64, Instance, Int64, Metadata, NetworkInterface, Scheduling, Tags
from lifecycle.domain.fingerprints import fingerprint
from lifecycle.domain.states import State
from lifecycle.models import VM, Disk
from lifecycle.models.vms import VMQuerySet
from lifecycle.services.vm_metadata import labels_of, metadata_of

#: The architectures of hosts by Compute Engine's names.
ARCHITECTURES: Final = {"x86_64": "X86_64", "aarch64": "ARM64"}
DISK_TYPE: Final = "pd-standard"


def rows(vms: VMQuerySet) -> VMQuerySet:
    """The rows with all that `instance_of` reads: one query more for the disks of all of them."""
    return vms.prefetch_related("disks")


def instance_of(vm: VM, links: Links) -> Instance:
    """The VM on the wire."""
    zone = vm.zone.name
    found: Instance = {
        "kind": "compute#instance",
        "id": Int64(number_of(vm.pk)),
        "name": vm.name,
        "creationTimestamp": wire_time(vm.created_at),
        "status": vm.state,
        "zone": links.zone(zone),
        "machineType": links.zonal(zone, "machineTypes", vm.machine_type.name),
        "cpuPlatform": "Unknown CPU Platform",
        "canIpForward": False,
        "deletionProtection": vm.deletion_protection,
        "startRestricted": False,
        "disks": [_attached(disk, index, vm, links) for index, disk in enumerate(vm.disks.all())],
        "networkInterfaces": [_interface(vm, links)],
        "metadata": metadata_resource(vm),
        "tags": tags_resource(vm),
        "labelFingerprint": Base64(fingerprint(labels_of(vm))),
        "scheduling": _scheduling(vm),
        "shieldedInstanceConfig": {
            "enableSecureBoot": False,
            "enableVtpm": False,
            "enableIntegrityMonitoring": False,
        },
        "selfLink": links.zonal(zone, "instances", vm.name),
    }
    if labels := labels_of(vm):
        found["labels"] = labels
    if vm.state_reason:
        found["statusMessage"] = vm.state_reason
    _add_times(found, vm)
    versions = [found["machineType"], found["labelFingerprint"], vm.deletion_protection, vm.automatic_restart]
    found["fingerprint"] = Base64(fingerprint(versions))
    return found


def _add_times(found: Instance, vm: VM) -> None:
    if vm.last_started_at:
        found["lastStartTimestamp"] = wire_time(vm.last_started_at)
    if vm.state == State.TERMINATED:
        found["lastStopTimestamp"] = wire_time(vm.state_since)
    if vm.state == State.SUSPENDED:
        found["lastSuspendedTimestamp"] = wire_time(vm.state_since)


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
    return "boot" if disk.boot else disk.name


def _interface(vm: VM, links: Links) -> NetworkInterface:
    ip = getattr(getattr(vm, "address", None), "ip", "")
    found: NetworkInterface = {
        "kind": "compute#networkInterface",
        "name": "nic0",
        "network": links.to_global("networks", NETWORK),
        "subnetwork": links.subnetwork(region_of(vm.zone.name)),
        "stackType": "IPV4_ONLY",
        "fingerprint": Base64(fingerprint([vm.mac, ip])),
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
