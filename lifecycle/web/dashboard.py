"""What the first page shows: what runs, what changed, what waits for the reader. A bounded number of queries."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, Q, Sum
from django.urls import reverse
from django.utils import timezone

from lifecycle.domain.access import Right, roles_with
from lifecycle.domain.errors import OperationPreempted
from lifecycle.domain.states import State
from lifecycle.models import VM, Alert, Cleanup, Finding, Host, Membership, Operation, Project, Repair, Transition, User
from lifecycle.services.expiry import NOTICE_DAYS, SUSPENDED_DAYS

#: Rows of each list.
SHOWN: Final = 8
#: Failures older than this are history.
LATELY: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for the reader: what, about which VM, since (or until) when, and the way to it."""

    kind: str  # repairing, failed, suspension
    vm: VM
    url: str
    at: Any
    operation: Operation | None = None


def overview(user: User) -> dict[str, Any]:
    """Of all projects the reader may see: ten queries, however many projects and VMs."""
    projects = list(_projects(user))
    mine = [project.pk for project in projects]
    live = VM.objects.live().filter(project__in=mine)
    counted = dict(live.order_by().values_list("state").annotate(Count("pk")))
    size = live.filter(state=State.RUNNING).aggregate(vcpus=Sum("vcpus"), memory_mib=Sum("memory_mib"))
    return {
        "projects": projects,
        "roles": dict(Membership.objects.filter(user=user).values_list("project_id", "role")),
        "total": sum(counted.values()),
        "running": counted.get(State.RUNNING, 0),
        "states": [(state, counted.get(state, 0)) for state in State if counted.get(state)],
        "vcpus": size["vcpus"] or 0,
        "memory_mib": size["memory_mib"] or 0,
        "needs": needs(user, mine),
        "changes": _changes(mine),
        "creatable": _where_to_create(user, projects),
    }


def _projects(user: User) -> Any:
    live = Q(vms__deleted_at__isnull=True)
    return Project.objects.visible_to(user).annotate(
        vm_count=Count("vms", filter=live & Q(vms__isnull=False)),
        running_count=Count("vms", filter=live & Q(vms__state=State.RUNNING)),
    )


def _where_to_create(user: User, projects: list[Project]) -> Project | None:
    """The only project in which the reader may create a VM; None when there is none, or a choice."""
    if user.is_superuser:
        return projects[0] if len(projects) == 1 else None
    usable = set(
        Membership.objects.filter(user=user, role__in=roles_with(Right.USE_VMS)).values_list("project_id", flat=True)
    )
    found = [project for project in projects if project.pk in usable]
    return found[0] if len(found) == 1 else None


def needs(user: User, projects: list[int]) -> list[Need]:
    """VMs in repair, the reader's own requests that failed lately and were not repeated well, suspensions that end."""
    vms = VM.objects.live().filter(project__in=projects).select_related("project")
    found = [
        Need("repairing", vm, _page(vm), vm.state_since)
        for vm in vms.filter(state=State.REPAIRING).order_by("state_since")[:SHOWN]
    ]
    soon = timezone.now() - timedelta(days=SUSPENDED_DAYS - NOTICE_DAYS)
    ending = vms.filter(state=State.SUSPENDED, state_since__lte=soon).order_by("state_since")[:SHOWN]
    found += [Need("suspension", vm, _page(vm), vm.state_since + timedelta(days=SUSPENDED_DAYS)) for vm in ending]
    for operation in _failed(user, projects):
        url = reverse("web:operation", args=[operation.project.slug, operation.pk])
        found.append(Need("failed", operation.vm, url, operation.end_time, operation))
    return found[:SHOWN]


def _failed(user: User, projects: list[int]) -> list[Operation]:
    """The latest operation of its VM, if it failed: what was done again and went well is no matter any more."""
    rows = Operation.objects.filter(
        user=user, project__in=projects, error__isnull=False, end_time__gte=timezone.now() - LATELY
    ).exclude(error__code=OperationPreempted.code)
    recent = list(rows.select_related("project", "vm__project").order_by("-insert_time")[: 3 * SHOWN])
    last = dict(
        Operation.objects.filter(vm__in={operation.vm_id for operation in recent})
        .order_by("insert_time")
        .values_list("vm_id", "pk")
    )
    return [operation for operation in recent if last.get(operation.vm_id) == operation.pk][:SHOWN]


def _changes(projects: list[int]) -> list[Transition]:
    rows = Transition.objects.filter(vm__project__in=projects).select_related("vm__project", "user")
    return list(rows.order_by("-id")[: SHOWN + 2])


def _page(vm: VM) -> str:
    return reverse("web:vm", args=[vm.project.slug, vm.name])


# -- operators -----------------------------------------------------------------------------------


def installation() -> dict[str, Any]:
    """What operators look at first: five queries, and the queue's."""
    hosts = list(Host.objects.all())
    return {
        "hosts": len(hosts),
        "hosts_up": sum(1 for host in hosts if host.health == Host.Health.UP),
        "capacity": [
            {
                "metric": metric,
                "used": sum(getattr(host, f"{metric}_reserved") for host in hosts),
                "limit": sum(getattr(host, f"{metric}_limit") for host in hosts),
            }
            for metric in ("vcpus", "memory_mib", "disk_gib")
        ],
        "repairs": Repair.objects.filter(closed_at__isnull=True).count(),
        "findings": Finding.objects.filter(closed_at__isnull=True, choice=Finding.Choice.NONE).count(),
        "alerts": Alert.objects.filter(resolved_at__isnull=True).count(),
        "cleanups": Cleanup.objects.filter(done_at__isnull=True).count(),
    }
