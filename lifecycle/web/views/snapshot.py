"""The project as JSON: what a browser fetches when it missed too much."""

from django.http import HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from lifecycle.realtime import messages
from lifecycle.web.access import place_of
from lifecycle.web.http import Request, signed_in


@never_cache
@require_GET
@signed_in
def snapshot(request: Request, slug: str) -> HttpResponse:
    """`{"v", "number", "vms"}`: the number was read before the VMs, so that later events apply again without harm."""
    return JsonResponse(messages.snapshot(place_of(request.user, slug).project))
