"""Operations of a project: what was asked, by whom, how far it is, how it ended."""

import json
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle.domain.errors import DomainError, Forbidden
from lifecycle.labels import ACTIONS, label
from lifecycle.models import Operation
from lifecycle.services import operations
from lifecycle.web.access import Place, operation_in, place_of
from lifecycle.web.http import Request, SeeOther, next_or, page_param, signed_in, text_param
from lifecycle.web.refusals import refusal_fragment, refusal_of
from lifecycle.web.views.errors import post_only

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


@post_only
@signed_in
def cancel(request: Request, slug: str, operation_id: UUID) -> HttpResponse:
    """Turn an operation round. A refusal is shown on the operation's page with the error's own status."""
    place = place_of(request.user, slug)
    operation = operation_in(place, operation_id)
    try:
        operations.cancel(operation, request.user)
    except DomainError as error:
        return _refused(request, place, operation_id, error)
    if request.htmx:
        response = HttpResponse(status=204)
        response["HX-Trigger"] = json.dumps({"portal:acted": {"vm": str(operation.vm_id)}})
        return response
    names = {"action": label(ACTIONS, operation.action), "name": operation.target_name}
    messages.success(request, _("%(action)s of %(name)s is being cancelled.") % names)
    return SeeOther(next_or(request, reverse("web:operation", args=[slug, operation_id])))


def _refused(request: Request, place: Place, operation_id: UUID, error: DomainError) -> HttpResponse:
    refusal = refusal_of(error)
    if request.htmx:
        return refusal_fragment(request, refusal)
    if isinstance(error, Forbidden):
        return render(request, "403.html", {"exception": refusal.text}, status=403)
    context = {"place": place, "operation": operation_in(place, operation_id), "refusal": refusal}
    return render(request, "operations/show.html", context, status=refusal.status)
