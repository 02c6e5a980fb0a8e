"""A project's money: costs of the month, invoices, what stands behind each line, the account."""

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle.billing import allocation, costs, documents, intervals, payments
from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError, Forbidden
from lifecycle.domain.metering import Shape
from lifecycle.models import Invoice, InvoiceLine, MachineType, Zone
from lifecycle.services import idle, metering, prices
from lifecycle.web.access import Place, place_of, vm_in
from lifecycle.web.forms import AccountForm, PromotionForm
from lifecycle.web.http import Request, SeeOther, page_param, signed_in, text_param
from lifecycle.web.refusals import refusal_of
from lifecycle.web.views.errors import post_only
from lifecycle.web.views.vm_page import head_context

VMS_A_PAGE = 50


class DocumentConverter:
    """How an invoice can be downloaded."""

    regex = "pdf|csv"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


HINTS_SHOWN = 5
INVOICES_A_PAGE = 24
LINES_A_PAGE = 100
PARTS_A_PAGE = 200


@require_GET
@signed_in
def overview(request: Request, slug: str) -> HttpResponse:
    """What this month costs so far, at its end, and by VM and image."""
    return _overview(request, place_of(request.user, slug))


def _overview(request: Request, place: Place, status: int = 200, **forms: Any) -> HttpResponse:
    account = prices.account_of(place.project)
    month = costs.of_project(place.project, timezone.now())
    context = {
        "place": place,
        "account": account,
        "costs": month,
        "rows": Paginator(costs.by_resource(month), VMS_A_PAGE).get_page(page_param(request, "page")),
        "credits": prices.credits_left(place.project),
        "latest": _invoices(place)[:3],
        "hints": list(idle.hints(place.project)[:HINTS_SHOWN]),
        "form": forms.get("form") or AccountForm(instance_of(account)),
        "code_form": forms.get("code_form") or PromotionForm(),
        "refusal": forms.get("refusal"),
    }
    return render(request, "billing/overview.html", context, status=status)


def instance_of(account: Any) -> dict[str, str]:
    """The account as the form's data."""
    return {name: getattr(account, name) for name in prices.OWN_FIELDS}


@post_only
@signed_in
def change_account(request: Request, slug: str) -> HttpResponse:
    """Where bills go: owners only."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    form = AccountForm(request.POST)
    if not form.is_valid():
        return _overview(request, place, 400, form=form)
    try:
        prices.change_account(place.project, form.cleaned_data, user=request.user)
    except DomainError as error:
        form.refuse(error)
        return _overview(request, place, error.http_status, form=form)
    messages.success(request, _("The billing account was changed."))
    return SeeOther(reverse("web:billing", args=[slug]))


@post_only
@signed_in
def redeem(request: Request, slug: str) -> HttpResponse:
    """A promotion code becomes a credit."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    form = PromotionForm(request.POST)
    if not form.is_valid():
        return _overview(request, place, 400, code_form=form)
    try:
        credit = prices.redeem(place.project, form.cleaned_data["code"], user=request.user)
    except Forbidden as error:
        return render(request, "403.html", {"exception": refusal_of(error).text}, status=403)
    except DomainError as error:
        form.refuse(error)
        return _overview(request, place, 400, code_form=form)
    messages.success(request, _("The project has a credit of %(amount)s.") % {"amount": credit.amount})
    return SeeOther(reverse("web:billing", args=[slug]))


@require_GET
@signed_in
def by_label(request: Request, slug: str) -> HttpResponse:
    """What this month costs so far, by the values of one label."""
    place = place_of(request.user, slug)
    account = prices.account_of(place.project)
    found = allocation.by_label(place.project, text_param(request, "key", 63), timezone.now())
    page = Paginator(found.shares, VMS_A_PAGE).get_page(page_param(request, "page"))
    context = {"place": place, "account": account, "found": found, "page": page}
    return render(request, "billing/labels.html", context)


# -- invoices ------------------------------------------------------------------------------------


@require_GET
@signed_in
def invoices(request: Request, slug: str) -> HttpResponse:
    """All of them, newest first."""
    place = place_of(request.user, slug)
    page = Paginator(_invoices(place), INVOICES_A_PAGE).get_page(page_param(request, "page"))
    return render(request, "billing/invoices.html", {"place": place, "page": page})


@require_GET
@signed_in
def invoice(request: Request, slug: str, number: int) -> HttpResponse:
    """One, with its lines."""
    place = place_of(request.user, slug)
    row = invoice_in(place, number)
    page = Paginator(row.lines.order_by("position"), LINES_A_PAGE).get_page(page_param(request, "page"))
    context = {
        "place": place,
        "invoice": row,
        "zone": row.zone,
        "page": page,
        "payments": list(row.payments.all()),
        "reminders": list(row.reminders.all()),
        "corrections": list(row.corrections.all()),
        "measured": intervals.MEASURED,
        "overdue": row.is_overdue(timezone.now()),
        "uptime": metering.project_usage(row.project, row.period_start, row.period_end).availability,
        "by_card": place.may_manage and bool(row.open) and payments.provider() is not None,
    }
    return render(request, "billing/invoice.html", context)


@require_GET
@signed_in
def download(request: Request, slug: str, number: int, ending: str) -> HttpResponse:
    """As PDF or CSV, in the invoice's language or the one asked for."""
    row = invoice_in(place_of(request.user, slug), number)
    language = text_param(request, "language", 5)
    if ending == "pdf":
        response = HttpResponse(documents.pdf(row, language), content_type="application/pdf")
    else:
        response = HttpResponse(documents.as_csv(row, language), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{documents.file_name(row, ending)}"'
    response["Cache-Control"] = "no-store"
    return response


@require_GET
@signed_in
def line(request: Request, slug: str, number: int, position: int) -> HttpResponse:
    """What a line goes back to: its intervals with their states, or its repairs."""
    place = place_of(request.user, slug)
    row = _line(invoice_in(place, number), position)
    parts = list(intervals.of_line(row))
    context = {
        "place": place,
        "invoice": row.invoice,
        "zone": row.invoice.zone,
        "line": row,
        "page": Paginator(parts, PARTS_A_PAGE).get_page(page_param(request, "page")),
        "seconds": sum((part.quantity for part in parts), Decimal(0)),
        "repairs": intervals.repairs_of(row),
    }
    return render(request, "billing/line.html", context)


def _invoices(place: Place) -> Any:
    rows = Invoice.objects.visible_to(place.user).filter(project=place.project)
    return rows.order_by("-month", "-sequence", "-id")


def invoice_in(place: Place, number: int) -> Invoice:
    """The invoice of that id, if it is the project's; else 404."""
    found = _invoices(place).select_related("project", "corrects").filter(pk=number).first()
    if found is None:
        raise Http404(_("There is no such invoice in this project."))
    return found  # type: ignore[no-any-return]


def _line(row: Invoice, position: int) -> InvoiceLine:
    found = row.lines.select_related("vm", "image").filter(position=position).first()
    if found is None:
        raise Http404(_("The invoice has no such line."))
    found.invoice = row
    return found


# -- one VM --------------------------------------------------------------------------------------


@require_GET
@signed_in
def vm(request: Request, slug: str, name: str) -> HttpResponse:
    """What a VM costs this month, and its uptime; for htmx the panel of its page alone."""
    place = place_of(request.user, slug)
    row = vm_in(place, name)
    month = costs.of_vm(row, timezone.now())
    context = {"place": place, "vm": row, "costs": month, "zone": prices.account_of(place.project).zone}
    context |= {"current": "costs", **head_context(place, row)}
    return render(request, "billing/_vm.html" if request.htmx else "billing/vm.html", context)


@require_GET
@signed_in
def preview(request: Request, slug: str) -> HttpResponse:
    """What the VM of the form would cost. Whatever is missing or wrong in the form has its default here."""
    place = place_of(request.user, slug)
    place.require(Right.USE_VMS)
    context = {"place": place, "preview": preview_of(request)}
    return render(request, "billing/_preview.html", context)


def preview_of(request: Request) -> costs.Preview:
    """By the query; a field that is missing or wrong counts as its default."""
    return costs.preview(_shape(request), timezone.now())


def _shape(request: Request) -> Shape:
    types = MachineType.objects.filter(retired=False)
    kind = types.filter(name=text_param(request, "machine_type")).first() or types.filter(is_default=True).first()
    zone = Zone.objects.filter(name=text_param(request, "zone")).first() or Zone.objects.order_by("pk").first()
    custom = text_param(request, "machine_type") == "custom"
    vcpus = _number(request, "vcpus", 256) if custom else 0
    memory = _number(request, "memory_mib", 4 * 2**20) if custom else 0
    return Shape(
        kind.name if kind else "",
        vcpus or (kind.vcpus if kind else 1),
        memory or (kind.memory_mib if kind else 512),
        _number(request, "disk_gib", 65_536) or 1,
        "custom" if custom else (kind.family if kind else ""),
        zone.name if zone else "",
    )


def _number(request: Request, name: str, most: int) -> int:
    text = text_param(request, name, 9)
    return min(int(text), most) if text.isascii() and text.isdigit() else 0
