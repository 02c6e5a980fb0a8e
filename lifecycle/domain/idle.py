"""Which VMs look idle, pure: near to nothing of CPU and network, hour after hour, for days."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lifecycle.domain.usage import SERIES, Summary

#: So many hours are looked at, and of so many of them something must be known.
HOURS: Final = 72
HOURS_KNOWN: Final = 60
#: Of each vCPU, in the mean of an hour: an idle guest's own housekeeping is below this, also under emulation.
CPU_MOST: Final = 0.05
#: Bytes a second, both ways together: DHCP, ARP and time servers are below this.
NETWORK_MOST: Final = 1024.0

_CPU: Final = SERIES.index("cpu")
_IN, _OUT = SERIES.index("net_in"), SERIES.index("net_out")


@dataclass(frozen=True, slots=True)
class Idle:
    """The busiest hour of an idle VM: its CPU as a share of its vCPUs, its network in bytes a second."""

    cpu: float
    network: float


def judge(hours: Sequence[Summary], vcpus: int) -> Idle | None:
    """What is known of an idle VM's hours; None: it is not idle, or too little is known to say so."""
    known = [(hour.mean[_CPU] / vcpus, hour.mean[_IN] + hour.mean[_OUT]) for hour in hours]
    known = [pair for pair in known if not (math.isnan(pair[0]) or math.isnan(pair[1]))]
    if len(known) < HOURS_KNOWN:
        return None
    busiest = Idle(max(cpu for cpu, _network in known), max(network for _cpu, network in known))
    return busiest if busiest.cpu < CPU_MOST and busiest.network < NETWORK_MOST else None
