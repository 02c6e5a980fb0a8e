"""Budgets of projects, for operators to see: their owners write them."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from lifecycle.admin.base import ReadOnlyAdmin
from lifecycle.models import Budget


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    """What projects mean to spend, and have spent. Where a webhook goes is its owner's matter."""

    list_display = ["name", "project", "amount", "month", "spent", "forbid_at", "suspend_at", "looked_at"]
    list_filter = [("project", AutocompleteSelectFilter)]
    search_fields = ["name", "project__slug"]
    list_select_related = ["project"]
    exclude = ["webhook_url", "webhook_secret"]
