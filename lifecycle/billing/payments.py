"""Payment by card through a provider: a page of theirs takes the card, a signed message tells that it was paid.

Card data never reaches the product. The one provider there is is Stripe (Checkout), off unless its keys are set.
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

import stripe
from django.conf import settings

from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.models import Invoice, Payment
from lifecycle.services import invoices

#: Currencies without cents: a provider counts them otherwise, and the product rounds to cents.
WITHOUT_CENTS: Final = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())  # noqa: SIM905
TIMEOUT_SECONDS: Final = 10
#: A message is believed for so long after it was signed.
WEBHOOK_SECONDS: Final = 300
_PAID: Final = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})


class ProviderRefused(Exception):
    """The provider did not do it; the text is for operators."""


class BadSignature(Exception):
    """A message that the provider did not sign."""


@dataclass(frozen=True, slots=True)
class Received:
    """Money that the provider says it took: for which invoice, how much, and its own reference."""

    invoice_id: int
    amount: Decimal
    currency: str
    reference: str


class Provider(Protocol):
    """What the product asks of a provider."""

    def checkout(self, invoice: Invoice, amount: Decimal, back: str) -> str:
        """The address of the provider's page where `amount` is paid; it leads `back`. Raises ProviderRefused."""
        ...

    def received(self, payload: bytes, signature: str) -> Received | None:
        """What a message says was paid; None: it is about something else. Raises BadSignature."""
        ...


class Stripe:
    """Checkout sessions and signed webhooks, by Stripe's own library."""

    def __init__(self, key: str, secret: str, address: str = "") -> None:
        client = stripe.RequestsClient(timeout=TIMEOUT_SECONDS)
        more: dict[str, Any] = {"base_addresses": {"api": address}} if address else {}
        self._client = stripe.StripeClient(key, http_client=client, max_network_retries=1, **more)
        self._secret = secret

    def checkout(self, invoice: Invoice, amount: Decimal, back: str) -> str:
        """One session; the same open amount of an invoice asks for the same session again."""
        try:
            session = self._client.v1.checkout.sessions.create(
                params={
                    "mode": "payment",
                    "success_url": back,
                    "cancel_url": back,
                    "client_reference_id": str(invoice.pk),
                    "metadata": {"invoice": str(invoice.pk)},
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": invoice.currency.lower(),
                                "unit_amount": int(amount * 100),
                                "product_data": {"name": invoice.number},
                            },
                        }
                    ],
                },
                options={"idempotency_key": f"{settings.INSTALLATION_ID}-{invoice.pk}-{amount}"},
            )
        except stripe.StripeError as error:
            raise ProviderRefused(str(error)) from error
        if not session.url:
            raise ProviderRefused("the session has no address")
        return session.url

    def received(self, payload: bytes, signature: str) -> Received | None:
        """By the signature over the very bytes that came."""
        try:
            stripe.WebhookSignature.verify_header(payload.decode(), signature, self._secret, WEBHOOK_SECONDS)
            event: dict[str, Any] = json.loads(payload)
        except (ValueError, stripe.SignatureVerificationError) as error:
            raise BadSignature from error
        session: dict[str, Any] = event["data"]["object"]
        number = str((session.get("metadata") or {}).get("invoice", "")) if event["type"] in _PAID else ""
        if not number.isdigit() or session["payment_status"] != "paid":
            return None
        amount = Decimal(session["amount_total"]) / 100
        return Received(int(number), amount, session["currency"].upper(), session["payment_intent"] or session["id"])


def provider() -> Provider | None:
    """The provider that is set; None: invoices are paid by transfer."""
    if not (settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET):
        return None
    return Stripe(settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API)


def begin(invoice: Invoice, back: str) -> str:
    """The address where what is open of an invoice is paid.

    Raises:
        StateConflict: nothing is open, or payment by card is off.
        InvalidInput: its currency has no cents.
        ProviderRefused: the provider did not answer as it should.
    """
    found = provider()
    amount = invoice.open
    if found is None or not amount:
        raise StateConflict("There is nothing to pay by card.")
    if invoice.currency in WITHOUT_CENTS:
        raise InvalidInput("Invoices in %(currency)s are not paid by card.", currency=invoice.currency)
    return found.checkout(invoice, amount, back)


def record(message: Received) -> Payment | None:
    """Write down what was received, once however often it is told; None: there is no such invoice in that currency."""
    found = Invoice.objects.filter(pk=message.invoice_id, currency=message.currency).first()
    if found is None:
        return None
    return invoices.record_payment(found, message.amount, Payment.Method.CARD, message.reference, user=None)
