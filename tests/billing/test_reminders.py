"""Reminders by mail: in the invoice's language, with the invoice, once a level; a failing server stops nothing."""

import io
import logging
from datetime import datetime, timedelta
from decimal import Decimal

import pypdf
import pytest
import time_machine
from django.core import mail
from pytest_django import Settings

from lifecycle import tasks
from lifecycle.billing import invoices, reminders
from lifecycle.domain.periods import Month
from lifecycle.models import Invoice, Project, Reminder, Seller, User
from lifecycle.services import invoices as service
from lifecycle.services import prices
from tests import factories
from tests.alerts.receivers import mail_server
from tests.billing.tools import MARCH, feb, price_list, vm_born

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]


@pytest.fixture
def bill(project: Project, owner: User, settings: Settings) -> Invoice:
    """February's, issued in March; its mail goes to the account's address, in French."""
    settings.MAIL_ENABLED = True
    price_list()
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR", payment_note="IBAN FR76 & thanks")
    vm_born(project, feb(1), "web-1")
    prices.change_account(project, {"email": "bills@example.org", "language": "fr"}, user=owner)
    with time_machine.travel(MARCH + timedelta(days=4), tick=False):
        return invoices.issue(project, Month(2026, 2))


def send(at: datetime) -> int:
    with time_machine.travel(at, tick=False):
        return reminders.send()


def late(bill: Invoice, days: float) -> datetime:
    assert bill.due_at
    return bill.due_at + timedelta(days=days)


def test_each_level_is_mailed_once_with_the_invoice(bill: Invoice) -> None:
    assert [send(late(bill, days)) for days in (0, 2, 3, 15, 16, 40)] == [0, 1, 0, 1, 0, 1]
    assert [message.to for message in mail.outbox] == [["bills@example.org"]] * 3
    assert list(Reminder.objects.order_by("level").values_list("level", flat=True)) == [1, 2, 3]
    first = mail.outbox[0]
    assert bill.number in first.subject
    assert "Rappel" in first.subject
    assert "IBAN FR76 & thanks" in first.body
    assert f"{bill.total:.2f}".replace(".", ",") in first.body
    [(name, content, kind)] = first.attachments
    assert (name, kind) == (f"{bill.number}.pdf", "application/pdf")
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    assert bill.number in text


def test_only_what_is_open_is_asked_for(bill: Invoice) -> None:
    service.record_payment(bill, bill.total - Decimal("0.05"), "transfer", "bank 1", user=None)
    send(late(bill, 2))
    assert "0,05" in mail.outbox[0].body


def test_what_is_paid_or_not_late_is_not_mailed(bill: Invoice, project: Project) -> None:
    assert send(late(bill, -1)) == 0
    service.record_payment(bill, bill.total, "transfer", "bank 1", user=None)
    assert send(late(bill, 60)) == 0
    assert mail.outbox == []


@pytest.mark.parametrize("case", ["no address", "mail is off"])
def test_without_mail_the_reminder_stands_on_the_invoice(bill: Invoice, settings: Settings, case: str) -> None:
    if case == "mail is off":
        settings.MAIL_ENABLED = False
        assert send(late(bill, 2)) == 1
    else:
        other = factories.make_project()
        vm_born(other, feb(1), "web-2")
        with time_machine.travel(MARCH + timedelta(days=4), tick=False):
            invoices.issue(other, Month(2026, 2))
        assert send(late(bill, 2)) == 2
        assert len(mail.outbox) == 1
    assert Reminder.objects.filter(invoice=bill).exists()


def test_a_mail_server_that_fails_is_logged_and_stops_nothing(
    bill: Invoice, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with mail_server() as box, caplog.at_level(logging.ERROR):
        settings.EMAIL_HOST, settings.EMAIL_PORT, box.refusals = "127.0.0.1", box.port, 1
        assert send(late(bill, 2)) == 1
        assert box.mails == []
        assert f"the reminder of {bill.number} could not be mailed" in caplog.text
        assert send(late(bill, 15)) == 1
        assert [to for to, _text in box.mails] == [["bills@example.org"]]


def test_the_task_reminds(bill: Invoice) -> None:
    with time_machine.travel(late(bill, 2), tick=False):
        assert tasks.bill() == (0, 0, 1)
