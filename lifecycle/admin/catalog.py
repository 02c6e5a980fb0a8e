"""What VMs are made of: machine types and images."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from lifecycle.admin.base import BaseAdmin, SettingsAdmin, badge, outcome
from lifecycle.domain.errors import DomainError
from lifecycle.domain.guests import check_shape
from lifecycle.labels import refusal_text, sized
from lifecycle.models import Image, MachineType
from lifecycle.services import operators

_IMAGE_STATUS: dict[str, str] = {
    Image.Status.READY: "success",
    Image.Status.PENDING: "info",
    Image.Status.FAILED: "danger",
    Image.Status.DEPRECATED: "warning",
}


class MachineTypeForm(forms.ModelForm[MachineType]):
    """Takes any whole number and says itself which are possible, with both ends."""

    vcpus = forms.IntegerField(label=_("vCPUs"), widget=UnfoldAdminIntegerFieldWidget)
    memory_mib = forms.IntegerField(label=_("memory (MiB)"), widget=UnfoldAdminIntegerFieldWidget)

    def clean(self) -> dict[str, Any]:
        """Check the size by the rule that requests are checked by."""
        cleaned = super().clean() or {}
        if {"vcpus", "memory_mib"} <= cleaned.keys():
            try:
                check_shape(cleaned["vcpus"], cleaned["memory_mib"])
            except DomainError as error:
                self.add_error(error.field, refusal_text(error))
        return cleaned


@admin.register(MachineType)
class MachineTypeAdmin(SettingsAdmin):
    """Shapes of VMs."""

    form = MachineTypeForm
    list_display = ["name", "family", "vcpus", "memory_mib", "cpu_quota_percent", "is_default", "retired", "vms"]
    list_filter = ["family", "retired"]
    search_fields = ["name", "family"]
    ordering = ["vcpus", "memory_mib", "name"]
    actions = ["make_default", "retire", "offer"]
    fields = ["name", "family", "vcpus", "memory_mib", "cpu_quota_percent", "is_default", "retired"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[MachineType]:
        """With the number of VMs of each type."""
        found: QuerySet[MachineType] = (
            super()
            .get_queryset(request)
            .annotate(vm_count=Count("vms", filter=Q(vms__deleted_at__isnull=True)), ever=Count("vms"))
        )
        return found

    def get_readonly_fields(self, request: HttpRequest, obj: MachineType | None = None) -> list[str]:
        """The default and the offer change by actions; name and size are fixed once a VM has the type."""
        fixed = ["is_default", "retired"]
        if obj is not None:
            fixed.append("name")
        if obj is not None and obj.vms.exists():
            fixed += ["vcpus", "memory_mib", "cpu_quota_percent"]
        return fixed

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        """Through the service, which checks the size and that no VM has it."""
        operators.save_machine_type(obj, form.changed_data)

    @display(description=_("VMs"), ordering="vm_count")
    def vms(self, machine_type: MachineType) -> int:
        """How many VMs have it now."""
        return machine_type.vm_count  # type: ignore[attr-defined,no-any-return]

    @action(description=_("Make the default"), permissions=["change"])
    def make_default(self, request: HttpRequest, queryset: QuerySet[MachineType]) -> None:
        """The type of VMs that name none; of several chosen, the first."""

        def act(machine_type: MachineType) -> str:
            operators.make_default(machine_type)
            self.log_change(request, machine_type, gettext("is the default now."))
            return gettext("is the default now.")

        outcome(request, queryset[:1], act)

    @action(description=_("Retire: not offered for new VMs"), permissions=["change"])
    def retire(self, request: HttpRequest, queryset: QuerySet[MachineType]) -> None:
        """Not offered any more; VMs keep it."""
        outcome(request, queryset, lambda row: self._retire(request, row, on=True))

    @action(description=_("Offer for new VMs"), permissions=["change"])
    def offer(self, request: HttpRequest, queryset: QuerySet[MachineType]) -> None:
        """Offered again."""
        outcome(request, queryset, lambda row: self._retire(request, row, on=False))

    def _retire(self, request: HttpRequest, row: MachineType, *, on: bool) -> str:
        text = gettext("is not offered for new VMs any more.") if on else gettext("is offered for new VMs.")
        if operators.set_retired(row, on):
            self.log_change(request, row, text)
        return text


@admin.register(Image)
class ImageAdmin(BaseAdmin):
    """Golden images: made by `build_image` or imported in the portal; here they are offered or not."""

    list_display = [
        "name",
        "project",
        "family",
        "kind",
        "firmware",
        "shown_status",
        "size",
        "disk",
        "min_memory_mib",
        "vms",
        "created_at",
    ]
    list_filter = ["status", "family", "kind", "firmware", "architecture"]
    search_fields = ["name", "family", "description", "sha256", "project__slug"]
    list_select_related = ["project"]
    ordering = ["family", "-created_at"]
    actions = ["deprecate", "offer"]
    fields = [
        *("name", "project", "family", "description", "kind", "firmware", "shown_status", "format", "architecture"),
        *("size", "disk", "sha256", "min_disk_gib", "min_memory_mib", "default_user", "file_name"),
        *("created_by", "created_at"),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """An image is made by the command that also makes its file."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Image | None = None) -> bool:
        """The disks of VMs stand on an image's file."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Image | None = None) -> list[str]:
        """All but the words about it."""
        return [name for name in self.fields if name != "description"]

    def save_model(self, request: HttpRequest, obj: Image, form: forms.ModelForm[Image], change: bool) -> None:
        """The named fields only."""
        operators.save_settings(obj, form.changed_data)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        """With the number of VMs of each image."""
        counted = Count("vms", filter=Q(vms__deleted_at__isnull=True))
        found: QuerySet[Image] = super().get_queryset(request).annotate(vm_count=counted)
        return found

    @display(description=_("status"), ordering="status")
    def shown_status(self, image: Image) -> SafeString:
        """The status as a badge."""
        return badge(image.get_status_display(), _IMAGE_STATUS.get(image.status, ""))

    @display(description=_("size"), ordering="size_bytes")
    def size(self, image: Image) -> str:
        """The file's size."""
        return sized(image.size_bytes)

    @display(description=_("disk size"), ordering="virtual_size_bytes")
    def disk(self, image: Image) -> str:
        """The size of the disk that the guest sees."""
        return sized(image.virtual_size_bytes)

    @display(description=_("VMs"), ordering="vm_count")
    def vms(self, image: Image) -> int:
        """How many VMs stand on it now."""
        return image.vm_count  # type: ignore[attr-defined,no-any-return]

    @action(description=_("Deprecate: not offered for new VMs"), permissions=["change"])
    def deprecate(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        """Not offered any more; VMs keep it."""
        outcome(request, queryset, lambda row: self._deprecate(request, row, on=True))

    @action(description=_("Offer for new VMs"), permissions=["change"])
    def offer(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        """Offered again."""
        outcome(request, queryset, lambda row: self._deprecate(request, row, on=False))

    def _deprecate(self, request: HttpRequest, row: Image, *, on: bool) -> str:
        if not operators.set_deprecated(row, on):
            return gettext("stays %(status)s.") % {"status": row.get_status_display()}
        text = gettext("is not offered for new VMs any more.") if on else gettext("is offered for new VMs.")
        self.log_change(request, row, text)
        return text
