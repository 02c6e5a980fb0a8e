"""Signed messages to addresses that people gave: alerts of operators, budgets and webhooks of projects.

Beside the layers, because repair and billing both send. They follow the Standard Webhooks specification 1.0
(https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md): `webhook-id`,
`webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over "id.timestamp.body". A message keeps its id when it is
sent again, so that a receiver can tell repetitions.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from lifecycle import outbound
from lifecycle.domain.imports import Network

TIMEOUT_SECONDS: Final = 10.0
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what secrets of the specification begin with
#: The receiver wants no more messages (the specification's word for it).
GONE: Final = 410


class NotDelivered(Exception):
    """The message did not arrive. `for_good`: sending it again is of no use; `status`: the answer's, if any came."""

    def __init__(self, problem: str, *, for_good: bool = False, status: int | None = None) -> None:
        super().__init__(problem)
        self.for_good = for_good
        self.status = status


def new_secret() -> str:
    """A secret of 32 random bytes, as the specification writes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `secret` is base64, with or without its prefix `whsec_`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def send(address: str, secret: str, message_id: str, body: bytes, *, among: Sequence[Network] | None = None) -> int:
    """Send a message, signed. Returns the status of the answer, whose body is not read.

    Args:
        among: the address is a stranger's: only public ones and those of these networks are reached. None: it is the
            operators' own, and may be anywhere.

    Raises:
        NotDelivered: it did not arrive.
    """
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "vmportal",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message_id, timestamp, body),
    }
    url = urlsplit(address)
    connection = _direct(url) if among is None else _judged(url, among)
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
        status = connection.getresponse().status
    except (HTTPException, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if not 200 <= status < 300:  # a redirect, too: the message is for the address that was given
        raise NotDelivered(f"the receiver answered with status {status}", for_good=status == GONE, status=status)
    return status


def _direct(url: SplitResult) -> HTTPConnection:
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)


def _judged(url: SplitResult, among: Sequence[Network]) -> HTTPConnection:
    try:
        return outbound.connected(url, among, TIMEOUT_SECONDS)
    except outbound.NotAllowed as error:
        raise NotDelivered("the receiver is at a private address, which is not allowed", for_good=True) from error
    except outbound.BadCertificate as error:
        raise NotDelivered("the receiver's certificate is not valid") from error
    except outbound.Unreachable as error:
        raise NotDelivered(str(error)) from error
