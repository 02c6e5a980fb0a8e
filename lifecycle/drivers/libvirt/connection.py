"""The facade: all verbs of one host.

Through `test+unix://` (libvirt's test driver behind a libvirtd, state shared while a connection is open) these work
as on a real host: pools, volumes, networks, bindings, define, undefine, look, list, start, destroy, reset, save,
discard, resume, lifecycle events. These degrade: an uploaded image or seed has a size and no content, a read gives
b"", there are no leases and no packet filters, and a guest told to shut down is off at once.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final

from lifecycle.drivers.base import HostEvent
from lifecycle.drivers.libvirt.domains import DomainVerbs
from lifecycle.drivers.libvirt.gate import CALLS_MAX, Gate
from lifecycle.drivers.libvirt.host import HostVerbs
from lifecycle.drivers.libvirt.images import ImageVerbs
from lifecycle.drivers.libvirt.lines import Lines
from lifecycle.drivers.libvirt.network import NetworkVerbs
from lifecycle.drivers.libvirt.opening import KeepAlive, open_connection

#: A host that answers on one connection opens another in milliseconds.
ANOTHER_SECONDS: Final = 5.0


class LibvirtHypervisor(HostVerbs, NetworkVerbs, ImageVerbs, DomainVerbs):
    """A `lifecycle.drivers.base.Hypervisor` through libvirt."""

    def events(self, handler: Callable[[HostEvent], None]) -> AbstractContextManager[None]:
        """Events go to `handler`, called in libvirt's thread, while the context is open."""
        return self.watch.to(handler)


def connect(
    uri: str,
    installation: str,
    *,
    calls_max: int = CALLS_MAX,
    keepalive: KeepAlive | None = None,
    gate: Gate | None = None,
) -> LibvirtHypervisor:
    """Connections of the caller's own, one at first, with their own limit of calls unless a `gate` is shared.

    Raises:
        HypervisorError: the host does not answer (`Transient`) or does not let us in (`Refused`).
    """
    keepalive = keepalive or KeepAlive()
    first = open_connection(uri, keepalive)
    open_another = partial(open_connection, uri, keepalive, seconds=ANOTHER_SECONDS)
    return LibvirtHypervisor(Lines(first, open_another, gate or Gate(calls_max)), installation)
