"""A project's webhooks: made, switched, removed; and the log of their messages."""

import json

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.models import Webhook
from lifecycle.services import webhooks
from lifecycle.web.access import Place, place_of
from lifecycle.web.forms import WebhookForm
from lifecycle.web.http import Request, SeeOther, page_param, signed_in
from lifecycle.web.refusals import told
from lifecycle.web.views.errors import post_only

PAGE_SIZE = 25


def _place(request: Request, slug: str) -> Place:
    """The project, for those who may see its webhooks; else 404 or 403."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_WEBHOOKS)
    return place


def _webhook(place: Place, webhook_id: int) -> Webhook:
    found = Webhook.objects.filter(project=place.project, pk=webhook_id).select_related("created_by").first()
    if found is None:
        raise Http404(_("There is no such webhook."))
    return found


@require_http_methods(["GET", "POST"])
@signed_in
def index(request: Request, slug: str) -> HttpResponse:
    """The webhooks, and a form for another. A new one's secret stands on this answer and on no other."""
    place = _place(request, slug)
    if request.method == "GET":
        return _page(request, place, WebhookForm())
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return _page(request, place, form, 400)
    try:
        made, secret = webhooks.create(
            place.project, form.cleaned_data["url"], form.cleaned_data["kinds"], user=request.user
        )
    except DomainError as error:
        form.refuse(error)
        return _page(request, place, form, error.http_status)
    response = _page(request, place, WebhookForm(), made=made, secret=secret)
    response["Cache-Control"] = "no-store"
    return response


@require_safe
@signed_in
def show(request: Request, slug: str, webhook_id: int) -> HttpResponse:
    """One webhook and the log of its messages, newest first."""
    place = _place(request, slug)
    webhook = _webhook(place, webhook_id)
    page = Paginator(webhook.deliveries.all(), PAGE_SIZE).get_page(page_param(request, "page"))
    rows = [(row, json.dumps(row.body, indent=2, ensure_ascii=False)) for row in page.object_list]
    return render(request, "webhooks/show.html", {"place": place, "webhook": webhook, "page": page, "rows": rows})


@post_only
@signed_in
def switch(request: Request, slug: str, webhook_id: int) -> HttpResponse:
    """On or off, as the form says."""
    place = _place(request, slug)
    webhook = _webhook(place, webhook_id)
    on = request.POST.get("on") == "yes"
    said = _("The webhook is switched on.") if on else _("The webhook is switched off. Nothing is sent to it.")
    with told(request, said):
        webhooks.switch(place.project, webhook.pk, on=on, user=request.user)
    return SeeOther(reverse("web:webhook", args=[slug, webhook.pk]))


@post_only
@signed_in
def test(request: Request, slug: str, webhook_id: int) -> HttpResponse:
    """Send a message that tells of nothing."""
    place = _place(request, slug)
    webhook = _webhook(place, webhook_id)
    with told(request, _("A test is on its way. Its outcome stands in the log in some seconds.")):
        webhooks.send_test(place.project, webhook.pk, user=request.user)
    return SeeOther(reverse("web:webhook", args=[slug, webhook.pk]))


@post_only
@signed_in
def again(request: Request, slug: str, webhook_id: int, delivery_id: int) -> HttpResponse:
    """Send a message once more."""
    place = _place(request, slug)
    webhook = _webhook(place, webhook_id)
    with told(request, _("The message is on its way again.")):
        webhooks.send_again(place.project, webhook.pk, delivery_id, user=request.user)
    return SeeOther(reverse("web:webhook", args=[slug, webhook.pk]))


@post_only
@signed_in
def remove(request: Request, slug: str, webhook_id: int) -> HttpResponse:
    """Forget a webhook with its log."""
    place = _place(request, slug)
    webhook = _webhook(place, webhook_id)
    with told(request, _("The webhook is removed.")):
        webhooks.remove(place.project, webhook.pk, user=request.user)
    return SeeOther(reverse("web:webhooks", args=[slug]))


def _page(request: Request, place: Place, form: WebhookForm, status: int = 200, **more: object) -> HttpResponse:
    context = {"place": place, "form": form, "webhooks": list(webhooks.summaries(place.project)), **more}
    return render(request, "webhooks/index.html", context, status=status)
