"""Operations: the queue and the truth of what is under way."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.transitions import Action, Asker, may_cancel
from lifecycle.models.projects import Project
from lifecycle.models.vms import VM

ACTION_CHOICES = [(a.value, a.value) for a in Action]
ASKER_CHOICES = [(a.value, a.value) for a in Asker]


class Operation(models.Model):
    """One piece of work on a VM, run step by step under a lease.

    `lease_token` rises at every acquisition and is the fencing token: a step's write is conditional on it.
    `data` is the steps' memory from one run to the next.
    """

    class Status(models.TextChoices):
        PENDING = "PENDING", _("pending")
        RUNNING = "RUNNING", _("running")
        DONE = "DONE", _("done")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="operations", verbose_name=_("project"))
    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="operations", verbose_name=_("VM"))
    target_name = models.CharField(_("target"), max_length=63)
    action = models.CharField(_("action"), max_length=20, choices=ACTION_CHOICES)
    asked_by = models.CharField(_("asked by"), max_length=10, choices=ASKER_CHOICES, default=Asker.USER)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    request_id = models.UUIDField(_("request id"), null=True, blank=True)

    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.PENDING)
    progress = models.PositiveSmallIntegerField(_("progress (%)"), default=0)
    insert_time = models.DateTimeField(_("requested"), default=timezone.now)
    start_time = models.DateTimeField(_("started"), null=True, blank=True)
    end_time = models.DateTimeField(_("ended"), null=True, blank=True)
    error = models.JSONField(_("error"), null=True, blank=True)
    hidden_from_api = models.BooleanField(
        _("deleted through the API"),
        default=False,
        db_default=False,
        help_text=_("Its answers do not show it any more; the history here stays."),
    )
    preempted_by = models.OneToOneField(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="preempts",
        verbose_name=_("preempted by"),
    )

    cancel_time = models.DateTimeField(_("cancelled"), null=True, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("cancelled by")
    )

    vm_fence = models.PositiveIntegerField(_("fencing counter of the VM"), default=0)
    undoing = models.BooleanField(_("undoing"), default=False)
    step_index = models.PositiveSmallIntegerField(_("step"), default=0)
    step_started_at = models.DateTimeField(_("step started"), null=True, blank=True)
    step_failures = models.PositiveIntegerField(_("failures of this step"), default=0)
    data = models.JSONField(_("memory of the steps"), default=dict, blank=True)
    lease_owner = models.CharField(_("worker"), max_length=100, blank=True, default="")
    lease_token = models.PositiveIntegerField(_("lease token"), default=0)
    lease_until = models.DateTimeField(_("lease until"), null=True, blank=True)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    recovered = models.PositiveIntegerField(_("recovered after worker loss"), default=0)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        ordering = ["-insert_time"]
        indexes = [
            models.Index(fields=["project", "-insert_time"], name="operation_by_project"),
            models.Index(fields=["due_at"], condition=~Q(status="DONE"), name="operation_open_and_due"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["vm"], condition=~Q(status="DONE"), name="one_open_operation_per_vm"),
            models.UniqueConstraint(
                fields=["project", "request_id"],
                condition=Q(request_id__isnull=False),
                name="one_operation_per_request_id",
            ),
            models.CheckConstraint(condition=Q(progress__lte=100), name="progress_is_a_percentage"),
            models.CheckConstraint(
                condition=Q(status="DONE", end_time__isnull=False) | (~Q(status="DONE") & Q(end_time__isnull=True)),
                name="an_operation_is_done_when_it_has_an_end",
            ),
            models.CheckConstraint(
                condition=Q(end_time__isnull=True) | Q(end_time__gte=F("insert_time")),
                name="an_operation_ends_after_its_request",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}"

    @property
    def seconds_at_step(self) -> float:
        """How long its present step has been under way; 0 before the first."""
        now = timezone.now()
        return (now - (self.step_started_at or now)).total_seconds()

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or with an error."""
        return self.status == self.Status.DONE

    @property
    def can_be_cancelled(self) -> bool:
        """Whether a cancel would still turn it round."""
        turned = self.undoing or self.cancel_time is not None
        return not (self.is_done or turned) and may_cancel(Action(self.action))

    @property
    def is_being_cancelled(self) -> bool:
        """Whether somebody cancelled it and it has not ended yet."""
        return self.cancel_time is not None and not self.is_done


class OperationStep(models.Model):
    """What became of one step; written by the engine, read by people."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("under way")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        UNDONE = "undone", _("undone")
        SKIPPED = "skipped", _("skipped")

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    index = models.PositiveSmallIntegerField(_("number"))
    name = models.CharField(_("name"), max_length=40)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.WAITING)
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    detail = models.CharField(_("detail"), max_length=500, blank=True, default="")

    class Meta:
        verbose_name = _("operation step")
        verbose_name_plural = _("operation steps")
        ordering = ["operation", "index"]
        constraints = [models.UniqueConstraint(fields=["operation", "index"], name="a_step_stands_once")]

    def __str__(self) -> str:
        return self.name
