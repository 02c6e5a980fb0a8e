"""Maintenance of hosts: announced to the projects concerned, in time, and cancelled at most until it begins."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.domain.text import mark
from lifecycle.models import VM, Host, Maintenance, Project, User
from lifecycle.services import audit, notifications
from lifecycle.services.db import service

#: How long before it is announced; and how long one may last. Both stand in the published definition of uptime.
NOTICE: Final = timedelta(hours=24)
LONGEST: Final = timedelta(hours=24)
#: VMs that are named in a notification.
_NAMED: Final = 5


@service
def announce(host: Host, starts_at: datetime, ends_at: datetime, reason: str, *, user: User | None) -> Maintenance:
    """Announce it, and tell the people of every project that has a VM on the host. The caller checked `user`.

    Raises:
        InvalidInput: too late, too long, of no length, or without a reason.
    """
    now = timezone.now()
    if starts_at < now + NOTICE:
        raise InvalidInput("Maintenance is announced at least 24 hours before it begins.", field="starts_at")
    if not starts_at < ends_at <= starts_at + LONGEST:
        raise InvalidInput("Maintenance lasts up to 24 hours.", field="ends_at")
    if not reason.strip():
        raise InvalidInput("Say why: the members of the projects concerned read it.", field="reason")
    made = Maintenance.objects.create(
        host=host,
        starts_at=starts_at,
        ends_at=ends_at,
        reason=reason.strip()[:200],
        announced_at=now,
        announced_by=user,
    )
    _record("maintenance.announce", made, user)
    text = mark(
        "Maintenance from %(start)s to %(end)s (%(reason)s): these VMs in the project %(project)s may be down then: "
        "%(names)s."
    )
    _tell(made, text)
    return made


@service
def cancel(maintenance: Maintenance, *, user: User | None) -> None:
    """Take it back, and tell so. Raises StateConflict: it has begun, or is cancelled already."""
    now = timezone.now()
    rows = Maintenance.objects.filter(pk=maintenance.pk, cancelled_at__isnull=True, starts_at__gt=now)
    if not rows.update(cancelled_at=now):
        raise StateConflict("This maintenance has begun, or it is cancelled already.")
    _record("maintenance.cancel", maintenance, user)
    text = mark(
        "The maintenance from %(start)s to %(end)s (%(reason)s) is cancelled; these VMs in the project %(project)s "
        "stay up: %(names)s."
    )
    _tell(maintenance, text)


def ahead(vm: VM) -> Maintenance | None:
    """The announced maintenance of the VM's host that is under way or comes next: one query."""
    rows = Maintenance.objects.filter(host=vm.host_id, cancelled_at__isnull=True, ends_at__gt=timezone.now())
    return rows.select_related("host").order_by("starts_at", "id").first()


def _record(code: str, row: Maintenance, user: User | None) -> None:
    details = {"from": row.starts_at.isoformat(), "to": row.ends_at.isoformat(), "reason": row.reason}
    audit.record(code, user=user, target=row.host.name, details=details)


def _tell(row: Maintenance, text: str) -> None:
    names: dict[int, list[str]] = defaultdict(list)
    for project_id, name in VM.objects.live().filter(host=row.host).order_by("name").values_list("project", "name"):
        names[project_id].append(name)
    for project in Project.objects.filter(pk__in=names).order_by("pk"):
        found = names[project.pk]
        values = {
            "project": project.slug,
            "names": ", ".join(found[:_NAMED]) + (" …" if len(found) > _NAMED else ""),
            "start": f"{row.starts_at:%Y-%m-%d %H:%M} UTC",
            "end": f"{row.ends_at:%Y-%m-%d %H:%M} UTC",
            "reason": row.reason,
        }
        notifications.maintenance(project, text, values)
