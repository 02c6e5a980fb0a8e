"""Metering intervals: what a VM was and had, what an image took, from when to when. Nothing is ever incremented."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.history import Transition
from lifecycle.models.images import Image
from lifecycle.models.projects import Project
from lifecycle.models.vms import STATE_CHOICES, VM


class MeteringInterval(models.Model):
    """The time a VM spent in one state with one shape: half-open [started_at, ended_at), without end while it lasts.

    Opened and closed in the transaction of the transition that begins and ends it; the intervals of a VM
    neither overlap nor leave a gap. What of it is billed follows from the state (LIFECYCLE's table).
    """

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="metering", verbose_name=_("VM"))
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="metering", verbose_name=_("project"))
    opened_by = models.ForeignKey(Transition, on_delete=models.PROTECT, related_name="+", verbose_name=_("opened by"))
    state = models.CharField(_("state"), max_length=12, choices=STATE_CHOICES)
    started_at = models.DateTimeField(_("from"))
    ended_at = models.DateTimeField(_("to"), null=True, blank=True)
    machine_type = models.CharField(_("machine type"), max_length=40)
    vcpus = models.PositiveSmallIntegerField(_("vCPUs"))
    memory_mib = models.PositiveIntegerField(_("memory (MiB)"))
    disk_gib = models.PositiveIntegerField(_("disk (GiB)"))
    # What prices go by, as it was then. Columns that came later have a default in the database.
    family = models.CharField(_("family"), max_length=20, blank=True, default="", db_default="")
    zone = models.CharField(_("zone"), max_length=40, blank=True, default="", db_default="")
    # As they were when it began, for the allocation of costs; of intervals from before this column nothing is known.
    labels = models.JSONField(_("labels"), null=True, blank=True)

    class Meta:
        verbose_name = _("metering interval")
        verbose_name_plural = _("metering intervals")
        ordering = ["-started_at", "-id"]
        indexes = [
            models.Index(fields=["vm", "started_at"], name="metering_by_vm"),
            models.Index(fields=["project", "started_at"], name="metering_by_project"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["vm"], condition=Q(ended_at__isnull=True), name="one_open_metering_interval_per_vm"
            ),
            models.UniqueConstraint(fields=["opened_by"], name="a_transition_opens_one_interval"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="a_metering_interval_has_no_negative_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.vm} {self.state} {self.started_at:%F %T}"


class ImageChange(models.Model):
    """What a project's image takes in the store from a moment on; append-only, as the log of transitions is.

    `size_mib` is rounded up to a whole MiB; None: the image is gone. Images for everybody have no log.
    """

    class Kind(models.TextChoices):
        READY = "ready", _("ready")
        FOUND = "found", _("found there")  # it was ready before images were metered
        DELETED = "deleted", _("deleted")

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="log", verbose_name=_("image"))
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", verbose_name=_("project"))
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices)
    size_mib = models.PositiveIntegerField(_("size (MiB)"), null=True, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    occurred_at = models.DateTimeField(_("occurred"))
    recorded_at = models.DateTimeField(_("recorded"), default=timezone.now)

    class Meta:
        verbose_name = _("change of an image")
        verbose_name_plural = _("changes of images")
        ordering = ["-id"]
        indexes = [models.Index(fields=["image", "-id"], name="image_changes_by_image")]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="deleted", size_mib__isnull=True)
                | (~Q(kind="deleted") & Q(size_mib__isnull=False, size_mib__gte=0)),
                name="an_image_takes_storage_until_it_is_deleted",
            )
        ]

    def __str__(self) -> str:
        return f"{self.image} {self.kind}"


class ImageInterval(models.Model):
    """The time an image of a project took storage: half-open as a VM's, opened and closed by the rows of its log."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="metering", verbose_name=_("image"))
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="image_metering", verbose_name=_("project")
    )
    opened_by = models.ForeignKey(ImageChange, on_delete=models.PROTECT, related_name="+", verbose_name=_("opened by"))
    size_mib = models.PositiveIntegerField(_("size (MiB)"))
    started_at = models.DateTimeField(_("from"))
    ended_at = models.DateTimeField(_("to"), null=True, blank=True)

    class Meta:
        verbose_name = _("metering of an image")
        verbose_name_plural = _("metering of images")
        ordering = ["-started_at", "-id"]
        indexes = [
            models.Index(fields=["image", "started_at"], name="image_metering_by_image"),
            models.Index(fields=["project", "started_at"], name="image_metering_by_project"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["image"], condition=Q(ended_at__isnull=True), name="one_open_interval_per_image"
            ),
            models.UniqueConstraint(fields=["opened_by"], name="a_change_of_an_image_opens_one_interval"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="an_image_interval_has_no_negative_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.image} {self.started_at:%F %T}"
