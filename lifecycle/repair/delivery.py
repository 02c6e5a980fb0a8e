"""Messages about alerts on their way: by mail, and as a signed webhook.

How a webhook is signed and sent: `lifecycle.webhooks`. Neither the address nor the secret is ever written down: both
may hold what only the receiver should know.
"""

import json
import logging
import smtplib
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.translation import gettext, override

from lifecycle import webhooks
from lifecycle.labels import filled
from lifecycle.models import Alert, AlertDelivery
from lifecycle.services import alerts
from lifecycle.webhooks import NotDelivered

log = logging.getLogger(__name__)

#: At most so many messages in one go, each within the timeout: a receiver that hangs holds up messages alone.
BATCH: Final = 20


def deliver() -> int:
    """Send what is due; returns how many messages arrived. One that fails stops no other."""
    return sum(_send(pk) for pk in alerts.due(BATCH))


def _send(delivery_id: int) -> bool:
    delivery = alerts.claim(delivery_id)
    if delivery is None:
        return False
    try:
        if delivery.way not in alerts.ways():
            raise NotDelivered("this way was switched off", for_good=True)
        _BY[AlertDelivery.Way(delivery.way)](delivery)
    except NotDelivered as error:
        log.warning("message %s (%s) did not arrive: %s", delivery.pk, delivery, error)
        alerts.failed(delivery, str(error), for_good=error.for_good)
        return False
    except Exception:
        log.exception("message %s (%s) could not be made", delivery.pk, delivery)
        alerts.failed(delivery, "an internal error")
        return False
    alerts.delivered(delivery)
    return True


def sentence(alert: Alert) -> str:
    """What the alert says, in the language that is active."""
    return filled(alert.text, alert.params)


# -- mail ----------------------------------------------------------------------------------------


def _mail(delivery: AlertDelivery) -> None:
    alert = delivery.alert
    with override(settings.LANGUAGE_CODE):
        over = delivery.about == AlertDelivery.About.RESOLVED
        subject = gettext("Over: %(text)s") if over else gettext("Alert: %(text)s")
        lines = [sentence(alert), "", gettext("Since: %(time)s") % {"time": _moment(alert.opened_at)}]
        if alert.resolved_at:
            lines.append(gettext("Over: %(text)s") % {"text": _moment(alert.resolved_at)})
        lines += ["", f"{settings.PUBLIC_URL}/operators/"]
        subject = " ".join((subject % {"text": sentence(alert)}).split())
    message = EmailMessage(subject[:200], "\n".join(lines), to=list(settings.ALERT_EMAILS))
    try:
        message.send()
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# -- webhook -------------------------------------------------------------------------------------


def _webhook(delivery: AlertDelivery) -> None:
    # With the alert's own time: a database put back from a backup gives its row numbers a second time.
    opened = int(delivery.alert.opened_at.timestamp())
    message_id = f"msg_{settings.INSTALLATION_ID}_{delivery.pk}_{opened}"
    webhooks.send(settings.ALERT_WEBHOOK_URL, settings.ALERT_WEBHOOK_SECRET, message_id, payload(delivery))


def payload(delivery: AlertDelivery) -> bytes:
    """The message as JSON: `type`, `timestamp` and `data`, as the specification asks."""
    alert = delivery.alert
    over = delivery.about == AlertDelivery.About.RESOLVED
    at = (alert.resolved_at if over else None) or alert.opened_at
    with override(settings.LANGUAGE_CODE):
        text = sentence(alert)
    data = {
        "id": alert.pk,
        "key": alert.key,
        "kind": alert.kind,
        "severity": alert.severity,
        "text": text,
        "host": alert.host.name if alert.host else None,
        "vm": alert.vm.name if alert.vm else None,
        "project": alert.vm.project.slug if alert.vm else None,
        "operation": str(alert.operation_id) if alert.operation_id else None,
        "openedAt": alert.opened_at.isoformat(),
        "resolvedAt": alert.resolved_at.isoformat() if alert.resolved_at else None,
        "url": f"{settings.PUBLIC_URL}/operators/",
    }
    message = {"type": f"alert.{delivery.about}", "timestamp": at.isoformat(), "data": data}
    return json.dumps(message, separators=(",", ":")).encode()


_BY: Final = {AlertDelivery.Way.MAIL: _mail, AlertDelivery.Way.WEBHOOK: _webhook}
