"""Faults, each with the operations that were in flight on its target.

A fault counts only if at least one was: it was open before the signal and still open after it.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import redis
from django.utils import timezone

from lifecycle.domain.transitions import Action
from lifecycle.models import VM, HostLease, Operation, User
from lifecycle.repair import hosts
from lifecycle.services.vms import request_action
from tests.chaos.site import WATCHERS, WORKERS, Site, guest_of
from tests.chaos.timeline import Timeline

KINDS = (
    "worker-kill",
    "worker-freeze",
    "watcher-kill",
    "beat-kill",
    "redis-kill",
    "redis-flush",
    "libvirtd-kill",
    "libvirtd-freeze",
    "qemu-kill",
)
#: How long a frozen worker is frozen: shorter and longer than its leases hold.
WORKER_FREEZE_SECONDS = (1.0, 10.0)
LIBVIRTD_FREEZE_SECONDS = (0.5, 6.0)
#: How long to wait for an operation to be in flight on the target of a fault.
AIM_SECONDS = 2.0

Ids = set[UUID]


class Faults:
    """Injects faults of all kinds, those that were met the least first."""

    def __init__(self, site: Site, timeline: Timeline, chance: random.Random) -> None:
        self._site, self._timeline, self._chance = site, timeline, chance
        self.counted: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.missed: dict[str, int] = dict.fromkeys(KINDS, 0)
        self._thaws: list[tuple[float, str]] = []

    def one(self) -> None:
        """One fault, of a kind that may happen now."""
        self.thaw_due()
        weights = [1.0 / (1 + self.counted[kind] + self.missed[kind] / 2) ** 2 for kind in KINDS]
        kind = self._chance.choices(KINDS, weights)[0]
        before = self.counted[kind] + self.missed[kind]
        with self._timeline.problems(kind):
            getattr(self, f"_{kind.replace('-', '_')}")(kind)
        if self.counted[kind] + self.missed[kind] == before:  # it could not happen now: others take their turn
            self.missed[kind] += 1

    def thaw_due(self, *, all_of_them: bool = False) -> None:
        """Let go on what was frozen for long enough."""
        for due, name in list(self._thaws):
            if all_of_them or due <= time.monotonic():
                self._site.thaw(name)
                self._thaws.remove((due, name))
                self._timeline.add("thaw", "thaw", name)

    # -- kinds

    def _worker_kill(self, kind: str) -> None:
        if name := self._busy_worker():
            self._site.freeze(name)
            held = _held_by(self._site.owner(name))
            self._site.kill(name)
            self._note(kind, name, held)

    def _worker_freeze(self, kind: str) -> None:
        if name := self._busy_worker():
            self._site.freeze(name)
            held = _held_by(self._site.owner(name))
            self._thaw_later(name, WORKER_FREEZE_SECONDS)
            self._note(kind, name, held)

    def _watcher_kill(self, kind: str) -> None:
        """The one that watches the host; the other takes over."""
        before = self._aim(lambda: _open() if self._watching() else set())
        if name := self._watching():
            self._site.kill(name)
            self._note(kind, name, before & _open())

    def _beat_kill(self, kind: str) -> None:
        if self._site.is_up("beat"):
            self._strike(kind, "beat", _open)

    def _redis_kill(self, kind: str) -> None:
        if self._site.is_up("redis"):
            self._strike(kind, "redis", _open)

    def _redis_flush(self, kind: str) -> None:
        before = self._aim(_open)
        with redis.Redis(unix_socket_path=str(self._site.redis_socket), socket_timeout=2) as client:
            client.flushall()
        self._note(kind, "redis", before & _open())

    def _libvirtd_kill(self, kind: str) -> None:
        if self._libvirtd_is_well():
            self._strike(kind, "libvirtd", _under_way)

    def _libvirtd_freeze(self, kind: str) -> None:
        if not self._libvirtd_is_well():
            return
        before = self._aim(_under_way)
        self._site.freeze("libvirtd")
        self._thaw_later("libvirtd", LIBVIRTD_FREEZE_SECONDS)
        self._note(kind, "libvirtd", before & _under_way())

    def _qemu_kill(self, kind: str) -> None:
        """A guest with an operation under way; else one that rests, just as somebody asks something of it."""
        guests = {guest_of(words): pid for pid, words in self._site.qemus()}
        busy = [o for o in Operation.objects.exclude(status="DONE").select_related("vm") if o.vm.domain_name in guests]
        operation = self._chance.choice(busy) if busy else self._ask_of_one(guests)
        if operation is None:
            return
        name = operation.vm.domain_name
        _kill(guests[name])
        self._note(kind, operation.vm.name, {operation.pk} & _open(), pid=guests[name])

    def _ask_of_one(self, guests: dict[str, int]) -> Operation | None:
        """Somebody resets, suspends or stops a VM that rests."""
        resting = [vm for vm in VM.objects.live().filter(state="RUNNING") if vm.domain_name in guests]
        if not resting:
            return None
        action = self._chance.choice((Action.RESET, Action.SUSPEND, Action.STOP))
        return request_action(self._chance.choice(resting), action, user=User.objects.get(username="admin"))

    # -- small parts

    def _watching(self) -> str | None:
        """The watcher that took the host last; a slow one may be late to renew its lease, and watches all the same."""
        holder = HostLease.objects.filter(purpose=hosts.PURPOSE).first()
        for name in WATCHERS:
            if holder and self._site.is_up(name) and holder.owner.startswith(f"{self._site.owner(name)}:"):
                return name
        return None

    def _strike(self, kind: str, name: str, in_flight: Callable[[], Ids]) -> None:
        before = self._aim(in_flight)
        self._site.kill(name)
        self._note(kind, name, before & in_flight())

    def _aim(self, in_flight: Callable[[], Ids]) -> Ids:
        """Wait a little for something to be in flight."""
        end = time.monotonic() + AIM_SECONDS
        while not (found := in_flight()) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def _busy_worker(self) -> str | None:
        """A worker that is well, rather one that holds a lease; one of them is always left to do the work."""
        well = [name for name in WORKERS if self._site.is_up(name)]
        end = time.monotonic() + AIM_SECONDS
        while len(well) > 1 and time.monotonic() < end:
            owners = {self._site.owner(name): name for name in well if self._site.is_up(name)}
            held = Operation.objects.filter(lease_owner__in=owners, lease_until__gt=timezone.now())
            found = list(held.exclude(status="DONE").values_list("lease_owner", flat=True))
            if found:
                return owners[self._chance.choice(found)]
            time.sleep(0.02)
        return self._chance.choice(well) if len(well) > 1 else None

    def _libvirtd_is_well(self) -> bool:
        frozen = any(name == "libvirtd" for _due, name in self._thaws)
        return not frozen and self._site.host.runs() and self._site.host.answers()

    def _thaw_later(self, name: str, seconds: tuple[float, float]) -> None:
        self._thaws.append((time.monotonic() + self._chance.uniform(*seconds), name))

    def _note(self, kind: str, target: str, in_flight: Ids, **detail: object) -> None:
        tally = self.counted if in_flight else self.missed
        tally[kind] += 1
        operations = sorted(str(pk) for pk in in_flight)
        self._timeline.add("fault", kind, target, counts=bool(in_flight), operations=operations, **detail)


def _open() -> Ids:
    return set(Operation.objects.exclude(status="DONE").values_list("pk", flat=True))


def _under_way() -> Ids:
    """Operations that a worker holds: what they do, they do on the host."""
    held = Operation.objects.filter(lease_until__gt=timezone.now()).exclude(status="DONE")
    return set(held.values_list("pk", flat=True))


def _held_by(owner: str) -> Ids:
    held = Operation.objects.filter(lease_owner=owner, lease_until__gt=timezone.now()).exclude(status="DONE")
    return set(held.values_list("pk", flat=True))


def _kill(pid: int) -> None:
    """A guest's QEMU, known to be one of ours a moment ago."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
