"""Usage: what VMs, hosts and projects used, in spans of five minutes and of an hour.

A row holds all series of a span as 84 bytes (`lifecycle.domain.usage.Summary`). A span without samples has no row.
"""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from lifecycle.domain import usage
from lifecycle.models.fleet import Host
from lifecycle.models.projects import Project
from lifecycle.models.vms import VM

_A_LENGTH = Q(length__in=[usage.FIVE_MINUTES, usage.HOUR])


class Usage(models.Model):
    """What both tables have. `begin` is Unix time, a multiple of `length` (seconds)."""

    length = models.PositiveSmallIntegerField(_("length (s)"))
    begin = models.BigIntegerField(_("beginning (Unix time)"))
    packed = models.BinaryField(_("summary"))

    class Meta:
        abstract = True

    @property
    def summary(self) -> usage.Summary:
        """Lowest, mean and highest of each series."""
        return usage.unpack(bytes(self.packed))


class VMUsage(Usage):
    """What a VM used. No index of its own on the VM: the unique one begins with it."""

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="+", db_index=False, verbose_name=_("VM"))

    class Meta:
        verbose_name = _("usage of a VM")
        verbose_name_plural = _("usage of VMs")
        indexes = [models.Index(fields=["length", "begin"], name="vm_usage_by_age")]
        constraints = [
            models.UniqueConstraint(fields=["vm", "length", "begin"], name="one_usage_row_per_vm_and_span"),
            models.CheckConstraint(condition=_A_LENGTH, name="vm_usage_has_a_known_length"),
        ]

    def __str__(self) -> str:
        return f"{self.vm_id} {self.begin}+{self.length}"


class HostUsage(Usage):
    """What the VMs of a host used together; with `project`, those of one project there."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+", verbose_name=_("host"))
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("project")
    )

    class Meta:
        verbose_name = _("usage of a host")
        verbose_name_plural = _("usage of hosts")
        indexes = [models.Index(fields=["length", "begin"], name="host_usage_by_age")]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "project", "length", "begin"], name="one_usage_row_per_project_host_and_span"
            ),
            models.UniqueConstraint(
                fields=["host", "length", "begin"],
                condition=Q(project__isnull=True),
                name="one_usage_row_per_host_and_span",
            ),
            models.CheckConstraint(condition=_A_LENGTH, name="host_usage_has_a_known_length"),
        ]

    def __str__(self) -> str:
        return f"{self.host_id}/{self.project_id or '-'} {self.begin}+{self.length}"
