"""Zones, regions, machine types, images, disks, networks and the project on the wire."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

from lifecycle.api.errors import METRICS
from lifecycle.api.links import NETWORK, Links, region_of
from lifecycle.api.resources.instances import ARCHITECTURES, DISK_TYPE
from lifecycle.api.resources.times import wire_time
from lifecycle.api.schemas import (
    Base64,
    Disk,
    DiskType,
    Firewall,
    Image,
    Int64,
    MachineType,
    Network,
    Project,
    Quota,
    Region,
    Subnetwork,
    Zone,
)
from lifecycle.domain.fingerprints import fingerprint
from lifecycle.domain.guests import DISK_GIB
from lifecycle.domain.quotas import Amounts
from lifecycle.models import Disk as DiskRow
from lifecycle.models import Image as ImageRow
from lifecycle.models import MachineType as MachineTypeRow
from lifecycle.models import Network as NetworkRow
from lifecycle.models import Project as ProjectRow
from lifecycle.models import Zone as ZoneRow

_IMAGE_STATUS: Final = {"ready": "READY", "deprecated": "READY", "pending": "PENDING", "failed": "FAILED"}
_GIB: Final = 2**30


def zone_of(row: ZoneRow, links: Links) -> Zone:
    """A zone."""
    return {
        "kind": "compute#zone",
        "id": Int64(str(row.pk)),
        "name": row.name,
        "description": row.title or row.name,
        "status": "UP",
        "region": links.region(region_of(row.name)),
        "selfLink": links.zone(row.name),
    }


def region_resource(name: str, zones: Sequence[ZoneRow], quotas: list[Quota], links: Links) -> Region:
    """A region: the zones whose names begin with it, and the project's quotas."""
    return {
        "kind": "compute#region",
        "id": Int64(str(min(zone.pk for zone in zones))),
        "name": name,
        "status": "UP",
        "zones": [links.zone(zone.name) for zone in zones],
        "quotas": quotas,
        "selfLink": links.region(name),
    }


def quotas_of(limits: Amounts, used: Amounts) -> list[Quota]:
    """The project's quotas; the one of memory has no name in Compute Engine and is left out."""
    return [
        {"metric": METRICS[name], "limit": float(getattr(limits, name)), "usage": float(getattr(used, name))}
        for name in ("vms", "vcpus", "disk_gib")
    ]


def machine_type_of(row: MachineTypeRow, zone: str, links: Links) -> MachineType:
    """A machine type, as each zone has it. One that was never used has no row yet, and the id of its shape."""
    found: MachineType = {
        "kind": "compute#machineType",
        "id": Int64(str(row.pk or (1 << 40) + (row.vcpus << 24) + row.memory_mib)),
        "name": row.name,
        "description": f"{row.vcpus} vCPUs, {row.memory_mib} MiB of memory",
        "guestCpus": row.vcpus,
        "memoryMb": row.memory_mib,
        "isSharedCpu": row.cpu_quota_percent is not None,
        "maximumPersistentDisks": 1,
        "maximumPersistentDisksSizeGb": Int64(str(DISK_GIB[-1])),
        "zone": zone,
        "selfLink": links.zonal(zone, "machineTypes", row.name),
    }
    if row.retired and row.family != "custom":
        found["deprecated"] = {"state": "DEPRECATED"}
    return found


def image_of(row: ImageRow, links: Links) -> Image:
    """A golden image; every project has all of them."""
    found: Image = {
        "kind": "compute#image",
        "id": Int64(str(row.pk)),
        "creationTimestamp": wire_time(row.created_at),
        "name": row.name,
        "description": row.description,
        "family": row.family,
        "status": _IMAGE_STATUS[row.status],
        "architecture": ARCHITECTURES.get(row.architecture, "ARCHITECTURE_UNSPECIFIED"),
        "archiveSizeBytes": Int64(str(row.size_bytes)),
        "diskSizeGb": Int64(str(max(row.min_disk_gib, -(-row.virtual_size_bytes // _GIB)))),
        "sourceType": "RAW",
        "selfLink": links.to_global("images", row.name),
    }
    if row.status == ImageRow.Status.DEPRECATED:
        found["deprecated"] = {"state": "DEPRECATED"}
    return found


def disk_of(row: DiskRow, links: Links) -> Disk:
    """A disk of a VM."""
    zone = row.vm.zone.name
    found: Disk = {
        "kind": "compute#disk",
        "id": Int64(str(row.pk)),
        "creationTimestamp": wire_time(row.made_at or row.vm.created_at),
        "name": row.name,
        "sizeGb": Int64(str(row.size_gib)),
        "zone": links.zone(zone),
        "status": "READY" if row.made_at else "CREATING",
        "type": links.zonal(zone, "diskTypes", DISK_TYPE),
        "users": [links.zonal(zone, "instances", row.vm.name)],
        "architecture": ARCHITECTURES.get(row.vm.image.architecture, "ARCHITECTURE_UNSPECIFIED"),
        "labelFingerprint": Base64(fingerprint({})),
        "selfLink": links.zonal(zone, "disks", row.name),
    }
    if row.boot:
        found["sourceImage"] = links.to_global("images", row.vm.image.name)
    return found


def disk_type_of(zone: str, links: Links) -> DiskType:
    """The one type of disk: a file on the VM's host."""
    return {
        "kind": "compute#diskType",
        "id": Int64("1"),
        "name": DISK_TYPE,
        "description": "A disk on the VM's host",
        "validDiskSize": f"{DISK_GIB[0]}GB-{DISK_GIB[-1]}GB",
        "defaultDiskSizeGb": Int64(str(DISK_GIB[0])),
        "zone": links.zone(zone),
        "selfLink": links.zonal(zone, "diskTypes", DISK_TYPE),
    }


def project_of(row: ProjectRow, quotas: list[Quota], links: Links) -> Project:
    """The project."""
    return {
        "kind": "compute#project",
        "id": Int64(str(row.pk)),
        "creationTimestamp": wire_time(row.created_at),
        "name": row.slug,
        "description": row.title,
        "quotas": quotas,
        "commonInstanceMetadata": {"kind": "compute#metadata", "fingerprint": Base64(fingerprint({}))},
        "selfLink": links.root,
    }


def network_of(row: NetworkRow, regions: Sequence[str], links: Links) -> Network:
    """The project's network."""
    return {
        "kind": "compute#network",
        "id": Int64(str(row.pk)),
        "name": NETWORK,
        "description": "The project's own network: NAT to the outside, apart from every other project's",
        "autoCreateSubnetworks": True,
        "subnetworks": [links.subnetwork(region) for region in regions],
        "selfLink": links.to_global("networks", NETWORK),
    }


def subnetwork_of(row: NetworkRow, region: str, links: Links) -> Subnetwork:
    """The network's range, which is the same in every region."""
    return {
        "kind": "compute#subnetwork",
        "id": Int64(str(row.pk)),
        "name": NETWORK,
        "network": links.to_global("networks", NETWORK),
        "ipCidrRange": row.cidr,
        "gatewayAddress": str(IPv4Network(row.cidr)[1]),
        "region": links.region(region),
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        "fingerprint": Base64(fingerprint(row.cidr)),
        "selfLink": links.subnetwork(region),
    }


def firewalls_of(row: NetworkRow, links: Links) -> list[Firewall]:
    """What the packet filter of every VM lets through, as the rules that say the same."""
    return [
        {
            "kind": "compute#firewall",
            "id": Int64(str(row.pk)),
            "name": "default-allow-internal",
            "description": "VMs of the project reach each other; the host reaches them",
            "network": links.to_global("networks", NETWORK),
            "direction": "INGRESS",
            "priority": 65534,
            "sourceRanges": [row.cidr],
            "allowed": [{"IPProtocol": "all"}],
            "selfLink": links.to_global("firewalls", "default-allow-internal"),
        }
    ]
