"""Zones, hosts, machine types and what is reserved on each host."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Zone(models.Model):
    """A place with hosts that fail together."""

    name = models.SlugField(_("name"), max_length=40, unique=True)
    title = models.CharField(_("title"), max_length=100, blank=True, default="")

    class Meta:
        verbose_name = _("zone")
        verbose_name_plural = _("zones")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MachineType(models.Model):
    """A shape of VM."""

    name = models.SlugField(_("name"), max_length=40, unique=True)
    family = models.CharField(_("family"), max_length=20)
    vcpus = models.PositiveSmallIntegerField(_("vCPUs"))
    memory_mib = models.PositiveIntegerField(_("memory (MiB)"))
    cpu_quota_percent = models.PositiveSmallIntegerField(
        _("CPU limit (% of one core, per vCPU)"),
        null=True,
        blank=True,
        help_text=_("Empty: no limit. Shared-core machine types have one."),
    )
    is_default = models.BooleanField(_("default"), default=False)
    retired = models.BooleanField(_("retired"), default=False, help_text=_("Not offered for new VMs."))

    class Meta:
        verbose_name = _("machine type")
        verbose_name_plural = _("machine types")
        ordering = ["vcpus", "memory_mib", "name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(vcpus__gte=1, memory_mib__gte=64), name="a_machine_type_has_cpu_and_memory"
            ),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="one_default_machine_type"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Host(models.Model):
    """A machine that runs libvirt. Totals are observed; reserved amounts are ours and never above the limits."""

    class Health(models.TextChoices):
        UNKNOWN = "unknown", _("not seen yet")
        UP = "up", _("up")
        DOWN = "down", _("does not answer")

    name = models.SlugField(_("name"), max_length=63, unique=True)
    zone = models.ForeignKey(Zone, on_delete=models.PROTECT, related_name="hosts", verbose_name=_("zone"))
    uri = models.CharField(_("libvirt URI"), max_length=255, unique=True)
    schedulable = models.BooleanField(
        _("takes new VMs"), default=True, help_text=_("Switched off, the host keeps its VMs and gets no new ones.")
    )
    health = models.CharField(_("health"), max_length=8, choices=Health.choices, default=Health.UNKNOWN)
    health_reason = models.CharField(_("reason"), max_length=300, blank=True, default="")
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    down_since = models.DateTimeField(_("tried in vain since"), null=True, blank=True)
    kept_out_until = models.DateTimeField(
        _("gets no new VMs until"), null=True, blank=True, help_text=_("Set by the product: too many repairs lately.")
    )

    architecture = models.CharField(_("architecture"), max_length=16, default="x86_64")
    vcpus_total = models.PositiveIntegerField(_("CPUs"), default=0)
    memory_mib_total = models.PositiveIntegerField(_("memory (MiB)"), default=0)
    disk_gib_total = models.PositiveIntegerField(_("disk (GiB)"), default=0)
    memory_mib_kept = models.PositiveIntegerField(
        _("memory kept for the host (MiB)"), default=1024, help_text=_("Never given to VMs.")
    )
    cpu_overcommit_percent = models.PositiveIntegerField(_("CPU overcommit (%)"), default=800)
    memory_overcommit_percent = models.PositiveIntegerField(_("memory overcommit (%)"), default=100)
    disk_overcommit_percent = models.PositiveIntegerField(_("disk overcommit (%)"), default=200)
    vcpus_reserved = models.PositiveIntegerField(_("vCPUs reserved"), default=0)
    memory_mib_reserved = models.PositiveIntegerField(_("memory reserved (MiB)"), default=0)
    disk_gib_reserved = models.PositiveIntegerField(_("disk reserved (GiB)"), default=0)

    domain_type = models.CharField(_("acceleration"), max_length=8, default="qemu")
    domain_type_reason = models.CharField(_("why"), max_length=300, blank=True, default="")
    libvirt_version = models.CharField(_("libvirt version"), max_length=20, blank=True, default="")
    hypervisor_version = models.CharField(_("QEMU version"), max_length=20, blank=True, default="")
    created_at = models.DateTimeField(_("registered"), auto_now_add=True)

    class Meta:
        verbose_name = _("host")
        verbose_name_plural = _("hosts")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(vcpus_reserved=0)
                | Q(vcpus_reserved__lte=F("vcpus_total") * F("cpu_overcommit_percent") / 100),
                name="vcpus_reserved_are_within_the_host_limit",
            ),
            models.CheckConstraint(
                condition=Q(memory_mib_reserved=0)
                | Q(
                    memory_mib_reserved__lte=(F("memory_mib_total") - F("memory_mib_kept"))
                    * F("memory_overcommit_percent")
                    / 100
                ),
                name="memory_reserved_is_within_the_host_limit",
            ),
            models.CheckConstraint(
                condition=Q(disk_gib_reserved=0)
                | Q(disk_gib_reserved__lte=F("disk_gib_total") * F("disk_overcommit_percent") / 100),
                name="disk_reserved_is_within_the_host_limit",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def vcpus_limit(self) -> int:
        """vCPUs that may be reserved in all."""
        return self.vcpus_total * self.cpu_overcommit_percent // 100

    @property
    def memory_mib_limit(self) -> int:
        """Memory that may be reserved in all, in MiB."""
        return max(0, self.memory_mib_total - self.memory_mib_kept) * self.memory_overcommit_percent // 100

    @property
    def disk_gib_limit(self) -> int:
        """Disk that may be reserved in all, in GiB."""
        return self.disk_gib_total * self.disk_overcommit_percent // 100


class Reservation(models.Model):
    """What one VM holds on a host. Compute goes back to zero when the VM stops; the disk stays."""

    vm = models.OneToOneField("lifecycle.VM", on_delete=models.CASCADE, related_name="reservation")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="reservations")
    vcpus = models.PositiveIntegerField(_("vCPUs"))
    memory_mib = models.PositiveIntegerField(_("memory (MiB)"))
    disk_gib = models.PositiveIntegerField(_("disk (GiB)"))

    class Meta:
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")

    def __str__(self) -> str:
        return f"{self.vm} on {self.host}"


class HostLease(models.Model):
    """Which process watches, records or collects on a host; it expires by itself."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="leases")
    purpose = models.CharField(max_length=20)
    owner = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("host lease")
        verbose_name_plural = _("host leases")
        constraints = [models.UniqueConstraint(fields=["host", "purpose"], name="one_lease_per_host_and_purpose")]

    def __str__(self) -> str:
        return f"{self.purpose} of {self.host}: {self.owner}"
