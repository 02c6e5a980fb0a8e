"""Quota: checked under the project's lock, against the sum of what exists."""

from django.db.models import Sum

from lifecycle.domain import quotas
from lifecycle.domain.quotas import Amounts, Holding
from lifecycle.domain.states import State
from lifecycle.models import VM, Project, Quota


def limits_of(project: Project) -> Amounts:
    """The project's limits."""
    quota = Quota.objects.get(project=project)
    return Amounts(quota.vms, quota.vcpus, quota.memory_mib, quota.disk_gib)


def usage_of(project: Project) -> Amounts:
    """What the project holds now, by the states of its VMs."""
    rows = (
        VM.objects.live()
        .filter(project=project)
        .annotate(disk=Sum("disks__size_gib"))
        .values_list("state", "vcpus", "memory_mib", "disk")
    )
    return quotas.usage(Holding(State(state), vcpus, memory, disk or 0) for state, vcpus, memory, disk in rows)


def check(project: Project, more: Amounts) -> None:
    """Refuse `more` when it would go over the quota. The caller holds the project's lock."""
    quotas.check(limits_of(project), usage_of(project), more, scope=f"project {project.slug}")
