"""The list of a project's VMs, and one row of it."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from lifecycle.domain.states import State
from lifecycle.models import VM, Operation
from lifecycle.web.access import Place, place_of
from lifecycle.web.http import Request, page_param, signed_in, text_param

PAGE_SIZE = 50


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """The page; for htmx (search, a filter, a change in the list) the list alone."""
    place = place_of(request.user, slug)
    context = list_context(place, text_param(request, "q"), text_param(request, "state"), page_param(request, "page"))
    partial = request.htmx and request.htmx.target == "vms"
    template = "vms/_list.html" if partial else "vms/index.html"
    return render(request, template, {"place": place, "partial": partial, **context})


def list_context(place: Place, query: str, state: str, page: int) -> dict[str, Any]:
    """Rows, counts by state and the page: four queries whatever the number of VMs."""
    state = state if state in set(State) else ""
    everything = VM.objects.live().visible_to(place.user).filter(project=place.project)
    matching = everything
    if query:
        matching = matching.filter(Q(name__icontains=query) | Q(address__ip__startswith=query))
    counts = dict(matching.order_by().values_list("state").annotate(Count("pk")))
    total = sum(counts.values())
    if state:
        matching = matching.filter(state=state)
    paginator = Paginator(matching.select_related("host", "zone", "machine_type", "address"), PAGE_SIZE)
    paginator.count = counts.get(state, 0) if state else total
    shown = paginator.get_page(page)
    return {
        "query": query,
        "state": state,
        "total": total,
        "states": [(s, counts.get(s, 0)) for s in State if counts.get(s) or s == state],
        "page": shown,
        "rows": with_operations(place, list(shown.object_list)),
        "filtered": bool(query or state),
    }


def with_operations(place: Place, vms: list[VM]) -> list[dict[str, Any]]:
    """Each VM with its open operation and the actions possible now: one query."""
    found = Operation.objects.filter(vm__in=[vm.pk for vm in vms]).exclude(status=Operation.Status.DONE)
    running = {operation.vm_id: operation for operation in found}
    return [{"vm": vm, "operation": running.get(vm.pk), "actions": place.actions(vm, running.get(vm.pk))} for vm in vms]
