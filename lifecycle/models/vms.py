"""VMs, their disks and what their serial ports said."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.findings import boot_volume
from lifecycle.domain.guests import HOST_ERROR_TIMEOUTS
from lifecycle.domain.states import Power, State
from lifecycle.models.fleet import Host, MachineType, Zone
from lifecycle.models.images import Firmware, Image, Kind
from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from lifecycle.models.accounts import User

STATE_CHOICES = [(s.value, s.value) for s in State]
POWER_CHOICES = [(p.value, p.value) for p in Power]

#: States in which a VM is on a host by definition.
PLACED = [State.STAGING, State.RUNNING, State.SUSPENDING, State.SUSPENDED]


class VMQuerySet(models.QuerySet["VM"]):
    """Fetching is authorising: views start here."""

    def live(self) -> VMQuerySet:
        """Without tombstones."""
        return self.filter(deleted_at__isnull=True)

    def visible_to(self, user: User | AnonymousUser) -> VMQuerySet:
        """VMs of the projects `user` may see."""
        return self.filter(project__in=Project.objects.visible_to(user))


class VM(models.Model):
    """A virtual machine.

    Three things are kept apart: `state` (its lifecycle; written by `services.transitions.move` only), the
    open operation (rows of `Operation`), and `power` (what the hypervisor last reported).
    `fence` rises when an operation is preempted. A deleted VM stays as a tombstone (`deleted_at`).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="vms", verbose_name=_("project"))
    name = models.CharField(_("name"), max_length=63)
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="vms", verbose_name=_("zone"))
    host = models.ForeignKey(
        Host, on_delete=models.PROTECT, related_name="vms", null=True, blank=True, verbose_name=_("host")
    )
    machine_type = models.ForeignKey(
        MachineType, on_delete=models.PROTECT, related_name="vms", verbose_name=_("machine type")
    )
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="vms", verbose_name=_("image"))

    state = models.CharField(_("state"), max_length=12, choices=STATE_CHOICES, default=State.PROVISIONING)
    state_reason = models.CharField(_("reason"), max_length=300, blank=True, default="")
    state_since = models.DateTimeField(_("since"), default=timezone.now)
    power = models.CharField(_("observed power"), max_length=8, choices=POWER_CHOICES, default=Power.UNKNOWN)
    power_seen_at = models.DateTimeField(_("observed"), null=True, blank=True)
    run_id = models.IntegerField(_("run"), null=True, blank=True)
    fence = models.PositiveIntegerField(_("fencing counter"), default=0)

    firmware = models.CharField(
        _("firmware"), max_length=8, choices=Firmware.choices, default=Firmware.BIOS, db_default="bios"
    )
    # What its definition has in the CD drive, and what it gets at its next start: until then the two may differ.
    cdrom = models.ForeignKey(
        Image, on_delete=models.PROTECT, related_name="+", null=True, blank=True, verbose_name=_("CD in the drive")
    )
    next_cdrom = models.ForeignKey(
        Image,
        on_delete=models.PROTECT,
        related_name="in_drives",
        null=True,
        blank=True,
        verbose_name=_("CD at the next start"),
    )
    vcpus = models.PositiveSmallIntegerField(_("vCPUs"))
    memory_mib = models.PositiveIntegerField(_("memory (MiB)"))
    cpu_quota_percent = models.PositiveSmallIntegerField(null=True, blank=True)
    mac = models.CharField(_("MAC address"), max_length=17)
    address_seen_at = models.DateTimeField(_("address seen in use"), null=True, blank=True)

    ssh_keys = models.TextField(_("SSH keys"), blank=True, default="")
    use_project_keys = models.BooleanField(
        _("with the project's SSH keys"),
        default=True,
        db_default=True,
        help_text=_("The keys that the project has at each start are put into the guest's settings."),
    )
    key_people = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="+", blank=True, verbose_name=_("people whose SSH keys are put in")
    )
    host_keys = models.JSONField(
        _("host keys as printed"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Fingerprints of the guest's own SSH keys, read from its serial output."),
    )
    host_keys_seen_at = models.DateTimeField(_("host keys printed"), null=True, blank=True, editable=False)
    startup_script = models.TextField(_("startup script"), blank=True, default="")
    user_data = models.TextField(_("user data"), blank=True, default="")
    # As it was given to the API, `ssh-keys`, `startup-script` and `user-data` included: see services.vm_metadata.
    metadata = models.JSONField(
        _("metadata"), default=dict, blank=True, db_default=models.Value({}, models.JSONField()), editable=False
    )
    tags = models.JSONField(
        _("network tags"), default=list, blank=True, db_default=models.Value([], models.JSONField()), editable=False
    )
    automatic_restart = models.BooleanField(_("automatic restart"), default=True)
    # Columns that came later have a default in the database: processes of the version before still insert.
    host_error_timeout_seconds = models.PositiveSmallIntegerField(
        _("host error timeout (s)"),
        default=90,
        db_default=90,
        help_text=_("How long its host may be silent: 90 to 330, in steps of 30."),
    )
    stop_grace_seconds = models.PositiveIntegerField(_("grace period at stop (s)"), default=90)
    deletion_protection = models.BooleanField(_("deletion protection"), default=False)
    adopted = models.BooleanField(
        _("adopted"),
        default=False,
        db_default=False,
        help_text=_("Its domain was made by others: its definition and disks stay theirs."),
    )
    definition = models.JSONField(
        _("definition kept"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("What its domain was when it was adopted or its change accepted; empty: the record defines it."),
    )
    #: As Compute Engine's labels; `label_text` is the same for searching. Both are written by `services.vm_details`.
    labels = models.JSONField(_("labels"), default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    label_text = models.TextField(_("labels, for searching"), blank=True, default="", db_default="", editable=False)
    notes = models.TextField(_("notes"), blank=True, default="", db_default="")
    lost_at = models.DateTimeField(_("declared lost"), null=True, blank=True)
    expiry_noticed_at = models.DateTimeField(_("told of the end of its suspension"), null=True, blank=True)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("created by")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    last_started_at = models.DateTimeField(_("last started"), null=True, blank=True)
    resized_at = models.DateTimeField(_("size changed"), null=True, blank=True, editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)

    objects = VMQuerySet.as_manager()

    class Meta:
        verbose_name = _("VM")
        verbose_name_plural = _("VMs")
        ordering = ["name"]
        indexes = [
            models.Index(fields=["project", "deleted_at", "name"], name="vm_by_project_and_name"),
            models.Index(fields=["host", "deleted_at"], name="vm_by_host"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(deleted_at__isnull=True), name="one_live_vm_per_name"
            ),
            models.UniqueConstraint(fields=["mac"], condition=Q(deleted_at__isnull=True), name="one_live_vm_per_mac"),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in State]), name="a_vm_state_is_known"),
            models.CheckConstraint(
                condition=~Q(state__in=[s.value for s in PLACED]) | Q(host__isnull=False) | Q(deleted_at__isnull=False),
                name="a_vm_with_a_domain_has_a_host",
            ),
            models.CheckConstraint(condition=Q(vcpus__gte=1, memory_mib__gte=64), name="a_vm_has_cpu_and_memory"),
            models.CheckConstraint(
                condition=Q(host_error_timeout_seconds__in=list(HOST_ERROR_TIMEOUTS)),
                name="a_host_error_timeout_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def lifecycle_state(self) -> State:
        """`state` as the type the domain speaks."""
        return State(self.state)

    @property
    def made_from_cd(self) -> bool:
        """Whether its boot disk began empty, for a system to be installed on."""
        return self.image.kind == Kind.ISO

    @property
    def boot_order(self) -> tuple[str, ...]:
        """From its disk; from a CD in the drive before that, unless the VM is there to be installed from it.

        A VM made from a CD boots from it while its disk is empty, and from its disk once a system is on it.
        """
        if self.cdrom_id is None:
            return ("hd",)
        return ("hd", "cdrom") if self.made_from_cd else ("cdrom", "hd")

    @property
    def awaits_its_size(self) -> bool:
        """Whether its size was changed since its last start: its domain has the one before until the next."""
        if self.resized_at is None:
            return False
        return self.last_started_at is None or self.last_started_at < self.resized_at

    @property
    def domain_name(self) -> str:
        """The domain's name in libvirt: the installation, the VM's name, the start of its id."""
        return f"vmp-{settings.INSTALLATION_ID}-{self.name}-{str(self.id)[:8]}"

    @property
    def disk_volume(self) -> str:
        """The boot disk's volume."""
        return boot_volume(self.id)

    @property
    def seed_volume(self) -> str:
        """The seed's volume."""
        return f"{self.id}-seed.iso"

    @property
    def serial_volume(self) -> str:
        """The serial log's volume."""
        return f"{self.id}.log"


class Disk(models.Model):
    """A disk of a VM. `made_at` is set once it exists on the host: from then on its absence is a fault."""

    vm = models.ForeignKey(VM, on_delete=models.CASCADE, related_name="disks", verbose_name=_("VM"))
    name = models.CharField(_("name"), max_length=70)
    size_gib = models.PositiveIntegerField(_("size (GiB)"))
    boot = models.BooleanField(_("boot disk"), default=True)
    auto_delete = models.BooleanField(_("deleted with its VM"), default=True)
    volume = models.CharField(_("volume"), max_length=120)
    made_at = models.DateTimeField(_("made"), null=True, blank=True)

    class Meta:
        verbose_name = _("disk")
        verbose_name_plural = _("disks")
        constraints = [
            models.UniqueConstraint(fields=["vm"], condition=Q(boot=True), name="one_boot_disk_per_vm"),
            models.CheckConstraint(condition=Q(size_gib__gte=1), name="a_disk_has_a_size"),
        ]

    def __str__(self) -> str:
        return self.name


class SerialLog(models.Model):
    """The end of a VM's serial output, as recorded by the watcher."""

    KEPT_CHARACTERS = 65536

    vm = models.OneToOneField(VM, on_delete=models.CASCADE, related_name="serial_log", verbose_name=_("VM"))
    text = models.TextField(_("output"), default="")
    read_bytes = models.BigIntegerField(_("read so far (bytes)"), default=0)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("serial log")
        verbose_name_plural = _("serial logs")

    def __str__(self) -> str:
        return f"{self.vm} ({self.read_bytes} B)"
