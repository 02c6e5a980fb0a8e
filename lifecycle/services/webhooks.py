"""Webhooks of projects: who may have them, what is written for them, and how their messages fare.

A message is written in the transaction of what it tells of, for each webhook that wants it: none is lost with a worker,
and none tells of what was rolled back. Sending is the layer above (`repair.hooks`).
"""

import base64
import ipaddress
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from lifecycle.domain.access import Right
from lifecycle.domain.alerts import GIVE_UP_AFTER, backoff_seconds
from lifecycle.domain.errors import InvalidInput, NotFound
from lifecycle.domain.imports import Network
from lifecycle.domain.webhooks import WEBHOOKS_MAX, Kind, check_address, check_kinds
from lifecycle.models import Operation, Project, Repair, Transition, User, Webhook, WebhookDelivery
from lifecycle.services import audit
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, service

_SALT: Final = "lifecycle.webhooks"


# -- webhooks ------------------------------------------------------------------------------------


@service
def create(project: Project, url: str, kinds: Iterable[str], *, user: User) -> tuple[Webhook, str]:
    """A webhook and its secret, which is shown once.

    Raises:
        NotFound, Forbidden: by the user's role. InvalidInput: the address, the events, or too many webhooks.
    """
    project = lock_project(project.pk)
    require(project, user, Right.MANAGE_WEBHOOKS)
    url, wanted = check_address(url, allowed_networks()), check_kinds(kinds)
    if Webhook.objects.filter(project=project).count() >= WEBHOOKS_MAX:
        raise InvalidInput("A project has at most %(most)s webhooks.", most=WEBHOOKS_MAX)
    made = Webhook.objects.create(
        project=project, url=url, kinds=wanted, salt=secrets.token_urlsafe(32), created_by=user
    )
    audit.record("webhook.create", project=project, user=user, target=str(made.pk), details={"events": wanted})
    return made, secret_of(made)


@service
def switch(project: Project, webhook_id: int, *, on: bool, user: User) -> Webhook:
    """Switch it on or off. Off, nothing is written for it, and what waits is given up. Raises as `create`."""
    found = _mine(project, webhook_id, user)
    if found.is_active != on:
        Webhook.objects.filter(pk=found.pk).update(is_active=on)
        if not on:
            waiting = WebhookDelivery.objects.waiting().filter(webhook=found)
            waiting.update(given_up_at=timezone.now(), problem="the webhook was switched off")
        audit.record("webhook.switch", project=project, user=user, target=str(found.pk), details={"on": on})
    found.is_active = on
    return found


@service
def remove(project: Project, webhook_id: int, *, user: User) -> None:
    """Forget it with its log. Raises as `create`."""
    found = _mine(project, webhook_id, user)
    audit.record("webhook.remove", project=project, user=user, target=str(found.pk))
    found.delete()


@service
def send_test(project: Project, webhook_id: int, *, user: User) -> WebhookDelivery:
    """A message that tells of nothing. Raises as `create`; InvalidInput when it is switched off."""
    found = _mine(project, webhook_id, user)
    _check_on(found)
    return _write([found], Kind.TEST, timezone.now(), {"by": user.get_username()})[0]


@service
def send_again(project: Project, webhook_id: int, delivery_id: int, *, user: User) -> WebhookDelivery:
    """The same message again, under its id; one that still waits is due at once. Raises as `send_test`."""
    hook = _mine(project, webhook_id, user)
    _check_on(hook)
    row = WebhookDelivery.objects.filter(webhook=hook, pk=delivery_id).first()
    if row is None:
        raise NotFound("This message is not kept any more.")
    waiting = WebhookDelivery.objects.waiting().filter(webhook=hook, message=row.message).first()
    if waiting is not None:
        WebhookDelivery.objects.filter(pk=waiting.pk).update(due_at=timezone.now())
        return waiting
    return WebhookDelivery.objects.create(webhook=hook, message=row.message, kind=row.kind, body=row.body)


def secret_of(webhook: Webhook) -> str:
    """What its messages are signed with, as the Standard Webhooks specification writes it.

    Derived from the installation's secret key: a copy of the database alone signs nothing.
    """
    key = salted_hmac(_SALT, webhook.salt, algorithm="sha256").digest()
    return "whsec_" + base64.b64encode(key).decode()


def allowed_networks() -> list[Network]:
    """The private networks that messages may go to, by the settings."""
    return [ipaddress.ip_network(text) for text in settings.WEBHOOK_ALLOWED_NETWORKS]


def _mine(project: Project, webhook_id: int, user: User) -> Webhook:
    project = lock_project(project.pk)
    require(project, user, Right.MANAGE_WEBHOOKS)
    found = Webhook.objects.filter(project=project, pk=webhook_id).first()
    if found is None:
        raise NotFound("There is no such webhook.")
    return found


def _check_on(webhook: Webhook) -> None:
    if not webhook.is_active:
        raise InvalidInput("This webhook is switched off. Switch it on first.")


# -- what happened -------------------------------------------------------------------------------


def operation_ended(operation_id: UUID) -> None:
    """Write that it ended, well or not. Needs an open transaction."""
    found = Operation.objects.select_related("project", "user", "vm__zone").filter(pk=operation_id)
    hooks = _wanting(found.values("project_id"), Kind.OPERATION_ENDED)
    if not hooks:
        return
    row = found.get()
    data = {
        "operation": f"operation-{row.pk}",
        "action": row.action,
        "vm": row.target_name,
        "vmId": str(row.vm_id),
        "zone": row.vm.zone.name,
        "user": row.user.get_username() if row.user else None,
        "askedBy": row.asked_by,
        "insertTime": row.insert_time.isoformat(),
        "endTime": row.end_time.isoformat() if row.end_time else None,
        "error": _error(row.error),
        "url": f"{settings.PUBLIC_URL}/projects/{row.project.slug}/operations/{row.pk}/",
    }
    _write(hooks, Kind.OPERATION_ENDED, row.end_time or timezone.now(), data)


def state_changed(transition: Transition, project_id: int) -> None:
    """Write from which state a VM went to which. Needs an open transaction."""
    hooks = _wanting([project_id], Kind.STATE_CHANGED)
    if not hooks:
        return
    vm = transition.vm
    data = {
        "number": transition.number,
        "vm": vm.name,
        "vmId": str(vm.pk),
        "zone": vm.zone.name,
        "from": transition.from_state or None,
        "to": transition.to_state or None,
        "action": transition.action,
        "reason": transition.reason,
        "askedBy": transition.asked_by,
        "operation": f"operation-{transition.operation_id}" if transition.operation_id else None,
        "occurredAt": transition.occurred_at.isoformat(),
        "url": _page(hooks[0], vm.name),
    }
    _write(hooks, Kind.STATE_CHANGED, transition.recorded_at, data)


def repair_opened(repair: Repair) -> None:
    """Write that a VM is in repair, and why. Needs an open transaction."""
    vm = repair.vm
    hooks = _wanting([vm.project_id], Kind.REPAIR_OPENED)
    if not hooks:
        return
    data = {
        "repair": repair.pk,
        "vm": vm.name,
        "vmId": str(vm.pk),
        "zone": vm.zone.name,
        "cause": repair.cause,
        "summary": repair.summary,
        "stateBefore": repair.prior_state,
        "openedAt": repair.opened_at.isoformat(),
        "url": _page(hooks[0], vm.name),
    }
    _write(hooks, Kind.REPAIR_OPENED, timezone.now(), data)


def _wanting(projects: Any, kind: Kind) -> list[Webhook]:
    found = Webhook.objects.filter(project__in=projects, is_active=True).select_related("project")
    return [webhook for webhook in found if kind in webhook.kinds]


def _write(hooks: list[Webhook], kind: Kind, at: datetime, data: dict[str, Any]) -> list[WebhookDelivery]:
    body = {"type": kind, "timestamp": at.isoformat(), "data": {"project": hooks[0].project.slug, **data}}
    return WebhookDelivery.objects.bulk_create(
        [WebhookDelivery(webhook=webhook, kind=kind, body=body) for webhook in hooks]
    )


def _error(error: dict[str, Any] | None) -> dict[str, str] | None:
    return {"code": str(error.get("code", "")), "message": str(error.get("message", ""))} if error else None


def _page(webhook: Webhook, name: str) -> str:
    return f"{settings.PUBLIC_URL}/projects/{webhook.project.slug}/vms/{name}/"


# -- messages on their way -----------------------------------------------------------------------


def due(limit: int) -> list[int]:
    """One message of each webhook that has one due, the oldest: who is slow holds up its own messages alone."""
    found = WebhookDelivery.objects.waiting().filter(due_at__lte=timezone.now())
    oldest = found.order_by().values("webhook").annotate(first=Min("pk")).order_by("first")
    return list(oldest.values_list("first", flat=True)[:limit])


@service
def claim(delivery_id: int) -> WebhookDelivery | None:
    """Take a message to send it; None when another process has it. Attempt and pause are written before the work."""
    now = timezone.now()
    waiting = WebhookDelivery.objects.waiting().filter(pk=delivery_id)
    found = waiting.select_related("webhook__project").first()
    if found is None:
        return None
    until = now + timedelta(seconds=backoff_seconds(found.attempts + 1))
    if not waiting.filter(due_at__lte=now, attempts=found.attempts).update(attempts=F("attempts") + 1, due_at=until):
        return None
    found.attempts += 1
    return found


@service
def delivered(delivery: WebhookDelivery, status: int) -> None:
    """It arrived: its receiver is there, so that the others of its webhook are due at once."""
    now = timezone.now()
    waiting = WebhookDelivery.objects.waiting()
    waiting.filter(pk=delivery.pk).update(sent_at=now, status=status, problem="")
    waiting.filter(webhook=delivery.webhook_id, attempts=0, due_at__gt=now).update(due_at=now)


@service
def failed(delivery: WebhookDelivery, problem: str, status: int | None, *, for_good: bool = False) -> None:
    """It did not arrive: again after its pause, or given up after a day.

    The webhook's other messages wait as long: a receiver that hangs costs one timeout a pause, not one a message.
    """
    now = timezone.now()
    over = for_good or now - delivery.created_at > GIVE_UP_AFTER
    waiting = WebhookDelivery.objects.waiting()
    until = now + timedelta(seconds=backoff_seconds(delivery.attempts))
    mine = waiting.filter(pk=delivery.pk)
    mine.update(problem=problem[:300], status=status, given_up_at=now if over else None)
    if not over:
        waiting.filter(webhook=delivery.webhook_id, due_at__lt=until).exclude(pk=delivery.pk).update(due_at=until)


def summaries(project: Project) -> QuerySet[Webhook]:
    """The project's webhooks, each with when a message arrived last and how many wait and were given up."""
    waiting = Q(deliveries__sent_at__isnull=True, deliveries__given_up_at__isnull=True)
    return Webhook.objects.filter(project=project).annotate(
        arrived_at=Max("deliveries__sent_at"),
        waiting=Count("deliveries", filter=waiting),
        given_up=Count("deliveries", filter=Q(deliveries__given_up_at__isnull=False)),
    )
