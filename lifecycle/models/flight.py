"""The flight recorder's own rows: what libvirt told of a VM, and who changed its settings. Append-only."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.fleet import Host
from lifecycle.models.operations import ASKER_CHOICES
from lifecycle.models.vms import VM


class LibvirtEvent(models.Model):
    """One event of a hypervisor about a VM. `occurred_at`: when libvirt told it; `recorded_at`: when it was written."""

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="libvirt_events", verbose_name=_("VM"))
    host = models.ForeignKey(Host, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("host"))
    kind = models.CharField(_("kind"), max_length=20)
    detail = models.CharField(_("detail"), max_length=100, blank=True, default="")
    occurred_at = models.DateTimeField(_("occurred"))
    recorded_at = models.DateTimeField(_("recorded"), default=timezone.now)

    class Meta:
        verbose_name = _("event of libvirt")
        verbose_name_plural = _("events of libvirt")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["vm", "-occurred_at"], name="libvirt_event_by_vm"),
            models.Index(fields=["occurred_at"], name="libvirt_event_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.detail}".strip()


class ConfigChange(models.Model):
    """A change of a VM's settings: `changes` is {setting: [before, after]}. Texts that may hold secrets are lengths."""

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="config_changes", verbose_name=_("VM"))
    at = models.DateTimeField(_("at"), default=timezone.now)
    asked_by = models.CharField(_("asked by"), max_length=10, choices=ASKER_CHOICES)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    changes = models.JSONField(_("changes"))

    class Meta:
        verbose_name = _("change of settings")
        verbose_name_plural = _("changes of settings")
        ordering = ["-id"]
        indexes = [models.Index(fields=["vm", "-at"], name="config_change_by_vm")]

    def __str__(self) -> str:
        return ", ".join(self.changes)
