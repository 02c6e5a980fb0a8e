"""Golden images, and how they come in."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from lifecycle.models.accounts import User


class ImageQuerySet(models.QuerySet["Image"]):
    """Fetching is authorising: views start here."""

    def kept(self) -> ImageQuerySet:
        """Without those that were deleted."""
        return self.exclude(status=Image.Status.DELETED)

    def usable_in(self, project: Project) -> ImageQuerySet:
        """What VMs of a project may be made from: public images and its own."""
        return self.kept().filter(Q(project__isnull=True) | Q(project=project))

    def visible_to(self, user: User | AnonymousUser) -> ImageQuerySet:
        """Public images, and those of the projects `user` may see."""
        return self.kept().filter(Q(project__isnull=True) | Q(project__in=Project.objects.visible_to(user)))


class Kind(models.TextChoices):
    """What an image is to a VM."""

    DISK = "disk", _("disk")
    ISO = "iso", _("CD")


class Firmware(models.TextChoices):
    """What starts the guest's boot loader."""

    BIOS = "bios", "BIOS"
    UEFI = "uefi", "UEFI"


class Image(models.Model):
    """A bootable disk or CD that VMs start from. Its file lives in the image store under `file_name`.

    Public without a `project`. A deleted image stays as a row: VMs that are gone still name it.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("being made")
        READY = "ready", _("ready")
        DEPRECATED = "deprecated", _("deprecated")
        FAILED = "failed", _("failed")
        DELETED = "deleted", _("deleted")

    project = models.ForeignKey(
        Project,
        on_delete=models.PROTECT,
        related_name="images",
        null=True,
        blank=True,
        verbose_name=_("project"),
        help_text=_("Empty: for everybody."),
    )
    name = models.SlugField(_("name"), max_length=63)
    family = models.SlugField(_("family"), max_length=63)
    description = models.CharField(_("description"), max_length=200, blank=True, default="")
    kind = models.CharField(_("kind"), max_length=8, choices=Kind.choices, default=Kind.DISK, db_default="disk")
    firmware = models.CharField(
        _("firmware"), max_length=8, choices=Firmware.choices, default=Firmware.BIOS, db_default="bios"
    )
    format = models.CharField(_("format"), max_length=10, default="qcow2")
    architecture = models.CharField(_("architecture"), max_length=16, default="x86_64")
    size_bytes = models.BigIntegerField(_("size (bytes)"))
    virtual_size_bytes = models.BigIntegerField(_("disk size (bytes)"))
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    min_disk_gib = models.PositiveIntegerField(_("minimum disk (GiB)"), default=1)
    min_memory_mib = models.PositiveIntegerField(_("minimum memory (MiB)"), default=64)
    default_user = models.CharField(_("user"), max_length=32, default="root")
    file_name = models.CharField(_("file"), max_length=120)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.PENDING)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("imported by"),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = ImageQuerySet.as_manager()

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(project__isnull=True) & ~Q(status="deleted"),
                name="one_public_image_per_name",
            ),
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(project__isnull=False) & ~Q(status="deleted"),
                name="one_image_per_project_and_name",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ImageImport(models.Model):
    """An image on its way in: the row is the queue and the truth, as an operation's row is.

    A worker holds the lease (`token`, `lease_expires_at`); every write of it is conditional on the token. The bytes
    are in the image store as `<id>.part`: what is there when a worker dies is where the next one goes on.
    """

    class Source(models.TextChoices):
        URL = "url", _("address")
        UPLOAD = "upload", _("upload")

    class Status(models.TextChoices):
        UPLOADING = "uploading", _("being uploaded")
        WAITING = "waiting", _("waiting")
        RUNNING = "running", _("under way")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        CANCELLED = "cancelled", _("cancelled")

    class Phase(models.TextChoices):
        FETCH = "fetch", _("Fetch the file")
        CHECK = "check", _("Check the file")
        CONVERT = "convert", _("Convert it")
        STORE = "store", _("Put it into the store")

    OPEN = (Status.UPLOADING, Status.WAITING, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(
        Project,
        on_delete=models.CASCADE,
        related_name="image_imports",
        null=True,
        blank=True,
        verbose_name=_("project"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("asked by")
    )
    source = models.CharField(_("source"), max_length=8, choices=Source.choices)
    url = models.CharField(_("address"), max_length=2000, blank=True, default="")
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, default="")
    name = models.SlugField(_("name"), max_length=63)
    family = models.SlugField(_("family"), max_length=63)
    description = models.CharField(_("description"), max_length=200, blank=True, default="")
    firmware = models.CharField(_("firmware"), max_length=8, choices=Firmware.choices, default=Firmware.BIOS)
    default_user = models.CharField(_("user"), max_length=32, default="root")
    min_memory_mib = models.PositiveIntegerField(_("minimum memory (MiB)"), default=256)

    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.WAITING)
    phase = models.CharField(_("phase"), max_length=8, choices=Phase.choices, default=Phase.FETCH)
    done_bytes = models.BigIntegerField(_("bytes so far"), default=0)
    total_bytes = models.BigIntegerField(_("bytes in all"), null=True, blank=True)
    validator = models.CharField(_("version of the file at its address"), max_length=200, blank=True, default="")
    attempts = models.PositiveSmallIntegerField(_("failures in a row"), default=0)
    error = models.JSONField(_("error"), null=True, blank=True)
    image = models.ForeignKey(
        Image, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports", verbose_name=_("image")
    )
    token = models.UUIDField(_("lease"), null=True, blank=True)
    lease_expires_at = models.DateTimeField(_("lease ends"), null=True, blank=True)
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    created_at = models.DateTimeField(_("asked"), auto_now_add=True)
    touched_at = models.DateTimeField(_("last progress"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("image import")
        verbose_name_plural = _("image imports")
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["status", "due_at"], name="imports_that_are_due")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        """Whether it is still on its way."""
        return self.status in self.OPEN

    @property
    def percent(self) -> int | None:
        """How far the present phase is; None when that is not known."""
        if not self.total_bytes:
            return None
        return min(100, self.done_bytes * 100 // self.total_bytes)

    @property
    def part_name(self) -> str:
        """The file in the image store that takes the bytes."""
        return f"{self.id}.part"
