"""One action for many VMs: one request, an answer for each VM; a refusal stops no other."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from lifecycle.domain.access import NEEDS
from lifecycle.domain.errors import DomainError, InvalidInput
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation
from lifecycle.services.vms import request_action
from lifecycle.web.access import Place, place_of
from lifecycle.web.http import Request, signed_in
from lifecycle.web.refusals import refusal_of, text_of
from lifecycle.web.views.errors import post_only
from lifecycle.web.views.vm_actions import CONFIRMED
from lifecycle.web.views.vm_list import BULK

#: So many VMs at once; a list shows fewer.
MOST = 100


@post_only
@signed_in
def act(request: Request, slug: str) -> HttpResponse:
    """Ask first where something is lost; else ask for the action VM by VM, and show what became of each."""
    place = place_of(request.user, slug)
    try:
        action = _action(request.POST.get("action", ""))
        vms = _chosen(place, request.POST.getlist("vm"))
    except InvalidInput as error:
        context = {"place": place, "refusal": refusal_of(error)}
        return render(request, "vms/bulk_nothing.html", context, status=error.http_status)
    place.require(NEEDS[action])
    bulk_id = _bulk_id(request)
    context = {"place": place, "action": action, "vms": vms, "bulk_id": bulk_id}
    if action in CONFIRMED and request.POST.get("confirmed") != "yes":
        return render(request, "vms/bulk_confirm.html", context)
    results = [_ask(request, vm, action, bulk_id) for vm in vms]
    refused = sum(1 for result in results if result["refusal"])
    numbers = {"asked": len(results) - refused, "refused": refused}
    return render(request, "vms/bulk_done.html", {**context, **numbers, "results": results})


def _action(name: str) -> Action:
    if name not in set(BULK):
        raise InvalidInput(mark("Choose what to do with the VMs."), field="action")
    return Action(name)


def _chosen(place: Place, ids: list[str]) -> list[VM]:
    """The VMs that were ticked and that the person can see; what is gone meanwhile is left out."""
    wanted = {known for text in ids if (known := _uuid(text))}
    if len(wanted) > MOST:
        raise InvalidInput(mark("At most %(most)s VMs can be chosen at once."), most=MOST)
    vms = VM.objects.live().visible_to(place.user).filter(project=place.project, pk__in=wanted)
    found = list(vms.select_related("project").order_by("name"))
    if not found:
        raise InvalidInput(mark("No VM was chosen. Tick the VMs in the list, then choose what to do."))
    return found


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _bulk_id(request: Request) -> uuid.UUID:
    return _uuid(request.POST.get("bulk_id", "")) or uuid.uuid4()


def _ask(request: Request, vm: VM, action: Action, bulk_id: uuid.UUID) -> dict[str, Any]:
    """The form sent again does nothing twice: each VM's request has an id made of the form's and its own."""
    request_id = uuid.uuid5(bulk_id, f"{vm.pk} {action}")
    operation: Operation | None = None
    refusal = ""
    try:
        operation = request_action(vm, action, user=request.user, request_id=request_id)
    except DomainError as error:
        refusal = text_of(error)
    return {"vm": vm, "operation": operation, "refusal": refusal}
