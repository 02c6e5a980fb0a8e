"""Paying an invoice by card: on the provider's page, and told by the provider."""

import logging

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from lifecycle.billing import payments
from lifecycle.domain.access import Right
from lifecycle.domain.errors import DomainError
from lifecycle.web.access import place_of
from lifecycle.web.http import Request, SeeOther, absolute, signed_in
from lifecycle.web.refusals import text_of
from lifecycle.web.views.billing import invoice_in
from lifecycle.web.views.errors import post_only

log = logging.getLogger(__name__)


@post_only
@signed_in
def pay(request: Request, slug: str, number: int) -> HttpResponse:
    """A page with the way to the provider's: the policy lets no form of ours lead elsewhere."""
    place = place_of(request.user, slug)
    place.require(Right.MANAGE_MEMBERS)
    row = invoice_in(place, number)
    here = reverse("web:invoice", args=[slug, number])
    try:
        url = payments.begin(row, absolute(here))
    except DomainError as error:
        messages.error(request, text_of(error))
        return SeeOther(here)
    except payments.ProviderRefused:
        log.exception("the payment of %s could not begin", row.number)
        messages.error(
            request, _("The payment provider did not answer as it should. Nothing was paid; try again later.")
        )
        return SeeOther(here)
    return render(request, "billing/pay.html", {"place": place, "invoice": row, "url": url})


@csrf_exempt
@post_only
def hook(request: HttpRequest) -> HttpResponse:
    """What the provider tells. Its signature is the proof: there is no session and no token."""
    found = payments.provider()
    if found is None:
        raise Http404
    try:
        message = found.received(request.body, request.headers.get("Stripe-Signature", ""))
    except payments.BadSignature:
        return HttpResponse(status=400)
    if message is not None and payments.record(message) is None:
        log.error("a payment was told for the invoice %s, which is not there", message.invoice_id)
    return HttpResponse(status=200)
