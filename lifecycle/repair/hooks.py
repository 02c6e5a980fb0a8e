"""Messages to projects' webhooks on their way: signed as the operators' are, and only to addresses that were judged."""

import json
import logging
import time
from typing import Final

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import check_url
from lifecycle.models import WebhookDelivery
from lifecycle.services import webhooks
from lifecycle.webhooks import NotDelivered, send

log = logging.getLogger(__name__)

#: Webhooks that one go sends to, and how long it goes on; then the process looks up again.
BATCH: Final = 20
GO_SECONDS: Final = 30.0


def deliver() -> int:
    """Send what is due; returns how many messages arrived. One that fails stops no other."""
    arrived, until = 0, time.monotonic() + GO_SECONDS
    while (found := webhooks.due(BATCH)) and time.monotonic() < until:
        arrived += sum(_send(pk) for pk in found)
    return arrived


def _send(delivery_id: int) -> bool:
    delivery = webhooks.claim(delivery_id)
    if delivery is None:
        return False
    try:
        status = _post(delivery)
    except NotDelivered as error:
        log.info("webhook message %s did not arrive: %s", delivery.pk, error)
        webhooks.failed(delivery, str(error), error.status, for_good=error.for_good)
        return False
    except Exception:
        log.exception("webhook message %s could not be made", delivery.pk)
        webhooks.failed(delivery, "an internal error", None)
        return False
    webhooks.delivered(delivery, status)
    return True


def _post(delivery: WebhookDelivery) -> int:
    """The status of the answer."""
    try:
        check_url(delivery.webhook.url)
    except InvalidInput as error:
        raise NotDelivered("its address is none", for_good=True) from error
    body = json.dumps(delivery.body, separators=(",", ":")).encode()
    secret, message_id = webhooks.secret_of(delivery.webhook), f"msg_{delivery.message.hex}"
    return send(delivery.webhook.url, secret, message_id, body, among=webhooks.allowed_networks())
