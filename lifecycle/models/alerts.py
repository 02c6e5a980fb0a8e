"""Alerts to the operators: one open a matter, closed by itself when the matter is over; and their delivery."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.fleet import Host
from lifecycle.models.operations import Operation
from lifecycle.models.vms import VM


class Alert(models.Model):
    """Something an operator should know of. `key` names the matter: while it lasts there is one open alert."""

    class Severity(models.TextChoices):
        WARNING = "warning", _("warning")
        CRITICAL = "critical", _("critical")

    key = models.CharField(_("matter"), max_length=200)
    kind = models.CharField(_("kind"), max_length=30)
    severity = models.CharField(_("severity"), max_length=8, choices=Severity.choices, default=Severity.WARNING)
    text = models.CharField(_("text"), max_length=300)
    params = models.JSONField(_("values in the text"), default=dict, blank=True)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("host"))
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("VM"))
    operation = models.ForeignKey(
        Operation, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("operation")
    )
    opened_at = models.DateTimeField(_("since"), default=timezone.now)
    last_seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    resolved_at = models.DateTimeField(_("over"), null=True, blank=True)
    acknowledged_at = models.DateTimeField(_("acknowledged"), null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("acknowledged by"),
    )

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["key"], condition=Q(resolved_at__isnull=True), name="one_open_alert_per_matter"
            )
        ]

    def __str__(self) -> str:
        return self.key


class AlertDelivery(models.Model):
    """One message about one alert by one way: written with the alert, sent until it arrives or is given up."""

    class Way(models.TextChoices):
        MAIL = "mail", _("e-mail")
        WEBHOOK = "webhook", _("webhook")

    class About(models.TextChoices):
        OPENED = "opened", _("opened")
        RESOLVED = "resolved", _("resolved")

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("alert"))
    way = models.CharField(_("way"), max_length=8, choices=Way.choices)
    about = models.CharField(_("about"), max_length=8, choices=About.choices)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)
    problem = models.CharField(_("problem"), max_length=300, blank=True, default="")

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(sent_at__isnull=True, given_up_at__isnull=True), name="delivery_due"
            )
        ]
        constraints = [
            models.UniqueConstraint(fields=["alert", "way", "about"], name="an_alert_is_told_once_by_each_way")
        ]

    def __str__(self) -> str:
        return f"{self.alert} {self.about} by {self.way}"
