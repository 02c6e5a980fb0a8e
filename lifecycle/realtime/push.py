"""Sends messages to the browsers of a project, from any thread, without ever blocking or failing the caller.

One thread a process holds a persistent event loop and the channel layer's connection; a bounded queue in front
of it keeps the order. What cannot be sent is dropped: the Event rows are the truth, and every consumer reads
what it missed at its next heartbeat.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from channels.layers import get_channel_layer
from django.db import transaction

log = logging.getLogger(__name__)

#: Messages that may wait for the thread; more mean that Redis hangs, and are dropped.
QUEUE_MAX = 10_000
#: The longest a message may take to reach Redis.
SEND_SECONDS = 1.0
#: After a failure nothing is tried for so long, so that a dead Redis costs nothing.
PAUSE_SECONDS = 3.0
#: How long the end of the process waits for what is still queued.
FLUSH_SECONDS = 1.0
#: A group without members: sending there proves that the layer works and leaves nothing behind.
_PROBE_GROUP = "probe"


def project_group(project_id: int) -> str:
    """The group of everybody who watches a project."""
    return f"project_{project_id}"


def user_group(user_id: int) -> str:
    """The group of a person's open connections, whatever the project."""
    return f"user_{user_id}"


def send(project_id: int, message: dict[str, Any]) -> None:
    """Push `message` to everybody who watches the project; returns at once and never raises."""
    _sender.post(project_group(project_id), {"type": "project.event", "message": message})


def note(project_id: int, subject: str) -> None:
    """Tell everybody who watches the project that something about `subject` changed: no number, never repeated."""
    _sender.post(project_group(project_id), {"type": "project.note", "subject": subject})


def operation_group(operation_id: object) -> str:
    """The group of everybody who waits for the end of an operation."""
    return f"operation_{operation_id}"


def operation_ended(operation_id: object) -> None:
    """On commit, tell those who wait for it."""
    group = operation_group(operation_id)
    transaction.on_commit(lambda: _sender.post(group, {"type": "operation.ended"}))


def usage_group(subject: str) -> str:
    """The group of everybody who looks at the live chart of a subject (`lifecycle.realtime.recent`)."""
    return f"usage_{subject}"


def usage(subject: str, message: dict[str, Any]) -> None:
    """Push a sample to those who look at the subject; it has no number, is never repeated and never raises."""
    _sender.post(usage_group(subject), {"type": "usage.sample", "message": message})


def rights_changed(project_id: int) -> None:
    """On commit, make open connections of the project look again at what their user may see."""
    transaction.on_commit(lambda: _sender.post(project_group(project_id), {"type": "project.rights"}))


def session_ended(user_id: int) -> None:
    """On commit, make a person's open connections look again whether their session still holds."""
    transaction.on_commit(lambda: _sender.post(user_group(user_id), {"type": "session.ended"}))


def available() -> bool:
    """Whether pushes get through now; answered within about a second, and remembered for a few."""
    return _sender.available()


def flush(seconds: float = FLUSH_SECONDS) -> bool:
    """Wait until all that was posted is sent or dropped; False when the time was too short."""
    return _sender.flush(seconds)


@dataclass(frozen=True, slots=True)
class _Item:
    group: str
    message: dict[str, Any]
    sent: "Future[bool] | None" = None


@dataclass(slots=True)
class _Sender:
    """The queue, its thread, and what is known of Redis. One a process; a fork makes a new one."""

    waiting: "queue.Queue[_Item | None]" = field(default_factory=lambda: queue.Queue(QUEUE_MAX))
    starting: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None
    broken_until: float = 0.0
    probed_at: float = float("-inf")
    probe_result: bool = False

    def post(self, group: str, message: dict[str, Any], sent: "Future[bool] | None" = None) -> None:
        """Queue a message, or drop it while Redis is known to be away."""
        try:
            if time.monotonic() >= self.broken_until:
                self._start()
                self.waiting.put_nowait(_Item(group, message, sent))
                return
        except (queue.Full, RuntimeError) as error:  # RuntimeError: no new thread while the interpreter ends
            log.warning("a push to %s was dropped: %r", group, error)
        _resolve(sent, False)

    def available(self) -> bool:
        if time.monotonic() - self.probed_at > PAUSE_SECONDS:
            answer: Future[bool] = Future()
            self.post(_PROBE_GROUP, {"type": "probe"}, answer)
            try:
                self.probe_result = answer.result(SEND_SECONDS + 0.2)
            except TimeoutError:
                self.probe_result = False
            self.probed_at = time.monotonic()
        return self.probe_result and time.monotonic() >= self.broken_until

    def flush(self, seconds: float) -> bool:
        with self.waiting.all_tasks_done:
            return self.waiting.all_tasks_done.wait_for(lambda: not self.waiting.unfinished_tasks, seconds)

    def stop(self) -> None:
        """At the end of the process: let what is queued go out, close the connection."""
        if self.thread is None:
            return
        self.flush(FLUSH_SECONDS)
        with contextlib.suppress(queue.Full):
            self.waiting.put_nowait(None)
            self.thread.join(FLUSH_SECONDS)

    def _start(self) -> None:
        if self.thread is None:
            with self.starting:
                if self.thread is None:
                    thread = threading.Thread(target=self._run, name="push", daemon=True)
                    thread.start()
                    self.thread = thread

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while (item := self.waiting.get()) is not None:
                try:
                    runner.run(self._deliver(item))
                finally:
                    self.waiting.task_done()
            self.waiting.task_done()

    async def _deliver(self, item: _Item) -> None:
        if time.monotonic() < self.broken_until:
            _resolve(item.sent, False)
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await get_channel_layer().group_send(item.group, item.message)
        except (
            Exception,
            asyncio.CancelledError,
        ) as error:  # the thread must live on
            self.broken_until = time.monotonic() + PAUSE_SECONDS
            log.warning("pushes are off for %.0f s: %r", PAUSE_SECONDS, error)
            _resolve(item.sent, False)
        else:
            _resolve(item.sent, True)


def _resolve(future: "Future[bool] | None", value: bool) -> None:
    if future is not None:
        future.set_result(value)


def _after_fork() -> None:
    """The thread stayed with the parent; a lock of it may be held for ever here."""
    global _sender
    _sender = _Sender()


_sender = _Sender()
os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _sender.stop())
