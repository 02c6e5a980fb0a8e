"""Alerts: what the operators should know of, and whether they were told."""

from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnly, ReadOnlyAdmin, badge, outcome, person
from lifecycle.admin.filters import Resolved
from lifecycle.labels import filled
from lifecycle.models import Alert, AlertDelivery, User
from lifecycle.services import alerts


class DeliveryInline(ReadOnly, TabularInline):
    """The messages about an alert."""

    model = AlertDelivery
    extra = 0
    fields = ["way", "about", "attempts", "sent_at", "given_up_at", "problem"]
    readonly_fields = fields


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """Open alerts first."""

    list_display = ["shown_text", "shown_severity", "opened_at", "resolved_at", "acknowledged_by"]
    list_filter = [Resolved, ("severity", ChoicesDropdownFilter), "kind"]
    search_fields = ["key", "text", "vm__name", "host__name"]
    list_select_related = ["acknowledged_by"]
    ordering = [F("resolved_at").desc(nulls_first=True), "-opened_at"]
    actions = ["acknowledge"]
    inlines = [DeliveryInline]
    fields = [
        *("shown_text", "shown_severity", "kind", "key", "host", "vm", "operation"),
        *("opened_at", "last_seen_at", "resolved_at", "acknowledged_at", "acknowledged_by"),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may take note of alerts."""
        return request.user.has_perm("lifecycle.change_alert")

    @display(description=_("text"))
    def shown_text(self, alert: Alert) -> str:
        """The text with its values, in the reader's language."""
        return filled(alert.text, alert.params)

    @display(description=_("severity"), ordering="severity")
    def shown_severity(self, alert: Alert) -> SafeString:
        """A badge; what is over is grey."""
        if alert.resolved_at:
            return badge(gettext("over"))
        return badge(alert.get_severity_display(), "danger" if alert.severity == "critical" else "warning")

    @action(description=_("Acknowledge"), permissions=["operate"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """Say that somebody looks after the chosen alerts."""
        user = person(request)
        outcome(request, queryset, lambda alert: _acknowledged(alert, user))


def _acknowledged(alert: Alert, user: User) -> str:
    alerts.acknowledge(alert, user)
    return gettext("acknowledged.")
