"""The service level agreement, pure: monthly uptime, and what comes back when it was too low.

Definition, shown beside every number: uptime is the time in RUNNING, over that time plus downtime. Downtime is the time
from the last proof of life until a repair is recorded, and the time a VM is TERMINATED by a failure until its next
start. Time in REPAIRING is in neither; stops by users and announced maintenance are in neither.
"""

from collections.abc import Iterable
from decimal import Decimal

from lifecycle.domain.metering import Usage
from lifecycle.domain.pricing import EXACT, ZERO, Line, Sort, Tier, rounded


def percent_back(uptime: Decimal | None, tiers: Iterable[Tier]) -> Decimal:
    """The percentage of a VM's charges that comes back: that of the lowest tier whose bound the uptime is below."""
    if uptime is None:
        return ZERO
    missed = [tier for tier in tiers if uptime < tier.above]
    return min(missed, key=lambda tier: tier.above).percent if missed else ZERO


def credit(
    usage: Usage, charged: Decimal, tiers: Iterable[Tier], *, resource: str, repairs: Iterable[int]
) -> Line | None:
    """The credit of one VM: so many percent of what it was `charged` in the same period. None: it earns none.

    `quantity` is the downtime in seconds; `reference` names the repairs that it goes back to.
    """
    percent = percent_back(usage.availability, tiers)
    amount = rounded(EXACT.multiply(max(charged, ZERO), percent) / 100)
    if not percent:
        return None
    return Line(
        Sort.SLA,
        -amount if amount else amount,
        resource,
        quantity=usage.down,
        rate=percent,
        reference=",".join(str(number) for number in repairs),
    )
