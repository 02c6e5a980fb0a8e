"""Reminders of unpaid invoices: written down first, then mailed; each level once."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from lifecycle.billing import documents
from lifecycle.models import Invoice, Reminder
from lifecycle.services import invoices

log = logging.getLogger(__name__)


def send() -> int:
    """Remind of every invoice that is late and was not reminded of at this level; returns how many."""
    now = timezone.now()
    sent = 0
    for invoice in invoices.overdue(now):
        reminder = invoices.remind(invoice, now)
        if reminder:
            sent += 1
            _mail(invoice, reminder)
    return sent


def _mail(invoice: Invoice, reminder: Reminder) -> None:
    """A mail that fails is lost, and the operators read why: the reminder stands on the invoice's page."""
    to = invoice.customer.get("email", "")
    if not (settings.MAIL_ENABLED and to):
        return
    with translation.override(invoice.language):
        subject = _("%(reminder)s: invoice %(number)s") % {
            "reminder": str(reminder.get_level_display()).capitalize(),
            "number": invoice.number,
        }
        text = render_to_string(
            "billing/reminder.txt", {"invoice": invoice, "left": invoice.open, "zone": invoice.zone}
        )
    mail = EmailMessage(subject, text, None, [to])
    mail.attach(documents.file_name(invoice, "pdf"), documents.pdf(invoice), "application/pdf")
    try:
        mail.send()
    except (SMTPException, OSError):
        log.exception("the reminder of %s could not be mailed", invoice.number)
