"""Keeping leases alive while steps run: one thread a worker process renews all that it holds."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import close_old_connections, connection

from lifecycle.operations.context import Context
from lifecycle.services import operations

log = logging.getLogger(__name__)


class Keeper:
    """Renews the leases of this process, each third of their length; tells a context when its lease is lost."""

    def __init__(self) -> None:
        self._held: set[Context] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def held(self, context: Context) -> Iterator[None]:
        """Keep the context's lease alive while the block runs."""
        with self._lock:
            self._held.add(context)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="lease-keeper")
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(context)

    def count(self) -> int:
        """How many operations this process works on."""
        with self._lock:
            return len(self._held)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(settings.OPERATION_LEASE_SECONDS / 3):
            try:
                self._renew()
            except Exception:
                log.exception("leases could not be renewed; trying again")
                connection.close()

    def _renew(self) -> None:
        close_old_connections()
        with self._lock:
            held = list(self._held)
        if not held:
            return
        lost = set(operations.renew((c.operation.pk, c.token) for c in held))
        for context in held:
            if context.operation.pk in lost:
                context.lost.set()


keeper = Keeper()
