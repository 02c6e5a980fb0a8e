"""A bounded number of calls at a host: one that hangs takes a few threads and no more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lifecycle.domain.errors import Busy

CALLS_MAX: Final = 4
WAIT_SECONDS: Final = 1.0


class Gate:
    """At most `calls_max` threads inside at once."""

    def __init__(self, calls_max: int = CALLS_MAX, wait_seconds: float = WAIT_SECONDS) -> None:
        self._slots = threading.BoundedSemaphore(calls_max)
        self._wait_seconds = wait_seconds

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Raises `Busy` when no slot gets free in time."""
        if not self._slots.acquire(timeout=self._wait_seconds):
            raise Busy("the host's limit of simultaneous calls is reached")
        try:
            yield
        finally:
            self._slots.release()
