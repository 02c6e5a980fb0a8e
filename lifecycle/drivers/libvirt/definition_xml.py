"""Reading what matters of a definition: the same way from what libvirt gives and from what we would give it."""

from collections.abc import Iterator
from typing import Final

from lifecycle.domain.definitions import Definition
from lifecycle.drivers.libvirt.xml import Element

#: libvirt's units of memory -> bytes. It writes KiB; people write others.
_UNITS: Final = {"b": 1, "bytes": 1, "k": 2**10, "KiB": 2**10, "M": 2**20, "MiB": 2**20, "G": 2**30, "GiB": 2**30}
_QUOTA_PERIOD_US: Final = 100_000
#: Where a disk's source says what it is, by the type of the disk.
_SOURCES: Final = ("file", "dev", "dir", "name", "volume")
_NETWORKS: Final = ("network", "bridge", "dev", "path")


def read(domain: Element, our_disks: str) -> Definition:
    """The definition of a domain. `our_disks`: the directory of our pool of disks on its host."""
    return Definition(
        vcpus=_vcpus(domain),
        memory_mib=_memory_mib(domain),
        cpu_quota_percent=_quota_percent(domain),
        disks=tuple(sorted(_disks(domain, our_disks))),
        interfaces=tuple(sorted(_interfaces(domain))),
        boot=tuple(_boot(domain)),
    )


def disk_targets(domain: Element) -> list[str]:
    """The targets of the disks that a guest writes to: no drives, nothing read-only."""
    disks = [disk for disk in domain.iterfind("devices/disk") if disk.get("device", "disk") in {"disk", "lun"}]
    targets = [disk.find("target") for disk in disks if disk.find("readonly") is None]
    return [target.get("dev", "") for target in targets if target is not None]


def sources(domain: Element) -> Iterator[str]:
    """Every file that the definition names, backing files and logs included, and volumes as pool/name."""
    for element in domain.iter("source", "log", "loader", "nvram", "kernel", "initrd"):
        yield from (str(value) for key, value in element.attrib.items() if key in {"file", "dev", "path"})
        if element.get("pool"):
            yield f"{element.get('pool')}/{element.get('volume')}"
        if element.text and element.text.startswith("/"):
            yield element.text


def _vcpus(domain: Element) -> int:
    """Those in use at the next start: fewer than the most possible when `current` says so."""
    element = domain.find("vcpu")
    return 1 if element is None else int(element.get("current") or element.text or 1)


def _memory_mib(domain: Element) -> int:
    element = domain.find("memory")
    if element is None:
        return 0
    return int(element.text or 0) * _UNITS.get(element.get("unit", "KiB"), 2**10) // 2**20


def _quota_percent(domain: Element) -> int | None:
    quota = int(domain.findtext("cputune/quota") or 0)
    period = int(domain.findtext("cputune/period") or _QUOTA_PERIOD_US)
    return quota * 100 // period if quota > 0 and period > 0 else None


def _disks(domain: Element, our_disks: str) -> Iterator[tuple[str, str]]:
    for disk in domain.iterfind("devices/disk"):
        target, source = disk.find("target"), disk.find("source")
        found = "" if source is None else next((source.get(key, "") for key in _SOURCES if source.get(key)), "")
        if source is not None and source.get("pool"):
            found = f"{source.get('pool')}/{found}"
        yield ("" if target is None else target.get("dev", "")), found.removeprefix(f"{our_disks}/")


def _interfaces(domain: Element) -> Iterator[tuple[str, str, str]]:
    for interface in domain.iterfind("devices/interface"):
        mac, source, filter_ = interface.find("mac"), interface.find("source"), interface.find("filterref")
        place = "" if source is None else next((source.get(key, "") for key in _NETWORKS if source.get(key)), "")
        address = "" if mac is None else mac.get("address", "").lower()
        yield address, place, "" if filter_ is None else filter_.get("filter", "")


def _boot(domain: Element) -> Iterator[str]:
    """Kinds of device in order; then single devices by their own order."""
    yield from (element.get("dev", "") for element in domain.iterfind("os/boot"))
    yield from (kernel.text or "" for kernel in domain.iterfind("os/kernel"))
    ordered = []
    for device in domain.iterfind("devices/*"):
        boot, target = device.find("boot"), device.find("target")
        if boot is not None:
            ordered.append((int(boot.get("order", "0")), device.tag if target is None else target.get("dev", "")))
    yield from (name for _order, name in sorted(ordered))
