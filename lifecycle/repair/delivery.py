"""Messages about alerts on their way: by mail, and as a signed webhook.

The webhook follows the Standard Webhooks specification 1.0 (https://github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md): `webhook-id`, `webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over
"id.timestamp.body". A message keeps its id when it is sent again, so that a receiver can tell repetitions.
Neither the address nor the secret is ever written down: both may hold what only the receiver should know.
"""

import base64
import hashlib
import hmac
import json
import logging
import smtplib
import time
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils.translation import gettext, override

from lifecycle.labels import filled
from lifecycle.models import Alert, AlertDelivery
from lifecycle.services import alerts

log = logging.getLogger(__name__)

#: At most so many messages in one go, each within the timeout: a receiver that hangs holds up messages alone.
BATCH: Final = 20
TIMEOUT_SECONDS: Final = 10.0
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what secrets of the specification begin with
#: The receiver wants no more messages (the specification's word for it).
GONE: Final = 410


class NotDelivered(Exception):
    """The message did not arrive. `for_good`: sending it again is of no use."""

    def __init__(self, problem: str, *, for_good: bool = False) -> None:
        super().__init__(problem)
        self.for_good = for_good


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
    url = urlsplit(settings.ALERT_WEBHOOK_URL)
    body = payload(delivery)
    # With the alert's own time: a database put back from a backup gives its row numbers a second time.
    opened = int(delivery.alert.opened_at.timestamp())
    message_id = f"msg_{settings.INSTALLATION_ID}_{delivery.pk}_{opened}"
    headers = signed_headers(settings.ALERT_WEBHOOK_SECRET, message_id, body)
    status = _post(url, body, headers)
    if not 200 <= status < 300:  # a redirect, too: the message is for the address that was given
        raise NotDelivered(f"the receiver answered with status {status}", for_good=status == GONE)


def signed_headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The headers of a message that is sent now."""
    timestamp = int(time.time())
    return {
        "Content-Type": "application/json",
        "User-Agent": "vmportal",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `secret` is base64, with or without its prefix `whsec_`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


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


def _post(url: SplitResult, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer; its body is not read."""
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
        return connection.getresponse().status
    except (HTTPException, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


_BY: Final = {AlertDelivery.Way.MAIL: _mail, AlertDelivery.Way.WEBHOOK: _webhook}
