"""Who did what, to what, when and from where; append-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.access import Right, roles_with
from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from lifecycle.models.accounts import User


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> AuditQuerySet:
        """All of it for operators with the permission to see it; for owners what concerns their projects."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_staff and user.has_perm("lifecycle.view_auditentry"):
            return self
        owned = Project.objects.filter(memberships__user=user, memberships__role__in=roles_with(Right.READ_AUDIT))
        return self.filter(project__in=owned)


class AuditEntry(models.Model):
    """One line of the audit log; written by `services.audit.record`, never changed.

    `who`, `project_name` and `target` are kept as texts: they outlive the rows they name.
    """

    class Channel(models.TextChoices):
        PORTAL = "portal", _("portal")
        API = "api", _("API")
        ADMIN = "admin", _("administration")
        SYSTEM = "system", _("the product itself")

    at = models.DateTimeField(_("at"), default=timezone.now)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    who = models.CharField(_("who"), max_length=150, blank=True, default="")
    action = models.CharField(_("action"), max_length=40)
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("project")
    )
    project_name = models.CharField(_("project"), max_length=40, blank=True, default="")
    target = models.CharField(_("target"), max_length=200, blank=True, default="")
    details = models.JSONField(_("details"), default=dict)
    channel = models.CharField(_("by way of"), max_length=8, choices=Channel.choices)
    ip = models.GenericIPAddressField(_("from"), null=True)
    agent = models.CharField(_("program"), max_length=200, blank=True, default="")

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="audit_by_project"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(channel__in=["portal", "api", "admin", "system"]), name="an_audit_channel_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.who or '–'} {self.action} {self.target}"
