"""What matters of a domain's definition, and how two of them differ: pure, the same reading for both sides.

libvirt writes a definition back with much of its own (addresses, aliases, defaults of its version). Only what a
person can change and a guest can notice is compared, after the driver has read both sides by the same rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Definition:
    """A domain's shape. Memory in MiB; the CPU limit in % of one core per vCPU (None: no limit).

    Attributes:
        disks: (target, source), sorted; the source is a volume's name when it is in our pool of disks, else a path
            or what stands for one; empty without a medium.
        interfaces: (MAC, network or bridge, packet filter), sorted.
        boot: what it boots from, in order.
    """

    vcpus: int
    memory_mib: int
    cpu_quota_percent: int | None
    disks: tuple[tuple[str, str], ...]
    interfaces: tuple[tuple[str, str, str], ...]
    boot: tuple[str, ...]


#: The parts of a definition that the record of a VM can take over.
SIZES: Final = frozenset({"vcpus", "memory_mib", "cpu_quota_percent"})
PARTS: Final = (*sorted(SIZES), "disks", "interfaces", "boot")


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that differs; both sides as JSON values."""

    part: str
    recorded: Any
    found: Any


def differences(recorded: Definition, found: Definition) -> tuple[Difference, ...]:
    """What differs, part by part; empty when nothing that matters does."""
    one, other = as_json(recorded), as_json(found)
    return tuple(Difference(part, one[part], other[part]) for part in PARTS if one[part] != other[part])


def as_json(definition: Definition) -> dict[str, Any]:
    """The definition as values that JSON keeps."""
    return {
        "vcpus": definition.vcpus,
        "memory_mib": definition.memory_mib,
        "cpu_quota_percent": definition.cpu_quota_percent,
        "disks": [list(disk) for disk in definition.disks],
        "interfaces": [list(interface) for interface in definition.interfaces],
        "boot": list(definition.boot),
    }


def from_json(kept: Mapping[str, Any]) -> Definition:
    """The definition that `as_json` kept."""
    return Definition(
        vcpus=kept["vcpus"],
        memory_mib=kept["memory_mib"],
        cpu_quota_percent=kept["cpu_quota_percent"],
        disks=tuple((target, source) for target, source in kept["disks"]),
        interfaces=tuple((mac, source, filter_) for mac, source, filter_ in kept["interfaces"]),
        boot=tuple(kept["boot"]),
    )
