"""The sweep: each worker looks for due operations itself, so that no lost bell and no dead beat stops anything."""

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connection

from lifecycle.operations import engine
from lifecycle.services import operations

log = logging.getLogger(__name__)

THREADS = 4


class Sweeper:
    """A thread that finds due operations and a few that run them."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: dict[UUID, Future[bool]] = {}

    def start(self) -> None:
        """Begin, once a process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, daemon=True, name="sweeper")
            self._thread.start()

    def stop(self) -> None:
        """End after the present round."""
        self._stopping.set()

    def _loop(self) -> None:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="sweep") as pool:
            while not self._stopping.wait(settings.SWEEP_SECONDS):
                try:
                    self.sweep(pool)
                except Exception:
                    log.exception("the sweep failed; trying again")
                    connection.close()

    def sweep(self, pool: ThreadPoolExecutor) -> int:
        """One round: hand due operations to free threads; returns how many."""
        close_old_connections()
        self._running = {pk: f for pk, f in self._running.items() if not f.done()}
        free = THREADS - len(self._running)
        found = [pk for pk in operations.due(limit=THREADS * 2) if pk not in self._running][: max(0, free)]
        for pk in found:
            self._running[pk] = pool.submit(_run, pk)
        return len(found)


def _run(operation_id: UUID) -> bool:
    close_old_connections()
    try:
        return engine.run(operation_id)
    except Exception:
        log.exception("operation %s could not be run", operation_id)
        return False
    finally:
        close_old_connections()


sweeper = Sweeper()
