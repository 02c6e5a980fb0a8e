"""SSH keys that people and projects keep, so that nobody pastes the same key for ever."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project


class SSHKey(models.Model):
    """A public key of a person or of a project. It is put into the seeds of VMs at their next start."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="ssh_keys",
        null=True,
        blank=True,
        verbose_name=_("person"),
    )
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="ssh_keys", null=True, blank=True, verbose_name=_("project")
    )
    name = models.CharField(_("name"), max_length=60)
    key = models.TextField(_("public key"))
    fingerprint = models.CharField(_("fingerprint"), max_length=60)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("added by")
    )
    created_at = models.DateTimeField(_("added"), auto_now_add=True)

    class Meta:
        verbose_name = _("SSH key")
        verbose_name_plural = _("SSH keys")
        ordering = ["name", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True, project__isnull=False) | Q(user__isnull=False, project__isnull=True),
                name="an_ssh_key_is_a_persons_or_a_projects",
            ),
            models.UniqueConstraint(
                fields=["user", "fingerprint"], condition=Q(user__isnull=False), name="one_ssh_key_a_person"
            ),
            models.UniqueConstraint(
                fields=["project", "fingerprint"], condition=Q(project__isnull=False), name="one_ssh_key_a_project"
            ),
        ]

    def __str__(self) -> str:
        return self.name
