"""Schedules, what became of their times, and VMs that look idle, for operators: why a VM is on or off."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from lifecycle.admin.base import ReadOnlyAdmin, badge, link, link_to, list_url
from lifecycle.labels import ACTIONS, error_text, label, weekdays
from lifecycle.models import VM, IdleHint, Schedule, ScheduleRun

_COLOURS = {
    ScheduleRun.Outcome.ASKED: "success",
    ScheduleRun.Outcome.MISSED: "warning",
    ScheduleRun.Outcome.REFUSED: "danger",
}


def _portal_page(vm: VM) -> str | None:
    """The page of the VM's schedules in the portal; a deleted VM has none."""
    return None if vm.deleted_at else reverse("web:vm-schedules", args=[vm.project.slug, vm.name])


class OfAVM(ReadOnlyAdmin):
    """Rows that belong to a VM: its project beside it, and the way into the portal."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the VM and its project, which lists and pages name."""
        found: QuerySet[Any] = super().get_queryset(request).select_related("vm__project")
        return found

    @display(description=_("project"), ordering="vm__project__slug")
    def project(self, row: Schedule | ScheduleRun | IdleHint) -> str | SafeString:
        """The VM's project."""
        return link(row.vm.project)

    @display(description=_("portal"))
    def portal_link(self, row: Schedule | ScheduleRun | IdleHint) -> str | SafeString:
        """The VM's schedules in the portal."""
        page = _portal_page(row.vm)
        return link_to(page, gettext("Open in the portal")) if page else "–"

    def view_on_site(self, row: Schedule | ScheduleRun | IdleHint) -> str | None:
        """The VM's schedules in the portal."""
        return _portal_page(row.vm)


@admin.register(Schedule)
class ScheduleAdmin(OfAVM):
    """By when they are due next."""

    list_display = ["vm", "project", "shown_action", "at", "shown_days", "time_zone", "next_at", "skip_next", "runs"]
    list_filter = [
        ("action", ChoicesDropdownFilter),
        "skip_next",
        ("vm__project", AutocompleteSelectFilter),
        ("vm", AutocompleteSelectFilter),
    ]
    search_fields = ["vm__name", "vm__project__slug", "time_zone"]
    search_help_text = _("VM, project or time zone")
    ordering = ["next_at", "pk"]
    readonly_fields = ["project", "shown_action", "shown_days", "runs", "portal_link"]
    fields = [
        *("vm", "project", "shown_action", "at", "shown_days", "time_zone", "next_at", "skip_next"),
        *("created_at", "created_by", "runs", "portal_link"),
    ]

    @display(description=_("action"), ordering="action")
    def shown_action(self, schedule: Schedule) -> str:
        """Start or stop, in words."""
        return label(ACTIONS, schedule.action)

    @display(description=_("days"), ordering="days")
    def shown_days(self, schedule: Schedule) -> str:
        """Its days of the week."""
        return weekdays(schedule.days)

    @display(description=_("last times"))
    def runs(self, schedule: Schedule) -> SafeString:
        """The way to what became of its times."""
        return link_to(list_url(ScheduleRun, schedule__id__exact=schedule.pk), gettext("Last times"))


@admin.register(ScheduleRun)
class ScheduleRunAdmin(OfAVM):
    """Due times and what became of each, the newest first."""

    list_display = ["vm", "project", "shown_action", "due_at", "shown_outcome", "why", "operation_link"]
    list_filter = [
        ("outcome", ChoicesDropdownFilter),
        ("vm__project", AutocompleteSelectFilter),
        ("vm", AutocompleteSelectFilter),
    ]
    search_fields = ["vm__name", "vm__project__slug"]
    search_help_text = _("VM or project")
    list_select_related = ["operation"]
    ordering = ["-due_at", "-pk"]
    readonly_fields = ["project", "shown_action", "shown_outcome", "why", "operation_link", "portal_link"]
    fields = [
        *("vm", "project", "schedule", "shown_action", "due_at", "at", "shown_outcome", "why"),
        *("operation_link", "portal_link"),
    ]

    @display(description=_("action"), ordering="action")
    def shown_action(self, run: ScheduleRun) -> str:
        """Start or stop, in words."""
        return label(ACTIONS, run.action)

    @display(description=_("outcome"), ordering="outcome")
    def shown_outcome(self, run: ScheduleRun) -> SafeString:
        """What became of it, as a badge."""
        return badge(run.get_outcome_display(), _COLOURS.get(ScheduleRun.Outcome(run.outcome), ""))

    @display(description=_("reason"))
    def why(self, run: ScheduleRun) -> str:
        """Why it was refused, in the reader's language."""
        return error_text(run.error) or "–"

    @display(description=_("operation"))
    def operation_link(self, run: ScheduleRun) -> str | SafeString:
        """What was asked for."""
        return link(run.operation)


@admin.register(IdleHint)
class IdleHintAdmin(OfAVM):
    """VMs that have used next to nothing for days, the longest first."""

    list_display = ["vm", "project", "since", "cpu_percent", "network", "looked_at", "dismissed_at"]
    list_filter = [("vm__project", AutocompleteSelectFilter), ("dismissed_at", admin.EmptyFieldListFilter)]
    search_fields = ["vm__name", "vm__project__slug"]
    search_help_text = _("VM or project")
    ordering = ["since", "pk"]
    readonly_fields = ["project", "portal_link"]
    fields = ["vm", "project", "since", "cpu_percent", "network", "looked_at", "dismissed_at", "portal_link"]
