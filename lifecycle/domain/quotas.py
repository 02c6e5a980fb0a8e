"""What a project uses and what it may."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from lifecycle.domain.errors import QuotaExceeded
from lifecycle.domain.states import HOLDS_COMPUTE, State


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of the four metrics; memory in MiB, disk in GiB."""

    vms: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    disk_gib: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Holding:
    """What one VM is and the state that decides what it holds."""

    state: State
    vcpus: int
    memory_mib: int
    disk_gib: int


def usage(holdings: Iterable[Holding]) -> Amounts:
    """The sum: a VM and its disks always count, its vCPUs and memory while its state holds them."""
    total = Amounts()
    for h in holdings:
        compute = h.state in HOLDS_COMPUTE
        total += Amounts(1, h.vcpus if compute else 0, h.memory_mib if compute else 0, h.disk_gib)
    return total


def check(limits: Amounts, used: Amounts, more: Amounts, scope: str) -> None:
    """Refuse what would go over a limit.

    Raises:
        QuotaExceeded: with the first metric that does not fit.
    """
    for f in fields(Amounts):
        limit, now, wanted = (getattr(x, f.name) for x in (limits, used, more))
        if wanted and now + wanted > limit:
            raise QuotaExceeded(
                "The project's quota of %(metric)s is %(limit)s: %(usage)s are in use and this needs "
                "%(requested)s more. Stop or delete a VM, or ask an operator for more.",
                metric=f.name,
                limit=limit,
                usage=now,
                requested=wanted,
                scope=scope,
            )
