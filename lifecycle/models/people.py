"""What belongs to one person: saved views of a list, and notifications."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project


class SavedView(models.Model):
    """A search of the list of VMs under a name. `query` is the address's query, without its question mark."""

    QUERY_MAX = 500

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views", verbose_name=_("user")
    )
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="saved_views", verbose_name=_("project")
    )
    name = models.CharField(_("name"), max_length=40)
    query = models.CharField(_("search"), max_length=QUERY_MAX)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "project", "name"], name="a_saved_view_has_a_name_of_its_own")
        ]

    def __str__(self) -> str:
        return self.name


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Notifications are their receiver's alone."""

    def in_portal(self) -> NotificationQuerySet:
        """Those the receiver wants to see here."""
        return self.filter(in_portal=True)

    def unread(self) -> NotificationQuerySet:
        """Those not seen yet."""
        return self.filter(in_portal=True, read_at__isnull=True)


class Notification(models.Model):
    """Something one person is told, in the portal, by mail, or both.

    `text` is a template in English that is translated when it is read; `path` leads to what it is about. A mail is
    on its way from `mail_due_at` until `mailed_at` or `given_up_at`.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications", verbose_name=_("user")
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("project"))
    kind = models.CharField(_("kind"), max_length=30)
    text = models.CharField(_("text"), max_length=300)
    params = models.JSONField(_("values in the text"), default=dict, blank=True)
    path = models.CharField(_("page"), max_length=300, blank=True, default="")
    at = models.DateTimeField(_("at"), default=timezone.now)
    in_portal = models.BooleanField(_("in the portal"), default=True)
    read_at = models.DateTimeField(_("read"), null=True, blank=True)
    mail_due_at = models.DateTimeField(_("mail due"), null=True, blank=True)
    mail_attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    mailed_at = models.DateTimeField(_("mailed"), null=True, blank=True)
    given_up_at = models.DateTimeField(_("given up"), null=True, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["user", "-id"], name="notification_by_user"),
            models.Index(
                fields=["user"], condition=Q(in_portal=True, read_at__isnull=True), name="notification_unread"
            ),
            models.Index(
                fields=["mail_due_at"],
                condition=Q(mail_due_at__isnull=False, mailed_at__isnull=True, given_up_at__isnull=True),
                name="notification_mail_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} -> {self.user_id}"
