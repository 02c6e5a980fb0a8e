"""What the record says of a VM's definition: the values of a `DomainSpec`, for the layers that speak to hosts.

Services may not import the drivers: the values are given by name, and operations and repair make the spec of them.
"""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from django.conf import settings

from lifecycle.domain.errors import Refused
from lifecycle.models import VM
from lifecycle.services import networks


def network_values(vm: VM) -> dict[str, Any]:
    """Of the project's `NetworkSpec`."""
    network = vm.project.network
    return {
        "name": network.name,
        "bridge": network.bridge,
        "cidr": IPv4Network(network.cidr),
        "domain": f"{vm.project.slug}.internal",
    }


def domain_values(vm: VM) -> dict[str, Any]:
    """Of the VM's `DomainSpec`, but for its network. The VM is on a host.

    Raises:
        Refused: the VM was adopted: its definition is that of its maker.
    """
    if vm.adopted or vm.host is None:
        raise Refused(f"the record does not define VM {vm.id}: it was adopted, or is on no host")
    return {
        "uuid": vm.id,
        "name": vm.domain_name,
        "title": f"{vm.project.slug}/{vm.name}",
        "installation": settings.INSTALLATION_ID,
        "project": vm.project.slug,
        "vm_name": vm.name,
        "generation": vm.fence,
        "domain_type": vm.host.domain_type,
        "architecture": vm.image.architecture,
        "vcpus": vm.vcpus,
        "memory_mib": vm.memory_mib,
        "cpu_quota_percent": vm.cpu_quota_percent,
        "firmware": vm.firmware,
        "boot": vm.boot_order,
        "cdrom_volume": vm.cdrom.file_name if vm.cdrom else "",
        "disk_volume": vm.disk_volume,
        "seed_volume": vm.seed_volume,
        "serial_volume": vm.serial_volume,
        "mac": vm.mac,
        "ip": IPv4Address(vm.address.ip),
        # The range holds every network's gateway, and each of them is an address of the host.
        "protected_addresses": (*settings.PROTECTED_ADDRESSES, str(networks.RANGE)),
    }
