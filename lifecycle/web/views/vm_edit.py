"""What people write on a VM: labels and notes."""

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from lifecycle.domain import vm_labels
from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.models import VM
from lifecycle.services import vm_details
from lifecycle.web.access import place_of, vm_in
from lifecycle.web.forms import PortalForm
from lifecycle.web.http import Request, SeeOther, signed_in


class DetailsForm(PortalForm):
    """Labels and notes of a VM. The fingerprint is of the labels that were read."""

    fingerprint = forms.CharField(required=False, widget=forms.HiddenInput)
    labels = forms.CharField(
        label=gettext_lazy("Labels"),
        required=False,
        widget=forms.Textarea({"class": "code", "rows": 4, "spellcheck": "false", "placeholder": "env=prod"}),
        help_text=gettext_lazy("One key=value a line. The list and the search find VMs by them."),
    )
    notes = forms.CharField(
        label=gettext_lazy("Notes"),
        required=False,
        widget=forms.Textarea({"rows": 6}),
        help_text=gettext_lazy("For people: what runs here, whom to ask, what to know before a restart."),
    )


@require_http_methods(["GET", "POST"])
@signed_in
def edit(request: Request, slug: str, name: str) -> HttpResponse:
    """The form and what it sends."""
    place = place_of(request.user, slug)
    vm = vm_in(place, name)
    place.require(Right.USE_VMS)
    status = 200
    if request.method == "POST":
        form = DetailsForm(request.POST)
        status = _save(request, vm, form)
        if not status:
            messages.success(request, _("Labels and notes of %(name)s are saved.") % {"name": vm.name})
            return SeeOther(reverse("web:vm", args=[slug, name]))
    else:
        form = DetailsForm(
            initial={
                "labels": vm_labels.as_text(vm.labels),
                "notes": vm.notes,
                "fingerprint": vm_labels.fingerprint(vm.labels),
            }
        )
    return render(request, "vms/edit.html", {"place": place, "vm": vm, "form": form}, status=status)


def _save(request: Request, vm: VM, form: DetailsForm) -> int:
    """0 when it was written, whole; else the status of the refusal, which stands in the form."""
    if not form.is_valid():
        return 400
    data = form.cleaned_data
    try:
        labels = vm_labels.parse_labels(data["labels"])
        vm_details.describe(vm, labels, data["notes"], user=request.user, fingerprint=data["fingerprint"] or None)
    except DomainError as error:
        form.refuse(error)
        return error.http_status
    return 0
