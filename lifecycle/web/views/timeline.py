"""The flight recorder of a VM: its timeline, and the post-mortem of a repair or a period, made to be printed."""

from datetime import datetime, timedelta
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle.models import VM, Repair
from lifecycle.services import timeline
from lifecycle.web.access import Place, buried_vm_in, place_of, vm_in
from lifecycle.web.http import Request, signed_in, text_param
from lifecycle.web.views.vm_page import head_context

#: The longest period of one post-mortem.
PERIOD_MAX = timedelta(days=31)
REPAIRS_SHOWN = 20


@require_GET
@signed_in
def index(request: Request, slug: str, name: str) -> HttpResponse:
    """A page of the timeline; `kind` filters, `before` and `at` are places in it. Also of a VM that is gone."""
    place = place_of(request.user, slug)
    vm = _vm(place, name)
    chosen = [kind for kind in request.GET.getlist("kind") if kind in timeline.KINDS]
    before = timeline.parse_cursor(text_param(request, "before"))
    at = timeline.parse_cursor(text_param(request, "at"))
    page = timeline.page(vm, chosen or timeline.KINDS, before=before, at=at)
    context = {
        **_head(place, vm),
        "current": "timeline",
        "page": page,
        "kinds": timeline.KINDS,
        "chosen": chosen,
        "filter": "".join(f"&kind={kind}" for kind in chosen),
        "paged": bool(before or at),
        "marked": text_param(request, "at"),
        "repairs": list(Repair.objects.filter(vm=vm)[:REPAIRS_SHOWN]),
    }
    return render(request, "timeline/index.html", context)


@require_GET
@signed_in
def post_mortem(request: Request, slug: str, name: str) -> HttpResponse:
    """What happened around a repair (`repair`), or between `from` and `to`, in the order it happened."""
    place = place_of(request.user, slug)
    vm = _vm(place, name)
    repair = _repair(vm, text_param(request, "repair"))
    begin, end, problem = _period(request, repair)
    context = {
        **_head(place, vm),
        "current": "timeline",
        "repair": repair,
        "begin": begin,
        "end": end,
        "problem": problem,
        "moments": [] if problem else timeline.period(vm, begin, end),
        "most": timeline.PERIOD_MAX,
        "made_at": timezone.now(),
    }
    return render(request, "timeline/post_mortem.html", context, status=400 if problem else 200)


def _vm(place: Place, name: str) -> VM:
    """The VM; when there is none of the name, the one that was deleted last: its history is kept."""
    try:
        return vm_in(place, name)
    except Http404:
        return buried_vm_in(place, name)


def _head(place: Place, vm: VM) -> dict[str, Any]:
    return {"place": place, "vm": vm, "actions": ()} if vm.deleted_at else head_context(place, vm)


def _repair(vm: VM, text: str) -> Repair | None:
    """The repair of that number; 404 when the VM has none such."""
    if not text:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0
    found = Repair.objects.filter(vm=vm, pk=number).select_related("host", "user", "operation").first()
    if found is None:
        raise Http404(_("There is no such repair of this VM."))
    return found


def _period(request: Request, repair: Repair | None) -> tuple[datetime, datetime, str]:
    """The period, and what is wrong with it."""
    now = timezone.now()
    if repair is not None:
        return *timeline.around(repair), ""
    begin, end = _moment(request, "from"), _moment(request, "to")
    if begin is None or end is None:
        return now, now, _("Give the beginning and the end as dates with times, such as 2026-03-01T12:00.")
    if end <= begin:
        return now, now, _("The end must be after the beginning.")
    if end - begin > PERIOD_MAX:
        return now, now, _("The period may be 31 days at most. Choose a shorter one.")
    return begin, end, ""


def _moment(request: Request, name: str) -> datetime | None:
    """A date and time of the query, in the reader's zone where it names none."""
    try:
        found = parse_datetime(text_param(request, name))
        return timezone.make_aware(found) if found is not None and timezone.is_naive(found) else found
    except (ValueError, OverflowError):
        return None
