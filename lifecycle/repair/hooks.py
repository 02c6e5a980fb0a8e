"""Messages to projects' webhooks on their way: signed as the operators' are, and only to addresses that were judged."""

import json
import logging
import time
from http.client import HTTPException
from typing import Final

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import check_url
from lifecycle.domain.webhooks import TIMEOUT_SECONDS
from lifecycle.models import WebhookDelivery
from lifecycle.repair.delivery import GONE, NotDelivered, signed_headers
from lifecycle.services import outbound, webhooks

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
    status = None
    try:
        status = _post(delivery)
        if not 200 <= status < 300:  # a redirect, too: the message is for the address that was given
            raise NotDelivered(f"the receiver answered with status {status}", for_good=status == GONE)
    except NotDelivered as error:
        log.info("webhook message %s did not arrive: %s", delivery.pk, error)
        webhooks.failed(delivery, str(error), status, for_good=error.for_good)
        return False
    except Exception:
        log.exception("webhook message %s could not be made", delivery.pk)
        webhooks.failed(delivery, "an internal error", status)
        return False
    webhooks.delivered(delivery, status)
    return True


def _post(delivery: WebhookDelivery) -> int:
    """The status of the answer; its body is not read."""
    body = json.dumps(delivery.body, separators=(",", ":")).encode()
    headers = signed_headers(webhooks.secret_of(delivery.webhook), f"msg_{delivery.message.hex}", body)
    try:
        url = check_url(delivery.webhook.url)
        connection = outbound.connected(url, webhooks.allowed_networks(), TIMEOUT_SECONDS)
    except InvalidInput as error:
        raise NotDelivered("its address is none", for_good=True) from error
    except outbound.NotAllowed as error:
        raise NotDelivered("the receiver is at a private address, which is not allowed", for_good=True) from error
    except outbound.BadCertificate as error:
        raise NotDelivered("the receiver's certificate is not valid") from error
    except outbound.Unreachable as error:
        raise NotDelivered(str(error)) from error
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
        return connection.getresponse().status
    except (HTTPException, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
