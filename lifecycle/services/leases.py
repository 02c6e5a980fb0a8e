"""Leases of hosts: which process watches, records or collects on a host. They expire by themselves."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from lifecycle.models import Host, HostLease
from lifecycle.services.db import service

log = logging.getLogger(__name__)


@service
def take(host_id: int, purpose: str, owner: str, seconds: float) -> bool:
    """Take or prolong the lease for `seconds`. False when another owner holds it, or the host is gone."""
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    rows = HostLease.objects.filter(host=host_id, purpose=purpose)
    if rows.filter(Q(owner=owner) | Q(expires_at__lt=now)).update(owner=owner, expires_at=until):
        return True
    if rows.exists() or not Host.objects.filter(pk=host_id).exists():
        return False
    try:
        with transaction.atomic():
            HostLease.objects.create(host_id=host_id, purpose=purpose, owner=owner, expires_at=until)
    except IntegrityError:  # another process was faster
        return False
    return True


@service
def release(host_id: int, purpose: str, owner: str) -> bool:
    """Give the lease back, so that another process need not wait. False when it was not ours any more."""
    deleted, _rows = HostLease.objects.filter(host=host_id, purpose=purpose, owner=owner).delete()
    return bool(deleted)


class Turn:
    """A process's turn at one host: it goes on while its lease is renewed and nobody stops it."""

    def __init__(self, host_id: int, purpose: str, owner: str, seconds: float, stopping: Event) -> None:
        self._lease = (host_id, purpose, owner)
        self._seconds = seconds
        self._renewed = float("-inf")
        self.stopping = stopping

    def goes_on(self) -> bool:
        """Renew the lease when a third of it is over. False when it is lost, or when it is time to stop.

        A database that does not answer does not end the turn: work on a host is made of conditional writes,
        so two at a time do no harm.
        """
        if self.stopping.is_set():
            return False
        if time.monotonic() - self._renewed < self._seconds / 3:
            return True
        try:
            held = take(*self._lease, self._seconds)
        except DatabaseError:
            log.exception("the lease %s could not be renewed; trying again", self._lease)
            connection.close()
            return not self.stopping.wait(1.0)
        self._renewed = time.monotonic()
        return held

    def pause(self, seconds: float) -> None:
        """Wait, at most until it is time to stop; the lease is kept meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self.goes_on():
            self.stopping.wait(min(left, self._seconds / 3))

    def end(self) -> None:
        """Give the lease back."""
        try:
            release(*self._lease)
        except DatabaseError:
            log.warning("the lease %s could not be given back; it expires by itself", self._lease)


class Renewal:
    """A lease kept during one long piece of work that comes by often: `keep` renews it at a third of its length."""

    def __init__(self, lease: tuple[int, str, str], seconds: float, check: Callable[[], None]) -> None:
        self._lease = lease
        self._seconds = seconds
        self._check = check
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Call it often: it asks the database only when it is time. `check` may raise to end the work."""
        if time.monotonic() - self._renewed < self._seconds / 3:
            return
        self._check()
        take(*self._lease, self._seconds)
        self._renewed = time.monotonic()
