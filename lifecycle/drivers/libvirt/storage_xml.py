"""Pools and volumes as libvirt reads them."""

from lifecycle.drivers.base import Pool
from lifecycle.drivers.libvirt.names import pool_name, pool_path, stable_uuid
from lifecycle.drivers.libvirt.xml import E, to_text


def pool_xml(installation: str, pool: Pool) -> str:
    """A directory; QEMU's user may pass through it to files it is given, and list nothing."""
    name = pool_name(installation, pool)
    return to_text(
        E.pool(
            E.name(name),
            E.uuid(str(stable_uuid(name))),
            E.target(E.path(pool_path(installation, pool)), E.permissions(E.mode("0711"))),
            type="dir",
        )
    )


def raw_volume_xml(name: str, capacity_bytes: int, mode: str) -> str:
    """A file of plain bytes. Nothing of it is allocated beforehand."""
    return to_text(
        E.volume(
            E.name(name),
            E.capacity(str(capacity_bytes), unit="bytes"),
            E.allocation("0", unit="bytes"),
            E.target(E.format(type="raw"), E.permissions(E.mode(mode))),
        )
    )


def overlay_xml(name: str, capacity_bytes: int, base: tuple[str, str] | None) -> str:
    """A thin qcow2 file over a base (path, format), or an empty one. A format is never guessed from content."""
    return to_text(
        E.volume(
            E.name(name),
            E.capacity(str(capacity_bytes), unit="bytes"),
            E.allocation("0", unit="bytes"),
            E.target(E.format(type="qcow2"), E.permissions(E.mode("0600"))),
            *([E.backingStore(E.path(base[0]), E.format(type=base[1]))] if base else []),
        )
    )
