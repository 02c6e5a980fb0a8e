"""Alerts: opened once a matter, kept fresh while it lasts, closed by themselves; and the messages about them.

A message (`AlertDelivery`) is written in the transaction that opens or closes its alert: none is lost and none
is told twice. Sending is the layer above.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from lifecycle.domain.alerts import GIVE_UP_AFTER, INCIDENTS, Condition, Kind, backoff_seconds
from lifecycle.models import Alert, AlertDelivery, User
from lifecycle.services.db import service

Way, About = AlertDelivery.Way, AlertDelivery.About


@dataclass(frozen=True, slots=True)
class Changes:
    """How many alerts a look at the conditions opened and closed."""

    opened: int = 0
    resolved: int = 0


# -- alerts --------------------------------------------------------------------------------------


def open_alerts() -> QuerySet[Alert]:
    """The alerts whose matter lasts: critical ones first, then the newest."""
    rank = Case(When(severity=Alert.Severity.CRITICAL, then=Value(0)), default=Value(1), output_field=IntegerField())
    found = Alert.objects.filter(resolved_at__isnull=True).order_by(rank, "-opened_at", "-id")
    return found.select_related("host", "vm__project", "operation", "acknowledged_by")


@service
def sync(kinds: Collection[Kind], conditions: Collection[Condition]) -> Changes:
    """Make the open alerts of `kinds` those of `conditions`, which are all that hold of these kinds now.

    Raises:
        ValueError: a condition of another kind: a defect of the caller.
    """
    if strange := {c.kind for c in conditions} - set(kinds):
        raise ValueError(f"conditions of other kinds: {sorted(strange)}")
    now = timezone.now()
    known = {a.key: a for a in Alert.objects.filter(kind__in=kinds, resolved_at__isnull=True)}
    wanted = {c.key: c for c in conditions}
    opened = sum(_open(c, now) for key, c in wanted.items() if key not in known)
    _refresh([(known[key], c) for key, c in wanted.items() if key in known], now)
    resolved = sum(_resolve(alert, now) for key, alert in known.items() if key not in wanted)
    return Changes(opened, resolved)


@service
def report(condition: Condition) -> bool:
    """Open the alert of something that happened, unless it is open."""
    return _open(condition, timezone.now())


@service
def acknowledge(alert: Alert, user: User) -> bool:
    """Somebody looks after it: it stays open while its matter lasts, but an incident is over. False when known."""
    now = timezone.now()
    rows = Alert.objects.filter(pk=alert.pk, acknowledged_at__isnull=True, resolved_at__isnull=True)
    if not rows.update(acknowledged_at=now, acknowledged_by=user):
        return False
    if alert.kind in INCIDENTS:
        _resolve(alert, now)
    return True


def _open(condition: Condition, now: datetime) -> bool:
    try:
        with transaction.atomic():
            alert = Alert.objects.create(
                key=condition.key,
                kind=condition.kind,
                host_id=condition.host_id,
                vm_id=condition.vm_id,
                operation_id=condition.operation_id,
                opened_at=now,
                last_seen_at=now,
                **_wording(condition),
            )
    except IntegrityError:  # another process was faster
        return False
    AlertDelivery.objects.bulk_create(
        [AlertDelivery(alert=alert, way=way, about=About.OPENED, due_at=now) for way in ways()]
    )
    return True


def _wording(condition: Condition) -> dict[str, Any]:
    severity = Alert.Severity.CRITICAL if condition.critical else Alert.Severity.WARNING
    return {"severity": severity, "text": condition.text, "params": dict(condition.params)}


def _refresh(lasting: Collection[tuple[Alert, Condition]], now: datetime) -> None:
    for alert, condition in lasting:
        wording = _wording(condition)
        if any(getattr(alert, name) != value for name, value in wording.items()):
            Alert.objects.filter(pk=alert.pk).update(**wording)
    Alert.objects.filter(pk__in=[alert.pk for alert, _c in lasting]).update(last_seen_at=now)


def _resolve(alert: Alert, now: datetime) -> bool:
    """Close it, and tell those who were told that it is open."""
    if not Alert.objects.filter(pk=alert.pk, resolved_at__isnull=True).update(resolved_at=now):
        return False
    told = AlertDelivery.objects.filter(alert=alert, about=About.OPENED).values_list("way", flat=True)
    AlertDelivery.objects.bulk_create(
        [AlertDelivery(alert=alert, way=way, about=About.RESOLVED, due_at=now) for way in told]
    )
    return True


# -- messages ------------------------------------------------------------------------------------


def ways() -> list[AlertDelivery.Way]:
    """The ways that are switched on."""
    mail = settings.MAIL_ENABLED and settings.ALERT_EMAILS
    return [way for way, on in ((Way.MAIL, mail), (Way.WEBHOOK, settings.ALERT_WEBHOOK_URL)) if on]


def waiting() -> QuerySet[AlertDelivery]:
    """Messages that neither arrived nor were given up."""
    return AlertDelivery.objects.filter(sent_at__isnull=True, given_up_at__isnull=True)


def due(limit: int) -> list[int]:
    """Messages whose time has come, oldest first; that an alert is over is told after that it was open."""
    opening = waiting().filter(alert=OuterRef("alert"), way=OuterRef("way"), about=About.OPENED)
    found = waiting().filter(due_at__lte=timezone.now()).exclude(Q(about=About.RESOLVED) & Exists(opening))
    return list(found.order_by("due_at", "id").values_list("pk", flat=True)[:limit])


@service
def claim(delivery_id: int) -> AlertDelivery | None:
    """Take a message to send it; None when another process has it. Attempt and pause are written before the work."""
    now = timezone.now()
    found = waiting().filter(pk=delivery_id).select_related("alert__host", "alert__vm__project").first()
    if found is None:
        return None
    until = now + timedelta(seconds=backoff_seconds(found.attempts + 1))
    rows = waiting().filter(pk=delivery_id, due_at__lte=now, attempts=found.attempts)
    if not rows.update(attempts=F("attempts") + 1, due_at=until):
        return None
    found.attempts += 1
    return found


@service
def delivered(delivery: AlertDelivery) -> None:
    """It arrived."""
    waiting().filter(pk=delivery.pk).update(sent_at=timezone.now(), problem="")


@service
def failed(delivery: AlertDelivery, problem: str, *, for_good: bool = False) -> None:
    """It did not arrive, for the reason given: it is tried again after its pause, or given up after a day."""
    now = timezone.now()
    written = delivery.alert.resolved_at if delivery.about == About.RESOLVED else delivery.alert.opened_at
    over = for_good or now - (written or now) > GIVE_UP_AFTER
    waiting().filter(pk=delivery.pk).update(problem=problem[:300], given_up_at=now if over else None)
