"""What the database says of the VMs of a host: one query, whatever the number."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import OuterRef, Subquery

from lifecycle.domain.recovery import Recorded
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation


@dataclass(frozen=True, slots=True)
class Row:
    """A VM as recorded, with the power last observed."""

    vm_id: UUID
    recorded: Recorded
    power: Power
    run_id: int | None
    last_life: datetime  # the last moment at which it was seen to run, or to be as recorded


def of_host(host_id: int) -> dict[UUID, Row]:
    """All live VMs that are placed on the host."""
    return {row.vm_id: row for row in _rows(host_id=host_id)}


def find(host_id: int, vm_id: UUID) -> Row | None:
    """One live VM of the host; None for a stranger."""
    return next(iter(_rows(host_id=host_id, pk=vm_id)), None)


def _rows(**where: object) -> list[Row]:
    operations = Operation.objects.filter(vm=OuterRef("pk"))
    ended = operations.filter(end_time__isnull=False).order_by("-end_time")
    found = (
        VM.objects.live()
        .filter(**where)
        .annotate(
            open_action=Subquery(operations.exclude(status=Operation.Status.DONE).values("action")[:1]),
            last_end=Subquery(ended.values("end_time")[:1]),
        )
        .values_list(
            "pk", "state", "fence", "state_since", "power", "run_id", "power_seen_at", "open_action", "last_end"
        )
    )
    return [_row(*values) for values in found]


def _row(
    vm_id: UUID,
    state: str,
    fence: int,
    since: datetime,
    power: str,
    run_id: int | None,
    power_seen_at: datetime | None,
    action: str | None,
    last_end: datetime | None,
) -> Row:
    settled_at = max(since, last_end) if last_end else since
    recorded = Recorded(State(state), Action(action) if action else None, fence, settled_at)
    return Row(vm_id, recorded, Power(power), run_id, max(since, power_seen_at) if power_seen_at else since)
