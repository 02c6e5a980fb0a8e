"""Does a guest really execute here? Found out with a guest of one sector that resets its machine.

/dev/kvm may open and libvirt may offer "kvm", and yet a guest never executes an instruction (nested
virtualisation that is not there). The sector asks the keyboard controller for a reset; libvirt is told to destroy the
domain at a reset. A domain that goes away by itself has executed; one that stays hangs. The same guest under
emulation is the control: if even that one hangs, the probe itself says nothing about KVM.
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

#: mov al, 0xfe; out 0x64, al; hlt; jmp back: reset through the keyboard controller, then wait for it.
_CODE: Final = bytes.fromhex("b0fee664f4ebfd")
BOOT_SECTOR: Final = _CODE.ljust(510, b"\0") + b"\x55\xaa"
#: The firmware does not boot from a disk of a single sector.
DISK_BYTES: Final = 2**20
#: How long a probe guest may take. Emulation on a busy machine is slow; the firmware alone takes it a second.
SECONDS: Final = {"kvm": 6.0, "qemu": 15.0}
_STEP_SECONDS: Final = 0.1
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
        volume = self._boot_volume()
        try:
            domain = self.conn.createXML(self._xml(domain_type, volume.path()), _FLAGS)
        except libvirt.libvirtError as error:
            return f"a probe guest did not start ({_one_line(error)})"
        else:
            return self._wait(domain, SECONDS[domain_type])
        finally:
            with suppress(libvirt.libvirtError):
                volume.delete(0)

    def _wait(self, domain: Any, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not _is_there(domain):
                return ""
            time.sleep(_STEP_SECONDS)
        with suppress(libvirt.libvirtError):
            domain.destroy()
        return f"a probe guest executed nothing within {seconds:.0f} seconds"

    def _boot_volume(self) -> Any:
        pool = self.conn.storagePoolLookupByName(pool_name(self.installation, Pool.DISKS))
        volume = pool.createXML(raw_volume_xml(f"probe-{uuid4()}.raw", DISK_BYTES, "0600"))
        stream = self.conn.newStream(0)
        volume.upload(stream, 0, len(BOOT_SECTOR))
        stream.send(BOOT_SECTOR)
        stream.finish()
        return volume

    def _xml(self, domain_type: str, disk: str) -> str:
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
                E.controller(type="usb", model="none"),
                E.memballoon(model="none"),
            ),
            type=domain_type,
        )
        return to_text(domain)


def _is_there(domain: Any) -> bool:
    """Raises libvirtError when the host does not answer: that is no sign of life of the guest."""
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise


def _one_line(error: libvirt.libvirtError) -> str:
    """What QEMU said first, without its time and path; else what libvirt said."""
    text = str(error.get_error_message() or error)
    said = _QEMU_SAID.search(text)
    return f"QEMU: {said[1]}" if said else " ".join(text.split())[:200]
