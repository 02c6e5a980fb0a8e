"""Findings: where a host and the record disagree and a person must choose."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.fleet import Host
from lifecycle.models.vms import VM


class Finding(models.Model):
    """One disagreement on one host, kept from when it was first seen until it is gone or a choice has settled it.

    `choice` is what a person chose; the reconciler of the host carries it out and closes the finding.
    `details` is what the page shows and the choice needs (a domain's name, size, disks; a volume's pool).
    """

    class Kind(models.TextChoices):
        FOREIGN_DOMAIN = "foreign_domain", _("domain that this installation did not make")
        ORPHANED_DOMAIN = "orphaned_domain", _("domain of this installation without a VM")
        MISSING_DOMAIN = "missing_domain", _("domain of a VM is missing")
        MISSING_DISK = "missing_disk", _("disk of a VM is missing")
        CHANGED_DEFINITION = "changed_definition", _("definition was changed outside")
        UNKNOWN_VOLUME = "unknown_volume", _("volume without a VM")
        BAD_IMAGE = "bad_image", _("golden image does not match its checksum")
        STATE = "state", _("state and host contradict each other")

    class Choice(models.TextChoices):
        NONE = "", _("not chosen yet")
        ADOPT = "adopt", _("adopt")
        IGNORE = "ignore", _("ignore")
        RECREATE = "recreate", _("recreate from the record")
        MARK_LOST = "mark_lost", _("mark as lost")
        ACCEPT = "accept", _("accept the change")
        RESTORE = "restore", _("restore the record's definition")
        DELETE = "delete", _("delete after quarantine")

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="findings", verbose_name=_("host"))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    subject = models.CharField(_("subject"), max_length=255)
    vm = models.ForeignKey(
        VM, on_delete=models.CASCADE, null=True, blank=True, related_name="findings", verbose_name=_("VM")
    )
    text = models.CharField(_("what was found"), max_length=500)
    details = models.JSONField(_("details"), default=dict, blank=True)
    first_seen_at = models.DateTimeField(_("first seen"), default=timezone.now)
    last_seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    choice = models.CharField(_("choice"), max_length=12, choices=Choice.choices, blank=True, default=Choice.NONE)
    choice_data = models.JSONField(_("particulars of the choice"), default=dict, blank=True)
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("chosen by"),
    )
    chosen_at = models.DateTimeField(_("chosen"), null=True, blank=True)
    due_at = models.DateTimeField(_("carried out from"), null=True, blank=True)
    problem = models.CharField(_("why it could not be carried out"), max_length=300, blank=True, default="")
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    closed_because = models.CharField(_("closed because"), max_length=200, blank=True, default="")

    class Meta:
        verbose_name = _("finding")
        verbose_name_plural = _("findings")
        ordering = ["-first_seen_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["host", "kind", "subject"],
                condition=Q(closed_at__isnull=True),
                name="one_open_finding_per_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"
