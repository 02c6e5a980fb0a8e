"""The connections that a process shares: one a host and installation, opened anew when dead.

The circuit breaker of a host: one that does not answer costs one thread a bounded time. For some seconds after a
failure everybody is told at once; then one thread tries again, and who comes meanwhile is told `Busy` at once.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lifecycle.domain.errors import Busy, Transient
from lifecycle.drivers.libvirt.connection import LibvirtHypervisor, connect
from lifecycle.drivers.libvirt.gate import CALLS_MAX, WAIT_SECONDS, Gate
from lifecycle.drivers.libvirt.opening import KeepAlive

FAILED_SECONDS: Final = 3.0


class _Place:
    """What is known of one host: its gate, its connection, its last failure."""

    def __init__(self, calls_max: int) -> None:
        self.gate = Gate(calls_max)
        self.opening = threading.Lock()
        self.hypervisor: LibvirtHypervisor | None = None
        self.failed_at = float("-inf")
        self.failure = ""

    def living(self) -> LibvirtHypervisor | None:
        hypervisor = self.hypervisor
        return hypervisor if hypervisor is not None and hypervisor.alive() else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        # A first connection is there in a moment and worth waiting for; that to a host that failed is not.
        if not self.opening.acquire(timeout=0.0 if self.failure else WAIT_SECONDS):
            raise Busy("the host is being connected to")
        try:
            yield
        finally:
            self.opening.release()


class Hypervisors:
    """Shared connections by URI. Thread-safe."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], _Place] = {}
        self._lock = threading.Lock()

    def get(
        self, uri: str, *, installation: str, calls_max: int = CALLS_MAX, keepalive: KeepAlive | None = None
    ) -> LibvirtHypervisor:
        """The living connection to `uri`, opened when needed. `calls_max` counts at the first use of a host.

        Raises:
            HypervisorError: `Transient` when the host does not answer, or did not a moment ago; `Busy` while
                another thread tries.
        """
        with self._lock:
            place = self._places.setdefault((uri, installation), _Place(calls_max))
        if (living := place.living()) is not None:
            return living
        with place.alone():
            return place.living() or self._open(place, uri, installation, keepalive)

    def _open(self, place: _Place, uri: str, installation: str, keepalive: KeepAlive | None) -> LibvirtHypervisor:
        if time.monotonic() - place.failed_at < FAILED_SECONDS:
            raise Transient(f"tried a moment ago: {place.failure}")
        if place.hypervisor is not None:
            place.hypervisor.close()
            place.hypervisor = None
        try:
            place.hypervisor = connect(uri, installation, keepalive=keepalive, gate=place.gate)
        except Transient as error:
            place.failed_at, place.failure = time.monotonic(), str(error)
            raise
        place.failure = ""
        return place.hypervisor

    def close(self) -> None:
        """Close all connections, as a process ends."""
        with self._lock:
            places, self._places = list(self._places.values()), {}
        for place in places:
            if place.hypervisor is not None:
                place.hypervisor.close()
