"""Maintenance that operators announce: it tells people, and downtime in it does not count."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display

from lifecycle.admin.base import BaseAdmin, badge, outcome, person
from lifecycle.models import Maintenance, User
from lifecycle.services import maintenance


@admin.register(Maintenance)
class MaintenanceAdmin(BaseAdmin):
    """Announced, and cancelled until it begins; never changed."""

    list_display = ["host", "starts_at", "ends_at", "reason", "shown_status", "announced_at", "announced_by"]
    list_filter = [("host", AutocompleteSelectFilter)]
    search_fields = ["host__name", "reason"]
    list_select_related = ["host", "announced_by"]
    fields = ["host", "starts_at", "ends_at", "reason"]
    autocomplete_fields = ["host"]
    actions = ["cancel"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """People were told of it as it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Maintenance, form: ModelForm[Any], change: bool) -> None:
        """Through the service, which refuses what comes too late and tells the projects concerned."""
        obj.pk = maintenance.announce(obj.host, obj.starts_at, obj.ends_at, obj.reason, user=person(request)).pk

    @display(description=_("status"))
    def shown_status(self, row: Maintenance) -> SafeString:
        """Announced, under way, over or cancelled."""
        if row.cancelled_at:
            return badge(gettext("cancelled"), "warning")
        if row.starts_at > now():
            return badge(gettext("announced"), "info")
        return badge(gettext("under way"), "info") if row.ends_at > now() else badge(gettext("over"), "success")

    @action(description=_("Cancel"), permissions=["add"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Maintenance]) -> None:
        """Until it begins; the same people are told."""
        outcome(request, rows.select_related("host"), lambda row: _cancelled(row, person(request)))


def _cancelled(row: Maintenance, user: User) -> str:
    maintenance.cancel(row, user=user)
    return gettext("cancelled.")
