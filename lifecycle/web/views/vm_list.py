"""The list of a project's VMs, and one row of it."""

import uuid
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation, SavedView, Zone
from lifecycle.web.access import Place, place_of
from lifecycle.web.http import Request, page_param, signed_in
from lifecycle.web.vm_search import VMSearch

PAGE_SIZE = 50

#: What can be asked of many VMs at once, in the order of the buttons.
BULK: tuple[Action, ...] = (
    Action.START,
    Action.RESUME,
    Action.SUSPEND,
    Action.STOP,
    Action.RESET,
    Action.DELETE,
)

_ORDERS: dict[str, Promise] = {
    "name": _("Name, A to Z"),
    "-name": _("Name, Z to A"),
    "state": _("State"),
    "-since": _("Changed last first"),
    "-created": _("Newest first"),
    "created": _("Oldest first"),
    "-machine": _("Largest first"),
    "place": _("Host"),
}


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """The page; for htmx (search, a filter, a change in the list) the list alone."""
    place = place_of(request.user, slug)
    search = VMSearch.of(request.GET)
    context = list_context(place, search, page_param(request, "page"))
    if request.htmx and request.htmx.target == "vms":
        return render(request, "vms/_list.html", {"place": place, "partial": True, **context})
    return render(request, "vms/index.html", {"place": place, **context, **_tools(place, search)})


def _tools(place: Place, search: VMSearch) -> dict[str, Any]:
    """What stands above the list: two queries."""
    return {
        "views": list(SavedView.objects.filter(user=place.user, project=place.project)),
        "zones": list(Zone.objects.order_by("name")),
        "orders": [(key, text, search.with_(sort=key).query) for key, text in _ORDERS.items()],
        "order": _ORDERS.get(search.sort, _ORDERS["name"]),
    }


def list_context(place: Place, search: VMSearch, page: int) -> dict[str, Any]:
    """Rows, counts by state and the page: four queries whatever the number of VMs."""
    everything = VM.objects.live().visible_to(place.user).filter(project=place.project)
    matching = search.narrow(everything)
    counts = dict(matching.order_by().values_list("state").annotate(Count("pk")))
    total = sum(counts.values())
    if search.state:
        matching = matching.filter(state=search.state)
    rows = search.order(matching.select_related("host", "zone", "machine_type", "address"))
    paginator = Paginator(rows, PAGE_SIZE)
    paginator.count = counts.get(search.state, 0) if search.state else total
    shown = paginator.get_page(page)
    states = [s for s in State if counts.get(s) or s == search.state]
    return {
        "search": search,
        "total": total,
        "states": [(s, counts.get(s, 0), search.with_(state=s).query) for s in states],
        "all_states": search.with_(state="").query,
        "sorts": _headers(search),
        "page": shown,
        "rows": with_operations(place, list(shown.object_list)),
        "bulk": BULK if place.may_use else (),
        "bulk_id": uuid.uuid4(),
    }


def _headers(search: VMSearch) -> dict[str, dict[str, str]]:
    """Of each column that sorts: where its head leads, and how it is sorted now (aria-sort)."""
    found = {}
    for name in ("name", "state", "machine", "place"):
        down = search.sort == name
        now = {name: "ascending", f"-{name}": "descending"}.get(search.sort, "")
        found[name] = {"query": search.with_(sort=f"-{name}" if down else name).query, "now": now}
    return found


def with_operations(place: Place, vms: list[VM]) -> list[dict[str, Any]]:
    """Each VM with its open operation and the actions possible now: one query."""
    found = Operation.objects.filter(vm__in=[vm.pk for vm in vms]).exclude(status=Operation.Status.DONE)
    running = {operation.vm_id: operation for operation in found}
    return [{"vm": vm, "operation": running.get(vm.pk), "actions": place.actions(vm, running.get(vm.pk))} for vm in vms]
