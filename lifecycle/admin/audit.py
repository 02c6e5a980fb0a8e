"""The audit log, for operators: everything, from everywhere."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from lifecycle.admin.base import ReadOnlyAdmin
from lifecycle.labels import AUDIT, label
from lifecycle.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The newest first; nothing of it can be changed."""

    list_display = ["at", "who", "shown_action", "project_name", "target", "channel", "ip"]
    list_filter = ["at", ("channel", ChoicesDropdownFilter), "action"]
    search_fields = ["who", "target", "project_name", "ip"]
    fields = [*("at", "who", "shown_action", "project_name", "target"), *("details", "channel", "ip", "agent")]

    @display(description=_("action"), ordering="action")
    def shown_action(self, entry: AuditEntry) -> str:
        """What it tells of, in words."""
        return label(AUDIT, entry.action)
