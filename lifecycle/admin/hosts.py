"""Hosts and zones."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from lifecycle.admin.base import (
    BaseAdmin,
    SettingsAdmin,
    badge,
    cpu_meter,
    disk_meter,
    link_to,
    list_url,
    memory_meter,
    outcome,
)
from lifecycle.admin.filters import KeptOut
from lifecycle.domain.errors import DomainError
from lifecycle.labels import refusal_text, retold
from lifecycle.models import VM, Host, Zone
from lifecycle.services import operators

_HEALTH: dict[str, str] = {Host.Health.UP: "success", Host.Health.DOWN: "danger"}
_ACCELERATION = {"kvm": "success", "qemu": "warning"}


class HostForm(ModelForm[Host]):
    """Says beside the field which limit is too low."""

    def clean(self) -> dict[str, Any]:
        """Check the limits as they would be."""
        cleaned = super().clean() or {}
        if not self.errors:
            for name, value in cleaned.items():
                setattr(self.instance, name, value)
            try:
                operators.check_limits(self.instance)
            except DomainError as error:
                self.add_error(error.field, refusal_text(error))
        return cleaned


@admin.register(Host)
class HostAdmin(BaseAdmin):
    """Hosts are registered by `register_host`, which tries them out; here people look and set limits."""

    form = HostForm
    list_display = [
        "name",
        "zone",
        "shown_health",
        "placement",
        "acceleration",
        "cpus",
        "memory",
        "disk",
        "vms",
    ]
    list_filter = ["health", "schedulable", KeptOut, "domain_type", "zone"]
    search_fields = ["name", "uri"]
    list_select_related = ["zone"]
    ordering = ["name"]
    actions = ["take_in", "take_out"]
    fieldsets = [
        (None, {"fields": ["name", "uri", "zone", "schedulable"]}),
        (
            _("Health"),
            {"fields": ["shown_health", "why_unhealthy", "last_seen_at", "acceleration", "why_so"]},
        ),
        (_("Capacity"), {"fields": ["cpus", "memory", "disk", "vms"]}),
        (
            _("Limits"),
            {
                "fields": [
                    *("memory_mib_kept", "cpu_overcommit_percent"),
                    *("memory_overcommit_percent", "disk_overcommit_percent"),
                ]
            },
        ),
        (
            _("Observed"),
            {
                "fields": [
                    *("architecture", "vcpus_total", "memory_mib_total", "disk_gib_total"),
                    *("libvirt_version", "hypervisor_version", "created_at"),
                ]
            },
        ),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A host is added by the command that tries it out."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Host | None = None) -> bool:
        """A host stays: its VMs' history names it."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Host | None = None) -> list[str]:
        """All but the settings: totals are observed, reservations are the product's."""
        shown = [name for _title, part in self.fieldsets for name in part["fields"]]
        return [name for name in shown if name not in operators.HOST_SETTINGS]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        """With the number of VMs on each host."""
        counted = Count("vms", filter=Q(vms__deleted_at__isnull=True))
        found: QuerySet[Host] = super().get_queryset(request).annotate(vm_count=counted)
        return found

    def save_model(self, request: HttpRequest, obj: Host, form: ModelForm[Host], change: bool) -> None:
        """Through the service, which checks again under a lock."""
        operators.change_host(obj, form.changed_data)

    @display(description=_("health"), ordering="health")
    def shown_health(self, host: Host) -> SafeString:
        """Up, down, or not seen yet."""
        return badge(host.get_health_display(), _HEALTH.get(host.health, ""))

    @display(description=_("new VMs"), ordering="schedulable")
    def placement(self, host: Host) -> SafeString:
        """Whether it takes new VMs."""
        if not host.schedulable:
            return badge(gettext("refused"), "warning")
        if host.kept_out_until and host.kept_out_until > timezone.now():
            until = time_format(timezone.localtime(host.kept_out_until))
            return badge(gettext("refused until %(time)s, after too many repairs") % {"time": until}, "danger")
        return badge(gettext("taken"), "success")

    @display(description=_("acceleration"), ordering="domain_type")
    def acceleration(self, host: Host) -> SafeString:
        """KVM or emulation, and why on the mouse and below."""
        name = gettext("KVM") if host.domain_type == "kvm" else gettext("emulation")
        return format_html('<span title="{}">{}</span>', retold(host.domain_type_reason), name)

    @display(description=_("why"))
    def why_so(self, host: Host) -> str:
        """Why it is accelerated, or not."""
        return retold(host.domain_type_reason) or "–"

    @display(description=_("reason"))
    def why_unhealthy(self, host: Host) -> str:
        """Why it does not answer."""
        return retold(host.health_reason) or "–"

    @display(description=_("vCPUs"))
    def cpus(self, host: Host) -> SafeString:
        """Reserved of the limit."""
        return cpu_meter(host)

    @display(description=_("memory"))
    def memory(self, host: Host) -> SafeString:
        """Reserved of the limit."""
        return memory_meter(host)

    @display(description=_("disk"))
    def disk(self, host: Host) -> SafeString:
        """Reserved of the limit."""
        return disk_meter(host)

    @display(description=_("VMs"), ordering="vm_count")
    def vms(self, host: Host) -> SafeString:
        """How many VMs it holds, with the way there."""
        return link_to(list_url(VM, host__id__exact=host.pk), str(host.vm_count))  # type: ignore[attr-defined]

    @action(description=_("Take new VMs"), permissions=["change"])
    def take_in(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        """Into placement, also where too many repairs keep it out for a while."""
        outcome(request, queryset, lambda host: self._place(request, host, on=True))

    @action(description=_("Take no new VMs"), permissions=["change"])
    def take_out(self, request: HttpRequest, queryset: QuerySet[Host]) -> None:
        """Out of placement; its VMs stay where they are."""
        outcome(request, queryset, lambda host: self._place(request, host, on=False))

    def _place(self, request: HttpRequest, host: Host, *, on: bool) -> str:
        text = gettext("takes new VMs.") if on else gettext("keeps its VMs and gets no new ones.")
        if operators.set_schedulable(host, on):
            self.log_change(request, host, text)
        return text


@admin.register(Zone)
class ZoneAdmin(SettingsAdmin):
    """Places with hosts that fail together."""

    list_display = ["name", "title", "hosts"]
    search_fields = ["name", "title"]
    fields = ["name", "title"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Zone]:
        """With each zone's hosts."""
        found: QuerySet[Zone] = super().get_queryset(request).prefetch_related("hosts")
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: Zone | None = None) -> list[str]:
        """A zone keeps its name: requests name it."""
        return ["name"] if obj else []

    @display(description=_("hosts"))
    def hosts(self, zone: Zone) -> SafeString | str:
        """Its hosts, with the way there."""
        return format_html_join(", ", "{}", ((host.name,) for host in zone.hosts.all())) or "–"
