"""Changes of a VM's settings: done as they are asked for, and kept as what the API calls operations."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project
from lifecycle.models.vms import VM


class Change(models.Model):
    """One change of settings; append-only. No work follows it, so it has no steps and never fails afterwards."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="changes", verbose_name=_("project"))
    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="changes", verbose_name=_("VM"))
    target_name = models.CharField(_("target"), max_length=63)
    kind = models.CharField(_("kind"), max_length=40)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    request_id = models.UUIDField(_("request id"), null=True, blank=True)
    insert_time = models.DateTimeField(_("requested"), default=timezone.now)
    hidden_from_api = models.BooleanField(_("deleted through the API"), default=False)

    class Meta:
        verbose_name = _("change of settings")
        verbose_name_plural = _("changes of settings")
        ordering = ["-insert_time"]
        indexes = [models.Index(fields=["project", "-insert_time"], name="change_by_project")]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "request_id"],
                condition=Q(request_id__isnull=False),
                name="one_change_per_request_id",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_name}"
