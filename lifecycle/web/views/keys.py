"""SSH keys: a person's own, and a project's."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from lifecycle.domain.errors import DomainError
from lifecycle.models import SSHKey
from lifecycle.services import keys
from lifecycle.web.access import Place, place_of, vm_in
from lifecycle.web.forms import SSHKeyForm
from lifecycle.web.http import Request, SeeOther, signed_in
from lifecycle.web.refusals import refusal_of, told
from lifecycle.web.views.errors import post_only


@require_http_methods(["GET", "POST"])
@signed_in
def mine(request: Request) -> HttpResponse:
    """One's own keys, and the form for another."""
    form = SSHKeyForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                keys.add_user_key(request.user, form.cleaned_data["key"], form.cleaned_data["name"])
            except DomainError as error:
                form.refuse(error)
                status = error.http_status
            else:
                messages.success(request, _("The key is kept. New VMs get it by default."))
                return SeeOther(reverse("web:keys"))
    found = list(SSHKey.objects.filter(user=request.user).select_related("added_by"))
    context = {"form": form, "keys": found, "may_change": True}
    return render(request, "keys/mine.html", context, status=status)


@post_only
@signed_in
def remove_mine(request: Request, key_id: int) -> HttpResponse:
    """Forget a key of one's own."""
    try:
        key = keys.remove_user_key(request.user, key_id)
    except DomainError as error:
        messages.error(request, refusal_of(error).text)
    else:
        messages.success(request, _("The key %(name)s is forgotten.") % {"name": key.name})
    return SeeOther(reverse("web:keys"))


@require_http_methods(["GET", "POST"])
@signed_in
def of_project(request: Request, slug: str) -> HttpResponse:
    """The project's keys; who may use VMs may change them."""
    place = place_of(request.user, slug)
    if request.method == "GET":
        return _project_page(request, place, SSHKeyForm())
    form = SSHKeyForm(request.POST)
    status = 400
    if form.is_valid():
        try:
            keys.add_project_key(place.project, form.cleaned_data["key"], form.cleaned_data["name"], user=request.user)
        except DomainError as error:
            form.refuse(error)
            status = error.http_status
        else:
            messages.success(request, _("The key is kept. The project's VMs get it at their next start."))
            return SeeOther(reverse("web:project-keys", args=[slug]))
    return _project_page(request, place, form, status)


@post_only
@signed_in
def remove_of_project(request: Request, slug: str, key_id: int) -> HttpResponse:
    """Forget a key of the project."""
    place = place_of(request.user, slug)
    try:
        key = keys.remove_project_key(place.project, key_id, user=request.user)
    except DomainError as error:
        form = SSHKeyForm()
        return _project_page(request, place, form, error.http_status, refusal=refusal_of(error))
    messages.success(request, _("The key %(name)s is forgotten.") % {"name": key.name})
    return SeeOther(reverse("web:project-keys", args=[slug]))


@post_only
@signed_in
def choose(request: Request, slug: str, name: str) -> HttpResponse:
    """Which kept keys a VM's settings carry from its next start on."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    wanted = {"project_keys": "project_keys" in request.POST, "my_keys": "my_keys" in request.POST}
    with told(request, _("The keys of %(name)s are changed: they count from its next start on.") % {"name": name}):
        keys.choose_keys(vm, **wanted, user=request.user)
    return SeeOther(reverse("web:vm", args=[slug, name]))


def _project_page(request: Request, place: Place, form: SSHKeyForm, status: int = 200, **more: object) -> HttpResponse:
    found = list(place.project.ssh_keys.select_related("added_by"))
    context = {"place": place, "form": form, "keys": found, "may_change": place.may_use, **more}
    return render(request, "keys/project.html", context, status=status)
