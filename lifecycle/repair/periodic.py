"""The safety net: reconcile hosts that no watcher watches now."""

import logging
import os
import secrets
import socket
from typing import Final

from lifecycle.domain.errors import HypervisorError
from lifecycle.models import Host
from lifecycle.repair.hosts import PURPOSE, connected, lost
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import hosts, leases

log = logging.getLogger(__name__)

#: Longer than a reconcile takes; a watcher that starts meanwhile waits no longer than this.
LEASE_SECONDS: Final = 30.0
#: How the owner of such a lease begins: a host that only the timer looks at is watched by nobody.
TIMER: Final = "timer:"


def unwatched_hosts() -> list[int]:
    """All hosts: whether one is watched is decided by its lease, when its turn comes."""
    return list(Host.objects.order_by("pk").values_list("pk", flat=True))


def reconcile_unwatched(host_id: int) -> dict[str, int] | None:
    """Reconcile one host if nobody watches it. Returns the counts; None when it is watched, gone or silent."""
    host = Host.objects.filter(pk=host_id).first()
    owner = f"{TIMER}{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[:100]
    if host is None or not leases.take(host.pk, PURPOSE, owner, LEASE_SECONDS):
        return None
    try:
        with connected(host.uri) as hypervisor:
            hosts.mark_up(host.pk)
            result = reconcile(host.pk, hypervisor)
    except HypervisorError as error:
        lost(host.pk, error)
        return None
    finally:
        leases.release(host.pk, PURPOSE, owner)
    log.info("host %s is watched by nobody and was reconciled: %s", host.name, result)
    return dict(result.counts)
