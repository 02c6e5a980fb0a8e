"""Announced maintenance of hosts: what of a VM's downtime in it does not count for the SLA."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.fleet import Host


class Maintenance(models.Model):
    """From when to when a host's VMs may be down, as it was announced. Never changed; cancelled before it begins."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="maintenances", verbose_name=_("host"))
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("to"))
    reason = models.CharField(_("reason"), max_length=200, help_text=_("Members of the projects concerned read it."))
    announced_at = models.DateTimeField(_("announced"), default=timezone.now)
    announced_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("announced by")
    )
    cancelled_at = models.DateTimeField(_("cancelled"), null=True, blank=True)

    class Meta:
        verbose_name = _("announced maintenance")
        verbose_name_plural = _("announced maintenance")
        ordering = ["-starts_at", "-id"]
        indexes = [models.Index(fields=["host", "starts_at"], name="maintenance_by_host")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="a_maintenance_has_a_length"),
            models.CheckConstraint(
                condition=Q(announced_at__lt=F("starts_at")), name="a_maintenance_is_announced_before_it_begins"
            ),
            models.CheckConstraint(
                condition=Q(cancelled_at__isnull=True) | Q(cancelled_at__lt=F("starts_at")),
                name="a_maintenance_is_cancelled_before_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host} {self.starts_at:%F %H:%M}"
