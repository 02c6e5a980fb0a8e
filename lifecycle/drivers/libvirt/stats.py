"""What running domains use, by one bulk call."""

import time
from typing import Any, Final
from uuid import UUID

import libvirt

from lifecycle.domain.usage import Counters

_GROUPS: Final = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
#: A domain that another call holds tells what is known without its QEMU; nobody waits for it.
_FLAGS: Final = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


def read_counters(conn: Any) -> dict[UUID, Counters]:
    """The counters of all running domains. libvirt's test driver knows states alone: there, all is unknown."""
    records = conn.getAllDomainStats(_GROUPS, _FLAGS)
    at = time.monotonic()
    found = {}
    for domain, stats in records:
        run = domain.ID()
        if run > 0:
            found[UUID(bytes=domain.UUID())] = counters_of(at, run, stats)
    return found


def counters_of(at: float, run: int, stats: dict[str, Any]) -> Counters:
    """One domain's record in our words. Network counters are as the guest sees them."""
    return Counters(
        at=at,
        run=run,
        cpu_ns=stats.get("cpu.time"),
        memory_mib=_memory_used(stats),
        disk_read=_all(stats, "block", "rd.bytes"),
        disk_write=_all(stats, "block", "wr.bytes"),
        net_in=_all(stats, "net", "rx.bytes"),
        net_out=_all(stats, "net", "tx.bytes"),
    )


def _memory_used(stats: dict[str, Any]) -> float | None:
    """MiB in use as the guest's balloon driver tells: what could be had without swapping is not in use."""
    whole = stats.get("balloon.available")
    free = stats.get("balloon.usable", stats.get("balloon.unused"))
    return None if whole is None or free is None else max(0, whole - free) / 1024


def _all(stats: dict[str, Any], kind: str, counter: str) -> int | None:
    """The sum over all devices of a kind; None when one of them is not told, so that no sum jumps."""
    values = [stats.get(f"{kind}.{number}.{counter}") for number in range(stats.get(f"{kind}.count", 0))]
    known = [int(value) for value in values if value is not None]
    if not known or (kind == "net" and len(known) < len(values)):  # an empty CD-ROM drive has no counters
        return None
    return sum(known)
