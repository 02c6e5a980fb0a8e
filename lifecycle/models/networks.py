"""One NAT network a project, and the addresses on it."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project


class Network(models.Model):
    """A project's network: its own bridge and range on every host, apart from every other project's."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="network", verbose_name=_("project"))
    name = models.CharField(_("name"), max_length=63, unique=True)
    bridge = models.CharField(_("bridge"), max_length=15, unique=True)
    cidr = models.CharField(_("range"), max_length=18, unique=True)

    class Meta:
        verbose_name = _("network")
        verbose_name_plural = _("networks")

    def __str__(self) -> str:
        return f"{self.name} ({self.cidr})"


class Address(models.Model):
    """An internal address. It stays with its VM for life and rests after release until DHCP has forgotten it."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="addresses", verbose_name=_("network"))
    ip = models.GenericIPAddressField(_("address"), protocol="IPv4")
    vm = models.OneToOneField(
        "lifecycle.VM",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="address",
        verbose_name=_("VM"),
    )
    released_at = models.DateTimeField(_("released"), null=True, blank=True)

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")
        constraints = [models.UniqueConstraint(fields=["network", "ip"], name="an_address_exists_once_per_network")]

    def __str__(self) -> str:
        return self.ip
