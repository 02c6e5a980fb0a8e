"""Watching one host: connect, listen, reconcile; when it is lost say so, and connect again.

`watch` runs in a thread of its own for each host: a host that hangs delays nobody else.
"""

import logging
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from lifecycle.domain.errors import HypervisorError, Transient
from lifecycle.domain.recovery import Decision
from lifecycle.drivers.base import EventKind, HostEvent, Hypervisor, Inventory
from lifecycle.drivers.libvirt import connect
from lifecycle.models import Operation
from lifecycle.repair import silence
from lifecycle.repair.observe import ENDINGS, look_again, observe
from lifecycle.repair.reconcile import Result, reconcile
from lifecycle.services import hosts, observations, operations
from lifecycle.services.leases import Turn

log = logging.getLogger(__name__)

PURPOSE: Final = "watch"
ALIVE_SECONDS: Final = 5.0
RECORD_SECONDS: Final = 15.0
INVENTORY_SECONDS: Final = 600.0
#: An operation that ends just as its guest dies misses the event: its VM is looked at once more.
LOOK_AGAIN_SECONDS: Final = 2.0
BACKOFF_SECONDS: Final = (0.5, 15.0)
#: A libvirtd that has just started shows its guests as running until it has reached their QEMUs, and tells by no
#: event that it found one dead: the first reconciles follow each other quickly.
EARLY_SECONDS: Final = (1.0, 3.0, 8.0)


def watch(host_id: int, uri: str, turn: Turn) -> None:
    """Watch the host until the turn ends."""
    pause = BACKOFF_SECONDS[0]
    while turn.goes_on():
        try:
            with _session(host_id, uri) as session:
                session.begin()
                pause = BACKOFF_SECONDS[0]
                session.run(turn)
        except HypervisorError as error:
            lost(host_id, error)
            turn.pause(pause)
            pause = min(BACKOFF_SECONDS[1], pause * 2)
        except DatabaseError:
            log.exception("host %s: the database does not answer; trying again", host_id)
            connection.close()
            turn.pause(2.0)


@contextmanager
def connected(uri: str) -> Iterator[Hypervisor]:
    """A connection of our own: a watcher must not wait behind anybody else's calls."""
    hypervisor = connect(uri, settings.INSTALLATION_ID)
    try:
        yield hypervisor
    finally:
        hypervisor.close()


def describe(host_id: int, seen: Inventory) -> bool:
    """Record an inventory. False when the host has shrunk below what is reserved on it."""
    return hosts.record_description(
        host_id,
        hosts.Description(
            seen.architecture,
            seen.cpus,
            seen.memory_mib,
            seen.disk_gib,
            seen.libvirt_version,
            seen.hypervisor_version,
        ),
    )


@contextmanager
def _session(host_id: int, uri: str) -> Iterator["Session"]:
    with connected(uri) as hypervisor:
        session = Session(host_id, hypervisor)
        with hypervisor.events(session.events.put):
            yield session


def lost(host_id: int, error: HypervisorError) -> None:
    """Record that the host does not answer, and why."""
    try:
        if hosts.mark_down(host_id, str(error)):
            log.warning("host %s does not answer: %s", host_id, error)
        silence.check(host_id)
    except DatabaseError:
        log.exception("host %s does not answer (%s), and neither does the database", host_id, error)
        connection.close()


@dataclass(slots=True)
class Session:
    """One connection to a host, from its first event to its loss. Moments are of time.monotonic()."""

    host_id: int
    hypervisor: Hypervisor
    events: "queue.SimpleQueue[HostEvent]" = field(default_factory=queue.SimpleQueue)
    _reconcile_at: float = 0.0
    _alive_at: float = 0.0
    _record_at: float = 0.0
    _inventory_at: float = 0.0
    _again: dict[UUID, float] = field(default_factory=dict)
    _early: list[float] = field(default_factory=lambda: list(EARLY_SECONDS))

    def begin(self) -> None:
        """The host answers: record it, wake what waits for it, see what we missed. Events queue up meanwhile."""
        self._look_alive()
        waiting = Operation.objects.filter(vm__host=self.host_id).exclude(status=Operation.Status.DONE)
        for vm_id in waiting.values_list("vm", flat=True):
            operations.wake(vm_id)
        self._reconcile()

    def run(self, turn: Turn) -> None:
        """Handle events and what is due, until the turn ends.

        Raises:
            HypervisorError: the host is lost.
        """
        while turn.goes_on():
            event = self._next_event()
            try:
                if event is not None:
                    self._handle(event)
                self._do_what_is_due()
            except DatabaseError:
                log.exception("host %s: the database does not answer; trying again", self.host_id)
                connection.close()
                self._reconcile_at = 0.0  # nothing that was missed stays unseen
                turn.pause(1.0)

    def _next_event(self) -> HostEvent | None:
        """The next event, or None when something else is due (at least once a second)."""
        due = min(self._reconcile_at, self._alive_at, time.monotonic() + 1.0, *self._again.values())
        try:
            return self.events.get(timeout=max(0.0, due - time.monotonic()))
        except queue.Empty:
            return None

    def _handle(self, event: HostEvent) -> None:
        if event.kind is EventKind.CONNECTION_LOST:
            raise Transient(event.detail or "the connection was lost")
        try:
            decision = observe(self.host_id, self.hypervisor, event)
        except HypervisorError as error:
            self._unless_lost(error)
            decision = Decision.NO_ANSWER
        if event.uuid is None or decision is None:
            return
        # After it was acted upon: a record must not delay what people see.
        observations.record_event(self.host_id, event.uuid, event.kind, event.detail, event.occurred_at)
        if decision is Decision.IN_STEP:
            return
        if event.kind in ENDINGS or decision is Decision.NO_ANSWER:
            self._again[event.uuid] = time.monotonic() + LOOK_AGAIN_SECONDS
        took = (time.monotonic() - event.received_monotonic) * 1000
        log.debug("host %s: %s of %s: %s in %.1f ms", self.host_id, event.kind, event.name, decision, took)

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        for vm_id in [pk for pk, at in self._again.items() if at <= now]:
            del self._again[vm_id]
            self._look_again(vm_id)
        if self._alive_at <= now:
            self._look_alive()
        if self._reconcile_at <= now:
            self._reconcile()

    def _look_again(self, vm_id: UUID) -> None:
        try:
            decision = look_again(self.host_id, self.hypervisor, vm_id)
        except HypervisorError as error:
            self._unless_lost(error)
            decision = Decision.NO_ANSWER
        if decision in {Decision.OUTDATED, Decision.NO_ANSWER}:
            self._again[vm_id] = time.monotonic() + LOOK_AGAIN_SECONDS

    def _look_alive(self) -> None:
        """Raises `Transient` when the connection is dead."""
        close_old_connections()
        if not self.hypervisor.alive():
            raise Transient("the connection is dead")
        now = time.monotonic()
        if self._inventory_at <= now:
            describe(self.host_id, self.hypervisor.inventory())
            self._inventory_at = now + INVENTORY_SECONDS
        if self._record_at <= now:
            if hosts.mark_up(self.host_id):
                log.info("host %s is up", self.host_id)
            self._record_at = now + RECORD_SECONDS
        self._alive_at = now + ALIVE_SECONDS

    def _reconcile(self) -> None:
        pause = self._early.pop(0) if self._early else settings.RECONCILE_SECONDS
        self._reconcile_at = time.monotonic() + pause
        try:
            result = reconcile(self.host_id, self.hypervisor)
        except HypervisorError as error:
            self._unless_lost(error)
            self._reconcile_at = time.monotonic() + LOOK_AGAIN_SECONDS
            return
        _tell(self.host_id, result)

    def _unless_lost(self, error: HypervisorError) -> None:
        """A call failed: raise when the host is lost, go on when it was only that call."""
        if not self.hypervisor.alive():
            raise error
        log.warning("host %s: a call failed, looking again soon: %s", self.host_id, error)


def _tell(host_id: int, result: Result) -> None:
    level = logging.INFO if result.healed or result.counts["failed"] else logging.DEBUG
    log.log(level, "host %s reconciled: %s", host_id, result)
