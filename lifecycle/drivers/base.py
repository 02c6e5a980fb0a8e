"""What the product asks of a hypervisor: few verbs, plain data, errors of `lifecycle.domain.errors`.

Every verb is idempotent: it looks first, acts when needed and returns whether it acted where that
matters. "Already so" is success; "already gone" is success for a removal. A verb that needs a domain
which is absent raises `Gone`. Sizes carry their unit in the name. All names of domains, pools,
networks and filters are prefixed with the installation, so that several installations share a host.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Protocol
from uuid import UUID

from lifecycle.domain.definitions import Definition
from lifecycle.domain.states import Power
from lifecycle.domain.usage import Counters


class Pool(StrEnum):
    """The storage pools of an installation on a host."""

    IMAGES = "images"  # golden images: read-only, only ever a backing file
    DISKS = "disks"  # overlays and seeds
    SERIAL = "serial"  # serial logs written by QEMU or virtlogd


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a host is. Memory in MiB, disk in GiB (of the disks pool's file system)."""

    hostname: str
    cpus: int
    memory_mib: int
    disk_gib: int
    disk_free_gib: int
    architecture: str
    libvirt_version: str
    hypervisor_version: str
    domain_types: tuple[str, ...]  # as libvirt's capabilities offer them: ("kvm", "qemu")


@dataclass(frozen=True, slots=True)
class AccelerationVerdict:
    """Which domain type runs guests here, and why: found by trying, never by believing."""

    domain_type: str  # "kvm" or "qemu"
    reason: str  # one English sentence for operators


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A project's NAT network. The gateway is the first address of `cidr`."""

    name: str
    bridge: str  # at most 15 characters
    cidr: IPv4Network
    domain: str  # DNS suffix given to guests
    lease_minutes: int = 2

    @property
    def gateway(self) -> IPv4Address:
        return self.cidr[1]


@dataclass(frozen=True, slots=True)
class AddressBinding:
    """A DHCP reservation."""

    mac: str
    ip: IPv4Address
    hostname: str


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A golden image as the installation knows it."""

    volume: str  # file name in Pool.IMAGES
    size_bytes: int
    sha256: str
    format: str = "qcow2"


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All that defines a VM on a host.

    `cpu_quota_percent` of one vCPU for shared-core machine types (None: no limit).
    `generation` is the VM's fencing counter, kept in the domain's metadata.
    """

    uuid: UUID
    name: str  # the domain's name in libvirt
    title: str  # project/vm, for people who run virsh
    installation: str
    project: str
    vm_name: str
    generation: int
    domain_type: str
    architecture: str
    vcpus: int
    memory_mib: int
    cpu_quota_percent: int | None
    disk_volume: str
    seed_volume: str
    serial_volume: str
    network: NetworkSpec
    mac: str
    ip: IPv4Address
    firmware: str = "bios"  # or "uefi"
    boot: tuple[str, ...] = ("hd",)  # "hd" and "cdrom", in order
    cdrom_volume: str = ""  # in Pool.IMAGES; empty: no CD drive
    protected_addresses: tuple[str, ...] = ()  # addresses guests must not reach, beside their gateway


@dataclass(frozen=True, slots=True)
class DomainView:
    """A domain as one bulk call saw it. `uuid` is the VM's id for our own domains."""

    uuid: UUID
    name: str
    power: Power
    persistent: bool
    #: libvirt's word for why it is in this state ("shutdown", "destroyed", "failed", "crashed", "saved", "ioerror" …)
    reason: str
    #: installation id in the metadata; None for a domain this product did not make
    installation: str | None
    generation: int | None
    #: QEMU's run counter in libvirt (domain id), None when not running: a new number is a new process
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A domain in detail, whoever made it. `disk_bytes`: by target, 0 where the host does not tell it."""

    name: str
    architecture: str
    persistent: bool
    definition: Definition
    disk_bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume of one of our pools."""

    pool: Pool
    name: str
    capacity_bytes: int
    allocation_bytes: int


@dataclass(frozen=True, slots=True)
class Lease:
    """An address a guest of one of our networks holds now."""

    network: str
    mac: str
    ip: IPv4Address
    hostname: str
    expires_at: datetime


class EventKind(StrEnum):
    """What the hypervisor tells by itself."""

    STARTED = "started"
    STOPPED = "stopped"
    SUSPENDED = "suspended"  # vCPUs paused
    RESUMED = "resumed"
    CRASHED = "crashed"
    DEFINED = "defined"
    UNDEFINED = "undefined"
    REBOOTED = "rebooted"
    IO_ERROR = "io_error"
    WATCHDOG = "watchdog"
    CONNECTION_LOST = "connection_lost"  # uuid is None


@dataclass(frozen=True, slots=True)
class HostEvent:
    """One event of a host. `detail` is libvirt's detail in words ("shutdown", "destroyed", "failed", "saved" …).

    `received_monotonic` is time.monotonic() in libvirt's callback, for latency figures.
    """

    kind: EventKind
    uuid: UUID | None
    name: str
    detail: str
    occurred_at: datetime
    received_monotonic: float = field(default=0.0, compare=False)


class Hypervisor(Protocol):
    """A connection to one host. Thread-safe. Every call may raise a `HypervisorError`."""

    # -- the host
    def inventory(self) -> Inventory:
        """What the host is now."""

    def probe_acceleration(self) -> AccelerationVerdict:
        """Start a tiny probe guest with KVM (where offered) and see whether it executes. Up to about 15 s."""

    def ensure_pools(self) -> None:
        """Define, build, start and autostart the installation's pools."""

    # -- networks
    def ensure_network(self, spec: NetworkSpec) -> None:
        """Define, start and autostart the network; a stopped one is started again."""

    def bind_address(self, network: str, binding: AddressBinding) -> None:
        """Reserve the address in DHCP, live and persistent; replaces another binding of the same MAC."""

    def unbind_address(self, network: str, mac: str) -> None: ...

    def bound(self, network: str) -> frozenset[str]:
        """The MACs (small letters) that have an address reserved; none when the network is gone."""

    def leases(self, network: str) -> list[Lease]: ...

    # -- storage
    def has_image(self, image: ImageRef) -> bool:
        """Whether the golden volume is there, complete and of the right size."""

    def upload_image(self, image: ImageRef, source: Path, keep_going: Callable[[], None]) -> None:
        """Upload under a temporary name, verify size, then make it the golden volume, mode 0444.

        `keep_going` is called between chunks and may raise to abandon the upload (lost lease).
        A worker killed in the middle leaves only a temporary volume, removed by the next upload.
        """

    def replace_image(self, image: ImageRef, source: Path, keep_going: Callable[[], None]) -> None:
        """Upload again what is damaged. Guests that run keep the old file open until they stop.

        The file is checked first: `Refused` when it is not what `image` says, and nothing was changed.
        """

    def image_sha256(self, image: ImageRef, keep_going: Callable[[], None]) -> str:
        """The checksum of the golden volume, read back through a stream."""

    def create_overlay(self, volume: str, image: ImageRef | None, capacity_bytes: int) -> bool:
        """A thin qcow2 overlay of the golden image in Pool.DISKS (None: an empty disk). True when created now."""

    def write_seed(self, volume: str, content: bytes) -> None:
        """(Re)write the seed volume in Pool.DISKS with `content`."""

    def remove_volume(self, pool: Pool, volume: str, *, exactly: bool = False) -> bool:
        """True when it was there. The backups of a serial log go with it, unless `exactly` this one is meant."""

    def list_volumes(self, pool: Pool, *, afresh: bool = False) -> list[VolumeView]:
        """The pool's volumes. `afresh`: look at its directory again, for files that others put there."""

    def users_of(self, pool: Pool, volume: str) -> list[str]:
        """What on the host stands on the volume: names of domains that have it, of volumes it is the backing of."""

    def base_of(self, pool: Pool, volume: str) -> str:
        """The name of the volume that `volume` stands on, its directory apart; "" when it stands alone, or is gone."""

    def read_volume(self, pool: Pool, volume: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` (a serial log); b"" when there is nothing there (yet)."""

    # -- domains
    def define(self, spec: DomainSpec) -> None:
        """Define the domain and its nwfilter; a persistent definition of the same uuid is replaced."""

    def undefine(self, uuid: UUID) -> bool:
        """Remove the definition with its saved memory, NVRAM and snapshot metadata, and its nwfilter.

        True when it was there. The domain must be off (`Busy` else).
        """

    def look(self, uuid: UUID) -> DomainView | None:
        """The domain now; None when the host answers and knows it not."""

    def list_domains(self) -> list[DomainView]:
        """All domains of the host, foreign ones included, by one bulk call (plus constant overhead)."""

    def counters(self) -> dict[UUID, Counters]:
        """What all running domains of the host, foreign ones included, have used so far: one bulk call."""

    def dissect(self, uuid: UUID) -> Anatomy | None:
        """The domain's definition at its next start, and its disks; None when the host knows it not."""

    def definitions(self, uuids: Collection[UUID], most: int, again: Collection[UUID] = ()) -> dict[UUID, Definition]:
        """The definitions at the next start of those domains that are due to be looked at, at most `most` of them.

        Due is what `again` names, what has changed since it was read here, and what was read long ago.
        """

    def wanted(self, spec: DomainSpec) -> Definition:
        """What `definitions` would tell of a domain that was defined by `spec`. Asks nobody."""

    def mark(self, uuid: UUID, *, project: str, vm_name: str, generation: int) -> None:
        """Put this installation's mark on the domain, running or not, without touching its guest."""

    def start(self, uuid: UUID) -> bool:
        """Start the domain (restoring its saved memory when there is some). False when it already runs."""

    def ask_shutdown(self, uuid: UUID) -> bool:
        """Press the ACPI power button. False when the domain is already off."""

    def destroy(self, uuid: UUID) -> bool:
        """Force it off. False when it was off or absent."""

    def reset(self, uuid: UUID) -> None:
        """Hard reset of a running domain. `Refused` when it is off."""

    def save_memory(self, uuid: UUID) -> bool:
        """Managed save: memory to the host's disk, domain off. False when it is already saved."""

    def discard_saved_memory(self, uuid: UUID) -> bool:
        """Remove the managed save image. False when there is none."""

    def resume_cpus(self, uuid: UUID) -> None:
        """Let a paused domain go on."""

    def qemu_log_tail(self, uuid: UUID, name: str) -> str:
        """The end of QEMU's log where the host lets us read it, else an empty string.

        `name` is the log's where the host knows the domain no more; else it goes by the name the domain has there.
        """

    # -- the connection
    def alive(self) -> bool:
        """Whether the connection still answers (keepalive included); never blocks long."""

    def events(self, handler: Callable[[HostEvent], None]) -> AbstractContextManager[None]:
        """Events go to `handler` while the context is open. It is called in libvirt's thread and must be quick."""

    def close(self) -> None: ...
