"""Operations and transitions: what is under way and what happened. Written by the product alone."""

import json

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnly, ReadOnlyAdmin, badge, link, meter, outcome, person
from lifecycle.admin.filters import Outcome
from lifecycle.labels import ACTIONS, ASKERS, STEPS, label, retold
from lifecycle.models import Operation, OperationStep, Transition, User
from lifecycle.services import operations


class StepInline(ReadOnly, TabularInline):
    """The steps of an operation, as the engine recorded them."""

    model = OperationStep
    extra = 0
    fields = ["index", "shown_name", "status", "started_at", "ended_at", "shown_detail"]
    readonly_fields = fields

    @display(description=_("name"))
    def shown_name(self, step: OperationStep) -> str:
        """The step's name in the reader's language."""
        return label(STEPS, step.name)

    @display(description=_("detail"))
    def shown_detail(self, step: OperationStep) -> str:
        """What it waits for, or why it failed."""
        return retold(step.detail) or "–"


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    """The queue and the truth of what is under way."""

    list_display = ["what", "project", "outcome", "shown_progress", "asker", "user", "insert_time", "took"]
    list_filter = [
        Outcome,
        ("action", ChoicesDropdownFilter),
        ("asked_by", ChoicesDropdownFilter),
        ("project", AutocompleteSelectFilter),
        ("vm", AutocompleteSelectFilter),
    ]
    search_fields = ["target_name", "id", "user__username"]
    search_help_text = _("Name of the VM, id or user")
    list_select_related = ["project", "user"]
    ordering = ["-insert_time"]
    inlines = [StepInline]
    actions = ["cancel"]
    fieldsets = [
        (None, {"fields": ["what", "id", "vm_link", "project", "asker", "user", "request_id"]}),
        (_("Progress"), {"fields": ["outcome", "shown_progress", "insert_time", "start_time", "end_time", "took"]}),
        (_("Error"), {"fields": ["shown_error", "preempted_by", "cancel_time", "cancelled_by"]}),
        (
            _("Work"),
            {
                "fields": [
                    *("step_index", "step_started_at", "step_failures", "undoing", "attempt", "recovered"),
                    *("due_at", "lease_owner", "lease_until", "lease_token", "vm_fence", "shown_data"),
                ]
            },
        ),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whoever may act on VMs may cancel what is done to them."""
        return request.user.has_perm("lifecycle.change_vm")

    @action(description=_("Cancel"), permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Operation]) -> None:
        """Turn the chosen operations round."""
        user = person(request)
        outcome(request, queryset, lambda operation: _cancelled(operation, user))

    @display(description=_("operation"), ordering="action")
    def what(self, operation: Operation) -> str:
        """What is done to what."""
        return f"{label(ACTIONS, operation.action)} · {operation.target_name}"

    @display(description=_("outcome"), ordering="status")
    def outcome(self, operation: Operation) -> SafeString:
        """Under way, done or failed."""
        if not operation.is_done:
            return badge(gettext("undoing") if operation.undoing else gettext("under way"), "info")
        if operation.error:
            return badge(operation.error.get("code") or gettext("failed"), "danger")
        return badge(gettext("done"), "success")

    @display(description=_("progress"), ordering="progress")
    def shown_progress(self, operation: Operation) -> SafeString:
        """A bar with its number."""
        return meter(operation.progress, 100, f"{operation.progress} %")

    @display(description=_("took"))
    def took(self, operation: Operation) -> str:
        """From the request to the end, or until now."""
        end = operation.end_time or timezone.now()
        seconds = (end - operation.insert_time).total_seconds()
        return (
            gettext("%(seconds).1f s") % {"seconds": seconds}
            if seconds < 120
            else timesince(operation.insert_time, end)
        )

    @display(description=_("asked by"), ordering="asked_by")
    def asker(self, operation: Operation) -> str:
        """Who asked, in the reader's language."""
        return label(ASKERS, operation.asked_by)

    @display(description=_("VM"))
    def vm_link(self, operation: Operation) -> SafeString | str:
        """The VM it works on."""
        return link(operation.vm)

    @display(description=_("error"))
    def shown_error(self, operation: Operation) -> SafeString | str:
        """The whole error, for operators."""
        return _pretty(operation.error) if operation.error else "–"

    @display(description=_("memory of the steps"))
    def shown_data(self, operation: Operation) -> SafeString:
        """What the steps keep from one run to the next."""
        return _pretty(operation.data)

    def get_readonly_fields(self, request: HttpRequest, obj: Operation | None = None) -> list[str]:
        """The shown ones; the rest is read-only for want of the permission to change."""
        return ["what", "vm_link", "asker", "outcome", "shown_progress", "took", "shown_error", "shown_data"]


@admin.register(Transition)
class TransitionAdmin(ReadOnlyAdmin):
    """Every change of every VM's state; append-only."""

    list_display = ["id", "vm_link", "change", "shown_action", "why", "asker", "user", "occurred_at"]
    list_filter = [
        ("action", ChoicesDropdownFilter),
        ("asked_by", ChoicesDropdownFilter),
        ("vm__project", AutocompleteSelectFilter),
        ("vm", AutocompleteSelectFilter),
    ]
    search_fields = ["vm__name", "reason", "user__username"]
    search_help_text = _("Name of the VM, reason or user")
    list_select_related = ["vm", "user"]
    ordering = ["-id"]
    fields = [
        *("vm_link", "change", "shown_action", "why", "operation_link", "asker", "user"),
        *("occurred_at", "recorded_at", "number"),
    ]
    readonly_fields = ["vm_link", "change", "shown_action", "why", "operation_link", "asker"]

    @display(description=_("VM"), ordering="vm__name")
    def vm_link(self, transition: Transition) -> SafeString | str:
        """The VM."""
        return link(transition.vm)

    @display(description=_("change"))
    def change(self, transition: Transition) -> str:
        """From and to; a dash for not there."""
        return str(transition)

    @display(description=_("action"), ordering="action")
    def shown_action(self, transition: Transition) -> str:
        """The action in the reader's language."""
        return label(ACTIONS, transition.action)

    @display(description=_("reason"), ordering="reason")
    def why(self, transition: Transition) -> str:
        """The reason in the reader's language."""
        return retold(transition.reason) or "–"

    @display(description=_("asked by"), ordering="asked_by")
    def asker(self, transition: Transition) -> str:
        """Who asked, in the reader's language."""
        return label(ASKERS, transition.asked_by)

    @display(description=_("operation"))
    def operation_link(self, transition: Transition) -> SafeString | str:
        """The operation that moved it."""
        return link(transition.operation)


def _cancelled(operation: Operation, user: User) -> str:
    operations.cancel(operation, user, as_operator=True)
    return gettext("is being cancelled.")


def _pretty(value: object) -> SafeString:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre class="whitespace-pre-wrap break-words text-xs">{}</pre>', text)
