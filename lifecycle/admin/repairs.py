"""Repairs: what is broken, what was tried, how long it took; operators note, try again, give up and close."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import (
    ReadOnlyAdmin,
    ask_for_words,
    badge,
    link,
    list_url,
    outcome,
    person,
    words,
)
from lifecycle.admin.filters import Done, Openness
from lifecycle.labels import ASKERS, label, lasted, retold
from lifecycle.models import Cleanup, MeteringInterval, Repair, User
from lifecycle.services import repair_records, repair_tracking, repairs


@admin.register(Repair)
class RepairAdmin(ReadOnlyAdmin):
    """Open repairs first. Whoever may change VMs may act on repairs."""

    list_display = ["vm", "project", "state", "cause", "host", "attempts", "opened_at", "took"]
    list_filter = [
        Openness,
        ("cause", ChoicesDropdownFilter),
        ("outcome", ChoicesDropdownFilter),
        ("host", AutocompleteSelectFilter),
    ]
    search_fields = ["vm__name", "vm__project__slug", "summary", "vm__id"]
    search_help_text = _("VM, project, or words of what happened")
    list_select_related = ["vm__project", "host"]
    ordering = [F("closed_at").desc(nulls_first=True), "-opened_at"]
    actions = ["note", "retry", "give_up", "close"]
    list_before_template = "admin/lifecycle/repair/figures.html"
    fieldsets = [
        (None, {"fields": ["vm_link", "project", "state", "took", "host", "operation"]}),
        (
            _("What happened"),
            {"fields": ["cause", "shown_summary", "prior_state", "event", "shown_opener", "opened_at"]},
        ),
        (_("How it ended"), {"fields": ["attempts", "outcome", "shown_end", "closed_at"]}),
        (_("Log"), {"fields": ["shown_entries"]}),
        (_("Evidence"), {"fields": ["shown_serial", "shown_log"]}),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may act on VMs."""
        return request.user.has_perm("lifecycle.change_vm")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the figures by host and cause above the list."""
        figures = [_figures(each) for each in repair_tracking.by_host_and_cause(timezone.now())]
        context = {**(extra_context or {}), "figures": figures, "days": repair_tracking.WINDOW.days}
        return super().changelist_view(request, context)  # type: ignore[no-any-return]

    @display(description=_("VM"), ordering="vm__name")
    def vm_link(self, repair: Repair) -> str | SafeString:
        """The VM."""
        return link(repair.vm)

    @display(description=_("project"), ordering="vm__project__slug")
    def project(self, repair: Repair) -> str:
        """The VM's project."""
        return str(repair.vm.project)

    @display(description=_("state"), ordering="closed_at")
    def state(self, repair: Repair) -> SafeString:
        """Open, or how it ended."""
        good = {Repair.Outcome.RESTARTED, Repair.Outcome.UNTOUCHED}
        variant = "danger" if repair.is_open else "success" if repair.outcome in good else ""
        # The list has no room for the whole of it; the repair's own page has.
        short = repair.outcome == Repair.Outcome.NOT_RESTARTED
        return badge(gettext("not restarted") if short else repair.get_outcome_display(), variant)

    @display(description=_("what happened"))
    def shown_summary(self, repair: Repair) -> str:
        """What happened, in the reader's language."""
        return retold(repair.summary)

    @display(description=_("opened by"))
    def shown_opener(self, repair: Repair) -> str:
        """Who or what opened it."""
        return _who(repair.opened_by, repair.user)

    @display(description=_("how it ended"))
    def shown_end(self, repair: Repair) -> str:
        """How it ended, in the reader's language."""
        return retold(repair.outcome_text) or "–"

    @display(description=_("log"))
    def shown_entries(self, repair: Repair) -> SafeString:
        """What was done, by whom, one after the other."""
        return render_to_string(
            "admin/lifecycle/repair/entries.html",
            {"entries": [(entry, _who(entry.asked_by, entry.user)) for entry in repair.entries.select_related("user")]},
        )

    @display(description=_("time to repair"))
    def took(self, repair: Repair) -> str:
        """How long it took, or has taken so far."""
        return lasted(repair_records.length(repair, timezone.now()).total_seconds())

    @display(description=_("end of the serial output"))
    def shown_serial(self, repair: Repair) -> SafeString:
        """What the guest said last."""
        return _log(repair.serial_tail)

    @display(description=_("end of QEMU's log"))
    def shown_log(self, repair: Repair) -> SafeString:
        """What QEMU wrote last."""
        return _log(repair.qemu_log)

    @action(description=_("Note…"), permissions=["operate"])
    def note(self, request: HttpRequest, queryset: QuerySet[Repair]) -> HttpResponse | None:
        """Write a note into the chosen repairs."""
        lead = gettext("A note is kept with each of these repairs.")
        return _with_words(self, request, queryset, "note", gettext("Note"), lead, _note)

    @action(description=_("Try again now"), permissions=["operate"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Repair]) -> None:
        """Do not wait for the next attempt."""
        user = person(request)
        outcome(request, queryset, lambda repair: _retried(repair, user))

    @action(description=_("Give up…"), permissions=["operate"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[Repair]) -> HttpResponse | None:
        """Switch the VMs off and repair them no more."""
        lead = gettext("These VMs are switched off and TERMINATED; their disks and addresses stay. Say why.")
        return _with_words(self, request, queryset, "give_up", gettext("Give up"), lead, _given_up)

    @action(description=_("Close…"), permissions=["operate"])
    def close(self, request: HttpRequest, queryset: QuerySet[Repair]) -> HttpResponse | None:
        """End repairs in which nothing is left to do."""
        lead = gettext("These repairs are over: the VMs are what their hosts show. Say why.")
        return _with_words(self, request, queryset, "close", gettext("Close"), lead, _closed)


def _who(asked_by: str, user: User | None) -> str:
    """The person, else the part of the product."""
    return str(user) if user else label(ASKERS, asked_by)


def _figures(tracked: repair_tracking.Tracked) -> dict[str, Any]:
    """A row of the figures, with the way to its repairs."""
    chosen = {"cause__exact": tracked.cause, **({"host__id__exact": tracked.host_id} if tracked.host_id else {})}
    return {
        "host": tracked.host or "–",
        "cause": dict(Repair.Cause.choices)[tracked.cause],
        "open": tracked.open,
        "closed": tracked.closed,
        "vms": tracked.vms,
        "mean": lasted(tracked.mean.total_seconds()) if tracked.mean is not None else "–",
        "longest": lasted(tracked.longest.total_seconds()) if tracked.longest is not None else "–",
        "url": list_url(Repair, **chosen),
    }


def _log(text: str) -> SafeString:
    return format_html('<div class="op-log">{}</div>', text or "–")


def _with_words(
    page: RepairAdmin,
    request: HttpRequest,
    queryset: QuerySet[Repair],
    name: str,
    title: str,
    lead: str,
    act: Callable[[Repair, User, str], str],
) -> HttpResponse | None:
    """Ask for a text, then act on each row with it."""
    text = words(request)
    if not text:
        rows = queryset.select_related("vm")
        return ask_for_words(page, request, rows, action=name, title=title, lead=lead)
    user = person(request)
    outcome(request, queryset.select_related("vm"), lambda repair: act(repair, user, text))
    return None


def _note(repair: Repair, user: User, text: str) -> str:
    repairs.add_note(repair, user, text)
    return gettext("noted.")


def _retried(repair: Repair, user: User) -> str:
    repairs.retry(repair, user)
    return gettext("is tried now.")


def _given_up(repair: Repair, user: User, text: str) -> str:
    repairs.give_up(repair, user, text)
    return gettext("is switched off.")


def _closed(repair: Repair, user: User, text: str) -> str:
    repairs.close(repair, user, text)
    return gettext("closed.")


@admin.register(Cleanup)
class CleanupAdmin(ReadOnlyAdmin):
    """What deleted VMs left on hosts that did not answer."""

    list_display = ["vm", "host", "created_at", "done_at"]
    list_filter = [Done, ("host", AutocompleteSelectFilter)]
    search_fields = ["vm__name", "vm__id"]
    list_select_related = ["vm", "host"]


@admin.register(MeteringInterval)
class MeteringAdmin(ReadOnlyAdmin):
    """What VMs were and had, from when to when."""

    list_display = ["vm", "project", "state", "started_at", "ended_at", "took", "machine_type", "disk_gib"]
    list_filter = [("state", ChoicesDropdownFilter), ("project", AutocompleteSelectFilter)]
    search_fields = ["vm__name", "vm__id", "project__slug"]
    list_select_related = ["vm", "project"]

    @display(description=_("length"))
    def took(self, interval: Any) -> str:
        """Its length, up to now while it lasts."""
        return lasted(((interval.ended_at or timezone.now()) - interval.started_at).total_seconds())
