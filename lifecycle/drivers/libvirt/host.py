"""What a host is, and how guests run on it."""

from typing import Any

from lifecycle.drivers.base import AccelerationVerdict, Inventory, Pool
from lifecycle.drivers.libvirt.errors import absent_is_fine
from lifecycle.drivers.libvirt.kvm_probe import Probe
from lifecycle.drivers.libvirt.names import pool_name
from lifecycle.drivers.libvirt.session import Session, verb
from lifecycle.drivers.libvirt.xml import parse

GIB = 2**30


class HostVerbs(Session):
    """The verbs about the host itself."""

    @verb
    def inventory(self) -> Inventory:
        """What the host is now. Disk figures are 0 until the pools are there."""
        architecture, memory_mib, cpus, *_rest = self.conn.getInfo()
        size, free = self._disk_bytes()
        return Inventory(
            hostname=self.conn.getHostname(),
            cpus=cpus,
            memory_mib=memory_mib,
            disk_gib=size // GIB,
            disk_free_gib=free // GIB,
            architecture=architecture,
            libvirt_version=_version(self.conn.getLibVersion()),
            hypervisor_version=_version(self.conn.getVersion()),
            domain_types=domain_types(self.conn, architecture),
        )

    def _disk_bytes(self) -> tuple[int, int]:
        """Size and free space of the disks pool's file system, in bytes."""
        with absent_is_fine():
            pool = self.conn.storagePoolLookupByName(pool_name(self.installation, Pool.DISKS))
            _state, capacity, _allocation, available = pool.info()
            return capacity, available
        return 0, 0

    @verb
    def probe_acceleration(self) -> AccelerationVerdict:
        """Find out by trying; see `kvm_probe`."""
        if self.is_test:
            return AccelerationVerdict("test", "This is libvirt's test driver: no guest runs.")
        architecture = self.conn.getInfo()[0]
        return Probe(self.conn, self.installation, architecture).verdict(domain_types(self.conn, architecture))


def domain_types(connection: Any, architecture: str) -> tuple[str, ...]:
    """The domain types that libvirt offers for guests of the host's own architecture."""
    capabilities = parse(connection.getCapabilities())
    found = (
        domain.get("type", "")
        for arch in capabilities.iterfind("guest/arch")
        if arch.get("name") == architecture
        for domain in arch.iterfind("domain")
    )
    return tuple(sorted(set(found)))


def _version(number: int) -> str:
    """libvirt's 9000000 as "9.0.0"."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
