"""Retention: what nobody reads any more is dropped, a few rows at a time. Transitions and repairs are kept."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import F, Model, Q, QuerySet
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.models import (
    Alert,
    AuditEntry,
    BudgetAlert,
    ConsoleTicket,
    Event,
    Finding,
    LibvirtEvent,
    Notification,
    OperationStep,
    RevenueDay,
    ScheduleRun,
    SerialChunk,
    SerialLog,
    WebhookDelivery,
)
from lifecycle.services import usage
from lifecycle.services.db import service

#: Rows of one transaction: no lock is held for longer than this takes.
BATCH: Final = 500
#: The latest events of each project stay, whatever their age: a browser may ask for more than it can be sent at once.
EVENTS_KEPT: Final = 1000
#: What is told once a month, and the charts of a month, are kept for two at least.
MONTHS_DAYS: Final = 62


@service
def _drop(rows: QuerySet[Any]) -> int:
    """Delete a batch of `rows`; returns how many."""
    found = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
    model: type[Model] = rows.model
    if found:
        model._default_manager.filter(pk__in=found).delete()
    return len(found)


@service
def _empty_serial_logs(rows: QuerySet[SerialLog]) -> int:
    """Drop the text; how far the host's file was read is kept, or it would be recorded anew."""
    found = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
    SerialChunk.objects.filter(vm__serial_log__in=found).delete()
    return SerialLog.objects.filter(pk__in=found).update(text="") if found else 0


def old_events() -> QuerySet[Event]:
    """Events that are old and that no browser can ask for any more."""
    beyond = F("project__last_event_number") - EVENTS_KEPT
    return Event.objects.filter(at__lt=_before(settings.KEEP_EVENTS_DAYS), number__lte=beyond)


def old_steps() -> QuerySet[OperationStep]:
    """Steps of operations that ended long ago; the operations stay."""
    return OperationStep.objects.filter(operation__end_time__lt=_before(settings.KEEP_STEPS_DAYS))


def old_serial_logs() -> QuerySet[SerialLog]:
    """Output of VMs that have been stopped for long."""
    since = _before(settings.KEEP_SERIAL_DAYS)
    stopped = SerialLog.objects.filter(vm__state=State.TERMINATED, vm__state_since__lt=since, updated_at__lt=since)
    return stopped.exclude(text="")


def _before(days: int) -> Any:
    return timezone.now() - timedelta(days=days)


def batches() -> Iterator[int]:
    """Drop all that is old, a transaction a step; yields how many rows each took, so that the caller may stop."""
    closed = _before(settings.KEEP_CLOSED_DAYS)
    works: tuple[tuple[Callable[[Any], int], QuerySet[Any]], ...] = (
        (_drop, old_events()),
        (_drop, old_steps()),
        (_drop, LibvirtEvent.objects.filter(occurred_at__lt=_before(settings.KEEP_STEPS_DAYS))),
        (_empty_serial_logs, old_serial_logs()),
        (_drop, ConsoleTicket.objects.filter(expires_at__lt=_before(1))),
        (_drop, Alert.objects.filter(resolved_at__lt=closed)),
        (_drop, WebhookDelivery.objects.filter(Q(sent_at__lt=closed) | Q(given_up_at__lt=closed))),
        (_drop, Notification.objects.filter(at__lt=_before(settings.KEEP_NOTIFICATIONS_DAYS))),
        (_drop, AuditEntry.objects.filter(at__lt=_before(settings.KEEP_AUDIT_DAYS))),
        (_drop, ScheduleRun.objects.filter(at__lt=_before(settings.KEEP_STEPS_DAYS))),
        (_drop, BudgetAlert.objects.filter(at__lt=_before(max(settings.KEEP_AUDIT_DAYS, MONTHS_DAYS)))),
        (_drop, RevenueDay.objects.filter(day__lt=_before(max(settings.KEEP_AUDIT_DAYS, MONTHS_DAYS)).date())),
        (_drop, Finding.objects.filter(closed_at__lt=closed).exclude(choice=Finding.Choice.IGNORE)),
    )
    for work, rows in works:
        while taken := work(rows.all()):
            yield taken
    while taken := usage.drop_old():
        yield taken
