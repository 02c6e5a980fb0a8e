"""Machines that run nothing but their firmware: QEMU's real devices for the price of one process."""

import secrets
from uuid import UUID, uuid4

import libvirt

from lifecycle.drivers.libvirt.xml import E, Element, to_text

#: What the firmware says first.
BANNER = b"SeaBIOS"


def firmware_domain(name: str, uuid: UUID, *devices: Element) -> str:
    """A domain without a disk, whose firmware speaks on the serial port too."""
    system = E.os(E.type("hvm", arch="x86_64", machine="q35"), E.bios(useserial="yes"))
    serial = E.serial(E.target(type="isa-serial", port="0"), type="pty")
    console = E.console(E.target(type="serial", port="0"), type="pty")
    return to_text(
        E.domain(
            E.name(name), E.uuid(str(uuid)), E.memory("32", unit="MiB"), E.vcpu("1"), system,
            E.devices(serial, console, E.controller(type="usb", model="none"), *devices), type="qemu",
        )
    )  # fmt: skip


def with_screen(conn: libvirt.virConnect, uuid: UUID | None = None) -> libvirt.virDomain:
    """A running one, with a screen as the product's VMs have it, whose firmware has come up and may be reset."""
    screen = (E.graphics(E.listen(type="socket"), type="vnc"), E.video(E.model(type="vga", vram="8192")))
    name = f"vmp-test-{secrets.token_hex(3)}-console"
    domain = conn.createXML(firmware_domain(name, uuid or uuid4(), *screen), libvirt.VIR_DOMAIN_START_PAUSED)
    _come_up(conn, domain)
    return domain


def _come_up(conn: libvirt.virConnect, domain: libvirt.virDomain) -> None:
    """Let it run until its firmware has spoken: one that is reset while it copies itself to RAM never runs again."""
    stream = conn.newStream()
    domain.openConsole(None, stream)
    domain.resume()
    said = b""
    while BANNER not in said:
        data = stream.recv(4096)
        assert data, f"the console ended after {said!r}"
        said += data
    stream.abort()
