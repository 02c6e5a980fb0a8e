"""Personal access tokens: what programs prove with that they act for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from lifecycle.models.accounts import User


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> ApiTokenQuerySet:
        """One's own tokens; nobody sees another person's."""
        return self.filter(user=user) if user.is_authenticated else self.none()

    def usable(self) -> ApiTokenQuerySet:
        """Neither revoked nor expired, of a person who may sign in."""
        return self.filter(revoked_at__isnull=True, expires_at__gt=timezone.now(), user__is_active=True)


class ApiToken(models.Model):
    """A secret that was shown once; only its hash is kept. It never allows more than its person may."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens", verbose_name=_("user")
    )
    name = models.CharField(_("name"), max_length=60)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    beginning = models.CharField(
        _("begins with"), max_length=12, help_text=_("The start of the secret, to tell tokens apart.")
    )
    # Of a service account's key: what it signs is found by the one and checked by the other.
    key_id = models.CharField(_("key id"), max_length=40, unique=True, null=True, blank=True, editable=False)
    public_key = models.TextField(_("public key"), blank=True, default="", db_default="", editable=False)
    projects = models.ManyToManyField(Project, related_name="api_tokens", verbose_name=_("projects"))
    may_write = models.BooleanField(_("may change things"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"))
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.user})"

    @property
    def is_usable(self) -> bool:
        """Whether it still opens anything."""
        return self.revoked_at is None and self.expires_at > timezone.now()
