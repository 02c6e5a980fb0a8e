"""Repairs in figures: how many are open and how long they take, by host and cause."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Avg, Count, DurationField, ExpressionWrapper, F, Max, Q

from lifecycle.models import Repair

#: Repairs that ended longer ago are in the list, and not in the figures.
WINDOW: Final = timedelta(days=30)
ROWS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Tracked:
    """The repairs of one host (None: of VMs on none) with one cause.

    Attributes:
        open: how many are under way.
        closed: how many ended within the window; `mean` and `longest` are their times to repair.
        vms: how many VMs they are about.
    """

    host_id: int | None
    host: str
    cause: str
    open: int
    closed: int
    vms: int
    mean: timedelta | None
    longest: timedelta | None


def by_host_and_cause(now: datetime) -> list[Tracked]:
    """Where repairs are open first, then where most were: one query."""
    took = ExpressionWrapper(F("closed_at") - F("opened_at"), output_field=DurationField())
    rows = (
        Repair.objects.filter(Q(closed_at__isnull=True) | Q(closed_at__gt=now - WINDOW))
        .order_by()
        .values("host_id", "host__name", "cause")
        .annotate(
            open=Count("pk", filter=Q(closed_at__isnull=True)),
            closed=Count("pk", filter=Q(closed_at__isnull=False)),
            vms=Count("vm", distinct=True),
            mean=Avg(took),
            longest=Max(took),
        )
        .order_by("-open", "-closed", "host__name", "cause")
    )
    return [
        Tracked(
            row["host_id"],
            row["host__name"] or "",
            row["cause"],
            row["open"],
            row["closed"],
            row["vms"],
            row["mean"],
            row["longest"],
        )
        for row in rows[:ROWS_MAX]
    ]
