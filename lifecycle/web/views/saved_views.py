"""Saving a search of the list under a name, and forgetting it."""

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _

from lifecycle.domain.errors import DomainError
from lifecycle.services import saved_views
from lifecycle.web.access import place_of
from lifecycle.web.http import Request, SeeOther, signed_in
from lifecycle.web.refusals import text_of
from lifecycle.web.views.errors import post_only
from lifecycle.web.vm_search import VMSearch


@post_only
@signed_in
def save(request: Request, slug: str) -> HttpResponse:
    """Keep what the list shows now; only what the list understands is kept."""
    place = place_of(request.user, slug)
    search = VMSearch.of(QueryDict(request.POST.get("query", "")[:1000]))
    try:
        view = saved_views.save(place.project, request.POST.get("name", ""), search.query, user=request.user)
    except DomainError as error:
        messages.error(request, text_of(error))
    else:
        messages.success(request, _("The view “%(name)s” is saved. Only you see it.") % {"name": view.name})
    return SeeOther(f"{reverse('web:vms', args=[slug])}?{search.query}")


@post_only
@signed_in
def remove(request: Request, slug: str, view_id: int) -> HttpResponse:
    """Forget a view."""
    place = place_of(request.user, slug)
    saved_views.remove(place.project, view_id, user=request.user)
    messages.success(request, _("The view was removed."))
    return SeeOther(reverse("web:vms", args=[slug]))
