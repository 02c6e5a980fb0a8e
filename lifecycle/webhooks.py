"""Signed messages to addresses that people gave: alerts of operators, budgets of projects.

Beside the layers, because repair and billing both send. They follow the Standard Webhooks specification 1.0
(https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md): `webhook-id`,
`webhook-timestamp` and `webhook-signature`, HMAC-SHA256 over "id.timestamp.body". A message keeps its id when it is
sent again, so that a receiver can tell repetitions.
"""

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

from lifecycle.domain.imports import Network, may_connect

TIMEOUT_SECONDS: Final = 10.0
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # what secrets of the specification begin with
#: The receiver wants no more messages (the specification's word for it).
GONE: Final = 410


class NotDelivered(Exception):
    """The message did not arrive. `for_good`: sending it again is of no use."""

    def __init__(self, problem: str, *, for_good: bool = False) -> None:
        super().__init__(problem)
        self.for_good = for_good


def new_secret() -> str:
    """A secret of 32 random bytes, as the specification writes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. `secret` is base64, with or without its prefix `whsec_`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def send(address: str, secret: str, message_id: str, body: bytes, *, among: Sequence[Network] | None = None) -> None:
    """Send a message, signed.

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
    status = _post(urlsplit(address), body, headers, among)
    if not 200 <= status < 300:  # a redirect, too: the message is for the address that was given
        raise NotDelivered(f"the receiver answered with status {status}", for_good=status == GONE)


def _post(url: SplitResult, body: bytes, headers: dict[str, str], among: Sequence[Network] | None) -> int:
    """The status of the answer; its body is not read."""
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=TIMEOUT_SECONDS)
    try:
        if among is not None:
            connection.sock = _guarded(url, among)
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), body, headers)
        return connection.getresponse().status
    except (HTTPException, OSError) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _guarded(url: SplitResult, among: Sequence[Network]) -> socket.socket:
    """A connection to the very address that was judged: a name that points elsewhere a moment later gains nothing."""
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except UnicodeError as error:
        raise NotDelivered("the name of the receiver is none", for_good=True) from error
    allowed = [address for address in found if may_connect(address, among)]
    if not allowed:
        raise NotDelivered("the receiver is at a private address, which is not allowed here", for_good=True)
    raw = socket.create_connection((allowed[0], port), TIMEOUT_SECONDS)
    if url.scheme != "https":
        return raw
    try:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except OSError:
        raw.close()
        raise
