"""The end of QEMU's own log of a guest, read through a directory pool that lives only as long as the reading."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import libvirt

from lifecycle.drivers.libvirt.xml import E, to_text

LOGS: Final = "/var/log/libvirt/qemu"
TAIL_BYTES: Final = 16 * 1024


def log_tail(connection: Any, domain: str) -> str:
    """Up to 16 KiB of the log of the domain of that name. Raises libvirtError when it cannot be read."""
    with _pool(connection) as pool:
        volume = pool.storageVolLookupByName(f"{domain}.log")
        size = volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
        start = max(0, size - TAIL_BYTES)
        stream = connection.newStream(0)
        volume.download(stream, start, size - start)
        parts = []
        while chunk := stream.recv(TAIL_BYTES):
            parts.append(chunk)
        stream.finish()
    return b"".join(parts).decode(errors="replace")


@contextmanager
def _pool(connection: Any) -> Iterator[Any]:
    """A pool of the log directory: somebody's, or a transient one of ours. libvirt allows one a directory."""
    try:
        found = connection.storagePoolLookupByTargetPath(LOGS)
    except libvirt.libvirtError:
        found = None
    if found is not None:
        found.refresh(0)
        yield found
        return
    made = connection.storagePoolCreateXML(to_text(E.pool(E.name("vmp-qemu-logs"), E.target(E.path(LOGS)), type="dir")))
    try:
        yield made
    finally:
        made.destroy()
