"""The first page of the admin: how the installation is, in a bounded number of queries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from lifecycle.admin.base import cpu_meter, disk_meter, list_url, memory_meter
from lifecycle.domain.states import State
from lifecycle.labels import STATES, label
from lifecycle.models import VM, Alert, Cleanup, Finding, Host, Operation, Repair
from lifecycle.realtime import push

_HOSTS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many VMs are in a state, with the way to them."""

    state: str
    name: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Matter:
    """What waits for somebody to look after it: how many, with the way to them."""

    name: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class HostRow:
    """A host and its capacity as bars."""

    host: Host
    cpus: SafeString
    memory: SafeString
    disk: SafeString


@dataclass(frozen=True, slots=True)
class Queue:
    """Open operations. `waiting_since` is the request time of the oldest; None when nothing is open."""

    open: int
    running: int
    undoing: int
    waiting_since: datetime | None
    failed_today: int
    url: str


def dashboard(request: HttpRequest) -> dict[str, Any]:
    """The template's context; each part only for who may view it."""
    may = request.user.has_perm
    return {
        "matters": list(_matters(may)),
        "states": _states() if may("lifecycle.view_vm") else None,
        "hosts": _hosts() if may("lifecycle.view_host") else None,
        "queue": _queue() if may("lifecycle.view_operation") else None,
        "mail_enabled": settings.MAIL_ENABLED,
        "mail_from": settings.DEFAULT_FROM_EMAIL,
        "push_available": push.available(),
        "installation": settings.INSTALLATION_ID,
        "public_url": settings.PUBLIC_URL,
    }


def _matters(may: Callable[[str], bool]) -> Iterator[Matter]:
    open_rows: tuple[tuple[str, QuerySet[Any]], ...] = (
        (gettext("open alerts"), Alert.objects.filter(resolved_at__isnull=True)),
        (gettext("open repairs"), Repair.objects.filter(closed_at__isnull=True)),
        (gettext("findings waiting"), Finding.objects.filter(closed_at__isnull=True, choice=Finding.Choice.NONE)),
        (gettext("cleanups left"), Cleanup.objects.filter(done_at__isnull=True)),
    )
    for name, rows in open_rows:
        if may(f"lifecycle.view_{rows.model._meta.model_name}"):
            yield Matter(name, rows.count(), list_url(rows.model, **{"is": "open"}))


def _states() -> list[StateCount]:
    counted = dict(VM.objects.live().order_by().values_list("state").annotate(Count("pk")))
    return [
        StateCount(state, label(STATES, state).upper(), counted.get(state, 0), list_url(VM, state__exact=state.value))
        for state in State
    ]


def _hosts() -> list[HostRow]:
    return [_host_row(host) for host in Host.objects.select_related("zone").order_by("name")[:_HOSTS_SHOWN]]


def _host_row(host: Host) -> HostRow:
    return HostRow(host, cpus=cpu_meter(host), memory=memory_meter(host), disk=disk_meter(host))


def _queue() -> Queue:
    still_open = ~Q(status=Operation.Status.DONE)
    found = Operation.objects.filter(still_open).aggregate(
        open=Count("pk"),
        running=Count("pk", filter=Q(status=Operation.Status.RUNNING)),
        undoing=Count("pk", filter=Q(undoing=True)),
        waiting_since=Min("insert_time"),
    )
    day = timezone.now() - timedelta(days=1)
    failed = Operation.objects.filter(end_time__gte=day, error__isnull=False).count()
    return Queue(**found, failed_today=failed, url=list_url(Operation, outcome="open"))
