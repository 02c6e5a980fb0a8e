"""Budgets: written by owners, looked at by a timer, told of once a threshold and month, and obeyed.

What a month costs is rated above (`lifecycle.billing`); here it is written down, and from then on it counts: for
refusals without rating anything in a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from lifecycle import webhooks
from lifecycle.domain import budgets as rules
from lifecycle.domain.access import Right
from lifecycle.domain.alerts import GIVE_UP_AFTER, backoff_seconds
from lifecycle.domain.errors import ActionNotAllowed, BudgetExceeded, InvalidInput, NotFound
from lifecycle.domain.periods import Month
from lifecycle.domain.states import State
from lifecycle.domain.text import mark
from lifecycle.models import VM, Budget, BudgetAlert, Operation, Project, User
from lifecycle.services import audit, notifications, prices
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, service

About = BudgetAlert.About
BUDGETS_MOST: Final = 10
_AUDITED: Final = ("amount", "thresholds", "forbid_at", "suspend_at", "notice_hours")


@dataclass(frozen=True, slots=True)
class Wish:
    """A budget as an owner writes it. Percentages of the amount; None: it does not act."""

    name: str
    amount: Decimal
    thresholds: tuple[int, ...] = rules.DEFAULT_THRESHOLDS
    forbid_at: int | None = None
    suspend_at: int | None = None
    notice_hours: int = 24
    webhook_url: str = ""

    def checked(self) -> dict[str, Any]:
        """The columns. Raises InvalidInput."""
        name = self.name.strip()
        if not name or len(name) > 60 or not name.isprintable():
            raise InvalidInput("A budget has a name of at most 60 characters.", field="name")
        return {
            "name": name,
            "amount": rules.check_amount(self.amount),
            "thresholds": rules.check_thresholds(self.thresholds),
            "forbid_at": rules.check_action_at(self.forbid_at, "forbid_at"),
            "suspend_at": rules.check_action_at(self.suspend_at, "suspend_at"),
            "notice_hours": rules.check_notice(self.notice_hours),
            "webhook_url": rules.check_webhook(self.webhook_url.strip()),
        }


# -- written by owners ---------------------------------------------------------------------------


@service
def save(project: Project, wish: Wish, *, user: User, budget: Budget | None = None) -> tuple[Budget, str]:
    """Make a budget, or change one; returns it, and the secret of a webhook's address that is new (else empty).

    Raises:
        NotFound, Forbidden: not by a stranger, nor by a member who may not manage the project.
        InvalidInput: nothing was written.
    """
    project = lock_project(project.pk)
    require(project, user, Right.MANAGE_MEMBERS)
    values = wish.checked()
    row = _own(project, budget) if budget else Budget(project=project, created_by=user)
    if budget is None and Budget.objects.filter(project=project).count() >= BUDGETS_MOST:
        raise InvalidInput("A project has at most %(most)s budgets.", most=BUDGETS_MOST)
    secret = webhooks.new_secret() if values["webhook_url"] and values["webhook_url"] != row.webhook_url else ""
    if budget and any(getattr(row, name) != values[name] for name in ("amount", "suspend_at", "notice_hours")):
        # What was announced was announced of another budget: it is announced anew before anything is suspended.
        BudgetAlert.objects.filter(budget=row, month=row.month, about=About.NOTICE).delete()
    for name, value in values.items():
        setattr(row, name, value)
    if secret or not row.webhook_url:
        row.webhook_secret = secret
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise InvalidInput("This project has a budget of that name.", field="name") from None
    details = {name: str(values[name]) for name in _AUDITED} | {"webhook": bool(row.webhook_url)}
    audit.record(
        "budget.change" if budget else "budget.create", project=project, user=user, target=row.name, details=details
    )
    return row, secret


@service
def remove(budget: Budget, *, user: User) -> None:
    """Forget a budget and what it told. Raises NotFound, Forbidden."""
    project = lock_project(budget.project_id)
    require(project, user, Right.MANAGE_MEMBERS)
    row = _own(project, budget)
    audit.record("budget.remove", project=project, user=user, target=row.name, details={"amount": str(row.amount)})
    row.delete()


def _own(project: Project, budget: Budget) -> Budget:
    found = Budget.objects.select_for_update().filter(project=project, pk=budget.pk).first()
    if found is None:
        raise NotFound("There is no such budget in this project.")
    return found


# -- obeyed --------------------------------------------------------------------------------------


def this_month(project: Project, now: datetime) -> str:
    """The project's month, by its own calendar."""
    return str(Month.of(now, prices.account_of(project).zone))


def check(project: Project) -> None:
    """Refuse a new VM that a budget forbids: by what the last look saw of this month. One query without any.

    Raises:
        BudgetExceeded: it names the budget.
    """
    found = list(Budget.objects.filter(project=project, forbid_at__isnull=False).order_by("pk"))
    month = this_month(project, timezone.now()) if found else ""
    for budget in found:
        if budget.is_over(budget.forbid_at, month):
            raise BudgetExceeded(
                "The budget “%(name)s” allows no new VMs this month: %(spent)s of %(amount)s are spent, and from "
                "%(percent)s %% on it forbids them. An owner of the project can raise or remove it.",
                name=budget.name,
                spent=budget.spent,
                amount=budget.amount,
                percent=budget.forbid_at,
            )


# -- looked at -----------------------------------------------------------------------------------


@service
def note(budget: Budget, month: str, spent: Decimal, currency: str, now: datetime) -> int:
    """Write down what the month has cost, and tell of what that reaches; returns how much was told."""
    project = lock_project(budget.project_id)
    row = Budget.objects.select_for_update().filter(pk=budget.pk).first()
    if row is None:
        return 0
    row.month, row.spent, row.looked_at = month, spent, now
    row.save(update_fields=["month", "spent", "looked_at"])
    told = 0
    # Of several that are reached at once people are told of the highest; all are written down.
    found = [p for p in rules.reached(spent, row.amount, row.thresholds) if _write(row, About.THRESHOLD, p, currency)]
    if found:
        told += 1
        _tell(project, row, found[-1], currency)
    if row.suspend_at is not None and row.is_over(row.suspend_at, month):
        due = now + timedelta(hours=row.notice_hours)
        if _write(row, About.NOTICE, row.suspend_at, currency, due_at=due):
            told += 1
            _tell_notice(project, row, due)
    return told


def _write(
    budget: Budget, about: BudgetAlert.About, percent: int, currency: str, due_at: datetime | None = None
) -> BudgetAlert | None:
    """The row, once a month; None when it stands."""
    made, new = BudgetAlert.objects.get_or_create(
        budget=budget,
        month=budget.month,
        about=about,
        percent=percent,
        defaults={
            "amount": budget.amount,
            "spent": budget.spent,
            "currency": currency,
            "at": budget.looked_at or timezone.now(),
            "due_at": due_at,
            "send_at": budget.looked_at if budget.webhook_url else None,
        },
    )
    if not new:
        return None
    details = {"percent": percent, "spent": str(budget.spent), "amount": str(budget.amount), "month": budget.month}
    if about != About.SUSPENDED:
        audit.record(f"budget.{about}", project=budget.project, target=budget.name, details=details)
    return made


def _tell(project: Project, budget: Budget, percent: int, currency: str) -> None:
    text = mark("%(project)s has spent %(percent)s %% of its budget “%(name)s”: %(spent)s of %(amount)s.")
    values = {
        "percent": str(percent),
        "spent": f"{budget.spent} {currency}",
        "amount": f"{budget.amount} {currency}",
    }
    notifications.budget(project, text, {"name": budget.name, "project": project.slug, **values})


def _tell_notice(project: Project, budget: Budget, due: datetime) -> None:
    text = mark(
        "The budget “%(name)s” of %(project)s is overrun: from %(date)s on its running VMs are suspended. Raise it to "
        "prevent that; suspended VMs can be resumed, and nothing is deleted."
    )
    values = {"name": budget.name, "project": project.slug, "date": f"{due:%Y-%m-%d %H:%M} UTC"}
    notifications.budget(project, text, values)


# -- suspended -----------------------------------------------------------------------------------


def to_suspend(now: datetime) -> list[Budget]:
    """Budgets whose notice is over."""
    notices = BudgetAlert.objects.filter(about=About.NOTICE, due_at__lte=now, month=F("budget__month"))
    rows = Budget.objects.filter(suspend_at__isnull=False, pk__in=notices.values("budget"))
    return list(rows.select_related("project").order_by("pk"))


def vms_to_suspend(budget: Budget, now: datetime) -> list[VM]:
    """The running VMs of an overrun budget that it has not suspended this month, and on which nothing works.

    Empty when it was raised meanwhile, its threshold moved, or a month has begun.
    """
    month = this_month(budget.project, now)
    notices = BudgetAlert.objects.filter(budget=budget, month=month, about=About.NOTICE, due_at__lte=now)
    percents = notices.values_list("percent", flat=True)
    if not budget.is_over(budget.suspend_at, month) or budget.suspend_at not in set(percents):
        return []
    done = _suspended(budget, month)
    busy = Operation.objects.exclude(status=Operation.Status.DONE).filter(project=budget.project)
    rows = VM.objects.live().filter(project=budget.project, state=State.RUNNING).exclude(pk__in=busy.values("vm"))
    return list(rows.exclude(pk__in=done).select_related("project").order_by("pk"))


def _suspended(budget: Budget, month: str) -> list[str]:
    rows = BudgetAlert.objects.filter(budget=budget, month=month, about=About.SUSPENDED)
    return [pk for done in rows.values_list("done", flat=True) for pk in done]


@service
def suspended(budget: Budget, vm: VM, operation: Operation, currency: str) -> None:
    """Write down that the budget had the VM suspended. In the transaction that asked for it."""
    lock_project(budget.project_id)
    row = Budget.objects.select_for_update().get(pk=budget.pk)
    if row.suspend_at is None or str(vm.pk) in _suspended(row, row.month):
        raise ActionNotAllowed("The budget has suspended this VM already.")
    first = _write(row, About.SUSPENDED, row.suspend_at, currency)
    alert = first or BudgetAlert.objects.get(budget=row, month=row.month, about=About.SUSPENDED, percent=row.suspend_at)
    alert.done = [*alert.done, str(vm.pk)]
    alert.save(update_fields=["done"])
    details = {"budget": row.name, "operation": str(operation.pk)}
    audit.record("budget.suspend", project=vm.project, target=vm.name, details=details)
    if first:
        text = mark("The budget “%(name)s” of %(project)s is overrun: its running VMs are being suspended.")
        notifications.budget(vm.project, text, {"name": row.name, "project": vm.project.slug})


# -- messages ------------------------------------------------------------------------------------


def waiting() -> QuerySet[BudgetAlert]:
    """Messages that neither arrived nor were given up."""
    return BudgetAlert.objects.filter(Q(send_at__isnull=False, sent_at__isnull=True, given_up_at__isnull=True))


def due(limit: int) -> list[int]:
    """Messages whose time has come, oldest first."""
    return list(
        waiting().filter(send_at__lte=timezone.now()).order_by("send_at", "pk").values_list("pk", flat=True)[:limit]
    )


@service
def claim(alert_id: int) -> BudgetAlert | None:
    """Take a message to send it; None when another process has it. Attempt and pause are written before the work."""
    found = waiting().filter(pk=alert_id).select_related("budget__project").first()
    if found is None:
        return None
    now = timezone.now()
    until = now + timedelta(seconds=backoff_seconds(found.attempts + 1))
    rows = waiting().filter(pk=alert_id, send_at__lte=now, attempts=found.attempts)
    if not rows.update(attempts=F("attempts") + 1, send_at=until):
        return None
    return found


@service
def sent(alert: BudgetAlert) -> None:
    """It arrived."""
    waiting().filter(pk=alert.pk).update(sent_at=timezone.now(), problem="")


@service
def not_sent(alert: BudgetAlert, problem: str, *, for_good: bool) -> None:
    """It did not: again after its pause, or given up after a day."""
    now = timezone.now()
    over = for_good or now - alert.at > GIVE_UP_AFTER
    waiting().filter(pk=alert.pk).update(problem=problem[:300], given_up_at=now if over else None)


def message(alert: BudgetAlert, url: str) -> Mapping[str, Any]:
    """What a webhook says: `type`, `timestamp` and `data`, as the specification asks."""
    budget = alert.budget
    data = {
        "budget": budget.name,
        "project": budget.project.slug,
        "month": alert.month,
        "percent": alert.percent,
        "spent": f"{alert.spent:f}",
        "amount": f"{alert.amount:f}",
        "currency": alert.currency,
        "suspendsAt": alert.due_at.isoformat() if alert.due_at else None,
        "suspendedVms": len(alert.done),
        "url": url,
    }
    return {"type": f"budget.{alert.about}", "timestamp": alert.at.isoformat(), "data": data}
