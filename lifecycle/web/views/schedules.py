"""When a VM is started and stopped by the clock; and what a hint about an idle VM offers."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.models import VM, IdleHint, Schedule, ScheduleRun
from lifecycle.services import idle, prices, schedules
from lifecycle.web.access import Place, place_of, vm_in
from lifecycle.web.forms import ScheduleForm
from lifecycle.web.http import Request, SeeOther, next_or, signed_in
from lifecycle.web.refusals import told
from lifecycle.web.views.errors import post_only
from lifecycle.web.views.vm_page import head_context

RUNS_SHOWN = 20


@require_http_methods(["GET", "POST"])
@signed_in
def index(request: Request, slug: str, name: str) -> HttpResponse:
    """The VM's schedules, what became of the last times, and the form for another."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    if request.method == "GET":
        return _page(request, place, vm, _empty(place))
    place.require(Right.USE_VMS)
    form = ScheduleForm(request.POST)
    status = 400
    if form.is_valid():
        data = form.cleaned_data
        wish = schedules.Wish(data["action"], data["at"], tuple(data["days"]), data["time_zone"])
        try:
            schedules.add(vm, wish, user=request.user)
        except DomainError as error:
            form.refuse(error)
            status = error.http_status
        else:
            messages.success(request, _("The schedule is added."))
            return _back(slug, name)
    return _page(request, place, vm, form, status)


def _empty(place: Place) -> ScheduleForm:
    return ScheduleForm(initial={"time_zone": prices.account_of(place.project).time_zone})


def _page(request: Request, place: Place, vm: VM, form: ScheduleForm, status: int = 200) -> HttpResponse:
    context = {
        **head_context(place, vm),
        "schedules": list(Schedule.objects.filter(vm=vm).order_by("next_at", "pk")),
        "runs": list(ScheduleRun.objects.filter(vm=vm).select_related("operation", "schedule")[:RUNS_SHOWN]),
        "zone": prices.account_of(place.project).zone,
        "hint": IdleHint.objects.filter(vm=vm, dismissed_at__isnull=True).first(),
        "form": form,
        "current": "schedules",
    }
    return render(request, "vms/schedules.html", context, status=status)


@post_only
@signed_in
def skip(request: Request, slug: str, name: str, schedule_id: int) -> HttpResponse:
    """Let the next time pass once, or take that back (`on` is empty)."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(Right.USE_VMS)
    on = bool(request.POST.get("on", "1"))
    with told(request, _("The next time is skipped.") if on else _("The next time is not skipped.")):
        schedules.skip(vm, schedule_id, on, user=request.user)
    return _back(slug, name)


@post_only
@signed_in
def remove(request: Request, slug: str, name: str, schedule_id: int) -> HttpResponse:
    """Forget one."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(Right.USE_VMS)
    with told(request, _("The schedule is removed.")):
        schedules.remove(vm, schedule_id, user=request.user)
    return _back(slug, name)


@post_only
@signed_in
def office_hours(request: Request, slug: str, name: str) -> HttpResponse:
    """On by day and off by night and at weekends, by one click."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(Right.USE_VMS)
    with told(request, _("%(name)s is started at 8 and stopped at 19 on working days.") % {"name": name}):
        schedules.keep_office_hours(vm, user=request.user)
    return _back(slug, name)


@post_only
@signed_in
def dismiss(request: Request, slug: str, name: str) -> HttpResponse:
    """The VM is meant to idle."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(Right.USE_VMS)
    with told(request, _("The hint about %(name)s is dismissed.") % {"name": name}):
        idle.dismiss(vm, timezone.now(), user=request.user)
    return SeeOther(next_or(request, reverse("web:vm-schedules", args=[slug, name])))


def _back(slug: str, name: str) -> HttpResponse:
    return SeeOther(reverse("web:vm-schedules", args=[slug, name]))
