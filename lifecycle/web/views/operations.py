"""Operations of a project: what was asked, by whom, how far it is, how it ended."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from lifecycle.models import Operation
from lifecycle.web.access import operation_in, place_of
from lifecycle.web.http import Request, page_param, signed_in, text_param

PAGE_SIZE = 30


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """The newest first; `vm` narrows to a name. One query, however many there are."""
    place = place_of(request.user, slug)
    name = text_param(request, "vm", 63)
    page = page_param(request, "page")
    found = Operation.objects.filter(project=place.project).select_related("user")
    if name:
        found = found.filter(target_name=name)
    rows = list(found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1])
    context = {
        "place": place,
        "operations": rows[:PAGE_SIZE],
        "name": name,
        "number": page,
        "older": len(rows) > PAGE_SIZE,
    }
    return render(request, "operations/_list.html" if request.htmx else "operations/index.html", context)


@require_GET
@signed_in
def show(request: Request, slug: str, operation_id: UUID) -> HttpResponse:
    """One operation with its steps; for htmx its panel alone."""
    place = place_of(request.user, slug)
    context = {"place": place, "operation": operation_in(place, operation_id)}
    return render(request, "operations/_operation.html" if request.htmx else "operations/show.html", context)
