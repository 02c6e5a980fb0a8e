"""The round of budgets: rates what each project spent, tells, suspends what an overrun budget says, and sends.

The amounts are those of `costs`: the same rating as the invoice's.
"""

import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings
from django.utils import timezone

from lifecycle import webhooks
from lifecycle.billing import costs
from lifecycle.domain.errors import DomainError
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Budget, BudgetAlert, Operation, Project
from lifecycle.services import budgets, prices, vms
from lifecycle.services import webhooks as hooks
from lifecycle.services.db import service
from lifecycle.webhooks import NotDelivered

log = logging.getLogger(__name__)

#: Messages in one go, each within its timeout.
BATCH: Final = 20


@dataclass(slots=True)
class Done:
    """What a round did: budgets looked at, things told, VMs suspended."""

    looked: int = 0
    told: int = 0
    suspended: int = 0


def look(now: datetime | None = None) -> Done:
    """Look at every budget. One project's trouble stops no other; a project is rated once."""
    now = now or timezone.now()
    done = Done()
    for project in Project.objects.filter(budgets__isnull=False).distinct().order_by("pk").iterator():
        try:
            looked, told = look_at(project, now)
        except Exception:
            log.exception("the budgets of %s could not be looked at", project)
            continue
        done.looked += looked
        done.told += told
    for budget in budgets.to_suspend(now):
        done.suspended += sum(_suspend(budget, vm) for vm in budgets.vms_to_suspend(budget, now))
    return done


def look_at(project: Project, now: datetime) -> tuple[int, int]:
    """Rate the project's month so far, and note it for each of its budgets; returns budgets and things told."""
    found = list(Budget.objects.filter(project=project).order_by("pk"))
    month, spent = costs.so_far(project, now) if found else ("", costs.NOTHING)
    currency = prices.tariff().currency
    return len(found), sum(budgets.note(budget, month, spent, currency, now) for budget in found)


def _suspend(budget: Budget, vm: VM) -> bool:
    try:
        operation = _ask(budget, vm)
    except DomainError as error:  # stopped, deleted or at work now: the next round looks again
        log.info("the budget %s does not suspend %s now: %s", budget, vm, error)
        return False
    log.info("the budget %s suspends %s by operation %s", budget, vm, operation.pk)
    return True


@service
def _ask(budget: Budget, vm: VM) -> Operation:
    """Operation and record in one transaction: a crash between the two suspends nothing twice."""
    operation = vms.request_action(vm, Action.SUSPEND, user=None, asked_by=Asker.POLICY)
    budgets.suspended(budget, vm, operation, prices.tariff().currency)
    return operation


# -- messages ------------------------------------------------------------------------------------


def deliver() -> int:
    """Send the webhooks that are due; returns how many arrived. One that fails stops no other."""
    return sum(_send(pk) for pk in budgets.due(BATCH))


def _send(alert_id: int) -> bool:
    alert = budgets.claim(alert_id)
    if alert is None:
        return False
    try:
        _post(alert)
    except NotDelivered as error:
        log.warning("the message %s of a budget did not arrive: %s", alert.pk, error)
        budgets.not_sent(alert, str(error), for_good=error.for_good)
        return False
    budgets.sent(alert)
    return True


def _post(alert: BudgetAlert) -> None:
    budget = alert.budget
    if not budget.webhook_url:
        raise NotDelivered("the webhook was switched off", for_good=True)
    url = f"{settings.PUBLIC_URL}/projects/{budget.project.slug}/billing/budgets/"
    body = json.dumps(budgets.message(alert, url), separators=(",", ":")).encode()
    # With the alert's own time: a database put back from a backup gives its row numbers a second time.
    message_id = f"msg_{settings.INSTALLATION_ID}_budget_{alert.pk}_{int(alert.at.timestamp())}"
    webhooks.send(budget.webhook_url, budget.webhook_secret, message_id, body, among=hooks.allowed_networks())
