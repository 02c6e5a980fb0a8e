"""One thread a host and a purpose, under a lease: what `watch_hosts` is made of."""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

from lifecycle.models import Host
from lifecycle.services.leases import Turn

log = logging.getLogger(__name__)

#: A process looks for hosts that came or went, and for leases that became free, so many times within a lease.
LOOKS: Final = 3

#: (host's id, its URI, turn): works until the turn ends.
Work = Callable[[int, str, Turn], None]


class HostThread(threading.Thread):
    """Takes turns at one host for one purpose, for as long as the host is there."""

    def __init__(self, host: Host, purpose: str, work: Work) -> None:
        super().__init__(name=f"{purpose}-{host.name}", daemon=True)
        self.host_id, self.uri, self.purpose, self._work = host.pk, host.uri, purpose, work
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[:100]
        self.stopping = threading.Event()

    def run(self) -> None:
        """Take the lease when it is free, work while it is ours, begin again."""
        while not self.stopping.is_set():
            turn = Turn(self.host_id, self.purpose, self.owner, settings.HOST_LEASE_SECONDS, self.stopping)
            try:
                if turn.goes_on():
                    self._work(self.host_id, self.uri, turn)
            except Exception:
                log.exception("%s failed; beginning again", self.name)
                connection.close()
            turn.end()
            connection.close()
            self.stopping.wait(settings.HOST_LEASE_SECONDS / LOOKS)


class HostThreads:
    """Keeps a thread for every host and purpose; hosts that come and go are followed within seconds."""

    def __init__(self, works: dict[str, Work]) -> None:
        self._works = works
        self._threads: dict[tuple[int, str, str], HostThread] = {}

    def run(self, stopping: threading.Event) -> None:
        """Follow the hosts until it is time to stop; then end all threads within a few seconds."""
        while not stopping.is_set():
            try:
                self.follow(list(Host.objects.all()))
            except DatabaseError:
                log.exception("the hosts could not be read; trying again")
            connection.close()
            stopping.wait(settings.HOST_LEASE_SECONDS / LOOKS)
        self.stop()

    def follow(self, hosts: list[Host]) -> None:
        """Threads for exactly these hosts. A host with another URI is another host."""
        wanted = {(host.pk, host.uri, purpose): host for host in hosts for purpose in self._works}
        for key in [k for k, thread in self._threads.items() if k not in wanted or not thread.is_alive()]:
            self._threads.pop(key).stopping.set()
        for key, host in wanted.items():
            if key not in self._threads:
                thread = HostThread(host, key[2], self._works[key[2]])
                self._threads[key] = thread
                thread.start()

    def names(self) -> list[str]:
        """The threads that are followed now."""
        return sorted(thread.name for thread in self._threads.values())

    def stop(self, seconds: float = 4.0) -> None:
        """Ask all to end and wait; one that hangs in a call to its host ends with the process."""
        for thread in self._threads.values():
            thread.stopping.set()
        each = seconds / max(1, len(self._threads))
        for thread in self._threads.values():
            thread.join(max(0.1, each) if len(self._threads) > 8 else seconds)
        self._threads.clear()
