"""Budgets of projects, and what was told of them: each threshold once a month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain import budgets
from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from lifecycle.models.accounts import User


class BudgetQuerySet(models.QuerySet["Budget"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> BudgetQuerySet:
        """Those of the projects `user` may see."""
        return self.filter(project__in=Project.objects.visible_to(user))


class Budget(models.Model):
    """What a project means to spend a month, and what happens when it does.

    `month` and `spent` are of the last look: what the month had cost by then, without tax and before credits.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="budgets", verbose_name=_("project"))
    name = models.CharField(_("name"), max_length=60)
    amount = models.DecimalField(_("amount a month"), max_digits=14, decimal_places=2)
    thresholds = models.JSONField(_("thresholds (%)"), default=list)
    forbid_at = models.PositiveSmallIntegerField(_("no new VMs from (%)"), null=True, blank=True)
    suspend_at = models.PositiveSmallIntegerField(_("suspend VMs from (%)"), null=True, blank=True)
    notice_hours = models.PositiveSmallIntegerField(_("notice (hours)"), default=24)
    webhook_url = models.CharField(_("webhook"), max_length=budgets.URL_MAX, blank=True, default="")
    webhook_secret = models.CharField(max_length=100, blank=True, default="", editable=False)
    month = models.CharField(_("month"), max_length=7, blank=True, default="")
    spent = models.DecimalField(_("spent"), max_digits=14, decimal_places=2, default=0)
    looked_at = models.DateTimeField(_("last looked at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )

    objects = BudgetQuerySet.as_manager()

    class Meta:
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="a_budget_has_a_name_of_its_own"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_budget_is_worth_something"),
            models.CheckConstraint(
                condition=Q(notice_hours__gte=budgets.NOTICE_HOURS[0]), name="a_budget_suspends_after_a_notice"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project}: {self.name}"

    @property
    def percent(self) -> int:
        """How much of it was spent at the last look, in whole percent."""
        return budgets.percent_spent(self.spent, self.amount)

    def is_over(self, percent: int | None, month: str) -> bool:
        """Whether at least `percent` % was spent in `month`, which is this one; None is never reached."""
        return percent is not None and self.month == month and budgets.reaches(self.spent, self.amount, percent)


class BudgetAlert(models.Model):
    """Something that was told of a budget, once a month; and its webhook's way there.

    `done` are the ids of VMs that were suspended by it: none is suspended twice in a month.
    """

    class About(models.TextChoices):
        THRESHOLD = "threshold", _("threshold reached")
        NOTICE = "notice", _("VMs will be suspended")
        SUSPENDED = "suspended", _("VMs suspended")

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="alerts", verbose_name=_("budget"))
    month = models.CharField(_("month"), max_length=7)
    about = models.CharField(_("about"), max_length=10, choices=About.choices)
    percent = models.PositiveSmallIntegerField(_("threshold (%)"))
    amount = models.DecimalField(_("amount a month"), max_digits=14, decimal_places=2)
    spent = models.DecimalField(_("spent"), max_digits=14, decimal_places=2)
    currency = models.CharField(_("currency"), max_length=3)
    at = models.DateTimeField(_("at"), default=timezone.now)
    due_at = models.DateTimeField(_("suspension from"), null=True, blank=True)
    done = models.JSONField(_("suspended VMs"), default=list, blank=True)
    send_at = models.DateTimeField(_("message due"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)
    problem = models.CharField(_("problem"), max_length=300, blank=True, default="")

    class Meta:
        verbose_name = _("alert of a budget")
        verbose_name_plural = _("alerts of budgets")
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(
                fields=["send_at"],
                condition=Q(send_at__isnull=False, sent_at__isnull=True, given_up_at__isnull=True),
                name="budget_message_due",
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "month", "about", "percent"], name="a_budget_tells_a_threshold_once_a_month"
            )
        ]

    def __str__(self) -> str:
        return f"{self.budget} {self.month}: {self.about} {self.percent} %"
