"""Host errors: a host that was asked and has been silent for too long puts its running VMs into REPAIRING.

Silence proves nothing about the guests: no attempt is used, nothing is started and nothing is given up. Only a host
that somebody tried to reach in vain counts (its health is DOWN): one that nobody watches is not silent. After a time
in which the portal itself was away the silence begins with the first attempt in vain, not with the last sign of life.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from lifecycle.domain.guests import HOST_ERROR_TIMEOUTS
from lifecycle.domain.states import State
from lifecycle.models import VM, Host
from lifecycle.services import observations

log = logging.getLogger(__name__)

#: A watcher sees its host each few seconds, and notices that it hangs by its keepalive, within this.
NOTICED: Final = timedelta(seconds=60)
SHORTEST: Final = timedelta(seconds=HOST_ERROR_TIMEOUTS[0])


def check(host_id: int | None = None) -> int:
    """Look at all hosts, or at one; how many VMs are in host error from now on."""
    now = timezone.now()
    silent = Host.objects.filter(health=Host.Health.DOWN, last_seen_at__lt=now - SHORTEST)
    if host_id is not None:
        silent = silent.filter(pk=host_id)
    return sum(_check_host(host) for host in silent)


def silent_since(seen_at: datetime, down_since: datetime | None) -> datetime:
    """From when on the host is silent: its last sign of life, if somebody watched it until it fell silent."""
    watched = down_since is None or down_since - seen_at < NOTICED
    return seen_at if watched or down_since is None else down_since


def _check_host(host: Host) -> int:
    now, seen_at = timezone.now(), host.last_seen_at
    if seen_at is None:
        return 0
    silent_seconds = (now - silent_since(seen_at, host.down_since)).total_seconds()
    found = VM.objects.live().filter(
        host=host, state=State.RUNNING, host_error_timeout_seconds__lt=silent_seconds, state_since__lte=now
    )
    moved = sum(
        observations.host_error(pk, last_life=max(seen_at, power_seen_at or seen_at), now=now)
        for pk, power_seen_at in found.values_list("pk", "power_seen_at")
    )
    if moved:
        log.warning("host %s has been silent for %d s: %d VMs are in repair", host.name, silent_seconds, moved)
    return moved
