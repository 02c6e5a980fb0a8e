"""Following an invitation's link."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from lifecycle.domain.errors import DomainError
from lifecycle.services import projects
from lifecycle.web.accounts import remember_invitation
from lifecycle.web.http import SeeOther
from lifecycle.web.refusals import text_of


@never_cache
@require_http_methods(["GET", "POST"])
def show(request: HttpRequest, token: str) -> HttpResponse:
    """What one is invited to; POST accepts. Who has no account is led to make one."""
    invitation = projects.find_invitation(token)
    if invitation is None:
        return render(request, "invitations/unknown.html", status=404)
    if request.method == "POST" and request.user.is_authenticated:
        try:
            membership = projects.accept_invitation(token, user=request.user)
        except DomainError as error:
            messages.error(request, text_of(error))
            return SeeOther("/")
        messages.success(request, _("Welcome to %(project)s.") % {"project": membership.project})
        return SeeOther(reverse("web:vms", args=[membership.project.slug]))
    if not request.user.is_authenticated:
        remember_invitation(request, token)
    response = render(request, "invitations/show.html", {"invitation": invitation})
    response["Referrer-Policy"] = "no-referrer"  # the address is a secret
    return response
