"""Consoles: the tickets that open one, who had one open and when, and what serial ports said before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from lifecycle.models.projects import Project
from lifecycle.models.vms import VM

if TYPE_CHECKING:
    from lifecycle.models.accounts import User


class ConsoleKind(models.TextChoices):
    """What a console shows."""

    SERIAL = "serial", pgettext_lazy("console", "serial")
    SCREEN = "screen", pgettext_lazy("console", "screen")


class ConsoleTicket(models.Model):
    """Opens one console once, soon, for one person's session on one VM from one origin; only its hash is kept."""

    token_sha256 = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=ConsoleKind.choices)
    origin = models.CharField(max_length=300)
    session_sha256 = models.CharField(max_length=64)
    address = models.GenericIPAddressField(null=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("console ticket")
        verbose_name_plural = _("console tickets")
        indexes = [models.Index(fields=["expires_at"], name="console_ticket_by_expiry")]

    def __str__(self) -> str:
        return f"{self.kind} {self.vm_id}"


class ConsoleSessionQuerySet(models.QuerySet["ConsoleSession"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> ConsoleSessionQuerySet:
        """Sessions on VMs of the projects `user` may see."""
        return self.filter(project__in=Project.objects.visible_to(user))

    def open(self) -> ConsoleSessionQuerySet:
        """Those that have not ended."""
        return self.filter(closed_at__isnull=True)


class ConsoleSession(models.Model):
    """One person's console, from its opening to its end; kept as the audit of both."""

    class Ending(models.TextChoices):
        """Why a session ended."""

        LEFT = "left", _("the browser left")
        CUT = "cut", _("cut")
        SIGNED_OUT = "signed_out", _("the person's session ended")
        RIGHT_WITHDRAWN = "right_withdrawn", _("the right was withdrawn")
        VM_GONE = "vm_gone", _("the VM was deleted")
        VM_OFF = "vm_off", _("the VM was switched off")
        HOST_LOST = "host_lost", _("the host did not answer")
        NO_DEVICE = "no_device", _("the VM has no such device")
        TAKEN = "taken", _("another program on the host uses it")
        GATEWAY = "gateway", _("the gateway ended")

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="console_sessions", verbose_name=_("VM"))
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="console_sessions", verbose_name=_("project")
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    kind = models.CharField(_("console"), max_length=8, choices=ConsoleKind.choices)
    address = models.GenericIPAddressField(_("from the address"), null=True)
    opened_at = models.DateTimeField(_("opened"), default=timezone.now)
    seen_at = models.DateTimeField(_("seen open"), default=timezone.now)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)
    ending = models.CharField(_("ended because"), max_length=16, choices=Ending.choices, blank=True, default="")
    cut_at = models.DateTimeField(_("told to end"), null=True, blank=True)
    cut_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("cut by"),
    )
    bytes_shown = models.BigIntegerField(_("bytes shown"), default=0)
    bytes_typed = models.BigIntegerField(_("bytes typed"), default=0)

    objects = ConsoleSessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("console session")
        verbose_name_plural = _("console sessions")
        ordering = ["-opened_at", "-id"]
        indexes = [
            models.Index(fields=["vm", "-opened_at"], name="console_session_by_vm"),
            models.Index(fields=["seen_at"], condition=Q(closed_at__isnull=True), name="console_session_open"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, ending="") | (Q(closed_at__isnull=False) & ~Q(ending="")),
                name="a_closed_console_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.kind} {self.vm_id}"


class SerialChunk(models.Model):
    """A piece of a VM's serial output, in the order of ids; the last ones make at least KEPT_BYTES."""

    KEPT_BYTES = 1024 * 1024
    CHARACTERS = 32768

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="serial_chunks", verbose_name=_("VM"))
    text = models.TextField(_("output"))
    size_bytes = models.PositiveIntegerField(_("bytes"))
    began_at = models.DateTimeField(_("from"), default=timezone.now)
    ended_at = models.DateTimeField(_("to"), default=timezone.now)

    class Meta:
        verbose_name = _("piece of serial output")
        verbose_name_plural = _("pieces of serial output")
        ordering = ["vm", "id"]
        indexes = [models.Index(fields=["vm", "-id"], name="serial_chunk_by_vm")]

    def __str__(self) -> str:
        return f"{self.vm_id} ({self.size_bytes} B)"
