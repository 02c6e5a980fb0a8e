"""Choosing a host, and saying host by host why none fits."""

from collections.abc import Iterable
from dataclasses import dataclass

from lifecycle.domain.text import mark


@dataclass(frozen=True, slots=True)
class Need:
    """What a VM asks of a host; memory in MiB, disk in GiB. `disk_gib` is 0 when the disk is there already."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    architecture: str


@dataclass(frozen=True, slots=True)
class Room:
    """What a host has left. Amounts are limits (with overcommit) less reservations.

    `kept_out`: too many VMs went into repair on it lately.
    """

    host_id: int
    name: str
    schedulable: bool
    healthy: bool
    architecture: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    kept_out: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen host, or None with the reasons by host name (English templates filled in)."""

    host_id: int | None
    reasons: dict[str, str]


def why_not(room: Room, need: Need, *, pinned: bool = False) -> str:
    """Why `need` does not fit in `room`; empty when it fits. A pinned VM may use an unschedulable host."""
    if not room.healthy:
        return mark("the host does not answer")
    if not room.schedulable and not pinned:
        return mark("the host takes no new VMs")
    if room.kept_out and not pinned:
        return mark("the host had too many repairs lately")
    if room.architecture != need.architecture:
        return f"the host is {room.architecture}, the image needs {need.architecture}"
    short = []
    for name, unit in (("vcpus", "vCPUs"), ("memory_mib", "MiB of memory"), ("disk_gib", "GiB of disk")):
        free, wanted = getattr(room, name), getattr(need, name)
        if wanted > free:
            short.append(f"{wanted} {unit} wanted, {max(0, free)} free")
    return "; ".join(short)


def choose(rooms: Iterable[Room], need: Need, pinned_to: int | None = None) -> Choice:
    """The host with the most memory left that fits; `pinned_to` is the host that holds the disks already."""
    reasons: dict[str, str] = {}
    fitting: list[Room] = []
    for room in rooms:
        if pinned_to is not None and room.host_id != pinned_to:
            continue
        reason = why_not(room, need, pinned=pinned_to is not None)
        if reason:
            reasons[room.name] = reason
        else:
            fitting.append(room)
    if not fitting:
        return Choice(None, reasons)
    best = max(fitting, key=lambda r: (r.memory_mib, r.vcpus, -r.host_id))
    return Choice(best.host_id, reasons)
