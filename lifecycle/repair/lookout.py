"""The lookout: each worker and each watcher keeps alerts and their messages going, whatever else has stopped.

A thread each: a mail server that hangs must not delay the look, and what people's receivers do must not delay
alerts. Turns and claims in the database see to it that of all processes one does each piece.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from django.db import close_old_connections, connection

from lifecycle.repair import alerts, delivery, hooks, notices, schedules, silence
from lifecycle.services import periodic
from lifecycle.services.alerts import Changes

log = logging.getLogger(__name__)

#: How often a process asks whether it is its turn.
ASK_SECONDS: Final = 5.0


class Lookout:
    """The threads of one process."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, deadlines: alerts.Deadlines) -> None:
        """Begin, once a process."""
        if self._threads:
            return
        for name, work in (
            ("alerts", lambda: look(deadlines)),
            ("messages", lambda: (delivery.deliver(), notices.deliver())),
            ("webhooks", hooks.deliver),
        ):
            thread = threading.Thread(target=self._loop, args=(work,), daemon=True, name=name)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()

    def _loop(self, work: Callable[[], object]) -> None:
        while not self._stopping.wait(ASK_SECONDS):
            try:
                close_old_connections()
                work()
            except Exception:
                log.exception("the lookout failed; trying again")
                connection.close()
        connection.close()


def look(deadlines: alerts.Deadlines) -> Changes | None:
    """The round of alerts, and with it: schedules, host errors, and the product's periodic tasks put right.

    None when it was not ours.
    """
    changes = alerts.look(deadlines)
    schedules.run()
    if changes is not None:
        silence.check()
    if changes is not None and periodic.wrong():
        for name in periodic.put_right(report_missing=True):
            log.warning("the periodic task %s had been switched off or slowed down; it was put right", name)
    return changes


lookout = Lookout()
