"""Connections to addresses that people named: judged first, so that nobody reaches a private network through us.

Beside the layers, because images are fetched and messages are sent.

A name is resolved once and its addresses are judged; the connection goes to the very address that was judged, so that
a name that points elsewhere a moment later (DNS rebinding) gains nothing.
"""

import socket
import ssl
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import SplitResult

from lifecycle.domain.imports import Network, may_connect


class NotAllowed(Exception):
    """`host` is at private addresses only; they are `addresses`."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        super().__init__(f"{host} is at a private address")
        self.host = host
        self.addresses = addresses


class BadCertificate(Exception):
    """The certificate is not the host's, or nobody vouches for it."""


class Unreachable(Exception):
    """No connection now; it may succeed later. The text says why."""


def connected(url: SplitResult, allowed: Sequence[Network], timeout_seconds: float) -> HTTPConnection:
    """A connection to a judged address of an http or https URL's host; `allowed`: beside the public ones.

    Raises:
        NotAllowed, BadCertificate: for good. Unreachable: it may come later.
    """
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"the name {host} could not be resolved ({error})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    possible = [address for address in addresses if may_connect(address, allowed)]
    if not possible:
        raise NotAllowed(host, addresses[:3])
    try:
        raw = socket.create_connection((possible[0], port), timeout_seconds)
    except OSError as error:
        raise Unreachable(f"{host} does not answer ({error})") from error
    return _over(raw, url, port, timeout_seconds)


def _over(raw: socket.socket, url: SplitResult, port: int, timeout_seconds: float) -> HTTPConnection:
    """HTTP over a socket that is connected already; its certificate must be the host's."""
    host = url.hostname or ""
    if url.scheme != "https":
        plain = HTTPConnection(host, port, timeout=timeout_seconds)
        plain.sock = raw
        return plain
    try:
        wrapped = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raw.close()
        raise BadCertificate(host) from error
    except OSError as error:
        raw.close()
        raise Unreachable(f"no secure connection to {host} ({error})") from error
    secure = HTTPSConnection(host, port, timeout=timeout_seconds)
    secure.sock = wrapped
    return secure
