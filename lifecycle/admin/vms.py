"""VMs: to look at, and to act on through the services."""

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import (
    STATE_LABELS,
    ReadOnly,
    ReadOnlyAdmin,
    ask_for_words,
    badge,
    link_to,
    list_url,
    outcome,
    person,
    portal_url,
    words,
)
from lifecycle.admin.filters import Existence, Flapping
from lifecycle.domain.transitions import Action
from lifecycle.labels import ACTIONS, STATES, label
from lifecycle.models import VM, Disk, Operation, Transition, User
from lifecycle.services import repairs, vms


class DiskInline(ReadOnly, TabularInline):
    """The disks of a VM."""

    model = Disk
    extra = 0
    fields = ["name", "size_gib", "boot", "auto_delete", "volume", "made_at"]


@admin.register(VM)
class VMAdmin(ReadOnlyAdmin):
    """Every project's VMs. `operate` is Django's permission to change VMs; a project's role is not asked."""

    list_display = ["name", "project", "shown_state", "work", "host", "shape", "address", "state_since"]
    list_filter = [
        Existence,
        Flapping,
        ("state", ChoicesDropdownFilter),
        ("project", AutocompleteSelectFilter),
        ("host", AutocompleteSelectFilter),
        ("image", AutocompleteSelectFilter),
    ]
    search_fields = ["name", "id", "mac", "address__ip", "project__slug"]
    search_help_text = _("Name, id, MAC, address or project")
    list_select_related = ["project", "host", "machine_type", "address"]
    ordering = ["project__slug", "name"]
    actions = ["start", "resume", "suspend", "reset", "stop", "report_faulty", "delete_vms", "protect", "unprotect"]
    inlines = [DiskInline]
    fieldsets = [
        (None, {"fields": ["name", "id", "project", "zone", "host", "image", "machine_type", "vcpus", "memory_mib"]}),
        (
            _("State"),
            {"fields": ["shown_state", "state_reason", "state_since", "power", "power_seen_at", "run_id", "fence"]},
        ),
        (_("Work"), {"fields": ["operations_link", "transitions_link", "portal_link"]}),
        (_("Network"), {"fields": ["address", "mac", "address_seen_at"]}),
        (
            _("Choices"),
            {"fields": ["automatic_restart", "stop_grace_seconds", "deletion_protection", "ssh_keys"]},
        ),
        (_("History"), {"fields": ["created_by", "created_at", "last_started_at", "deleted_at"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[VM]:
        """With the action under way beside each VM: one query for the page."""
        under_way = Operation.objects.filter(vm=OuterRef("pk")).exclude(status=Operation.Status.DONE).values("action")
        found: QuerySet[VM] = super().get_queryset(request).annotate(under_way=Subquery(under_way[:1]))
        return found

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may act on VMs."""
        return request.user.has_perm("lifecycle.change_vm")

    def has_destroy_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may delete VMs."""
        return request.user.has_perm("lifecycle.delete_vm")

    @display(description=_("state"), ordering="state")
    def shown_state(self, vm: VM) -> SafeString:
        """The state as a badge; a tombstone says so."""
        if vm.deleted_at:
            return badge(gettext("deleted"))
        return badge(label(STATES, vm.state).upper(), STATE_LABELS.get(vm.lifecycle_state, ""))

    @display(description=_("under way"))
    def work(self, vm: VM) -> str:
        """The action of the open operation."""
        return label(ACTIONS, vm.under_way) if vm.under_way else "–"  # type: ignore[attr-defined]

    @display(description=_("size"), ordering="vcpus")
    def shape(self, vm: VM) -> str:
        """Machine type, vCPUs and memory."""
        return gettext("%(type)s: %(vcpus)s vCPU, %(memory)s MiB") % {
            "type": vm.machine_type,
            "vcpus": vm.vcpus,
            "memory": vm.memory_mib,
        }

    @display(description=_("address"), ordering="address__ip")
    def address(self, vm: VM) -> str:
        """The internal address."""
        found = getattr(vm, "address", None)
        return found.ip if found else "–"

    @display(description=_("operations"))
    def operations_link(self, vm: VM) -> SafeString | str:
        """The VM's operations."""
        return link_to(list_url(Operation, vm__id__exact=vm.pk), gettext("All operations of this VM"))

    @display(description=_("transitions"))
    def transitions_link(self, vm: VM) -> SafeString | str:
        """The VM's transitions."""
        return link_to(list_url(Transition, vm__id__exact=vm.pk), gettext("All transitions of this VM"))

    @display(description=_("portal"))
    def portal_link(self, vm: VM) -> SafeString | str:
        """The VM's page in the portal."""
        return "–" if vm.deleted_at else link_to(portal_url(vm), gettext("Open in the portal"))

    def view_on_site(self, vm: VM) -> str | None:
        """The VM's page in the portal; a deleted VM has none."""
        return None if vm.deleted_at else portal_url(vm)

    @action(description=_("Start"), permissions=["operate"])
    def start(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Start the chosen VMs."""
        ask(request, queryset, Action.START)

    @action(description=_("Resume"), permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Resume the chosen VMs."""
        ask(request, queryset, Action.RESUME)

    @action(description=_("Suspend"), permissions=["operate"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Suspend the chosen VMs."""
        ask(request, queryset, Action.SUSPEND)

    @action(description=_("Reset"), permissions=["operate"])
    def reset(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Reset the chosen VMs."""
        ask(request, queryset, Action.RESET)

    @action(description=_("Stop"), permissions=["operate"])
    def stop(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Stop the chosen VMs."""
        ask(request, queryset, Action.STOP)

    @action(description=_("Report faulty…"), permissions=["operate"])
    def report_faulty(self, request: HttpRequest, queryset: QuerySet[VM]) -> HttpResponse | None:
        """Put the chosen VMs into repair, with a text that says what was seen."""
        text = words(request)
        if not text:
            lead = gettext("These VMs are switched off and started again; what is not saved in them is lost.")
            title = gettext("Report faulty")
            return ask_for_words(self, request, queryset, action="report_faulty", title=title, lead=lead)
        user = person(request)
        outcome(request, queryset, lambda vm: _reported(vm, user, text))
        return None

    @action(description=_("Delete…"), permissions=["destroy"])
    def delete_vms(self, request: HttpRequest, queryset: QuerySet[VM]) -> HttpResponse | None:
        """Delete the chosen VMs, once it was confirmed on a page that names what is lost."""
        if request.POST.get("confirmed"):
            ask(request, queryset, Action.DELETE)
            return None
        return TemplateResponse(
            request,
            "admin/lifecycle/vm/delete_vms.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Delete VMs"),
                "opts": self.opts,
                "vms": queryset.select_related("project", "host").prefetch_related("disks"),
                "checkbox": ACTION_CHECKBOX_NAME,
            },
        )

    @action(description=_("Protect against deletion"), permissions=["operate"])
    def protect(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Switch deletion protection on."""
        outcome(request, queryset, lambda vm: _protection(request, vm, on=True))

    @action(description=_("Take deletion protection off"), permissions=["operate"])
    def unprotect(self, request: HttpRequest, queryset: QuerySet[VM]) -> None:
        """Switch deletion protection off."""
        outcome(request, queryset, lambda vm: _protection(request, vm, on=False))


def ask(request: HttpRequest, queryset: QuerySet[VM], wanted: Action) -> None:
    """Ask for `wanted` on each VM; the operation carries the member of the staff who asked."""
    user = person(request)

    def act(vm: VM) -> str:
        vms.request_action(vm, wanted, user=user, as_operator=True)
        return gettext("%(action)s is asked for.") % {"action": label(ACTIONS, wanted)}

    outcome(request, queryset, act)


def _reported(vm: VM, user: User, text: str) -> str:
    repairs.report_faulty(vm, user, text)
    return gettext("is in repair.")


def _protection(request: HttpRequest, vm: VM, *, on: bool) -> str:
    vms.set_deletion_protection(vm, on, user=None)
    return gettext("protected against deletion.") if on else gettext("not protected any more.")
