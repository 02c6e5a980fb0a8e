"""The operators' page: hosts, work, mail and pushes, as the database knows them."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle.models import VM, Cleanup, Finding, Host, Repair
from lifecycle.realtime import push
from lifecycle.services import alerts, operations
from lifecycle.web.http import Request, signed_in

#: Rows of each list; all are in the admin.
SHOWN = 10


@require_GET
@signed_in
def index(request: Request) -> HttpResponse:
    """Only for staff: others read that it is not for them."""
    if not request.user.is_staff:
        raise PermissionDenied(_("This page is for the operators of the installation."))
    hosts = list(
        Host.objects.select_related("zone").annotate(vm_count=Count("vms", filter=Q(vms__deleted_at__isnull=True)))
    )
    waiting = Finding.objects.filter(closed_at__isnull=True, choice=Finding.Choice.NONE)
    context = {
        "alerts": list(alerts.open_alerts()[:SHOWN]),
        "repairs": list(
            Repair.objects.filter(closed_at__isnull=True)
            .select_related("vm__project", "host")
            .order_by("opened_at")[:SHOWN]
        ),
        "findings": list(waiting.select_related("host").order_by("first_seen_at")[:SHOWN]),
        "cleanups": list(Cleanup.objects.filter(done_at__isnull=True).select_related("vm", "host")[:SHOWN]),
        "shown": SHOWN,
        "now": timezone.now(),
        "hosts": [(host, capacity_of(host)) for host in hosts],
        "queue": operations.queue(),
        "vm_count": VM.objects.live().count(),
        "push_available": push.available(),
    }
    template = "operators/_panel.html" if request.htmx else "operators/index.html"
    return render(request, template, context)


def capacity_of(host: Host) -> list[dict[str, Any]]:
    """Reserved amounts and limits."""
    return [
        {"metric": "vcpus", "used": host.vcpus_reserved, "limit": host.vcpus_limit},
        {"metric": "memory_mib", "used": host.memory_mib_reserved, "limit": host.memory_mib_limit},
        {"metric": "disk_gib", "used": host.disk_gib_reserved, "limit": host.disk_gib_limit},
    ]
