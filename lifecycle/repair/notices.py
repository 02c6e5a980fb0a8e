"""Notifications on their way by mail, each in its reader's language."""

import logging
import smtplib
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.translation import gettext, override

from lifecycle.labels import filled
from lifecycle.models import Notification
from lifecycle.services import notifications

log = logging.getLogger(__name__)

BATCH: Final = 20


def deliver() -> int:
    """Mail what is due; returns how many were taken by the mail server. One that fails stops no other."""
    return sum(_send(pk) for pk in notifications.due(BATCH)) if settings.MAIL_ENABLED else 0


def _send(notification_id: int) -> bool:
    notification = notifications.claim(notification_id)
    if notification is None:
        return False
    try:
        _message(notification).send()
    except smtplib.SMTPRecipientsRefused as error:
        log.warning("notification %s reached nobody: %s", notification.pk, error)
        notifications.not_mailed(notification, for_good=True)
        return False
    except (smtplib.SMTPException, OSError) as error:
        log.warning("notification %s could not be mailed; trying again: %s", notification.pk, error)
        notifications.not_mailed(notification)
        return False
    notifications.mailed(notification)
    return True


def _message(notification: Notification) -> EmailMessage:
    with override(notification.user.language or settings.LANGUAGE_CODE):
        subject = " ".join(filled(notification.text, notification.params).split())
        lines = [subject]
        if notification.path:
            lines += ["", f"{settings.PUBLIC_URL}{notification.path}"]
        why = gettext("You chose to be told of this by mail. Change it here:")
        lines += ["", "-- ", why, f"{settings.PUBLIC_URL}/account/notifications/"]
    return EmailMessage(subject[:200], "\n".join(lines) + "\n", to=[notification.user.email])
