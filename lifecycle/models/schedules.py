"""When VMs are started and stopped by the clock, what became of each due time, and which VMs look idle."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.schedules import ACTIONS, Rule
from lifecycle.models.operations import Operation
from lifecycle.models.vms import VM


class Schedule(models.Model):
    """Start or stop a VM at a time on some days of the week. `next_at` is when it is due next.

    `days` are digits, 0 is Monday. A due time is taken by the one conditional UPDATE that moves `next_at` on.
    """

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="schedules", verbose_name=_("VM"))
    action = models.CharField(_("action"), max_length=8, choices=[(a.value, a.value) for a in ACTIONS])
    at = models.TimeField(_("time"))
    days = models.CharField(_("days"), max_length=7)
    time_zone = models.CharField(_("time zone"), max_length=60)
    next_at = models.DateTimeField(_("due"))
    skip_next = models.BooleanField(_("skips the next time"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        ordering = ["at", "action", "id"]
        indexes = [models.Index(fields=["next_at"], name="schedule_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["vm", "action", "at", "days", "time_zone"], name="a_vm_has_a_schedule_once"
            ),
            models.CheckConstraint(
                condition=Q(action__in=[a.value for a in ACTIONS]), name="a_schedule_starts_or_stops"
            ),
            models.CheckConstraint(condition=~Q(days=""), name="a_schedule_has_days"),
        ]

    def __str__(self) -> str:
        return f"{self.vm} {self.action} {self.at:%H:%M}"

    @property
    def rule(self) -> Rule:
        """When it is due."""
        return Rule(self.at, frozenset(int(day) for day in self.days), ZoneInfo(self.time_zone))

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.time_zone)


class ScheduleRun(models.Model):
    """What became of one due time; append-only. A due time has one row."""

    class Outcome(models.TextChoices):
        ASKED = "asked", _("done")
        NOTHING = "nothing", _("nothing to do")
        SKIPPED = "skipped", _("skipped, as asked")
        MISSED = "missed", _("missed")
        REFUSED = "refused", _("refused")

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="schedule_runs", verbose_name=_("VM"))
    schedule = models.ForeignKey(
        Schedule, on_delete=models.SET_NULL, null=True, related_name="runs", verbose_name=_("schedule")
    )
    action = models.CharField(_("action"), max_length=8)
    due_at = models.DateTimeField(_("due"))
    at = models.DateTimeField(_("at"), default=timezone.now)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome.choices)
    error = models.JSONField(_("error"), null=True, blank=True)
    operation = models.ForeignKey(
        Operation, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("operation")
    )

    class Meta:
        verbose_name = _("run of a schedule")
        verbose_name_plural = _("runs of schedules")
        ordering = ["-due_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["schedule", "due_at"], name="a_due_time_is_taken_once")]

    def __str__(self) -> str:
        return f"{self.vm} {self.action} {self.due_at:%Y-%m-%d %H:%M}: {self.outcome}"


class IdleHint(models.Model):
    """A VM that has looked idle for days: what its busiest hour used. Gone when it is idle no more."""

    vm = models.OneToOneField(VM, on_delete=models.CASCADE, related_name="idle_hint", verbose_name=_("VM"))
    since = models.DateTimeField(_("idle since"))
    cpu_percent = models.FloatField(_("CPU (%)"))
    network = models.FloatField(_("network (bytes/s)"))
    looked_at = models.DateTimeField(_("last looked at"), default=timezone.now)
    dismissed_at = models.DateTimeField(_("dismissed"), null=True, blank=True)

    class Meta:
        verbose_name = _("hint of an idle VM")
        verbose_name_plural = _("hints of idle VMs")

    def __str__(self) -> str:
        return str(self.vm)
