"""One VM: its page and the parts of it that are fetched again when something changed."""

import uuid
from datetime import timedelta
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from lifecycle.models import VM, Image, Operation, SerialLog, Transition
from lifecycle.services import maintenance, metering
from lifecycle.web.access import Place, buried_vm_in, place_of, vm_in
from lifecycle.web.http import Request, page_param, signed_in
from lifecycle.web.refusals import Refusal
from lifecycle.web.views.vm_list import with_operations

MOMENTS = 10
RECENT_OPERATIONS = 6
REPAIRS = 5
AVAILABILITY_WINDOW = timedelta(days=30)


@require_GET
@signed_in
def show(request: Request, slug: str, name: str) -> HttpResponse:
    """The page; for a VM that was deleted, a page that says so (410)."""
    place = place_of(request.user, slug)
    try:
        vm = vm_in(place, name)
    except Http404:
        vm = buried_vm_in(place, name)
        return render(request, "vms/gone.html", {"place": place, **gone_context(vm)}, status=410)
    return vm_page(request, place, vm)


def vm_page(request: Request, place: Place, vm: VM, refusal: Refusal | None = None) -> HttpResponse:
    """The whole page, with a refusal on top when an action was refused."""
    context = vm_context(request, place, vm) | serial_context(vm)
    status = refusal.status if refusal else 200
    return render(request, "vms/show.html", {**context, "refusal": refusal}, status=status)


@require_GET
@signed_in
def fragment(request: Request, slug: str, name: str) -> HttpResponse:
    """A part of the page: `part` is row, head, panel or serial. Of a VM that is gone, the panel says so."""
    place = place_of(request.user, slug)
    part = request.GET.get("part", "panel")
    try:
        vm = vm_in(place, name)
    except Http404:
        vm = buried_vm_in(place, name)
        return _gone(request, place, vm, part)
    if part == "row":
        return render(request, "vms/_cells.html", {"place": place, "row": with_operations(place, [vm])[0]})
    if part == "serial":
        return _serial(request, place, vm)
    if part == "head":
        return render(request, "vms/_head.html", {**head_context(place, vm), "oob": True})
    return render(request, "vms/_panel.html", {**vm_context(request, place, vm), "oob": True})


def _gone(request: Request, place: Place, vm: VM, part: str) -> HttpResponse:
    """Its row goes; its page says what happened."""
    if part == "serial":
        return HttpResponse(status=204)
    if part == "row":
        response = HttpResponse()
        response["HX-Reswap"] = "delete"
        return response
    response = render(request, "vms/_gone.html", {"place": place, **gone_context(vm)})
    response["HX-Retarget"] = "#vm"
    response["HX-Reswap"] = "outerHTML"
    return response


def head_context(place: Place, vm: VM) -> dict[str, Any]:
    """What every page of a VM has on top (`vms/base.html`): two queries."""
    running = Operation.objects.filter(vm=vm).exclude(status=Operation.Status.DONE).first()
    return _head(place, vm, running)


def _head(place: Place, vm: VM, running: Operation | None) -> dict[str, Any]:
    return {"place": place, "vm": vm, "actions": place.actions(vm, running), "maintenance": maintenance.ahead(vm)}


def vm_context(request: Request, place: Place, vm: VM) -> dict[str, Any]:
    """All but the serial output: a constant number of queries."""
    recent = list(Operation.objects.filter(vm=vm).select_related("user").prefetch_related("steps")[:RECENT_OPERATIONS])
    running = next((operation for operation in recent if not operation.is_done), None)
    page = page_param(request, "timeline")
    moments = list(Transition.objects.filter(vm=vm).select_related("user")[(page - 1) * MOMENTS : page * MOMENTS + 1])
    return {
        **_head(place, vm, running),
        "disks": list(vm.disks.all()),
        "key_people": list(vm.key_people.all()),
        "cds": _cds(place),
        "operation": running,
        "latest": running or next(iter(recent), None),
        "recent": recent,
        "moments": moments[:MOMENTS],
        "timeline_page": page,
        "timeline_older": len(moments) > MOMENTS,
        "repairs": list(vm.repairs.all()[:REPAIRS]),
        "usage": metering.usage(vm, timezone.now() - AVAILABILITY_WINDOW),
        "request_id": uuid.uuid4(),
        "current": "overview",
        "fragment": "panel",
        "fragment_query": f"&timeline={page}",
    }


def _cds(place: Place) -> list[Image]:
    """What may be put into the drive."""
    return list(Image.objects.usable_in(place.project).filter(kind="iso", status=Image.Status.READY).order_by("name"))


def gone_context(vm: VM) -> dict[str, Any]:
    """A deleted VM and the operation that ended it."""
    last = Operation.objects.filter(vm=vm).select_related("user").first()
    return {"vm": vm, "latest": last}


def serial_context(vm: VM) -> dict[str, Any]:
    """What the serial port said last: one query."""
    return {"serial": SerialLog.objects.filter(vm=vm).first()}


def _serial(request: Request, place: Place, vm: VM) -> HttpResponse:
    """The output; 204 when the reader has seen it all, so that nothing in the page moves."""
    context = serial_context(vm)
    log: SerialLog | None = context["serial"]
    if request.GET.get("seen") == str(log.read_bytes if log else 0):
        return HttpResponse(status=204)
    return render(request, "vms/_serial.html", {"place": place, "vm": vm, **context})
