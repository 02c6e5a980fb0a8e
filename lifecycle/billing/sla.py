"""Uptime by the published definition (`domain.sla`), of VMs that had a repair. The others were always up."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from lifecycle.domain.metering import Usage
from lifecycle.models import VM, Project, Repair
from lifecycle.services import metering


@dataclass(slots=True)
class Breach:
    """A VM that was down in a period: its usage, and the repairs its downtime goes back to."""

    usage: Usage
    repairs: list[int] = field(default_factory=list)


def breaches(project: Project, since: datetime, until: datetime) -> dict[str, Breach]:
    """VM id -> what broke, of those with downtime in [since, until). In memory are the VMs that ever had a repair."""
    repairs: dict[str, list[int]] = defaultdict(list)
    rows = Repair.objects.filter(vm__project=project, opened_at__lt=until).order_by("opened_at", "pk")
    for vm_id, number in rows.values_list("vm_id", "pk"):
        repairs[str(vm_id)].append(number)
    if not repairs:
        return {}
    broken = VM.objects.filter(project=project, repairs__opened_at__lt=until)
    found = metering.usage_by_vm(broken, since, until)
    within = _concerned(rows, since)
    return {
        vm_id: Breach(usage, [number for number in repairs[vm_id] if number in within] or repairs[vm_id][-1:])
        for vm_id, usage in found.items()
        if usage.down
    }


def _concerned(rows: QuerySet[Repair], since: datetime) -> set[int]:
    """The repairs that were open in the period. Downtime of one that was closed before is that of the last."""
    return set(rows.exclude(closed_at__lt=since).values_list("pk", flat=True))
