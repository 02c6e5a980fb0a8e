"""Filters that more than one list uses."""

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _


class Existence(SimpleListFilter):
    """VMs that exist (the default), deleted ones, or both."""

    title = _("existence")
    parameter_name = "existence"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("deleted", _("deleted")), ("all", _("existing and deleted"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(deleted_at__isnull=self.value() != "deleted")


class Outcome(SimpleListFilter):
    """Operations under way, done, or failed."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("open", _("under way")), ("done", _("done")), ("failed", _("failed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "open":
            return queryset.exclude(status="DONE")
        if self.value() == "done":
            return queryset.filter(status="DONE", error__isnull=True)
        if self.value() == "failed":
            return queryset.filter(status="DONE", error__isnull=False)
        return queryset
