"""A new VM: only the name is needed."""

import uuid
from itertools import count
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.models import VM, SSHKey
from lifecycle.services import quotas
from lifecycle.services.vms import request_create
from lifecycle.web.access import Place, place_of
from lifecycle.web.forms import VMChoices, VMForm
from lifecycle.web.http import Request, SeeOther, signed_in
from lifecycle.web.views.billing import preview_of


@require_http_methods(["GET", "POST"])
@signed_in
def new(request: Request, slug: str) -> HttpResponse:
    """The form and what it sends. The hidden request id makes two clicks one VM."""
    place = place_of(request.user, slug)
    place.require(Right.USE_VMS)
    choices = VMChoices(place.project)
    if request.method == "GET":
        mine = SSHKey.objects.filter(user=request.user).exists()
        keys = "" if mine else _last_keys(place)
        initial = {"request_id": uuid.uuid4(), "ssh_keys": keys, "name": _free_name(place)}
        return _show(request, place, VMForm(initial=initial, choices=choices))
    form = VMForm(request.POST, choices=choices)
    if not form.is_valid():
        return _show(request, place, form, status=400)
    try:
        operation = request_create(
            place.project, form.as_request(), user=request.user, request_id=form.cleaned_data["request_id"]
        )
    except DomainError as error:
        form.refuse(error)
        return _show(request, place, form, status=error.http_status)
    return SeeOther(f"/projects/{place.project.slug}/vms/{operation.target_name}/")


def _show(request: Request, place: Place, form: VMForm, status: int = 200) -> HttpResponse:
    kept = SSHKey.objects.filter(Q(user=request.user) | Q(project=place.project))
    context = {
        "place": place,
        "form": form,
        "meters": quota_meters(place),
        "preview": preview_of(request),
        "my_keys": [key for key in kept if key.user_id],
        "project_keys": [key for key in kept if key.project_id],
    }
    return render(request, "vms/new.html", context, status=status)


def _free_name(place: Place) -> str:
    """`vm-1`, or the next number that no VM of the project has: a suggestion, there to be overwritten."""
    taken = set(VM.objects.live().filter(project=place.project, name__startswith="vm-").values_list("name", flat=True))
    return next(name for number in count(1) if (name := f"vm-{number}") not in taken)


def _last_keys(place: Place) -> str:
    """The keys this person gave last in this project, so that nobody pastes the same key for ever."""
    mine = VM.objects.visible_to(place.user).filter(project=place.project, created_by=place.user)
    return mine.exclude(ssh_keys="").order_by("-created_at").values_list("ssh_keys", flat=True).first() or ""


def quota_meters(place: Place) -> list[dict[str, Any]]:
    """Usage and limit of each metric: two queries."""
    used, limits = quotas.usage_of(place.project), quotas.limits_of(place.project)
    return [
        {"metric": metric, "used": getattr(used, metric), "limit": getattr(limits, metric)}
        for metric in ("vms", "vcpus", "memory_mib", "disk_gib")
    ]
