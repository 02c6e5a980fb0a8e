"""The project as JSON: what a browser fetches when it missed too much."""

from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from lifecycle.realtime import messages
from lifecycle.web.access import place_of
from lifecycle.web.http import Request, signed_in

VMS_MAX = 500


@never_cache
@require_GET
@signed_in
def snapshot(request: Request, slug: str) -> HttpResponse:
    """`{"v", "number", "vms"}`: the number was read before the VMs, so that later events apply again without harm.

    With `?vm=ID&vm=ID` of those VMs alone: a page shows few of the thousands that a project may have.
    """
    asked = request.GET.getlist("vm")
    wanted = [UUID(vm) for vm in asked[:VMS_MAX] if is_uuid(vm)] if asked else None
    return JsonResponse(messages.snapshot(place_of(request.user, slug).project, wanted))


def is_uuid(text: str) -> bool:
    """Whether `text` is the id of a VM, existing or not."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
