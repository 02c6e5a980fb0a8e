"""Money for operators: price lists, accounts, credits, invoices with their run, payments. Nothing here is a console."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import BaseAdmin, ReadOnly, ReadOnlyAdmin, SettingsAdmin, badge, outcome, person
from lifecycle.billing import documents, effects
from lifecycle.billing import invoices as billing
from lifecycle.domain.periods import Month
from lifecycle.models import (
    BillingAccount,
    CommittedUse,
    Credit,
    Invoice,
    InvoiceLine,
    Payment,
    Price,
    PriceList,
    PromotionCode,
    Reminder,
    Seller,
    TaxRate,
)
from lifecycle.services import invoices, operators, prices

#: Rows of a page that is reckoned and not listed.
SHOWN = 200
#: Lines of a month that are shown where a run would change them.
LINES_SHOWN = 50


class PriceInline(TabularInline):
    """The prices of a list, as long as it is a draft."""

    model = Price
    extra = 0
    fields = ["item", "kind", "zone", "per_second", "free_hours"]

    def has_add_permission(self, request: HttpRequest, obj: PriceList | None = None) -> bool:
        return _is_draft(obj) and request.user.has_perm("lifecycle.change_pricelist")

    def has_change_permission(self, request: HttpRequest, obj: PriceList | None = None) -> bool:
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: PriceList | None = None) -> bool:
        return self.has_add_permission(request, obj)


def _is_draft(row: PriceList | None) -> bool:
    return row is None or row.published_at is None


@admin.register(PriceList)
class PriceListAdmin(SettingsAdmin):
    """Versions of the price list. A published one is copied, never changed."""

    list_display = ["version", "title", "currency", "valid_from", "shown_status", "published_by"]
    list_select_related = ["published_by"]
    ordering = ["-version"]
    fields = ["title", "currency", "valid_from", "sustained", "sla", "published_at", "published_by"]
    readonly_fields = ["published_at", "published_by"]
    inlines = [PriceInline]
    actions = ["copy", "publish"]
    actions_detail = ["effect"]

    def has_change_permission(self, request: HttpRequest, obj: PriceList | None = None) -> bool:
        return _is_draft(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: PriceList | None = None) -> bool:
        """One by one, and drafts only."""
        return obj is not None and _is_draft(obj) and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        """Tiers are checked; a new list gets the next version."""
        if isinstance(obj, PriceList):
            prices.tiers(obj.sustained, "sustained")
            prices.tiers(obj.sla, "sla")
            obj.version = obj.version if change else prices.next_version()
        super().save_model(request, obj, form, change)

    def save_formset(
        self, request: HttpRequest, form: Any, formset: BaseInlineFormSet[Any, Any, Any], change: bool
    ) -> None:
        """Prices, each as a row of settings."""
        for row in formset.save(commit=False):
            operators.save_settings(row, [field.name for field in row._meta.fields if field.name != "id"])
        for row in formset.deleted_objects:
            row.delete()

    @display(description=_("status"))
    def shown_status(self, row: PriceList) -> SafeString:
        """Draft or published."""
        return badge(gettext("published"), "success") if row.published_at else badge(gettext("draft"), "warning")

    @action(description=_("Copy as a draft"), permissions=["add"])
    def copy(self, request: HttpRequest, rows: QuerySet[PriceList]) -> None:
        """How prices change: from a later day on."""
        outcome(request, rows, lambda row: gettext("Copied as version %(n)s.") % {"n": _copied(row)})

    @action(description=_("Publish"), permissions=["add"])
    def publish(self, request: HttpRequest, rows: QuerySet[PriceList]) -> None:
        """Fix it: from its beginning on it applies."""
        outcome(request, rows, lambda row: _said(prices.publish(row, user=person(request)), gettext("Published.")))

    @action(description=_("Effect on last month"), permissions=["view"], url_path="effect")
    def effect(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Last month of every project at these prices."""
        row = get_object_or_404(PriceList, pk=object_id)
        found = list(effects.of_price_list(row, timezone.now()))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Effect on last month"),
            "opts": self.opts,
            "row": row,
            "effects": found[:SHOWN],
            "before": sum(each.before for each in found),
            "after": sum(each.after for each in found),
        }
        return TemplateResponse(request, "admin/lifecycle/billing/effect.html", context)


def _copied(row: PriceList) -> int:
    return prices.copy_price_list(row, timezone.now() + timedelta(days=30)).version


def _said(_done: Model, text: str) -> str:
    return text


# -- invoices ------------------------------------------------------------------------------------


class LineInline(ReadOnly, TabularInline):
    """The lines of an invoice."""

    model = InvoiceLine
    extra = 0
    fields = ["position", "sort", "name", "item", "kind", "zone", "quantity", "rate", "amount", "reference"]
    readonly_fields = fields
    per_page = 50


class PaymentInline(ReadOnly, TabularInline):
    """What was received."""

    model = Payment
    extra = 0
    fields = ["amount", "method", "reference", "received_at", "recorded_by"]
    readonly_fields = fields


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    """Invoices, drafts and credit notes; the run, before and after."""

    list_display = [
        *("shown_number", "project", "kind", "month", "net", "tax", "total", "currency", "status", "due_at"),
        "dunning",
    ]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("project", AutocompleteSelectFilter),
        "month",
    ]
    search_fields = ["number", "project__slug", "month"]
    list_select_related = ["project"]
    ordering = ["-month", "-sequence", "-id"]
    inlines = [LineInline, PaymentInline]
    actions = ["issue", "take_back", "export_json"]
    actions_list = ["run"]

    @display(description=_("number"))
    def shown_number(self, row: Invoice) -> str:
        """The number, or that it is a draft."""
        return row.number or gettext("draft")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        """With what is left to pay of each, and how often was reminded: no query a row."""
        return invoices.with_left(super().get_queryset(request))

    @display(description=_("payment"))
    def dunning(self, row: Any) -> SafeString | str:
        """Paid, to be paid, late, or the last reminder."""
        if row.is_draft or row.kind != Invoice.Kind.INVOICE:
            return "–"
        if row.left < Decimal("0.001"):  # sums of SQLite are floating-point numbers
            return badge(gettext("paid"), "success")
        if row.reminded:
            return badge(str(Reminder.Level(row.reminded).label), "danger")
        late = row.due_at is not None and row.due_at < timezone.now()
        return badge(gettext("overdue"), "warning") if late else badge(gettext("to be paid"), "info")

    @action(description=_("Issue"), permissions=["issue"])
    def issue(self, request: HttpRequest, rows: QuerySet[Invoice]) -> None:
        """Derive each once more and give it its number."""
        outcome(request, rows.select_related("project"), _issued)

    @action(description=_("Take back by a credit note"), permissions=["issue"])
    def take_back(self, request: HttpRequest, rows: QuerySet[Invoice]) -> None:
        """All that is left of each."""
        who = gettext("Taken back by %(name)s.") % {"name": person(request)}
        outcome(request, rows, lambda row: invoices.credit_note(row, who).number)

    @action(description=_("Export as JSON"), permissions=["view"])
    def export_json(self, request: HttpRequest, rows: QuerySet[Invoice]) -> HttpResponse:
        """All of them with their lines, as a list."""
        text = ",\n".join(documents.as_json(row) for row in rows)
        response = HttpResponse(f"[{text}]\n", content_type="application/json")
        response["Content-Disposition"] = 'attachment; filename="invoices.json"'
        return response

    @action(description=_("Invoice run"), permissions=["view"], url_path="run")
    def run(self, request: HttpRequest) -> HttpResponse:
        """GET: what a run would do, with the difference to the drafts there are. POST: do it."""
        if request.method == "POST":
            return self._run(request)
        found = list(effects.of_run(timezone.now()))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Invoice run"),
            "opts": self.opts,
            "steps": found[:SHOWN],
            "count": len(found),
            "lines_shown": LINES_SHOWN,
            "shown": f":{LINES_SHOWN}",
            "may": self.has_issue_permission(request),
            "seller": prices.seller(),
        }
        return TemplateResponse(request, "admin/lifecycle/billing/run.html", context)

    def _run(self, request: HttpRequest) -> HttpResponse:
        if not self.has_issue_permission(request):
            raise PermissionDenied
        done = billing.run()
        numbers = {"drafted": len(done.drafted), "issued": len(done.issued)}
        messages.success(request, gettext("Drafted: %(drafted)s; issued: %(issued)s.") % numbers)
        for text in done.refused[:SHOWN]:
            messages.error(request, text)
        return HttpResponseRedirect(reverse("admin:lifecycle_invoice_changelist"))

    def has_issue_permission(self, request: HttpRequest) -> bool:
        """Who may change invoices may issue them; nobody edits them."""
        return request.user.has_perm("lifecycle.change_invoice")


def _issued(row: Invoice) -> str:
    return billing.issue(row.project, Month.parse(row.month)).number


class _Recorded(BaseAdmin):
    """Rows that are added by a service and never changed."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Payment)
class PaymentAdmin(_Recorded):
    """Payments that operators record."""

    list_display = ["invoice", "amount", "method", "reference", "received_at", "recorded_by"]
    list_filter = [("method", ChoicesDropdownFilter)]
    search_fields = ["reference", "invoice__number"]
    list_select_related = ["invoice", "recorded_by"]
    fields = ["invoice", "amount", "method", "reference", "received_at"]
    autocomplete_fields = ["invoice"]

    def save_model(self, request: HttpRequest, obj: Payment, form: ModelForm[Any], change: bool) -> None:
        """Through the service, which refuses drafts and references that were recorded before."""
        made = invoices.record_payment(
            obj.invoice, obj.amount, obj.method, obj.reference, user=person(request), received_at=obj.received_at
        )
        obj.pk = made.pk


@admin.register(Credit)
class CreditAdmin(_Recorded):
    """Credits that operators grant; those of codes come from the portal."""

    list_display = ["project", "amount", "reason", "promotion", "granted_at", "granted_by", "expires_at"]
    list_filter = [("project", AutocompleteSelectFilter)]
    search_fields = ["project__slug", "reason"]
    list_select_related = ["project", "promotion", "granted_by"]
    fields = ["project", "amount", "reason", "expires_at"]
    autocomplete_fields = ["project"]

    def save_model(self, request: HttpRequest, obj: Credit, form: ModelForm[Any], change: bool) -> None:
        """Through the service."""
        made = prices.grant_credit(obj.project, obj.amount, obj.reason, user=person(request), expires_at=obj.expires_at)
        obj.pk = made.pk


# -- settings ------------------------------------------------------------------------------------


@admin.register(Seller)
class SellerAdmin(SettingsAdmin):
    """Who sends the invoices: one row."""

    list_display = ["name", "country", "tax_id", "number_prefix", "due_days", "issue_after_days"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not Seller.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Seller | None = None) -> bool:
        return False


@admin.register(BillingAccount)
class BillingAccountAdmin(SettingsAdmin):
    """Where projects' bills go, and their discounts."""

    list_display = ["project", "name", "country", "tax_id", "time_zone", "discount_percent"]
    search_fields = ["project__slug", "name", "tax_id"]
    list_select_related = ["project"]
    autocomplete_fields = ["project"]

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        """Its time zone is one."""
        prices.check_time_zone(str(getattr(obj, "time_zone", "")))
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: BillingAccount | None = None) -> bool:
        return False


@admin.register(TaxRate)
class TaxRateAdmin(SettingsAdmin):
    """Rates by country, each from a day on."""

    list_display = ["country", "percent", "valid_from"]
    search_fields = ["country"]


@admin.register(CommittedUse)
class CommittedUseAdmin(SettingsAdmin):
    """What projects promised."""

    list_display = ["project", "item", "family", "units", "percent", "starts_at", "ends_at"]
    list_select_related = ["project"]
    autocomplete_fields = ["project"]


@admin.register(PromotionCode)
class PromotionCodeAdmin(SettingsAdmin):
    """Codes."""

    list_display = ["code", "amount", "expires_at", "most_uses"]
    search_fields = ["code"]
