"""Filters that more than one list uses."""

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models import Repair
from lifecycle.models.repairs import FLAPPING_REPAIRS, FLAPPING_WINDOW


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


class Openness(SimpleListFilter):
    """Open rows, closed ones, or both (the default); `ended_by` is the column that is empty while a row is open."""

    title = _("open or closed")
    parameter_name = "is"
    ended_by = "closed_at"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("open", _("open")), ("closed", _("closed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("open", "closed"):
            return queryset
        return queryset.filter(**{f"{self.ended_by}__isnull": self.value() == "open"})


class Resolved(Openness):
    """Alerts whose matter lasts, or is over."""

    ended_by = "resolved_at"


class Done(Openness):
    """Cleanups that wait, or are done."""

    ended_by = "done_at"


class Flapping(SimpleListFilter):
    """VMs that were repaired again and again lately."""

    title = _("flapping")
    parameter_name = "flapping"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("yes", _("three repairs or more within a day"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() != "yes":
            return queryset
        lately = Repair.objects.filter(opened_at__gte=timezone.now() - FLAPPING_WINDOW).order_by().values("vm")
        often = lately.annotate(times=Count("pk")).filter(times__gte=FLAPPING_REPAIRS)
        return queryset.filter(pk__in=often.values("vm"))


class KeptOut(SimpleListFilter):
    """Hosts that the product keeps from new VMs for a while."""

    title = _("kept from new VMs")
    parameter_name = "kept_out"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("yes", _("yes, after too many repairs"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kept_out_until__gt=timezone.now()) if self.value() == "yes" else queryset


class Delivery(SimpleListFilter):
    """Messages of webhooks by what became of them."""

    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("waiting", _("on their way")), ("arrived", _("arrived")), ("given_up", _("given up"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "waiting":
            return queryset.filter(sent_at__isnull=True, given_up_at__isnull=True)
        if self.value() == "arrived":
            return queryset.filter(sent_at__isnull=False)
        return queryset.filter(given_up_at__isnull=False) if self.value() == "given_up" else queryset


class Mailed(SimpleListFilter):
    """Notifications by what became of the mail about them."""

    title = _("mail")
    parameter_name = "mail"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("waiting", _("on their way")), ("mailed", _("mailed")), ("given_up", _("given up"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "waiting":
            return queryset.filter(mail_due_at__isnull=False, mailed_at__isnull=True, given_up_at__isnull=True)
        if self.value() == "mailed":
            return queryset.filter(mailed_at__isnull=False)
        return queryset.filter(given_up_at__isnull=False) if self.value() == "given_up" else queryset


class Usability(SimpleListFilter):
    """Access tokens that open something, or nothing any more."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("usable", _("usable")), ("over", _("expired or revoked"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        usable = Q(revoked_at__isnull=True, expires_at__gt=timezone.now())
        if self.value() == "usable":
            return queryset.filter(usable)
        return queryset.exclude(usable) if self.value() == "over" else queryset
