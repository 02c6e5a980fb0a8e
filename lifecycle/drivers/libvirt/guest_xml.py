"""The definition of a VM as libvirt reads it, built element by element.

The choices behind each device are from measurements: no hpet (a frozen guest clock), a small translation cache
under emulation (hundreds of MiB saved at no cost in speed), the seed on virtio (Debian's cloud kernel has no ahci),
no TCP port for graphics, pvpanic so that a guest's panic is told, and I/O errors that hold the guest, not corrupt it.
"""

from dataclasses import dataclass, replace
from typing import Final

from lifecycle.drivers.base import DomainSpec
from lifecycle.drivers.libvirt.names import METADATA, METADATA_PREFIX, filter_name
from lifecycle.drivers.libvirt.xml import E, Element, Maker, to_text

_OURS: Final = Maker(METADATA, METADATA_PREFIX)
_MACHINES: Final = {"x86_64": "q35", "aarch64": "virt"}

#: libvirt's CPU shares for one whole vCPU: fits the ranges of cgroup v1 (2 and up) and v2 (1 to 10000).
_SHARES_PER_VCPU: Final = 100
_QUOTA_PERIOD_US: Final = 100_000
_TB_CACHE_MIB: Final = 64
_BALLOON_PERIOD_S: Final = 10


@dataclass(frozen=True, slots=True)
class Places:
    """Where the guest's files are on its host.

    `cdrom` is the CD in the drive, None without a drive.
    `base` is the golden image under the disk and its format, None when the disk stands alone (or is not made yet);
    `serial_log` is None where the connection's driver keeps no log.
    """

    disk: str
    seed: str
    serial_log: str | None
    base: tuple[str, str] | None = None
    cdrom: str | None = None


def domain_xml(spec: DomainSpec, places: Places, *, test: bool = False) -> str:
    """The whole domain. Its packet filter must exist when it starts. `test`: for libvirt's test driver."""
    if test:
        spec = replace(spec, domain_type="test")
    domain = E.domain(
        E.name(spec.name),
        E.uuid(str(spec.uuid)),
        E.title(spec.title),
        E.metadata(mark_of(spec.installation, spec.project, spec.vm_name, spec.generation)),
        E.memory(str(spec.memory_mib), unit="MiB"),
        E.vcpu(str(spec.vcpus)),
        _cputune(spec),
        _os(spec),
        _features(spec),
        *_cpu(spec),
        _clock(spec),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        E.pm(E("suspend-to-mem", enabled="no"), E("suspend-to-disk", enabled="no")),
        _devices(spec, places),
        type=spec.domain_type,
    )
    return to_text(domain)


def mark_of(installation: str, project: str, vm_name: str, generation: int, maker: Maker = _OURS) -> Element:
    """The mark that says whose a domain is. With `maker` E it has no namespace: a call that sets it gives it one."""
    return maker.vm(installation=installation, project=project, name=vm_name, generation=str(generation))


def _os(spec: DomainSpec) -> Element:
    """With UEFI libvirt finds the host's firmware itself, and makes and removes the file of its variables (NVRAM)."""
    os = E.os(
        E.type("hvm", arch=spec.architecture, machine=_MACHINES.get(spec.architecture, "q35")),
        *(E.boot(dev=device) for device in spec.boot),
        E.bootmenu(enable="no"),
    )
    if spec.firmware == "uefi" and spec.domain_type != "test":
        os.set("firmware", "efi")
        # Secure boot would need the host's signed firmware and SMM, and refuses what its keys did not sign.
        os.insert(1, E.firmware(E.feature(enabled="no", name="secure-boot")))
    return os


def _cputune(spec: DomainSpec) -> Element:
    """Shares in proportion to what was promised; a hard limit for shared cores only. The quota is per vCPU."""
    percent = spec.cpu_quota_percent
    shares = spec.vcpus * _SHARES_PER_VCPU * (percent or 100) // 100
    tune = E.cputune(E.shares(str(max(2, shares))))
    if percent is not None:
        tune.append(E.period(str(_QUOTA_PERIOD_US)))
        tune.append(E.quota(str(_QUOTA_PERIOD_US * percent // 100)))
    return tune


def _features(spec: DomainSpec) -> Element:
    features = E.features(E.acpi(), E.apic())
    if spec.domain_type == "qemu":
        features.append(E.tcg(E("tb-cache", str(_TB_CACHE_MIB), unit="MiB")))
    return features


def _cpu(spec: DomainSpec) -> list[Element]:
    if spec.domain_type == "kvm":
        return [E.cpu(mode="host-model")]
    if spec.domain_type == "qemu" and spec.architecture == "x86_64":
        return [E.cpu(E.model("qemu64", fallback="forbid"), mode="custom", match="exact")]
    return []


def _clock(spec: DomainSpec) -> Element:
    clock = E.clock(E.timer(name="hpet", present="no"), offset="utc")
    if spec.domain_type == "kvm":
        clock.append(E.timer(name="rtc", tickpolicy="catchup"))
        clock.append(E.timer(name="pit", tickpolicy="delay"))
    return clock


def _devices(spec: DomainSpec, places: Places) -> Element:
    return E.devices(
        _disk(places.disk, "vda", _driver("qcow2", discard="unmap", detect_zeroes="off"), *_base(places)),
        _disk(places.seed, "vdb", _driver("raw"), E.readonly()),
        *_cdrom(places),
        E.controller(type="usb", model="none"),
        _interface(spec),
        _serial(places),
        E.console(E.target(type="serial", port="0"), type="pty"),
        E.channel(E.target(type="virtio", name="org.qemu.guest_agent.0"), type="unix"),
        E.graphics(E.listen(type="socket"), type="vnc"),
        E.video(E.model(type="vga", vram="8192")),
        E.memballoon(E.stats(period=str(_BALLOON_PERIOD_S)), model="virtio"),
        E.rng(E.backend("/dev/urandom", model="random"), model="virtio"),
        E.panic(model="isa"),
    )


def _driver(disk_format: str, **attributes: str) -> Element:
    return E.driver(name="qemu", type=disk_format, error_policy="stop", **attributes)


def _disk(path: str, target: str, driver: Element, *more: Element) -> Element:
    return E.disk(driver, E.source(file=path), E.target(dev=target, bus="virtio"), *more, type="file", device="disk")


def _cdrom(places: Places) -> list[Element]:
    """On SATA, where systems other than Linux and installers find it. The file is shared, and nobody's to write."""
    if places.cdrom is None:
        return []
    source = E.source(E.seclabel(model="dac", relabel="no"), file=places.cdrom)
    target = E.target(dev="sda", bus="sata")
    return [E.disk(E.driver(name="qemu", type="raw"), source, target, E.readonly(), type="file", device="cdrom")]


def _base(places: Places) -> list[Element]:
    """The golden image by name, so that libvirt probes nothing, and never to be given to QEMU's user."""
    if places.base is None:
        return []
    path, image_format = places.base
    source = E.source(E.seclabel(model="dac", relabel="no"), file=path)
    return [E.backingStore(E.format(type=image_format), source, E.backingStore(), type="file")]


def _interface(spec: DomainSpec) -> Element:
    interface = E.interface(
        E.mac(address=spec.mac),
        E.source(network=spec.network.name),
        E.model(type="virtio"),
        type="network",
    )
    if spec.domain_type != "test":
        interface.append(E.filterref(filter=filter_name(spec.installation, spec.uuid)))
    return interface


def _serial(places: Places) -> Element:
    serial = E.serial(E.target(type="isa-serial", port="0"), type="pty")
    if places.serial_log is not None:
        serial.insert(0, E.log(file=places.serial_log, append="on"))
    return serial
