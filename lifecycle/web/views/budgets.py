"""Budgets of a project: all members see them, owners write them."""

from typing import Any

from django.contrib import messages
from django.db.models import Prefetch
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from lifecycle.billing import budgets as rounds
from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.models import Budget, BudgetAlert
from lifecycle.services import budgets, prices
from lifecycle.web.access import Place, place_of
from lifecycle.web.forms import BudgetForm
from lifecycle.web.http import Request, SeeOther, signed_in
from lifecycle.web.views.errors import post_only

#: Of each budget so many of its last alerts are shown.
ALERTS_SHOWN = 5


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """All of them, with what is spent and what was told."""
    return _index(request, place_of(request.user, slug))


def _index(request: Request, place: Place, **more: Any) -> HttpResponse:
    latest = BudgetAlert.objects.order_by("-at", "-pk")[:ALERTS_SHOWN]
    rows = _budgets(place).prefetch_related(Prefetch("alerts", queryset=latest, to_attr="latest")).order_by("name")
    month = budgets.this_month(place.project, timezone.now())
    context = {
        "place": place,
        "budgets": [(row, _shown(row, month)) for row in rows],
        "currency": prices.tariff().currency,
        "zone": prices.account_of(place.project).zone,
        **more,
    }
    response = render(request, "billing/budgets.html", context)
    if more:
        response["Cache-Control"] = "no-store"
    return response


def _shown(row: Budget, month: str) -> dict[str, Any]:
    """What the page says beside the columns; what was spent in another month is not this one's."""
    current = row.month == month
    return {
        "current": current,
        "percent": row.percent if current else 0,
        "bar": min(100, row.percent) if current else 0,
        "forbids": row.is_over(row.forbid_at, month),
        "suspends": row.is_over(row.suspend_at, month),
    }


@require_http_methods(["GET", "POST"])
@signed_in
def new(request: Request, slug: str) -> HttpResponse:
    """The form of another."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    return _form(request, place, None)


@require_http_methods(["GET", "POST"])
@signed_in
def edit(request: Request, slug: str, budget_id: int) -> HttpResponse:
    """The form of one."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    return _form(request, place, _budget(place, budget_id))


@post_only
@signed_in
def remove(request: Request, slug: str, budget_id: int) -> HttpResponse:
    """Forget one."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    row = _budget(place, budget_id)
    budgets.remove(row, user=request.user)
    messages.success(request, _("The budget %(name)s is removed.") % {"name": row.name})
    return SeeOther(reverse("web:budgets", args=[slug]))


def _form(request: Request, place: Place, row: Budget | None) -> HttpResponse:
    form = BudgetForm(request.POST if request.method == "POST" else None, initial=_initial(row))
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                wish = budgets.Wish(**{**form.cleaned_data, "thresholds": tuple(form.cleaned_data["thresholds"])})
                saved, secret = budgets.save(place.project, wish, user=request.user, budget=row)
            except DomainError as error:
                form.refuse(error)
                status = error.http_status
            else:
                return _saved(request, place, saved, secret)
    context = {"place": place, "form": form, "budget": row, "currency": prices.tariff().currency}
    return render(request, "billing/budget.html", context, status=status)


def _saved(request: Request, place: Place, saved: Budget, secret: str) -> HttpResponse:
    """Looked at at once, so that it counts from now on; a new secret stands on this answer and on no other."""
    rounds.look_at(place.project, timezone.now())
    messages.success(request, _("The budget %(name)s is saved.") % {"name": saved.name})
    if secret:
        return _index(request, place, made=saved, secret=secret)
    return SeeOther(reverse("web:budgets", args=[place.project.slug]))


def _initial(row: Budget | None) -> dict[str, Any]:
    if row is None:
        return {}
    names = ("name", "amount", "forbid_at", "suspend_at", "notice_hours", "webhook_url")
    thresholds = ", ".join(str(percent) for percent in row.thresholds)
    return {name: getattr(row, name) for name in names} | {"thresholds": thresholds}


def _budgets(place: Place) -> Any:
    return Budget.objects.visible_to(place.user).filter(project=place.project)


def _budget(place: Place, budget_id: int) -> Budget:
    found: Budget | None = _budgets(place).filter(pk=budget_id).first()
    if found is None:
        raise Http404(_("There is no such budget in this project."))
    return found
