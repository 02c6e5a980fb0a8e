"""Payment by card: Stripe's own library against a server of ours that speaks as Stripe does; its own signatures."""

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
import stripe
from django.test import Client
from pytest_django import Settings

from lifecycle.billing import payments
from lifecycle.models import Invoice, Payment, Project, Seller, User
from lifecycle.services import invoices
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("host")]

SECRET = "whsec_of_a_test"
HOOK = "/billing/stripe/"


class Api(ThreadingHTTPServer):
    """The part of Stripe's API that is used; `asked` is what it was asked, `status` how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, dict[str, list[str]], str]] = []
        self.status = 200


class Answer(BaseHTTPRequestHandler):
    """Answers with a session, or an error of Stripe's form."""

    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.path, parse_qs(body), self.headers.get("Idempotency-Key", "")))
        session = {"id": "cs_1", "object": "checkout.session", "url": "https://checkout.stripe.example/cs_1"}
        wrong = {"error": {"type": "invalid_request_error", "message": "No."}}
        answer = json.dumps(session if self.server.status == 200 else wrong).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *_args: object) -> None:  # noqa: A002  # the base class's name
        """Quiet."""


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "sk_test_x", SECRET
    settings.STRIPE_API = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bill(project: Project) -> Invoice:
    """36.00 EUR, issued."""
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")
    draft = factories.make_draft_invoice(factories.make_vm(project))
    return invoices.issue(draft, draft.digest)


def told(bill: Invoice, **changes: object) -> str:
    """Stripe's message that a session was paid."""
    session = {
        "id": "cs_1", "object": "checkout.session", "payment_status": "paid", "amount_total": 3600, "currency": "eur",
        "payment_intent": "pi_1", "metadata": {"invoice": str(bill.pk)}, **changes,
    }  # fmt: skip
    event = {"id": "evt_1", "object": "event", "type": "checkout.session.completed", "data": {"object": session}}
    return json.dumps(event)


def send(body: str, signature: str | None = None) -> int:
    header = signature or stripe.WebhookSignature.generate_signature_header(body, SECRET)
    hook = Client(enforce_csrf_checks=True)
    headers = {"Stripe-Signature": header}
    return hook.post(HOOK, body, content_type="application/json", headers=headers).status_code


def page_of(bill: Invoice) -> str:
    return f"/projects/lab/billing/invoices/{bill.pk}/"


def test_an_owner_is_led_to_the_providers_page(client: Client, owner: User, api: Api, bill: Invoice) -> None:
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert "Pay by card" in client.get(page_of(bill)).content.decode()
    answer = client.post(f"{page_of(bill)}pay/").content.decode()
    assert 'href="https://checkout.stripe.example/cs_1"' in answer
    path, asked, key = api.asked[0]
    assert path == "/v1/checkout/sessions"
    assert asked["line_items[0][price_data][unit_amount]"] == ["3600"]
    assert asked["metadata[invoice]"] == [str(bill.pk)]
    assert key.endswith(f"-{bill.pk}-36.00")


def test_only_who_manages_the_project_pays(client: Client, viewer: User, api: Api, bill: Invoice) -> None:
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    assert "Pay by card" not in client.get(page_of(bill)).content.decode()
    assert client.post(f"{page_of(bill)}pay/").status_code == 403
    assert api.asked == []


def test_a_provider_that_refuses_is_said(client: Client, owner: User, api: Api, bill: Invoice) -> None:
    api.status = 400
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    response = client.post(f"{page_of(bill)}pay/", follow=True)
    assert "did not answer" in response.content.decode()


def test_a_signed_message_is_a_payment_once(api: Api, bill: Invoice) -> None:
    assert [send(told(bill)), send(told(bill))] == [200, 200]
    found = Payment.objects.get()
    assert (found.amount, found.method, found.reference) == (Decimal("36.00"), "card", "pi_1")
    assert bill.open == 0


@pytest.mark.parametrize("signature", ["", "t=1,v1=00", "nonsense"])
def test_a_message_that_stripe_did_not_sign_changes_nothing(api: Api, bill: Invoice, signature: str) -> None:
    assert send(told(bill), signature or "t=0,v1=") == 400
    body = told(bill)
    mine = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    assert send(body.replace("3600", "9900"), mine) == 400
    assert not Payment.objects.exists()


@pytest.mark.parametrize(
    "changes", [{"payment_status": "unpaid"}, {"metadata": {}}, {"metadata": {"invoice": "99999"}}, {"currency": "usd"}]
)
def test_messages_about_something_else_are_heard_and_left(api: Api, bill: Invoice, changes: dict[str, object]) -> None:
    assert send(told(bill, **changes)) == 200
    assert not Payment.objects.exists()


def test_switched_off_there_is_no_button_and_no_hook(client: Client, owner: User, bill: Invoice) -> None:
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert payments.provider() is None
    assert "Pay by card" not in client.get(page_of(bill)).content.decode()
    assert client.post(f"{page_of(bill)}pay/", follow=True).status_code == 200
    assert client.post(HOOK, "{}", content_type="application/json").status_code == 404
