"""Notifications: the list, reading them, and choosing what one is told of."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from lifecycle import labels
from lifecycle.domain.notifications import Kind, Way, ways_of
from lifecycle.models import Notification
from lifecycle.services import notifications
from lifecycle.web.http import Request, SeeOther, page_param, safe_path, signed_in
from lifecycle.web.views.errors import post_only

PAGE_SIZE = 30


@require_GET
@signed_in
def index(request: Request) -> HttpResponse:
    """The newest first."""
    page = page_param(request, "page")
    rows = Notification.objects.filter(user=request.user).in_portal()
    found = list(rows[(page - 1) * PAGE_SIZE : page * PAGE_SIZE + 1])
    context = {"notifications": found[:PAGE_SIZE], "older": len(found) > PAGE_SIZE, "number": page}
    return render(request, "notifications/index.html", context)


@post_only
@signed_in
def read_all(request: Request) -> HttpResponse:
    """All are read."""
    notifications.read(request.user)
    return SeeOther(reverse("web:notifications"))


@post_only
@signed_in
def open_one(request: Request, notification_id: int) -> HttpResponse:
    """It is read; on to what it is about."""
    found = notifications.read(request.user, notification_id)
    if found is None:
        raise Http404(_("There is no such notification."))
    return SeeOther(found.path if safe_path(request, found.path) else reverse("web:notifications"))


@require_http_methods(["GET", "POST"])
@signed_in
def choices(request: Request) -> HttpResponse:
    """Which way for what."""
    if request.method == "POST":
        ticked = set(request.POST.getlist("way"))
        notifications.choose(request.user, {k: [w for w in Way if f"{k}:{w}" in ticked] for k in Kind})
        messages.success(request, _("Your choice is saved."))
        return SeeOther(reverse("web:notification-choices"))
    return render(request, "notifications/choices.html", {"rows": [_row(request, kind) for kind in Kind]})


def _row(request: Request, kind: Kind) -> dict[str, Any]:
    chosen = ways_of(request.user.notification_choices, kind)
    title, meaning = labels.NOTIFICATIONS[kind]
    ways = [{"value": f"{kind}:{way}", "way": way, "on": way in chosen} for way in Way]
    return {"kind": kind, "title": title, "meaning": meaning, "ways": ways}
