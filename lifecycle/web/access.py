"""Fetching is authorising: what a view works on comes from here, and a stranger gets 404."""

from uuid import UUID

from django.http import Http404
from django.utils.translation import gettext as _

from lifecycle.models import VM, Operation, User
from lifecycle.services.places import Place as Place
from lifecycle.services.places import find_place


def place_of(user: User, slug: str) -> Place:
    """The project, if `user` may see it; else 404."""
    place = find_place(user, slug)
    if place is None:
        raise Http404(_("There is no such project, or you are not a member of it."))
    return place


def vm_in(place: Place, name: str) -> VM:
    """The live VM of that name with all a page shows; else 404."""
    vm = place.vms().live().filter(name=name).first()
    if vm is None:
        raise Http404(_("There is no such VM in this project."))
    return vm


def buried_vm_in(place: Place, name: str) -> VM:
    """The VM of that name that was deleted last; else 404."""
    vm = place.vms().filter(name=name, deleted_at__isnull=False).order_by("-deleted_at").first()
    if vm is None:
        raise Http404(_("There is no such VM in this project."))
    return vm


def operation_in(place: Place, operation_id: UUID) -> Operation:
    """The operation, if it belongs to the project; else 404."""
    found = (
        Operation.objects.filter(project=place.project, pk=operation_id)
        .select_related("vm", "user", "preempted_by", "cancelled_by")
        .prefetch_related("steps")
        .first()
    )
    if found is None:
        raise Http404(_("There is no such operation in this project."))
    return found
