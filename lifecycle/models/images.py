"""Golden images."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Image(models.Model):
    """A bootable disk that VMs start from. Its file lives in the image store under `file_name`."""

    class Status(models.TextChoices):
        PENDING = "pending", _("being made")
        READY = "ready", _("ready")
        DEPRECATED = "deprecated", _("deprecated")
        FAILED = "failed", _("failed")

    name = models.SlugField(_("name"), max_length=63, unique=True)
    family = models.SlugField(_("family"), max_length=63)
    description = models.CharField(_("description"), max_length=200, blank=True, default="")
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
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
