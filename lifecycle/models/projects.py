"""Projects, their members, invitations and quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.access import Role

if TYPE_CHECKING:
    from lifecycle.models.accounts import User

ROLE_CHOICES = [(Role.OWNER, _("Owner")), (Role.OPERATOR, _("Operator")), (Role.VIEWER, _("Viewer"))]


class ProjectQuerySet(models.QuerySet["Project"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> ProjectQuerySet:
        """The projects `user` is a member of; all of them for a superuser; none for nobody."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user)


class Project(models.Model):
    """What VMs, quotas and members belong to. `last_event_number` is locked by every change in the project."""

    slug = models.SlugField(_("name"), max_length=40, unique=True)
    title = models.CharField(_("title"), max_length=100, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_event_number = models.BigIntegerField(_("last event number"), default=0, editable=False)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

    def role_of(self, user: User | AnonymousUser) -> Role | None:
        """The role of `user` here; a superuser is an owner everywhere; None for a stranger."""
        if not user.is_authenticated or not user.is_active:
            return None
        if user.is_superuser:
            return Role.OWNER
        found = self.memberships.filter(user=user).values_list("role", flat=True).first()
        return Role(found) if found else None


class Membership(models.Model):
    """A person's role in a project."""

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("project")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("user")
    )
    role = models.CharField(_("role"), max_length=16, choices=ROLE_CHOICES)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        ordering = ["user__username"]
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person_and_project"),
            models.CheckConstraint(condition=models.Q(role__in=[r.value for r in Role]), name="a_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} @ {self.project}: {self.role}"


class Invitation(models.Model):
    """A promise of membership, redeemed once by its secret link; only the secret's hash is kept."""

    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="invitations", verbose_name=_("project")
    )
    email = models.EmailField(_("e-mail address"))
    role = models.CharField(_("role"), max_length=16, choices=ROLE_CHOICES)
    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("invited by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    accepted_at = models.DateTimeField(_("accepted"), null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("accepted by"),
    )

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.email} -> {self.project}"


class Quota(models.Model):
    """A project's limits. Usage is always the sum of what exists, never a counter."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="quota", verbose_name=_("project"))
    vms = models.PositiveIntegerField(_("VMs"), default=20)
    vcpus = models.PositiveIntegerField(_("vCPUs"), default=40)
    memory_mib = models.PositiveIntegerField(_("memory (MiB)"), default=65536)
    disk_gib = models.PositiveIntegerField(_("disk (GiB)"), default=500)
    image_gib = models.PositiveIntegerField(_("images (GiB)"), default=50, db_default=50)

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")

    def __str__(self) -> str:
        return str(self.project)
