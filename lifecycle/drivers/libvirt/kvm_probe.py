"""Does a guest really execute here? Found out with a guest of one sector that does what a kernel does, in a nutshell.

/dev/kvm may open and libvirt may offer "kvm", and yet a guest never gets far: nested virtualisation that is not there,
or one that carries out the firmware and fails at the first interrupt in protected mode. The sector (`kvm_probe.S`)
enters protected and long mode, takes interrupts in both, says a word on its serial line and resets its machine. The
word is the proof; a QEMU that dies, a guest that QEMU stops and one that hangs all leave it unsaid. The same guest
under emulation is the control: if even that one says nothing, the probe itself tells nothing about KVM.
"""

import re
import time
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import libvirt

from lifecycle.drivers.base import AccelerationVerdict, Pool
from lifecycle.drivers.libvirt.names import pool_name
from lifecycle.drivers.libvirt.storage_xml import raw_volume_xml
from lifecycle.drivers.libvirt.xml import E, to_text

#: `kvm_probe.S`, assembled.
_CODE: Final = bytes.fromhex(
    "fafc31c08ed88ec08ed0bc007cbf0010b90020f3ab660f0116207d0f20c00c010f22c0ea287c080066b810008ed88ec08ed0"
    "bc007c0000c70580110000aa7c0800c70584110000008e00000f011d267d000031dbcd3083fb017551c70500200000033000"
    "00c7050030000003400000c7050040000083000000b8002000000f22d80f20e083c8200f22e0b9800000c00f320d00010000"
    "0f300f20c00d000000800f22c0eaaf7c0000180043cff4ebfdc7042580100000eb7c1800c7042584100000008e0000b0fee6"
    "2131dbfbf483fb0272fafabef37c000066baf803ac84c07403eeebf8b0fee664f4ebfdffc3b020e62048cf65786563757465"
    "640a008d76000000000000000000ffff0000009acf00ffff00000092cf00ffff0000009aaf001f00007d0000ff030010"
)
BOOT_SECTOR: Final = _CODE.ljust(510, b"\0") + b"\x55\xaa"
#: What the guest says at its end.
WORD: Final = b"executed"
#: The firmware does not boot from a disk of a single sector.
DISK_BYTES: Final = 2**20
#: How long a probe guest may take. Emulation on a busy machine is slow; the firmware alone takes it a second.
SECONDS: Final = {"kvm": 6.0, "qemu": 15.0}
_STEP_SECONDS: Final = 0.1
#: What is said reaches the file through virtlogd, which may still write when QEMU has gone.
_FLUSH_SECONDS: Final = 2.0
_QEMU_SAID: Final = re.compile(r"qemu-system-\S+: (?:error: )?(.{3,200})")
_FLAGS: Final = libvirt.VIR_DOMAIN_START_AUTODESTROY
_CPUS: Final = {"kvm": E.cpu(mode="host-model"), "qemu": E.cpu(E.model("qemu64"), mode="custom", match="exact")}


class Probe:
    """One probing of one host."""

    def __init__(self, connection: Any, installation: str, architecture: str) -> None:
        self.conn = connection
        self.installation = installation
        self.architecture = architecture

    def verdict(self, offered: tuple[str, ...]) -> AccelerationVerdict:
        """Which type runs guests, and why, in a sentence. Raises libvirtError when no probe could be made."""
        if "kvm" not in offered:
            return AccelerationVerdict("qemu", f"libvirt offers no KVM on this host; {self._control()}.")
        if self.architecture != "x86_64":
            return AccelerationVerdict("kvm", f"libvirt offers KVM; guests of {self.architecture} are not probed.")
        failure = self._try("kvm")
        if not failure:
            return AccelerationVerdict("kvm", "A probe guest executed with KVM.")
        return AccelerationVerdict("qemu", f"KVM is offered, but {failure}; {self._control()}.")

    def _control(self) -> str:
        if self.architecture != "x86_64":
            return "guests are emulated"
        failure = self._try("qemu")
        return f"under emulation, too, {failure}" if failure else "the same guest executes under emulation"

    def _try(self, domain_type: str) -> str:
        """Empty when the probe guest executed, else what happened instead."""
        disk = said = None
        try:
            disk, said = self._volume("disk", BOOT_SECTOR), self._volume("said", b"")
            domain = self._start(domain_type, disk.path(), said.path())
            return domain if isinstance(domain, str) else self._wait(domain, said, SECONDS[domain_type])
        finally:
            for volume in filter(None, (disk, said)):
                with suppress(libvirt.libvirtError):
                    volume.delete(0)

    def _start(self, domain_type: str, disk: str, said: str) -> Any:
        try:
            return self.conn.createXML(self._xml(domain_type, disk, said), _FLAGS)
        except libvirt.libvirtError as error:
            return f"a probe guest did not start ({_one_line(error)})"

    def _wait(self, domain: Any, said: Any, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            power = _power(domain)
            if power is None:
                return "" if self._heard(said) else "QEMU ended before a probe guest had executed"
            if power == libvirt.VIR_DOMAIN_PAUSED:
                _destroy(domain)
                return "QEMU could not carry out what a probe guest executes, and stopped it"
            time.sleep(_STEP_SECONDS)
        _destroy(domain)
        return f"a probe guest did not get through within {seconds:.0f} seconds"

    def _heard(self, said: Any) -> bool:
        end = time.monotonic() + _FLUSH_SECONDS
        while not (heard := WORD in self._read(said)) and time.monotonic() < end:
            time.sleep(_STEP_SECONDS)
        return heard

    def _read(self, volume: Any) -> bytes:
        stream = self.conn.newStream(0)
        volume.download(stream, 0, 0)  # 0: to its end
        parts = []
        while part := stream.recv(1024):
            parts.append(part)
        stream.finish()
        return b"".join(parts)

    def _volume(self, kind: str, content: bytes) -> Any:
        pool = self.conn.storagePoolLookupByName(pool_name(self.installation, Pool.DISKS))
        volume = pool.createXML(raw_volume_xml(f"probe-{uuid4()}.{kind}", DISK_BYTES if content else 0, "0600"))
        if content:
            stream = self.conn.newStream(0)
            volume.upload(stream, 0, len(content))
            stream.send(content)
            stream.finish()
        return volume

    def _xml(self, domain_type: str, disk: str, said: str) -> str:
        domain = E.domain(
            E.name(f"vmp-{self.installation}-probe-{uuid4().hex[:8]}"),
            E.memory("32", unit="MiB"),
            E.vcpu("1"),
            E.os(E.type("hvm", arch=self.architecture, machine="q35"), E.boot(dev="hd")),
            E.features(E.acpi()),
            _CPUS[domain_type],
            E.on_reboot("destroy"),
            E.devices(
                E.disk(
                    E.driver(name="qemu", type="raw"),
                    E.source(file=disk),
                    E.target(dev="vda", bus="virtio"),
                    type="file",
                    device="disk",
                ),
                E.serial(E.source(path=said, append="off"), E.target(type="isa-serial", port="0"), type="file"),
                E.controller(type="usb", model="none"),
                E.memballoon(model="none"),
            ),
            type=domain_type,
        )
        return to_text(domain)


def _power(domain: Any) -> int | None:
    """libvirt's state of the domain, None when it is gone.

    Raises libvirtError when the host does not answer: that is no sign of life of the guest.
    """
    try:
        return int(domain.state()[0])
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _destroy(domain: Any) -> None:
    with suppress(libvirt.libvirtError):
        domain.destroy()


def _one_line(error: libvirt.libvirtError) -> str:
    """What QEMU said first, without its time and path; else what libvirt said."""
    text = str(error.get_error_message() or error)
    said = _QEMU_SAID.search(text)
    return f"QEMU: {said[1]}" if said else " ".join(text.split())[:200]
