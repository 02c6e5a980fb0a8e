"""Repair records: why a VM was in REPAIRING, what was tried, by whom, and how it ended."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.fleet import Host
from lifecycle.models.operations import ASKER_CHOICES, Operation
from lifecycle.models.vms import STATE_CHOICES, VM

#: A VM with so many repairs opened within the window is flapping.
FLAPPING_REPAIRS = 3
FLAPPING_WINDOW = timedelta(days=1)


class Repair(models.Model):
    """One stay of a VM in REPAIRING. Opened and closed with the state, in the same transaction.

    Attributes:
        opened_at: the last proof of life or the moment libvirt told; billing and SLA stop there.
        operation: the repair operation at work on it, or the last one that was.
        event: libvirt's words (kind, detail), as far as an event told.
    """

    class Cause(models.TextChoices):
        CRASH = "crash", _("the QEMU process died")
        PANIC = "panic", _("the guest's kernel panicked")
        WATCHDOG = "watchdog", _("the guest's watchdog fired")
        IO_ERROR = "io_error", _("paused by a disk error")
        FOUND_OFF = "found_off", _("found off after a restart of its host")
        HOST_ERROR = "host_error", _("its host does not answer")
        REPORTED = "reported", _("reported faulty by an operator")

    class Outcome(models.TextChoices):
        OPEN = "", _("open")
        RESTARTED = "restarted", _("started again")
        UNTOUCHED = "untouched", _("it still ran")
        GAVE_UP = "gave_up", _("given up")
        NOT_RESTARTED = "not_restarted", _("not restarted: automatic restart is off")
        STOPPED = "stopped", _("stopped by its user")
        DELETED = "deleted", _("deleted by its user")
        CLOSED = "closed", _("closed by an operator")

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="repairs", verbose_name=_("VM"))
    host = models.ForeignKey(
        Host, on_delete=models.SET_NULL, null=True, blank=True, related_name="repairs", verbose_name=_("host")
    )
    operation = models.ForeignKey(
        Operation,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="repairs",
        verbose_name=_("operation"),
    )
    cause = models.CharField(_("cause"), max_length=12, choices=Cause.choices)
    summary = models.CharField(_("what happened"), max_length=300)
    prior_state = models.CharField(_("state before"), max_length=12, choices=STATE_CHOICES)
    event = models.CharField(_("event of libvirt"), max_length=200, blank=True, default="")
    qemu_log = models.TextField(_("end of QEMU's log"), blank=True, default="")
    serial_tail = models.TextField(_("end of the serial output"), blank=True, default="")
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    opened_by = models.CharField(_("opened by"), max_length=10, choices=ASKER_CHOICES)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("reported by"),
    )
    opened_at = models.DateTimeField(_("since"))
    closed_at = models.DateTimeField(_("ended"), null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices, blank=True, default=Outcome.OPEN)
    outcome_text = models.CharField(_("how it ended"), max_length=300, blank=True, default="")

    class Meta:
        verbose_name = _("repair")
        verbose_name_plural = _("repairs")
        ordering = ["-opened_at", "-id"]
        indexes = [models.Index(fields=["vm", "-opened_at"], name="repair_by_vm")]
        constraints = [
            models.UniqueConstraint(fields=["vm"], condition=Q(closed_at__isnull=True), name="one_open_repair_per_vm"),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, outcome="") | (Q(closed_at__isnull=False) & ~Q(outcome="")),
                name="a_repair_has_an_outcome_when_it_is_closed",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("opened_at")),
                name="a_repair_ends_after_its_beginning",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.vm}: {self.get_cause_display()}"

    @property
    def is_open(self) -> bool:
        """Whether the VM is still in REPAIRING for it."""
        return self.closed_at is None


class RepairEntry(models.Model):
    """A line of a repair's log; append-only."""

    class Kind(models.TextChoices):
        OPENED = "opened", _("opened")
        ATTEMPT = "attempt", _("attempt")
        FAILED = "failed", _("attempt failed")
        NOTE = "note", _("note")
        RETRY = "retry", _("tried again by hand")
        GIVE_UP = "give_up", _("given up by hand")
        CLOSED = "closed", _("closed")

    repair = models.ForeignKey(Repair, on_delete=models.CASCADE, related_name="entries", verbose_name=_("repair"))
    at = models.DateTimeField(_("at"), default=timezone.now)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    asked_by = models.CharField(_("by"), max_length=10, choices=ASKER_CHOICES)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    text = models.CharField(_("text"), max_length=1000, blank=True, default="")

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("log")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Cleanup(models.Model):
    """What a deleted VM left on a host that did not answer: removed when the host is back."""

    vm = models.OneToOneField(VM, on_delete=models.PROTECT, related_name="cleanup", verbose_name=_("VM"))
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="cleanups", verbose_name=_("host"))
    created_at = models.DateTimeField(_("since"), default=timezone.now)
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        verbose_name = _("cleanup")
        verbose_name_plural = _("cleanups")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["host"], condition=Q(done_at__isnull=True), name="cleanup_open_by_host")]

    def __str__(self) -> str:
        return f"{self.vm} on {self.host}"
