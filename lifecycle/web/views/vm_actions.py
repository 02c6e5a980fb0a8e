"""What people do with a VM: by POST alone, after a confirmation where something is lost."""

import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from lifecycle.domain.access import NEEDS
from lifecycle.domain.errors import DomainError, Forbidden
from lifecycle.domain.states import State
from lifecycle.domain.transitions import USER_ACTIONS, Action
from lifecycle.models import VM, Operation
from lifecycle.services import operations, vms
from lifecycle.services.vms import request_action, set_deletion_protection
from lifecycle.web.access import Place, place_of, vm_in
from lifecycle.web.http import Request, SeeOther, next_or, signed_in
from lifecycle.web.refusals import refusal_fragment, refusal_of
from lifecycle.web.views.errors import post_only
from lifecycle.web.views.vm_page import vm_page

#: Actions that ask first.
CONFIRMED = (Action.STOP, Action.RESET, Action.DELETE)

#: A form sent again within this time is the same click twice; later it is a new wish from an old page.
SAME_CLICK = timedelta(seconds=30)

_UNDER_WAY: dict[Action, Promise] = {
    Action.START: gettext_lazy("Starting %(name)s."),
    Action.STOP: gettext_lazy("Stopping %(name)s."),
    Action.RESET: gettext_lazy("Resetting %(name)s."),
    Action.SUSPEND: gettext_lazy("Suspending %(name)s."),
    Action.RESUME: gettext_lazy("Resuming %(name)s."),
    Action.DELETE: gettext_lazy("Deleting %(name)s."),
}


class ActionConverter:
    """The actions of the table that people ask for, in an address."""

    regex = "|".join(USER_ACTIONS)

    def to_python(self, value: str) -> Action:
        """The action."""
        return Action(value)

    def to_url(self, value: str) -> str:
        """Its name."""
        return str(value)


class ConfirmedActionConverter(ActionConverter):
    """Those that ask first."""

    regex = "|".join(CONFIRMED)


@post_only
@signed_in
def act(request: Request, slug: str, name: str, action: Action) -> HttpResponse:
    """Ask for an action. A refusal is shown on the VM's page with the error's own status."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    try:
        _ask(vm, action, request)
    except DomainError as error:
        return _refused(request, place, vm, error)
    list_url = reverse("web:vms", args=[slug])
    if request.htmx and action is not Action.DELETE:
        return _acted(vm)
    messages.success(request, _UNDER_WAY[action] % {"name": vm.name})
    if request.htmx:
        response = HttpResponse(status=204)
        response["HX-Redirect"] = list_url
        return response
    page = reverse("web:vm", args=[slug, name])
    return SeeOther(list_url if action is Action.DELETE else next_or(request, page))


@post_only
@signed_in
def protect(request: Request, slug: str, name: str) -> HttpResponse:
    """Switch deletion protection to what the form says (`on` or `off`)."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    on = request.POST.get("protection") == "on"
    try:
        set_deletion_protection(vm, on, user=request.user)
    except DomainError as error:
        return _refused(request, place, vm, error)
    if request.htmx:
        return _acted(vm)
    messages.success(request, _("Deletion protection is on.") if on else _("Deletion protection is off."))
    return SeeOther(reverse("web:vm", args=[slug, name]))


@post_only
@signed_in
def set_cdrom(request: Request, slug: str, name: str) -> HttpResponse:
    """Put a CD into the drive at the next start (`cdrom`: its image's number), or take it out (empty)."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    chosen = request.POST.get("cdrom", "")
    number = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 10 else (0 if chosen else None)
    try:
        vms.set_cdrom(vm, number, user=request.user)
    except DomainError as error:
        return _refused(request, place, vm, error)
    messages.success(request, _("The drive is changed: it counts from the next start on."))
    return SeeOther(reverse("web:vm", args=[slug, name]))


@require_GET
@signed_in
def confirm(request: Request, slug: str, name: str, action: Action) -> HttpResponse:
    """What the action would lose and keep, and the button. For htmx, the sheet's content alone."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(NEEDS[action])
    possible = action in place.actions(vm, operations.current(vm.pk))
    context = {
        "place": place,
        "vm": vm,
        "action": action,
        "possible": possible,
        "protected": action is Action.DELETE and vm.deletion_protection,
        "confirmation": confirmation_of(vm, action),
        "request_id": uuid.uuid4(),
    }
    template = "vms/_confirm.html" if request.htmx else "vms/confirm.html"
    return render(request, template, context, status=200 if possible or request.htmx else 409)


def _ask(vm: VM, action: Action, request: Request) -> Operation:
    now = timezone.now()
    operation = request_action(vm, action, user=request.user, request_id=_request_id(request))
    if operation.insert_time < now - SAME_CLICK:
        return request_action(vm, action, user=request.user)
    return operation


def _request_id(request: Request) -> uuid.UUID | None:
    try:
        return uuid.UUID(request.POST.get("request_id", ""))
    except ValueError:
        return None


def _acted(vm: VM) -> HttpResponse:
    """Nothing to swap; the page's script fetches the VM's parts again."""
    response = HttpResponse(status=204)
    response["HX-Trigger"] = json.dumps({"portal:acted": {"vm": str(vm.pk)}})
    return response


def _refused(request: Request, place: Place, vm: VM, error: DomainError) -> HttpResponse:
    refusal = refusal_of(error)
    if request.htmx:
        return refusal_fragment(request, refusal)
    if isinstance(error, Forbidden):
        return render(request, "403.html", {"exception": refusal.text}, status=403)
    return vm_page(request, place, vm_in(place, vm.name), refusal)


@dataclass(frozen=True)
class Confirmation:
    """What a person reads before a loss."""

    title: str
    lead: str
    lost: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def confirmation_of(vm: VM, action: Action) -> Confirmation:
    """Names what `action` would lose and keep, from the VM as it is."""
    about = {Action.STOP: _about_stop, Action.RESET: _about_reset, Action.DELETE: _about_delete}
    return about[action](vm)


def _about_stop(vm: VM) -> Confirmation:
    return Confirmation(
        _("Stop %(name)s?") % {"name": vm.name},
        _("The guest is asked to shut down. After %(seconds)s seconds it is forced off.")
        % {"seconds": vm.stop_grace_seconds},
        [_("What is in memory: running programs and unsaved work.")],
        [_kept_disks(vm), _kept_address(vm)],
    )


def _about_reset(vm: VM) -> Confirmation:
    return Confirmation(
        _("Reset %(name)s?") % {"name": vm.name},
        _("Like the reset button of a machine: the guest boots anew at once, without shutting down."),
        [
            _("What is in memory: running programs and unsaved work."),
            _("Writes that the guest has not brought to its disk yet."),
        ],
        [_kept_disks(vm), _kept_address(vm)],
    )


def _about_delete(vm: VM) -> Confirmation:
    disks = list(vm.disks.all())
    lost = [
        _("The disk %(disk)s (%(size)s GiB) with everything on it.") % {"disk": disk.name, "size": disk.size_gib}
        for disk in disks
        if disk.auto_delete
    ]
    if vm.state == State.SUSPENDED:
        lost.append(_("The saved memory."))
    if ip := getattr(getattr(vm, "address", None), "ip", ""):
        lost.append(_("The internal address %(ip)s.") % {"ip": ip})
    lost.append(_("The serial output and the startup script."))
    kept = [
        _("The disk %(disk)s (%(size)s GiB): it stays on its host.") % {"disk": disk.name, "size": disk.size_gib}
        for disk in disks
        if not disk.auto_delete
    ]
    if vm.adopted:
        lost.append(_("Its definition on its host, which was made outside of the portal."))
    return Confirmation(
        _("Delete %(name)s for ever?") % {"name": vm.name},
        _("This cannot be undone."),
        lost,
        [*kept, _("Its history: operations and who did what. The name can be used again.")],
    )


def _kept_disks(vm: VM) -> str:
    size = sum(disk.size_gib for disk in vm.disks.all())
    return _("Its disks (%(size)s GiB) with all that is written to them.") % {"size": size}


def _kept_address(vm: VM) -> str:
    ip = getattr(getattr(vm, "address", None), "ip", None)
    return _("Its address %(ip)s and its name.") % {"ip": ip} if ip else _("Its name and its settings.")
