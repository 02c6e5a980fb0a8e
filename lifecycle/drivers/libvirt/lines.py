"""The connections of one hypervisor to its host: as many as it has calls under way, **one call on each**.

libvirt's client (9.0) lets several threads call on one connection, but when keepalive finds the host hung only one
of them is told: the others wait on, and the process's memory is damaged when the host comes back. With one call a
connection each is told.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import libvirt

from lifecycle.drivers.libvirt.gate import Gate


class Lines:
    """`first` listens to events too, and is the one that says whether the host is lost."""

    def __init__(self, first: Any, open_another: Callable[[], Any], gate: Gate) -> None:
        self.first = first
        self._open_another = open_another
        self._gate = gate
        self._idle = [first]
        self._closed = False
        self._lock = threading.Lock()
        self._mine = threading.local()

    @property
    def current(self) -> Any:
        """The connection this thread calls on; the first when it is in no call."""
        return getattr(self._mine, "line", None) or self.first

    @contextmanager
    def line(self) -> Iterator[None]:
        """A connection for this thread alone; a thread that has one keeps it.

        Raises:
            HypervisorError: `Busy` when as many calls as are allowed are under way; what opening another raises.
        """
        if getattr(self._mine, "line", None) is not None:
            yield
            return
        with self._gate.slot():
            self._mine.line = self._take()
            try:
                yield
            finally:
                self._give_back(self._mine.line)
                self._mine.line = None

    def _take(self) -> Any:
        while True:
            with self._lock:
                line = self._idle.pop() if self._idle else None
            if line is None:
                return self._open_another()
            if line is self.first or is_alive(line):
                return line
            _close(line)

    def _give_back(self, line: Any) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(line)
                return
        if line is not self.first:
            _close(line)

    def close(self) -> None:
        """Close all but the first; one that is in a call is closed when that ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            if line is not self.first:
                _close(line)


def is_alive(connection: Any) -> bool:
    """Whether the connection is up, as its socket and keepalive tell; asks nobody."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _close(connection: Any) -> None:
    with suppress(libvirt.libvirtError):
        connection.close()
