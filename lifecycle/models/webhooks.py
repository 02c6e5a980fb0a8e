"""Webhooks of projects, and the messages to them: the outbox and the log in one."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.webhooks import Kind
from lifecycle.models.projects import Project


class Webhook(models.Model):
    """An address that is told of a project's events. Its secret is derived from `salt` and is not kept."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks", verbose_name=_("project"))
    url = models.CharField(_("address"), max_length=2000)
    kinds = models.JSONField(_("events"), default=list)
    salt = models.CharField(max_length=64, editable=False)
    is_active = models.BooleanField(_("switched on"), default=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.project} #{self.pk}"  # the address may hold what only its receiver should know


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    """By where they are on their way."""

    def waiting(self) -> "WebhookDeliveryQuerySet":
        """Neither arrived nor given up."""
        return self.filter(sent_at__isnull=True, given_up_at__isnull=True)


class WebhookDelivery(models.Model):
    """One message to one webhook: written with what it tells of, sent until it arrives or is given up.

    `message` is what a receiver knows it by; sending it again makes another row of the same message.
    """

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("webhook"))
    message = models.UUIDField(_("message"), default=uuid.uuid4, editable=False)
    kind = models.CharField(_("event"), max_length=20, choices=[(kind.value, kind.value) for kind in Kind])
    body = models.JSONField(_("content"))
    created_at = models.DateTimeField(_("written"), default=timezone.now)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("arrived"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)
    status = models.PositiveSmallIntegerField(_("status of the answer"), null=True, blank=True)
    problem = models.CharField(_("problem"), max_length=300, blank=True, default="")

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("message of a webhook")
        verbose_name_plural = _("messages of webhooks")
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["webhook", "-id"], name="message_by_webhook"),
            models.Index(
                fields=["due_at"], condition=Q(sent_at__isnull=True, given_up_at__isnull=True), name="message_due"
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["webhook", "message"],
                condition=Q(sent_at__isnull=True, given_up_at__isnull=True),
                name="a_message_is_on_its_way_once",
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(given_up_at__isnull=True),
                name="a_message_arrived_or_was_given_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.message}"

    @property
    def is_waiting(self) -> bool:
        """Whether it will be tried again."""
        return self.sent_at is None and self.given_up_at is None
