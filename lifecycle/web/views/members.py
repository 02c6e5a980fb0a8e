"""Who belongs to a project: members, roles, invitations."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.contrib import messages
from django.core.mail import send_mail
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError, Forbidden
from lifecycle.models import Invitation, Membership
from lifecycle.models.projects import ROLE_CHOICES
from lifecycle.services import projects
from lifecycle.web.access import Place, place_of
from lifecycle.web.forms import InvitationForm
from lifecycle.web.http import Request, SeeOther, absolute, signed_in
from lifecycle.web.refusals import refusal_of
from lifecycle.web.views.errors import post_only

log = logging.getLogger(__name__)


@require_GET
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """Everybody in the project sees who else is; owners change it."""
    return _page(request, place_of(request.user, slug), InvitationForm())


@post_only
@signed_in
def invite(request: Request, slug: str) -> HttpResponse:
    """Make an invitation and show its link: now, and never again."""
    place = place_of(request.user, slug)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, place, form, status=400)
    try:
        invitation, token = projects.invite(
            place.project, form.cleaned_data["email"], form.cleaned_data["role"], user=request.user
        )
    except DomainError as error:
        if isinstance(error, Forbidden):
            return _refused(request, place, error)
        form.refuse(error)
        return _page(request, place, form, status=error.http_status)
    link = absolute(reverse("web:invitation", args=[token]))
    mailed = _mail(request, invitation, link)
    response = _page(request, place, InvitationForm(), invitation=invitation, link=link, mailed=mailed)
    response["Cache-Control"] = "no-store"
    return response


@post_only
@signed_in
def set_role(request: Request, slug: str, member_id: int) -> HttpResponse:
    """Change a member's role."""
    place = place_of(request.user, slug)
    member = _member(place, member_id)
    try:
        projects.set_role(place.project, member.user, request.POST.get("role", ""), user=request.user)
    except DomainError as error:
        return _refused(request, place, error)
    messages.success(request, _("The role of %(name)s was changed.") % {"name": member.user})
    return SeeOther(reverse("web:members", args=[slug]))


@require_GET
@signed_in
def confirm_removal(request: Request, slug: str, member_id: int) -> HttpResponse:
    """What the person would lose, and the button."""
    place = place_of(request.user, slug)
    member = _member(place, member_id)
    if member.user_id != request.user.pk:
        place.require(Right.MANAGE_MEMBERS)
    template = "members/_confirm.html" if request.htmx else "members/confirm.html"
    return render(request, template, {"place": place, "member": member})


@post_only
@signed_in
def remove(request: Request, slug: str, member_id: int) -> HttpResponse:
    """End a membership; one's own leads out of the project."""
    place = place_of(request.user, slug)
    member = _member(place, member_id)
    try:
        projects.remove_member(place.project, member.user, user=request.user)
    except DomainError as error:
        return _refused(request, place, error)
    messages.success(request, _("%(name)s is no longer a member of this project.") % {"name": member.user})
    left = member.user_id == request.user.pk and not request.user.is_superuser
    return SeeOther(reverse("web:projects") if left else reverse("web:members", args=[slug]))


@post_only
@signed_in
def revoke(request: Request, slug: str, invitation_id: int) -> HttpResponse:
    """Take an open invitation back: its link stops working."""
    place = place_of(request.user, slug)
    try:
        projects.revoke_invitation(place.project, invitation_id, user=request.user)
    except DomainError as error:
        return _refused(request, place, error)
    messages.success(request, _("The invitation was taken back."))
    return SeeOther(reverse("web:members", args=[slug]))


def _member(place: Place, member_id: int) -> Membership:
    found = place.project.memberships.select_related("user").filter(pk=member_id).first()
    if found is None:
        raise Http404(_("There is no such member in this project."))
    return found


def _page(request: Request, place: Place, form: InvitationForm, status: int = 200, **more: object) -> HttpResponse:
    context = {
        "place": place,
        "form": form,
        "members": list(place.project.memberships.select_related("user")),
        "invitations": _open_invitations(place) if place.may_manage else [],
        "roles": ROLE_CHOICES,
        **more,
    }
    return render(request, "members/index.html", context, status=status)


def _open_invitations(place: Place) -> list[Invitation]:
    found = place.project.invitations.filter(accepted_at__isnull=True, expires_at__gt=timezone.now())
    return list(found.select_related("invited_by"))


def _refused(request: Request, place: Place, error: DomainError) -> HttpResponse:
    refusal = refusal_of(error)
    if isinstance(error, Forbidden):
        return render(request, "403.html", {"exception": refusal.text}, status=403)
    return _page(request, place, InvitationForm(), status=error.http_status, refusal=refusal)


def _mail(request: Request, invitation: Invitation, link: str) -> bool:
    """Send the link when mail is on. A mail server that fails is no reason to lose the invitation."""
    if not settings.MAIL_ENABLED:
        return False
    context = {"invitation": invitation, "link": link, "sender": request.user}
    subject = _("Invitation to the project %(name)s") % {"name": invitation.project.slug}
    try:
        send_mail(subject, render_to_string("members/invitation.txt", context), None, [invitation.email])
    except (SMTPException, OSError):
        log.exception("the invitation to %s could not be mailed", invitation.email)
        return False
    return True
